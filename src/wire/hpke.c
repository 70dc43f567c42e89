#include "wire/hpke.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define KEM_ID 0x0020 /* DHKEM(X25519, HKDF-SHA256) */
#define KDF_ID 0x0001 /* HKDF-SHA256 */
#define HASH_LEN 32
#define AEAD_KEY_MAX 32

/* suite_id of RFC 9180 4.1 and 5.1. */
struct suite {
	uint8_t id[10];
	size_t len;
};

struct hpke_key {
	EVP_PKEY *pkey;
	uint8_t public_key[HPKE_KEY_LEN];
};

/* What both ends have in common. The cipher is keyed once, each message only sets its nonce; so is the exporter's HMAC. */
struct context {
	struct suite suite;
	EVP_CIPHER_CTX *cipher;
	EVP_MAC_CTX *exporter;
	uint8_t base_nonce[AEAD_NONCE_LEN];
};

struct hpke_sender {
	struct context context;
	uint64_t next;
	uint8_t enc[HPKE_KEY_LEN];
};

struct hpke_receiver {
	struct context context;
};

/* Fetched once per process, never freed, as the ciphers are. */
static struct {
	pthread_once_t once;
	EVP_MAC *hmac;
} library = {.once = PTHREAD_ONCE_INIT};

static const struct suite kem_suite = {{'K', 'E', 'M', KEM_ID >> 8, KEM_ID & 0xff}, 5};

static void fetch(void)
{
	library.hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
}

static void mac_freep(EVP_MAC_CTX **mac)
{
	EVP_MAC_CTX_free(*mac);
	*mac = NULL;
}

/* HMAC-SHA256, keyed; NULL on failure. */
static EVP_MAC_CTX *mac_new(const uint8_t key[HASH_LEN])
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
	EVP_MAC_CTX *mac;

	pthread_once(&library.once, fetch);
	mac = library.hmac ? EVP_MAC_CTX_new(library.hmac) : NULL;
	if (mac && !EVP_MAC_init(mac, key, HASH_LEN, params))
		mac_freep(&mac);
	return mac;
}

/* "HPKE-v1", suite_id and label, with room for a length before them. Labels are the RFC's, at most 13 bytes. */
static size_t put_labeled(uint8_t out[40], size_t at, const struct suite *suite, const char *label)
{
	memcpy(out + at, "HPKE-v1", 7);
	memcpy(out + at + 7, suite->id, suite->len);
	memcpy(out + at + 7 + suite->len, label, strlen(label));
	return at + 7 + suite->len + strlen(label);
}

/* LabeledExtract(); salt NULL: the empty one (HKDF: as many zeros as the hash has bytes). */
static bool labeled_extract(const struct suite *suite, const uint8_t salt[HASH_LEN], const char *label, const void *ikm, size_t len, uint8_t out[HASH_LEN])
{
	static const uint8_t zeros[HASH_LEN];
	EVP_MAC_CTX *mac PTA_CLEANUP(mac_freep) = mac_new(salt ? salt : zeros);
	uint8_t prefix[40];
	size_t prefix_len = put_labeled(prefix, 0, suite, label), out_len;

	return mac && EVP_MAC_update(mac, prefix, prefix_len) && (len == 0 || EVP_MAC_update(mac, ikm, len)) && EVP_MAC_final(mac, out, &out_len, HASH_LEN);
}

/* LabeledExpand() with an HMAC keyed by the pseudorandom key. */
static bool expand(EVP_MAC_CTX *prk, const struct suite *suite, const char *label, const void *info, size_t info_len, uint8_t *out, size_t len)
{
	uint8_t prefix[40] = {(uint8_t)(len >> 8), (uint8_t)len}, block[HASH_LEN], counter = 1;
	size_t prefix_len = put_labeled(prefix, 2, suite, label), block_len = 0, done = 0;
	bool ok = true;

	for (; ok && done < len; counter++) {
		size_t n = len - done < HASH_LEN ? len - done : HASH_LEN;

		/* Without a key: the same one, from the start. */
		ok = EVP_MAC_init(prk, NULL, 0, NULL) && (block_len == 0 || EVP_MAC_update(prk, block, block_len)) && EVP_MAC_update(prk, prefix, prefix_len) &&
		     (info_len == 0 || EVP_MAC_update(prk, info, info_len)) && EVP_MAC_update(prk, &counter, 1) &&
		     EVP_MAC_final(prk, block, &block_len, HASH_LEN);
		if (ok)
			memcpy(out + done, block, n);
		done += n;
	}
	OPENSSL_cleanse(block, sizeof(block));
	return ok;
}

static bool labeled_expand(
	const struct suite *suite, const uint8_t prk[HASH_LEN], const char *label, const void *info, size_t info_len, uint8_t *out, size_t len)
{
	EVP_MAC_CTX *mac PTA_CLEANUP(mac_freep) = mac_new(prk);

	return mac && expand(mac, suite, label, info, info_len, out, len);
}

