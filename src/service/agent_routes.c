#include "service/agent_routes.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "service/agent_auth.h"
#include "service/routes.h"
#include "service/service.h"
#include "service/service_metrics.h"
#include "wire/pki.h"

/* A batch that grew beyond this gives its memory back. */
#define SCRATCH_KEPT (256u << 10)

static void bad_message(struct httpd_request *request, const char *field, const struct err *err)
{
	httpd_reply_error(request, 400, "bad_message", field && *field ? field : NULL, "%s", err->text);
}

static int verify(const struct agent_connection *c, const struct buf *signed_bytes, const struct message_key *key)
{
	const uint8_t *at = c->key;
	EVP_PKEY *agent_key PTA_CLEANUP(pki_key_freep) = d2i_PUBKEY(NULL, &at, (long)c->key_len);

	return agent_key ? pki_verify(agent_key, signed_bytes->data, signed_bytes->len, key->signature, key->signature_len) : -PTA_ENOMEM;
}

void agent_route_keys(struct httpd_request *request, void *arg)
{
	struct service_thread *thread = arg;
	struct agent_connection *c;
	struct message_key key;
	struct buf signed_bytes = BUF_INIT(4096);
	const char *field = NULL;
	struct err err;
	size_t len;
	const uint8_t *body = httpd_body(request, &len);
	int r;

	routes_put_time(request);
	c = agent_auth(request, thread);
	if (!c)
		return;
	if (message_decode_key(body, len, &key, &field, &err) < 0) {
		bad_message(request, field, &err);
		return;
	}
	message_key_signed(&signed_bytes, c->peer.tenant, c->peer.agent, &key);
	r = buf_ok(&signed_bytes) ? verify(c, &signed_bytes, &key) : -PTA_ENOMEM;
	buf_done(&signed_bytes);
	if (r < 0) {
		log_event(LOG_WARNING, "agent.key_refused", F_STR("agent", c->peer.agent), F_STR("key", key.key_id), F_STR("why", "signature"));
		httpd_reply_error(request, 400, "bad_signature", "signature", "the key is not signed by the key of the agent's certificate");
		return;
	}
	if (dispatch_publish(thread->service->dispatch, thread->port, &c->peer, &key, &err) < 0) {
		httpd_reply_error(request, 409, "key_refused", NULL, "%s", err.text);
		return;
	}
	log_event(LOG_INFO, "agent.key", F_STR("agent", c->peer.agent), F_STR("key", key.key_id), F_STR("instance", key.instance));
	httpd_reply(request, 200, "{}", 2);
}

struct agent_poll {
	struct dispatch_poll poll;
	struct service_thread *thread;
	struct httpd_request *http;  /* NULL: the connection is gone */
	struct message_list refused; /* of its results */
	struct dispatch_copy *batch; /* while its answer is being written */
};

static void poll_free(struct agent_poll *p)
{
	message_list_done(&p->refused);
	free(p);
}

static void poll_closed(void *arg)
{
	struct agent_poll *p = arg;

	p->http = NULL;
	if (dispatch_poll_gone(p->thread->service->dispatch, &p->poll))
		poll_free(p);
}

/* ---- what it brings ---- */

/* NULL: taken. Else a MESSAGE_REFUSED_*. */
static const char *take_answer(struct service_thread *thread, struct agent_connection *c, const char *instance, const struct message_result *result)
{
	struct dispatch *dispatch = thread->service->dispatch;
	struct dispatch_claim claim;
	const char *refused = NULL;
	struct verdict verdict;
	struct err err;

	if (dispatch_claim(dispatch, &c->peer, instance, result->request_id, result->attempt, &claim, &refused) < 0)
		return refused;
	if (envelope_open_answer(claim.answer_key, &claim.head, claim.username, result->answer, result->answer_len, &verdict, &err) < 0) {
		dispatch_unclaim(dispatch, &claim);
		log_event(LOG_WARNING, "result.bad_answer", F_STR("request", result->request_id), F_STR("agent", c->peer.agent), F_STR("error", err.text));
		return MESSAGE_REFUSED_ANSWER;
	}
	return dispatch_finish(dispatch, thread->port, &claim, &verdict) ? NULL : MESSAGE_REFUSED_UNKNOWN;
}

static const char *take(struct service_thread *thread, struct agent_connection *c, const char *instance, const struct message_result *result)
{
	const char *refused = NULL;

	if (!result->declined)
		return take_answer(thread, c, instance, result);
	log_event(LOG_INFO, "request.declined", F_STR("request", result->request_id), F_STR("agent", c->peer.agent),
		F_STR("reason", verdict_reason_name(result->decline_reason)));
	if (dispatch_decline(
		    thread->service->dispatch, thread->port, &c->peer, instance, result->request_id, result->attempt, result->decline_reason, &refused) < 0)
		return refused;
	return NULL;
}

