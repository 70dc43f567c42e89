/* Text encodings of bytes: base64url without padding (RFC 4648 5), hex, decimals, UTF-8 validity, random ids.
 * Thread-safe; no state. */
#ifndef PTA_BASE_ENCODE_H
#define PTA_BASE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define BASE64URL_LEN(n) (((n)*4 + 2) / 3)

/* Appends to the buffer. */
void encode_base64url(struct buf *out, const void *data, size_t len);
/* Strict: no padding, no white space, canonical last character. Writes at most cap bytes to out; *len is
 * their number. -PTA_EINVAL on a bad character, -PTA_ETOOBIG past cap. */
PTA_MUST_CHECK int decode_base64url(const char *text, size_t text_len, uint8_t *out, size_t cap, size_t *len);

/* Lower-case hex and a NUL; out has 2 * len + 1 bytes. */
void encode_hex(const void *data, size_t len, char *out);

/* Decimal digits, without a NUL; returns how many. What printf would do, for lines that are written thousands of times a second. */
#define DECIMAL_MAX 20
size_t encode_decimal(uint64_t value, char out[DECIMAL_MAX]);

/* RFC 3629: no overlong forms, no surrogates, at most U+10FFFF; NUL bytes are refused as well. */
bool utf8_valid(const void *data, size_t len);
/* The bytes of the first character when it is valid and no control character (C0, DEL, C1), else 0. */
size_t utf8_printable(const void *data, size_t len);
/* Only bytes 0x20 to 0x7e. */
bool ascii_printable(const char *text, size_t len);

/* 128 random bits as 32 hex digits and a NUL. */
#define RANDOM_ID_LEN 32
void random_id(char out[RANDOM_ID_LEN + 1]);
bool random_id_valid(const char *text, size_t len);

#endif
