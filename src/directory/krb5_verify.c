#include "directory/krb5_verify.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "directory/krb5_login.h"
#include "directory/name_fold.h"
#include "directory/pac_upn.h"

/* ---- the keytab's principal ---- */

static int choose(krb5_context context, const struct directory_conf *conf, krb5_keytab keytab, krb5_principal *out, struct err *err)
{
	krb5_keytab_entry entry;
	krb5_kt_cursor cursor;
	krb5_error_code code = krb5_kt_start_seq_get(context, keytab, &cursor);

	if (code) {
		krb5_login_error(context, code, "it cannot be read", err);
		return -PTA_EIO;
	}
	while ((code = krb5_kt_next_entry(context, keytab, &entry, &cursor)) == 0) {
		krb5_const_principal p = entry.principal;
		bool better = !*out || ((*out)->length != 2 && p->length == 2);

		if (better && directory_conf_allows_realm(conf, p->realm.data, p->realm.length)) {
			krb5_free_principal(context, *out);
			*out = NULL;
			code = krb5_copy_principal(context, p, out);
		}
		krb5_free_keytab_entry_contents(context, &entry);
		if (code)
			break;
	}
	krb5_kt_end_seq_get(context, keytab, &cursor);
	if (code != KRB5_KT_END)
		return krb5_login_error(context, code, "it cannot be read", err);
	return *out ? 0 : err_set(err, -PTA_ENOENT, "it has no key of a principal of this section's realm; make one for the agent's own account");
}

static int service_name(krb5_context context, const struct directory_conf *conf, char **out, struct err *err)
{
	krb5_keytab keytab = NULL;
	krb5_principal principal = NULL;
	krb5_error_code code = krb5_kt_resolve(context, conf->keytab, &keytab);
	char *name = NULL;
	int r;

	if (code)
		return krb5_login_error(context, code, "it cannot be opened", err);
	r = choose(context, conf, keytab, &principal, err);
	if (r == 0 && (krb5_unparse_name(context, principal, &name) || !(*out = strdup(name))))
		r = err_set(err, -PTA_ENOMEM, "out of memory");
	krb5_free_unparsed_name(context, name);
	krb5_free_principal(context, principal);
	krb5_kt_close(context, keytab);
	return r;
}

int krb5_verify_service(const struct directory_conf *conf, char **out, struct err *err)
{
	krb5_context context;
	krb5_error_code code = krb5_init_context(&context);
	int r;

	if (code)
		return krb5_login_error(NULL, code, "libkrb5 gives no context", err);
	r = service_name(context, conf, out, err);
	krb5_free_context(context);
	return r < 0 ? err_prefix(err, r, "[directory %s] keytab '%s': ", conf->name, conf->keytab) : 0;
}

/* ---- the ticket ---- */

/* Opens the ticket with the keytab, as the service that it is for. */
static krb5_error_code open_ticket(krb5_context context, krb5_keytab keytab, krb5_principal service, krb5_creds *creds, krb5_ticket **ticket)
{
	krb5_auth_context client = NULL, server = NULL;
	krb5_data request = {0};
	krb5_error_code code = krb5_mk_req_extended(context, &client, 0, NULL, creds, &request);

	if (!code)
		code = krb5_auth_con_init(context, &server);
	/* No replay cache: nobody sent this. */
	if (!code)
		code = krb5_auth_con_setflags(context, server, 0);
	if (!code)
		code = krb5_rd_req(context, &server, &request, service, keytab, NULL, ticket);
	krb5_free_data_contents(context, &request);
	krb5_auth_con_free(context, client);
	krb5_auth_con_free(context, server);
	return code;
}

/* The PAC's own signature is looked at, too: a KDC copies into a ticket what its client adds. */
static krb5_error_code read_upn(krb5_context context, krb5_keytab keytab, krb5_principal service, const krb5_ticket *ticket, char out[LIMIT_USERNAME + 1])
{
	const krb5_enc_tkt_part *part = ticket->enc_part2;
	krb5_authdata **found = NULL;
	krb5_keytab_entry entry = {0};
	krb5_data buffer = {0};
	krb5_pac pac = NULL;
	krb5_error_code code = krb5_find_authdata(context, part->authorization_data, NULL, KRB5_AUTHDATA_WIN2K_PAC, &found);

	if (!code && (!found || !found[0] || found[1]))
		code = ENOENT;
	if (!code)
		code = krb5_pac_parse(context, found[0]->contents, found[0]->length, &pac);
	if (!code)
		code = krb5_kt_get_entry(context, keytab, service, ticket->enc_part.kvno, ticket->enc_part.enctype, &entry);
	if (!code)
		code = krb5_pac_verify(context, pac, part->times.authtime, part->client, &entry.key, NULL);
	if (!code)
		code = krb5_pac_get_buffer(context, pac, PAC_UPN_DNS_INFO, &buffer);
	if (!code && pac_upn(buffer.data, buffer.length, out) < 0)
		code = KRB5_BADMSGTYPE;
	krb5_free_data_contents(context, &buffer);
	krb5_free_keytab_entry_contents(context, &entry);
	krb5_pac_free(context, pac);
	krb5_free_authdata(context, found);
	return code;
}

static int check_upn(krb5_context context, krb5_keytab keytab, krb5_principal service, krb5_creds *creds, const char *upn, struct err *err)
{
	char said[LIMIT_USERNAME + 1] = "";
	krb5_ticket *ticket = NULL;
	krb5_error_code code = open_ticket(context, keytab, service, creds, &ticket);

	if (!code)
		code = read_upn(context, keytab, service, ticket, said);
	krb5_free_ticket(context, ticket);
	if (code)
		return krb5_login_error(context, code,
			"the KDC answered for an account of another name, and the ticket's PAC does not show that the typed name is its UPN", err);
	if (!name_fold_equal(said, strlen(said), upn, strlen(upn)))
		return err_set(err, -PTA_ECRYPTO, "the KDC answered for the account whose UPN is '%s', which is not the typed name", said);
	return 0;
}

int krb5_verify_ticket(krb5_context context, const struct directory_conf *conf, krb5_principal service, krb5_creds *creds, const char *upn, struct err *err)
{
	krb5_verify_init_creds_opt options;
	krb5_keytab keytab = NULL;
	krb5_error_code code;
	int r = 0;

	/* For a ticket of any other service libkrb5 would go and ask a KDC for one. */
	if (!krb5_principal_compare(context, creds->server, service))
		return err_set(err, -PTA_ECRYPTO, "the ticket is for another service than the one in keytab '%s'", conf->keytab);
	code = krb5_kt_resolve(context, conf->keytab, &keytab);
	if (!code) {
		krb5_verify_init_creds_opt_init(&options);
		/* Else a missing keytab would pass. */
		krb5_verify_init_creds_opt_set_ap_req_nofail(&options, 1);
		code = krb5_verify_init_creds(context, creds, service, keytab, NULL, &options);
	}
	if (code)
		r = krb5_login_error(context, code, "the ticket for the agent's own account", err);
	else if (upn)
		r = check_upn(context, keytab, service, creds, upn, err);
	if (keytab)
		krb5_kt_close(context, keytab);
	return r < 0 ? err_prefix(err, r, "not verified with keytab '%s': ", conf->keytab) : 0;
}
