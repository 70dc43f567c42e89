#include "wire/aead.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

static struct {
	pthread_once_t once;
	EVP_CIPHER *ciphers[HPKE_CHACHA20_POLY1305 + 1];
} library = {.once = PTHREAD_ONCE_INIT};

static void fetch(void)
{
	library.ciphers[HPKE_AES_128_GCM] = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	library.ciphers[HPKE_AES_256_GCM] = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	library.ciphers[HPKE_CHACHA20_POLY1305] = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
}

static EVP_CIPHER *cipher_of(enum hpke_aead aead)
{
	pthread_once(&library.once, fetch);
	return (unsigned)aead < PTA_ARRAY_SIZE(library.ciphers) ? library.ciphers[aead] : NULL;
}

size_t aead_key_len(enum hpke_aead aead)
{
	EVP_CIPHER *cipher = cipher_of(aead);

	return cipher ? (size_t)EVP_CIPHER_get_key_length(cipher) : 0;
}

EVP_CIPHER_CTX *aead_new(enum hpke_aead aead, const uint8_t *key, bool sealing)
{
	EVP_CIPHER *cipher = cipher_of(aead);
	EVP_CIPHER_CTX *ctx = cipher ? EVP_CIPHER_CTX_new() : NULL;

	if (ctx && !EVP_CipherInit_ex2(ctx, cipher, key, NULL, sealing, NULL)) {
		EVP_CIPHER_CTX_free(ctx);
		ERR_clear_error();
		return NULL;
	}
	return ctx;
}

int aead_seal(EVP_CIPHER_CTX *ctx, const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, const void *plain, size_t len, uint8_t *out)
{
	int n = 0;

	if (len > INT_MAX - AEAD_TAG_LEN || aad_len > INT_MAX)
		return -PTA_ETOOBIG;
	if (!EVP_EncryptInit_ex2(ctx, NULL, NULL, nonce, NULL) || (aad_len && !EVP_EncryptUpdate(ctx, NULL, &n, aad, (int)aad_len)) ||
		(len && !EVP_EncryptUpdate(ctx, out, &n, plain, (int)len)) || !EVP_EncryptFinal_ex(ctx, out + len, &n) ||
		!EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, out + len)) {
		OPENSSL_cleanse(out, len + AEAD_TAG_LEN);
		ERR_clear_error();
		return -PTA_ECRYPTO;
	}
	return 0;
}

int aead_open(EVP_CIPHER_CTX *ctx, const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, const uint8_t *sealed, size_t len, uint8_t *out)
{
	uint8_t tag[AEAD_TAG_LEN];
	size_t plain_len;
	int n = 0;

	if (len < AEAD_TAG_LEN)
		return -PTA_ECRYPTO;
	if (len > INT_MAX || aad_len > INT_MAX)
		return -PTA_ETOOBIG;
	plain_len = len - AEAD_TAG_LEN;
	memcpy(tag, sealed + plain_len, AEAD_TAG_LEN); /* OpenSSL wants it writable */
	if (!EVP_DecryptInit_ex2(ctx, NULL, NULL, nonce, NULL) || (aad_len && !EVP_DecryptUpdate(ctx, NULL, &n, aad, (int)aad_len)) ||
		(plain_len && !EVP_DecryptUpdate(ctx, out, &n, sealed, (int)plain_len)) ||
		!EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, tag) || EVP_DecryptFinal_ex(ctx, out + plain_len, &n) <= 0) {
		OPENSSL_cleanse(out, plain_len);
		ERR_clear_error();
		return -PTA_ECRYPTO;
	}
	return 0;
}
