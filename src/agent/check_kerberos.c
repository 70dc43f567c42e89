/* `pta-agent check`: Kerberos at one controller: that its KDC answers, that the keytab's key is the account's present one,
 * that a ticket for the agent itself opens with it, and that LDAP takes a bind with a ticket. Only the agent's own account
 * is used. */
#include <inttypes.h>
#include <krb5.h>
#include <stdio.h>
#include <string.h>

#include "agent/check_impl.h"
#include "base/clock.h"
#include "directory/krb5_verify.h"
#include "directory/ldap_conn.h"
#include "directory/ldap_sasl.h"

/* RFC 4120 7.5.9 */
#define KRB_AP_ERR_SKEW 37
#define KDC_ERR_WRONG_REALM 68

static const char export_mend[] = "export the keytab again from the account as it is now, and see that only this host uses it";

/* What a KDC says of the keytab's account. */
static const struct {
	int kdc_error;
	const char *text, *mend;
} refusals[] = {
	{6, "the domain has no account that logs on by this name", "write into identity the account's name, or export the keytab of an account that exists"},
	{14, "the account takes none of the keytab's encryption types", "export the keytab again with AES keys, or allow its types on the account"},
	{12, "a policy forbids the account to log on", "allow the agent's account to log on from this host"},
	{18, "the account is disabled, locked or expired", "enable or unlock the agent's account"},
	{23, "the account's password has expired", "set the account's password, let it not expire, and export the keytab again"},
	{24, "the keytab does not hold the account's present key", export_mend},
	{KRB_AP_ERR_SKEW, "the clocks differ too much", "set the clocks of this host and of the controller by NTP"},
};

static int open_login(const struct dc_check *dc, struct krb5_login *login, struct err *err)
{
	const struct directory_conf *conf = dc->d->conf;
	uint64_t now_us = clock_mono_us();

	return krb5_login_init(login, conf, dc->server, now_us + conf->connect_timeout * 1000ull, now_us + conf->bind_timeout * 4000ull, err);
}

/* True: it answers for the realm. */
static bool tell_kdc(const struct dc_check *dc)
{
	enum severity severity = check_wants_kerberos(dc->d->conf) ? SEVERITY_ERROR : SEVERITY_WARNING;
	struct findings *findings = dc->d->findings;
	uint64_t began_us = clock_mono_us(), took_us;
	char what[FINDING_WHAT];
	struct krb5_login login;
	struct err err;
	int r = open_login(dc, &login, &err);
	bool skew = false;

	if (r == 0)
		r = krb5_exchange_probe(&login.x, login.realm, &err);
	took_us = clock_mono_us() - began_us;
	check_label(dc->server, dc->server->kdc_port, "KDC", what);
	if (r == -PTA_EPERM)
		skew = login.x.kdc_error == KRB_AP_ERR_SKEW;
	if (r == 0 || skew)
		findings_good(findings, what, "answers for realm %s in %.1f ms", login.realm, (double)took_us / 1000);
	else if (r == -PTA_EPERM && login.x.kdc_error == KDC_ERR_WRONG_REALM)
		findings_fault(
			findings, severity, what, "write the domain's Kerberos realm into realm", "it does not serve realm %s: %s", login.realm, err.text);
	else
		findings_fault(findings, severity, what, "see that the controller's KDC runs, and that nothing on the way answers for it", "%s", err.text);
	if ((r == 0 || skew) && login.x.clock_told)
		check_clock_of(dc, dc->server->kdc_port, "the KDC", login.x.ahead_s);
	krb5_login_done(&login);
	return r == 0;
}

/* -- the key -- */

/* The TGT of the keytab's account, into the cache. */
static int log_on(const struct directory_check *d, struct krb5_login *login, struct err *err)
{
	krb5_context context = login->context;
	krb5_keytab keytab = NULL;
	krb5_error_code code = krb5_parse_name(context, d->client, &login->asked);
	int r;

	if (code)
		return krb5_login_error(context, code, d->client, err);
	code = krb5_kt_resolve(context, d->conf->keytab, &keytab);
	if (code)
		return krb5_login_error(context, code, d->conf->keytab, err);
	r = krb5_exchange_initial_keytab(&login->x, login->asked, keytab, &login->tgt, err);
	krb5_kt_close(context, keytab);
	if (r < 0)
		return r;
	code = krb5_cc_initialize(context, login->ccache, login->tgt.client);
	if (!code)
		code = krb5_cc_store_cred(context, login->ccache, &login->tgt);
	return code ? krb5_login_error(context, code, "keeping the ticket in memory", err) : 0;
}

