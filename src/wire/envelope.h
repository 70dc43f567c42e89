/* Sealed sign-in requests and their answers. A request is sealed for one agent's key (HPKE, AES-256-GCM); its answer
 * comes back under a key exported from the same context for that number. Replays are refused by a window per context.
 * Nothing here is thread-safe: a sender belongs to one service thread, a receiver to the agent's queue thread.
 * Never blocks. */
#ifndef PTA_WIRE_ENVELOPE_H
#define PTA_WIRE_ENVELOPE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/secret.h"
#include "wire/hpke.h"
#include "wire/limits.h"
#include "wire/verdict.h"

#define ENVELOPE_ENC_LEN HPKE_KEY_LEN
#define ENVELOPE_ANSWER_KEY_LEN 32
#define ENVELOPE_WINDOW 65536	  /* numbers a context remembers */
#define ENVELOPE_CONTEXTS_RENEW 192 /* a key with that many wants a successor */
#define ENVELOPE_CONTEXTS_MAX 256   /* further new contexts are refused (-PTA_EBUSY) */

enum envelope_operation { ENVELOPE_VALIDATE = 1 };

/* What is authenticated and not secret (the aad, with enc and seq). */
struct envelope_head {
	char tenant[LIMIT_TENANT + 1];
	char agent[LIMIT_ID + 1];
	char key_id[RANDOM_ID_LEN + 1];
	char request_id[RANDOM_ID_LEN + 1];
	uint32_t attempt;
	uint64_t expires_ms; /* in the service's wall clock */
};

/* What is sealed. Padded to a multiple of 256 bytes so that the length tells nothing of the password's. */
struct envelope_request {
	enum envelope_operation operation;
	char username[LIMIT_USERNAME + 1];
	char domain[LIMIT_DOMAIN + 1]; /* the configured domain that the service chose */
	struct secret *password;
};

void envelope_request_done(struct envelope_request *request); /* frees the password */

/* Service: one per thread and agent key. */
struct envelope_sender;
PTA_MUST_CHECK int envelope_sender_new(const uint8_t agent_public[HPKE_KEY_LEN], struct envelope_sender **out);
void envelope_sender_free(struct envelope_sender *sender);
const uint8_t *envelope_sender_enc(const struct envelope_sender *sender);
/* Appends the sealed request; gives its number and the key its answer will come under (the caller wipes it). */
PTA_MUST_CHECK int envelope_seal_request(struct envelope_sender *sender, const struct envelope_head *head, const struct envelope_request *request, struct buf *sealed,
					 uint64_t *seq, uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN]);
/* Opens and checks that the answer is for this request id, attempt and user. -PTA_ECRYPTO or -PTA_EPROTO with a text. */
PTA_MUST_CHECK int envelope_open_answer(const uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], const struct envelope_head *head, const char *username, const uint8_t *sealed,
					size_t len, struct verdict *out, struct err *err);

/* Agent: one per HPKE private key. */
struct envelope_receiver;
PTA_MUST_CHECK int envelope_receiver_new(struct envelope_receiver **out); /* makes key and key id */
void envelope_receiver_free(struct envelope_receiver *receiver);
const char *envelope_receiver_key_id(const struct envelope_receiver *receiver);
const uint8_t *envelope_receiver_public(const struct envelope_receiver *receiver);
unsigned envelope_receiver_contexts(const struct envelope_receiver *receiver);
/* now_ms: the service's wall clock as the agent knows it. -PTA_EEXPIRED, -PTA_EREPLAY, -PTA_ECRYPTO (tampered, foreign),
 * -PTA_EBUSY (too many contexts), -PTA_EPROTO (malformed inside). The window moves only by a valid tag. -PTA_EREPLAY goes
 * before all other errors: its password may be at a DC already, so it must not be declined. */
PTA_MUST_CHECK int envelope_open_request(struct envelope_receiver *receiver, const struct envelope_head *head, const uint8_t enc[ENVELOPE_ENC_LEN], uint64_t seq,
					 const uint8_t *sealed, size_t len, uint64_t now_ms, struct envelope_request *out,
					 uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], struct err *err);
/* Appends random nonce and sealed verdict. Encode once: a repeated poll repeats the bytes. */
PTA_MUST_CHECK int envelope_seal_answer(const uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], const struct envelope_head *head, const char *username, const struct verdict *verdict,
					struct buf *sealed);

#endif
