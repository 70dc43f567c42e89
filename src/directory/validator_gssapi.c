#include "directory/validator_gssapi.h"

#include <arpa/inet.h>
#include <ldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "directory/krb5_login.h"
#include "directory/ldap_conn_internal.h"
#include "directory/ldap_sasl.h"
#include "directory/root_dse.h"
#include "directory/worker_validator.h"

struct gssapi {
	const struct directory_conf *conf;
	struct ldap_tls *tls;
};

/* A connection, and the name by which its server is known to Kerberos. */
struct link {
	struct ldap_conn *conn;
	struct directory_server server;
};

static void gssapi_state_free(void *state)
{
	struct gssapi *g = state;

	ldap_tls_free(g->tls);
	free(g);
}

static int gssapi_state_new(const struct directory_conf *conf, void **state, struct err *err)
{
	struct gssapi *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	g->conf = conf;
	r = ldap_sasl_init(err);
	if (r < 0)
		err_prefix(err, r, "[directory %s] method = gssapi: ", conf->name);
	else
		r = ldap_tls_new(conf, &g->tls, err);
	if (r < 0) {
		gssapi_state_free(g);
		return r;
	}
	*state = g;
	return 0;
}

/* ---- the connection ---- */

static bool is_address(const struct directory_server *server)
{
	struct in_addr v4;

	return server->literal_v6 || inet_pton(AF_INET, server->host, &v4) == 1;
}

/* `servers` has an address, for which Kerberos has no name. The server there may say its own once TLS has verified it; then
 * TLS has to verify that one, too. */
static int reopen_by_name(const struct gssapi *g, struct link *link, uint64_t deadline_us, struct err *err)
{
	struct ldap_root_dse dse;
	int r;

	if (ldap_conn_tls_version(link->conn)[0] == '\0')
		return err_set(err, -PTA_EINVAL, "servers: gssapi without TLS needs host names, '%s' is an address", link->server.host);
	r = ldap_conn_root_dse(link->conn, deadline_us, &dse, err);
	if (r < 0)
		return err_prefix(err, r, "%s: ", link->server.host);
	if (dse.dns_host_name[0] == '\0')
		return err_set(
			err, -PTA_EINVAL, "servers: gssapi needs host names: '%s' is an address, and the server there tells no dnsHostName", link->server.host);
	ldap_conn_close(link->conn);
	link->conn = NULL;
	memcpy(link->server.host, dse.dns_host_name, sizeof(link->server.host));
	link->server.literal_v6 = false;
	return ldap_conn_open(g->conf, &link->server, g->tls, deadline_us, &link->conn, err);
}

static int open_link(const struct gssapi *g, const struct directory_server *server, uint64_t deadline_us, struct link *link, struct err *err)
{
	int r;

	*link = (struct link){.server = *server};
	r = ldap_conn_open(g->conf, server, g->tls, deadline_us, &link->conn, err);
	if (r == 0 && is_address(server))
		r = reopen_by_name(g, link, deadline_us, err);
	if (r < 0) {
		ldap_conn_close(link->conn);
		link->conn = NULL;
	}
	return r;
}

/* ---- the bind and behind it ---- */

static uint64_t step_deadline(const struct gssapi *g, const struct attempt *attempt)
{
	uint64_t limit = clock_mono_us() + g->conf->bind_timeout * 1000ull;

	return limit < attempt->deadline_us ? limit : attempt->deadline_us;
}

/* Something failed behind the TGT: never about the password. */
static void failed(struct attempt *attempt, int r, bool sent, const struct err *err)
{
	attempt_unavailable(attempt,
		r == -PTA_ETIMEDOUT ? REASON_TIMEOUT
		: r == -PTA_ENET    ? REASON_DIRECTORY_UNREACHABLE
				    : REASON_AGENT_ERROR,
		sent, err->text);
	attempt->outcome = r == -PTA_ETIMEDOUT ? DC_TIMED_OUT : r == -PTA_ENET ? DC_LOST : DC_ANSWERED;
	attempt->fault = attempt->outcome == DC_ANSWERED;
}

/* The KDC took the password, the controller refuses the bind: a state of the account that it tells is told on, but that the
 * password is wrong it cannot mean. */
