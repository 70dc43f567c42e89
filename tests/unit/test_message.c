#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "wire/message.h"

#define ID1 "0123456789abcdef0123456789abcdef"
#define ID2 "fedcba9876543210fedcba9876543210"
#define B32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" /* 00 01 … 1f */

static void register_survives(void **state)
{
	struct message_register m = {.token_id = ID1, .token_secret = B32, .host = "host.example.com", .version = "0.1.0"}, back;
	struct buf text = BUF_INIT(LIMIT_REGISTER_BODY);

	(void)state;
	memset(m.csr, 'x', LIMIT_CSR);
	memcpy(m.csr, "-----BEGIN\n\"\\", 13);
	message_encode_register(&text, &m);
	assert_true(buf_ok(&text));
	assert_int_equal(message_decode_register(text.data, text.len, &back, NULL, NULL), 0);
	assert_memory_equal(&back, &m, sizeof(m));
	buf_done(&text);
}

static void certificate_and_renew_survive(void **state)
{
	struct message_certificate m = {.agent = "agent-1", .tenant = "acme", .group = "berlin.2_x", .certificate = "-----BEGIN\nX\n"}, back;
	struct message_renew renew = {.csr = "-----BEGIN\nX\n"}, renew_back;
	struct buf text = BUF_INIT(LIMIT_CERTIFICATE_BODY);

	(void)state;
	message_encode_certificate(&text, &m);
	assert_int_equal(message_decode_certificate(text.data, text.len, &back, NULL, NULL), 0);
	assert_memory_equal(&back, &m, sizeof(m));
	buf_reset(&text);
	message_encode_renew(&text, &renew);
	assert_int_equal(message_decode_renew(text.data, text.len, &renew_back, NULL, NULL), 0);
	assert_memory_equal(&renew_back, &renew, sizeof(renew));
	buf_done(&text);
}

static void key_survives_and_its_signed_bytes_tell_everything(void **state)
{
	struct message_key m = {.instance = ID1, .key_id = ID2, .not_after_ms = 1234567890123, .signature_len = 256}, back;
	struct buf text = BUF_INIT(LIMIT_KEY_BODY), first = BUF_INIT(1024), other = BUF_INIT(1024);

	(void)state;
	memset(m.public_key, 0x5a, sizeof(m.public_key));
	memset(m.signature, 0xa5, sizeof(m.signature));
	message_encode_key(&text, &m);
	assert_true(buf_ok(&text)); /* the longest fits its body */
	assert_int_equal(message_decode_key(text.data, text.len, &back, NULL, NULL), 0);
	assert_string_equal(back.instance, ID1);
	assert_string_equal(back.key_id, ID2);
	assert_memory_equal(back.public_key, m.public_key, sizeof(m.public_key));
	assert_true(back.not_after_ms == m.not_after_ms && back.signature_len == m.signature_len);
	assert_memory_equal(back.signature, m.signature, sizeof(m.signature));

	message_key_signed(&first, "acme", "agent-1", &m);
	for (int i = 0; i < 6; i++) {
		struct message_key changed = m;

		changed.instance[0] ^= i == 2;
		changed.key_id[0] ^= i == 3;
		changed.public_key[31] ^= i == 4;
		changed.not_after_ms ^= i == 5;
		buf_reset(&other);
		message_key_signed(&other, i == 0 ? "acm" : "acme", i == 0 ? "eagent-1" : i == 1 ? "agent-2" : "agent-1", &changed);
		assert_true(other.len != first.len || memcmp(other.data, first.data, first.len) != 0);
	}
	buf_done(&text);
	buf_done(&first);
	buf_done(&other);
}

enum kind { REGISTER, CERTIFICATE, RENEW, KEY };

/* 0 or the error, which must leave nothing behind in the struct. */
static int decode_any(enum kind kind, const char *json, const char **field, struct err *err)
{
	static union {
		struct message_register r;
		struct message_certificate c;
		struct message_renew n;
		struct message_key k;
	} m, zero;
	size_t len = strlen(json);
	int r = -1;

	memset(&m, 0, sizeof(m));
	switch (kind) {
	case REGISTER:
		r = message_decode_register(json, len, &m.r, field, err);
		break;
	case CERTIFICATE:
		r = message_decode_certificate(json, len, &m.c, field, err);
		break;
	case RENEW:
		r = message_decode_renew(json, len, &m.n, field, err);
		break;
	case KEY:
		r = message_decode_key(json, len, &m.k, field, err);
		break;
	}
	if (r < 0)
		assert_memory_equal(&m, &zero, sizeof(m));
	return r;
}

