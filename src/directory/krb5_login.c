#include "directory/krb5_login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "directory/name_fold.h"
#include "wire/credential.h"

/* NTSTATUS, MS-ERREF 2.3.1 */
#define STATUS_PASSWORD_MUST_CHANGE 0xC0000224u

/* RFC 4120 7.5.9 */
#define KDC_ERR_KEY_EXPIRED 23
#define KDC_ERR_WRONG_REALM 68

#define NAME_MAX_BYTES 512

int krb5_login_error(krb5_context context, krb5_error_code code, const char *what, struct err *err)
{
	const char *text = krb5_get_error_message(context, code);

	err_set(err, -PTA_ECRYPTO, "%s: %s", what, text);
	krb5_free_error_message(context, text);
	return -PTA_ECRYPTO;
}

int krb5_login_init(struct krb5_login *login, const struct directory_conf *conf, const struct directory_server *server, uint64_t connect_deadline_us,
	uint64_t deadline_us, struct err *err)
{
	krb5_error_code code;

	*login = (struct krb5_login){.conf = conf};
	directory_conf_realm(conf, login->realm);
	code = krb5_init_context(&login->context);
	if (code) {
		login->context = NULL;
		return krb5_login_error(NULL, code, "libkrb5 gives no context", err);
	}
	krb5_exchange_init(&login->x, login->context, server, deadline_us, conf->bind_timeout);
	login->x.connect_deadline_us = connect_deadline_us;
	code = krb5_set_default_realm(login->context, login->realm);
	if (code)
		return krb5_login_error(login->context, code, "libkrb5 does not take the realm", err);
	code = krb5_cc_new_unique(login->context, "MEMORY", NULL, &login->ccache);
	if (code) {
		login->ccache = NULL;
		return krb5_login_error(login->context, code, "libkrb5 makes no credential cache in memory", err);
	}
	snprintf(login->ccache_name, sizeof(login->ccache_name), "MEMORY:%s", krb5_cc_get_name(login->context, login->ccache));
	return 0;
}

void krb5_login_done(struct krb5_login *login)
{
	if (!login->context)
		return;
	krb5_exchange_done(&login->x);
	krb5_free_cred_contents(login->context, &login->tgt);
	/* The cache in memory frees its copies of the tickets as this does: session keys are wiped. */
	if (login->ccache)
		krb5_cc_destroy(login->context, login->ccache);
	krb5_free_principal(login->context, login->asked);
	krb5_free_context(login->context);
	login->context = NULL;
}

/* ---- who ---- */

/* One component, whatever is in it: parsing would make more of a '/' or '@'. */
static int one_component(struct krb5_login *login, const char *name, krb5_int32 type, struct err *err)
{
	krb5_error_code code = krb5_build_principal(login->context, &login->asked, (unsigned)strlen(login->realm), login->realm, name, (char *)NULL);

	if (code) {
		login->asked = NULL;
		return krb5_login_error(login->context, code, "making the principal", err);
	}
	login->asked->type = type;
	return 0;
}

static int make_client(struct krb5_login *login, const struct job *job, struct err *err)
{
	const struct credential *credential = &job->credential;

	if (job->found && job->found->account[0])
		return one_component(login, job->found->account, KRB5_NT_PRINCIPAL, err);
	if (credential->form == CREDENTIAL_NETBIOS)
		return one_component(login, credential->user, KRB5_NT_PRINCIPAL, err);
	/* The KDC knows which account a UPN means. */
	return one_component(login, credential->name, KRB5_NT_ENTERPRISE_PRINCIPAL, err);
}

static bool data_is(const krb5_data *data, const char *text)
{
	return name_fold_equal(data->data, data->length, text, strlen(text));
}

/* But for case, which AD corrects. */
static bool is_asked(const struct krb5_login *login)
{
	krb5_const_principal asked = login->asked, client = login->tgt.client;

	return krb5_realm_compare(login->context, asked, client) && client->length == 1 &&
	       name_fold_equal(client->data[0].data, client->data[0].length, asked->data[0].data, asked->data[0].length);
}

bool krb5_login_renamed(const struct krb5_login *login, const struct credential *credential)
{
	krb5_const_principal client = login->tgt.client;

	if (is_asked(login))
		return false;
	/* The UPN that every account has: its name at its domain (MS-ADTS 5.1.1.1.1). */
	return !(login->asked->type == KRB5_NT_ENTERPRISE_PRINCIPAL && client->length == 1 && data_is(&client->data[0], credential->user) &&
		 data_is(&client->realm, credential->domain));
}

