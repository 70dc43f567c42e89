#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/resource.h>

#include "base/descriptors.h"

/* One test: a hard limit that was lowered does not come back. */
static void the_soft_limit_is_raised_as_far_as_the_hard_one_goes(void **state)
{
	struct rlimit limit = {.rlim_cur = 100, .rlim_max = 500};
	struct err err;

	(void)state;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(descriptors_raise(50, "max_connections", &err), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(limit.rlim_cur, 100);
	assert_int_equal(descriptors_raise(300, "max_connections", &err), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(limit.rlim_cur, 300);
	assert_int_equal(limit.rlim_max, 500);
	assert_int_equal(descriptors_raise(501, "max_connections", &err), -PTA_ETOOBIG);
	assert_non_null(strstr(err.text, "501"));
	assert_non_null(strstr(err.text, "allows 500"));
	assert_non_null(strstr(err.text, "max_connections"));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(limit.rlim_cur, 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_soft_limit_is_raised_as_far_as_the_hard_one_goes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
