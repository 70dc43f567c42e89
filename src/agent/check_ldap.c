/* `pta-agent check`: TLS of one controller, what it says of itself to anybody, and what it demands of binds. */
#include <ldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/check_impl.h"
#include "base/clock.h"
#include "directory/ldap_conn.h"
#include "directory/ldap_signing.h"

#define CERTIFICATE_WARN_MS (14ull * 86400000)
#define LDAP_PORT 389
/* The lowest level with AES keys (MS-ADTS 6.1.4.4). */
#define LEVEL_2008 3

/* domainFunctionality, MS-ADTS 3.1.1.3.2.25 */
static const char *level_name(int level)
{
	static const char *const names[] = {"2000", "2003 interim", "2003", "2008", "2008 R2", "2012", "2012 R2", "2016", NULL, NULL, "2025"};

	return level >= 0 && (size_t)level < PTA_ARRAY_SIZE(names) ? names[level] : NULL;
}

static const char *tls_step(const struct directory_conf *conf)
{
	return conf->tls == DIRECTORY_STARTTLS ? "StartTLS" : "TLS";
}

static void tell_tls(const struct dc_check *dc, const struct ldap_conn *conn)
{
	struct findings *findings = dc->d->findings;
	uint64_t end_ms = dc->dse.certificate_not_after_ms;
	char what[FINDING_WHAT], until[CLOCK_RFC3339_LEN + 1];

	check_label(dc->server, dc->server->port, tls_step(dc->d->conf), what);
	clock_rfc3339(end_ms, until);
	if (dc->d->conf->tls == DIRECTORY_TLS_NONE)
		findings_good(findings, what,
			dc->d->conf->method == DIRECTORY_SIMPLE ? "none, as configured: passwords cross the connection in the clear"
								: "none, as configured: binds with tickets are signed and sealed by Kerberos");
	else if (end_ms == 0)
		findings_good(findings, what, "%s, certificate and name are right", ldap_conn_tls_version(conn));
	else if (end_ms < clock_wall_ms() + CERTIFICATE_WARN_MS)
		findings_warn(findings, what, "renew the controller's certificate before that", "%s, but the controller's certificate ends at %s",
			ldap_conn_tls_version(conn), until);
	else
		findings_good(findings, what, "%s, certificate and name are right, until %s", ldap_conn_tls_version(conn), until);
}

static void tell_tls_failed(const struct dc_check *dc, int r, const struct err *err)
{
	struct check_tls_reason reason;
	char what[FINDING_WHAT];

	check_label(dc->server, dc->server->port, tls_step(dc->d->conf), what);
	if (r == -PTA_ETLS && check_tls(dc, &reason)) {
		findings_bad(dc->d->findings, what, reason.mend, "%s", reason.text);
		return;
	}
	findings_bad(dc->d->findings, what,
		r == -PTA_ETLS ? "write into servers the name that the controller's certificate has, into ca_file its CA, and renew it if it has expired"
		: r == -PTA_ETIMEDOUT
			? "see whether the controller hangs, or something on the way swallows TLS"
			: "see whether the controller serves LDAP with TLS on that port: a certificate for server authentication is installed there",
		"%s", err->text);
}

/* -- rootDSE -- */

static void tell_root_dse(const struct dc_check *dc)
{
	const struct ldap_root_dse *dse = &dc->dse;
	struct findings *findings = dc->d->findings;
	const char *level = level_name(dse->functional_level);
	char what[FINDING_WHAT], number[32];

	check_label(dc->server, dc->server->port, "rootDSE", what);
	if (!dse->active_directory) {
		findings_good(findings, what, "not Active Directory, %.255s", dse->naming_context[0] ? dse->naming_context : "tells no naming context");
		return;
	}
	snprintf(number, sizeof(number), "of an unknown number, %d", dse->functional_level);
	findings_good(findings, what, "Active Directory, %s, %.255s, functional level %s%s%s, SASL %s", dse->dns_host_name, dse->naming_context,
		level ? level : number, dse->fast_bind ? ", fast bind" : ", no fast bind", dse->global_catalog ? ", global catalog" : "",
		dse->sasl_mechanisms[0] ? dse->sasl_mechanisms : "none");
	if (dse->functional_level >= 0 && dse->functional_level < LEVEL_2008 && dc->d->conf->method != DIRECTORY_SIMPLE)
		findings_warn(
			findings, what, "raise the domain's functional level to 2008 or higher", "at its functional level there are no AES keys for Kerberos");
}

static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = words; (at = strstr(at, word)); at += len)
		if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

static bool is_address(const struct directory_server *server)
{
	return server->literal_v6 || server->host[strspn(server->host, "0123456789.")] == '\0';
}