static bool realm_allowed(const struct krb5_login *login, const krb5_data *realm)
{
	return directory_conf_allows_realm(login->conf, realm->data, realm->length);
}

static bool tgt_allowed(const struct krb5_login *login)
{
	krb5_const_principal client = login->tgt.client, server = login->tgt.server;

	return realm_allowed(login, &client->realm) && server->length == 2 && data_is(&server->data[0], "krbtgt") && realm_allowed(login, &server->data[1]) &&
	       realm_allowed(login, &server->realm);
}

static void name_of(krb5_context context, krb5_const_principal principal, char out[NAME_MAX_BYTES])
{
	char *name = NULL;

	out[0] = '\0';
	if (principal && krb5_unparse_name(context, principal, &name) == 0)
		snprintf(out, NAME_MAX_BYTES, "%s", name);
	krb5_free_unparsed_name(context, name);
}

static int keep_tgt(struct krb5_login *login, struct err *err)
{
	krb5_error_code code = krb5_cc_initialize(login->context, login->ccache, login->tgt.client);

	if (!code)
		code = krb5_cc_store_cred(login->context, login->ccache, &login->tgt);
	return code ? krb5_login_error(login->context, code, "keeping the ticket in memory", err) : 0;
}

/* ---- the password ---- */

static void tell_steps(const struct krb5_login *login, const struct attempt *attempt, int r, uint64_t took_us, const char *text)
{
	const struct krb5_exchange *x = &login->x;
	char name[NAME_MAX_BYTES], line[NAME_MAX_BYTES + 128];

	if (!attempt->job->step || x->asked == 0)
		return;
	snprintf(line, sizeof(line), "%s port %u Kerberos", x->server->host, x->server->kdc_port);
	attempt_step(attempt, "connect", x->connect_us, line);
	name_of(login->context, login->asked, name);
	snprintf(line, sizeof(line), "%s%s", name, x->proved_asked ? ", with a timestamp encrypted by the password" : ", without preauthentication");
	attempt_step(attempt, "as-req", 0, line);
	name_of(login->context, login->tgt.client, name);
	attempt_step(attempt, r == 0 ? "as-rep" : "kdc-error", took_us > x->connect_us ? took_us - x->connect_us : 0, r == 0 ? name : text);
}

/* Another controller may do better, and may still be asked. */
static bool fails_over(const struct krb5_login *login, int r, enum ad_status_health health)
{
	if (login->x.sent)
		return false;
	return r == -PTA_ENET || r == -PTA_ETIMEDOUT || r == -PTA_EPROTO || (r == -PTA_EPERM && health == AD_STATUS_BUSY);
}

static void set_detail(struct attempt *attempt, const char *text)
{
	snprintf(attempt->verdict.detail, sizeof(attempt->verdict.detail), "%.*s", LIMIT_DETAIL, text);
}

/* What came instead of a ticket. */
static void map_failure(struct krb5_login *login, struct attempt *attempt, int r, enum ad_status_health health, const struct err *err)
{
	attempt->outcome = health == AD_STATUS_BUSY ? DC_BUSY : DC_ANSWERED;
	attempt->fault = health == AD_STATUS_FAULT;
	/* A referral to the user's own realm is not followed: its controllers are not this section's. */
	if (r == -PTA_ENOENT || (r == -PTA_EPERM && login->x.kdc_error == KDC_ERR_WRONG_REALM)) {
		attempt_unavailable(attempt, REASON_NOT_CONFIGURED, login->x.sent, err->text);
		attempt->fault = false;
		return;
	}
	/* Of a KRB-ERROR the map has said all. */
	if (r == -PTA_EPERM)
		return;
	if (r == -PTA_ETIMEDOUT || r == -PTA_ENET || r == -PTA_EPROTO) {
		attempt_unavailable(attempt,
			r == -PTA_ETIMEDOUT ? REASON_TIMEOUT
			: r == -PTA_ENET    ? REASON_DIRECTORY_UNREACHABLE
					    : REASON_AGENT_ERROR,
			login->x.sent, err->text);
		attempt->outcome = r == -PTA_ETIMEDOUT ? DC_TIMED_OUT : DC_LOST;
		attempt->fault = false;
	}
	set_detail(attempt, err->text);
}