static void tell_refused(struct dc_check *dc, const struct krb5_login *login, int r, const char *what, const struct err *err)
{
	struct directory_check *d = dc->d;
	enum severity severity = check_keytab_severity(d->conf);
	/* Tickets of others are verified with the service's key; whether it can log on does not matter to that. */
	bool needed = check_identity_in_keytab(d->conf) || !d->service_only;

	if (r == -PTA_EPERM && login->x.kdc_error == 6 && !needed) {
		findings_warn(d->findings, what, "try a sign-in with 'pta-agent test', or put the key of the account's own name into the keytab as well",
			"not proved: the keytab has the key of a service's name only, and that cannot log on (%s)", err->text);
		d->keytab = ACCOUNT_BAD;
		return;
	}
	if (r == -PTA_ECRYPTO) {
		d->keytab = ACCOUNT_BAD;
		findings_fault(d->findings, severity, what, export_mend, "%s: the keytab has no key that fits: %s", d->client, err->text);
		return;
	}
	for (size_t i = 0; r == -PTA_EPERM && i < PTA_ARRAY_SIZE(refusals); i++)
		if (refusals[i].kdc_error == login->x.kdc_error) {
			d->keytab = ACCOUNT_BAD;
			findings_fault(d->findings, severity, what, refusals[i].mend, "%s: %s (%s)", d->client, refusals[i].text, err->text);
			return;
		}
	/* The account was not looked at, or nobody knows: the next controller may say more. */
	if (login->x.sent)
		d->keytab = ACCOUNT_BAD;
	findings_fault(d->findings, severity, what, "see that the controller's KDC runs, and its event log", "%s: %s", d->client, err->text);
}

/* -- a ticket for the agent itself -- */

static void tell_verified(struct dc_check *dc, struct krb5_login *login, krb5_principal service, krb5_creds *creds, const char *what)
{
	struct directory_check *d = dc->d;
	krb5_ticket *ticket = NULL;
	char etype[64] = "unknown";
	struct err err;
	unsigned kvno = 0;
	int r = krb5_verify_ticket(login->context, d->conf, service, creds, NULL, &err);

	if (krb5_decode_ticket(&creds->ticket, &ticket) == 0) {
		kvno = (unsigned)ticket->enc_part.kvno;
		if (krb5_enctype_to_name(ticket->enc_part.enctype, 1, etype, sizeof(etype)))
			snprintf(etype, sizeof(etype), "type %d", (int)ticket->enc_part.enctype);
		krb5_free_ticket(login->context, ticket);
	}
	if (r == 0)
		findings_good(d->findings, what, "a ticket for %s (kvno %u, %s) opens with the keytab", d->service, kvno, etype);
	else
		findings_bad(d->findings, what, export_mend, "a ticket for %s, of kvno %u and %s, does not open with the keytab: %s", d->service, kvno, etype,
			err.text);
}

static void check_own_ticket(struct dc_check *dc, struct krb5_login *login)
{
	struct directory_check *d = dc->d;
	krb5_principal service = NULL;
	krb5_creds creds = {0};
	char what[FINDING_WHAT], mend[300];
	struct err err;
	krb5_error_code code;
	int r;

	check_label(dc->server, dc->server->kdc_port, "own ticket", what);
	code = krb5_parse_name(login->context, d->service, &service);
	if (code) {
		krb5_login_error(login->context, code, d->service, &err);
		findings_bad(d->findings, what, export_mend, "%s", err.text);
		return;
	}
	r = krb5_exchange_ticket(&login->x, login->ccache, login->tgt.client, service, &creds, &err);
	if (r == 0) {
		tell_verified(dc, login, service, &creds, what);
	} else {
		snprintf(mend, sizeof(mend), "give the account a service principal name (setspn -S host/agent.%.100s ACCOUNT) and export the keytab with it",
			d->conf->name);
		findings_bad(d->findings, what, mend, "no ticket for %s: %s", d->service, err.text);
	}
	krb5_free_cred_contents(login->context, &creds);
	krb5_free_principal(login->context, service);
}

/* -- a bind with a ticket -- */

static int get_ldap_ticket(const struct dc_check *dc, struct krb5_login *login, struct err *err)
{
	krb5_principal service = NULL;
	krb5_creds creds = {0};
	int r = krb5_login_service(login, "ldap", dc->server->host, &service, err);

	if (r == 0)
		r = krb5_exchange_ticket(&login->x, login->ccache, login->tgt.client, service, &creds, err);
	krb5_free_cred_contents(login->context, &creds);
	krb5_free_principal(login->context, service);
	return r;
}

