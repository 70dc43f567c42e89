#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "hpke_vectors.h"
#include "wire/hpke.h"

#define ACCUMULATED 1000
#define ACCUMULATED_INPUT (2 * 256 * ACCUMULATED)

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		out[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return n;
}

static void assert_hex(const uint8_t *data, size_t len, const char *expected)
{
	char hex[2 * 256 + 1];

	assert_in_range(len, 1, 256);
	encode_hex(data, len, hex);
	assert_string_equal(hex, expected);
}

static struct hpke_key *derive(const char *ikm)
{
	uint8_t bytes[64];
	struct hpke_key *key;

	assert_int_equal(hpke_key_derive(bytes, unhex(ikm, bytes), &key), 0);
	return key;
}

struct pair {
	struct hpke_key *key;
	struct hpke_sender *sender;
	struct hpke_receiver *receiver;
};

/* Both ends of a vector. */
static struct pair pair_of_vector(const struct hpke_vector *v)
{
	struct hpke_key *ephemeral = derive(v->ikm_e);
	struct pair p = {.key = derive(v->ikm_r)};
	uint8_t info[64];
	size_t info_len = unhex(v->info, info);

	assert_hex(hpke_key_public(p.key), HPKE_KEY_LEN, v->pk_r);
	assert_int_equal(hpke_sender_new(v->aead, hpke_key_public(p.key), info, info_len, ephemeral, &p.sender), 0);
	assert_hex(hpke_sender_enc(p.sender), HPKE_KEY_LEN, v->enc);
	assert_int_equal(hpke_receiver_new(v->aead, p.key, hpke_sender_enc(p.sender), info, info_len, &p.receiver), 0);
	hpke_key_free(ephemeral);
	return p;
}

static struct pair pair_new(enum hpke_aead aead)
{
	struct pair p;

	assert_int_equal(hpke_key_new(&p.key), 0);
	assert_int_equal(hpke_sender_new(aead, hpke_key_public(p.key), "info", 4, NULL, &p.sender), 0);
	assert_int_equal(hpke_receiver_new(aead, p.key, hpke_sender_enc(p.sender), "info", 4, &p.receiver), 0);
	return p;
}

static void pair_done(struct pair *p)
{
	hpke_sender_free(p->sender);
	hpke_receiver_free(p->receiver);
	hpke_key_free(p->key);
}

static void vectors_seal_and_open(void **state)
{
	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(hpke_vectors); i++) {
		const struct hpke_vector *v = &hpke_vectors[i];
		struct pair p = pair_of_vector(v);
		uint8_t plain[64], aad[64], sealed[128], opened[64], scratch[HPKE_TAG_LEN];
		size_t plain_len = unhex(HPKE_VECTOR_PLAIN, plain);
		uint64_t seq;

		for (size_t j = 0; j < PTA_ARRAY_SIZE(v->encryptions) && v->encryptions[j].ct; j++) {
			size_t aad_len = unhex(v->encryptions[j].aad, aad);

			while (hpke_sender_next(p.sender) < v->encryptions[j].seq)
				assert_int_equal(hpke_seal(p.sender, NULL, 0, NULL, 0, scratch, &seq), 0);
			assert_int_equal(hpke_seal(p.sender, aad, aad_len, plain, plain_len, sealed, &seq), 0);
			assert_int_equal(seq, v->encryptions[j].seq);
			assert_hex(sealed, plain_len + HPKE_TAG_LEN, v->encryptions[j].ct);
			assert_int_equal(hpke_open(p.receiver, seq, aad, aad_len, sealed, plain_len + HPKE_TAG_LEN, opened), 0);
			assert_memory_equal(opened, plain, plain_len);
		}
		pair_done(&p);
	}
}

static void vectors_export(void **state)
{
	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(hpke_vectors); i++) {
		const struct hpke_vector *v = &hpke_vectors[i];
		struct pair p = pair_of_vector(v);
		uint8_t context[64], value[32];

		for (size_t j = 0; j < PTA_ARRAY_SIZE(v->exports); j++) {
			size_t len = unhex(v->exports[j].context, context);

			/* Twice: the keyed HMAC must begin anew each time. */
			for (int again = 0; again < 2; again++) {
				assert_int_equal(hpke_sender_export(p.sender, context, len, value, sizeof(value)), 0);
				assert_hex(value, sizeof(value), v->exports[j].value);
				assert_int_equal(hpke_receiver_export(p.receiver, context, len, value, sizeof(value)), 0);
				assert_hex(value, sizeof(value), v->exports[j].value);
			}
		}
		pair_done(&p);
	}
}

