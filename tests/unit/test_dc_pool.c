#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "directory/dc_pool.h"

#define MINUTE_US 60000000

static int64_t now_us;

static void pass(int64_t us)
{
	now_us += us;
	clock_fake(now_us, -1);
}

static char name[] = "example.com", server_a[] = "a.example.com", server_b[] = "b.example.com:1636", server_c[] = "[::1]:3636";
static char *servers[] = {server_a, server_b, server_c};

static int setup(void **state)
{
	static struct directory_conf conf = {.name = name, .tls = DIRECTORY_LDAPS, .servers = {.items = servers, .n = 3}};
	struct dc_pool *pool;

	now_us = 1000000000;
	clock_fake(now_us, -1);
	conf.bind_timeout = 5000;
	if (dc_pool_new(&conf, &pool, NULL) < 0)
		return -1;
	*state = pool;
	return 0;
}

/* Each controller that was never tried is asked for once. */
static int setup_tried(void **state)
{
	uint64_t wait_ms;
	size_t dc;

	if (setup(state) < 0)
		return -1;
	for (size_t i = 0; i < 3; i++)
		if (dc_pool_probe(*state, &dc, &wait_ms) < 0 || dc != i)
			return -1;
	return dc_pool_probe(*state, &dc, &wait_ms) == -PTA_ENOENT && wait_ms == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	dc_pool_free(*state);
	clock_fake(-1, -1);
	return 0;
}

static size_t picked(struct dc_pool *pool)
{
	size_t dc = 99;

	assert_int_equal(dc_pool_pick(pool, &dc), 0);
	return dc;
}

static struct dc_report report_of(struct dc_pool *pool, size_t dc)
{
	struct dc_report report = {0};

	assert_true(dc_pool_report(pool, dc, &report));
	return report;
}

/* Until the DC's breaker may be probed, which is then done. */
static void wait_for_probe(struct dc_pool *pool, size_t want)
{
	uint64_t wait_ms = 0;
	size_t dc = 99;

	assert_int_equal(dc_pool_probe(pool, &dc, &wait_ms), -PTA_ENOENT);
	assert_in_range(wait_ms, 1, 30001);
	pass((int64_t)wait_ms * 1000);
	assert_int_equal(dc_pool_probe(pool, &dc, &wait_ms), 0);
	assert_int_equal(dc, want);
	assert_string_equal(report_of(pool, dc).state, "probing");
}

static void servers_are_taken_in_list_order(void **state)
{
	struct dc_pool *pool = *state;

	assert_int_equal(dc_pool_size(pool), 3);
	assert_int_equal(picked(pool), 0);
	assert_string_equal(report_of(pool, 0).state, "unknown");
	assert_string_equal(dc_pool_server(pool, 1)->host, "b.example.com");
	assert_int_equal(dc_pool_server(pool, 1)->port, 1636);
	assert_int_equal(dc_pool_server(pool, 0)->port, 636);
	assert_string_equal(report_of(pool, 2).host, "::1");
	dc_pool_connect_failed(pool, 0, 0, "refused");
	assert_int_equal(picked(pool), 1);
	dc_pool_connect_failed(pool, 1, 0, "refused");
	assert_int_equal(picked(pool), 2);
}

static void dead_dc_is_skipped_until_its_probe_succeeds(void **state)
{
	struct dc_pool *pool = *state;

	dc_pool_connect_failed(pool, 0, 0, "refused");
	dc_pool_connected(pool, 1);
	assert_int_equal(picked(pool), 1);
	assert_string_equal(report_of(pool, 0).state, "down");
	assert_string_equal(report_of(pool, 0).last_error, "refused");
	wait_for_probe(pool, 0);
	dc_pool_connect_failed(pool, 0, 0, "still refused");
	assert_string_equal(report_of(pool, 0).state, "down");
	wait_for_probe(pool, 0);
	dc_pool_connected(pool, 0);
	assert_string_equal(report_of(pool, 0).state, "up");
}

static void a_good_dc_is_kept_and_a_better_one_returned_to_after_a_minute(void **state)
{
	struct dc_pool *pool = *state;

	dc_pool_connect_failed(pool, 0, 0, "refused");
	dc_pool_connected(pool, 1);
	assert_int_equal(picked(pool), 1);
	wait_for_probe(pool, 0);
	dc_pool_connected(pool, 0);
	assert_int_equal(picked(pool), 1);
	pass(MINUTE_US - 1);
	assert_int_equal(picked(pool), 1);
	pass(1);
	assert_int_equal(picked(pool), 0);
}

