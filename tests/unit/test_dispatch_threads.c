/* Two event threads that submit, answer, decline and lose connections at once, and a third that looks on: every request
 * ends exactly once. Meant for the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/dispatch.h"

#define THREADS 2
#define REQUESTS 3000 /* of each thread */
#define IN_FLIGHT 16

struct request {
	struct dispatch_request base;
	unsigned finished;
};

struct poll {
	struct dispatch_poll base;
};

struct worker {
	struct dispatch *d;
	struct dispatch_port *port;
	struct dispatch_peer peer;
	char instance[RANDOM_ID_LEN + 1];
	uint64_t number;
	struct request *requests;
	unsigned submitted, answers;
	pthread_t thread;
};

static atomic_uint open_requests = THREADS * REQUESTS;
static atomic_uint twice;

static void finished(struct dispatch_request *base, void *arg)
{
	struct request *request = (struct request *)base;

	(void)arg;
	if (request->finished++)
		atomic_fetch_add(&twice, 1);
	atomic_fetch_sub(&open_requests, 1);
}

static void park(struct worker *w)
{
	struct poll *poll = calloc(1, sizeof(*poll));

	poll->base.number = ++w->number;
	poll->base.credit = 4;
	poll->base.receipt = w->number % 3 == 0;
	if (dispatch_park(w->d, w->port, &w->peer, w->instance, &poll->base) < 0)
		free(poll);
}

static void answer(struct dispatch_poll *base, void *arg)
{
	struct poll *poll = (struct poll *)base;
	struct worker *w = arg;
	struct dispatch_copy *batch = base->batch;
	struct verdict verdict = verdict_make(VERDICT_SUCCESS);

	free(poll);
	if (batch && ++w->answers % 7 == 0) {
		dispatch_handed(w->d, w->port, batch, false);
		return;
	}
	for (struct dispatch_copy *copy = batch; copy; copy = copy->next) {
		const struct envelope_head *head = &copy->message.head;
		struct dispatch_claim claim;
		const char *refused;

		if (w->answers % 5 == 0) {
			if (dispatch_decline(w->d, w->port, &w->peer, w->instance, head->request_id, head->attempt, REASON_OVERLOADED, &refused) < 0)
				continue;
		} else if (dispatch_claim(w->d, &w->peer, w->instance, head->request_id, head->attempt, &claim, &refused) == 0) {
			dispatch_finish(w->d, w->port, &claim, &verdict);
		}
	}
	dispatch_handed(w->d, w->port, batch, true);
}

/* The turn's end comes in any case. */
static void submitted(void *arg)
{
	(void)arg;
}

static const struct dispatch_port_ops ops = {.submitted = submitted, .finished = finished, .answer = answer};

static void publish(struct worker *w)
{
	struct message_key key = {.not_after_ms = clock_wall_ms() + 86400000};
	struct err err;

	random_id(w->instance);
	memcpy(key.instance, w->instance, sizeof(key.instance));
	random_id(key.key_id);
	if (dispatch_publish(w->d, w->port, &w->peer, &key, &err) < 0)
		abort();
}

static void submit(struct worker *w)
{
	struct request *request = &w->requests[w->submitted++];
	struct dispatch_candidate candidates[DISPATCH_COPIES];
	size_t n;

	if (dispatch_candidates(w->d, "main", "office", candidates, &n) < 0) {
		finished(&request->base, w);
		return;
	}
	random_id(request->base.id);
	snprintf(request->base.tenant, sizeof(request->base.tenant), "main");
	snprintf(request->base.group, sizeof(request->base.group), "office");
	request->base.username = "anna@corp.example.com";
	request->base.deadline_us = clock_mono_us() + 60000000;
	request->base.nslots = (unsigned)n;
	for (unsigned i = 0; i < n; i++) {
		struct dispatch_slot *slot = &request->base.slots[i];
		struct envelope_head head = {.attempt = i + 1};

		slot->session = candidates[i].session;
		memcpy(slot->agent, candidates[i].agent, sizeof(slot->agent));
		memcpy(head.request_id, request->base.id, sizeof(head.request_id));
		if (dispatch_copy_new(&head, (const uint8_t[ENVELOPE_ENC_LEN]){0}, i, (const uint8_t *)"sealed", 6, &slot->copy) < 0)
			abort();
	}
	dispatch_submit(w->port, &request->base);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	publish(w);
	while (atomic_load(&open_requests)) {
		struct pollfd fd = {.fd = dispatch_port_fd(w->port), .events = POLLIN};

		for (unsigned i = 0; i < IN_FLIGHT && w->submitted < REQUESTS; i++)
			submit(w);
		dispatch_port_hand_out(w->port);
		park(w);
		if (w->number % 50 == 0) { /* the connection is cut, and later the process starts again */
			dispatch_peer_closed(w->d, w->port, &w->peer);
			if (w->number % 100 == 0)
				publish(w);
		}
		if (poll(&fd, 1, 1) > 0)
			dispatch_port_run(w->port);
		dispatch_port_expire(w->port);
	}
	return NULL;
}

static void *watch(void *arg)
{
	struct dispatch *d = arg;

	while (atomic_load(&open_requests)) {
		struct dispatch_agent_report reports[4];
		struct dispatch_counts counts;

		dispatch_report(d, reports, PTA_ARRAY_SIZE(reports));
		dispatch_count(d, &counts);
		dispatch_key_lives(d, "a1", "none");
	}
	return NULL;
}

static void every_request_ends_once_whatever_two_threads_do(void **state)
{
	struct worker workers[THREADS] = {0};
	struct dispatch_counts counts;
	struct dispatch *d;
	pthread_t watcher;

	(void)state;
	assert_int_equal(dispatch_new(1000000, &d), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].d = d;
		snprintf(workers[i].peer.agent, sizeof(workers[i].peer.agent), "a%u", i);
		snprintf(workers[i].peer.tenant, sizeof(workers[i].peer.tenant), "main");
		snprintf(workers[i].peer.group, sizeof(workers[i].peer.group), "office");
		workers[i].requests = calloc(REQUESTS, sizeof(struct request));
		assert_int_equal(dispatch_port_new(d, &ops, &workers[i], &workers[i].port), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	assert_int_equal(pthread_create(&watcher, NULL, watch, d), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_join(watcher, NULL);

	dispatch_count(d, &counts);
	assert_int_equal(counts.waiting, 0);
	assert_int_equal(counts.handed, 0);
	dispatch_close(d, workers[0].port);
	for (unsigned i = 0; i < THREADS; i++)
		dispatch_port_run(workers[i].port);
	assert_int_equal(atomic_load(&twice), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		for (unsigned j = 0; j < REQUESTS; j++)
			assert_int_equal(workers[i].requests[j].finished, 1);
		free(workers[i].requests);
		dispatch_port_free(workers[i].port);
	}
	dispatch_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_ends_once_whatever_two_threads_do),
	};

	log_init("test", LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
