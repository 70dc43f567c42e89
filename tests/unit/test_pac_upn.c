#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "directory/name_fold.h"
#include "directory/pac_upn.h"

#define BYTES(text) text, sizeof(text) - 1

/* Length 8, at 16; then the domain's, which nobody reads. */
#define HEAD "\x08\x00\x10\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"

static void the_upn_is_read(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *upn; /* NULL: refused */
	} rows[] = {
		{BYTES(HEAD "a\0@\0b\0c\0"), "a@bc"},
		{BYTES(HEAD "a\0@\0b\0c\0\xff\xff"), "a@bc"},
		{BYTES(HEAD "\xf6\0@\0\xac\x20\x3d\x04"), "\xc3\xb6@\xe2\x82\xac\xd0\xbd"},
		{BYTES(HEAD "\x3d\xd8\x11\xdd@\0b\0"), "\xf0\x9f\x94\x91@b"},
		/* The offset of the head itself. */
		{BYTES("\x04\x00\x08\x00\x00\x00\x00\x00\x61\x00\x62\x00"), "ab"},
		{BYTES(""), NULL},
		{BYTES(HEAD), NULL},
		{BYTES(HEAD "a\0@\0b\0c"), NULL},
		{BYTES("\x02\x00\xff\xff\x00\x00\x00\x00\x01\x00\x00\x00"), NULL},
		{BYTES("\xfe\xff\x0c\x00\x00\x00\x00\x00\x01\x00\x00\x00"), NULL},
		/* No bytes, an odd number, too few for the head. */
		{BYTES("\x00\x00\x0c\x00\x00\x00\x00\x00\x01\x00\x00\x00"), NULL},
		{BYTES("\x03\x00\x0c\x00\x00\x00\x00\x00\x01\x00\x00\x00"
		       "abc"),
			NULL},
		{BYTES("\x02\x00\x04\x00\x61\x00\x62\x00"), NULL},
		/* A NUL, surrogates alone and in the wrong order. */
		{BYTES(HEAD "a\0\0\0b\0c\0"), NULL},
		{BYTES(HEAD "a\0@\0b\0\x3d\xd8"), NULL},
		{BYTES(HEAD "a\0\x3d\xd8"
			    "b\0c\0"),
			NULL},
		{BYTES(HEAD "\x11\xdd\x3d\xd8@\0b\0"), NULL},
	};
	char upn[LIMIT_USERNAME + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r = pac_upn(rows[i].bytes, rows[i].len, upn);

		if (r != (rows[i].upn ? 0 : -PTA_EPROTO) || (rows[i].upn && strcmp(upn, rows[i].upn) != 0))
			fail_msg("row %zu: %d '%s'", i, r, upn);
	}
}

static void a_upn_that_is_no_name_is_refused(void **state)
{
	uint8_t bytes[16 + 2 * (LIMIT_USERNAME + 1)] = {0};
	char upn[LIMIT_USERNAME + 1];

	(void)state;
	bytes[2] = 16;
	for (size_t i = 16; i < sizeof(bytes); i += 2)
		bytes[i] = 'x';
	bytes[0] = (uint8_t)(2 * LIMIT_USERNAME);
	bytes[1] = (uint8_t)(2 * LIMIT_USERNAME >> 8);
	assert_int_equal(pac_upn(bytes, sizeof(bytes), upn), 0);
	assert_int_equal(strlen(upn), LIMIT_USERNAME);
	bytes[0] = (uint8_t)(2 * (LIMIT_USERNAME + 1));
	bytes[1] = (uint8_t)(2 * (LIMIT_USERNAME + 1) >> 8);
	assert_int_equal(pac_upn(bytes, sizeof(bytes), upn), -PTA_EPROTO);
}

static void names_are_equal_without_case(void **state)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} rows[] = {
		{"anna", "ANNA", true},
		{"anna", "anne", false},
		{"anna", "annaa", false},
		{"annaa", "anna", false},
		{"", "", true},
		{"", "a", false},
		{"j\xc3\xb6rg", "J\xc3\x96RG", true},
		{"j\xc3\xb6rg", "jorg", false},
		{"\xd0\xbd\xd0\xb8\xd0\xbd\xd0\xb0", "\xd0\x9d\xd0\x98\xd0\x9d\xd0\x90", true},
		{"\xce\xb1", "\xce\x91", true},
		{"\xf0\x9f\x94\x91", "\xf0\x9f\x94\x91", true},
		{"\xf0\x9f\x94\x91", "\xf0\x9f\x94\x92", false},
		/* No UTF-8: byte for byte, and never as the character of that number. */
		{"\xe4", "\xe4", true},
		{"\xe4", "\xc4", false},
		{"\xe4", "\xc3\xa4", false},
		{"\xc3", "\xc3\xa4", false},
		{"\xe0\x80\xaf", "/", false},
		{"\xc1\xa1", "a", false},
		{"\xf9\x9f\x94\x91", "\xf1\x9f\x94\x91", false},
		{"\xe2\x84\xaa", "k", false},
		{"a[", "a{", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (name_fold_equal(rows[i].a, strlen(rows[i].a), rows[i].b, strlen(rows[i].b)) != rows[i].equal)
			fail_msg("row %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_upn_is_read),
		cmocka_unit_test(a_upn_that_is_no_name_is_refused),
		cmocka_unit_test(names_are_equal_without_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
