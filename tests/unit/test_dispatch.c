/* The life of a request under every rule of the queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dispatch_bed.h"

static void without_an_online_agent_there_is_no_candidate(void **state)
{
	struct world *w = *state;
	static struct request request;
	struct agent a;

	assert_int_equal(submit(w, &request), -PTA_ENOENT);
	agent_start(w, &a, "a1");
	advance(w, AGENT_ONLINE_MS * 1000ull);
	assert_int_equal(submit(w, &request), -PTA_ENOENT);
	publish(w, &a);
	a.peer.disabled = true;
	publish(w, &a);
	assert_int_equal(submit(w, &request), -PTA_ENOENT);
}

static void parked_poll_gets_the_request_at_once_and_its_answer_ends_it(void **state)
{
	struct world *w = *state;
	static struct request request;
	struct agent a;
	static struct poll poll;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &poll, 8), 0);
	assert_false(poll.answered);
	assert_int_equal(submit(w, &request), 0);
	assert_true(poll.answered);
	assert_int_equal(poll.base.outcome, DISPATCH_POLL_BATCH);
	assert_int_equal(poll.n, 1);
	written(w, &poll, true);
	assert_null(answer(w, &a, &request, 1));
	assert_true(request.finished);
	assert_int_equal(request.base.verdict.code, VERDICT_SUCCESS);
	assert_string_equal(request.base.agent, "a1");
}

static void a_poll_takes_all_that_waits_up_to_its_credit(void **state)
{
	struct world *w = *state;
	static struct request requests[5];
	struct agent a;
	static struct poll first, second;

	agent_start(w, &a, "a1");
	for (size_t i = 0; i < PTA_ARRAY_SIZE(requests); i++)
		assert_int_equal(submit(w, &requests[i]), 0);
	assert_int_equal(park(w, &a, &first, 3), 0);
	assert_int_equal(first.n, 3);
	assert_string_equal(first.base.batch->message.head.request_id, requests[0].base.id);
	assert_int_equal(park(w, &a, &second, 3), 0);
	assert_int_equal(second.n, 2);
	written(w, &first, true);
	written(w, &second, true);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(requests); i++)
		assert_null(answer(w, &a, &requests[i], 1));
}

static void one_poll_takes_what_a_turn_has_submitted(void **state)
{
	struct world *w = *state;
	static struct request requests[6], another;
	static struct poll first, second;
	struct agent a;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &first, 4), 0);
	assert_int_equal(park(w, &a, &second, 4), 0);
	w->long_turn = true;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(requests); i++)
		assert_int_equal(submit(w, &requests[i]), 0);
	assert_int_equal(w->turns, 1);
	assert_false(first.answered);
	dispatch_port_hand_out(w->port);
	assert_int_equal(first.n, 4);
	assert_int_equal(second.n, 2);
	assert_string_equal(first.base.batch->message.head.request_id, requests[0].base.id);
	dispatch_port_hand_out(w->port); /* nothing is left of it */
	assert_int_equal(submit(w, &another), 0);
	assert_int_equal(w->turns, 2);
	dispatch_port_hand_out(w->port);
	written(w, &first, true);
	written(w, &second, true);
}

static void an_agent_lost_within_the_turn_is_no_hand_out(void **state)
{
	struct world *w = *state;
	static struct request request;
	static struct poll poll;
	struct agent a;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &poll, 4), 0);
	w->long_turn = true;
	assert_int_equal(submit(w, &request), 0);
	dispatch_peer_closed(w->d, w->port, &a.peer);
	dispatch_port_hand_out(w->port);
	assert_unavailable(&request, REASON_NO_AGENT, false);
}

static void the_agent_with_most_room_comes_first_then_the_faster(void **state)
{
	struct world *w = *state;
	static struct request requests[3];
	struct agent a, b;
	static struct poll pa, pb;

	agent_start(w, &a, "a1");
	agent_start(w, &b, "b2");
	assert_int_equal(park(w, &a, &pa, 2), 0);
	assert_int_equal(park(w, &b, &pb, 4), 0);
	assert_int_equal(submit(w, &requests[0]), 0);
	assert_string_equal(requests[0].base.agent, "b2");
	written(w, &pb, true);
	advance(w, 5000);
	assert_null(answer(w, &b, &requests[0], 1));
	assert_int_equal(submit(w, &requests[1]), 0); /* only a1 has a poll */
	assert_string_equal(requests[1].base.agent, "a1");
	written(w, &pa, true);
	advance(w, 50000);
	assert_null(answer(w, &a, &requests[1], 1));
	assert_int_equal(park(w, &a, &pa, 4), 0);
	assert_int_equal(park(w, &b, &pb, 4), 0);
	assert_int_equal(submit(w, &requests[2]), 0);
	assert_string_equal(requests[2].base.agent, "b2");
	written(w, &pb, true);
}

