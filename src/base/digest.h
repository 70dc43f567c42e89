/* SHA-256 (FIPS 180-4) over OpenSSL. Its one-shot SHA256() looks the algorithm up at each call, which costs more than a short text
 * does; this has it looked up once. Thread-safe; never blocks. */
#ifndef PTA_BASE_DIGEST_H
#define PTA_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN 32

/* Ends the process without memory: a digest that is none must not be taken for one. */
void digest(const void *data, size_t len, uint8_t out[DIGEST_LEN]);

#endif
