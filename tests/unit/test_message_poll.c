/* Polls and batches: what is written is read again, and nothing else is. */
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

static const struct message_list none;

static void a_poll_without_results_survives(void **state)
{
	struct message_poll m = {.instance = ID1, .number = UINT64_MAX, .credit = LIMIT_CREDIT}, back;
	struct buf out = BUF_INIT(LIMIT_POLL_BODY);

	(void)state;
	message_encode_poll(&out, &m, &none);
	assert_int_equal(out.len, 1 + 32 + 8 + 2 + 2);
	assert_memory_equal(out.data, "\1" ID1 "\377\377\377\377\377\377\377\377\4\0\0\0", out.len);
	assert_int_equal(message_decode_poll(out.data, out.len, &back, NULL), 0);
	assert_string_equal(back.instance, ID1);
	assert_true(back.number == UINT64_MAX && back.credit == LIMIT_CREDIT);
	assert_int_equal(back.n, 0);
	assert_null(back.results);
	message_poll_done(&back);
	buf_done(&out);
}

static void a_poll_brings_its_results(void **state)
{
	uint8_t answer[LIMIT_ANSWER];
	struct message_result answered = {.request_id = ID1, .attempt = UINT32_MAX, .answer = answer, .answer_len = sizeof(answer)};
	struct message_result declined = {.request_id = ID2, .attempt = 1, .declined = true, .decline_reason = REASON_OVERLOADED};
	struct message_poll m = {.instance = ID2, .number = 7, .credit = 0}, back;
	struct message_list results = MESSAGE_LIST(LIMIT_POLL_BODY);
	struct buf out = BUF_INIT(LIMIT_POLL_BODY);
	struct err err = {""};

	(void)state;
	for (size_t i = 0; i < sizeof(answer); i++)
		answer[i] = (uint8_t)(i * 7);
	message_result_item(&results, &answered);
	message_result_item(&results, &declined);
	answered.answer_len = 1;
	message_result_item(&results, &answered);
	assert_int_equal(results.n, 3);
	message_encode_poll(&out, &m, &results);
	assert_true(buf_ok(&out));
	if (message_decode_poll(out.data, out.len, &back, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(back.instance, ID2);
	assert_int_equal(back.number, 7);
	assert_int_equal(back.credit, 0);
	assert_int_equal(back.n, 3);
	assert_string_equal(back.results[0].request_id, ID1);
	assert_true(back.results[0].attempt == UINT32_MAX && !back.results[0].declined);
	assert_int_equal(back.results[0].answer_len, sizeof(answer));
	assert_memory_equal(back.results[0].answer, answer, sizeof(answer));
	assert_string_equal(back.results[1].request_id, ID2);
	assert_int_equal(back.results[1].attempt, 1);
	assert_true(back.results[1].declined);
	assert_int_equal(back.results[1].decline_reason, REASON_OVERLOADED);
	assert_int_equal(back.results[2].answer_len, 1);
	assert_memory_equal(back.results[2].answer, answer, 1);
	message_poll_done(&back);
	message_poll_done(&back); /* harmless */
	message_list_reset(&results);
	assert_int_equal(results.n, 0);
	assert_int_equal(results.items.len, 0);
	message_list_done(&results);
	buf_done(&out);
}

static void a_poll_full_of_the_longest_results_fits_its_body(void **state)
{
	uint8_t answer[LIMIT_ANSWER] = {0};
	struct message_result result = {.request_id = ID1, .attempt = UINT32_MAX, .answer = answer, .answer_len = sizeof(answer)};
	struct message_poll m = {.instance = ID1, .number = UINT64_MAX, .credit = LIMIT_CREDIT}, back;
	struct message_list results = MESSAGE_LIST(LIMIT_POLL_BODY);
	struct buf out = BUF_INIT(LIMIT_POLL_BODY);

	(void)state;
	for (int i = 0; i < LIMIT_RESULTS; i++)
		message_result_item(&results, &result);
	message_encode_poll(&out, &m, &results);
	assert_true(buf_ok(&out));
	assert_int_equal(message_decode_poll(out.data, out.len, &back, NULL), 0);
	assert_int_equal(back.n, LIMIT_RESULTS);
	message_poll_done(&back);
	/* One more is one too many. */
	message_result_item(&results, &(struct message_result){.request_id = ID1, .attempt = 1, .declined = true});
	buf_reset(&out);
	message_encode_poll(&out, &m, &results);
	assert_true(buf_ok(&out));
	assert_int_equal(message_decode_poll(out.data, out.len, &back, NULL), -PTA_EPROTO);
	message_list_done(&results);
	buf_done(&out);
}

/* What a list could not hold must not be taken for the whole of it; nor what no id is for one. */
static void what_did_not_fit_spoils_the_message(void **state)
{
	struct message_poll poll = {.instance = ID1, .number = 1, .credit = 1};
	struct message_result result = {.request_id = ID1, .attempt = 1, .declined = true, .decline_reason = REASON_OVERLOADED};
	struct message_list short_one = MESSAGE_LIST(16), nameless = MESSAGE_LIST(4096);
	struct buf out = BUF_INIT(4096);

	(void)state;
	message_result_item(&short_one, &result);
	message_encode_poll(&out, &poll, &short_one);
	assert_false(buf_ok(&out));
	buf_reset(&out);
	message_encode_batch(&out, &none, &short_one);
	assert_false(buf_ok(&out));
	buf_reset(&out);
	message_encode_batch(&out, &none, &none);
	assert_true(buf_ok(&out));
	message_refused_item(&nameless, "0123", 1, MESSAGE_REFUSED_UNKNOWN);
	assert_false(buf_ok(&nameless.items));
	message_list_done(&short_one);
	message_list_done(&nameless);
	buf_done(&out);
}

static void a_full_batch_survives(void **state)
{
	struct message_list requests = MESSAGE_LIST(LIMIT_BATCH_BODY);
	uint8_t *sealed = malloc(LIMIT_SEALED);
	struct buf out = BUF_INIT(LIMIT_BATCH_BODY);
	struct message_batch batch;
	struct err err = {""};

	(void)state;
	for (size_t i = 0; i < LIMIT_SEALED; i++)
		sealed[i] = (uint8_t)(i * 31);
	for (uint32_t i = 0; i < LIMIT_CREDIT; i++) {
		struct message_request m = {.head = {.request_id = ID1, .key_id = ID2, .attempt = i + 1, .expires_ms = 1700000000000 + i},
			.seq = UINT64_MAX - 1 - i,
			.sealed = sealed,
			.sealed_len = i + 1};

		memset(m.enc, (int)i, sizeof(m.enc));
		message_request_item(&requests, &m);
	}
	message_encode_batch(&out, &requests, &none);
	assert_true(buf_ok(&out));
	if (message_decode_batch(out.data, out.len, &batch, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(batch.n, LIMIT_CREDIT);
	assert_int_equal(batch.nrefused, 0);
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

	buf_reset(&out);
	message_encode_batch(&out, &none, &none);
	assert_int_equal(out.len, 5);
	assert_memory_equal(out.data, "\1\0\0\0\0", 5);
	assert_int_equal(message_decode_batch(out.data, out.len, &batch, NULL), 0);
	assert_int_equal(batch.n, 0);
	assert_int_equal(batch.nrefused, 0);
	message_batch_done(&batch);
	message_list_done(&requests);
	buf_done(&out);
	free(sealed);
}

static void a_batch_tells_what_was_refused(void **state)
{
	struct message_request request = {
		.head = {.request_id = ID1, .key_id = ID2, .attempt = 1, .expires_ms = 1}, .sealed = (const uint8_t *)"x", .sealed_len = 1};
	struct message_list requests = MESSAGE_LIST(4096), refused = MESSAGE_LIST(4096);
	struct buf out = BUF_INIT(LIMIT_BATCH_BODY);
	struct message_batch batch;
	struct err err = {""};

	(void)state;
	message_request_item(&requests, &request);
	message_refused_item(&refused, ID1, 1, MESSAGE_REFUSED_ANSWER);
	message_refused_item(&refused, ID2, UINT32_MAX, "a word of a newer service");
	message_encode_batch(&out, &requests, &refused);
	if (message_decode_batch(out.data, out.len, &batch, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(batch.n, 1);
	assert_int_equal(batch.nrefused, 2);
	assert_string_equal(batch.refused[0].request_id, ID1);
	assert_int_equal(batch.refused[0].attempt, 1);
	assert_string_equal(batch.refused[0].error, MESSAGE_REFUSED_ANSWER);
	assert_string_equal(batch.refused[1].request_id, ID2);
	assert_true(batch.refused[1].attempt == UINT32_MAX);
	assert_string_equal(batch.refused[1].error, "a word of a newer service");
	message_batch_done(&batch);
	message_list_done(&requests);
	message_list_done(&refused);
	buf_done(&out);
}

/* ---- what is broken ---- */

#define POLL_HEAD "\1" ID1 "\0\0\0\0\0\0\0\1"
#define POLL_OF(credit, results) POLL_HEAD credit results
#define BATCH_REQUEST(id, attempt, expires, key, seq, sealed) \
	"\1\0\1" id attempt expires key "0123456789abcdef0123456789abcdef" seq sealed "\0\0"
#define U32_1 "\0\0\0\1"
#define U64_1 "\0\0\0\0\0\0\0\1"

static void broken_messages_name_the_field(void **state)
{
	static const struct {
		bool batch;
		const char *bytes;
		size_t len;
		const char *field;
	} rows[] = {
#define BAD(batch, bytes, field) {batch, bytes, sizeof(bytes) - 1, field}
		BAD(false, "", "version"),
		BAD(false, "{\"instance\":1}", "version"),
		BAD(false, "\0", "version"),
		BAD(false, "\2" ID1 U64_1 "\0\1\0\0", "version"),
		BAD(false, "\1", "instance"),
		BAD(false, "\1" "0123456789ABCDEF0123456789ABCDEF" U64_1 "\0\1\0\0", "instance"),
		BAD(false, "\1" "../../../../../../../../etc/shad" U64_1 "\0\1\0\0", "instance"),
		BAD(false, "\1" ID1 "\0\0\0\0\0\0\0\0" "\0\1\0\0", "number"),
		BAD(false, "\1" ID1 "\0\0\0", "number"),
		BAD(false, POLL_HEAD, "credit"),
		BAD(false, POLL_OF("\4\1", "\0\0"), "credit"),
		BAD(false, POLL_OF("\0\0", "\0\0"), "credit"),
		BAD(false, POLL_OF("\0\1", ""), "results"),
		BAD(false, POLL_OF("\0\1", "\0\1"), "results"),
		BAD(false, POLL_OF("\0\1", "\4\1"), "results"),
		BAD(false, POLL_OF("\0\1", "\0\2" ID1 U32_1 "\1\7"), "results"),
		BAD(false, POLL_OF("\0\1", "\0\1" "0123456789abcdef0123456789abcdeg" U32_1 "\1\7"), "request"),
		BAD(false, POLL_OF("\0\1", "\0\1" ID1 "\0\0\0\0" "\1\7"), "attempt"),
		BAD(false, POLL_OF("\0\1", "\0\1" ID1 U32_1 "\2\7"), "kind"),
		BAD(false, POLL_OF("\0\1", "\0\1" ID1 U32_1 "\1\11"), "reason"),
		BAD(false, POLL_OF("\0\1", "\0\1" ID1 U32_1 "\0\0\0"), "answer"),
		BAD(false, POLL_OF("\0\1", "\0\1" ID1 U32_1 "\0\0\2x"), "answer"),
		BAD(false, POLL_OF("\0\1", "\0\0" "x"), "end"),
		BAD(false, POLL_OF("\0\1", "\0\1" ID1 U32_1 "\1\7\0"), "end"),
		BAD(true, "", "version"),
		BAD(true, "{\"requests\":[]}", "version"),
		BAD(true, "\1", "requests"),
		BAD(true, "\1\0\1", "requests"),
		BAD(true, "\1\4\1", "requests"),
		BAD(true, "\1\0\0", "refusals"),
		BAD(true, "\1\0\0\0\1", "refusals"),
		BAD(true, "\1\0\0\4\1", "refusals"),
		BAD(true, "\1\0\0\0\0\0", "end"),
		BAD(true, BATCH_REQUEST("0123456789abcdef0123456789abcde-", U32_1, U64_1, ID2, U64_1, "\0\1x"), "request"),
		BAD(true, BATCH_REQUEST(ID1, "\0\0\0\0", U64_1, ID2, U64_1, "\0\1x"), "attempt"),
		BAD(true, BATCH_REQUEST(ID1, U32_1, "\0\0\0\0\0\0\0\0", ID2, U64_1, "\0\1x"), "expires_ms"),
		BAD(true, BATCH_REQUEST(ID1, U32_1, "\377\377\377\377\377\377\377\377", ID2, U64_1, "\0\1x"), "expires_ms"),
		BAD(true, BATCH_REQUEST(ID1, U32_1, U64_1, "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", U64_1, "\0\1x"), "key"),
		BAD(true, BATCH_REQUEST(ID1, U32_1, U64_1, ID2, "\377\377\377\377\377\377\377\377", "\0\1x"), "seq"),
		BAD(true, BATCH_REQUEST(ID1, U32_1, U64_1, ID2, U64_1, "\0\0"), "sealed"),
		BAD(true, BATCH_REQUEST(ID1, U32_1, U64_1, ID2, U64_1, "\20\1"), "sealed"),
		BAD(true, "\1\0\0\0\1" "0123456789abcdef0123456789abcdeX" U32_1 "\0\7unknown", "request"),
		BAD(true, "\1\0\0\0\1" ID1 "\0\0\0\0" "\0\7unknown", "attempt"),
		BAD(true, "\1\0\0\0\1" ID1 U32_1 "\0\0x", "error"),
		BAD(true, "\1\0\0\0\1" ID1 U32_1 "\0\41" "123456789012345678901234567890123", "error"),
		BAD(true, "\1\0\0\0\1" ID1 U32_1 "\0\3" "a\nb", "error"),
#undef BAD
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		/* Exactly so many bytes, for a sanitizer to watch their end. */
		uint8_t *bytes = malloc(rows[i].len ? rows[i].len : 1);
		struct message_batch batch, no_batch = {0};
		struct message_poll poll, no_poll = {0};
		struct err err = {""};
		int r;

		memcpy(bytes, rows[i].bytes, rows[i].len);
		r = rows[i].batch ? message_decode_batch(bytes, rows[i].len, &batch, &err) : message_decode_poll(bytes, rows[i].len, &poll, &err);
		if (r != -PTA_EPROTO || !strstr(err.text, rows[i].batch ? "batch: " : "poll: ") || !strstr(err.text, rows[i].field))
			fail_msg("row %zu: want %s, got %d, %s", i, rows[i].field, r, err.text);
		if (rows[i].batch)
			assert_memory_equal(&batch, &no_batch, sizeof(batch));
		else
			assert_memory_equal(&poll, &no_poll, sizeof(poll));
		free(bytes);
	}
}

/* Cut anywhere, nothing is read beyond the end, and nothing is taken. */
static void a_message_cut_anywhere_is_refused(void **state)
{
	struct message_request request = {
		.head = {.request_id = ID1, .key_id = ID2, .attempt = 1, .expires_ms = 1}, .sealed = (const uint8_t *)"sealed", .sealed_len = 6};
	struct message_result result = {.request_id = ID1, .attempt = 1, .answer = (const uint8_t *)"answer", .answer_len = 6};
	struct message_list requests = MESSAGE_LIST(4096), refused = MESSAGE_LIST(4096), results = MESSAGE_LIST(4096);
	struct message_poll m = {.instance = ID1, .number = 1, .credit = 1}, poll;
	struct buf texts[2] = {BUF_INIT(4096), BUF_INIT(4096)};
	struct message_batch batch;

	(void)state;
	message_result_item(&results, &result);
	message_encode_poll(&texts[0], &m, &results);
	message_request_item(&requests, &request);
	message_refused_item(&refused, ID2, 1, MESSAGE_REFUSED_UNKNOWN);
	message_encode_batch(&texts[1], &requests, &refused);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(texts); i++)
		for (size_t len = 0; len < texts[i].len; len++) {
			uint8_t *bytes = malloc(len ? len : 1);

			memcpy(bytes, texts[i].data, len);
			assert_int_equal(i ? message_decode_batch(bytes, len, &batch, NULL) : message_decode_poll(bytes, len, &poll, NULL), -PTA_EPROTO);
			free(bytes);
		}
	message_list_done(&requests);
	message_list_done(&refused);
	message_list_done(&results);
	buf_done(&texts[0]);
	buf_done(&texts[1]);
}

static void sizes_have_limits(void **state)
{
	uint8_t sealed[LIMIT_SEALED + 1] = {0};
	struct message_request request = {.head = {.request_id = ID1, .key_id = ID2, .attempt = 1, .expires_ms = 1}, .sealed = sealed};
	struct message_result result = {.request_id = ID1, .attempt = 1, .answer = sealed};
	struct message_poll m = {.instance = ID1, .number = 1, .credit = 1}, poll;
	uint8_t *body = calloc(1, LIMIT_BATCH_BODY + 1);
	struct message_batch batch;
	struct err err = {""};

	(void)state;
	/* One byte more than a sealed request and a sealed answer may have. */
	for (size_t more = 0; more < 2; more++) {
		struct message_list requests = MESSAGE_LIST(65536), results = MESSAGE_LIST(65536);
		struct buf out = BUF_INIT(65536);

		request.sealed_len = LIMIT_SEALED + more;
		message_request_item(&requests, &request);
		message_encode_batch(&out, &requests, &none);
		assert_int_equal(message_decode_batch(out.data, out.len, &batch, NULL), more ? -PTA_EPROTO : 0);
		message_batch_done(&batch);
		buf_reset(&out);
		result.answer_len = LIMIT_ANSWER + more;
		message_result_item(&results, &result);
		message_encode_poll(&out, &m, &results);
		assert_int_equal(message_decode_poll(out.data, out.len, &poll, NULL), more ? -PTA_EPROTO : 0);
		message_poll_done(&poll);
		message_list_done(&requests);
		message_list_done(&results);
		buf_done(&out);
	}
	body[0] = MESSAGE_POLL_VERSION;
	assert_int_equal(message_decode_poll(body, LIMIT_POLL_BODY + 1, &poll, &err), -PTA_EPROTO);
	assert_non_null(strstr(err.text, "length"));
	assert_int_equal(message_decode_batch(body, LIMIT_BATCH_BODY + 1, &batch, &err), -PTA_EPROTO);
	assert_non_null(strstr(err.text, "length"));
	free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_poll_without_results_survives),
		cmocka_unit_test(a_poll_brings_its_results),
		cmocka_unit_test(a_poll_full_of_the_longest_results_fits_its_body),
		cmocka_unit_test(what_did_not_fit_spoils_the_message),
		cmocka_unit_test(a_full_batch_survives),
		cmocka_unit_test(a_batch_tells_what_was_refused),
		cmocka_unit_test(broken_messages_name_the_field),
		cmocka_unit_test(a_message_cut_anywhere_is_refused),
		cmocka_unit_test(sizes_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
