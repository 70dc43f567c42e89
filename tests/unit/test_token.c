#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/sha.h>
#include <string.h>

#include "wire/token.h"

static struct token example(void)
{
	struct token token = {.service = "https://pta.example.com:8443", .ca_der_len = 700};

	memset(token.id, 'a', RANDOM_ID_LEN);
	for (size_t i = 0; i < TOKEN_SECRET_LEN; i++)
		token.secret[i] = (uint8_t)(200 + i);
	for (size_t i = 0; i < token.ca_der_len; i++)
		token.ca_der[i] = (uint8_t)(i * 7);
	return token;
}

static void assert_same(const struct token *a, const struct token *b)
{
	assert_string_equal(a->id, b->id);
	assert_string_equal(a->service, b->service);
	assert_memory_equal(a->secret, b->secret, TOKEN_SECRET_LEN);
	assert_int_equal(a->ca_der_len, b->ca_der_len);
	assert_memory_equal(a->ca_der, b->ca_der, a->ca_der_len);
}

static void token_is_read_back_with_white_space_around(void **state)
{
	struct token token = example(), back;
	struct buf text = BUF_INIT_WIPED(LIMIT_TOKEN + 16);

	(void)state;
	buf_puts(&text, " \r\n\t");
	token_encode(&text, &token);
	buf_puts(&text, "\r\n  \n");
	assert_true(buf_ok(&text));
	assert_memory_equal(text.data + 4, "pta1.", 5);
	assert_int_equal(token_decode((const char *)text.data, text.len, &back, NULL), 0);
	assert_same(&token, &back);

	token.service[0] = '\0';
	token.ca_der_len = sizeof(token.ca_der);
	buf_reset(&text);
	token_encode(&text, &token);
	assert_true(buf_ok(&text));
	assert_true(text.len <= LIMIT_TOKEN);
	assert_int_equal(token_decode((const char *)text.data, text.len, &back, NULL), 0);
	assert_same(&token, &back);
	buf_done(&text);
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"", "not a pta token"},
		{"   \n", "not a pta token"},
		{"pta", "not a pta token"},
		{"hello there", "not a pta token"},
		{"PTA1.AAAA", "not a pta token"},
		{"ptax.AAAA", "not a pta token"},
		{"pta0.AAAA", "not a pta token"},
		{"pta1:AAAA", "not a pta token"},
		{"pta2.AAAA", "of a newer version"},
		{"pta1.", "cut off"},
		{"pta1.AAAA", "cut off"},
		{"pta1.AAAAAAAAAAAAAAAAAAAAAAAAA", "cut off"},
		{"pta1.AAAA AAAA", "cut off"},
		{"pta1.AAAA=", "cut off"},
	};
	char longer[LIMIT_TOKEN + 2];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct token token;
		struct err err = {""};

		if (token_decode(rows[i].text, strlen(rows[i].text), &token, &err) != -PTA_EINVAL || !strstr(err.text, rows[i].says))
			fail_msg("'%s': %s", rows[i].text, err.text);
	}
	memset(longer, 'A', sizeof(longer));
	memcpy(longer, "pta1.", 5);
	struct token token;
	assert_int_equal(token_decode(longer, sizeof(longer), &token, NULL), -PTA_EINVAL);
}

static void every_cut_and_every_changed_character_is_noticed(void **state)
{
	static const struct token zero;
	struct token token = example(), back;
	struct buf text = BUF_INIT_WIPED(LIMIT_TOKEN);

	(void)state;
	token.ca_der_len = 40;
	token_encode(&text, &token);
	assert_true(buf_ok(&text));
	for (size_t len = 0; len < text.len; len++) {
		assert_int_equal(token_decode((const char *)text.data, len, &back, NULL), -PTA_EINVAL);
		assert_memory_equal(&back, &zero, sizeof(back));
	}
	for (size_t i = 0; i < text.len; i++) {
		uint8_t was = text.data[i];

		text.data[i] = was == 'x' ? 'y' : 'x';
		assert_int_equal(token_decode((const char *)text.data, text.len, &back, NULL), -PTA_EINVAL);
		assert_memory_equal(&back, &zero, sizeof(back));
		text.data[i] = was;
	}
	buf_done(&text);
}

/* Bodies with a right checksum, as only somebody who makes tokens can write them. */
static void wellformed_nonsense_is_refused(void **state)
{
	static const struct {
		const char *id, *service;
		size_t ca_len;
		uint8_t version;
		const char *tail, *says;
	} rows[] = {
		{"0123456789abcdef0123456789abcdef", "https://x", 10, 1, "", NULL},
		{"0123456789abcdef0123456789abcdef", "https://x", 10, 2, "", "newer version"},
		{"0123456789abcdef0123456789abcde", "https://x", 10, 1, "", "makes no sense"},
		{"0123456789ABCDEF0123456789ABCDEF", "https://x", 10, 1, "", "makes no sense"},
		{"0123456789abcdef0123456789abcdef", "http://x", 10, 1, "", "makes no sense"},
		{"0123456789abcdef0123456789abcdef", "https://x\ny", 10, 1, "", "makes no sense"},
		{"0123456789abcdef0123456789abcdef", "https://x", 0, 1, "", "makes no sense"},
		{"0123456789abcdef0123456789abcdef", "https://x", 2049, 1, "", "makes no sense"},
		{"0123456789abcdef0123456789abcdef", "https://x", 10, 1, "!", "makes no sense"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct buf body = BUF_INIT(LIMIT_TOKEN), text = BUF_INIT(LIMIT_TOKEN);
		uint8_t bytes[2049] = {0}, hash[32];
		struct err err = {""};
		struct token token;
		int r;

		buf_put_u8(&body, rows[i].version);
		buf_put_lp(&body, rows[i].id, strlen(rows[i].id));
		buf_put(&body, bytes, TOKEN_SECRET_LEN);
		buf_put_lp(&body, rows[i].service, strlen(rows[i].service));
		buf_put_lp(&body, bytes, rows[i].ca_len);
		buf_puts(&body, rows[i].tail);
		SHA256(body.data, body.len, hash);
		buf_put(&body, hash, 4);
		buf_puts(&text, "pta1.");
		encode_base64url(&text, body.data, body.len);
		assert_true(buf_ok(&text));
		r = token_decode((const char *)text.data, text.len, &token, &err);
		if (rows[i].says ? r != -PTA_EINVAL || !strstr(err.text, rows[i].says) : r != 0)
			fail_msg("row %zu: %d %s", i, r, err.text);
		buf_done(&body);
		buf_done(&text);
	}
}

static void a_field_that_is_too_long_makes_no_token(void **state)
{
	struct token token = example();
	struct buf text = BUF_INIT_WIPED(100);

	(void)state;
	token_encode(&text, &token);
	assert_false(buf_ok(&text));
	buf_done(&text);
}

static void hash_is_sha256_of_the_secret(void **state)
{
	uint8_t secret[TOKEN_SECRET_LEN] = {0}, hash[32];
	char hex[65];

	(void)state;
	token_hash(secret, hash);
	encode_hex(hash, 32, hex);
	assert_string_equal(hex, "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token_is_read_back_with_white_space_around),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(every_cut_and_every_changed_character_is_noticed),
		cmocka_unit_test(wellformed_nonsense_is_refused),
		cmocka_unit_test(a_field_that_is_too_long_makes_no_token),
		cmocka_unit_test(hash_is_sha256_of_the_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
