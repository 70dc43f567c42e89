/* The queue client's polls, and the publishing of keys that must come before them. */
#include <stdio.h>
#include <string.h>

#include "agent/queue_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/pki.h"

/* From this many requests in work on, a second poll is parked: while one is on its way back, the other takes what comes. */
#define BUSY 2

static unsigned parked(const struct queue_client *q, unsigned *credit)
{
	unsigned n = 0;

	*credit = 0;
	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		if (q->polls[i].busy) {
			n++;
			*credit += q->polls[i].credit;
		}
	return n;
}

static int start_poll(struct queue_client *q, struct queue_call *call, unsigned credit, struct err *err)
{
	struct message_poll m = {.number = ++q->poll_number, .credit = credit};
	int r = queue_call_prepare(q, call, err);

	if (r < 0)
		return r;
	memcpy(m.instance, q->instance, sizeof(m.instance));
	buf_reset(&call->http.request);
	message_encode_poll(&call->http.request, &m);
	if (!buf_ok(&call->http.request))
		return err_set(err, -PTA_ENOMEM, "out of memory");
	call->credit = credit;
	return queue_call_start(q, call, err);
}

void queue_polls_start(struct queue_client *q, uint64_t now_us)
{
	unsigned room, busy, credit, n, share;
	struct err err;

	if (now_us < q->poll_next_us || !keyring_ready(q->keyring))
		return;
	room = q->handler.room(q->handler.arg, &busy);
	if (room > LIMIT_CREDIT)
		room = LIMIT_CREDIT;
	n = parked(q, &credit);
	for (unsigned i = 0; i < QUEUE_POLLS && room > credit; i++) {
		if (q->polls[i].busy)
			continue;
		/* A second one under load, or where the parked one asks for much less than fits by now. */
		if (n > 0 && busy < BUSY && credit * 2 >= room)
			return;
		share = room - credit;
		if (n == 0 && busy >= BUSY)
			share = (share + 1) / 2;
		if (start_poll(q, &q->polls[i], share, &err) < 0) {
			queue_failed(q, QUEUE_DISCONNECTED, now_us, err.text);
			return;
		}
		credit += share;
		n++;
	}
}

static void take_batch(struct queue_client *q, struct queue_call *call, uint64_t now_us)
{
	struct message_batch batch;
	struct envelope_head head;
	struct err err;

	if (message_decode_batch(call->http.response.data, call->http.response.len, &batch, NULL, &err) < 0) {
		err_prefix(&err, -PTA_EPROTO, "the service's batch: ");
		queue_failed(q, QUEUE_DISCONNECTED, now_us, err.text);
		return;
	}
	queue_connected(q);
	for (size_t i = 0; i < batch.n; i++) {
		head = batch.requests[i].head;
		memcpy(head.tenant, q->identity->tenant, sizeof(head.tenant));
		memcpy(head.agent, q->identity->agent, sizeof(head.agent));
		q->handler.request(q->handler.arg, &head, &batch.requests[i], queue_service_ms(q, now_us));
	}
	message_batch_done(&batch);
}

void queue_poll_done(struct queue_client *q, struct queue_call *call, CURLcode code, uint64_t now_us)
{
	char text[500], word[32];
	struct err err;
	int status;

	if (service_call_outcome(&call->http, code, &status, &err) < 0) {
		queue_failed(q, QUEUE_DISCONNECTED, now_us, err.text);
		return;
	}
	if (status == 200) {
		take_batch(q, call, now_us);
		return;
	}
	if (status == 204) {
		queue_connected(q);
		return;
	}
	if (status == 409) {
		service_error_text(&call->http, status, text, sizeof(text), word);
		/* Not a fault: it was restarted, and our keys were in its memory. A short wait, for a service that never learns. */
		if (strcmp(word, MESSAGE_ERROR_KEY_UNKNOWN) == 0) {
			if (keyring_ready(q->keyring)) {
				log_event(LOG_INFO, "keys.forgotten", F_STR("service", q->link.url));
				keyring_forgotten(q->keyring);
				q->keys_next_us = now_us + (uint64_t)backoff_next_ms(&q->connect_backoff) * 1000;
			}
			return;
		}
	}
	queue_refused(q, call, status, now_us);
}

/* A parked poll that is let go closes its connection: the service hears of it and hands it nothing. */
void queue_polls_cancel(struct queue_client *q)
{
	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		if (q->polls[i].busy) {
			curl_multi_remove_handle(q->multi, q->polls[i].http.easy);
			q->polls[i].busy = false;
		}
}

static int encode_key(struct queue_client *q, const struct envelope_receiver *receiver, uint64_t now_us, struct queue_call *call, struct err *err)
{
	struct buf signed_bytes = BUF_INIT(4096);
	struct message_key m = {.not_after_ms = queue_service_ms(q, now_us) + KEYRING_VALID_MS};
	int r = 0;

	memcpy(m.instance, q->instance, sizeof(m.instance));
	snprintf(m.key_id, sizeof(m.key_id), "%s", envelope_receiver_key_id(receiver));
	memcpy(m.public_key, envelope_receiver_public(receiver), sizeof(m.public_key));
	message_key_signed(&signed_bytes, q->identity->tenant, q->identity->agent, &m);
	if (!buf_ok(&signed_bytes))
		r = err_set(err, -PTA_ENOMEM, "out of memory");
	if (r == 0 && pki_sign(q->identity->key, signed_bytes.data, signed_bytes.len, m.signature, &m.signature_len) < 0)
		r = err_set(err, -PTA_ECRYPTO, "sign key %s for the service with the certificate's key", m.key_id);
	buf_done(&signed_bytes);
	if (r < 0)
		return r;
	buf_reset(&call->http.request);
	message_encode_key(&call->http.request, &m);
	memcpy(call->key_id, m.key_id, sizeof(call->key_id));
	return buf_ok(&call->http.request) ? 0 : err_set(err, -PTA_ENOMEM, "out of memory");
}

void queue_keys_start(struct queue_client *q, uint64_t now_us)
{
	const struct envelope_receiver *receiver;
	struct err err;
	int r;

	if (q->keys.busy || now_us < q->keys_next_us)
		return;
	if (keyring_tick(q->keyring, now_us) < 0)
		log_event(LOG_ERR, "keys.failed", F_STR("error", "no memory or entropy for a new key; the old one stays in use"));
	receiver = keyring_unpublished(q->keyring);
	if (!receiver)
		return;
	r = queue_call_prepare(q, &q->keys, &err);
	if (r == 0)
		r = encode_key(q, receiver, now_us, &q->keys, &err);
	if (r == 0)
		r = queue_call_start(q, &q->keys, &err);
	if (r < 0)
		queue_failed(q, QUEUE_DISCONNECTED, now_us, err.text);
}

void queue_keys_done(struct queue_client *q, struct queue_call *call, CURLcode code, uint64_t now_us)
{
	struct err err;
	int status;

	if (service_call_outcome(&call->http, code, &status, &err) < 0) {
		queue_failed(q, QUEUE_DISCONNECTED, now_us, err.text);
		return;
	}
	if (status != 200) {
		queue_refused(q, call, status, now_us);
		return;
	}
	log_event(LOG_INFO, "keys.published", F_STR("key", call->key_id));
	keyring_published(q->keyring, call->key_id, now_us);
	queue_connected(q);
}
