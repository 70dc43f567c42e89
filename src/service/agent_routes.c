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
	r = buf_ok(&signed_bytes)
		    ? pki_verify(X509_get0_pubkey(httpd_peer_certificate(request)), signed_bytes.data, signed_bytes.len, key.signature, key.signature_len)
		    : -PTA_ENOMEM;
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
	struct dispatch_copy *batch; /* while its answer is being written */
};

static void poll_closed(void *arg)
{
	struct agent_poll *p = arg;

	p->http = NULL;
	if (dispatch_poll_gone(p->thread->service->dispatch, &p->poll))
		free(p);
}

void agent_route_poll(struct httpd_request *request, void *arg)
{
	struct service_thread *thread = arg;
	struct agent_connection *c;
	struct message_poll m;
	struct agent_poll *p;
	const char *field = NULL;
	struct err err;
	size_t len;
	const uint8_t *body = httpd_body(request, &len);
	int r;

	routes_put_time(request);
	c = agent_auth(request, thread);
	if (!c)
		return;
	if (message_decode_poll(body, len, &m, &field, &err) < 0) {
		bad_message(request, field, &err);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p) {
		httpd_reply_error(request, 503, "no_memory", NULL, "there is no memory for another poll");
		return;
	}
	p->thread = thread;
	p->http = request;
	p->poll.number = m.number;
	p->poll.credit = m.credit;
	httpd_on_close(request, poll_closed, p);
	r = dispatch_park(thread->service->dispatch, thread->port, &c->peer, m.instance, &p->poll);
	if (r == 0) {
		service_due(thread, clock_mono_us() + POLL_HOLD_MS * 1000ull);
		return;
	}
	httpd_on_close(request, NULL, NULL);
	free(p);
	if (r == -PTA_ENOENT)
		httpd_reply_error(request, 409, MESSAGE_ERROR_KEY_UNKNOWN, NULL, "no key of this instance is known here: publish one, then poll");
	else
		httpd_reply_error(request, 429, "too_many_polls", NULL, "%d polls of this agent are parked already", DISPATCH_POLLS);
}

static void batch_written(void *arg, bool written)
{
	struct agent_poll *p = arg;

	dispatch_handed(p->thread->service->dispatch, p->thread->port, p->batch, written);
	free(p);
}

static void answer_batch(struct agent_poll *p)
{
	struct buf *out = &p->thread->scratch;
	unsigned n = 0;

	buf_reset(out);
	message_batch_begin(out);
	for (const struct dispatch_copy *copy = p->poll.batch; copy; copy = copy->next, n++)
		message_batch_item(out, &copy->message);
	message_batch_end(out);
	p->batch = p->poll.batch;
	if (!buf_ok(out)) {
		log_event(LOG_ERR, "poll.no_memory", F_UINT("requests", n));
		httpd_reply_error(p->http, 503, "no_memory", NULL, "there is no memory for the answer");
		batch_written(p, false);
	} else {
		service_metrics_batch(n);
		httpd_reply_watched(p->http, 200, out->data, out->len, batch_written, p);
	}
	if (out->cap > SCRATCH_KEPT) {
		buf_done(out);
		*out = BUF_INIT(LIMIT_BATCH_BODY);
	}
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
	if (poll->outcome == DISPATCH_POLL_BATCH) {
		answer_batch(p);
		return;
	}
	if (poll->outcome == DISPATCH_POLL_REVOKED)
		httpd_reply_error(p->http, 403, MESSAGE_ERROR_CERTIFICATE, NULL, "the agent was revoked");
	else
		httpd_reply(p->http, 204, NULL, 0);
	free(p);
}

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

static void put_refused(struct json_writer *w, const struct message_result *result, const char *why)
{
	json_put_object(w, NULL);
	json_put_string(w, "id", result->request_id);
	json_put_uint(w, "attempt", result->attempt);
	json_put_string(w, "error", why);
	json_end_object(w);
}

void agent_route_results(struct httpd_request *request, void *arg)
{
	struct service_thread *thread = arg;
	struct agent_connection *c;
	struct message_results m;
	struct buf out = BUF_INIT(LIMIT_RESULTS * 128 + 256);
	struct json_writer w = JSON_WRITER(&out);
	const char *field = NULL;
	unsigned accepted = 0;
	struct err err;
	size_t len;
	const uint8_t *body = httpd_body(request, &len);

	routes_put_time(request);
	c = agent_auth(request, thread);
	if (!c)
		return;
	if (message_decode_results(body, len, &m, &field, &err) < 0) {
		bad_message(request, field, &err);
		return;
	}
	json_put_object(&w, NULL);
	json_put_array(&w, "refused");
	for (size_t i = 0; i < m.n; i++) {
		const char *refused = take(thread, c, m.instance, &m.results[i]);

		if (!refused) {
			accepted++;
			continue;
		}
		service_metrics_result_refused(refused);
		log_event(LOG_NOTICE, "result.refused", F_STR("request", m.results[i].request_id), F_UINT("attempt", m.results[i].attempt),
			F_STR("agent", c->peer.agent), F_STR("why", refused));
		put_refused(&w, &m.results[i], refused);
	}
	json_end_array(&w);
	json_put_uint(&w, "accepted", accepted);
	json_end_object(&w);
	message_results_done(&m);
	/* What was taken is taken, even when there is no memory to say so. */
	if (buf_ok(&out))
		httpd_reply(request, 200, out.data, out.len);
	else
		httpd_reply_error(request, 503, "no_memory", NULL, "there is no memory for the answer");
	buf_done(&out);
}
