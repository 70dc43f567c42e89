/* The queue client's polls. Each brings the results there are and asks for as many requests as fit, so that under load one
 * exchange carries answers up and new requests down. */
#include <string.h>

#include "agent/queue_internal.h"
#include "base/clock.h"
#include "base/log.h"

#define HOLD_TIMEOUT_MS (POLL_HOLD_MS + 10000)
#define RESULTS_TIMEOUT_MS 5000

static unsigned parked(const struct queue_client *q, unsigned *credit)
{
	unsigned n = 0;

	*credit = 0;
	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		if (q->polls[i].busy && q->polls[i].credit) {
			n++;
			*credit += q->polls[i].credit;
		}
	return n;
}

static bool may_ask(const struct queue_client *q, uint64_t now_us)
{
	return !q->draining && now_us >= q->poll_next_us && keyring_ready(q->keyring);
}

/* What the next poll may ask for; *wanted: whether one is needed that brings nothing, because none is parked, or one that asks
 * for much less than fits by now. */
static unsigned share(const struct queue_client *q, uint64_t now_us, bool *wanted)
{
	unsigned room, busy, credit, n;

	*wanted = false;
	if (!may_ask(q, now_us))
		return 0;
	room = q->handler.room(q->handler.arg, &busy);
	if (room > LIMIT_CREDIT)
		room = LIMIT_CREDIT;
	n = parked(q, &credit);
	if (room <= credit)
		return 0;
	*wanted = n == 0 || (n == 1 && credit * 2 < room);
	/* The first leaves half to the one that will bring the results of what is in work. */
	if (n == 0 && busy > 0)
		return (room + 1) / 2;
	return room - credit;
}

static int start_poll(struct queue_client *q, struct queue_call *call, unsigned credit, struct err *err)
{
	struct message_poll m = {.number = ++q->poll_number, .credit = credit};
	int r = queue_call_prepare(q, call, err);

	if (r < 0)
		return r;
	memcpy(m.instance, q->instance, sizeof(m.instance));
	buf_reset(&call->http.request);
	message_encode_poll(&call->http.request, &m, &call->results);
	if (!buf_ok(&call->http.request))
		return err_set(err, -PTA_ENOMEM, "out of memory");
	call->credit = credit;
	curl_easy_setopt(call->http.easy, CURLOPT_TIMEOUT_MS, (long)(call->results.n ? RESULTS_TIMEOUT_MS : HOLD_TIMEOUT_MS));
	return queue_call_start(q, call, err);
}

static void start(struct queue_client *q, struct queue_call *call, unsigned credit, uint64_t now_us)
{
	struct err err;

	if (start_poll(q, call, credit, &err) == 0)
		return;
	queue_failed(q, QUEUE_DISCONNECTED, now_us, err.text);
	if (call->results.n)
		queue_results_again(call, now_us, err.text);
}

void queue_polls_start(struct queue_client *q, uint64_t now_us)
{
	struct queue_call *idle = NULL;
	unsigned credit;
	bool wanted;

	for (unsigned i = 0; i < QUEUE_POLLS; i++) {
		struct queue_call *call = &q->polls[i];

		if (call->busy || (call->results.n && call->retry_us > now_us))
			continue;
		if (!call->results.n && q->waiting)
			queue_results_gather(q, call);
		if (call->results.n)
			start(q, call, share(q, now_us, &wanted), now_us);
		else if (!idle)
			idle = call;
	}
	credit = share(q, now_us, &wanted);
	if (idle && wanted)
		start(q, idle, credit, now_us);
}

/* A refused result is one that came too late or twice: said once, and over. */
static void log_refused(const struct message_batch *batch)
{
	for (size_t i = 0; i < batch->nrefused; i++)
		log_event(LOG_WARNING, "result.refused", F_STR("request", batch->refused[i].request_id), F_UINT("attempt", batch->refused[i].attempt),
			F_STR("error", batch->refused[i].error));
}

static void take_batch(struct queue_client *q, struct queue_call *call, uint64_t now_us)
{
	struct message_batch batch;
	struct envelope_head head;
	struct err err;
	int r = message_decode_batch(call->http.response.data, call->http.response.len, &batch, &err);

	if (r == 0 && batch.n > call->credit) {
		r = err_set(&err, -PTA_EPROTO, "%zu requests where %u were asked for", batch.n, call->credit);
		message_batch_done(&batch);
	}
	if (r < 0) {
		err_prefix(&err, -PTA_EPROTO, "the service's batch: ");
		queue_failed(q, QUEUE_DISCONNECTED, now_us, err.text);
		return;
	}
	queue_connected(q);
	log_refused(&batch);
	mailbox_hold(); /* the bind thread finds the whole batch */
	for (size_t i = 0; i < batch.n; i++) {
		head = batch.requests[i].head;
		memcpy(head.tenant, q->identity->tenant, sizeof(head.tenant));
		memcpy(head.agent, q->identity->agent, sizeof(head.agent));
		q->handler.request(q->handler.arg, &head, &batch.requests[i], queue_service_ms(q, now_us));
	}
	mailbox_release();
	message_batch_done(&batch);
}

/* An answer other than 200 and 204. */
static void refused(struct queue_client *q, struct queue_call *call, int status, uint64_t now_us)
{
	char text[500], word[32];

	service_error_text(&call->http, status, text, sizeof(text), word);
	if (status == 409 && strcmp(word, MESSAGE_ERROR_KEY_UNKNOWN) == 0) {
		queue_results_arrived(call);
		/* Not a fault: it was restarted, and our keys were in its memory. A short wait, for a service that never learns. */
		if (keyring_ready(q->keyring)) {
			log_event(LOG_INFO, "keys.forgotten", F_STR("service", q->link.url));
			keyring_forgotten(q->keyring);
			q->keys_next_us = now_us + (uint64_t)backoff_next_ms(&q->connect_backoff) * 1000;
		}
		return;
	}
	/* The same bytes would get the same answer, unless it is our certificate that is refused, or a passing fault. */
	if (call->results.n && status >= 400 && status < 500 && status != 403 && status != 408 && status != 429)
		queue_results_give_up(call, text);
	else if (call->results.n)
		queue_results_again(call, now_us, text);
	queue_refused(q, call, status, now_us);
}

void queue_poll_done(struct queue_client *q, struct queue_call *call, CURLcode code, uint64_t now_us)
{
	struct err err;
	int status;

	if (service_call_outcome(&call->http, code, &status, &err) < 0) {
		if (call->results.n)
			queue_results_again(call, now_us, err.text);
		queue_failed(q, QUEUE_DISCONNECTED, now_us, err.text);
		return;
	}
	if (status != 200 && status != 204) {
		refused(q, call, status, now_us);
		return;
	}
	queue_results_arrived(call);
	if (status == 200)
		take_batch(q, call, now_us);
	else
		queue_connected(q);
}

/* A parked poll that is let go closes its connection: the service hears of it and hands it nothing. Results whose receipt has
 * not come are sent again. */
void queue_polls_cancel(struct queue_client *q)
{
	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		if (q->polls[i].busy && q->polls[i].credit) {
			curl_multi_remove_handle(q->multi, q->polls[i].http.easy);
			q->polls[i].busy = false;
		}
}
