/* The queue client's HPKE keys: a new one is published before the polls that ask for what is sealed for it. */
#include <stdio.h>
#include <string.h>

#include "agent/queue_internal.h"
#include "base/log.h"
#include "wire/pki.h"

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