/* What the rootDSE lacks of what the configuration needs. */
static void tell_lacks(const struct dc_check *dc)
{
	const struct directory_conf *conf = dc->d->conf;
	const struct ldap_root_dse *dse = &dc->dse;
	struct findings *findings = dc->d->findings;
	bool gssapi = conf->method == DIRECTORY_GSSAPI || check_identity_in_keytab(conf);
	char what[FINDING_WHAT], mend[300];

	check_label(dc->server, dc->server->port, "SASL", what);
	if (gssapi && !has_word(dse->sasl_mechanisms, "GSSAPI"))
		findings_bad(findings, what, "use method = simple, or enable GSSAPI on the server",
			"the server offers no GSSAPI, which the configuration needs (it offers: %s)",
			dse->sasl_mechanisms[0] ? dse->sasl_mechanisms : "nothing");
	snprintf(mend, sizeof(mend), "write %.200s into servers", dse->dns_host_name[0] ? dse->dns_host_name : "the controller's DNS name");
	if (gssapi && is_address(dc->server))
		findings_bad(findings, what, mend, "%s is an address: Kerberos has tickets for names", dc->server->host);
	else if (gssapi && dse->dns_host_name[0] && !credential_domain_equal(dse->dns_host_name, dc->server->host))
		findings_warn(findings, what, mend, "the controller calls itself %s: Kerberos may have no ticket for %s", dse->dns_host_name, dc->server->host);
	if (conf->global_catalog && dse->active_directory && !dse->global_catalog)
		findings_bad(findings, check_label(dc->server, check_catalog_port(conf), "global catalog", what),
			"make the controller a global catalog in Active Directory Sites and Services, or leave it out of servers",
			"the controller says that it is no global catalog, or not ready as one");
}

/* -- what it demands -- */

static void tell_signing(const struct dc_check *dc)
{
	struct directory_server plain = *dc->server;
	uint64_t deadline_us = clock_mono_us() + dc->d->conf->connect_timeout * 1000ull;
	struct ldap_signing_answer answer;
	char what[FINDING_WHAT];
	struct err err;
	int r;

	plain.port = LDAP_PORT;
	check_label(&plain, plain.port, "signing", what);
	r = ldap_signing_ask(&plain, dc->d->conf->name, deadline_us, &answer, &err);
	if (r < 0)
		findings_good(dc->d->findings, what, "not known: %s", err.text);
	else if (answer.result == LDAP_STRONG_AUTH_REQUIRED)
		findings_good(dc->d->findings, what, "the controller demands signing or TLS of LDAP binds, as the agent does");
	else if (answer.result == LDAP_INVALID_CREDENTIALS)
		findings_good(dc->d->findings, what,
			"the controller does not demand signing or TLS of LDAP binds (an invented name was refused only for its password)");
	else
		findings_good(
			dc->d->findings, what, "not known: a bind of an invented name without TLS was answered with %d: %s", answer.result, answer.diagnostic);
}

/* MS-ADTS 5.1.1.1.2: simple binds are not concerned. */
static void tell_channel_binding(const struct dc_check *dc)
{
	char what[FINDING_WHAT];

	if (dc->d->conf->tls == DIRECTORY_TLS_NONE || dc->d->client)
		return;
	findings_good(dc->d->findings, check_label(dc->server, dc->server->port, "channel binding", what), "not looked at: needs an identity in a keytab%s",
		dc->d->conf->method == DIRECTORY_SIMPLE ? "; simple binds are not concerned" : "; the agent's binds have it");
}

void check_ldap(struct dc_check *dc)
{
	const struct directory_conf *conf = dc->d->conf;
	struct ldap_conn *conn;
	char what[FINDING_WHAT];
	uint64_t asked_ms;
	struct err err;
	int r = ldap_conn_open(conf, dc->server, dc->d->tls, clock_mono_us() + conf->connect_timeout * 1000ull, &conn, &err);

	if (r < 0) {
		tell_tls_failed(dc, r, &err);
		return;
	}
	r = ldap_conn_root_dse(conn, clock_mono_us() + conf->bind_timeout * 1000ull, &dc->dse, &err);
	asked_ms = clock_wall_ms();
	dc->dse_known = r == 0;
	tell_tls(dc, conn);
	ldap_conn_close(conn);
	if (r < 0) {
		findings_bad(dc->d->findings, check_label(dc->server, dc->server->port, "rootDSE", what), "see whether an LDAP server answers on that port",
			"%s", err.text);
		return;
	}
	tell_root_dse(dc);
	tell_lacks(dc);
	if (dc->dse.server_time_ms)
		check_clock_of(dc, dc->server->port, "the controller", (int64_t)(dc->dse.server_time_ms / 1000) - (int64_t)(asked_ms / 1000));
	if (!dc->dse.active_directory)
		return;
	if (dc->plain_ldap)
		tell_signing(dc);
	tell_channel_binding(dc);
}