/* A connection of gssapi's, whatever the section's method is: one of simple may be switched to fast bind. */
static int bind_with_ticket(const struct dc_check *dc, const struct krb5_login *login, bool bound, struct ldap_sasl_answer *answer, struct err *err)
{
	struct directory_conf conf = *dc->d->conf;
	struct ldap_conn *conn;
	uint64_t now_us = clock_mono_us(), deadline_us;
	int r;

	conf.method = DIRECTORY_GSSAPI;
	*answer = (struct ldap_sasl_answer){0};
	r = ldap_conn_open(&conf, dc->server, dc->d->tls, now_us + conf.connect_timeout * 1000ull, &conn, err);
	if (r < 0)
		return r;
	deadline_us = clock_mono_us() + conf.bind_timeout * 1000ull;
	r = bound ? ldap_sasl_bind_ccache(conn, login->ccache_name, deadline_us, answer, err)
		  : ldap_sasl_bind_unbound(conn, login->ccache_name, deadline_us, answer, err);
	ldap_conn_close(conn);
	return r;
}

/* The bind that is bound to its TLS connection was taken: is one that is not? */
static void tell_demand(struct dc_check *dc, const struct krb5_login *login, const char *what)
{
	struct findings *findings = dc->d->findings;
	struct ldap_sasl_answer answer;
	struct err err;
	int r = bind_with_ticket(dc, login, false, &answer, &err);

	if (r == 0)
		findings_good(findings, what, "a GSSAPI bind that is bound to its TLS connection is taken; the controller does not demand it");
	else if (r == -PTA_EPERM && strstr(answer.diagnostic, "80090346"))
		findings_good(findings, what, "the controller demands GSSAPI binds that are bound to their TLS connection, and takes the agent's");
	else
		findings_good(findings, what, "a GSSAPI bind that is bound to its TLS connection is taken; whether the controller demands it is not known: %s",
			err.text);
}

static void check_bind(struct dc_check *dc, struct krb5_login *login)
{
	struct directory_check *d = dc->d;
	bool needed = d->conf->method == DIRECTORY_GSSAPI || check_identity_in_keytab(d->conf);
	struct ldap_sasl_answer answer = {0};
	char what[FINDING_WHAT], mend[300];
	struct err err;
	int r = get_ldap_ticket(dc, login, &err);

	snprintf(
		mend, sizeof(mend), "see that servers has the controller's own name, and that it has the service principal name ldap/%.150s", dc->server->host);
	check_label(dc->server, dc->server->port, "channel binding", what);
	if (r == 0) {
		r = bind_with_ticket(dc, login, true, &answer, &err);
		if (strstr(answer.diagnostic, "80090346"))
			snprintf(mend, sizeof(mend),
				"take away what opens TLS between this host and the controller: it demands channel binding, and sees another certificate");
		else if (answer.result == LDAP_STRONG_AUTH_REQUIRED)
			snprintf(
				mend, sizeof(mend), "let the server take SASL binds within TLS (Samba: ldap server require strong auth = allow_sasl_over_tls)");
	}
	if (r == 0 && d->conf->tls != DIRECTORY_TLS_NONE)
		tell_demand(dc, login, what);
	else if (r == 0)
		findings_good(d->findings, what, "a GSSAPI bind, signed and sealed, is taken; without TLS there is nothing to bind to");
	else if (needed)
		findings_bad(d->findings, what, mend, "no GSSAPI bind as %s: %s", d->client, err.text);
	else
		findings_good(d->findings, what, "not known: no GSSAPI bind as %s, which the configuration does not need: %s", d->client, err.text);
}

static void check_key(struct dc_check *dc)
{
	struct directory_check *d = dc->d;
	uint64_t began_us = clock_mono_us();
	char what[FINDING_WHAT];
	struct krb5_login login;
	struct err err;
	int r = open_login(dc, &login, &err);

	if (r == 0)
		r = log_on(d, &login, &err);
	check_label(dc->server, dc->server->kdc_port, "keytab", what);
	if (r < 0) {
		tell_refused(dc, &login, r, what, &err);
	} else {
		d->keytab = ACCOUNT_GOOD;
		findings_good(d->findings, what, "%s logs on with the keytab's key, in %.1f ms", d->client, (double)(clock_mono_us() - began_us) / 1000);
		if (d->conf->method == DIRECTORY_KERBEROS && d->service)
			check_own_ticket(dc, &login);
		if (dc->dse_known && d->tls)
			check_bind(dc, &login);
	}
	krb5_login_done(&login);
}

void check_kerberos(struct dc_check *dc)
{
	if (tell_kdc(dc) && dc->d->client && dc->d->keytab != ACCOUNT_BAD)
		check_key(dc);
}
