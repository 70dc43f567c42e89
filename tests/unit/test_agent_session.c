#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "service/agent_session.h"

#define NOW_US 1000000000ull
#define NOW_MS 1800000000000ull

static int setup(void **state)
{
	clock_fake(NOW_US, NOW_MS);
	return agent_session_new("a1", (struct agent_session **)state);
}

static int teardown(void **state)
{
	agent_session_free(*state);
	clock_fake(-1, -1);
	return 0;
}

static void only_a_fresh_enabled_session_with_a_key_is_usable(void **state)
{
	struct agent_session *s = *state;
	struct dispatch_peer peer = {.disabled = false};
	const struct {
		const char *what;
		bool lost, disabled, key, usable;
		uint64_t after_us, key_left_ms;
	} rows[] = {
		{"good", false, false, true, true, 0, 1000},
		{"lost", true, false, true, false, 0, 1000},
		{"disabled", false, true, true, false, 0, 1000},
		{"without a key", false, false, false, false, 0, 1000},
		{"just before the end of its lease", false, false, true, true, AGENT_ONLINE_MS * 1000ull - 1, 1000},
		{"silent", false, false, true, false, AGENT_ONLINE_MS * 1000ull, 1000},
		{"key at its end", false, false, true, false, 0, 0},
	};

	assert_false(agent_session_online(s, NOW_US));
	agent_session_begin(s, "instance", 7);
	agent_session_seen(s, &peer);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		s->lost = rows[i].lost;
		s->disabled = rows[i].disabled;
		s->key.id[0] = rows[i].key ? 'k' : 0;
		s->key.not_after_ms = NOW_MS + rows[i].key_left_ms;
		if (agent_session_usable(s, NOW_US + rows[i].after_us, NOW_MS) != rows[i].usable)
			fail_msg("%s", rows[i].what);
	}
}

static void connections_count_once_and_only_for_their_own_time(void **state)
{
	struct agent_session *s = *state;
	struct dispatch_peer first = {0}, second = {0};

	agent_session_begin(s, "instance", 7);
	agent_session_seen(s, &first);
	agent_session_seen(s, &first);
	agent_session_seen(s, &second);
	assert_int_equal(s->connections, 2);
	assert_false(agent_session_closed(s, &first));
	agent_session_begin(s, "another", 8);
	assert_false(agent_session_closed(s, &second)); /* of the instance before */
	agent_session_seen(s, &first);
	assert_int_equal(s->connections, 1);
	assert_true(agent_session_closed(s, &first));
}

static void a_poll_of_the_callers_own_thread_comes_first(void **state)
{
	struct agent_session *s = *state;
	/* Only compared, never looked into. */
	struct dispatch_port *one = (struct dispatch_port *)&(char){0}, *two = (struct dispatch_port *)&(char){0};
	struct dispatch_poll a = {.mail.port = one, .number = 1, .credit = 3}, b = {.mail.port = two, .number = 2, .credit = 5};

	assert_null(agent_session_poll(s, one));
	agent_session_park(s, &a);
	agent_session_park(s, &b);
	assert_int_equal(s->room, 8);
	assert_ptr_equal(agent_session_poll(s, two), &b);
	assert_ptr_equal(agent_session_poll(s, NULL), &a);
	assert_ptr_equal(agent_session_poll_number(s, 2), &b);
	assert_null(agent_session_poll_number(s, 3));
	agent_session_unpark(s, &b);
	assert_ptr_equal(agent_session_poll(s, two), &a);
	agent_session_unpark(s, &a);
	assert_int_equal(s->room, 0);
	assert_int_equal(s->npolls, 0);
}

static void latency_follows_slowly_and_never_overflows(void **state)
{
	struct agent_session *s = *state;

	agent_session_latency(s, 800);
	assert_int_equal(s->latency_us, 800);
	agent_session_latency(s, 1600);
	assert_int_equal(s->latency_us, 900);
	agent_session_latency(s, UINT64_MAX);
	assert_true(s->latency_us > 900);
	assert_true(s->latency_us < UINT32_MAX);
}

static void room_goes_before_latency(void **state)
{
	struct agent_session a = {.room = 2, .latency_us = 900}, b = {.room = 1, .latency_us = 100}, c = {.room = 1, .latency_us = 50};

	(void)state;
	assert_true(agent_session_before(&a, &b));
	assert_false(agent_session_before(&b, &a));
	assert_true(agent_session_before(&c, &b));
	assert_false(agent_session_before(&b, &b));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_a_fresh_enabled_session_with_a_key_is_usable),
		TEST(connections_count_once_and_only_for_their_own_time),
		TEST(a_poll_of_the_callers_own_thread_comes_first),
		TEST(latency_follows_slowly_and_never_overflows),
		TEST(room_goes_before_latency),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