static void shake128(const uint8_t *data, size_t len, uint8_t *out, size_t out_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	assert_true(EVP_DigestInit_ex(ctx, EVP_shake128(), NULL) && EVP_DigestUpdate(ctx, data, len) && EVP_DigestFinalXOF(ctx, out, out_len));
	EVP_MD_CTX_free(ctx);
}

static void vectors_of_a_thousand_messages(void **state)
{
	uint8_t *input = malloc(ACCUMULATED_INPUT), *sealed = malloc((256 + HPKE_TAG_LEN) * ACCUMULATED), opened[256], sum[16];

	(void)state;
	assert_true(input && sealed);
	shake128((const uint8_t *)"", 0, input, ACCUMULATED_INPUT);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(hpke_vectors); i++) {
		struct pair p = pair_of_vector(&hpke_vectors[i]);
		const uint8_t *at = input;
		size_t total = 0;
		uint64_t seq;

		for (int n = 0; n < ACCUMULATED; n++) {
			const uint8_t *aad = at + 1, *plain = aad + at[0] + 1;
			size_t aad_len = at[0], len = plain[-1];

			at = plain + len;
			assert_int_equal(hpke_seal(p.sender, aad, aad_len, plain, len, sealed + total, &seq), 0);
			assert_int_equal(hpke_open(p.receiver, seq, aad, aad_len, sealed + total, len + HPKE_TAG_LEN, opened), 0);
			assert_memory_equal(opened, plain, len);
			total += len + HPKE_TAG_LEN;
		}
		shake128(sealed, total, sum, sizeof(sum));
		assert_hex(sum, sizeof(sum), hpke_vectors[i].accumulated);
		pair_done(&p);
	}
	free(input);
	free(sealed);
}

static void messages_open_in_any_order(void **state)
{
	struct pair p = pair_new(HPKE_AES_256_GCM);
	uint8_t sealed[5][1 + HPKE_TAG_LEN], plain;
	uint64_t seq;

	(void)state;
	for (uint8_t i = 0; i < 5; i++) {
		assert_int_equal(hpke_seal(p.sender, "a", 1, &i, 1, sealed[i], &seq), 0);
		assert_int_equal(seq, i);
	}
	assert_int_equal(hpke_sender_next(p.sender), 5);
	for (int i = 4; i >= 0; i--) {
		assert_int_equal(hpke_open(p.receiver, (uint64_t)i, "a", 1, sealed[i], sizeof(sealed[i]), &plain), 0);
		assert_int_equal(plain, i);
	}
	pair_done(&p);
}

static void anything_changed_is_refused_and_nothing_is_left(void **state)
{
	static const uint8_t zeros[5];
	struct pair p = pair_new(HPKE_AES_256_GCM);
	uint8_t sealed[5 + HPKE_TAG_LEN], plain[5];
	struct hpke_receiver *other;
	uint64_t seq;

	(void)state;
	assert_int_equal(hpke_seal(p.sender, "aad", 3, "hello", 5, sealed, &seq), 0);
	for (size_t i = 0; i < sizeof(sealed); i++) {
		sealed[i] ^= 0x10;
		memset(plain, 0xff, sizeof(plain));
		assert_int_equal(hpke_open(p.receiver, seq, "aad", 3, sealed, sizeof(sealed), plain), -PTA_ECRYPTO);
		assert_memory_equal(plain, zeros, sizeof(plain));
		sealed[i] ^= 0x10;
	}
	assert_int_equal(hpke_open(p.receiver, seq, "aae", 3, sealed, sizeof(sealed), plain), -PTA_ECRYPTO);
	assert_int_equal(hpke_open(p.receiver, seq, "aad", 2, sealed, sizeof(sealed), plain), -PTA_ECRYPTO);
	assert_int_equal(hpke_open(p.receiver, seq + 1, "aad", 3, sealed, sizeof(sealed), plain), -PTA_ECRYPTO);
	assert_int_equal(hpke_open(p.receiver, seq | UINT64_C(1) << 63, "aad", 3, sealed, sizeof(sealed), plain), -PTA_ECRYPTO);
	assert_int_equal(hpke_open(p.receiver, seq, "aad", 3, sealed, sizeof(sealed) - 1, plain), -PTA_ECRYPTO);
	assert_int_equal(hpke_open(p.receiver, seq, "aad", 3, sealed, HPKE_TAG_LEN - 1, plain), -PTA_ECRYPTO);
	assert_int_equal(hpke_open(p.receiver, seq, "aad", 3, sealed, 0, plain), -PTA_ECRYPTO);
	/* Another info, another context. */
	assert_int_equal(hpke_receiver_new(HPKE_AES_256_GCM, p.key, hpke_sender_enc(p.sender), "info2", 5, &other), 0);
	assert_int_equal(hpke_open(other, seq, "aad", 3, sealed, sizeof(sealed), plain), -PTA_ECRYPTO);
	hpke_receiver_free(other);
	/* After all of that the right one still opens. */
	assert_int_equal(hpke_open(p.receiver, seq, "aad", 3, sealed, sizeof(sealed), plain), 0);
	assert_memory_equal(plain, "hello", 5);
	pair_done(&p);
	assert_int_equal(ERR_peek_error(), 0);
}

