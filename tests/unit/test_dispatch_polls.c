/* What agents do to the queue: polls, keys, being disabled and revoked; and its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dispatch_bed.h"

static void a_poll_is_held_for_its_time_and_then_empty(void **state)
{
	struct world *w = *state;
	struct agent a;
	static struct poll poll;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &poll, 1), 0);
	advance(w, POLL_HOLD_MS * 1000ull);
	dispatch_port_expire(w->port);
	assert_true(poll.answered);
	assert_int_equal(poll.base.outcome, DISPATCH_POLL_EMPTY);
	assert_null(poll.base.batch);
}

static void a_poll_that_brought_results_is_held_for_a_short_time_only(void **state)
{
	struct world *w = *state;
	static struct request request;
	struct agent a;
	static struct poll held, receipt, other;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &held, 1), 0);
	assert_int_equal(park_receipt(w, &a, &receipt, 1), 0);
	assert_true(dispatch_port_due(w->port) == (uint64_t)w->now_us + POLL_HOLD_RESULTS_MS * 1000ull);
	advance(w, POLL_HOLD_RESULTS_MS * 1000ull - 1);
	dispatch_port_expire(w->port);
	assert_false(receipt.answered);
	advance(w, 1);
	dispatch_port_expire(w->port);
	assert_true(receipt.answered);
	assert_int_equal(receipt.base.outcome, DISPATCH_POLL_EMPTY);
	assert_false(held.answered);
	assert_true(dispatch_port_due(w->port) == (uint64_t)w->now_us + (POLL_HOLD_MS - POLL_HOLD_RESULTS_MS) * 1000ull);
	/* It takes requests like any other. */
	assert_true(dispatch_poll_gone(w->d, &held.base));
	assert_int_equal(park_receipt(w, &a, &other, 1), 0);
	assert_int_equal(submit(w, &request), 0);
	assert_int_equal(other.n, 1);
	written(w, &other, true);
	assert_null(answer(w, &a, &request, 1));
	assert_int_equal(dispatch_port_due(w->port), UINT64_MAX);
}

static void a_poll_without_a_known_key_is_sent_to_publish(void **state)
{
	struct world *w = *state;
	struct agent a;
	static struct poll poll;

	agent_start(w, &a, "a1");
	random_id(a.instance);
	assert_int_equal(park(w, &a, &poll, 1), -PTA_ENOENT);
	publish(w, &a);
	assert_int_equal(park(w, &a, &poll, 1), 0);
}

static void a_repeated_poll_takes_the_place_of_the_first(void **state)
{
	struct world *w = *state;
	struct agent a;
	static struct poll first, again;
	struct dispatch_agent_report report;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &first, 4), 0);
	a.number--;
	assert_int_equal(park(w, &a, &again, 4), 0);
	assert_true(first.answered);
	assert_int_equal(first.base.outcome, DISPATCH_POLL_EMPTY);
	assert_int_equal(dispatch_report(w->d, &report, 1), 1);
	assert_int_equal(report.room, 4);
	assert_int_equal(report.polls, 1);
}

static void a_further_poll_ends_the_oldest(void **state)
{
	struct world *w = *state;
	static struct request request;
	struct agent a;
	static struct poll polls[DISPATCH_POLLS + 2];
	struct dispatch_agent_report report;

	agent_start(w, &a, "a1");
	for (size_t i = 0; i < PTA_ARRAY_SIZE(polls); i++) {
		assert_int_equal(i % 2 ? park(w, &a, &polls[i], 1) : park_receipt(w, &a, &polls[i], 1), 0);
		for (size_t j = 0; j <= i; j++)
			assert_int_equal(polls[j].answered, j + DISPATCH_POLLS <= i);
	}
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(polls[i].base.outcome, DISPATCH_POLL_EMPTY);
		assert_null(polls[i].base.batch);
	}
	assert_int_equal(dispatch_report(w->d, &report, 1), 1);
	assert_int_equal(report.polls, DISPATCH_POLLS);
	assert_int_equal(report.room, DISPATCH_POLLS);
	assert_int_equal(submit(w, &request), 0);
	assert_int_equal(polls[2].n + polls[3].n, 1);
	written(w, polls[2].n ? &polls[2] : &polls[3], true);
	assert_null(answer(w, &a, &request, 1));
}

