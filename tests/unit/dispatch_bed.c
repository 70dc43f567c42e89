#include "dispatch_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

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

void advance(struct world *w, uint64_t us)
{
	w->now_us += (int64_t)us;
	clock_fake(w->now_us, START_MS + (w->now_us - START_US) / 1000);
}

int dispatch_bed_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->now_us = START_US;
	advance(w, 0);
	assert_int_equal(dispatch_new(LIMIT, &w->d), 0);
	assert_int_equal(dispatch_port_new(w->d, &ops, w, &w->port), 0);
	*state = w;
	return 0;
}

int dispatch_bed_teardown(void **state)
{
	struct world *w = *state;

	dispatch_close(w->d, w->port);
	dispatch_port_free(w->port);
	dispatch_free(w->d);
	clock_fake(-1, -1);
	free(w);
	return 0;
}

void publish(struct world *w, struct agent *agent)
{
	struct message_key key = {.not_after_ms = START_MS + 86400000};
	struct err err;

	memcpy(key.instance, agent->instance, sizeof(key.instance));
	random_id(key.key_id);
	memset(key.public_key, agent->peer.agent[1], sizeof(key.public_key));
	assert_int_equal(dispatch_publish(w->d, w->port, &agent->peer, &key, &err), 0);
}

void agent_start(struct world *w, struct agent *agent, const char *name)
{
	*agent = (struct agent){0};
	snprintf(agent->peer.agent, sizeof(agent->peer.agent), "%s", name);
	snprintf(agent->peer.tenant, sizeof(agent->peer.tenant), "main");
	snprintf(agent->peer.group, sizeof(agent->peer.group), "office");
	random_id(agent->instance);
	publish(w, agent);
}

int park(struct world *w, struct agent *agent, struct poll *poll, uint32_t credit)
{
	*poll = (struct poll){.base = {.number = ++agent->number, .credit = credit}};
	return dispatch_park(w->d, w->port, &agent->peer, agent->instance, &poll->base);
}

/* A poll that brought results. */
int park_receipt(struct world *w, struct agent *agent, struct poll *poll, uint32_t credit)
{
	*poll = (struct poll){.base = {.number = ++agent->number, .credit = credit, .receipt = true}};
	return dispatch_park(w->d, w->port, &agent->peer, agent->instance, &poll->base);
}

int submit(struct world *w, struct request *request)
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

void written(struct world *w, struct poll *poll, bool was)
{
	struct dispatch_copy *batch = poll->base.batch;

	poll->base.batch = NULL;
	dispatch_handed(w->d, w->port, batch, was);
}

const char *answer(struct world *w, struct agent *agent, struct request *request, uint32_t attempt)
{
	struct verdict verdict = verdict_make(VERDICT_SUCCESS);
	struct dispatch_claim claim;
	const char *refused = NULL;

	if (dispatch_claim(w->d, &agent->peer, agent->instance, request->base.id, attempt, &claim, &refused) < 0)
		return refused;
	assert_true(dispatch_finish(w->d, w->port, &claim, &verdict));
	return NULL;
}

const char *decline(struct world *w, struct agent *agent, struct request *request, uint32_t attempt)
{
	const char *refused = NULL;

	if (dispatch_decline(w->d, w->port, &agent->peer, agent->instance, request->base.id, attempt, REASON_OVERLOADED, &refused) < 0)
		return refused;
	return NULL;
}

void assert_unavailable(const struct request *request, enum verdict_reason reason, bool sent)
{
	assert_true(request->finished);
	assert_int_equal(request->base.verdict.code, VERDICT_UNAVAILABLE);
	assert_string_equal(verdict_reason_name(request->base.verdict.reason), verdict_reason_name(reason));
	assert_int_equal(request->base.verdict.password_sent, sent);
}
