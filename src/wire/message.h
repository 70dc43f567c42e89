/* The JSON messages between agent and service: structs, encoders, strict decoders. Bounded by wire/limits.h.
 * Thread-safe; never blocks. Byte strings are base64url. Decoders return -PTA_EPROTO with a text that names the field
 * (or -PTA_ENOMEM), and an emptied *out; `field` (may be NULL) gets the field's name as a constant, "" for none. */
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
/* POST /v1/agent/poll   {"instance","number","credit"} → 200 struct message_batch, or 204 */
struct message_poll {
	char instance[RANDOM_ID_LEN + 1];
	uint64_t number; /* counts up from 1 within an instance */
	uint32_t credit; /* 1..LIMIT_CREDIT */
};
/* {"requests":[{"id","attempt","expires_ms","key_id","enc","seq","sealed"}]} */
struct message_request {
	struct envelope_head head; /* tenant and agent are not on the wire: each side fills in its own */
	uint8_t enc[ENVELOPE_ENC_LEN];
	uint64_t seq;
	const uint8_t *sealed; /* encoder: borrowed; decoder: inside the batch */
	size_t sealed_len;
};
struct message_batch {
	size_t n;
	struct message_request *requests;
	uint8_t *storage; /* decoded sealed bytes */
};
/* POST /v1/agent/results   {"instance","results":[{"id","attempt","answer"} or {"id","attempt","declined":"overloaded"}]}
 * declined says: not sent to any DC. → 200 {"accepted":N,"refused":[{"id","attempt","error"}]} */
struct message_result {
	char request_id[RANDOM_ID_LEN + 1];
	uint32_t attempt;
	bool declined;
	enum verdict_reason decline_reason;
	const uint8_t *answer; /* sealed; encoder: borrowed; decoder: inside the results */
	size_t answer_len;
};
struct message_results {
	char instance[RANDOM_ID_LEN + 1];
	size_t n;
	struct message_result *results;
	uint8_t *storage;
};

/* Encoders append to out; check buf_ok() after. A batch is written item by item, so that a queue need not build an array:
 * begin, any number of items, end. */
void message_encode_register(struct buf *out, const struct message_register *m);
void message_encode_certificate(struct buf *out, const struct message_certificate *m);
void message_encode_renew(struct buf *out, const struct message_renew *m);
void message_encode_key(struct buf *out, const struct message_key *m);
void message_encode_poll(struct buf *out, const struct message_poll *m);
void message_batch_begin(struct buf *out);
void message_batch_item(struct buf *out, const struct message_request *m); /* puts the comma itself */
void message_batch_end(struct buf *out);
void message_results_begin(struct buf *out, const char *instance);
void message_results_item(struct buf *out, const struct message_result *m);
void message_results_end(struct buf *out);

PTA_MUST_CHECK int message_decode_register(const void *json, size_t len, struct message_register *out, const char **field, struct err *err);
PTA_MUST_CHECK int message_decode_certificate(const void *json, size_t len, struct message_certificate *out, const char **field, struct err *err);
PTA_MUST_CHECK int message_decode_renew(const void *json, size_t len, struct message_renew *out, const char **field, struct err *err);
PTA_MUST_CHECK int message_decode_key(const void *json, size_t len, struct message_key *out, const char **field, struct err *err);
PTA_MUST_CHECK int message_decode_poll(const void *json, size_t len, struct message_poll *out, const char **field, struct err *err);
PTA_MUST_CHECK int message_decode_batch(const void *json, size_t len, struct message_batch *out, const char **field, struct err *err);
PTA_MUST_CHECK int message_decode_results(const void *json, size_t len, struct message_results *out, const char **field, struct err *err);
void message_batch_done(struct message_batch *batch);
void message_results_done(struct message_results *results);

/* The bytes that the agent's certificate key signs for a published key. */
void message_key_signed(struct buf *out, const char *tenant, const char *agent, const struct message_key *m);

#endif
