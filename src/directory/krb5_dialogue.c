#include "directory/krb5_dialogue.h"

#include <errno.h>
#include <inttypes.h>
#include <profile.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "directory/krb5_transport.h"

/* Everything that a request can want of a KDC, and some: an endless "ask again" ends here. */
#define MAX_ASKED 24
/* RFC 4120 5.2.7.2 and the default of every KDC */
#define CLOCK_SKEW_S 300
/* A KDC that wants less than RFC 3962's default collects passwords for guessing; one that wants more burns our CPU. */
#define ITERATIONS_MIN 4096u
#define ITERATIONS_MAX 262144u

void krb5_dialogue_clear(struct krb5_exchange *x)
{
	x->has_error = false;
	x->kdc_error = 0;
	x->nt_status = 0;
	x->error_before_proof = false;
}

int krb5_dialogue_err(const struct krb5_exchange *x, struct err *err, int r, const char *fmt, ...)
{
	char text[384];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return err_set(err, r, "KDC %s port %u: %s", x->server->host, x->server->kdc_port, text);
}

int krb5_dialogue_library_err(const struct krb5_exchange *x, struct err *err, int r, krb5_error_code code, const char *what)
{
	const char *message = krb5_get_error_message(x->context, code);

	krb5_dialogue_err(x, err, r, "%s: %s", what, message);
	krb5_free_error_message(x->context, message);
	return r;
}

/* The text of the KRB-ERROR in x. */
int krb5_dialogue_answer_err(const struct krb5_exchange *x, struct err *err)
{
	const char *message = krb5_get_error_message(x->context, (krb5_error_code)(ERROR_TABLE_BASE_krb5 + x->kdc_error));
	char status[32] = "";

	if (x->nt_status)
		snprintf(status, sizeof(status), ", NTSTATUS %08" PRIX32, x->nt_status);
	krb5_dialogue_err(x, err, -PTA_EPERM, "error %d (%s)%s", x->kdc_error, message, status);
	krb5_free_error_message(x->context, message);
	return -PTA_EPERM;
}

static int64_t allowed_skew_s(krb5_context context)
{
	profile_t profile = NULL;
	int seconds = CLOCK_SKEW_S;

	if (krb5_get_profile(context, &profile) == 0) {
		if (profile_get_integer(profile, "libdefaults", "clockskew", NULL, CLOCK_SKEW_S, &seconds) != 0)
			seconds = CLOCK_SKEW_S;
		profile_release(profile);
	}
	return seconds;
}

static int check_iterations(const struct krb5_exchange *x, int r, uint32_t least, uint32_t most, struct err *err)
{
	if (r < 0)
		return krb5_dialogue_err(x, err, -PTA_EPROTO, "what it says of string-to-key (ETYPE-INFO2) cannot be read");
	if (most && (least < ITERATIONS_MIN || most > ITERATIONS_MAX))
		return krb5_dialogue_err(x, err, -PTA_EPROTO, "it wants %" PRIu32 " to %" PRIu32 " string-to-key iterations; %u to %u are done", least, most,
			ITERATIONS_MIN, ITERATIONS_MAX);
	return 0;
}

/* Notes a KRB-ERROR; refuses a demand for preauthentication that must not be met. */
static int take_error(struct krb5_dialogue *d, const krb5_data *reply, struct err *err)
{
	struct krb5_exchange *x = d->x;
	krb5_error *error = NULL;
	krb5_error_code code;
	uint32_t least, most;
	int64_t ahead;
	int r = 0;

	code = krb5_rd_error(x->context, reply, &error);
	if (code)
		return krb5_dialogue_library_err(x, err, -PTA_EPROTO, code, "a KRB-ERROR that cannot be read");
	x->has_error = true;
	x->kdc_error = (int)error->error;
	x->error_before_proof = !d->proved;
	if (x->kdc_error != KDC_ERR_PREAUTH_REQUIRED)
		x->nt_status = krb5_message_nt_status(error->e_data.data, error->e_data.length);
	ahead = (int64_t)(uint32_t)error->stime - (int64_t)(clock_wall_ms() / 1000);
	x->clock_told = true;
	x->ahead_s = ahead;
	if (x->kdc_error == KDC_ERR_PREAUTH_REQUIRED) {
		/* The proof carries the time: told now, the password need not go out in vain. */
		if (ahead > allowed_skew_s(x->context) || ahead < -allowed_skew_s(x->context)) {
			x->kdc_error = KRB_AP_ERR_SKEW;
			r = krb5_dialogue_err(x, err, -PTA_EPERM, "its clock is %" PRId64 " s %s this host's; synchronize both", ahead < 0 ? -ahead : ahead,
				ahead < 0 ? "behind" : "ahead of");
		} else {
			r = krb5_message_iterations(error->e_data.data, error->e_data.length, &least, &most);
			r = check_iterations(x, r, least, most, err);
		}
	}
	krb5_free_error(x->context, error);
	return r;
}