static void take_results(struct service_thread *thread, struct agent_connection *c, const struct message_poll *m, struct message_list *refusals)
{
	mailbox_hold(); /* the other threads find all their answers */
	for (size_t i = 0; i < m->n; i++) {
		const struct message_result *result = &m->results[i];
		const char *refused = take(thread, c, m->instance, result);

		if (!refused)
			continue;
		service_metrics_result_refused(refused);
		log_event(LOG_NOTICE, "result.discarded", F_STR("request", result->request_id), F_UINT("attempt", result->attempt), F_STR("agent", c->peer.agent),
			F_STR("why", refused));
		message_refused_item(refusals, result->request_id, result->attempt, refused);
	}
	mailbox_release();
}

/* ---- what it gets ---- */

static void batch_written(void *arg, bool written)
{
	struct agent_poll *p = arg;

	dispatch_handed(p->thread->service->dispatch, p->thread->port, p->batch, written);
	poll_free(p);
}

/* What a big batch has made of them is not kept. */
static void shrink(struct service_thread *thread)
{
	if (thread->scratch.cap <= SCRATCH_KEPT)
		return;
	message_list_done(&thread->requests);
	buf_done(&thread->scratch);
}

static void answer_batch(struct agent_poll *p)
{
	struct message_list *requests = &p->thread->requests;
	struct buf *out = &p->thread->scratch;

	message_list_reset(requests);
	buf_reset(out);
	for (const struct dispatch_copy *copy = p->poll.batch; copy; copy = copy->next)
		message_request_item(requests, &copy->message);
	message_encode_batch(out, requests, &p->refused);
	p->batch = p->poll.batch;
	if (!buf_ok(out)) {
		log_event(LOG_ERR, "poll.no_memory", F_UINT("requests", requests->n));
		httpd_reply_error(p->http, 503, "no_memory", NULL, "there is no memory for the answer");
		batch_written(p, false);
	} else {
		struct service_thread *thread = p->thread;

		if (requests->n)
			service_metrics_batch(requests->n);
		httpd_reply_watched(p->http, 200, MESSAGE_POLL_TYPE, out->data, out->len, batch_written, p);
		shrink(thread);
	}
}

/* Nothing to be validated; what was refused of its results is told all the same. */
static void answer_empty(struct agent_poll *p)
{
	if (p->refused.n) {
		answer_batch(p);
		return;
	}
	httpd_reply(p->http, 204, NULL, 0);
	poll_free(p);
}

void agent_poll_answer(struct dispatch_poll *poll, void *arg)
{
	struct agent_poll *p = (struct agent_poll *)poll;

	(void)arg;
	if (!p->http) {
		p->batch = poll->batch;
		batch_written(p, false);
		return;
	}
	/* The time of the answer: the agent judges expiry by it, and it was parked with that of its arrival. */
	routes_put_time(p->http);
	switch (poll->outcome) {
	case DISPATCH_POLL_BATCH:
		answer_batch(p);
		break;
	case DISPATCH_POLL_EMPTY:
		answer_empty(p);
		break;
	case DISPATCH_POLL_REVOKED:
		httpd_reply_error(p->http, 403, MESSAGE_ERROR_CERTIFICATE, NULL, "the agent was revoked");
		poll_free(p);
		break;
	}
}

static struct agent_poll *poll_new(struct service_thread *thread, struct httpd_request *request, const struct message_poll *m)
{
	struct agent_poll *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->thread = thread;
	p->http = request;
	p->poll.number = m->number;
	p->poll.credit = m->credit;
	p->poll.receipt = m->n > 0;
	p->refused = MESSAGE_LIST(LIMIT_RESULTS * 128);
	return p;
}

static void park(struct agent_poll *p, struct agent_connection *c, const char *instance)
{
	struct service_thread *thread = p->thread;
	int hold_ms = p->poll.receipt ? POLL_HOLD_RESULTS_MS : POLL_HOLD_MS;

	httpd_on_close(p->http, poll_closed, p);
	if (dispatch_park(thread->service->dispatch, thread->port, &c->peer, instance, &p->poll) == 0) {
		service_due(thread, clock_mono_us() + (uint64_t)hold_ms * 1000);
		return;
	}
	httpd_on_close(p->http, NULL, NULL);
	httpd_reply_error(p->http, 409, MESSAGE_ERROR_KEY_UNKNOWN, NULL, "no key of this instance is known here: publish one, then poll");
	poll_free(p);
}

void agent_route_poll(struct httpd_request *request, void *arg)
{
	struct service_thread *thread = arg;
	struct agent_connection *c;
	struct message_poll m;
	struct agent_poll *p;
	struct err err;
	size_t len;
	const uint8_t *body = httpd_body(request, &len);

	routes_put_time(request);
	c = agent_auth(request, thread);
	if (!c)
		return;
	if (message_decode_poll(body, len, &m, &err) < 0) {
		bad_message(request, NULL, &err);
		return;
	}
	p = poll_new(thread, request, &m);
	if (!p) {
		/* Nothing of it was taken: it is posted again. */
		httpd_reply_error(request, 503, "no_memory", NULL, "there is no memory for another poll");
	} else {
		take_results(thread, c, &m, &p->refused);
		if (m.credit)
			park(p, c, m.instance);
		else
			answer_empty(p);
	}
	message_poll_done(&m);
}
