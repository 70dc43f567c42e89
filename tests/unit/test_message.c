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
	struct buf text = BUF_INIT(LIMIT_POLL_BODY), first = BUF_INIT(1024), other = BUF_INIT(1024);

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

static void poll_survives(void **state)
{
	struct message_poll m = {.instance = ID1, .number = UINT64_MAX, .credit = LIMIT_CREDIT}, back;
	struct buf text = BUF_INIT(LIMIT_POLL_BODY);

	(void)state;
	message_encode_poll(&text, &m);
	assert_string_equal((char *)text.data, "{\"instance\":\"" ID1 "\",\"number\":18446744073709551615,\"credit\":1024}");
	assert_int_equal(message_decode_poll(text.data, text.len, &back, NULL, NULL), 0);
	assert_string_equal(back.instance, ID1);
	assert_true(back.number == UINT64_MAX && back.credit == LIMIT_CREDIT);
	buf_done(&text);
}

static void a_full_batch_survives(void **state)
{
	uint8_t *sealed = malloc(LIMIT_SEALED);
	struct buf text = BUF_INIT(LIMIT_BATCH_BODY);
	struct message_batch batch;
	struct err err = {""};

	(void)state;
	for (size_t i = 0; i < LIMIT_SEALED; i++)
		sealed[i] = (uint8_t)(i * 31);
	message_batch_begin(&text);
	for (uint32_t i = 0; i < LIMIT_CREDIT; i++) {
		struct message_request m = {.head = {.request_id = ID1, .key_id = ID2, .attempt = i + 1, .expires_ms = 1700000000000 + i},
			.seq = UINT64_MAX - 1 - i,
			.sealed = sealed,
			.sealed_len = i + 1};

		memset(m.enc, (int)i, sizeof(m.enc));
		message_batch_item(&text, &m);
	}
	message_batch_end(&text);
	assert_true(buf_ok(&text));
	if (message_decode_batch(text.data, text.len, &batch, NULL, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(batch.n, LIMIT_CREDIT);
	for (uint32_t i = 0; i < LIMIT_CREDIT; i++) {
		const struct message_request *m = &batch.requests[i];
		uint8_t enc[ENVELOPE_ENC_LEN];

		memset(enc, (int)i, sizeof(enc));
		assert_string_equal(m->head.request_id, ID1);
		assert_string_equal(m->head.key_id, ID2);
		assert_string_equal(m->head.tenant, "");
		assert_string_equal(m->head.agent, "");
		assert_int_equal(m->head.attempt, i + 1);
		assert_true(m->head.expires_ms == UINT64_C(1700000000000) + i && m->seq == UINT64_MAX - 1 - i);
		assert_memory_equal(m->enc, enc, sizeof(enc));
		assert_int_equal(m->sealed_len, i + 1);
		assert_memory_equal(m->sealed, sealed, i + 1);
	}
	message_batch_done(&batch);
	message_batch_done(&batch); /* harmless */

	buf_reset(&text);
	message_batch_begin(&text);
	message_batch_end(&text);
	assert_string_equal((char *)text.data, "{\"requests\":[]}");
	assert_int_equal(message_decode_batch(text.data, text.len, &batch, NULL, NULL), 0);
	assert_int_equal(batch.n, 0);
	message_batch_done(&batch);
	buf_done(&text);
	free(sealed);
}

static void results_survive(void **state)
{
	uint8_t answer[LIMIT_ANSWER];
	struct message_result answered = {.request_id = ID1, .attempt = 2, .answer = answer, .answer_len = sizeof(answer)};
	struct message_result declined = {.request_id = ID2, .attempt = 1, .declined = true, .decline_reason = REASON_OVERLOADED};
	struct buf text = BUF_INIT(LIMIT_RESULTS_BODY);
	struct message_results results;

	(void)state;
	memset(answer, 0x77, sizeof(answer));
	message_results_begin(&text, ID2);
	message_results_item(&text, &answered);
	message_results_item(&text, &declined);
	message_results_item(&text, &answered);
	message_results_end(&text);
	assert_true(buf_ok(&text));
	assert_int_equal(message_decode_results(text.data, text.len, &results, NULL, NULL), 0);
	assert_string_equal(results.instance, ID2);
	assert_int_equal(results.n, 3);
	assert_false(results.results[0].declined);
	assert_int_equal(results.results[2].answer_len, sizeof(answer));
	assert_memory_equal(results.results[2].answer, answer, sizeof(answer));
	assert_true(results.results[1].declined);
	assert_int_equal(results.results[1].decline_reason, REASON_OVERLOADED);
	assert_int_equal(results.results[1].attempt, 1);
	assert_string_equal(results.results[1].request_id, ID2);
	message_results_done(&results);
	buf_done(&text);
}

enum kind { REGISTER, CERTIFICATE, RENEW, KEY, POLL, BATCH, RESULTS };

/* 0 or the error, which must leave nothing behind in the struct. */
static int decode_any(enum kind kind, const char *json, const char **field, struct err *err)
{
	static union {
		struct message_register r;
		struct message_certificate c;
		struct message_renew n;
		struct message_key k;
		struct message_poll p;
		struct message_batch b;
		struct message_results s;
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
	case POLL:
		r = message_decode_poll(json, len, &m.p, field, err);
		break;
	case BATCH:
		r = message_decode_batch(json, len, &m.b, field, err);
		if (r == 0)
			message_batch_done(&m.b);
		break;
	case RESULTS:
		r = message_decode_results(json, len, &m.s, field, err);
		if (r == 0)
			message_results_done(&m.s);
		break;
	}
	if (r < 0)
		assert_memory_equal(&m, &zero, sizeof(m));
	return r;
}

#define REQUEST(id, attempt, expires, key, enc, seq, sealed)                                                                                                   \
	"{\"requests\":[{\"id\":" id ",\"attempt\":" attempt ",\"expires_ms\":" expires ",\"key_id\":" key ",\"enc\":" enc ",\"seq\":" seq                     \
	",\"sealed\":" sealed "}]}"
#define Q(text) "\"" text "\""

static void broken_messages_name_the_field(void **state)
{
	static const struct {
		enum kind kind;
		const char *json, *field;
	} rows[] = {
		{POLL, "", ""},
		{POLL, "{}", "instance"},
		{POLL, "[]", ""},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":1,\"credit\":1} x", ""},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":1}", "credit"},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":1,\"credit\":0}", "credit"},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":1,\"credit\":1025}", "credit"},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":1,\"credit\":4294967297}", "credit"},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":1,\"credit\":1.5}", "credit"},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":1,\"credit\":\"1\"}", "credit"},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":0,\"credit\":1}", "number"},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":-1,\"credit\":1}", "number"},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":null,\"credit\":1}", "number"},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":1,\"credit\":1,\"more\":1}", ""},
		{POLL, "{\"instance\":\"" ID1 "\",\"number\":1,\"number\":1,\"credit\":1}", ""},
		{POLL, "{\"instance\":\"0123456789ABCDEF0123456789ABCDEF\",\"number\":1,\"credit\":1}", "instance"},
		{POLL, "{\"instance\":\"0123\",\"number\":1,\"credit\":1}", "instance"},
		{POLL, "{\"instance\":[[[[[[[[[[1]]]]]]]]]],\"number\":1,\"credit\":1}", ""},
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
		{BATCH, "{\"requests\":{}}", "requests"},
		{BATCH, "{\"requests\":[1]}", ""},
		{BATCH, "{\"requests\":[{}]}", "id"},
		{BATCH, REQUEST(Q(ID1), "0", "1", Q(ID2), Q(B32), "0", Q("AA")), "attempt"},
		{BATCH, REQUEST(Q(ID1), "4294967296", "1", Q(ID2), Q(B32), "0", Q("AA")), "attempt"},
		{BATCH, REQUEST(Q(ID1), "1", "0", Q(ID2), Q(B32), "0", Q("AA")), "expires_ms"},
		{BATCH, REQUEST(Q(ID1), "1", "253402300800000", Q(ID2), Q(B32), "0", Q("AA")), "expires_ms"},
		{BATCH, REQUEST(Q(ID1), "1", "1", Q("k"), Q(B32), "0", Q("AA")), "key_id"},
		{BATCH, REQUEST(Q(ID1), "1", "1", Q(ID2), Q("AA"), "0", Q("AA")), "enc"},
		{BATCH, REQUEST(Q(ID1), "1", "1", Q(ID2), Q(B32), "-1", Q("AA")), "seq"},
		{BATCH, REQUEST(Q(ID1), "1", "1", Q(ID2), Q(B32), "18446744073709551615", Q("AA")), "seq"},
		{BATCH, REQUEST(Q(ID1), "1", "1", Q(ID2), Q(B32), "0", Q("")), "sealed"},
		{BATCH, REQUEST(Q(ID1), "1", "1", Q(ID2), Q(B32), "0", Q("A+")), "sealed"},
		{BATCH, REQUEST(Q(ID1), "1", "1", Q(ID2), Q(B32), "0", "null"), "sealed"},
		{RESULTS, "{\"instance\":\"" ID1 "\"}", "results"},
		{RESULTS, "{\"instance\":\"" ID1 "\",\"results\":[{\"id\":\"" ID1 "\",\"attempt\":1}]}", "answer"},
		{RESULTS, "{\"instance\":\"" ID1 "\",\"results\":[{\"id\":\"" ID1 "\",\"attempt\":1,\"declined\":\"success\"}]}", "declined"},
		{RESULTS, "{\"instance\":\"" ID1 "\",\"results\":[{\"id\":\"" ID1 "\",\"attempt\":1,\"declined\":\"overloaded\",\"answer\":\"AA\"}]}", ""},
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
	struct buf text = BUF_INIT(LIMIT_BATCH_BODY * 2);
	uint8_t sealed[LIMIT_SEALED + 1] = {0};
	struct message_request request = {.head = {.request_id = ID1, .key_id = ID2, .attempt = 1, .expires_ms = 1}, .sealed = sealed};
	struct message_result result = {.request_id = ID1, .attempt = 1, .answer = sealed, .answer_len = LIMIT_ANSWER + 1};
	const char *field;
	struct err err;

	(void)state;
	/* One byte more than a sealed request may have. */
	for (size_t more = 0; more < 2; more++) {
		buf_reset(&text);
		request.sealed_len = LIMIT_SEALED + more;
		message_batch_begin(&text);
		message_batch_item(&text, &request);
		message_batch_end(&text);
		assert_int_equal(decode_any(BATCH, (char *)text.data, &field, &err), more ? -PTA_EPROTO : 0);
		assert_string_equal(field, more ? "sealed" : "");
	}
	buf_reset(&text);
	message_results_begin(&text, ID1);
	message_results_item(&text, &result);
	message_results_end(&text);
	assert_int_equal(decode_any(RESULTS, (char *)text.data, &field, &err), -PTA_EPROTO);
	assert_string_equal(field, "answer");
	/* One element more than a batch and a post may have. */
	buf_reset(&text);
	request.sealed_len = 1;
	message_batch_begin(&text);
	for (int i = 0; i <= LIMIT_CREDIT; i++)
		message_batch_item(&text, &request);
	message_batch_end(&text);
	assert_int_equal(decode_any(BATCH, (char *)text.data, &field, &err), -PTA_EPROTO);
	assert_string_equal(field, "requests");
	buf_reset(&text);
	result.answer_len = 1;
	message_results_begin(&text, ID1);
	for (int i = 0; i <= LIMIT_RESULTS; i++)
		message_results_item(&text, &result);
	message_results_end(&text);
	assert_int_equal(decode_any(RESULTS, (char *)text.data, &field, &err), -PTA_EPROTO);
	assert_string_equal(field, "results");
	/* Bodies, filled up with white space. */
	static const struct {
		enum kind kind;
		size_t limit;
		const char *json;
	} bodies[] = {
		{POLL, LIMIT_POLL_BODY, "{\"instance\":\"" ID1 "\",\"number\":1,\"credit\":1}"},
		{RENEW, LIMIT_REGISTER_BODY, "{\"csr\":\"x\"}"},
		{CERTIFICATE, LIMIT_CERTIFICATE_BODY, "{\"agent\":\"a\",\"tenant\":\"t\",\"group\":\"g\",\"certificate\":\"x\"}"},
		{RESULTS, LIMIT_RESULTS_BODY, "{\"instance\":\"" ID1 "\",\"results\":[]}"},
		{BATCH, LIMIT_BATCH_BODY, "{\"requests\":[]}"},
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
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(register_survives),
		cmocka_unit_test(certificate_and_renew_survive),
		cmocka_unit_test(key_survives_and_its_signed_bytes_tell_everything),
		cmocka_unit_test(poll_survives),
		cmocka_unit_test(a_full_batch_survives),
		cmocka_unit_test(results_survive),
		cmocka_unit_test(broken_messages_name_the_field),
		cmocka_unit_test(sizes_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
