/* The AEADs of RFC 9180 7.3 on EVP, for hpke and for the envelope's answers. The algorithms are fetched once per process
 * (fetching costs more than using them) and never freed. Thread-safe but for the context, which is the caller's. */
#ifndef PTA_WIRE_AEAD_H
#define PTA_WIRE_AEAD_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define AEAD_NONCE_LEN 12
#define AEAD_TAG_LEN 16

enum hpke_aead { HPKE_AES_128_GCM = 1, HPKE_AES_256_GCM = 2, HPKE_CHACHA20_POLY1305 = 3 }; /* RFC 9180 7.3 */

/* A context keyed for one direction: each message only sets its nonce. NULL on failure; EVP_CIPHER_CTX_free() wipes the key. */
EVP_CIPHER_CTX *aead_new(enum hpke_aead aead, const uint8_t *key, bool sealing);
/* In bytes; 0 for an unknown one. */
size_t aead_key_len(enum hpke_aead aead);
/* out has len + AEAD_TAG_LEN bytes. */
PTA_MUST_CHECK int aead_seal(EVP_CIPHER_CTX *ctx, const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, const void *plain, size_t len, uint8_t *out);
/* out has len - AEAD_TAG_LEN bytes; on -PTA_ECRYPTO they are wiped. */
PTA_MUST_CHECK int aead_open(EVP_CIPHER_CTX *ctx, const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, const uint8_t *sealed, size_t len, uint8_t *out);

#endif