static int key_wrap(EVP_PKEY *pkey, struct hpke_key **out)
{
	struct hpke_key *key = OPENSSL_zalloc(sizeof(*key));
	size_t len = HPKE_KEY_LEN;

	if (!pkey || !key || !EVP_PKEY_get_raw_public_key(pkey, key->public_key, &len)) {
		EVP_PKEY_free(pkey);
		OPENSSL_free(key);
		ERR_clear_error();
		return -PTA_ECRYPTO;
	}
	key->pkey = pkey;
	*out = key;
	return 0;
}

int hpke_key_new(struct hpke_key **out)
{
	return key_wrap(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), out);
}

int hpke_key_derive(const uint8_t *ikm, size_t len, struct hpke_key **out)
{
	uint8_t prk[HASH_LEN], private_key[HPKE_KEY_LEN];
	EVP_PKEY *pkey = NULL;

	if (labeled_extract(&kem_suite, NULL, "dkp_prk", ikm, len, prk) && labeled_expand(&kem_suite, prk, "sk", NULL, 0, private_key, sizeof(private_key)))
		pkey = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, private_key, sizeof(private_key));
	OPENSSL_cleanse(prk, sizeof(prk));
	OPENSSL_cleanse(private_key, sizeof(private_key));
	return key_wrap(pkey, out);
}

void hpke_key_free(struct hpke_key *key)
{
	if (!key)
		return;
	EVP_PKEY_free(key->pkey); /* OpenSSL keeps the private key on the secure heap and wipes it */
	OPENSSL_clear_free(key, sizeof(*key));
}

const uint8_t *hpke_key_public(const struct hpke_key *key)
{
	return key->public_key;
}

/* DH(): fails for the points of small order, whose shared secret is zero (7.1.4). */
static bool dh(EVP_PKEY *mine, const uint8_t theirs[HPKE_KEY_LEN], uint8_t out[HPKE_KEY_LEN])
{
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, theirs, HPKE_KEY_LEN);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, mine, NULL);
	size_t len = HPKE_KEY_LEN;
	bool ok = peer && ctx && EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_derive_set_peer(ctx, peer) > 0 && EVP_PKEY_derive(ctx, out, &len) > 0;

	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(peer);
	return ok;
}

/* Encap() and Decap() from the DH on: the shared secret is bound to both public keys. */
static bool shared_secret(const struct hpke_key *mine, const uint8_t theirs[HPKE_KEY_LEN], const uint8_t enc[HPKE_KEY_LEN],
	const uint8_t recipient[HPKE_KEY_LEN], uint8_t out[HASH_LEN])
{
	uint8_t secret[HPKE_KEY_LEN], prk[HASH_LEN], kem_context[2 * HPKE_KEY_LEN];
	bool ok;

	memcpy(kem_context, enc, HPKE_KEY_LEN);
	memcpy(kem_context + HPKE_KEY_LEN, recipient, HPKE_KEY_LEN);
	ok = dh(mine->pkey, theirs, secret) && labeled_extract(&kem_suite, NULL, "eae_prk", secret, sizeof(secret), prk) &&
	     labeled_expand(&kem_suite, prk, "shared_secret", kem_context, sizeof(kem_context), out, HASH_LEN);
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(prk, sizeof(prk));
	return ok;
}

static void context_done(struct context *c)
{
	EVP_CIPHER_CTX_free(c->cipher); /* wipes its key, as the next does */
	EVP_MAC_CTX_free(c->exporter);
	OPENSSL_cleanse(c, sizeof(*c));
}

/* KeySchedule() of mode_base (5.1). */
static bool key_schedule(struct context *c, enum hpke_aead aead, const uint8_t shared[HASH_LEN], const void *info, size_t info_len, bool sending)
{
	const struct suite suite = {{'H', 'P', 'K', 'E', KEM_ID >> 8, KEM_ID & 0xff, KDF_ID >> 8, KDF_ID & 0xff, 0, (uint8_t)aead}, 10};
	uint8_t schedule[1 + 2 * HASH_LEN] = {0 /* mode_base */}, secret[HASH_LEN], key[AEAD_KEY_MAX], exporter[HASH_LEN];
	size_t key_len = aead_key_len(aead);
	bool ok;

	c->suite = suite;
	ok = key_len > 0 && key_len <= sizeof(key) && labeled_extract(&suite, NULL, "psk_id_hash", NULL, 0, schedule + 1) &&
	     labeled_extract(&suite, NULL, "info_hash", info, info_len, schedule + 1 + HASH_LEN) &&
	     labeled_extract(&suite, shared, "secret", NULL, 0, secret) && labeled_expand(&suite, secret, "key", schedule, sizeof(schedule), key, key_len) &&
	     labeled_expand(&suite, secret, "base_nonce", schedule, sizeof(schedule), c->base_nonce, AEAD_NONCE_LEN) &&
	     labeled_expand(&suite, secret, "exp", schedule, sizeof(schedule), exporter, HASH_LEN) && (c->exporter = mac_new(exporter)) &&
	     (c->cipher = aead_new(aead, key, sending));
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(exporter, sizeof(exporter));
	return ok;
}

