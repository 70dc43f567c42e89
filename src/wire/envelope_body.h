/* The layout of what an envelope seals: requests and answers as bytes, padded so that their length tells little. Both
 * parsers read what was authenticated already, and still trust nothing of it. Pure; thread-safe. */
#ifndef PTA_WIRE_ENVELOPE_BODY_H
#define PTA_WIRE_ENVELOPE_BODY_H

#include "wire/envelope.h"

#define ENVELOPE_REQUEST_PLAIN_MAX 2560 /* sealed: within LIMIT_SEALED */
#define ENVELOPE_ANSWER_PLAIN_MAX 768	/* sealed: within LIMIT_ANSWER */

/* out must be a wiped buffer. A value that is over its limit, empty, or not text sets out->failed. */
void envelope_body_put_request(struct buf *out, const struct envelope_request *request);
/* -PTA_EPROTO, or -PTA_ENOMEM when there is no room for the password; *out is wiped then. */
PTA_MUST_CHECK int envelope_body_parse_request(const uint8_t *plain, size_t len, struct envelope_request *out, struct err *err);

void envelope_body_put_answer(struct buf *out, const struct envelope_head *head, const char *username, const struct verdict *verdict);
/* -PTA_EPROTO when malformed, contradictory, or of another request, attempt or user; *out is zeroed then. */
PTA_MUST_CHECK int envelope_body_parse_answer(const uint8_t *plain, size_t len, const struct envelope_head *head, const char *username, struct verdict *out, struct err *err);

#endif
