#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"

static void base64url_matches_rfc4648_both_ways(void **state)
{
	static const struct {
		const char *plain, *text;
	} cases[] = {
		{"", ""},
		{"f", "Zg"},
		{"fo", "Zm8"},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg"},
		{"fooba", "Zm9vYmE"},
		{"foobar", "Zm9vYmFy"},
		{"\xfb\xff\xfe", "-__-"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		struct buf out = BUF_INIT(64);
		uint8_t back[16];
		size_t len = 99;

		encode_base64url(&out, cases[i].plain, strlen(cases[i].plain));
		assert_true(buf_ok(&out));
		assert_int_equal(out.len, BASE64URL_LEN(strlen(cases[i].plain)));
		assert_string_equal((char *)out.data, cases[i].text);
		assert_int_equal(decode_base64url(cases[i].text, strlen(cases[i].text), back, sizeof(back), &len), 0);
		assert_int_equal(len, strlen(cases[i].plain));
		assert_memory_equal(back, cases[i].plain, len);
		buf_done(&out);
	}
}

static void base64url_refuses_what_is_not_canonical(void **state)
{
	static const char *const bad[] = {"Z", "Zh", "Zm9", "Zg==", "Zm9v\n", " Zm9v", "Zm+v", "Zm/v", "Zm9vY", "Zm\xc3\xa4", "Z\0g"};
	uint8_t out[16];
	size_t len;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(bad); i++)
		assert_int_equal(decode_base64url(bad[i], i + 1 == PTA_ARRAY_SIZE(bad) ? 3 : strlen(bad[i]), out, sizeof(out), &len), -PTA_EINVAL);
}

/* Each length of the last group, and each bad place in it. */
static void base64url_takes_every_byte_and_every_tail(void **state)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t plain[256 + 2], back[sizeof(plain)];

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 91);
	for (size_t n = sizeof(plain) - 2; n <= sizeof(plain); n++) {
		struct buf out = BUF_INIT(BASE64URL_LEN(sizeof(plain)));
		size_t len;

		encode_base64url(&out, plain, n);
		assert_true(buf_ok(&out));
		assert_int_equal(out.len, BASE64URL_LEN(n));
		assert_int_equal(out.data[out.len], '\0');
		assert_int_equal(decode_base64url((char *)out.data, out.len, back, sizeof(back), &len), 0);
		assert_int_equal(len, n);
		assert_memory_equal(back, plain, n);
		for (size_t at = 0; at < out.len; at++) {
			uint8_t kept = out.data[at];

			out.data[at] = "=+/ \x80\xff"[at % 6];
			assert_int_equal(decode_base64url((char *)out.data, out.len, back, sizeof(back), &len), -PTA_EINVAL);
			out.data[at] = kept;
		}
		buf_done(&out);
	}
	for (unsigned c = 0; c < 256; c++) {
		const char text[] = {'A', 'A', 'A', (char)c};
		const char *digit = c ? strchr(digits, (int)c) : NULL;
		size_t len;

		assert_int_equal(decode_base64url(text, 4, back, sizeof(back), &len), digit ? 0 : -PTA_EINVAL);
		if (digit)
			assert_int_equal(back[2], digit - digits);
	}
}

/* The unused bits of the last character are zeros, or one text would have many forms. */
static void base64url_has_one_form(void **state)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t out[4];
	size_t len;

	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		const char two[] = {'A', digits[i]}, three[] = {'A', 'A', digits[i]};

		assert_int_equal(decode_base64url(two, 2, out, sizeof(out), &len), i % 16 ? -PTA_EINVAL : 0);
		assert_int_equal(decode_base64url(three, 3, out, sizeof(out), &len), i % 4 ? -PTA_EINVAL : 0);
	}
}

static void decimals_are_those_of_printf(void **state)
{
	char expected[32], out[DECIMAL_MAX];
	uint64_t value = 1;

	(void)state;
	for (unsigned i = 0; i < 20; i++, value *= 10) {
		const uint64_t values[] = {value - 1, value, value + 1, UINT64_MAX - value, UINT64_MAX / value};

		for (size_t j = 0; j < PTA_ARRAY_SIZE(values); j++) {
			size_t len = encode_decimal(values[j], out);

			snprintf(expected, sizeof(expected), "%" PRIu64, values[j]);
			assert_int_equal(len, strlen(expected));
			assert_memory_equal(out, expected, len);
		}
	}
	assert_int_equal(encode_decimal(UINT64_MAX, out), DECIMAL_MAX);
}

static void base64url_stops_at_the_callers_room(void **state)
{
	uint8_t out[5];
	size_t len;

	(void)state;
	assert_int_equal(decode_base64url("Zm9vYmFy", 8, out, sizeof(out), &len), -PTA_ETOOBIG);
	assert_int_equal(decode_base64url("Zm9vYmE", 7, out, sizeof(out), &len), 0);
	assert_int_equal(decode_base64url("", 0, NULL, 0, &len), 0);
	assert_int_equal(len, 0);
}

static void base64url_appends_and_respects_the_limit(void **state)
{
	struct buf out = BUF_INIT(8);

	(void)state;
	buf_puts(&out, "x=");
	encode_base64url(&out, "foob", 4);
	assert_string_equal((char *)out.data, "x=Zm9vYg");
	encode_base64url(&out, "f", 1);
	assert_false(buf_ok(&out));
	buf_done(&out);
}

