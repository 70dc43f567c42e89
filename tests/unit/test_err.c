#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/err.h"

static void every_code_has_a_name(void **state)
{
	(void)state;
	for (int code = 0; code <= PTA_ECLOSED; code++) {
		assert_string_not_equal(pta_error_name(code), "unknown error");
		assert_ptr_equal(pta_error_name(code), pta_error_name(-code));
	}
	assert_string_equal(pta_error_name(9999), "unknown error");
	assert_string_equal(pta_error_name(-2147483647 - 1), "unknown error");
}

static void text_is_cut_and_the_code_returned(void **state)
{
	struct err err;
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(err_set(&err, -PTA_EIO, "%s", text), -PTA_EIO);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(err_set(NULL, -PTA_EINVAL, "nobody reads this"), -PTA_EINVAL);
}

static void errno_and_prefix_are_joined(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_set_errno(&err, -PTA_EIO, ENOENT, "open /x"), -PTA_EIO);
	assert_string_equal(err.text, "open /x: No such file or directory");
	assert_int_equal(err_prefix(&err, -PTA_EIO, "%s: ", "register"), -PTA_EIO);
	assert_string_equal(err.text, "register: open /x: No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_has_a_name),
		cmocka_unit_test(text_is_cut_and_the_code_returned),
		cmocka_unit_test(errno_and_prefix_are_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
