#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/backoff.h"

static void waits_double_up_to_the_maximum_and_stay_in_the_upper_half(void **state)
{
	struct backoff b = BACKOFF_INIT(100, 5000);
	uint32_t whole = 100;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		uint32_t wait = backoff_next_ms(&b);

		assert_in_range(wait, whole / 2, whole);
		whole = whole * 2 < 5000 ? whole * 2 : 5000;
	}
	assert_int_equal(b.failures, 100);
	backoff_reset(&b);
	assert_in_range(backoff_next_ms(&b), 50, 100);
}

static void waits_are_jittered(void **state)
{
	struct backoff b = BACKOFF_INIT(1u << 31, UINT32_MAX);
	uint32_t first = backoff_next_ms(&b);
	unsigned same = 0;

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		backoff_reset(&b);
		same += backoff_next_ms(&b) == first;
	}
	assert_true(same < 16);
}

static void extremes_do_not_overflow(void **state)
{
	struct backoff b = BACKOFF_INIT(UINT32_MAX, UINT32_MAX);

	(void)state;
	b.failures = UINT32_MAX;
	assert_true(backoff_next_ms(&b) >= UINT32_MAX / 2);
	assert_true(b.failures == UINT32_MAX);
	b = BACKOFF_INIT(0, 0);
	assert_int_equal(backoff_next_ms(&b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_double_up_to_the_maximum_and_stay_in_the_upper_half),
		cmocka_unit_test(waits_are_jittered),
		cmocka_unit_test(extremes_do_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