static void with_every_breaker_open_there_is_no_dc(void **state)
{
	struct dc_pool *pool = *state;
	size_t dc = 99;

	for (size_t i = 0; i < 3; i++)
		dc_pool_connect_failed(pool, i, 0, "refused");
	assert_int_equal(dc_pool_pick(pool, &dc), -PTA_ENODC);
	assert_int_equal(dc, 99);
	/* A probe under way is no DC yet. */
	pass(MINUTE_US);
	{
		uint64_t wait_ms;

		assert_int_equal(dc_pool_probe(pool, &dc, &wait_ms), 0);
		assert_int_equal(dc, 0);
	}
	assert_int_equal(dc_pool_pick(pool, &dc), -PTA_ENODC);
	dc_pool_connected(pool, 0);
	assert_int_equal(picked(pool), 0);
}

static void timeouts_and_busy_open_the_breaker_and_answers_do_not(void **state)
{
	static const struct {
		enum dc_outcome outcome;
		size_t picked_after;
	} rows[] = {{DC_ANSWERED, 0}, {DC_LOST, 0}, {DC_TIMED_OUT, 1}, {DC_BUSY, 1}};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct dc_pool *pool;

		teardown(state);
		setup(state);
		pool = *state;
		dc_pool_connected(pool, 0);
		dc_pool_bound(pool, 0, rows[i].outcome, 1000, "text");
		assert_int_equal(picked(pool), rows[i].picked_after);
	}
}

static void the_third_loss_in_a_row_opens_the_breaker(void **state)
{
	struct dc_pool *pool = *state;

	dc_pool_connected(pool, 0);
	dc_pool_bound(pool, 0, DC_LOST, 1, "reset");
	dc_pool_bound(pool, 0, DC_LOST, 1, "reset");
	dc_pool_bound(pool, 0, DC_ANSWERED, 1, "");
	dc_pool_bound(pool, 0, DC_LOST, 1, "reset");
	dc_pool_bound(pool, 0, DC_LOST, 1, "reset");
	assert_int_equal(picked(pool), 0);
	dc_pool_bound(pool, 0, DC_LOST, 1, "reset");
	assert_int_equal(picked(pool), 1);
}

static void a_failed_connect_beside_living_ones_is_only_counted(void **state)
{
	struct dc_pool *pool = *state;

	dc_pool_connected(pool, 0);
	dc_pool_connect_failed(pool, 0, 5, "too many connections");
	assert_int_equal(picked(pool), 0);
	assert_int_equal(report_of(pool, 0).failures, 1);
	assert_string_equal(report_of(pool, 0).last_error, "too many connections");
}

static void what_was_under_way_does_not_close_the_breaker(void **state)
{
	struct dc_pool *pool = *state;

	dc_pool_connected(pool, 0);
	dc_pool_bound(pool, 0, DC_TIMED_OUT, 5000000, "no answer");
	dc_pool_connected(pool, 0);
	assert_string_equal(report_of(pool, 0).state, "down");
}

/* Connecting works, binding does not: the pauses grow until a bind is answered. */
static void back_off_grows_until_a_bind_is_answered(void **state)
{
	struct dc_pool *pool = *state;
	uint64_t longest = 0;

	dc_pool_connected(pool, 0);
	for (int i = 0; i < 12; i++) {
		uint64_t wait_ms;
		size_t dc;

		dc_pool_bound(pool, 0, DC_TIMED_OUT, 5000000, "no answer");
		assert_int_equal(dc_pool_probe(pool, &dc, &wait_ms), -PTA_ENOENT);
		longest = wait_ms > longest ? wait_ms : longest;
		pass((int64_t)wait_ms * 1000);
		assert_int_equal(dc_pool_probe(pool, &dc, &wait_ms), 0);
		dc_pool_connected(pool, 0);
	}
	assert_in_range(longest, 15000, 30001);
	dc_pool_bound(pool, 0, DC_ANSWERED, 1000, "");
	dc_pool_bound(pool, 0, DC_TIMED_OUT, 5000000, "no answer");
	assert_in_range(report_of(pool, 0).retry_in_ms, 200, 500);
}

