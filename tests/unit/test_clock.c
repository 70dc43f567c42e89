#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"

static void monotonic_time_never_goes_back(void **state)
{
	uint64_t last = clock_mono_us();

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t now = clock_mono_us();

		assert_true(now >= last);
		last = now;
	}
}

static void wall_time_is_the_systems(void **state)
{
	time_t before = time(NULL);
	uint64_t wall = clock_wall_ms();

	(void)state;
	assert_true(wall / 1000 + 1 >= (uint64_t)before);
}

static void fake_clocks_stand_until_moved(void **state)
{
	(void)state;
	clock_fake(5000, 7000);
	assert_int_equal(clock_mono_us(), 5000);
	assert_int_equal(clock_mono_ms(), 5);
	assert_int_equal(clock_wall_ms(), 7000);
	clock_fake(0, -1); /* one alone */
	assert_int_equal(clock_mono_us(), 0);
	assert_true(clock_wall_ms() > 7000);
	clock_fake(-1, -1);
	assert_true(clock_mono_us() > 0);
}

static void timestamps_are_rfc3339_in_utc(void **state)
{
	static const struct {
		uint64_t wall_ms;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{UINT64_C(1769903999123), "2026-01-31T23:59:59.123Z"},
		{UINT64_C(1709164800007), "2024-02-29T00:00:00.007Z"},
		{UINT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
		{UINT64_C(253402300800000), "9999-12-31T23:59:59.999Z"},
		{UINT64_MAX, "9999-12-31T23:59:59.999Z"},
	};
	char out[CLOCK_RFC3339_LEN + 1];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		clock_rfc3339(cases[i].wall_ms, out);
		assert_string_equal(out, cases[i].text);
	}
}

/* The last second is kept: what comes after it, before it and on another thread must not be told with it. */
static void timestamps_follow_the_second_both_ways(void **state)
{
	static const struct {
		uint64_t wall_ms;
		const char *text;
	} steps[] = {
		{UINT64_C(1769903999999), "2026-01-31T23:59:59.999Z"},
		{UINT64_C(1769904000000), "2026-02-01T00:00:00.000Z"},
		{UINT64_C(1769903999999), "2026-01-31T23:59:59.999Z"},
		{UINT64_C(1769903999090), "2026-01-31T23:59:59.090Z"},
		{UINT64_C(253402300798999), "9999-12-31T23:59:58.999Z"},
		{UINT64_C(253402300799000), "9999-12-31T23:59:59.000Z"},
		{UINT64_MAX, "9999-12-31T23:59:59.999Z"},
		{0, "1970-01-01T00:00:00.000Z"},
		{999, "1970-01-01T00:00:00.999Z"},
		{1000, "1970-01-01T00:00:01.000Z"},
	};
	char out[CLOCK_RFC3339_LEN + 1];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(steps); i++) {
		clock_rfc3339(steps[i].wall_ms, out);
		assert_string_equal(out, steps[i].text);
	}
}

static void *first_second(void *arg)
{
	clock_rfc3339(0, arg);
	return NULL;
}

static void a_threads_first_timestamp_is_its_own(void **state)
{
	char out[CLOCK_RFC3339_LEN + 1];
	pthread_t thread;

	(void)state;
	clock_rfc3339(1000, out);
	assert_int_equal(pthread_create(&thread, NULL, first_second, out), 0);
	pthread_join(thread, NULL);
	assert_string_equal(out, "1970-01-01T00:00:00.000Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(monotonic_time_never_goes_back),
		cmocka_unit_test(wall_time_is_the_systems),
		cmocka_unit_test(fake_clocks_stand_until_moved),
		cmocka_unit_test(timestamps_are_rfc3339_in_utc),
		cmocka_unit_test(timestamps_follow_the_second_both_ways),
		cmocka_unit_test(a_threads_first_timestamp_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
