/* HPKE, RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and an AEAD, on OpenSSL's EVP. The sequence
 * number is explicit (9.7.1: it travels with the message), so a receiver may open in any order; a sender counts by
 * itself. Contexts are not thread-safe, never shared between threads, never stored. */
#ifndef PTA_WIRE_HPKE_H
#define PTA_WIRE_HPKE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/aead.h"

#define HPKE_KEY_LEN 32 /* X25519 public and private keys, enc */
#define HPKE_TAG_LEN AEAD_TAG_LEN
#define HPKE_EXPORT_MAX 64

struct hpke_key; /* a private key with its public one; memory wiped on free */
struct hpke_sender;
struct hpke_receiver;

PTA_MUST_CHECK int hpke_key_new(struct hpke_key **out);
/* DeriveKeyPair (7.1.3), for the RFC's vectors. */
PTA_MUST_CHECK int hpke_key_derive(const uint8_t *ikm, size_t len, struct hpke_key **out);
void hpke_key_free(struct hpke_key *key);
const uint8_t *hpke_key_public(const struct hpke_key *key); /* HPKE_KEY_LEN bytes */

/* SetupBaseS. ephemeral: NULL makes a fresh one; tests give the RFC's. The all-zero shared secret is refused. */
PTA_MUST_CHECK int hpke_sender_new(enum hpke_aead aead, const uint8_t recipient[HPKE_KEY_LEN], const void *info, size_t info_len, const struct hpke_key *ephemeral,
				   struct hpke_sender **out);
void hpke_sender_free(struct hpke_sender *sender);
const uint8_t *hpke_sender_enc(const struct hpke_sender *sender);
/* Takes the next number inside (it never repeats; -PTA_ECRYPTO when used up). out has len + HPKE_TAG_LEN bytes. */
PTA_MUST_CHECK int hpke_seal(struct hpke_sender *sender, const void *aad, size_t aad_len, const void *plain, size_t len, uint8_t *out, uint64_t *seq);
/* The number that the next seal will take. */
uint64_t hpke_sender_next(const struct hpke_sender *sender);
PTA_MUST_CHECK int hpke_sender_export(const struct hpke_sender *sender, const void *context, size_t context_len, uint8_t *out, size_t len);

/* SetupBaseR. */
PTA_MUST_CHECK int hpke_receiver_new(enum hpke_aead aead, const struct hpke_key *key, const uint8_t enc[HPKE_KEY_LEN], const void *info, size_t info_len,
				     struct hpke_receiver **out);
void hpke_receiver_free(struct hpke_receiver *receiver);
/* out has len - HPKE_TAG_LEN bytes; on -PTA_ECRYPTO they are wiped. */
PTA_MUST_CHECK int hpke_open(struct hpke_receiver *receiver, uint64_t seq, const void *aad, size_t aad_len, const uint8_t *sealed, size_t len, uint8_t *out);
PTA_MUST_CHECK int hpke_receiver_export(const struct hpke_receiver *receiver, const void *context, size_t context_len, uint8_t *out, size_t len);

#endif