static void hex_is_lower_case(void **state)
{
	char out[9];

	(void)state;
	encode_hex("\x00\x0f\xf0\xab", 4, out);
	assert_string_equal(out, "000ff0ab");
	encode_hex(NULL, 0, out);
	assert_string_equal(out, "");
}

static void utf8_takes_only_well_formed_sequences(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		bool valid;
	} cases[] = {
		{"", 0, true},
		{"plain", 5, true},
		{"\xc3\xa4", 2, true},
		{"\xe2\x82\xac", 3, true},
		{"\xf0\x9f\x98\x80", 4, true},
		{"\xf4\x8f\xbf\xbf", 4, true},
		{"\xed\x9f\xbf", 3, true},
		{"\xee\x80\x80", 3, true},
		{"a\0b", 3, false},
		{"\x80", 1, false},
		{"\xc3", 1, false},
		{"\xc3x", 2, false},
		{"\xc0\xaf", 2, false},
		{"\xc1\xbf", 2, false},
		{"\xe0\x9f\xbf", 3, false},
		{"\xed\xa0\x80", 3, false},
		{"\xe2\x82", 2, false},
		{"\xe2\x82x", 3, false},
		{"\xf0\x8f\xbf\xbf", 4, false},
		{"\xf4\x90\x80\x80", 4, false},
		{"\xf0\x9f\x98", 3, false},
		{"\xf5\x80\x80\x80", 4, false},
		{"\xff", 1, false},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++)
		if (utf8_valid(cases[i].text, cases[i].len) != cases[i].valid)
			fail_msg("case %zu", i);
}

/* Long texts are looked at several bytes at a time. */
static void utf8_finds_a_bad_byte_at_every_place(void **state)
{
	static const uint8_t bad[] = {0x00, 0x80, 0xc1, 0xff};
	uint8_t text[40];

	(void)state;
	for (size_t len = 1; len <= sizeof(text); len++) {
		memset(text, 0x7f, sizeof(text));
		assert_true(utf8_valid(text, len));
		memset(text, 0x01, sizeof(text));
		assert_true(utf8_valid(text, len));
		for (size_t at = 0; at < len; at++)
			for (size_t i = 0; i < sizeof(bad); i++) {
				text[at] = bad[i];
				assert_false(utf8_valid(text, len));
				text[at] = 0x01;
			}
	}
}

static void a_first_character_is_printable_when_no_terminal_obeys_it(void **state)
{
	static const struct {
		const char *text;
		size_t len, printable;
	} cases[] = {
		{"", 0, 0},
		{"a", 1, 1},
		{" b", 2, 1},
		{"~", 1, 1},
		{"\0", 1, 0},
		{"\n", 1, 0},
		{"\x1b[m", 3, 0},
		{"\x7f", 1, 0},
		{"\xc3\xa4x", 3, 2},
		{"\xc2\xa0", 2, 2},
		{"\xc2\x9b", 2, 0},
		{"\xe2\x82\xac", 3, 3},
		{"\xe2\x82", 2, 0},
		{"\xc3", 1, 0},
		{"\xff", 1, 0},
		{"\xf0\x9f\x98\x80", 4, 4},
		{"\xc0\xaf", 2, 0},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++)
		if (utf8_printable(cases[i].text, cases[i].len) != cases[i].printable)
			fail_msg("case %zu", i);
}

static void printable_is_space_to_tilde(void **state)
{
	(void)state;
	assert_true(ascii_printable(" az~", 4));
	assert_false(ascii_printable("\x1f", 1));
	assert_false(ascii_printable("\x7f", 1));
	assert_false(ascii_printable("\xc3\xa4", 2));
	assert_false(ascii_printable("a\0", 2));
}

static void random_ids_are_valid_and_differ(void **state)
{
	char a[RANDOM_ID_LEN + 1], b[RANDOM_ID_LEN + 1];

	(void)state;
	random_id(a);
	random_id(b);
	assert_true(random_id_valid(a, strlen(a)));
	assert_string_not_equal(a, b);
	assert_false(random_id_valid(a, RANDOM_ID_LEN - 1));
	a[3] = 'A';
	assert_false(random_id_valid(a, strlen(a)));
	a[3] = '\0';
	assert_false(random_id_valid(a, RANDOM_ID_LEN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64url_matches_rfc4648_both_ways),
		cmocka_unit_test(base64url_refuses_what_is_not_canonical),
		cmocka_unit_test(base64url_takes_every_byte_and_every_tail),
		cmocka_unit_test(base64url_has_one_form),
		cmocka_unit_test(decimals_are_those_of_printf),
		cmocka_unit_test(base64url_stops_at_the_callers_room),
		cmocka_unit_test(base64url_appends_and_respects_the_limit),
		cmocka_unit_test(hex_is_lower_case),
		cmocka_unit_test(utf8_takes_only_well_formed_sequences),
		cmocka_unit_test(utf8_finds_a_bad_byte_at_every_place),
		cmocka_unit_test(a_first_character_is_printable_when_no_terminal_obeys_it),
		cmocka_unit_test(printable_is_space_to_tilde),
		cmocka_unit_test(random_ids_are_valid_and_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