/* ComputeNonce(): base_nonce xor the number as 12 bytes. */
static void compute_nonce(const struct context *c, uint64_t seq, uint8_t nonce[AEAD_NONCE_LEN])
{
	memcpy(nonce, c->base_nonce, AEAD_NONCE_LEN);
	for (int i = 0; i < 8; i++)
		nonce[AEAD_NONCE_LEN - 1 - i] ^= (uint8_t)(seq >> (8 * i));
}

static int export_secret(const struct context *c, const void *context, size_t context_len, uint8_t *out, size_t len)
{
	if (len == 0 || len > HPKE_EXPORT_MAX)
		return -PTA_EINVAL;
	if (!expand(c->exporter, &c->suite, "sec", context, context_len, out, len)) {
		OPENSSL_cleanse(out, len);
		ERR_clear_error();
		return -PTA_ECRYPTO;
	}
	return 0;
}

int hpke_sender_new(enum hpke_aead aead, const uint8_t recipient[HPKE_KEY_LEN], const void *info, size_t info_len, const struct hpke_key *ephemeral,
	struct hpke_sender **out)
{
	struct hpke_sender *sender = OPENSSL_zalloc(sizeof(*sender));
	struct hpke_key *fresh = NULL;
	uint8_t shared[HASH_LEN];
	bool ok = sender != NULL;

	if (ok && !ephemeral) {
		ok = hpke_key_new(&fresh) == 0;
		ephemeral = fresh;
	}
	if (ok) {
		memcpy(sender->enc, ephemeral->public_key, HPKE_KEY_LEN);
		ok = shared_secret(ephemeral, recipient, sender->enc, recipient, shared) && key_schedule(&sender->context, aead, shared, info, info_len, true);
	}
	OPENSSL_cleanse(shared, sizeof(shared));
	hpke_key_free(fresh);
	if (!ok) {
		hpke_sender_free(sender);
		ERR_clear_error();
		return -PTA_ECRYPTO;
	}
	*out = sender;
	return 0;
}

void hpke_sender_free(struct hpke_sender *sender)
{
	if (!sender)
		return;
	context_done(&sender->context);
	OPENSSL_clear_free(sender, sizeof(*sender));
}

const uint8_t *hpke_sender_enc(const struct hpke_sender *sender)
{
	return sender->enc;
}

uint64_t hpke_sender_next(const struct hpke_sender *sender)
{
	return sender->next;
}

int hpke_seal(struct hpke_sender *sender, const void *aad, size_t aad_len, const void *plain, size_t len, uint8_t *out, uint64_t *seq)
{
	uint8_t nonce[AEAD_NONCE_LEN];

	if (sender->next == UINT64_MAX)
		return -PTA_ECRYPTO;
	*seq = sender->next++; /* used up even when what follows fails */
	compute_nonce(&sender->context, *seq, nonce);
	return aead_seal(sender->context.cipher, nonce, aad, aad_len, plain, len, out);
}

int hpke_sender_export(const struct hpke_sender *sender, const void *context, size_t context_len, uint8_t *out, size_t len)
{
	return export_secret(&sender->context, context, context_len, out, len);
}

int hpke_receiver_new(
	enum hpke_aead aead, const struct hpke_key *key, const uint8_t enc[HPKE_KEY_LEN], const void *info, size_t info_len, struct hpke_receiver **out)
{
	struct hpke_receiver *receiver = OPENSSL_zalloc(sizeof(*receiver));
	uint8_t shared[HASH_LEN];
	bool ok = receiver && shared_secret(key, enc, enc, key->public_key, shared) && key_schedule(&receiver->context, aead, shared, info, info_len, false);

	OPENSSL_cleanse(shared, sizeof(shared));
	if (!ok) {
		hpke_receiver_free(receiver);
		ERR_clear_error();
		return -PTA_ECRYPTO;
	}
	*out = receiver;
	return 0;
}

void hpke_receiver_free(struct hpke_receiver *receiver)
{
	if (!receiver)
		return;
	context_done(&receiver->context);
	OPENSSL_clear_free(receiver, sizeof(*receiver));
}

int hpke_open(struct hpke_receiver *receiver, uint64_t seq, const void *aad, size_t aad_len, const uint8_t *sealed, size_t len, uint8_t *out)
{
	uint8_t nonce[AEAD_NONCE_LEN];

	compute_nonce(&receiver->context, seq, nonce);
	return aead_open(receiver->context.cipher, nonce, aad, aad_len, sealed, len, out);
}

int hpke_receiver_export(const struct hpke_receiver *receiver, const void *context, size_t context_len, uint8_t *out, size_t len)
{
	return export_secret(&receiver->context, context, context_len, out, len);
}
