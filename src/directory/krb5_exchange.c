#include "directory/krb5_exchange.h"

#include <stdio.h>
#include <string.h>

#include "directory/krb5_dialogue.h"
#include "directory/krb5_transport.h"

/* The ticket serves one validation. More than the clocks may differ, so that it is never born dead. */
#define TICKET_LIFE_S 900

void krb5_exchange_init(struct krb5_exchange *x, krb5_context context, const struct directory_server *server, uint64_t deadline_us, unsigned reply_timeout_ms)
{
	*x = (struct krb5_exchange){.context = context, .server = server, .deadline_us = deadline_us, .reply_timeout_ms = reply_timeout_ms, .fd = -1};
}

void krb5_exchange_done(struct krb5_exchange *x)
{
	krb5_transport_close(x);
}

/* krb5_init_creds_step() and krb5_tkt_creds_step() are of one kind. */
typedef krb5_error_code (*step)(krb5_context context, void *ctx, krb5_data *in, krb5_data *out, krb5_data *realm, unsigned *flags);

_Static_assert(KRB5_INIT_CREDS_STEP_FLAG_CONTINUE == KRB5_TKT_CREDS_STEP_FLAG_CONTINUE, "run() asks for one of them");

static krb5_error_code initial_step(krb5_context context, void *ctx, krb5_data *in, krb5_data *out, krb5_data *realm, unsigned *flags)
{
	return krb5_init_creds_step(context, ctx, in, out, realm, flags);
}

static krb5_error_code ticket_step(krb5_context context, void *ctx, krb5_data *in, krb5_data *out, krb5_data *realm, unsigned *flags)
{
	return krb5_tkt_creds_step(context, ctx, in, out, realm, flags);
}

/* Asks and answers until libkrb5 has what it wants. */
static int run(struct krb5_dialogue *d, step next, void *ctx, enum krb5_message_kind kind, const char *what, struct err *err)
{
	struct krb5_exchange *x = d->x;

	for (;;) {
		krb5_data in = {.length = (unsigned)d->reply.len, .data = (char *)d->reply.data}, out = {0}, realm = {0};
		krb5_error_code code;
		unsigned flags = 0;
		int r = 0;

		code = next(x->context, ctx, &in, &out, &realm, &flags);
		if (code == 0 && (flags & KRB5_INIT_CREDS_STEP_FLAG_CONTINUE))
			r = krb5_dialogue_ask(d, &out, &realm, kind, err);
		krb5_free_data_contents(x->context, &out);
		krb5_free_data_contents(x->context, &realm);
		if (r < 0)
			return r;
		if (code)
			return krb5_dialogue_give_up(d, code, what, err);
		if (!(flags & KRB5_INIT_CREDS_STEP_FLAG_CONTINUE))
			return 0;
	}
}

static int run_initial(struct krb5_dialogue *d, krb5_init_creds_context ctx, krb5_creds *creds, struct err *err)
{
	static const char what[] = "getting a ticket";
	krb5_error_code code;
	int r = run(d, initial_step, ctx, KRB5_MESSAGE_AS_REQ, what, err);

	if (r < 0)
		return r;
	code = krb5_init_creds_get_creds(d->x->context, ctx, creds);
	return code ? krb5_dialogue_give_up(d, code, what, err) : 0;
}

static int make_options(krb5_context context, krb5_get_init_creds_opt **out)
{
	if (krb5_get_init_creds_opt_alloc(context, out))
		return -PTA_ENOMEM;
	krb5_get_init_creds_opt_set_canonicalize(*out, 1);
	krb5_get_init_creds_opt_set_forwardable(*out, 0);
	krb5_get_init_creds_opt_set_proxiable(*out, 0);
	krb5_get_init_creds_opt_set_renew_life(*out, 0);
	krb5_get_init_creds_opt_set_tkt_life(*out, TICKET_LIFE_S);
	return 0;
}

/* With the password, or with the keytab. */
static int initial(
	struct krb5_exchange *x, krb5_principal client, struct secret *password, krb5_keytab keytab, const char *service, krb5_creds *creds, struct err *err)
{
	struct krb5_dialogue d = {.x = x, .realm = &client->realm, .reply = BUF_INIT_WIPED(KRB5_MESSAGE_MAX)};
	krb5_get_init_creds_opt *options = NULL;
	krb5_init_creds_context ctx = NULL;
	krb5_error_code code;
	int r;

	krb5_dialogue_clear(x);
	x->no_preauth = false;
	if (x->proved_asked)
		return krb5_dialogue_err(x, err, -PTA_EREPLAY, "the password was proved to it before, and is not again");
	if (make_options(x->context, &options) < 0)
		return err_set(err, -PTA_ENOMEM, "a Kerberos exchange: out of memory");
	code = krb5_init_creds_init(x->context, client, NULL, NULL, 0, options, &ctx);
	if (code == 0 && service)
		code = krb5_init_creds_set_service(x->context, ctx, service);
	/* libkrb5 keeps a copy, which it wipes with the context. */
	if (code == 0 && password)
		code = krb5_init_creds_set_password(x->context, ctx, (const char *)secret_bytes(password));
	r = code ? krb5_dialogue_library_err(x, err, -PTA_ENOMEM, code, "preparing a ticket's request") : 0;
	if (r == 0 && keytab) {
		code = krb5_init_creds_set_keytab(x->context, ctx, keytab);
		r = code ? krb5_dialogue_library_err(x, err, -PTA_ECRYPTO, code, "taking the key from the keytab") : 0;
	}
	if (r == 0)
		r = run_initial(&d, ctx, creds, err);
	if (ctx)
		krb5_init_creds_free(x->context, ctx);
	krb5_get_init_creds_opt_free(x->context, options);
	buf_done(&d.reply);
	secret_wipe_stack();
	return r;
}

