#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "directory/krb5_message.h"
#include "kdc_double.h"

/* A minimal AS-REQ: [10] { [1] 5, [2] 10, [3] { padata }, [4] {} }; n is the length of padata. */
#define AS_REQ(n, ...) 0x6a, (n) + 18, 0x30, (n) + 16, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 10, 0xa3, (n) + 2, 0x30, (n), __VA_ARGS__, 0xa4, 0
#define PA(...) 0x30, 9, 0xa1, 3, 2, 1, __VA_ARGS__, 0xa2, 2, 4, 0
#define PA2(...) 0x30, 10, 0xa1, 4, 2, 2, __VA_ARGS__, 0xa2, 2, 4, 0
#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static const struct {
	const char *what;
	const uint8_t *data;
	size_t len;
	int r;
	enum krb5_message_proof proof;
	int32_t type;
} proofs[] = {
	{"no padata", BYTES(0x6a, 14, 0x30, 12, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 10, 0xa4, 0), 0, KRB5_PROOF_NONE, 0},
	{"timestamp", BYTES(AS_REQ(11, PA(2))), 0, KRB5_PROOF_TIMESTAMP, 2},
	{"PAC request", BYTES(AS_REQ(12, PA2(0, 128))), 0, KRB5_PROOF_NONE, 0},
	{"cookie, ENC-PA-REP, freshness", BYTES(AS_REQ(36, PA2(0, 133), PA2(0, 149), PA2(0, 150))), 0, KRB5_PROOF_NONE, 0},
	{"cookie and timestamp", BYTES(AS_REQ(23, PA2(0, 133), PA(2))), 0, KRB5_PROOF_TIMESTAMP, 2},
	{"timestamp and PAC request", BYTES(AS_REQ(23, PA(2), PA2(0, 128))), 0, KRB5_PROOF_TIMESTAMP, 2},
	{"two timestamps", BYTES(AS_REQ(22, PA(2), PA(2))), 0, KRB5_PROOF_OTHER, 2},
	{"encrypted challenge", BYTES(AS_REQ(12, PA2(0, 138))), 0, KRB5_PROOF_OTHER, 138},
	{"SPAKE", BYTES(AS_REQ(12, PA2(0, 151))), 0, KRB5_PROOF_OTHER, 151},
	{"FAST", BYTES(AS_REQ(12, PA2(0, 136))), 0, KRB5_PROOF_OTHER, 136},
	{"PKINIT", BYTES(AS_REQ(11, PA(16))), 0, KRB5_PROOF_OTHER, 16},
	{"timestamp and SPAKE", BYTES(AS_REQ(23, PA(2), PA2(0, 151))), 0, KRB5_PROOF_OTHER, 151},
	{"a negative type", BYTES(AS_REQ(11, PA(0xff))), 0, KRB5_PROOF_OTHER, -1},
	{"another type", BYTES(AS_REQ(12, PA2(0x7f, 0xff))), 0, KRB5_PROOF_OTHER, 32767},
	{"nothing", BYTES(0), -PTA_EPROTO, 0, 0},
	{"a TGS-REQ", BYTES(0x6c, 14, 0x30, 12, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 12, 0xa4, 0), -PTA_EPROTO, 0, 0},
	{"another kind inside", BYTES(0x6a, 14, 0x30, 12, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 12, 0xa4, 0), -PTA_EPROTO, 0, 0},
	{"a byte behind", BYTES(AS_REQ(11, PA(2)), 0), -PTA_EPROTO, 0, 0},
	{"padata behind the body", BYTES(0x6a, 29, 0x30, 27, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 10, 0xa4, 0, 0xa3, 13, 0x30, 11, PA(2)), -PTA_EPROTO, 0, 0},
	{"no body", BYTES(0x6a, 12, 0x30, 10, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 10), -PTA_EPROTO, 0, 0},
	{"indefinite length", BYTES(0x6a, 0x80, 0x30, 12, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 10, 0xa4, 0, 0, 0), -PTA_EPROTO, 0, 0},
	{"a type of five bytes", BYTES(AS_REQ(15, 0x30, 13, 0xa1, 7, 2, 5, 0, 0, 0, 0, 2, 0xa2, 2, 4, 0)), -PTA_EPROTO, 0, 0},
	{"a type of no bytes", BYTES(AS_REQ(10, 0x30, 8, 0xa1, 2, 2, 0, 0xa2, 2, 4, 0)), -PTA_EPROTO, 0, 0},
	{"padata longer than its list", BYTES(AS_REQ(11, 0x30, 10, 0xa1, 3, 2, 1, 2, 0xa2, 2, 4, 0)), -PTA_EPROTO, 0, 0},
};