static void nothing_down_needs_no_probe(void **state)
{
	uint64_t wait_ms = 7;
	size_t dc;

	assert_int_equal(dc_pool_probe(*state, &dc, &wait_ms), -PTA_ENOENT);
	assert_int_equal(wait_ms, 0);
}

static void binds_are_counted_and_latency_is_smoothed(void **state)
{
	struct buf text PTA_CLEANUP(buf_done) = BUF_INIT(1 << 20);
	struct dc_pool *pool = *state;

	dc_pool_connected(pool, 1);
	for (int i = 0; i < 100; i++)
		dc_pool_bound(pool, 1, DC_ANSWERED, 800, "");
	assert_int_equal(report_of(pool, 1).binds, 100);
	assert_int_equal(report_of(pool, 1).latency_us, 800);
	dc_pool_bound(pool, 1, DC_ANSWERED, 8000, "");
	assert_in_range(report_of(pool, 1).latency_us, 1600, 1800);
	metrics_render(&text);
	assert_non_null(strstr((const char *)text.data, "pta_directory_dc_up{directory=\"example.com\",dc=\"b.example.com:1636\"} 1"));
	assert_non_null(
		strstr((const char *)text.data, "pta_directory_binds_total{directory=\"example.com\",dc=\"b.example.com:1636\",outcome=\"answered\"} 101"));
}

static void assert_breaker(const char *state, unsigned changes)
{
	struct buf text PTA_CLEANUP(buf_done) = BUF_INIT(1 << 20);
	char want[160];

	metrics_render(&text);
	snprintf(want, sizeof(want), "pta_directory_breaker_changes_total{directory=\"example.com\",dc=\"a.example.com\",state=\"%s\"} %u\n", state, changes);
	if (!strstr((const char *)text.data, want))
		fail_msg("no %s in %s", want, (const char *)text.data);
}

static void changes_of_the_breaker_are_counted(void **state)
{
	struct dc_pool *pool = *state;
	uint64_t wait_ms;
	size_t dc;

	dc_pool_connected(pool, 0); /* the first time is no change */
	assert_breaker("closed", 0);
	assert_breaker("open", 0);
	dc_pool_connect_failed(pool, 0, 0, "refused");
	dc_pool_connect_failed(pool, 0, 0, "refused");
	assert_breaker("open", 1);
	pass(MINUTE_US);
	assert_int_equal(dc_pool_probe(pool, &dc, &wait_ms), 0);
	dc_pool_connected(pool, dc);
	assert_breaker("closed", 1);
	assert_breaker("open", 1);
}

/* The first connection of a controller is trusted at once: only what was down has to prove itself. */
static void at_start_the_first_of_the_list_is_returned_to_at_once(void **state)
{
	struct dc_pool *pool = *state;

	dc_pool_connected(pool, 2);
	assert_int_equal(picked(pool), 2);
	dc_pool_connected(pool, 0);
	assert_int_equal(picked(pool), 0);
}

static void a_silent_dc_is_left_for_another_until_it_answers(void **state)
{
	struct dc_pool *pool = *state;
	uint64_t wait_ms;
	size_t dc;

	dc_pool_connected(pool, 0);
	dc_pool_connected(pool, 1);
	for (int i = 0; i < 50; i++)
		dc_pool_bound(pool, 0, DC_ANSWERED, 1000, "");
	assert_int_equal(dc_pool_patience_us(pool, 0), 400000);
	assert_true(dc_pool_suspect(pool, 0));
	assert_false(dc_pool_suspect(pool, 0));
	assert_string_equal(report_of(pool, 0).state, "suspect");
	assert_int_equal(picked(pool), 1);
	/* It is probed at once, and again each second. */
	assert_int_equal(dc_pool_probe(pool, &dc, &wait_ms), 0);
	assert_int_equal(dc, 0);
	assert_int_equal(dc_pool_probe(pool, &dc, &wait_ms), -PTA_ENOENT);
	assert_in_range(wait_ms, 990, 1001);
	dc_pool_bound(pool, 0, DC_ANSWERED, 900000, "");
	assert_string_equal(report_of(pool, 0).state, "up");
	assert_int_equal(picked(pool), 1);
	pass(MINUTE_US);
	assert_int_equal(picked(pool), 0);
}

