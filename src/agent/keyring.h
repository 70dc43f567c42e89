/* The agent's HPKE keys, in memory only. A new one at each start, each day, and when the current one has many contexts;
 * it is published, and the one before stays for the requests that were sealed before the service knew the new one.
 * Belongs to the queue thread. Never blocks. */
#ifndef PTA_AGENT_KEYRING_H
#define PTA_AGENT_KEYRING_H

#include <stdint.h>

#include "wire/envelope.h"
#include "wire/message.h"

#define KEYRING_LIFE_MS (24u * 3600u * 1000u)
/* A published key names its end: its life and time for its successor to be published over a bad line. */
#define KEYRING_VALID_MS (KEYRING_LIFE_MS + 6u * 3600u * 1000u)
#define KEYRING_MAX_DEADLINE_MS 60000u /* the longest deadline of a request; the old key stays for two of them */

struct keyring;

/* With a first key that wants to be published. */
PTA_MUST_CHECK int keyring_new(uint64_t now_us, struct keyring **out);
void keyring_free(struct keyring *ring); /* NULL is allowed */

/* Makes the successor when it is due and drops old keys whose time is over. Failing to make one leaves the old in use. */
PTA_MUST_CHECK int keyring_tick(struct keyring *ring, uint64_t now_us);
/* The key that the service does not have yet; NULL when it has the newest. */
const struct envelope_receiver *keyring_unpublished(const struct keyring *ring);
/* The service acknowledged this key. */
void keyring_published(struct keyring *ring, const char *key_id, uint64_t now_us);
/* The service lost our keys (it was restarted): the newest wants to be published again. */
void keyring_forgotten(struct keyring *ring);
/* The service has a key of ours. */
bool keyring_ready(const struct keyring *ring);

/* Opens a request with the key that it names. As envelope_open_request(); -PTA_ENOENT: no such key (any more). */
PTA_MUST_CHECK int keyring_open(struct keyring *ring, const struct envelope_head *head, const struct message_request *m, uint64_t service_now_ms, struct envelope_request *out,
				uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], struct err *err);

#endif