/* KEY_EXPIRED came before the password was looked at, as AD may answer whatever the password is. A ticket for changing it is
 * given to the right one only. It still proves nothing to others: nobody but the KDC has its key, so that the answer could
 * be anybody's, who thus would open the way to a password change. Told, but not as proved. (A TLS connection to the same
 * controller's LDAP, as gssapi has one, says nothing of who answered at port 88.) */
static int confirm_expired(struct krb5_login *login, struct attempt *attempt, enum ad_status_health *health, struct err *err)
{
	const struct verdict unconfirmed = attempt->verdict;
	uint32_t status = login->x.nt_status;
	krb5_creds creds = {0};
	int r = krb5_exchange_initial(&login->x, login->asked, attempt->job->password, "kadmin/changepw", &creds, err);

	krb5_free_cred_contents(login->context, &creds);
	*health = AD_STATUS_WELL;
	if (r == 0) {
		attempt->verdict = verdict_make(status == STATUS_PASSWORD_MUST_CHANGE ? VERDICT_PASSWORD_MUST_CHANGE : VERDICT_PASSWORD_EXPIRED);
		attempt->verdict.password_proved = false;
		attempt->verdict.password_sent = login->x.sent;
		set_detail(attempt, "KDC 23: the password is expired; the KDC took it for a change");
		return -PTA_EPERM;
	}
	*health = krb5_exchange_verdict(&login->x, r, &attempt->verdict);
	/* No such service, or not for this account: what was said first stands. */
	if (r == -PTA_EPERM && !login->x.sent && *health != AD_STATUS_BUSY) {
		attempt->verdict = unconfirmed;
		*health = AD_STATUS_WELL;
	}
	return r;
}

int krb5_login_password(struct krb5_login *login, struct attempt *attempt, struct err *err)
{
	struct krb5_exchange *x = &login->x;
	enum ad_status_health health = AD_STATUS_WELL;
	uint64_t started = clock_mono_us();
	char text[NAME_MAX_BYTES];
	int r = make_client(login, attempt->job, err);

	if (r < 0) {
		attempt_unavailable(attempt, REASON_AGENT_ERROR, false, err->text);
		attempt->fault = true;
		return 0;
	}
	r = krb5_exchange_initial(x, login->asked, attempt->job->password, NULL, &login->tgt, err);
	if (r < 0) {
		health = krb5_exchange_verdict(x, r, &attempt->verdict);
		if (r == -PTA_EPERM && x->kdc_error == KDC_ERR_KEY_EXPIRED && x->error_before_proof && !x->sent)
			r = confirm_expired(login, attempt, &health, err);
	}
	attempt->connect_us += x->connect_us;
	tell_steps(login, attempt, r, clock_mono_us() - started, r == -PTA_EPERM ? attempt->verdict.detail : err->text);
	if (r < 0 && fails_over(login, r, health))
		return r;
	secret_freep(&attempt->job->password);
	if (r < 0) {
		map_failure(login, attempt, r, health, err);
		return 0;
	}
	name_of(login->context, login->tgt.client, text);
	if (!tgt_allowed(login)) {
		err_set(err, -PTA_EPERM, "the KDC answered with a ticket of '%s', which is of no realm that this section allows (realm, realms)", text);
	} else if (login->asked->type != KRB5_NT_ENTERPRISE_PRINCIPAL && !is_asked(login)) {
		err_set(err, -PTA_EPERM, "the KDC answered with a ticket of '%s', which is another account", text);
	} else if (keep_tgt(login, err) == 0) {
		return 1;
	}
	attempt_unavailable(attempt, REASON_AGENT_ERROR, x->sent, err->text);
	attempt->fault = true;
	return 0;
}

/* ---- service tickets ---- */

