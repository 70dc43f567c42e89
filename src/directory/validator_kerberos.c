#include "directory/validator_kerberos.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "directory/krb5_login.h"
#include "directory/krb5_verify.h"
#include "directory/worker_validator.h"

struct kerberos {
	const struct directory_conf *conf;
	char *service; /* the agent's own principal, as text: principals belong to a context */
};

static void kerberos_state_free(void *state)
{
	struct kerberos *k = state;

	free(k->service);
	free(k);
}

static int kerberos_state_new(const struct directory_conf *conf, void **state, struct err *err)
{
	struct kerberos *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	k->conf = conf;
	r = krb5_verify_service(conf, &k->service, err);
	if (r < 0) {
		kerberos_state_free(k);
		return r;
	}
	*state = k;
	return 0;
}

/* The TGT is there. Sets the verdict. */
static void prove(struct kerberos *k, struct krb5_login *login, struct attempt *attempt)
{
	const char *name = krb5_login_renamed(login, &attempt->job->credential) ? attempt->job->credential.name : NULL;
	krb5_principal service = NULL;
	krb5_creds creds = {0};
	struct err err = {""};
	uint64_t started;
	int r;

	r = krb5_parse_name(login->context, k->service, &service) ? -PTA_ENOMEM : 0;
	if (r == 0 && krb5_login_ticket(login, attempt, service, &creds) == 0) {
		krb5_free_principal(login->context, service);
		return;
	}
	started = clock_mono_us();
	if (r == 0)
		r = krb5_verify_ticket(login->context, k->conf, service, &creds, name, &err);
	else
		err_set(&err, r, "the keytab's principal: out of memory");
	krb5_free_cred_contents(login->context, &creds);
	krb5_free_principal(login->context, service);
	attempt_step(attempt, "verify", clock_mono_us() - started, r == 0 ? "the agent's key opens the ticket" : err.text);
	if (r == 0) {
		attempt->verdict = verdict_make(VERDICT_SUCCESS);
		attempt->verdict.password_sent = login->x.sent;
		snprintf(attempt->verdict.detail, sizeof(attempt->verdict.detail), "0");
		return;
	}
	attempt_unavailable(attempt, REASON_AGENT_ERROR, login->x.sent, err.text);
	attempt->fault = true;
}

static int kerberos_validate(void *state, struct attempt *attempt, struct err *err)
{
	struct kerberos *k = state;
	struct krb5_login login;
	int r = krb5_login_init(&login, k->conf, attempt->server, attempt->connect_deadline_us, attempt->deadline_us, err);

	if (r < 0) {
		/* Nothing that another controller could mend. */
		attempt_unavailable(attempt, REASON_AGENT_ERROR, false, err->text);
		attempt->fault = true;
		r = 0;
	} else {
		r = krb5_login_password(&login, attempt, err);
	}
	if (r > 0) {
		prove(k, &login, attempt);
		r = 0;
	}
	krb5_login_done(&login);
	return r;
}

static int kerberos_probe(void *state, const struct directory_server *server, uint64_t deadline_us, struct err *err)
{
	struct kerberos *k = state;

	return krb5_login_probe(k->conf, server, deadline_us, err);
}

static const struct worker_method method = {
	.method = &validator_kerberos,
	.open = kerberos_state_new,
	.close = kerberos_state_free,
	.validate = kerberos_validate,
	.probe = kerberos_probe,
};

static int kerberos_open(const struct directory_conf *conf, struct dc_pool *pool, struct validator **out, struct err *err)
{
	return worker_validator_open(&method, conf, pool, out, err);
}

const struct validator_method validator_kerberos = {
	.name = "kerberos",
	.open = kerberos_open,
	.start = worker_validator_start,
	.capacity = worker_validator_capacity,
	.changed = worker_validator_changed,
	.close = worker_validator_close,
	.report = worker_validator_report,
};
