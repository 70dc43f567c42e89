/* The messages between agent and service: structs, encoders, strict decoders. Bounded by wire/limits.h. Thread-safe; never
 * blocks. Polls and their answers, thousands a second, are binary (message_poll.c); the rest is JSON, byte strings in it are
 * base64url. Decoders return -PTA_EPROTO with a text that names the field (or -PTA_ENOMEM), and an emptied *out; those of JSON
 * give the field's name as a constant as well, "" for none (`field` may be NULL). */
#ifndef PTA_WIRE_MESSAGE_H
#define PTA_WIRE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/envelope.h"
#include "wire/limits.h"

/* Every answer on the agent listener carries the service's wall clock in ms in this header. */
#define MESSAGE_TIME_HEADER "PTA-Time"

/* Errors an agent acts on, the "error" of {error, message, field}: */
#define MESSAGE_ERROR_KEY_UNKNOWN "key_unknown"	 /* 409 to a poll: the service has no HPKE key of this instance (it was restarted): publish, then poll */
#define MESSAGE_ERROR_CERTIFICATE "certificate"	 /* 403: no client certificate, or revoked, expired, unknown: the message says which */
#define MESSAGE_ERROR_TOKEN "token"		 /* 403 to register: unknown, expired or spent */
/* "error" of a refused result: */
#define MESSAGE_REFUSED_UNKNOWN "unknown"	 /* no such request waits any more: late, or answered already */
#define MESSAGE_REFUSED_NOT_HOLDER "not_holder"	 /* it is not this agent's, or was handed to an earlier instance */
#define MESSAGE_REFUSED_ATTEMPT "stale_attempt"	 /* not the current attempt */
#define MESSAGE_REFUSED_ANSWER "bad_answer"	 /* the sealed answer does not open */

/* POST /v1/agent/register   {"token_id","token","csr","host","version"} (no client certificate; token is the secret part) */
struct message_register {
	char token_id[RANDOM_ID_LEN + 1];
	char token_secret[BASE64URL_LEN(32) + 1];
	char csr[LIMIT_CSR + 1]; /* PEM */
	char host[LIMIT_DOMAIN + 1];
	char version[33];
};
/* its answer, and that of renew: {"agent","tenant","group","certificate"} */
struct message_certificate {
	char agent[LIMIT_ID + 1], tenant[LIMIT_TENANT + 1], group[LIMIT_ID + 1];
	char certificate[LIMIT_CERTIFICATE + 1]; /* PEM, the agent's own only: the CA came with the token */
};
/* POST /v1/agent/renew   {"csr"} */
struct message_renew {
	char csr[LIMIT_CSR + 1];
};
/* POST /v1/agent/keys   {"instance","key_id","public","not_after_ms","signature"} → {} */
struct message_key {
	char instance[RANDOM_ID_LEN + 1];
	char key_id[RANDOM_ID_LEN + 1];
	uint8_t public_key[HPKE_KEY_LEN];
	uint64_t not_after_ms; /* service clock */
	uint8_t signature[256]; /* ECDSA P-256 SHA-256, DER, over message_key_signed() */
	size_t signature_len;
};
/* A poll carries up what the agent has validated and asks for more. Results are taken as soon as they have come, whatever
 * becomes of the poll; so one exchange does for a request's answer and the next request.
 * POST /v1/agent/poll → 200 a batch, or 204 when there is nothing to say. Both are MESSAGE_POLL_TYPE: big endian, an id is its 32
 * digits, a text has a u16 length in front.
 *   poll    u8 1, id instance, u64 number, u16 credit, u16 n, n results
 *   result  id request, u32 attempt, u8 0 and the sealed answer (text), or u8 1 and u8 reason: declined, not sent to any DC
 *   batch   u8 1, u16 n, n requests, u16 n, n refusals
 *   request id request, u32 attempt, u64 expires_ms, id key, 32 bytes enc, u64 seq, sealed (text)
 *   refusal id request, u32 attempt, error (text) */
#define MESSAGE_POLL_TYPE "application/vnd.pta.poll"
#define MESSAGE_POLL_VERSION 1

struct message_result {
	char request_id[RANDOM_ID_LEN + 1];
	uint32_t attempt;
	bool declined;
	enum verdict_reason decline_reason;
	const uint8_t *answer; /* sealed, 1..LIMIT_ANSWER bytes; borrowed, also from what was decoded */
	size_t answer_len;
};
struct message_poll {
	char instance[RANDOM_ID_LEN + 1];
	uint64_t number; /* counts up from 1 within an instance */
	uint32_t credit; /* 0..LIMIT_CREDIT; 0: brings results and waits for nothing */
	/* decoder only */
	size_t n;
	struct message_result *results;
};
struct message_request {
	struct envelope_head head; /* tenant and agent are not on the wire: each side fills in its own */
	uint8_t enc[ENVELOPE_ENC_LEN];
	uint64_t seq;
	const uint8_t *sealed; /* 1..LIMIT_SEALED bytes; borrowed, also from what was decoded */
	size_t sealed_len;
};
/* Of the poll's results; the others were taken. */
struct message_refused {
	char request_id[RANDOM_ID_LEN + 1];
	uint32_t attempt;
	char error[33]; /* MESSAGE_REFUSED_*, or what a newer service says; printable */
};
struct message_batch {
	size_t n, nrefused;
	struct message_request *requests;
	struct message_refused *refused;
};

/* Encoders append to out; check buf_ok() after. */
void message_encode_register(struct buf *out, const struct message_register *m);
void message_encode_certificate(struct buf *out, const struct message_certificate *m);
void message_encode_renew(struct buf *out, const struct message_renew *m);
void message_encode_key(struct buf *out, const struct message_key *m);
/* Results and refusals gather one by one in a list of their own, and requests as well, so that a queue need not build an array. */
struct message_list {
	struct buf items;
	unsigned n;
};

#define MESSAGE_LIST(max_bytes) ((struct message_list){.items = BUF_INIT(max_bytes)})

void message_list_reset(struct message_list *list);
void message_list_done(struct message_list *list);
void message_result_item(struct message_list *results, const struct message_result *m);
void message_request_item(struct message_list *requests, const struct message_request *m);
void message_refused_item(struct message_list *refused, const char *request_id, uint32_t attempt, const char *error);
void message_encode_poll(struct buf *out, const struct message_poll *m, const struct message_list *results);
void message_encode_batch(struct buf *out, const struct message_list *requests, const struct message_list *refused);

PTA_MUST_CHECK int message_decode_register(const void *json, size_t len, struct message_register *out, const char **field, struct err *err);
PTA_MUST_CHECK int message_decode_certificate(const void *json, size_t len, struct message_certificate *out, const char **field, struct err *err);
PTA_MUST_CHECK int message_decode_renew(const void *json, size_t len, struct message_renew *out, const char **field, struct err *err);
PTA_MUST_CHECK int message_decode_key(const void *json, size_t len, struct message_key *out, const char **field, struct err *err);
/* What these give borrows from data. */
PTA_MUST_CHECK int message_decode_poll(const uint8_t *data, size_t len, struct message_poll *out, struct err *err);
PTA_MUST_CHECK int message_decode_batch(const uint8_t *data, size_t len, struct message_batch *out, struct err *err);
void message_batch_done(struct message_batch *batch);
void message_poll_done(struct message_poll *poll);

/* The bytes that the agent's certificate key signs for a published key. */
void message_key_signed(struct buf *out, const char *tenant, const char *agent, const struct message_key *m);

#endif