static void refused(struct attempt *attempt, const struct ldap_sasl_answer *answer, bool sent, const struct err *err)
{
	enum ad_status_health health = ad_status_bind(answer->result, answer->diagnostic, strlen(answer->diagnostic), &attempt->verdict);

	attempt->verdict.password_sent = sent;
	attempt->outcome = health == AD_STATUS_BUSY ? DC_BUSY : DC_ANSWERED;
	attempt->fault = health == AD_STATUS_FAULT;
	/* Without TLS anybody could have said so. */
	if (attempt->conf->tls == DIRECTORY_TLS_NONE)
		attempt->verdict.password_proved = false;
	if (attempt->verdict.code != VERDICT_INVALID_CREDENTIALS)
		return;
	attempt_unavailable(attempt, REASON_AGENT_ERROR, sent, err->text);
	attempt->fault = true;
}

/* The entry of this account has the typed UPN (userPrincipalName is unique in the forest). */
static int search_upn(struct ldap_conn *conn, const char *base, const krb5_data *account, const char *upn, uint64_t deadline_us, struct err *err)
{
	struct berval raw[] = {{.bv_len = account->length, .bv_val = account->data}, {.bv_len = strlen(upn), .bv_val = (char *)(uintptr_t)upn}},
		      escaped[2] = {{0}};
	uint64_t now = clock_mono_us(), left = deadline_us > now ? deadline_us - now : 1;
	struct timeval timeout = {.tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000)};
	char no_attributes[] = LDAP_NO_ATTRS, *attributes[] = {no_attributes, NULL}, filter[4 * LIMIT_USERNAME + 256], text[256];
	LDAPMessage *result = NULL;
	int rc = LDAP_NO_MEMORY, n = 0;

	if (ldap_bv2escaped_filter_value(&raw[0], &escaped[0]) == 0 && ldap_bv2escaped_filter_value(&raw[1], &escaped[1]) == 0)
		n = snprintf(filter, sizeof(filter), "(&(sAMAccountName=%s)(userPrincipalName=%s))", escaped[0].bv_val, escaped[1].bv_val);
	ldap_memfree(escaped[0].bv_val);
	ldap_memfree(escaped[1].bv_val);
	if (n > 0 && (size_t)n < sizeof(filter)) {
		conn->io.deadline_us = deadline_us;
		rc = ldap_search_ext_s(conn->ld, base, LDAP_SCOPE_SUBTREE, filter, attributes, 0, NULL, NULL, &timeout, 2, &result);
		conn->io.deadline_us = 0;
	}
	n = rc == LDAP_SUCCESS ? ldap_count_entries(conn->ld, result) : 0;
	ldap_msgfree(result);
	if (n == 1)
		return 0;
	if (rc != LDAP_SUCCESS && clock_mono_us() >= deadline_us)
		return err_set(err, -PTA_ETIMEDOUT, "no answer to the search for the account's UPN in time");
	if (rc == LDAP_SERVER_DOWN || conn->io.cut)
		return err_set(err, -PTA_ENET, "the connection was lost in the search for the account's UPN");
	if (rc != LDAP_SUCCESS)
		return err_set(err, -PTA_EPERM, "the search for the account's UPN: %s", ldap_conn_diagnostic(conn->ld, rc, text, sizeof(text)));
	return err_set(err, -PTA_ECRYPTO, "the KDC answered for the account '%.*s', which has not the typed name as its userPrincipalName",
		(int)account->length, account->data);
}

/* Bound. What the controller still has to show, over the connection that is now its own beyond doubt. */
static int confirm(const struct gssapi *g, struct krb5_login *login, struct link *link, const struct attempt *attempt, struct err *err)
{
	const struct credential *credential = &attempt->job->credential;
	bool renamed = krb5_login_renamed(login, credential);
	uint64_t deadline_us = step_deadline(g, attempt);
	struct ldap_root_dse dse;
	int r;

	/* Without TLS the bind's answer came in the clear; a sealed one comes only if the controller thinks it was a success. */
	if (!renamed && ldap_conn_tls_version(link->conn)[0] != '\0')
		return 0;
	r = ldap_conn_root_dse(link->conn, deadline_us, &dse, err);
	if (r < 0 || !renamed)
		return r;
	if (login->tgt.client->length != 1)
		return err_set(err, -PTA_ECRYPTO, "the KDC answered for a client that is no user");
	return search_upn(link->conn, dse.naming_context, &login->tgt.client->data[0], credential->name, deadline_us, err);
}

