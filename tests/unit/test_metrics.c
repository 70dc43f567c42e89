#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/metrics.h"

static const char *const one_label[] = {"dc", NULL};
static const char *const two_labels[] = {"verdict", "reason", NULL};

/* The part of the rendering that belongs to one metric. */
static void expect_rendered(const char *help_line, const char *expected)
{
	struct buf out = BUF_INIT(1u << 20);
	const char *start, *end;

	metrics_render(&out);
	assert_true(buf_ok(&out));
	start = strstr((char *)out.data, help_line);
	assert_non_null(start);
	end = strstr(start + 1, "# HELP");
	assert_int_equal(end ? (size_t)(end - start) : strlen(start), strlen(expected));
	assert_memory_equal(start, expected, strlen(expected));
	buf_done(&out);
}

static void counters_and_gauges_are_rendered(void **state)
{
	struct metric *counter = metric_new(METRIC_COUNTER, "t_total", "things", two_labels), *gauge = metric_new(METRIC_GAUGE, "t_gauge", "now", NULL);

	(void)state;
	metric_add(metric_at(counter, (const char *const[]){"success", ""}), 3);
	metric_add(metric_at(counter, (const char *const[]){"unavailable", "timeout"}), 1);
	metric_add(metric_at(counter, (const char *const[]){"success", ""}), 4);
	metric_set(metric_at(gauge, NULL), 5);
	metric_gauge_add(metric_at(gauge, NULL), -7);
	expect_rendered("# HELP t_total", "# HELP t_total things\n# TYPE t_total counter\n"
					  "t_total{verdict=\"success\",reason=\"\"} 7\n"
					  "t_total{verdict=\"unavailable\",reason=\"timeout\"} 1\n");
	expect_rendered("# HELP t_gauge", "# HELP t_gauge now\n# TYPE t_gauge gauge\nt_gauge -2\n");
	assert_int_equal(metric_value(metric_at(counter, (const char *const[]){"success", ""})), 7);
}

static void the_same_name_is_the_same_metric(void **state)
{
	(void)state;
	assert_ptr_equal(metric_new(METRIC_GAUGE, "t_same", "x", NULL), metric_new(METRIC_GAUGE, "t_same", "x", NULL));
}

static void a_metric_without_series_is_not_rendered(void **state)
{
	struct buf out = BUF_INIT(1u << 20);

	(void)state;
	metric_new(METRIC_COUNTER, "t_empty", "nothing yet", one_label);
	metrics_render(&out);
	assert_true(buf_ok(&out));
	assert_true(!out.len || !strstr((char *)out.data, "t_empty"));
	buf_done(&out);
}

static void histograms_are_cumulative(void **state)
{
	struct metric *histogram = metric_new(METRIC_HISTOGRAM, "t_seconds", "how long", one_label);
	struct metric_series *series = metric_at(histogram, (const char *const[]){"dc1"});

	(void)state;
	metric_observe_us(series, 0);
	metric_observe_us(series, 500);
	metric_observe_us(series, 501);
	metric_observe_us(series, 40000);
	metric_observe_us(series, 10000001);
	assert_int_equal(metric_value(series), 5);
	expect_rendered("# HELP t_seconds", "# HELP t_seconds how long\n# TYPE t_seconds histogram\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.0005\"} 2\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.001\"} 3\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.0025\"} 3\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.005\"} 3\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.01\"} 3\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.025\"} 3\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.05\"} 4\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.1\"} 4\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.25\"} 4\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"0.5\"} 4\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"1\"} 4\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"2.5\"} 4\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"5\"} 4\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"10\"} 4\n"
					    "t_seconds_bucket{dc=\"dc1\",le=\"+Inf\"} 5\n"
					    "t_seconds_sum{dc=\"dc1\"} 10.041002\n"
					    "t_seconds_count{dc=\"dc1\"} 5\n");
}

static void a_histogram_without_labels_has_only_le(void **state)
{
	struct metric *histogram = metric_new(METRIC_HISTOGRAM, "t_bare_seconds", "h", NULL);
	struct buf out = BUF_INIT(1u << 20);

	(void)state;
	metric_observe_us(metric_at(histogram, NULL), 2000000);
	metrics_render(&out);
	assert_true(buf_ok(&out));
	assert_non_null(strstr((char *)out.data, "\nt_bare_seconds_bucket{le=\"2.5\"} 1\n"));
	assert_non_null(strstr((char *)out.data, "\nt_bare_seconds_sum 2.000000\nt_bare_seconds_count 1\n"));
	buf_done(&out);
}