static void broken_messages_name_the_field(void **state)
{
	static const struct {
		enum kind kind;
		const char *json, *field;
	} rows[] = {
		{KEY, "{\"instance\":\"" ID1 "\",\"key_id\":\"" ID2 "\",\"public\":\"AAAA\",\"not_after_ms\":1,\"signature\":\"AA\"}", "public"},
		{KEY, "{\"instance\":\"" ID1 "\",\"key_id\":\"" ID2 "\",\"public\":\"" B32 "\",\"not_after_ms\":0,\"signature\":\"AA\"}", "not_after_ms"},
		{KEY, "{\"instance\":\"" ID1 "\",\"key_id\":\"" ID2 "\",\"public\":\"" B32 "\",\"not_after_ms\":1,\"signature\":\"\"}", "signature"},
		{KEY, "{\"instance\":\"" ID1 "\",\"key_id\":\"" ID2 "\",\"public\":\"" B32 "\",\"not_after_ms\":1,\"signature\":\"A\"}", "signature"},
		{KEY, "{\"instance\":\"" ID1 "\",\"key_id\":1,\"public\":\"" B32 "\",\"not_after_ms\":1,\"signature\":\"AA\"}", "key_id"},
		{REGISTER, "{\"token_id\":\"" ID1 "\",\"token\":\"short\",\"csr\":\"x\",\"host\":\"h\",\"version\":\"1\"}", "token"},
		{REGISTER,
			"{\"token_id\":\"" ID1 "\",\"token\":\"!!ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\",\"csr\":\"x\",\"host\":\"h\",\"version\":\"1\"}",
			"token"},
		{REGISTER, "{\"token_id\":\"" ID1 "\",\"token\":\"" B32 "\",\"csr\":\"\",\"host\":\"h\",\"version\":\"1\"}", "csr"},
		{REGISTER, "{\"token_id\":\"" ID1 "\",\"token\":\"" B32 "\",\"csr\":\"x\",\"host\":\"a\\nb\",\"version\":\"1\"}", "host"},
		{REGISTER, "{\"token_id\":\"" ID1 "\",\"token\":\"" B32 "\",\"csr\":\"x\",\"host\":\"h\",\"version\":\"123456789012345678901234567890123\"}",
			"version"},
		{REGISTER, "{\"token_id\":\"" ID1 "\",\"token\":\"" B32 "\",\"csr\":\"a\\u0000b\",\"host\":\"h\",\"version\":\"1\"}", ""},
		{CERTIFICATE, "{\"agent\":\"Agent\",\"tenant\":\"t\",\"group\":\"g\",\"certificate\":\"x\"}", "agent"},
		{CERTIFICATE, "{\"agent\":\"a\",\"tenant\":\"../t\",\"group\":\"g\",\"certificate\":\"x\"}", "tenant"},
		{CERTIFICATE, "{\"agent\":\"a\",\"tenant\":\"t\",\"group\":\"\",\"certificate\":\"x\"}", "group"},
		{CERTIFICATE, "{\"agent\":\"a\",\"tenant\":\"t\",\"group\":\"g\"}", "certificate"},
		{RENEW, "{\"csr\":5}", "csr"},
		{RENEW, "{\"csr\":\"\\ud800\"}", ""},
		{RENEW, "{\"csr\":\"\377\"}", ""},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		const char *field = NULL;
		struct err err = {""};

		if (decode_any(rows[i].kind, rows[i].json, &field, &err) != -PTA_EPROTO || strcmp(field, rows[i].field) != 0 || !err.text[0])
			fail_msg("%s: field '%s', %s", rows[i].json, field, err.text);
		if (rows[i].field[0] && !strstr(err.text, rows[i].field))
			fail_msg("%s: %s", rows[i].json, err.text);
	}
}

static void sizes_have_limits(void **state)
{
	const char *field;
	struct err err;

	(void)state;
	/* Bodies, filled up with white space. */
	static const struct {
		enum kind kind;
		size_t limit;
		const char *json;
	} bodies[] = {
		{RENEW, LIMIT_REGISTER_BODY, "{\"csr\":\"x\"}"},
		{CERTIFICATE, LIMIT_CERTIFICATE_BODY, "{\"agent\":\"a\",\"tenant\":\"t\",\"group\":\"g\",\"certificate\":\"x\"}"},
		{KEY, LIMIT_KEY_BODY, "{\"instance\":\"" ID1 "\",\"key_id\":\"" ID2 "\",\"public\":\"" B32 "\",\"not_after_ms\":1,\"signature\":\"AA\"}"},
	};
	for (size_t i = 0; i < PTA_ARRAY_SIZE(bodies); i++) {
		char *body = malloc(bodies[i].limit + 2);

		memset(body, ' ', bodies[i].limit + 1);
		memcpy(body, bodies[i].json, strlen(bodies[i].json));
		body[bodies[i].limit] = '\0';
		assert_int_equal(decode_any(bodies[i].kind, body, &field, &err), 0);
		body[bodies[i].limit] = ' ';
		body[bodies[i].limit + 1] = '\0';
		assert_int_equal(decode_any(bodies[i].kind, body, &field, &err), -PTA_EPROTO);
		free(body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(register_survives),
		cmocka_unit_test(certificate_and_renew_survive),
		cmocka_unit_test(key_survives_and_its_signed_bytes_tell_everything),
		cmocka_unit_test(broken_messages_name_the_field),
		cmocka_unit_test(sizes_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