static void a_silent_dc_without_another_is_used_all_the_same(void **state)
{
	struct dc_pool *pool = *state;

	dc_pool_connected(pool, 0);
	dc_pool_connect_failed(pool, 1, 0, "refused");
	dc_pool_connect_failed(pool, 2, 0, "refused");
	assert_true(dc_pool_suspect(pool, 0));
	assert_int_equal(picked(pool), 0);
	/* A failed probe beside its living connections says that it is down. */
	dc_pool_connect_failed(pool, 0, 4, "no answer");
	assert_string_equal(report_of(pool, 0).state, "down");
}

static void suspicion_ends_with_the_binds_that_raised_it(void **state)
{
	struct dc_pool *pool = *state;

	dc_pool_connected(pool, 0);
	assert_true(dc_pool_suspect(pool, 0));
	dc_pool_connected(pool, 0);
	assert_string_equal(report_of(pool, 0).state, "suspect");
	pass(5000001);
	dc_pool_connected(pool, 0);
	assert_string_equal(report_of(pool, 0).state, "up");
}

static void patience_grows_with_latency_within_limits(void **state)
{
	struct dc_pool *pool = *state;

	for (int i = 0; i < 100; i++)
		dc_pool_bound(pool, 0, DC_ANSWERED, 100000, "");
	assert_in_range(dc_pool_patience_us(pool, 0), 799000, 800000);
	for (int i = 0; i < 100; i++)
		dc_pool_bound(pool, 0, DC_ANSWERED, 2000000, "");
	assert_int_equal(dc_pool_patience_us(pool, 0), 2000000);
}

static void another_is_picked_for_what_was_tried(void **state)
{
	struct dc_pool *pool = *state;
	size_t dc = 99;

	assert_int_equal(dc_pool_pick_other(pool, 1, &dc), 0);
	assert_int_equal(dc, 1);
	dc_pool_connected(pool, 2);
	assert_int_equal(dc_pool_pick_other(pool, 1, &dc), 0);
	assert_int_equal(dc, 2);
	assert_int_equal(dc_pool_pick_other(pool, 7, &dc), -PTA_ENODC);
}

static struct dc_candidate candidate(const char *host, unsigned tier, const char *site)
{
	struct dc_candidate made = {.server = {.port = 636, .kdc_port = 88}, .tier = tier};

	snprintf(made.server.host, sizeof(made.server.host), "%s", host);
	snprintf(made.site, sizeof(made.site), "%s", site);
	return made;
}

static int setup_empty(void **state)
{
	static struct directory_conf conf = {.name = name, .tls = DIRECTORY_LDAPS, .bind_timeout = 5000};
	struct dc_pool *pool;

	now_us = 1000000000;
	clock_fake(now_us, -1);
	if (dc_pool_new(&conf, &pool, NULL) < 0)
		return -1;
	*state = pool;
	return 0;
}

static unsigned troubles, changes;

static void count_trouble(void *arg)
{
	(void)arg;
	troubles++;
}

static void count_change(void *arg)
{
	(void)arg;
	changes++;
}

static void found_controllers_come_and_go(void **state)
{
	struct dc_candidate list[3] = {
		candidate("near.example.com", 0, "Here"), candidate("far.example.com", 1, "There"), candidate("new.example.com", 0, "Here")};
	struct buf text PTA_CLEANUP(buf_done) = BUF_INIT(1 << 20);
	struct dc_pool *pool = *state;
	struct dc_report report;
	size_t dc = 99;

	troubles = changes = 0;
	dc_pool_watch(pool, count_trouble, count_change, NULL);
	assert_int_equal(dc_pool_pick(pool, &dc), -PTA_ENODC);
	assert_int_equal(troubles, 1);
	dc_pool_update(pool, list, 2);
	assert_int_equal(changes, 1);
	assert_int_equal(picked(pool), 0);
	assert_string_equal(report_of(pool, 1).site, "There");
	dc_pool_connected(pool, 0);
	dc_pool_bound(pool, 0, DC_ANSWERED, 700, "");
	/* What stays keeps its state, wherever it stands in the list. */
	dc_pool_hold(pool, 1);
	{
		struct dc_candidate next[2] = {list[2], list[0]};

		dc_pool_update(pool, next, 2);
	}
	assert_int_equal(dc_pool_size(pool), 3);
	assert_string_equal(dc_pool_server(pool, 2)->host, "new.example.com");
	assert_int_equal(report_of(pool, 0).binds, 1);
	assert_string_equal(report_of(pool, 0).state, "up");
	assert_int_equal(picked(pool), 0);
	/* What went is nobody's any more, but whoever holds it still reads its name. */
	assert_false(dc_pool_present(pool, 1));
	assert_false(dc_pool_report(pool, 1, &report));
	assert_string_equal(dc_pool_server(pool, 1)->host, "far.example.com");
	dc_pool_connect_failed(pool, 1, 0, "too late");
	dc_pool_bound(pool, 1, DC_ANSWERED, 5, "");
	metrics_render(&text);
	assert_non_null(strstr((const char *)text.data, "pta_directory_dc_info{directory=\"example.com\",dc=\"near.example.com\",site=\"Here\"} 1"));
	assert_null(strstr((const char *)text.data, "far.example.com"));
	/* One that was forgotten while down begins anew. */
	dc_pool_update(pool, list, 2);
	assert_string_equal(report_of(pool, 1).state, "unknown");
	assert_false(dc_pool_present(pool, 2));
}