static void label_values_are_escaped_and_bounded(void **state)
{
	struct metric *metric = metric_new(METRIC_COUNTER, "t_escape", "e", one_label);
	char text[1000], expected[2048];

	(void)state;
	metric_add(metric_at(metric, (const char *const[]){"a\"b\\c\nd\x1b\xff jürgen"}), 1);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	metric_add(metric_at(metric, (const char *const[]){text}), 1);
	text[256] = '\0';
	snprintf(expected, sizeof(expected), "# HELP t_escape e\n# TYPE t_escape counter\nt_escape{dc=\"a\\\"b\\\\c\\nd?? jürgen\"} 1\nt_escape{dc=\"%s\"} 1\n",
		text);
	expect_rendered("# HELP t_escape", expected);
}

static void a_forgotten_series_is_gone_and_may_come_back(void **state)
{
	struct metric *metric = metric_new(METRIC_GAUGE, "t_forget", "f", one_label);
	const char *const a[] = {"a"}, *const b[] = {"b"};

	(void)state;
	metric_set(metric_at(metric, a), 1);
	metric_set(metric_at(metric, b), 2);
	metric_forget(metric, a);
	metric_forget(metric, a);
	expect_rendered("# HELP t_forget", "# HELP t_forget f\n# TYPE t_forget gauge\nt_forget{dc=\"b\"} 2\n");
	assert_int_equal(metric_value(metric_at(metric, a)), 0);
}

static void a_series_stays_until_its_last_user_forgets_it(void **state)
{
	struct metric *metric = metric_new(METRIC_GAUGE, "t_users", "u", one_label);
	const char *const a[] = {"a"};
	struct metric_series *first = metric_at(metric, a), *second = metric_at(metric, a);

	(void)state;
	assert_ptr_equal(first, second);
	metric_set(first, 7);
	metric_forget(metric, a);
	expect_rendered("# HELP t_users", "# HELP t_users u\n# TYPE t_users gauge\nt_users{dc=\"a\"} 7\n");
	metric_forget(metric, a);
	assert_int_equal(metric_value(metric_at(metric, a)), 0);
}

static void too_many_series_become_other(void **state)
{
	struct metric *metric = metric_new(METRIC_COUNTER, "t_many", "m", one_label);
	const char *values[] = {"other"};
	struct metric_series *overflow = NULL;
	char text[32];

	(void)state;
	for (int i = 0; i < METRIC_MAX_SERIES + 10; i++) {
		snprintf(text, sizeof(text), "dc%d", i);
		overflow = metric_at(metric, (const char *const[]){text});
		metric_add(overflow, 1);
	}
	assert_ptr_equal(overflow, metric_at(metric, values));
	assert_int_equal(metric_value(overflow), 11);
	assert_int_equal(metric_value(metric_at(metric, (const char *const[]){"dc0"})), 1);
}

enum { THREADS = 4, ROUNDS = 2000 };

static void *count_up(void *arg)
{
	struct metric *counter = metric_new(METRIC_COUNTER, "t_threads", "t", one_label),
		      *histogram = metric_new(METRIC_HISTOGRAM, "t_threads_seconds", "t", NULL);
	struct buf out = BUF_INIT(1u << 20);

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		metric_add(metric_at(counter, (const char *const[]){i % 2 ? "odd" : "even"}), 1);
		metric_observe_us(metric_at(histogram, NULL), (uint64_t)i);
	}
	metrics_render(&out);
	buf_done(&out);
	return NULL;
}

static void updates_of_threads_are_all_counted(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(metric_value(metric_at(metric_new(METRIC_COUNTER, "t_threads", "t", one_label), (const char *const[]){"odd"})), THREADS * ROUNDS / 2);
	assert_int_equal(metric_value(metric_at(metric_new(METRIC_HISTOGRAM, "t_threads_seconds", "t", NULL), NULL)), THREADS * ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_and_gauges_are_rendered),
		cmocka_unit_test(the_same_name_is_the_same_metric),
		cmocka_unit_test(a_metric_without_series_is_not_rendered),
		cmocka_unit_test(histograms_are_cumulative),
		cmocka_unit_test(a_histogram_without_labels_has_only_le),
		cmocka_unit_test(label_values_are_escaped_and_bounded),
		cmocka_unit_test(a_forgotten_series_is_gone_and_may_come_back),
		cmocka_unit_test(a_series_stays_until_its_last_user_forgets_it),
		cmocka_unit_test(too_many_series_become_other),
		cmocka_unit_test(updates_of_threads_are_all_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