static void five_agents_get_four_copies(void **state)
{
	struct world *w = *state;
	struct agent agents[5];
	static struct poll polls[5];
	static struct request request;

	for (unsigned i = 0; i < 5; i++) {
		char name[3] = {'a', (char)('1' + i), 0};

		agent_start(w, &agents[i], name);
		assert_int_equal(park(w, &agents[i], &polls[i], i + 1), 0);
	}
	assert_int_equal(submit(w, &request), 0);
	assert_int_equal(request.base.nslots, DISPATCH_COPIES);
	assert_string_equal(request.base.slots[0].agent, "a5");
	assert_string_equal(request.base.slots[3].agent, "a2");
	assert_string_equal(request.base.agent, "a5");
	written(w, &polls[4], true);
}

static void unwritten_hand_out_goes_to_another_agent_and_the_old_attempt_is_refused(void **state)
{
	struct world *w = *state;
	static struct request request;
	struct agent a, b;
	static struct poll pa, pb;

	agent_start(w, &a, "a1");
	agent_start(w, &b, "b2");
	assert_int_equal(park(w, &a, &pa, 4), 0);
	assert_int_equal(park(w, &b, &pb, 2), 0);
	assert_int_equal(submit(w, &request), 0);
	assert_true(pa.answered);
	written(w, &pa, false);
	assert_true(pb.answered);
	assert_string_equal(pb.base.batch->message.head.agent, "b2");
	written(w, &pb, true);
	assert_string_equal(answer(w, &a, &request, 1), MESSAGE_REFUSED_NOT_HOLDER);
	assert_string_equal(answer(w, &b, &request, 1), MESSAGE_REFUSED_ATTEMPT);
	assert_null(answer(w, &b, &request, 2));
	assert_int_equal(request.base.handouts, 2);
}

static void unwritten_hand_out_waits_again_for_the_same_agent_at_most_twice(void **state)
{
	struct world *w = *state;
	static struct request request, later;
	struct agent a;
	static struct poll poll;

	agent_start(w, &a, "a1");
	assert_int_equal(submit(w, &request), 0);
	for (unsigned i = 0; i < 1 + DISPATCH_REHANDS; i++) {
		assert_false(request.finished);
		assert_int_equal(park(w, &a, &poll, 1), 0);
		assert_int_equal(poll.n, 1);
		if (i == 0)
			assert_int_equal(submit(w, &later), 0); /* stays behind what comes back */
		assert_string_equal(poll.base.batch->message.head.request_id, request.base.id);
		written(w, &poll, false);
	}
	assert_unavailable(&request, REASON_AGENT_LOST, false);
	assert_int_equal(verdict_http_status(&request.base.verdict), 503);
	assert_false(later.finished);
}

static void a_decline_goes_to_the_next_copy_and_the_last_reason_is_told(void **state)
{
	struct world *w = *state;
	static struct request request;
	struct agent a, b;
	static struct poll pa, pb;

	agent_start(w, &a, "a1");
	agent_start(w, &b, "b2");
	assert_int_equal(park(w, &a, &pa, 4), 0);
	assert_int_equal(submit(w, &request), 0);
	written(w, &pa, true);
	assert_null(decline(w, &a, &request, 1));
	assert_false(request.finished);
	assert_string_equal(decline(w, &a, &request, 1), MESSAGE_REFUSED_NOT_HOLDER);
	assert_int_equal(park(w, &a, &pa, 4), 0); /* its own copy is spent */
	assert_false(pa.answered);
	assert_int_equal(park(w, &b, &pb, 4), 0);
	assert_int_equal(pb.n, 1);
	written(w, &pb, true);
	assert_null(decline(w, &b, &request, 2));
	assert_unavailable(&request, REASON_OVERLOADED, false);
}