static void bind_with_ticket(const struct gssapi *g, struct krb5_login *login, struct link *link, struct attempt *attempt)
{
	uint64_t started = clock_mono_us();
	struct ldap_sasl_answer answer;
	struct err err = {""};
	bool sent = login->x.sent;
	int r = ldap_sasl_bind_ccache(link->conn, login->ccache_name, step_deadline(g, attempt), &answer, &err);
	bool is_refusal = r == -PTA_EPERM;

	if (r == 0)
		r = confirm(g, login, link, attempt, &err);
	attempt_step(attempt, "bind", clock_mono_us() - started, r == 0 ? "SASL GSSAPI" : err.text);
	if (is_refusal) {
		refused(attempt, &answer, sent, &err);
	} else if (r < 0) {
		failed(attempt, r, sent, &err);
	} else {
		attempt->verdict = verdict_make(VERDICT_SUCCESS);
		attempt->verdict.password_sent = sent;
		snprintf(attempt->verdict.detail, sizeof(attempt->verdict.detail), "0");
	}
}

/* The TGT is there. */
static void prove(const struct gssapi *g, struct krb5_login *login, struct link *link, struct attempt *attempt)
{
	krb5_principal service = NULL;
	krb5_creds creds = {0};
	struct err err = {""};
	int r = krb5_login_service(login, "ldap", link->server.host, &service, &err);

	if (r < 0)
		failed(attempt, r, login->x.sent, &err);
	else if (krb5_login_ticket(login, attempt, service, &creds) > 0)
		bind_with_ticket(g, login, link, attempt);
	krb5_free_cred_contents(login->context, &creds);
	krb5_free_principal(login->context, service);
}

/* ---- the method ---- */

static int with_link(const struct gssapi *g, struct link *link, struct attempt *attempt, struct err *err)
{
	struct krb5_login login;
	int r = krb5_login_init(&login, g->conf, attempt->server, attempt->connect_deadline_us, attempt->deadline_us, err);

	if (r < 0) {
		/* Nothing that another controller could mend. */
		failed(attempt, r, false, err);
		r = 0;
	} else {
		r = krb5_login_password(&login, attempt, err);
	}
	if (r > 0) {
		prove(g, &login, link, attempt);
		r = 0;
	}
	krb5_login_done(&login);
	return r;
}

static int gssapi_validate(void *state, struct attempt *attempt, struct err *err)
{
	const struct gssapi *g = state;
	uint64_t started = clock_mono_us();
	struct link link;
	char text[LIMIT_DOMAIN + 64];
	int r = open_link(g, attempt->server, attempt->connect_deadline_us, &link, err);

	if (r < 0)
		return r;
	attempt->connect_us = clock_mono_us() - started;
	snprintf(text, sizeof(text), "%s port %u %s", link.server.host, link.server.port, ldap_conn_tls_version(link.conn));
	attempt_step(attempt, "connect", attempt->connect_us, text);
	r = with_link(g, &link, attempt, err);
	ldap_conn_close(link.conn);
	return r;
}

static int gssapi_probe(void *state, const struct directory_server *server, uint64_t deadline_us, struct err *err)
{
	const struct gssapi *g = state;
	struct link link;
	int r = open_link(g, server, deadline_us, &link, err);

	if (r < 0)
		return r;
	ldap_conn_close(link.conn);
	return krb5_login_probe(g->conf, server, deadline_us, err);
}

static const struct worker_method method = {
	.method = &validator_gssapi,
	.open = gssapi_state_new,
	.close = gssapi_state_free,
	.validate = gssapi_validate,
	.probe = gssapi_probe,
};

static int gssapi_open(const struct directory_conf *conf, struct dc_pool *pool, struct validator **out, struct err *err)
{
	return worker_validator_open(&method, conf, pool, out, err);
}

const struct validator_method validator_gssapi = {
	.name = "gssapi",
	.open = gssapi_open,
	.start = worker_validator_start,
	.capacity = worker_validator_capacity,
	.changed = worker_validator_changed,
	.close = worker_validator_close,
	.report = worker_validator_report,
};
