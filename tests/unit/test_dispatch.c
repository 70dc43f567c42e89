/* The life of a request under every rule of the queue, with agents that are only calls and a clock that stands still.
 * Requests and polls are static: some are ended only by the teardown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/dispatch.h"

#define START_US 1000000000ll
#define START_MS 1800000000000ll
#define LIMIT 8

struct request {
	struct dispatch_request base;
	bool finished;
};

struct poll {
	struct dispatch_poll base;
	bool answered;
	unsigned n; /* requests in its batch */
};

struct agent {
	struct dispatch_peer peer;
	char instance[RANDOM_ID_LEN + 1];
	uint64_t number;
};

struct world {
	struct dispatch *d;
	struct dispatch_port *port;
	int64_t now_us;
	bool long_turn; /* the test hands out */
	unsigned turns;
};

/* A turn of one request, unless a test makes a longer one. */
static void submitted(void *arg)
{
	struct world *w = arg;

	w->turns++;
	if (!w->long_turn)
		dispatch_port_hand_out(w->port);
}

static void finished(struct dispatch_request *base, void *arg)
{
	struct request *request = (struct request *)base;

	(void)arg;
	assert_false(request->finished);
	request->finished = true;
}

static void answered(struct dispatch_poll *base, void *arg)
{
	struct poll *poll = (struct poll *)base;

	(void)arg;
	assert_false(poll->answered);
	poll->answered = true;
	for (struct dispatch_copy *copy = base->batch; copy; copy = copy->next)
		poll->n++;
}

static const struct dispatch_port_ops ops = {.submitted = submitted, .finished = finished, .answer = answered};

static void advance(struct world *w, uint64_t us)
{
	w->now_us += (int64_t)us;
	clock_fake(w->now_us, START_MS + (w->now_us - START_US) / 1000);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->now_us = START_US;
	advance(w, 0);
	assert_int_equal(dispatch_new(LIMIT, &w->d), 0);
	assert_int_equal(dispatch_port_new(w->d, &ops, w, &w->port), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	dispatch_close(w->d, w->port);
	dispatch_port_free(w->port);
	dispatch_free(w->d);
	clock_fake(-1, -1);
	free(w);
	return 0;
}

static void publish(struct world *w, struct agent *agent)
{
	struct message_key key = {.not_after_ms = START_MS + 86400000};
	struct err err;

	memcpy(key.instance, agent->instance, sizeof(key.instance));
	random_id(key.key_id);
	memset(key.public_key, agent->peer.agent[1], sizeof(key.public_key));
	assert_int_equal(dispatch_publish(w->d, w->port, &agent->peer, &key, &err), 0);
}

static void agent_start(struct world *w, struct agent *agent, const char *name)
{
	*agent = (struct agent){0};
	snprintf(agent->peer.agent, sizeof(agent->peer.agent), "%s", name);
	snprintf(agent->peer.tenant, sizeof(agent->peer.tenant), "main");
	snprintf(agent->peer.group, sizeof(agent->peer.group), "office");
	random_id(agent->instance);
	publish(w, agent);
}

static int park(struct world *w, struct agent *agent, struct poll *poll, uint32_t credit)
{
	*poll = (struct poll){.base = {.number = ++agent->number, .credit = credit}};
	return dispatch_park(w->d, w->port, &agent->peer, agent->instance, &poll->base);
}

/* A poll that brought results. */
static int park_receipt(struct world *w, struct agent *agent, struct poll *poll, uint32_t credit)
{
	*poll = (struct poll){.base = {.number = ++agent->number, .credit = credit, .receipt = true}};
	return dispatch_park(w->d, w->port, &agent->peer, agent->instance, &poll->base);
}

/* As signin does: for the candidates of this moment. Returns what dispatch_candidates() said. */
static int submit(struct world *w, struct request *request)
{
	struct dispatch_candidate candidates[DISPATCH_COPIES];
	size_t n;
	int r = dispatch_candidates(w->d, "main", "office", candidates, &n);

	*request = (struct request){0};
	if (r < 0)
		return r;
	random_id(request->base.id);
	snprintf(request->base.tenant, sizeof(request->base.tenant), "main");
	snprintf(request->base.group, sizeof(request->base.group), "office");
	request->base.username = "anna@corp.example.com";
	request->base.deadline_us = (uint64_t)w->now_us + SIGNIN_DEADLINE_MS * 1000ull;
	request->base.nslots = (unsigned)n;
	for (unsigned i = 0; i < n; i++) {
		struct dispatch_slot *slot = &request->base.slots[i];
		struct envelope_head head = {.attempt = i + 1};

		slot->session = candidates[i].session;
		memcpy(slot->agent, candidates[i].agent, sizeof(slot->agent));
		memcpy(slot->key_id, candidates[i].key_id, sizeof(slot->key_id));
		memset(slot->answer_key, (int)i + 1, sizeof(slot->answer_key));
		memcpy(head.agent, slot->agent, sizeof(head.agent));
		memcpy(head.request_id, request->base.id, sizeof(head.request_id));
		assert_int_equal(dispatch_copy_new(&head, (const uint8_t[ENVELOPE_ENC_LEN]){0}, i, (const uint8_t *)"sealed", 6, &slot->copy), 0);
	}
	dispatch_submit(w->port, &request->base);
	return 0;
}

static void written(struct world *w, struct poll *poll, bool was)
{
	struct dispatch_copy *batch = poll->base.batch;

	poll->base.batch = NULL;
	dispatch_handed(w->d, w->port, batch, was);
}

/* The refusal, or NULL when the verdict was taken. */
static const char *answer(struct world *w, struct agent *agent, struct request *request, uint32_t attempt)
{
	struct verdict verdict = verdict_make(VERDICT_SUCCESS);
	struct dispatch_claim claim;
	const char *refused = NULL;

	if (dispatch_claim(w->d, &agent->peer, agent->instance, request->base.id, attempt, &claim, &refused) < 0)
		return refused;
	assert_true(dispatch_finish(w->d, w->port, &claim, &verdict));
	return NULL;
}

static const char *decline(struct world *w, struct agent *agent, struct request *request, uint32_t attempt)
{
	const char *refused = NULL;

	if (dispatch_decline(w->d, w->port, &agent->peer, agent->instance, request->base.id, attempt, REASON_OVERLOADED, &refused) < 0)
		return refused;
	return NULL;
}

static void assert_unavailable(const struct request *request, enum verdict_reason reason, bool sent)
{
	assert_true(request->finished);
	assert_int_equal(request->base.verdict.code, VERDICT_UNAVAILABLE);
	assert_string_equal(verdict_reason_name(request->base.verdict.reason), verdict_reason_name(reason));
	assert_int_equal(request->base.verdict.password_sent, sent);
}

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

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

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
		TEST(a_poll_is_held_for_its_time_and_then_empty),
		TEST(a_poll_that_brought_results_is_held_for_a_short_time_only),
		TEST(a_second_answer_is_refused),
		TEST(an_answer_that_does_not_open_leaves_the_request_to_a_good_one),
		TEST(too_many_waiting_are_shed),
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