/* The rules of what leaves this host. */
static int check_request(struct krb5_dialogue *d, const krb5_data *message, const krb5_data *realm, enum krb5_message_kind kind, struct err *err)
{
	struct krb5_exchange *x = d->x;
	enum krb5_message_proof proof;
	int32_t type;

	d->proved = false;
	if (realm->length != d->realm->length || memcmp(realm->data, d->realm->data, realm->length) != 0) {
		if (x->has_error)
			return krb5_dialogue_err(x, err, -PTA_EPERM, "it refers to realm %.*s, which it does not serve", (int)realm->length, realm->data);
		return krb5_dialogue_err(x, err, -PTA_ENOENT, "it refers to realm %.*s, which it does not serve", (int)realm->length, realm->data);
	}
	if (x->asked >= MAX_ASKED)
		return krb5_dialogue_err(x, err, -PTA_EPROTO, "still no end after %u messages", x->asked);
	if (krb5_message_kind(message->data, message->length) != kind)
		return krb5_dialogue_err(x, err, -PTA_EPROTO, "libkrb5 made a message of another kind");
	if (kind != KRB5_MESSAGE_AS_REQ)
		return 0;
	if (krb5_message_proof(message->data, message->length, &proof, &type) < 0)
		return krb5_dialogue_err(x, err, -PTA_EPROTO, "libkrb5 made an AS-REQ that cannot be read");
	if (proof == KRB5_PROOF_OTHER)
		return krb5_dialogue_err(x, err, -PTA_EPROTO, "libkrb5 wants to send preauthentication of type %" PRId32 ", which is not allowed", type);
	if (proof == KRB5_PROOF_TIMESTAMP && x->proved_asked)
		return krb5_dialogue_err(x, err, -PTA_EREPLAY, "it asks for a second proof of the password, which is not sent");
	d->proved = proof == KRB5_PROOF_TIMESTAMP;
	return 0;
}

/* Sends what libkrb5 made, and lays the answer into d->reply. */
int krb5_dialogue_ask(struct krb5_dialogue *d, const krb5_data *message, const krb5_data *realm, enum krb5_message_kind kind, struct err *err)
{
	struct krb5_exchange *x = d->x;
	enum krb5_message_kind got;
	uint32_t least, most;
	int r;

	r = check_request(d, message, realm, kind, err);
	if (r < 0)
		return r;
	krb5_dialogue_clear(x);
	d->answered = false;
	r = krb5_transport_ask(x, message->data, message->length, d->proved, &d->reply, err);
	if (d->proved)
		x->proved_asked = x->sent;
	if (r < 0)
		return r;
	got = krb5_message_kind(d->reply.data, d->reply.len);
	if (got == KRB5_MESSAGE_ERROR) {
		krb5_data reply = {.length = (unsigned)d->reply.len, .data = (char *)d->reply.data};

		return take_error(d, &reply, err);
	}
	/* The reply's tag is the request's plus one (RFC 4120 5.10). */
	if ((int)got != (int)kind + 1) {
		krb5_transport_close(x);
		return krb5_dialogue_err(x, err, -PTA_EPROTO, "the answer is no Kerberos message of the kind that was asked for");
	}
	d->answered = true;
	if (kind != KRB5_MESSAGE_AS_REQ)
		return 0;
	x->no_preauth = !d->proved;
	r = krb5_message_reply_iterations(d->reply.data, d->reply.len, &least, &most);
	return check_iterations(x, r, least, most, err);
}

/* libkrb5 gave up with this code. */
int krb5_dialogue_give_up(struct krb5_dialogue *d, krb5_error_code code, const char *what, struct err *err)
{
	struct krb5_exchange *x = d->x;

	if (x->has_error && x->kdc_error == KDC_ERR_PREAUTH_REQUIRED)
		return krb5_dialogue_library_err(x, err, -PTA_EPERM, code, "it wants preauthentication, but not by encrypted timestamp");
	if (x->has_error)
		return krb5_dialogue_answer_err(x, err);
	if (code == KRB5_KDCREP_SKEW) {
		x->has_error = true;
		x->kdc_error = KRB_AP_ERR_SKEW;
		return krb5_dialogue_library_err(x, err, -PTA_EPERM, code, what);
	}
	if (code == ENOMEM)
		return krb5_dialogue_library_err(x, err, -PTA_ENOMEM, code, what);
	if (d->answered && (code == KRB5KRB_AP_ERR_BAD_INTEGRITY || code == KRB5_BAD_MSIZE))
		return krb5_dialogue_library_err(x, err, -PTA_ECRYPTO, code, x->no_preauth ? "its reply does not open with this password" : what);
	return krb5_dialogue_library_err(x, err, -PTA_EPROTO, code, what);
}
