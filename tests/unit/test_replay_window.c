#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/replay_window.h"

static struct replay_window *window_new(void)
{
	struct replay_window *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	return w;
}

static void each_number_is_fresh_once_in_any_order(void **state)
{
	static const uint64_t order[] = {5, 0, 3, 4, 1, 2, 65535, 100, 65536, 6, 130000, 70000, 64465, 64466};
	struct replay_window *w = window_new();

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(order); i++) {
		assert_true(replay_window_fresh(w, order[i]));
		assert_true(replay_window_fresh(w, order[i])); /* asking changes nothing */
		replay_window_mark(w, order[i]);
		for (size_t j = 0; j <= i; j++)
			assert_false(replay_window_fresh(w, order[j]));
	}
	free(w);
}

static void what_falls_out_of_the_window_counts_as_seen(void **state)
{
	struct replay_window *w = window_new();

	(void)state;
	replay_window_mark(w, REPLAY_WINDOW + 9);
	assert_false(replay_window_fresh(w, 0));
	assert_false(replay_window_fresh(w, 9));
	assert_true(replay_window_fresh(w, 10)); /* the oldest of the newest 65,536 */
	assert_true(replay_window_fresh(w, REPLAY_WINDOW + 8));
	free(w);
}

static void a_jump_clears_what_it_passes(void **state)
{
	static const uint64_t jumps[] = {1, 2, 63, 64, 65, 1000, REPLAY_WINDOW - 1, REPLAY_WINDOW, REPLAY_WINDOW + 1, UINT64_C(1) << 40};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(jumps); i++) {
		struct replay_window *w = window_new();
		uint64_t last = REPLAY_WINDOW + 1000;

		/* Every bit of the ring is set. */
		for (uint64_t n = 0; n <= last; n++)
			replay_window_mark(w, n);
		replay_window_mark(w, last + jumps[i]);
		for (uint64_t n = last + 1; n < last + jumps[i] && n < last + 2 * REPLAY_WINDOW; n++)
			assert_int_equal(replay_window_fresh(w, n), last + jumps[i] - n < REPLAY_WINDOW);
		assert_false(replay_window_fresh(w, last));
		assert_false(replay_window_fresh(w, last + jumps[i]));
		assert_true(replay_window_fresh(w, last + jumps[i] + 1));
		free(w);
	}
}

static void the_greatest_number_is_no_exception(void **state)
{
	struct replay_window *w = window_new();

	(void)state;
	replay_window_mark(w, UINT64_MAX);
	assert_false(replay_window_fresh(w, UINT64_MAX));
	assert_false(replay_window_fresh(w, 0));
	assert_true(replay_window_fresh(w, UINT64_MAX - 1));
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_number_is_fresh_once_in_any_order),
		cmocka_unit_test(what_falls_out_of_the_window_counts_as_seen),
		cmocka_unit_test(a_jump_clears_what_it_passes),
		cmocka_unit_test(the_greatest_number_is_no_exception),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
