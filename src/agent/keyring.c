#include "agent/keyring.h"

#include <stdlib.h>
#include <string.h>

/* The newest, and those before it whose requests may still come: a key in use for a moment only (many contexts at once)
 * is rare, so a few places do; when all are taken the oldest goes. */
#define KEYS 4

struct key {
	struct envelope_receiver *receiver;
	uint64_t made_us;
	uint64_t drop_us; /* 0: not before its successor was acknowledged */
};

struct keyring {
	struct key keys[KEYS]; /* newest first */
	unsigned n;
	bool published; /* the service has keys[0] */
	bool ready;	/* it has one of them */
};

static int add_key(struct keyring *ring, uint64_t now_us)
{
	struct envelope_receiver *receiver;
	int r = envelope_receiver_new(&receiver);

	if (r < 0)
		return r;
	if (ring->n == KEYS)
		envelope_receiver_free(ring->keys[--ring->n].receiver);
	memmove(&ring->keys[1], &ring->keys[0], ring->n * sizeof(ring->keys[0]));
	ring->keys[0] = (struct key){.receiver = receiver, .made_us = now_us};
	ring->n++;
	ring->published = false;
	return 0;
}

int keyring_new(uint64_t now_us, struct keyring **out)
{
	struct keyring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return -PTA_ENOMEM;
	r = add_key(ring, now_us);
	if (r < 0) {
		free(ring);
		return r;
	}
	*out = ring;
	return 0;
}

void keyring_free(struct keyring *ring)
{
	if (!ring)
		return;
	for (unsigned i = 0; i < ring->n; i++)
		envelope_receiver_free(ring->keys[i].receiver);
	free(ring);
}

int keyring_tick(struct keyring *ring, uint64_t now_us)
{
	const struct key *newest = &ring->keys[0];

	while (ring->n > 1 && ring->keys[ring->n - 1].drop_us && ring->keys[ring->n - 1].drop_us <= now_us)
		envelope_receiver_free(ring->keys[--ring->n].receiver);
	if (!ring->published)
		return 0;
	if (now_us - newest->made_us < (uint64_t)KEYRING_LIFE_MS * 1000 && envelope_receiver_contexts(newest->receiver) < ENVELOPE_CONTEXTS_RENEW)
		return 0;
	return add_key(ring, now_us);
}

const struct envelope_receiver *keyring_unpublished(const struct keyring *ring)
{
	return ring->published ? NULL : ring->keys[0].receiver;
}

void keyring_published(struct keyring *ring, const char *key_id, uint64_t now_us)
{
	if (strcmp(envelope_receiver_key_id(ring->keys[0].receiver), key_id) != 0)
		return;
	ring->published = true;
	ring->ready = true;
	for (unsigned i = 1; i < ring->n; i++)
		if (!ring->keys[i].drop_us)
			ring->keys[i].drop_us = now_us + 2ull * KEYRING_MAX_DEADLINE_MS * 1000;
}

void keyring_forgotten(struct keyring *ring)
{
	ring->published = false;
	ring->ready = false;
}

bool keyring_ready(const struct keyring *ring)
{
	return ring->ready;
}

int keyring_open(struct keyring *ring, const struct envelope_head *head, const struct message_request *m, uint64_t service_now_ms, struct envelope_request *out,
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], struct err *err)
{
	for (unsigned i = 0; i < ring->n; i++)
		if (strcmp(envelope_receiver_key_id(ring->keys[i].receiver), head->key_id) == 0)
			return envelope_open_request(ring->keys[i].receiver, head, m->enc, m->seq, m->sealed, m->sealed_len, service_now_ms, out, answer_key, err);
	return err_set(err, -PTA_ENOENT, "the request is sealed for key %s, which this agent does not have: the service knows a key of an earlier start", head->key_id);
}
