/* The queue client's renewal of the certificate, by itself at two thirds of its life or when told to. Writing the new files
 * holds the queue thread for a few milliseconds, once in weeks. */
#include <stdio.h>

#include "agent/enroll.h"
#include "agent/queue_internal.h"
#include "base/clock.h"
#include "base/log.h"

static void renewal_failed(struct queue_client *q, uint64_t now_us, const char *text)
{
	uint32_t wait_ms = backoff_next_ms(&q->renew_backoff);

	q->renew_wanted = false;
	q->renew_next_us = now_us + (uint64_t)wait_ms * 1000;
	pthread_mutex_lock(&q->lock);
	q->status.renewals_tried++;
	snprintf(q->status.renewal_error, sizeof(q->status.renewal_error), "%s", text);
	pthread_mutex_unlock(&q->lock);
	log_event(LOG_ERR, "certificate.renewal_failed", F_STR("error", text), F_MS("retry", (uint64_t)wait_ms * 1000));
}

void queue_renew_start(struct queue_client *q, uint64_t now_us)
{
	struct err err;
	int r;

	if (q->renew.busy || now_us < q->renew_next_us)
		return;
	/* By the service's clock; without it our own might be off by years. */
	if (!q->renew_wanted && (!q->clock_known || queue_service_ms(q, now_us) < q->renew_at_ms))
		return;
	r = queue_call_prepare(q, &q->renew, &err);
	if (r == 0) {
		buf_reset(&q->renew.http.request);
		r = enroll_renew_request(&q->dir, q->identity, &q->renew.http.request, &err);
	}
	if (r == 0)
		r = queue_call_start(q, &q->renew, &err);
	if (r < 0)
		renewal_failed(q, now_us, err.text);
}

void queue_renew_done(struct queue_client *q, struct queue_call *call, CURLcode code, uint64_t now_us)
{
	struct identity *next;
	char text[500];
	struct err err;
	int status;

	if (service_call_outcome(&call->http, code, &status, &err) < 0) {
		renewal_failed(q, now_us, err.text);
		return;
	}
	if (status != 200) {
		service_error_text(&call->http, status, text, sizeof(text), NULL);
		renewal_failed(q, now_us, text);
		return;
	}
	if (enroll_renew_answer(&q->dir, q->identity, call->http.response.data, call->http.response.len, &next, &err) < 0) {
		renewal_failed(q, now_us, err.text);
		return;
	}
	q->renew_wanted = false;
	backoff_reset(&q->renew_backoff);
	queue_use_identity(q, next);
	pthread_mutex_lock(&q->lock);
	q->status.renewals_tried++;
	q->status.renewals_done++;
	q->status.renewal_error[0] = '\0';
	pthread_mutex_unlock(&q->lock);
	log_event(LOG_NOTICE, "certificate.renewed", F_STR("agent", next->agent), F_INT("days", (int64_t)((next->not_after_ms - next->not_before_ms) / 86400000)));
}