static void a_disabled_agent_drains(void **state)
{
	struct world *w = *state;
	static struct request handed, waiting;
	struct agent a;
	static struct poll poll;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &poll, 1), 0);
	assert_int_equal(submit(w, &handed), 0);
	written(w, &poll, true);
	assert_int_equal(submit(w, &waiting), 0);
	dispatch_agent_state(w->d, w->port, "a1", AGENT_DISABLED);
	assert_unavailable(&waiting, REASON_NO_AGENT, false);
	a.peer.disabled = true;
	assert_int_equal(park(w, &a, &poll, 1), 0);
	assert_false(poll.answered);
	assert_null(answer(w, &a, &handed, 1));
	dispatch_agent_state(w->d, w->port, "a1", AGENT_ENABLED);
	assert_int_equal(submit(w, &waiting), 0);
	assert_true(poll.answered);
	written(w, &poll, true);
}

static void a_revoked_agent_loses_polls_key_and_requests(void **state)
{
	struct world *w = *state;
	static struct request handed;
	struct agent a;
	static struct poll first, second;
	struct message_key key = {.not_after_ms = START_MS + 1000};
	struct err err;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &first, 1), 0);
	assert_int_equal(submit(w, &handed), 0);
	written(w, &first, true);
	assert_int_equal(park(w, &a, &second, 1), 0);
	dispatch_agent_state(w->d, w->port, "a1", AGENT_REVOKED);
	assert_true(second.answered);
	assert_int_equal(second.base.outcome, DISPATCH_POLL_REVOKED);
	assert_unavailable(&handed, REASON_AGENT_LOST, true);
	assert_string_equal(answer(w, &a, &handed, 1), MESSAGE_REFUSED_UNKNOWN);
	assert_int_equal(submit(w, &handed), -PTA_ENOENT);
	assert_int_equal(park(w, &a, &second, 1), -PTA_ENOENT);
	assert_int_equal(dispatch_publish(w->d, w->port, &a.peer, &key, &err), -PTA_EPERM);
	assert_int_equal(dispatch_report(w->d, NULL, 0), 0);
}

static void a_key_past_its_end_is_not_sealed_for(void **state)
{
	struct world *w = *state;
	static struct request request;
	struct agent a;
	struct dispatch_candidate candidates[DISPATCH_COPIES];
	struct message_key key = {.not_after_ms = START_MS + 1000};
	struct err err;
	size_t n;

	agent_start(w, &a, "a1");
	assert_int_equal(dispatch_candidates(w->d, "main", "office", candidates, &n), 0);
	assert_true(dispatch_key_lives(w->d, "a1", candidates[0].key_id));
	memcpy(key.instance, a.instance, sizeof(key.instance));
	random_id(key.key_id);
	assert_int_equal(dispatch_publish(w->d, w->port, &a.peer, &key, &err), 0);
	assert_false(dispatch_key_lives(w->d, "a1", candidates[0].key_id));
	advance(w, 1000000);
	assert_false(dispatch_key_lives(w->d, "a1", key.key_id));
	assert_int_equal(submit(w, &request), -PTA_ENOENT);
	assert_int_equal(dispatch_publish(w->d, w->port, &a.peer, &key, &err), -PTA_EEXPIRED);
}

static void a_closed_dispatcher_ends_everything(void **state)
{
	struct world *w = *state;
	static struct request handed, waiting;
	struct agent a;
	static struct poll first, second;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &first, 1), 0);
	assert_int_equal(submit(w, &handed), 0);
	written(w, &first, true);
	assert_int_equal(submit(w, &waiting), 0);
	dispatch_close(w->d, w->port);
	assert_unavailable(&handed, REASON_AGENT_LOST, true);
	assert_true(waiting.finished);
	assert_false(waiting.base.verdict.password_sent);
	publish(w, &a);
	assert_int_equal(park(w, &a, &second, 1), 0);
	assert_true(second.answered);
	assert_int_equal(second.base.outcome, DISPATCH_POLL_EMPTY);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, dispatch_bed_setup, dispatch_bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_poll_is_held_for_its_time_and_then_empty),
		TEST(a_poll_that_brought_results_is_held_for_a_short_time_only),
		TEST(a_poll_without_a_known_key_is_sent_to_publish),
		TEST(a_repeated_poll_takes_the_place_of_the_first),
		TEST(a_further_poll_ends_the_oldest),
		TEST(a_disabled_agent_drains),
		TEST(a_revoked_agent_loses_polls_key_and_requests),
		TEST(a_key_past_its_end_is_not_sealed_for),
		TEST(a_closed_dispatcher_ends_everything),
	};

	log_init("test", LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
