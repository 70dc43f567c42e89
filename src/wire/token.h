/* Registration tokens: one line of text, "pta1." and base64url of a versioned structure with a checksum that tells a cut
 * paste from a wrong token: token id, secret, the agent listener's default URL, and the service's CA certificate. Pure. */
#ifndef PTA_WIRE_TOKEN_H
#define PTA_WIRE_TOKEN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "wire/limits.h"

#define TOKEN_SECRET_LEN 32

struct token {
	char id[RANDOM_ID_LEN + 1];
	uint8_t secret[TOKEN_SECRET_LEN];
	char service[LIMIT_DOMAIN + 1]; /* "https://pta.example.com:8443", may be "" */
	uint8_t ca_der[2048];
	size_t ca_der_len;
};

/* Appends the line without a newline; out should be a wiped buffer. A field that is too long sets out->failed. */
void token_encode(struct buf *out, const struct token *token);
/* White space around is ignored; the URL is https or "". -PTA_EINVAL with a text: "not a pta token", "cut off", "of a newer
 * version"; *out is wiped then. */
PTA_MUST_CHECK int token_decode(const char *text, size_t len, struct token *out, struct err *err);
/* SHA-256 of the secret, as the registry stores it. */
void token_hash(const uint8_t secret[TOKEN_SECRET_LEN], uint8_t hash[32]);

#endif