static void a_lost_agents_handed_requests_end_at_once_and_its_waiting_copies_die(void **state)
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
	dispatch_peer_closed(w->d, w->port, &a.peer);
	assert_unavailable(&handed, REASON_AGENT_LOST, true);
	assert_int_equal(verdict_http_status(&handed.base.verdict), 504);
	assert_unavailable(&waiting, REASON_NO_AGENT, false);
	assert_string_equal(answer(w, &a, &handed, 1), MESSAGE_REFUSED_UNKNOWN);
}

static void waiting_requests_of_a_lost_agent_go_to_the_others(void **state)
{
	struct world *w = *state;
	static struct request request;
	struct agent a, b;
	static struct poll poll;

	agent_start(w, &a, "a1");
	agent_start(w, &b, "b2");
	assert_int_equal(submit(w, &request), 0);
	dispatch_peer_closed(w->d, w->port, &a.peer);
	assert_false(request.finished);
	assert_int_equal(park(w, &b, &poll, 1), 0);
	assert_int_equal(poll.n, 1);
	written(w, &poll, true);
}

static void an_agent_with_another_open_connection_is_not_lost(void **state)
{
	struct world *w = *state;
	static struct request request;
	struct dispatch_peer second;
	struct agent a;
	static struct poll poll, idle;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &poll, 1), 0);
	assert_int_equal(submit(w, &request), 0);
	written(w, &poll, true);
	second = a.peer;
	second.session = 0;
	idle = (struct poll){.base = {.number = ++a.number, .credit = 1}};
	assert_int_equal(dispatch_park(w->d, w->port, &second, a.instance, &idle.base), 0);
	dispatch_peer_closed(w->d, w->port, &a.peer);
	assert_false(request.finished);
	dispatch_peer_closed(w->d, w->port, &second);
	assert_unavailable(&request, REASON_AGENT_LOST, true);
	assert_true(idle.answered);
}

static void a_new_instance_ends_what_the_old_one_held(void **state)
{
	struct world *w = *state;
	static struct request handed, waiting;
	struct dispatch_peer old;
	struct agent a;
	static struct poll first, second;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &first, 1), 0);
	assert_int_equal(submit(w, &handed), 0);
	written(w, &first, true);
	assert_int_equal(submit(w, &waiting), 0);
	old = a.peer;
	agent_start(w, &a, "a1");
	assert_unavailable(&handed, REASON_AGENT_LOST, true);
	assert_unavailable(&waiting, REASON_NO_AGENT, false);
	/* The old process's connection ends later, which says nothing about the new one. */
	assert_int_equal(park(w, &a, &second, 1), 0);
	dispatch_peer_closed(w->d, w->port, &old);
	assert_false(second.answered);
}

static void silence_past_the_lease_loses_the_agent(void **state)
{
	struct world *w = *state;
	struct dispatch_counts counts;
	static struct request request;
	struct agent a;

	agent_start(w, &a, "a1");
	advance(w, AGENT_ONLINE_MS * 1000ull - 1);
	dispatch_tick(w->d, w->port);
	dispatch_count(w->d, &counts);
	assert_int_equal(counts.agents_online, 1);
	assert_int_equal(submit(w, &request), 0);
	advance(w, 1);
	dispatch_tick(w->d, w->port);
	dispatch_count(w->d, &counts);
	assert_int_equal(counts.agents_online, 0);
	assert_unavailable(&request, REASON_NO_AGENT, false);
}

static void the_deadline_says_whether_the_password_may_have_been_sent(void **state)
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
	assert_int_equal(dispatch_port_due(w->port), handed.base.deadline_us);
	advance(w, SIGNIN_DEADLINE_MS * 1000ull - 1);
	dispatch_port_expire(w->port);
	assert_false(handed.finished);
	advance(w, 1);
	dispatch_port_expire(w->port);
	assert_unavailable(&handed, REASON_TIMEOUT, true);
	assert_unavailable(&waiting, REASON_TIMEOUT, false);
	assert_int_equal(dispatch_port_due(w->port), UINT64_MAX);
	assert_string_equal(answer(w, &a, &handed, 1), MESSAGE_REFUSED_UNKNOWN);
}