static void every_request_is_told_apart(void **state)
{
	enum krb5_message_proof proof;
	int32_t type;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(proofs); i++) {
		int r = krb5_message_proof(proofs[i].data, proofs[i].len, &proof, &type);

		if (r != proofs[i].r || (r == 0 && (proof != proofs[i].proof || type != proofs[i].type)))
			fail_msg("%s: %d, proof %d, type %d", proofs[i].what, r, (int)proof, type);
	}
}

/* Whatever is cut off: never "no proof". In a buffer of exact size, for the sanitizer. */
static void a_cut_request_is_refused(void **state)
{
	static const uint8_t whole[] = {AS_REQ(23, PA2(0, 133), PA(2))};
	enum krb5_message_proof proof;
	int32_t type;

	(void)state;
	for (size_t len = 0; len < sizeof(whole); len++) {
		uint8_t *cut = malloc(len ? len : 1);

		assert_non_null(cut);
		memcpy(cut, whole, len);
		assert_int_equal(krb5_message_proof(cut, len, &proof, &type), -PTA_EPROTO);
		assert_int_equal(krb5_message_kind(cut, len), KRB5_MESSAGE_OTHER);
		free(cut);
	}
	assert_int_equal(krb5_message_kind(whole, sizeof(whole)), KRB5_MESSAGE_AS_REQ);
}

static void too_many_items_are_refused(void **state)
{
	uint8_t message[1024] = {0x6a, 0x82, 0, 0, 0x30, 0x82, 0, 0, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 10, 0xa3, 0x82, 0, 0, 0x30, 0x82, 0, 0};
	static const uint8_t item[] = {PA2(0, 133)};
	enum krb5_message_proof proof;
	int32_t type;

	(void)state;
	for (unsigned n = 64; n <= 65; n++) {
		size_t len = 26, list = n * sizeof(item);

		for (unsigned i = 0; i < n; i++, len += sizeof(item))
			memcpy(message + len, item, sizeof(item));
		message[len++] = 0xa4;
		message[len++] = 0;
		message[2] = (uint8_t)((len - 4) >> 8), message[3] = (uint8_t)(len - 4);
		message[6] = (uint8_t)((len - 8) >> 8), message[7] = (uint8_t)(len - 8);
		message[20] = (uint8_t)((list + 4) >> 8), message[21] = (uint8_t)(list + 4);
		message[24] = (uint8_t)(list >> 8), message[25] = (uint8_t)list;
		assert_int_equal(krb5_message_proof(message, len, &proof, &type), n == 64 ? 0 : -PTA_EPROTO);
	}
}

static void kinds_are_told_by_their_tags(void **state)
{
	(void)state;
	assert_int_equal(krb5_message_kind(BYTES(0x6b, 2, 0x30, 0)), KRB5_MESSAGE_AS_REP);
	assert_int_equal(krb5_message_kind(BYTES(0x6c, 2, 0x30, 0)), KRB5_MESSAGE_TGS_REQ);
	assert_int_equal(krb5_message_kind(BYTES(0x6d, 2, 0x30, 0)), KRB5_MESSAGE_TGS_REP);
	assert_int_equal(krb5_message_kind(BYTES(0x7e, 2, 0x30, 0)), KRB5_MESSAGE_ERROR);
	assert_int_equal(krb5_message_kind(BYTES(0x6e, 2, 0x30, 0)), KRB5_MESSAGE_OTHER);
	assert_int_equal(krb5_message_kind(BYTES(0x7e, 2, 0x31, 0)), KRB5_MESSAGE_OTHER);
	assert_int_equal(krb5_message_kind(BYTES(0x7e, 3, 0x30, 0, 0)), KRB5_MESSAGE_OTHER);
	assert_int_equal(krb5_message_kind(BYTES(0x7e, 2, 0x30, 0, 0)), KRB5_MESSAGE_OTHER);
	assert_int_equal(krb5_message_kind("HTTP/1.1 400", 12), KRB5_MESSAGE_OTHER);
	assert_int_equal(krb5_message_kind(NULL, 0), KRB5_MESSAGE_OTHER);
}