static void a_slot_is_given_away_when_nobody_holds_it_for_a_minute(void **state)
{
	struct dc_candidate one = candidate("a.example.com", 0, ""), two = candidate("b.example.com", 0, ""), three = candidate("c.example.com", 0, "");
	struct dc_pool *pool = *state;

	dc_pool_update(pool, &one, 1);
	dc_pool_hold(pool, 0);
	dc_pool_update(pool, &two, 1);
	assert_int_equal(dc_pool_size(pool), 2);
	pass(MINUTE_US);
	dc_pool_update(pool, &three, 1);
	assert_int_equal(dc_pool_size(pool), 3);
	dc_pool_drop(pool, 0);
	pass(MINUTE_US);
	dc_pool_update(pool, &two, 1);
	dc_pool_update(pool, (struct dc_candidate[]){candidate("d.example.com", 0, "")}, 1);
	assert_int_equal(dc_pool_size(pool), 3);
	assert_string_equal(dc_pool_server(pool, 0)->host, "d.example.com");
}

static void of_one_tier_a_good_dc_is_kept(void **state)
{
	struct dc_candidate list[2] = {candidate("a.example.com", 0, ""), candidate("b.example.com", 0, "")};
	struct dc_pool *pool = *state;

	dc_pool_update(pool, list, 2);
	dc_pool_connected(pool, 1);
	assert_int_equal(picked(pool), 1);
	dc_pool_connected(pool, 0);
	pass(10 * MINUTE_US);
	assert_int_equal(picked(pool), 1);
	dc_pool_bound(pool, 1, DC_TIMED_OUT, 1, "");
	assert_int_equal(picked(pool), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(servers_are_taken_in_list_order, setup, teardown),
		cmocka_unit_test_setup_teardown(dead_dc_is_skipped_until_its_probe_succeeds, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(a_good_dc_is_kept_and_a_better_one_returned_to_after_a_minute, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(with_every_breaker_open_there_is_no_dc, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(timeouts_and_busy_open_the_breaker_and_answers_do_not, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(the_third_loss_in_a_row_opens_the_breaker, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_connect_beside_living_ones_is_only_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_under_way_does_not_close_the_breaker, setup, teardown),
		cmocka_unit_test_setup_teardown(back_off_grows_until_a_bind_is_answered, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(nothing_down_needs_no_probe, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(at_start_the_first_of_the_list_is_returned_to_at_once, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(a_silent_dc_is_left_for_another_until_it_answers, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(a_silent_dc_without_another_is_used_all_the_same, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(suspicion_ends_with_the_binds_that_raised_it, setup_tried, teardown),
		cmocka_unit_test_setup_teardown(patience_grows_with_latency_within_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(another_is_picked_for_what_was_tried, setup, teardown),
		cmocka_unit_test_setup_teardown(found_controllers_come_and_go, setup_empty, teardown),
		cmocka_unit_test_setup_teardown(a_slot_is_given_away_when_nobody_holds_it_for_a_minute, setup_empty, teardown),
		cmocka_unit_test_setup_teardown(of_one_tier_a_good_dc_is_kept, setup_empty, teardown),
		cmocka_unit_test_setup_teardown(binds_are_counted_and_latency_is_smoothed, setup, teardown),
		cmocka_unit_test_setup_teardown(changes_of_the_breaker_are_counted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
