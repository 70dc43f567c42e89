#include "service/enroll.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "service/agent_auth.h"
#include "service/routes.h"
#include "service/service.h"

struct enroll {
	struct service_call call;
	struct httpd_request *http; /* NULL: the agent has hung up; it will ask again */
	const struct ca *ca;
	bool renewal;
	char known_agent[LIMIT_ID + 1]; /* "" when there is none */
	uint8_t key_hash[32];
	struct message_register m; /* a renewal has only the CSR */
	struct message_certificate out;
	char fingerprint[65];
};

static struct enroll *enroll_of(struct registry_call *call)
{
	return (struct enroll *)MAIL_CONTAINER(call, struct service_call, call);
}

static int issue(struct enroll *e, struct registry_db *db, const char *token_id, struct err *err)
{
	struct ca_issued *issued = malloc(sizeof(*issued));
	int r;

	if (!issued)
		return err_set(err, -PTA_ENOMEM, "there is no memory for a certificate");
	r = ca_issue_agent(e->ca, e->m.csr, strlen(e->m.csr), e->out.agent, e->out.tenant, e->out.group, issued, err);
	if (r == 0)
		r = registry_certificate_add(db, e->out.agent, token_id, issued->fingerprint, issued->serial, issued->not_after_ms, issued->pem, err);
	if (r == 0) {
		memcpy(e->out.certificate, issued->pem, sizeof(e->out.certificate));
		memcpy(e->fingerprint, issued->fingerprint, sizeof(e->fingerprint));
	}
	free(issued);
	return r;
}

static int run_register(struct registry_call *call, struct registry_db *db)
{
	struct enroll *e = enroll_of(call);
	struct registry_agent agent = {0};
	bool again = false;
	int r = registry_token_use(db, e->m.token_id, e->m.token_secret, e->key_hash, e->known_agent[0] ? e->known_agent : NULL, e->m.host, e->m.version,
		&agent, &again, e->out.certificate, &call->err);

	if (r < 0)
		return r;
	memcpy(e->out.agent, agent.id, sizeof(e->out.agent));
	memcpy(e->out.tenant, agent.tenant, sizeof(e->out.tenant));
	memcpy(e->out.group, agent.group, sizeof(e->out.group));
	return again ? 0 : issue(e, db, e->m.token_id, &call->err);
}

static int run_renew(struct registry_call *call, struct registry_db *db)
{
	return issue(enroll_of(call), db, NULL, &call->err);
}

static void reply_failure(struct enroll *e)
{
	const char *text = e->call.call.err.text;

	switch (-e->call.call.status) {
	case PTA_EPERM:
		httpd_reply_error(e->http, 403, e->renewal ? MESSAGE_ERROR_CERTIFICATE : MESSAGE_ERROR_TOKEN, NULL, "%s", text);
		return;
	case PTA_EINVAL:
		httpd_reply_error(e->http, 400, "bad_message", NULL, "%s", text);
		return;
	default:
		httpd_reply_error(e->http, 500, "internal", NULL, "the certificate could not be issued; the service's log says why");
	}
}

static void reply_certificate(struct enroll *e)
{
	struct buf out = BUF_INIT(2 * LIMIT_CERTIFICATE);

	message_encode_certificate(&out, &e->out);
	if (buf_ok(&out))
		httpd_reply(e->http, 200, out.data, out.len);
	else
		httpd_reply_error(e->http, 503, "no_memory", NULL, "there is no memory for the answer: ask again");
	buf_done(&out);
}

static void done(struct service_call *call)
{
	struct enroll *e = (struct enroll *)call;
	int status = call->call.status;

	if (status < 0)
		log_event(LOG_WARNING, e->renewal ? "agent.renew_failed" : "agent.register_failed", F_STR("agent", e->out.agent[0] ? e->out.agent : NULL),
			F_STR("host", e->m.host[0] ? e->m.host : NULL), F_STR("error", call->call.err.text));
	else
		log_event(LOG_NOTICE, e->renewal ? "agent.renewed" : "agent.registered", F_STR("agent", e->out.agent), F_STR("tenant", e->out.tenant),
			F_STR("group", e->out.group), F_STR("host", e->m.host[0] ? e->m.host : NULL),
			F_STR("certificate", e->fingerprint[0] ? e->fingerprint : NULL));
	if (e->http && status < 0)
		reply_failure(e);
	else if (e->http)
		reply_certificate(e);
	secret_wipe(e->m.token_secret, sizeof(e->m.token_secret));
	free(e);
}

static void hung_up(void *arg)
{
	struct enroll *e = arg;

	e->http = NULL;
}

/* Checks the CSR here, where it costs no other agent's time, and hands the rest to the writer. */
static void submit(struct enroll *e, struct httpd_request *request, struct service_thread *thread)
{
	struct err err;

	if (ca_csr_key_hash(e->m.csr, strlen(e->m.csr), e->key_hash, &err) < 0) {
		httpd_reply_error(request, 400, "bad_message", "csr", "%s", err.text);
		secret_wipe(e->m.token_secret, sizeof(e->m.token_secret));
		free(e);
		return;
	}
	e->http = request;
	e->ca = thread->service->ca;
	e->call.done = done;
	httpd_on_close(request, hung_up, e);
	service_call_submit(thread, &e->call);
}

static struct enroll *enroll_new(struct httpd_request *request)
{
	struct enroll *e = calloc(1, sizeof(*e));

	if (!e)
		httpd_reply_error(request, 503, "no_memory", NULL, "there is no memory for another registration");
	return e;
}

void enroll_route_register(struct httpd_request *request, void *arg)
{
	struct service_thread *thread = arg;
	const char *field = NULL, *known;
	struct enroll *e;
	struct err err;
	size_t len;
	const uint8_t *body = httpd_body(request, &len);

	routes_put_time(request);
	e = enroll_new(request);
	if (!e)
		return;
	if (message_decode_register(body, len, &e->m, &field, &err) < 0) {
		httpd_body_wipe(request);
		httpd_reply_error(request, 400, "bad_message", field && *field ? field : NULL, "%s", err.text);
		free(e);
		return;
	}
	httpd_body_wipe(request);
	known = agent_auth_known(request, thread);
	if (known)
		snprintf(e->known_agent, sizeof(e->known_agent), "%s", known);
	e->call.call.run = run_register;
	submit(e, request, thread);
}

void enroll_route_renew(struct httpd_request *request, void *arg)
{
	struct service_thread *thread = arg;
	struct agent_connection *c;
	struct message_renew *m;
	const char *field = NULL;
	struct enroll *e;
	struct err err;
	size_t len;
	const uint8_t *body = httpd_body(request, &len);
	int r;

	routes_put_time(request);
	c = agent_auth(request, thread);
	if (!c)
		return;
	e = enroll_new(request);
	if (!e)
		return;
	m = malloc(sizeof(*m));
	r = m ? message_decode_renew(body, len, m, &field, &err) : err_set(&err, -PTA_ENOMEM, "there is no memory for another renewal");
	if (r < 0) {
		httpd_reply_error(request, m ? 400 : 503, m ? "bad_message" : "no_memory", field && *field ? field : NULL, "%s", err.text);
		free(m);
		free(e);
		return;
	}
	memcpy(e->m.csr, m->csr, sizeof(e->m.csr));
	free(m);
	e->renewal = true;
	memcpy(e->out.agent, c->peer.agent, sizeof(e->out.agent));
	memcpy(e->out.tenant, c->peer.tenant, sizeof(e->out.tenant));
	memcpy(e->out.group, c->peer.group, sizeof(e->out.group));
	e->call.call.run = run_renew;
	submit(e, request, thread);
}