static void the_status_is_found_in_each_form(void **state)
{
	unsigned char data[64];

	(void)state;
	for (int form = KDC_ERROR_DATA; form <= KDC_TYPED_DATA; form++) {
		size_t len = kdc_e_data((enum kdc_e_data)form, 0xc0000234, data);

		assert_int_equal(krb5_message_nt_status(data, len), 0xc0000234);
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(krb5_message_nt_status(data, cut), 0);
		/* "success", and a status that is none */
		len = kdc_e_data((enum kdc_e_data)form, 0, data);
		assert_int_equal(krb5_message_nt_status(data, len), 0);
		len = kdc_e_data((enum kdc_e_data)form, 0x4558414d, data);
		assert_int_equal(krb5_message_nt_status(data, len), 0);
	}
}

#define STATUS 0x72, 0, 0, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0

static void what_is_no_status_is_none(void **state)
{
	(void)state;
	assert_int_equal(krb5_message_nt_status(NULL, 0), 0);
	assert_int_equal(krb5_message_nt_status(BYTES(0x30, 0)), 0);
	/* as the control: a METHOD-DATA with an item before it */
	assert_int_equal(krb5_message_nt_status(BYTES(0x30, 34, PA(2), 0x30, 21, 0xa1, 3, 2, 1, 3, 0xa2, 14, 4, 12, STATUS)), 0xc0000072);
	/* of another type, of another length, a real salt */
	assert_int_equal(krb5_message_nt_status(BYTES(0x30, 23, 0x30, 21, 0xa1, 3, 2, 1, 4, 0xa2, 14, 4, 12, STATUS)), 0);
	assert_int_equal(krb5_message_nt_status(BYTES(0x30, 24, 0x30, 22, 0xa1, 3, 2, 1, 3, 0xa2, 15, 4, 13, STATUS, 0)), 0);
	assert_int_equal(krb5_message_nt_status(BYTES(0x30, 15, 0x30, 13, 0xa1, 3, 2, 1, 3, 0xa2, 6, 4, 4, 0x72, 0, 0, 0xc0)), 0);
	assert_int_equal(krb5_message_nt_status(
				 BYTES(0x30, 23, 0x30, 21, 0xa1, 3, 2, 1, 3, 0xa2, 14, 4, 12, 'E', 'X', 'A', 'M', 'P', 'L', 'E', '.', 'C', 'O', 'M', 'a')),
		0);
	/* no value at all */
	assert_int_equal(krb5_message_nt_status(BYTES(0x30, 5, 0xa1, 3, 2, 1, 3)), 0);
	/* bytes behind it */
	assert_int_equal(krb5_message_nt_status(BYTES(0x30, 23, 0x30, 21, 0xa1, 3, 2, 1, 3, 0xa2, 14, 4, 12, STATUS, 0)), 0);
}

/* METHOD-DATA { { [1] 19, [2] { ETYPE-INFO2 of n bytes } } } */
#define INFO2(n, ...) 0x30, (n) + 13, 0x30, (n) + 11, 0xa1, 3, 2, 1, 19, 0xa2, (n) + 4, 4, (n) + 2, 0x30, (n), __VA_ARGS__
#define PARAMS(a, b, c, d) 0x30, 13, 0xa0, 3, 2, 1, 18, 0xa2, 6, 4, 4, a, b, c, d
#define SALTED 0x30, 17, 0xa0, 3, 2, 1, 18, 0xa1, 2, 0x1b, 0, 0xa2, 6, 4, 4, 0, 0, 0x80, 0
#define NO_PARAMS 0x30, 5, 0xa0, 3, 2, 1, 23