int krb5_exchange_initial(struct krb5_exchange *x, krb5_principal client, struct secret *password, const char *service, krb5_creds *creds, struct err *err)
{
	if (secret_len(password) == 0 || memchr(secret_bytes(password), '\0', secret_len(password))) {
		krb5_dialogue_clear(x);
		x->no_preauth = false;
		return err_set(err, -PTA_EINVAL, "an empty password, or one with a NUL, is not tried");
	}
	return initial(x, client, password, NULL, service, creds, err);
}

int krb5_exchange_initial_keytab(struct krb5_exchange *x, krb5_principal client, krb5_keytab keytab, krb5_creds *creds, struct err *err)
{
	return initial(x, client, NULL, keytab, NULL, creds, err);
}

static int run_ticket(struct krb5_dialogue *d, krb5_tkt_creds_context ctx, krb5_creds *creds, struct err *err)
{
	static const char what[] = "getting a service's ticket";
	krb5_error_code code;
	int r = run(d, ticket_step, ctx, KRB5_MESSAGE_TGS_REQ, what, err);

	if (r < 0)
		return r;
	code = krb5_tkt_creds_get_creds(d->x->context, ctx, creds);
	return code ? krb5_dialogue_give_up(d, code, what, err) : 0;
}

int krb5_exchange_ticket(struct krb5_exchange *x, krb5_ccache ccache, krb5_principal client, krb5_principal service, krb5_creds *creds, struct err *err)
{
	struct krb5_dialogue d = {.x = x, .realm = &client->realm, .reply = BUF_INIT_WIPED(KRB5_MESSAGE_MAX)};
	krb5_creds wanted = {.client = client, .server = service};
	krb5_tkt_creds_context ctx = NULL;
	krb5_error_code code;
	int r;

	krb5_dialogue_clear(x);
	code = krb5_tkt_creds_init(x->context, ccache, &wanted, 0, &ctx);
	r = code ? krb5_dialogue_library_err(x, err, -PTA_ENOMEM, code, "preparing a service ticket's request") : run_ticket(&d, ctx, creds, err);
	if (ctx)
		krb5_tkt_creds_free(x->context, ctx);
	buf_done(&d.reply);
	return r;
}

static int run_probe(struct krb5_dialogue *d, krb5_init_creds_context ctx, struct err *err)
{
	struct krb5_exchange *x = d->x;
	krb5_data in = {0}, out = {0}, realm = {0};
	krb5_error_code code;
	unsigned flags = 0;
	int r;

	code = krb5_init_creds_step(x->context, ctx, &in, &out, &realm, &flags);
	r = code ? krb5_dialogue_give_up(d, code, "preparing a probe", err) : krb5_dialogue_ask(d, &out, &realm, KRB5_MESSAGE_AS_REQ, err);
	krb5_free_data_contents(x->context, &out);
	krb5_free_data_contents(x->context, &realm);
	if (!x->has_error)
		return r;
	/* Whatever is wrong with krbtgt's account, or between the clocks: the KDC answers. */
	return x->kdc_error == KDC_ERR_WRONG_REALM || x->kdc_error == KDC_ERR_SVC_UNAVAILABLE ? krb5_dialogue_answer_err(x, err) : 0;
}

int krb5_exchange_probe(struct krb5_exchange *x, const char *realm, struct err *err)
{
	krb5_init_creds_context ctx = NULL;
	krb5_principal client = NULL;
	krb5_error_code code;
	struct krb5_dialogue d;
	int r;

	krb5_dialogue_clear(x);
	code = krb5_build_principal(x->context, &client, (unsigned)strlen(realm), realm, KRB5_TGS_NAME, realm, NULL);
	if (code)
		return krb5_dialogue_library_err(x, err, -PTA_ENOMEM, code, "preparing a probe");
	d = (struct krb5_dialogue){.x = x, .realm = &client->realm, .reply = BUF_INIT(KRB5_MESSAGE_MAX)};
	code = krb5_init_creds_init(x->context, client, NULL, NULL, 0, NULL, &ctx);
	r = code ? krb5_dialogue_library_err(x, err, -PTA_ENOMEM, code, "preparing a probe") : run_probe(&d, ctx, err);
	if (ctx)
		krb5_init_creds_free(x->context, ctx);
	krb5_free_principal(x->context, client);
	buf_done(&d.reply);
	return r;
}

enum ad_status_health krb5_exchange_verdict(const struct krb5_exchange *x, int r, struct verdict *out)
{
	enum ad_status_health health = AD_STATUS_FAULT;
	enum verdict_code code = VERDICT_UNAVAILABLE;
	enum verdict_reason reason = REASON_AGENT_ERROR;
	const char *detail = "";

	if (r == -PTA_EPERM && x->has_error)
		return ad_status_kdc(x->kdc_error, x->nt_status, x->sent, out);
	if (r == -PTA_ECRYPTO && x->no_preauth) {
		code = VERDICT_INVALID_CREDENTIALS;
		detail = "the AS-REP, without preauthentication, does not open";
		health = AD_STATUS_WELL;
	} else if (r == -PTA_ETIMEDOUT || r == -PTA_ENET) {
		reason = r == -PTA_ETIMEDOUT ? REASON_TIMEOUT : REASON_DIRECTORY_UNREACHABLE;
		health = AD_STATUS_BUSY;
	}
	out->code = code;
	out->reason = reason;
	out->password_proved = false;
	out->password_sent = x->sent;
	snprintf(out->detail, sizeof(out->detail), "%s", detail);
	return health;
}