static void a_second_answer_is_refused(void **state)
{
	struct world *w = *state;
	struct verdict verdict = verdict_make(VERDICT_INVALID_CREDENTIALS);
	struct dispatch_claim claim;
	const char *refused = NULL;
	static struct request request;
	struct agent a, b;
	static struct poll poll;

	agent_start(w, &a, "a1");
	agent_start(w, &b, "b2");
	assert_int_equal(park(w, &a, &poll, 1), 0);
	assert_int_equal(submit(w, &request), 0);
	written(w, &poll, true);
	assert_string_equal(answer(w, &b, &request, 1), MESSAGE_REFUSED_NOT_HOLDER);
	assert_int_equal(dispatch_claim(w->d, &a.peer, a.instance, request.base.id, 1, &claim, &refused), 0);
	assert_string_equal(claim.username, "anna@corp.example.com");
	assert_string_equal(claim.head.agent, "a1");
	assert_int_equal(claim.answer_key[0], 1);
	assert_string_equal(answer(w, &a, &request, 1), MESSAGE_REFUSED_UNKNOWN); /* while the first is being opened */
	assert_true(dispatch_finish(w->d, w->port, &claim, &verdict));
	assert_int_equal(claim.answer_key[0], 0);
	assert_string_equal(answer(w, &a, &request, 1), MESSAGE_REFUSED_UNKNOWN);
	assert_int_equal(request.base.verdict.code, VERDICT_INVALID_CREDENTIALS);
}

static void an_answer_that_does_not_open_leaves_the_request_to_a_good_one(void **state)
{
	struct world *w = *state;
	struct dispatch_claim claim;
	const char *refused = NULL;
	static struct request request;
	struct agent a;
	static struct poll poll;

	agent_start(w, &a, "a1");
	assert_int_equal(park(w, &a, &poll, 1), 0);
	assert_int_equal(submit(w, &request), 0);
	written(w, &poll, true);
	assert_int_equal(dispatch_claim(w->d, &a.peer, a.instance, request.base.id, 1, &claim, &refused), 0);
	dispatch_unclaim(w->d, &claim);
	assert_false(request.finished);
	assert_null(answer(w, &a, &request, 1));
}

static void too_many_waiting_are_shed(void **state)
{
	struct world *w = *state;
	static struct request requests[LIMIT], extra;
	struct agent a;

	agent_start(w, &a, "a1");
	for (size_t i = 0; i < LIMIT; i++)
		assert_int_equal(submit(w, &requests[i]), 0);
	assert_int_equal(submit(w, &extra), -PTA_EBUSY);
	dispatch_set_queue_limit(w->d, LIMIT + 1);
	assert_int_equal(submit(w, &extra), 0);
	dispatch_close(w->d, w->port);
	for (size_t i = 0; i < LIMIT; i++)
		assert_true(requests[i].finished);
	assert_int_equal(submit(w, &extra), -PTA_ENOENT);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, dispatch_bed_setup, dispatch_bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_an_online_agent_there_is_no_candidate),
		TEST(parked_poll_gets_the_request_at_once_and_its_answer_ends_it),
		TEST(a_poll_takes_all_that_waits_up_to_its_credit),
		TEST(one_poll_takes_what_a_turn_has_submitted),
		TEST(an_agent_lost_within_the_turn_is_no_hand_out),
		TEST(the_agent_with_most_room_comes_first_then_the_faster),
		TEST(five_agents_get_four_copies),
		TEST(unwritten_hand_out_goes_to_another_agent_and_the_old_attempt_is_refused),
		TEST(unwritten_hand_out_waits_again_for_the_same_agent_at_most_twice),
		TEST(a_decline_goes_to_the_next_copy_and_the_last_reason_is_told),
		TEST(a_lost_agents_handed_requests_end_at_once_and_its_waiting_copies_die),
		TEST(waiting_requests_of_a_lost_agent_go_to_the_others),
		TEST(an_agent_with_another_open_connection_is_not_lost),
		TEST(a_new_instance_ends_what_the_old_one_held),
		TEST(silence_past_the_lease_loses_the_agent),
		TEST(the_deadline_says_whether_the_password_may_have_been_sent),
		TEST(a_second_answer_is_refused),
		TEST(an_answer_that_does_not_open_leaves_the_request_to_a_good_one),
		TEST(too_many_waiting_are_shed),
	};

	log_init("test", LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
