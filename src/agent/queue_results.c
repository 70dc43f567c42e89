/* The results that the queue client's polls bring: what has gathered goes in one poll, and a failed one is repeated with the
 * same results until nobody waits for anything in it. */
#include <stddef.h>
#include <string.h>

#include "agent/queue_internal.h"
#include "base/clock.h"
#include "base/log.h"

/* Room that one result takes in a poll, at most; and the poll's own fields. */
#define RESULT_BYTES (LIMIT_ANSWER + 64)
#define POLL_BYTES 64

static struct queue_result *result_of(struct mail *mail)
{
	return MAIL_CONTAINER(mail, struct queue_result, mail);
}

void queue_results_take(struct queue_client *q)
{
	struct mail *mail = mailbox_take(q->results), *next;

	for (; mail; mail = next) {
		struct queue_result *result = result_of(mail);

		next = mail->next;
		mail->next = NULL;
		if (!result->declined && result->answer.len == 0) {
			result->done(result);
			continue;
		}
		if (q->waiting)
			q->waiting_last->next = mail;
		else
			q->waiting = mail;
		q->waiting_last = mail;
	}
}

static void encode_item(struct message_list *out, const struct queue_result *result)
{
	struct message_result m = {
		.attempt = result->attempt,
		.declined = result->declined,
		.decline_reason = result->decline_reason,
		.answer = result->answer.data,
		.answer_len = result->answer.len,
	};

	memcpy(m.request_id, result->request_id, sizeof(m.request_id));
	message_result_item(out, &m);
}

void queue_results_gather(struct queue_client *q, struct queue_call *call)
{
	call->until_us = 0;
	memcpy(call->first, result_of(q->waiting)->request_id, sizeof(call->first));
	while (q->waiting && call->results.n < LIMIT_RESULTS && call->results.items.len + RESULT_BYTES + POLL_BYTES < LIMIT_POLL_BODY) {
		struct queue_result *result = result_of(q->waiting);

		q->waiting = q->waiting->next;
		encode_item(&call->results, result);
		if (result->until_us > call->until_us)
			call->until_us = result->until_us;
		result->done(result);
	}
	if (!buf_ok(&call->results.items))
		queue_results_give_up(call, "out of memory");
}

void queue_results_arrived(struct queue_call *call)
{
	message_list_reset(&call->results);
	call->retry_us = 0;
	backoff_reset(&call->backoff);
}

void queue_results_give_up(struct queue_call *call, const char *why)
{
	log_event(LOG_ERR, "results.lost", F_STR("first", call->first), F_UINT("count", call->results.n), F_STR("error", why));
	queue_results_arrived(call);
}

void queue_results_again(struct queue_call *call, uint64_t now_us, const char *why)
{
	uint64_t retry_us = now_us + (uint64_t)backoff_next_ms(&call->backoff) * 1000;

	if (retry_us >= call->until_us) {
		queue_results_give_up(call, why);
		return;
	}
	log_event(LOG_WARNING, "results.retry", F_STR("first", call->first), F_MS("retry", retry_us - now_us), F_STR("error", why));
	call->retry_us = retry_us;
}

bool queue_results_idle(const struct queue_client *q)
{
	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		if (q->polls[i].results.n)
			return false;
	return !q->waiting;
}

void queue_results_abandon(struct queue_client *q)
{
	queue_results_take(q);
	for (unsigned i = 0; i < QUEUE_POLLS; i++) {
		struct queue_call *call = &q->polls[i];

		if (call->busy)
			curl_multi_remove_handle(q->multi, call->http.easy);
		call->busy = false;
		if (call->results.n)
			queue_results_give_up(call, "the agent stops");
	}
	while (q->waiting) {
		struct queue_result *result = result_of(q->waiting);

		q->waiting = q->waiting->next;
		log_event(LOG_ERR, "results.lost", F_STR("first", result->request_id), F_UINT("count", 1), F_STR("error", "the agent stops"));
		result->done(result);
	}
}

uint64_t queue_results_next_us(const struct queue_client *q)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		if (q->polls[i].results.n && !q->polls[i].busy && q->polls[i].retry_us < next)
			next = q->polls[i].retry_us;
	return next;
}