static void public_keys_of_small_order_are_refused(void **state)
{
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	struct hpke_receiver *receiver;
	struct hpke_sender *sender;
	struct hpke_key *key;
	uint8_t point[HPKE_KEY_LEN];

	(void)state;
	assert_int_equal(hpke_key_new(&key), 0);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(points); i++) {
		unhex(points[i], point);
		assert_int_equal(hpke_sender_new(HPKE_AES_256_GCM, point, NULL, 0, NULL, &sender), -PTA_ECRYPTO);
		assert_int_equal(hpke_receiver_new(HPKE_AES_256_GCM, key, point, NULL, 0, &receiver), -PTA_ECRYPTO);
	}
	hpke_key_free(key);
	assert_int_equal(ERR_peek_error(), 0);
}

static void bad_parameters_are_refused(void **state)
{
	struct pair p = pair_new(HPKE_AES_256_GCM);
	struct hpke_sender *sender;
	uint8_t out[HPKE_EXPORT_MAX + 1], both[2][HPKE_EXPORT_MAX];

	(void)state;
	assert_int_equal(hpke_sender_new((enum hpke_aead)0, hpke_key_public(p.key), NULL, 0, NULL, &sender), -PTA_ECRYPTO);
	assert_int_equal(hpke_sender_new((enum hpke_aead)4, hpke_key_public(p.key), NULL, 0, NULL, &sender), -PTA_ECRYPTO);
	assert_int_equal(hpke_sender_new((enum hpke_aead) - 1, hpke_key_public(p.key), NULL, 0, NULL, &sender), -PTA_ECRYPTO);
	assert_int_equal(hpke_sender_export(p.sender, "c", 1, out, 0), -PTA_EINVAL);
	assert_int_equal(hpke_sender_export(p.sender, "c", 1, out, sizeof(out)), -PTA_EINVAL);
	/* More than one block of the hash. */
	assert_int_equal(hpke_sender_export(p.sender, "c", 1, both[0], sizeof(both[0])), 0);
	assert_int_equal(hpke_receiver_export(p.receiver, "c", 1, both[1], sizeof(both[1])), 0);
	assert_memory_equal(both[0], both[1], sizeof(both[0]));
	assert_memory_not_equal(both[0], both[0] + 32, 32);
	pair_done(&p);
}

static void each_sender_has_a_fresh_ephemeral_key(void **state)
{
	struct pair p = pair_new(HPKE_AES_256_GCM);
	struct hpke_sender *sender;

	(void)state;
	assert_int_equal(hpke_sender_new(HPKE_AES_256_GCM, hpke_key_public(p.key), "info", 4, NULL, &sender), 0);
	assert_memory_not_equal(hpke_sender_enc(sender), hpke_sender_enc(p.sender), HPKE_KEY_LEN);
	hpke_sender_free(sender);
	pair_done(&p);
	hpke_key_free(NULL);
	hpke_sender_free(NULL);
	hpke_receiver_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_seal_and_open),
		cmocka_unit_test(vectors_export),
		cmocka_unit_test(vectors_of_a_thousand_messages),
		cmocka_unit_test(messages_open_in_any_order),
		cmocka_unit_test(anything_changed_is_refused_and_nothing_is_left),
		cmocka_unit_test(public_keys_of_small_order_are_refused),
		cmocka_unit_test(bad_parameters_are_refused),
		cmocka_unit_test(each_sender_has_a_fresh_ephemeral_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