static const struct {
	const char *what;
	const uint8_t *data;
	size_t len;
	int r;
	uint32_t least, most;
} counts[] = {
	{"none", BYTES(0x30, 0), 0, 0, 0},
	{"the default", BYTES(INFO2(7, NO_PARAMS)), 0, 0, 0},
	{"4096", BYTES(INFO2(15, PARAMS(0, 0, 0x10, 0))), 0, 4096, 4096},
	{"behind a salt", BYTES(INFO2(19, SALTED)), 0, 32768, 32768},
	{"the least and the most", BYTES(INFO2(41, PARAMS(0, 0, 0x10, 0), PARAMS(0, 0, 0, 1), 0x30, 9, 0xa0, 3, 2, 1, 23, 0xa1, 2, 0x1b, 0)), 0, 1, 4096},
	{"0 is 2^32", BYTES(INFO2(15, PARAMS(0, 0, 0, 0))), 0, UINT32_MAX, UINT32_MAX},
	{"giant", BYTES(INFO2(15, PARAMS(0xff, 0, 0, 0))), 0, 0xff000000, 0xff000000},
	{"params of another length", BYTES(INFO2(12, 0x30, 10, 0xa0, 3, 2, 1, 18, 0xa2, 3, 4, 1, 9)), 0, 0, 0},
	{"not a sequence", BYTES(0x31, 0), -PTA_EPROTO, 0, 0},
	{"no list", BYTES(0x30, 13, 0x30, 11, 0xa1, 3, 2, 1, 19, 0xa2, 4, 4, 2, 5, 0), -PTA_EPROTO, 0, 0},
	{"an entry without a type", BYTES(INFO2(10, 0x30, 8, 0xa2, 6, 4, 4, 0, 0, 0, 1)), -PTA_EPROTO, 0, 0},
	{"something behind the params", BYTES(INFO2(17, 0x30, 15, 0xa0, 3, 2, 1, 18, 0xa2, 6, 4, 4, 0, 0, 0, 1, 5, 0)), -PTA_EPROTO, 0, 0},
	{"params that are no bytes", BYTES(INFO2(12, 0x30, 10, 0xa0, 3, 2, 1, 18, 0xa2, 3, 2, 1, 9)), -PTA_EPROTO, 0, 0},
};

static void iterations_are_read(void **state)
{
	uint32_t least, most;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(counts); i++) {
		int r = krb5_message_iterations(counts[i].data, counts[i].len, &least, &most);

		if (r != counts[i].r || (r == 0 && (least != counts[i].least || most != counts[i].most)))
			fail_msg("%s: %d, %u to %u", counts[i].what, r, least, most);
	}
}

static void iterations_of_a_reply_are_read(void **state)
{
	uint32_t least, most;

	(void)state;
	assert_int_equal(krb5_message_reply_iterations(BYTES(0x6b, 12, 0x30, 10, 0xa0, 3, 2, 1, 5, 0xa1, 3, 2, 1, 11), &least, &most), 0);
	assert_int_equal(most, 0);
	assert_int_equal(krb5_message_reply_iterations(
				 BYTES(0x6b, 44, 0x30, 42, 0xa0, 3, 2, 1, 5, 0xa1, 3, 2, 1, 11, 0xa2, 30, INFO2(15, PARAMS(0, 1, 0, 0))), &least, &most),
		0);
	assert_int_equal(least, 65536);
	assert_int_equal(most, 65536);
	assert_int_equal(krb5_message_reply_iterations(BYTES(0x6d, 12, 0x30, 10, 0xa0, 3, 2, 1, 5, 0xa1, 3, 2, 1, 13), &least, &most), -PTA_EPROTO);
	assert_int_equal(krb5_message_reply_iterations(BYTES(0x6b, 14, 0x30, 12, 0xa0, 3, 2, 1, 5, 0xa1, 3, 2, 1, 11, 0xa2, 0), &least, &most), -PTA_EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_is_told_apart),
		cmocka_unit_test(a_cut_request_is_refused),
		cmocka_unit_test(too_many_items_are_refused),
		cmocka_unit_test(kinds_are_told_by_their_tags),
		cmocka_unit_test(the_status_is_found_in_each_form),
		cmocka_unit_test(what_is_no_status_is_none),
		cmocka_unit_test(iterations_are_read),
		cmocka_unit_test(iterations_of_a_reply_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