int krb5_login_ticket(struct krb5_login *login, struct attempt *attempt, krb5_principal service, krb5_creds *creds)
{
	struct krb5_exchange *x = &login->x;
	uint64_t started = clock_mono_us();
	char name[NAME_MAX_BYTES];
	struct err err;
	int r = krb5_exchange_ticket(x, login->ccache, login->tgt.client, service, creds, &err);

	name_of(login->context, service, name);
	if (r == 0 && !krb5_principal_compare(login->context, creds->client, login->tgt.client))
		r = err_set(&err, -PTA_ECRYPTO, "the ticket for %s is not for the client of the TGT", name);
	attempt_step(attempt, "ticket", clock_mono_us() - started, r == 0 ? name : err.text);
	if (r == 0)
		return 1;
	err_prefix(&err, r, "asking for a ticket for %s: ", name);
	if (r == -PTA_EPERM) {
		enum ad_status_health health = ad_status_kdc(x->kdc_error, x->nt_status, x->sent, &attempt->verdict);

		/* The KDC has taken the password: what it refuses now is no denial of it. */
		if (attempt->verdict.code == VERDICT_INVALID_CREDENTIALS) {
			attempt->verdict.code = VERDICT_UNAVAILABLE;
			attempt->verdict.reason = REASON_AGENT_ERROR;
			health = AD_STATUS_FAULT;
		}
		if (attempt->verdict.code == VERDICT_UNAVAILABLE)
			set_detail(attempt, err.text);
		map_failure(login, attempt, r, health, &err);
	} else {
		attempt_unavailable(attempt, REASON_AGENT_ERROR, x->sent, err.text);
		map_failure(login, attempt, r, AD_STATUS_FAULT, &err);
	}
	return 0;
}

int krb5_login_service(const struct krb5_login *login, const char *service, const char *host, krb5_principal *out, struct err *err)
{
	char lower[LIMIT_DOMAIN + 1];
	krb5_error_code code;
	size_t i = 0;

	for (; host[i] && i < LIMIT_DOMAIN; i++)
		lower[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] - 'A' + 'a') : host[i];
	lower[i] = '\0';
	code = krb5_build_principal(login->context, out, (unsigned)strlen(login->realm), login->realm, service, lower, (char *)NULL);
	if (code)
		return krb5_login_error(login->context, code, "making the service's principal", err);
	(*out)->type = KRB5_NT_SRV_HST;
	return 0;
}

/* ---- the agent's own ---- */

static int own_principal(struct krb5_login *login, const char *name, krb5_keytab keytab, struct err *err)
{
	krb5_keytab_entry entry;
	krb5_kt_cursor cursor;
	krb5_error_code code;

	if (name) {
		code = krb5_parse_name(login->context, name, &login->asked);
		return code ? krb5_login_error(login->context, code, "identity", err) : 0;
	}
	code = krb5_kt_start_seq_get(login->context, keytab, &cursor);
	if (code)
		return krb5_login_error(login->context, code, "reading the keytab", err);
	code = krb5_kt_next_entry(login->context, keytab, &entry, &cursor);
	if (!code) {
		code = krb5_copy_principal(login->context, entry.principal, &login->asked);
		krb5_free_keytab_entry_contents(login->context, &entry);
	}
	krb5_kt_end_seq_get(login->context, keytab, &cursor);
	return code ? krb5_login_error(login->context, code, "reading the keytab", err) : 0;
}

static int initial_by_keytab(struct krb5_login *login, const char *name, krb5_keytab keytab, struct err *err)
{
	int r = own_principal(login, name, keytab, err);

	if (r == 0)
		r = krb5_exchange_initial_keytab(&login->x, login->asked, keytab, &login->tgt, err);
	return r == 0 ? keep_tgt(login, err) : r;
}

int krb5_login_keytab(struct krb5_login *login, const char *principal, krb5_principal service, struct err *err)
{
	krb5_keytab keytab;
	krb5_creds creds = {0};
	krb5_error_code code = krb5_kt_resolve(login->context, login->conf->keytab, &keytab);
	int r;

	if (code)
		return krb5_login_error(login->context, code, "opening the keytab", err);
	r = initial_by_keytab(login, principal, keytab, err);
	krb5_kt_close(login->context, keytab);
	if (r < 0)
		return r;
	r = krb5_exchange_ticket(&login->x, login->ccache, login->tgt.client, service, &creds, err);
	krb5_free_cred_contents(login->context, &creds);
	return r;
}

int krb5_login_probe(const struct directory_conf *conf, const struct directory_server *server, uint64_t deadline_us, struct err *err)
{
	struct krb5_login login;
	int r = krb5_login_init(&login, conf, server, deadline_us, deadline_us, err);

	if (r == 0)
		r = krb5_exchange_probe(&login.x, login.realm, err);
	krb5_login_done(&login);
	return r;
}
