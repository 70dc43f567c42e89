#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "wire/expiry.h"

#define HOUR_MS UINT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
#define FROM UINT64_C(1800000000000)

static void the_days_are_in_proportion_to_the_life(void **state)
{
	static const struct {
		uint64_t life, left;
		enum expiry_stage stage;
	} rows[] = {
		{3650 * DAY_MS, 31 * DAY_MS, EXPIRY_FAR},
		{3650 * DAY_MS, 30 * DAY_MS, EXPIRY_30_DAYS},
		{3650 * DAY_MS, 8 * DAY_MS, EXPIRY_30_DAYS},
		{3650 * DAY_MS, 7 * DAY_MS, EXPIRY_7_DAYS},
		{3650 * DAY_MS, 25 * HOUR_MS, EXPIRY_7_DAYS},
		{3650 * DAY_MS, 24 * HOUR_MS, EXPIRY_1_DAY},
		{3650 * DAY_MS, 1, EXPIRY_1_DAY},
		{3650 * DAY_MS, 0, EXPIRY_OVER},
		{365 * DAY_MS, 30 * DAY_MS, EXPIRY_30_DAYS},
		{365 * DAY_MS, 30 * DAY_MS + 1, EXPIRY_FAR},
		/* an agent's, which it renews with 10 days left: 59 h, 14 h, 2 h */
		{30 * DAY_MS, 10 * DAY_MS, EXPIRY_FAR},
		{30 * DAY_MS, 60 * HOUR_MS, EXPIRY_FAR},
		{30 * DAY_MS, 59 * HOUR_MS, EXPIRY_30_DAYS},
		{30 * DAY_MS, 13 * HOUR_MS, EXPIRY_7_DAYS},
		{30 * DAY_MS, 1 * HOUR_MS, EXPIRY_1_DAY},
		{30 * DAY_MS, 0, EXPIRY_OVER},
		{0, 0, EXPIRY_OVER},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++)
		if (expiry_stage(FROM, FROM + rows[i].life, FROM + rows[i].life - rows[i].left) != rows[i].stage)
			fail_msg("row %zu", i);
	assert_int_equal(expiry_stage(FROM, FROM - 1, FROM - 2), EXPIRY_FAR); /* ends before it begins */
	assert_int_equal(expiry_stage(FROM, FROM + DAY_MS, FROM + 2 * DAY_MS), EXPIRY_OVER);
}

static unsigned lines;
static char last[1024];

static void count_line(void *arg, const char *line, size_t len)
{
	(void)arg;
	lines++;
	snprintf(last, sizeof(last), "%.*s", (int)len, line);
}

static void it_warns_at_once_then_daily_and_when_it_gets_worse(void **state)
{
	const uint64_t until = FROM + 3650 * DAY_MS;
	struct expiry_watch watch = {0};
	static const struct {
		uint64_t left;
		unsigned lines;
		const char *has;
	} rows[] = {
		{40 * DAY_MS, 0, ""},
		{20 * DAY_MS, 1, "event=certificate.expires what=ca name=x until="},
		{20 * DAY_MS - HOUR_MS, 1, "level=warning"},
		{19 * DAY_MS + HOUR_MS, 1, "hours_left=480"},
		{19 * DAY_MS, 2, "hours_left=456"},
		{6 * DAY_MS, 3, "level=warning"},
		{6 * DAY_MS - HOUR_MS, 3, ""},
		{23 * HOUR_MS, 4, "level=err"},
		{0, 5, "event=certificate.expired"},
		{300 * DAY_MS, 5, ""}, /* a new one */
		{25 * DAY_MS, 6, "event=certificate.expires"},
	};

	(void)state;
	log_init("test", LOG_INFO);
	log_capture(count_line, NULL);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		expiry_watch(&watch, "ca", "x", FROM, until, until - rows[i].left);
		if (lines != rows[i].lines || !strstr(last, rows[i].has))
			fail_msg("row %zu: %u lines, %s", i, lines, last);
	}
	log_capture(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_days_are_in_proportion_to_the_life),
		cmocka_unit_test(it_warns_at_once_then_daily_and_when_it_gets_worse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
