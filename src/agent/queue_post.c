/* The queue client's results: what has gathered goes in one post, at most two are in flight, and a failed post is repeated
 * with the same bytes until nobody waits for anything in it. */
#include <stddef.h>
#include <string.h>

#include "agent/queue_internal.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

/* Room that one result takes in a post, at most. */
#define RESULT_BYTES (LIMIT_ANSWER * 4 / 3 + 256)

static struct queue_result *result_of(struct mail *mail)
{
	return MAIL_CONTAINER(mail, struct queue_result, mail);
}

void queue_posts_take(struct queue_client *q)
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

static void finish(struct mail *mail)
{
	while (mail) {
		struct queue_result *result = result_of(mail);

		mail = mail->next;
		result->done(result);
	}
}

static void encode_item(struct buf *out, const struct queue_result *result)
{
	struct message_result m = {
		.attempt = result->attempt,
		.declined = result->declined,
		.decline_reason = result->decline_reason,
		.answer = result->answer.data,
		.answer_len = result->answer.len,
	};

	memcpy(m.request_id, result->request_id, sizeof(m.request_id));
	message_results_item(out, &m);
}

/* Moves what waits into the call, oldest first, as far as one post holds. */
static void gather(struct queue_client *q, struct queue_call *call)
{
	struct buf *out = &call->http.request;
	struct mail **end = &call->results;
	size_t n = 0;

	buf_reset(out);
	call->until_us = 0;
	message_results_begin(out, q->instance);
	while (q->waiting && n < LIMIT_RESULTS && out->len + RESULT_BYTES < LIMIT_RESULTS_BODY) {
		struct mail *mail = q->waiting;

		q->waiting = mail->next;
		mail->next = NULL;
		*end = mail;
		end = &mail->next;
		encode_item(out, result_of(mail));
		if (result_of(mail)->until_us > call->until_us)
			call->until_us = result_of(mail)->until_us;
		n++;
	}
	message_results_end(out);
}

static void give_up(struct queue_call *call, const char *why)
{
	unsigned n = 0;

	for (struct mail *mail = call->results; mail; mail = mail->next)
		n++;
	log_event(LOG_ERR, "results.lost", F_STR("first", result_of(call->results)->request_id), F_UINT("count", n), F_STR("error", why));
	finish(call->results);
	call->results = NULL;
	backoff_reset(&call->backoff);
}

static void try_again(struct queue_call *call, uint64_t now_us, const char *why)
{
	uint64_t retry_us = now_us + (uint64_t)backoff_next_ms(&call->backoff) * 1000;

	if (retry_us >= call->until_us) {
		give_up(call, why);
		return;
	}
	log_event(LOG_WARNING, "results.retry", F_STR("first", result_of(call->results)->request_id), F_MS("retry", retry_us - now_us), F_STR("error", why));
	call->retry_us = retry_us;
}

void queue_posts_start(struct queue_client *q, uint64_t now_us)
{
	struct err err;
	int r;

	for (unsigned i = 0; i < QUEUE_POSTS; i++) {
		struct queue_call *call = &q->posts[i];

		if (call->busy || (call->results ? call->retry_us > now_us : !q->waiting))
			continue;
		r = queue_call_prepare(q, call, &err);
		if (!call->results) {
			if (r < 0) /* what waits stays; the next turn tries again */
				return;
			gather(q, call);
		}
		if (r == 0 && !buf_ok(&call->http.request)) {
			give_up(call, "out of memory");
			continue;
		}
		if (r == 0)
			r = queue_call_start(q, call, &err);
		if (r < 0)
			try_again(call, now_us, err.text);
	}
}

/* A refused result is one that came too late or twice: said once, and over. */
static void log_refused(const struct queue_call *call)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct json_object *refused;
	struct json_fields f, item;
	size_t n = 0;

	if (json_parse(call->http.response.data, call->http.response.len, &doc, NULL) < 0)
		return;
	json_fields_begin(&f, json_root(doc), NULL);
	json_uint(&f, "accepted", 0, LIMIT_RESULTS);
	refused = json_array(&f, "refused", LIMIT_RESULTS, &n);
	for (size_t i = 0; refused && i < n; i++) {
		json_fields_begin(&item, json_array_at(refused, i), NULL);
		log_event(LOG_WARNING, "result.refused", F_STR("request", json_string(&item, "id", 1, RANDOM_ID_LEN, NULL)), F_STR("error", json_string(&item, "error", 1, 64, NULL)));
	}
}

void queue_post_done(struct queue_client *q, struct queue_call *call, CURLcode code, uint64_t now_us)
{
	char text[500];
	struct err err;
	int status;

	(void)q;
	if (service_call_outcome(&call->http, code, &status, &err) < 0) {
		try_again(call, now_us, err.text);
		return;
	}
	if (status == 200) {
		log_refused(call);
		finish(call->results);
		call->results = NULL;
		backoff_reset(&call->backoff);
		return;
	}
	service_error_text(&call->http, status, text, sizeof(text), NULL);
	/* The same bytes would get the same answer, unless it is our certificate that is refused, or a passing fault. */
	if (status >= 400 && status < 500 && status != 403 && status != 408 && status != 429)
		give_up(call, text);
	else
		try_again(call, now_us, text);
}

bool queue_posts_idle(const struct queue_client *q)
{
	for (unsigned i = 0; i < QUEUE_POSTS; i++)
		if (q->posts[i].results)
			return false;
	return !q->waiting;
}

void queue_posts_abandon(struct queue_client *q)
{
	queue_posts_take(q);
	for (unsigned i = 0; i < QUEUE_POSTS; i++) {
		struct queue_call *call = &q->posts[i];

		if (call->busy)
			curl_multi_remove_handle(q->multi, call->http.easy);
		call->busy = false;
		if (call->results)
			give_up(call, "the agent stops");
	}
	finish(q->waiting);
	q->waiting = NULL;
}

uint64_t queue_posts_next_us(const struct queue_client *q)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < QUEUE_POSTS; i++)
		if (q->posts[i].results && !q->posts[i].busy && q->posts[i].retry_us < next)
			next = q->posts[i].retry_us;
	return next;
}
