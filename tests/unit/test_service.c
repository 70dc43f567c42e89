/* The whole service over HTTPS: both listeners, real certificates, registry and envelopes; only the agent is the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <curl/curl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "service/dispatch.h"
#include "service_bed.h"
#include "wire/pki.h"

static struct service_bed bed;
static struct bed_agent agent; /* registered once, with a key published */

#define NAME "anna@" BED_DOMAIN
#define SIGN_IN "{\"username\":\"" NAME "\",\"password\":\"Grüße 7\",\"correlation_id\":\"c-1\"}"

/* A sign-in in a thread of its own, while the test plays the agent. */
struct signin {
	pthread_t thread;
	struct bed_answer answer;
};

static void *sign_in(void *arg)
{
	struct signin *s = arg;

	bed_client_call(&bed, "/v1/signin", bed.app_key, SIGN_IN, &s->answer);
	return NULL;
}

static void start_sign_in(struct signin *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, sign_in, s), 0);
}

static const char *end_sign_in(struct signin *s, int status)
{
	pthread_join(s->thread, NULL);
	if (s->answer.status != status)
		fail_msg("%d instead of %d: %s", s->answer.status, status, (const char *)s->answer.body.data);
	return (const char *)s->answer.body.data;
}

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

/* Waits until the service's status has this. */
static void wait_status(const char *part)
{
	uint64_t until = clock_mono_ms() + 30000;
	struct buf out = BUF_INIT(1u << 20);

	do {
		if (clock_mono_ms() > until)
			fail_msg("waited in vain for %s in %s", part, (const char *)out.data);
		sched_yield();
		buf_reset(&out);
		assert_int_equal(service_bed_control(&bed, "GET", "/v1/status", NULL, &out), 200);
	} while (!strstr((const char *)out.data, part));
	buf_done(&out);
}

/* A poll of the agent on a connection and a thread of its own. */
struct poll {
	pthread_t thread;
	struct bed_agent agent;
	int status;
	struct message_batch batch;
};

static void *poll_until_answered(void *arg)
{
	struct poll *poll = arg;

	poll->status = bed_agent_poll(&poll->agent, 8, &poll->batch);
	return NULL;
}

static void start_poll(struct poll *poll)
{
	*poll = (struct poll){.agent = agent};
	poll->agent.curl = NULL;
	poll->agent.nbatches = 0;
	agent.polls++; /* the numbers of all connections count together */
	assert_int_equal(pthread_create(&poll->thread, NULL, poll_until_answered, poll), 0);
}

static int end_poll(struct poll *poll)
{
	pthread_join(poll->thread, NULL);
	curl_easy_cleanup(poll->agent.curl);
	for (unsigned i = 0; i < poll->agent.nbatches; i++) /* lives as long as the agent */
		agent.batches[agent.nbatches++] = poll->agent.batches[i];
	return poll->status;
}

static void it_says_that_it_is_live_and_ready(void **state)
{
	struct bed_answer answer;

	(void)state;
	bed_client_call(&bed, "/live", NULL, NULL, &answer);
	assert_int_equal(answer.status, 200);
	bed_answer_done(&answer);
	bed_client_call(&bed, "/ready", NULL, NULL, &answer);
	assert_int_equal(answer.status, 200);
	assert_contains(answer.head, MESSAGE_TIME_HEADER);
	bed_answer_done(&answer);
}

static void bad_sign_ins_get_their_clear_error(void **state)
{
	static const struct {
		const char *key, *body;
		int status;
		const char *part;
	} rows[] = {
		{NULL, SIGN_IN, 401, "\"unauthorized\""},
		{"no-such-key", SIGN_IN, 401, "\"unauthorized\""},
		{bed.app_key, "{", 400, "\"invalid_request\""},
		{bed.app_key, "{\"username\":\"" NAME "\",\"password\":\"\"}", 400, "\"field\":\"password\""},
		{bed.app_key, "{\"username\":\"anna\",\"password\":\"x\"}", 400, "\"field\":\"username\""},
		{bed.app_key, "{\"username\":\"cn=anna,dc=corp\",\"password\":\"x\"}", 400, "\"field\":\"username\""},
		{bed.app_key, "{\"username\":\"anna@other.example\",\"password\":\"x\"}", 503, "\"not_configured\""},
		{bed.app_key, "{\"username\":\"OTHER\\\\anna\",\"password\":\"x\"}", 503, "\"not_configured\""},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct bed_answer answer;

		bed_client_call(&bed, "/v1/signin", rows[i].key, rows[i].body, &answer);
		if (answer.status != rows[i].status)
			fail_msg("%d for %s", answer.status, rows[i].body);
		assert_contains((const char *)answer.body.data, rows[i].part);
		if (answer.status == 503)
			assert_contains(answer.head, "Retry-After:");
		bed_answer_done(&answer);
	}
}

static void without_an_agent_the_answer_comes_at_once(void **state)
{
	struct bed_answer answer;

	(void)state;
	bed_client_call(&bed, "/v1/signin", bed.app_key, SIGN_IN, &answer);
	assert_int_equal(answer.status, 503);
	assert_contains((const char *)answer.body.data, "\"reason\":\"no_agent\",\"retry_safe\":true");
	assert_contains((const char *)answer.body.data, "\"correlation_id\":\"c-1\"");
	bed_answer_done(&answer);
}

static void agents_need_a_certificate(void **state)
{
	static const struct {
		const char *path, *type;
	} routes[] = {{"/v1/agent/poll", MESSAGE_POLL_TYPE}, {"/v1/agent/keys", "application/json"}, {"/v1/agent/renew", "application/json"}};
	struct bed_agent nobody = {.bed = &bed};
	struct buf body = BUF_INIT(16);

	(void)state;
	buf_puts(&body, "{}");
	for (size_t i = 0; i < PTA_ARRAY_SIZE(routes); i++) {
		struct bed_answer answer;

		bed_agent_call(&nobody, routes[i].path, routes[i].type, &body, &answer);
		assert_int_equal(answer.status, 403);
		assert_contains((const char *)answer.body.data, "\"" MESSAGE_ERROR_CERTIFICATE "\"");
		bed_answer_done(&answer);
	}
	buf_done(&body);
	bed_agent_done(&nobody);
}

static void a_token_is_good_for_one_key(void **state)
{
	struct bed_agent again = {0}, thief = {0};
	struct token token;

	(void)state;
	service_bed_token(&bed, 0, &token);
	assert_int_equal(bed_agent_register(&agent, &bed, &token), 200);
	/* The answer was lost: the same token with the same key gives the same certificate. */
	again.key = agent.key;
	EVP_PKEY_up_ref(again.key);
	assert_int_equal(bed_agent_register(&again, &bed, &token), 200);
	assert_string_equal(again.identity.certificate, agent.identity.certificate);
	assert_int_equal(bed_agent_register(&thief, &bed, &token), 403);
	token.secret[0] ^= 1;
	assert_int_equal(bed_agent_register(&thief, &bed, &token), 403);
	bed_agent_done(&again);
	bed_agent_done(&thief);
}

static void a_new_token_keeps_the_agents_identity(void **state)
{
	struct token token;
	char before[LIMIT_ID + 1];

	(void)state;
	snprintf(before, sizeof(before), "%s", agent.identity.agent);
	service_bed_token(&bed, 1, &token);
	assert_int_equal(bed_agent_register(&agent, &bed, &token), 200);
	assert_string_equal(agent.identity.agent, before);
}

static void a_poll_without_a_published_key_is_told_to_publish(void **state)
{
	struct message_batch batch;

	(void)state;
	assert_int_equal(bed_agent_poll(&agent, 8, &batch), 409);
	assert_int_equal(bed_agent_publish(&agent), 200);
}

/* The one result that the agent's last poll brought was refused, for this. */
static void assert_refused(int status, struct message_batch *batch, const char *why)
{
	assert_int_equal(status, 200);
	assert_int_equal(batch->n, 0);
	assert_int_equal(batch->nrefused, 1);
	assert_string_equal(batch->refused[0].error, why);
	message_batch_done(batch);
}

/* Takes the request of a sign-in, which is started before, and opens it. */
static void take_request(struct message_batch *batch, uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN])
{
	struct envelope_request opened;

	assert_int_equal(bed_agent_poll(&agent, 8, batch), 200);
	assert_int_equal(batch->n, 1);
	assert_int_equal(bed_agent_open(&agent, &batch->requests[0], &opened, answer_key), 0);
	envelope_request_done(&opened);
}

static void a_sign_in_goes_to_the_agent_and_its_verdict_back(void **state)
{
	struct signin signin;
	struct message_batch batch;
	struct envelope_request opened;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], again[ENVELOPE_ANSWER_KEY_LEN];
	struct message_batch told;
	int status;

	(void)state;
	start_sign_in(&signin);
	assert_int_equal(bed_agent_poll(&agent, 8, &batch), 200);
	assert_int_equal(batch.n, 1);
	assert_int_equal(bed_agent_open(&agent, &batch.requests[0], &opened, answer_key), 0);
	assert_string_equal(opened.username, NAME);
	assert_string_equal(opened.domain, BED_DOMAIN);
	assert_int_equal(secret_len(opened.password), strlen("Grüße 7"));
	assert_memory_equal(secret_bytes(opened.password), "Grüße 7", strlen("Grüße 7"));
	envelope_request_done(&opened);
	assert_int_equal(bed_agent_open(&agent, &batch.requests[0], &opened, again), -PTA_EREPLAY);

	status = bed_agent_answer(&agent, 0, &batch.requests[0], "otto@" BED_DOMAIN, answer_key, VERDICT_SUCCESS, &told); /* another user's */
	assert_refused(status, &told, MESSAGE_REFUSED_ANSWER);
	assert_int_equal(bed_agent_answer(&agent, 0, &batch.requests[0], NAME, answer_key, VERDICT_SUCCESS, &told), 204);
	status = bed_agent_answer(&agent, 0, &batch.requests[0], NAME, answer_key, VERDICT_INVALID_CREDENTIALS, &told); /* a second answer */
	assert_refused(status, &told, MESSAGE_REFUSED_UNKNOWN);

	assert_contains(end_sign_in(&signin, 200), "\"verdict\":\"success\"");
	bed_answer_done(&signin.answer);
	message_batch_done(&batch);
}

static void what_was_not_proved_is_told_as_a_wrong_password(void **state)
{
	struct signin signin;
	struct message_batch batch, none;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	const char *told;

	(void)state;
	start_sign_in(&signin);
	take_request(&batch, answer_key);
	assert_int_equal(bed_agent_answer(&agent, 0, &batch.requests[0], NAME, answer_key, VERDICT_ACCOUNT_LOCKED, &none), 204);
	told = end_sign_in(&signin, 200);
	assert_contains(told, "\"verdict\":\"invalid_credentials\"");
	assert_contains(told, "\"details\":{\"verdict\":\"account_locked\"");
	bed_answer_done(&signin.answer);
	message_batch_done(&batch);
}

/* The agent declines the one request of a batch. */
static void give_back(struct message_batch *batch)
{
	struct message_result result = {.attempt = batch->requests[0].head.attempt, .declined = true, .decline_reason = REASON_OVERLOADED};
	struct message_batch none;

	memcpy(result.request_id, batch->requests[0].head.request_id, sizeof(result.request_id));
	assert_int_equal(bed_agent_bring(&agent, 0, &result, &none), 204);
	message_batch_done(batch);
}

static void a_declined_request_without_another_agent_is_unavailable(void **state)
{
	struct signin signin;
	struct message_batch batch;

	(void)state;
	start_sign_in(&signin);
	assert_int_equal(bed_agent_poll(&agent, 8, &batch), 200);
	give_back(&batch);
	assert_contains(end_sign_in(&signin, 503), "\"reason\":\"overloaded\",\"retry_safe\":true");
	bed_answer_done(&signin.answer);
}

/* A result of nothing. */
static void make_stray(struct message_result *out)
{
	*out = (struct message_result){.attempt = 1, .declined = true, .decline_reason = REASON_OVERLOADED};
	random_id(out->request_id);
}

static void one_poll_brings_an_answer_and_gets_the_next_request(void **state)
{
	struct signin first, second;
	struct message_batch batch, next, none;
	struct envelope_request opened;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];

	(void)state;
	start_sign_in(&first);
	take_request(&batch, answer_key);
	start_sign_in(&second);
	wait_status("\"waiting\":1");
	assert_int_equal(bed_agent_answer(&agent, 8, &batch.requests[0], NAME, answer_key, VERDICT_SUCCESS, &next), 200);
	assert_int_equal(next.n, 1);
	assert_int_equal(next.nrefused, 0);
	assert_contains(end_sign_in(&first, 200), "\"verdict\":\"success\"");
	assert_int_equal(bed_agent_open(&agent, &next.requests[0], &opened, answer_key), 0);
	envelope_request_done(&opened);
	assert_int_equal(bed_agent_answer(&agent, 0, &next.requests[0], NAME, answer_key, VERDICT_INVALID_CREDENTIALS, &none), 204);
	assert_contains(end_sign_in(&second, 200), "\"verdict\":\"invalid_credentials\"");
	bed_answer_done(&first.answer);
	bed_answer_done(&second.answer);
	message_batch_done(&batch);
	message_batch_done(&next);
}

static void what_was_refused_is_told_beside_the_next_request(void **state)
{
	struct signin signin;
	struct message_batch batch, none;
	struct message_result stray;
	struct envelope_request opened;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];

	(void)state;
	make_stray(&stray);
	start_sign_in(&signin);
	wait_status("\"waiting\":1");
	assert_int_equal(bed_agent_bring(&agent, 8, &stray, &batch), 200);
	assert_int_equal(batch.n, 1);
	assert_int_equal(batch.nrefused, 1);
	assert_string_equal(batch.refused[0].request_id, stray.request_id);
	assert_string_equal(batch.refused[0].error, MESSAGE_REFUSED_UNKNOWN);
	assert_int_equal(bed_agent_open(&agent, &batch.requests[0], &opened, answer_key), 0);
	envelope_request_done(&opened);
	assert_int_equal(bed_agent_answer(&agent, 0, &batch.requests[0], NAME, answer_key, VERDICT_SUCCESS, &none), 204);
	end_sign_in(&signin, 200);
	bed_answer_done(&signin.answer);
	message_batch_done(&batch);
}

/* The real clock: it is there within the time that it is held for, not after that of a poll that brought nothing. */
static void the_receipt_of_results_does_not_wait_for_a_request(void **state)
{
	struct signin signin;
	struct message_batch batch, none;
	struct message_result stray;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	uint64_t began;
	int status;

	(void)state;
	start_sign_in(&signin);
	take_request(&batch, answer_key);
	began = clock_mono_ms();
	assert_int_equal(bed_agent_answer(&agent, 8, &batch.requests[0], NAME, answer_key, VERDICT_SUCCESS, &none), 204);
	assert_in_range(clock_mono_ms() - began, POLL_HOLD_RESULTS_MS, POLL_HOLD_MS / 2);
	end_sign_in(&signin, 200);
	bed_answer_done(&signin.answer);
	message_batch_done(&batch);

	make_stray(&stray);
	began = clock_mono_ms();
	status = bed_agent_bring(&agent, 8, &stray, &batch);
	assert_in_range(clock_mono_ms() - began, POLL_HOLD_RESULTS_MS, POLL_HOLD_MS / 2);
	assert_refused(status, &batch, MESSAGE_REFUSED_UNKNOWN);
}

static void results_are_taken_though_their_poll_is_refused(void **state)
{
	struct signin signin;
	struct message_batch batch, none;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	uint64_t end_ms;

	(void)state;
	agent.key_life_ms = 2000;
	assert_int_equal(bed_agent_publish(&agent), 200);
	end_ms = clock_wall_ms() + agent.key_life_ms;
	start_sign_in(&signin);
	take_request(&batch, answer_key);
	while (clock_wall_ms() <= end_ms)
		sched_yield();
	assert_int_equal(bed_agent_answer(&agent, 8, &batch.requests[0], NAME, answer_key, VERDICT_SUCCESS, &none), 409);
	assert_contains(end_sign_in(&signin, 200), "\"verdict\":\"success\"");
	bed_answer_done(&signin.answer);
	message_batch_done(&batch);
	agent.key_life_ms = 0;
	assert_int_equal(bed_agent_publish(&agent), 200);
}

static void a_further_poll_ends_the_oldest(void **state)
{
	struct poll polls[DISPATCH_POLLS + 1];
	struct message_result stray;
	struct signin signin;
	struct message_batch batch;
	char parked[32];
	int status;

	(void)state;
	make_stray(&stray);
	for (unsigned i = 0; i < DISPATCH_POLLS; i++) {
		start_poll(&polls[i]);
		snprintf(parked, sizeof(parked), "\"polls\":%u", i + 1);
		wait_status(parked);
	}
	/* One without credit takes no place. */
	status = bed_agent_bring(&agent, 0, &stray, &batch);
	assert_refused(status, &batch, MESSAGE_REFUSED_UNKNOWN);
	wait_status(parked);
	start_poll(&polls[DISPATCH_POLLS]);
	assert_int_equal(end_poll(&polls[0]), 204);
	/* One that waits for its receipt does, and leaves it when that has come. */
	status = bed_agent_bring(&agent, 8, &stray, &batch);
	assert_refused(status, &batch, MESSAGE_REFUSED_UNKNOWN);
	assert_int_equal(end_poll(&polls[1]), 204);
	wait_status("\"polls\":1");
	/* The youngest gets the next request, and its agent gives it back. */
	start_sign_in(&signin);
	assert_int_equal(end_poll(&polls[DISPATCH_POLLS]), 200);
	give_back(&polls[DISPATCH_POLLS].batch);
	assert_contains(end_sign_in(&signin, 503), "\"reason\":\"overloaded\"");
	bed_answer_done(&signin.answer);
}

static void an_agent_that_hangs_up_is_lost_at_once(void **state)
{
	struct signin signin;
	struct message_batch batch;

	(void)state;
	start_sign_in(&signin);
	assert_int_equal(bed_agent_poll(&agent, 8, &batch), 200);
	message_batch_done(&batch);
	curl_easy_cleanup(agent.curl);
	agent.curl = NULL;
	assert_contains(end_sign_in(&signin, 504), "\"reason\":\"agent_lost\",\"retry_safe\":false");
	bed_answer_done(&signin.answer);
}

static void renewing_gives_another_certificate_that_works(void **state)
{
	struct message_renew m;
	struct buf csr = BUF_INIT(LIMIT_CSR), body = BUF_INIT(65536);
	struct message_certificate renewed;
	struct bed_answer answer;
	struct err err;

	(void)state;
	assert_int_equal(pki_csr_new(agent.key, "host", &csr, &err), 0);
	snprintf(m.csr, sizeof(m.csr), "%s", (const char *)csr.data);
	message_encode_renew(&body, &m);
	bed_agent_call(&agent, "/v1/agent/renew", "application/json", &body, &answer);
	assert_int_equal(answer.status, 200);
	assert_int_equal(message_decode_certificate(answer.body.data, strlen((const char *)answer.body.data), &renewed, NULL, &err), 0);
	assert_string_equal(renewed.agent, agent.identity.agent);
	assert_string_not_equal(renewed.certificate, agent.identity.certificate);
	agent.identity = renewed;
	curl_easy_cleanup(agent.curl);
	agent.curl = NULL;
	assert_int_equal(bed_agent_publish(&agent), 200);
	bed_answer_done(&answer);
	buf_done(&csr);
	buf_done(&body);
}

static void a_reload_is_whole_or_refused(void **state)
{
	char text[512];

	(void)state;
	service_bed_configure(&bed, "deadline = 5s");
	service_bed_signal(&bed, SIGHUP);
	service_bed_wait_event(&bed, "service.reloaded", NULL, 0);
	service_bed_configure(&bed, "deadline = 5s\nmetrics_listen = 127.0.0.1:1");
	service_bed_signal(&bed, SIGHUP);
	service_bed_wait_event(&bed, "service.reload_refused", text, sizeof(text));
	assert_contains(text, "metrics_listen");
	service_bed_configure(&bed, "nonsense = 1");
	service_bed_signal(&bed, SIGHUP);
	service_bed_wait_event(&bed, "service.reload_refused", text, sizeof(text));
	assert_contains(text, "nonsense");
	it_says_that_it_is_live_and_ready(state);
}

static void metrics_count_what_was_answered(void **state)
{
	struct buf out = BUF_INIT(4u << 20);

	(void)state;
	assert_int_equal(service_bed_control(&bed, "GET", "/metrics", NULL, &out), 200);
	assert_contains((const char *)out.data, "pta_service_signins_total{verdict=\"success\"} 5\n");
	assert_contains((const char *)out.data, "pta_service_results_refused_total{reason=\"bad_answer\"} 1\n");
	assert_contains((const char *)out.data, "pta_service_agents_online 1\n");
	buf_done(&out);
}

static void revoking_cuts_an_agent_off(void **state)
{
	struct poll poll;
	struct buf out = BUF_INIT(4096);
	char body[128];

	(void)state;
	start_poll(&poll);
	wait_status("\"polls\":1");
	snprintf(body, sizeof(body), "{\"agent\":\"%s\"}", agent.identity.agent);
	assert_int_equal(service_bed_control(&bed, "POST", "/v1/agents/revoke", body, &out), 200);
	buf_done(&out);
	assert_int_equal(end_poll(&poll), 403);
	assert_int_equal(bed_agent_publish(&agent), 403);
	without_an_agent_the_answer_comes_at_once(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_says_that_it_is_live_and_ready),
		cmocka_unit_test(bad_sign_ins_get_their_clear_error),
		cmocka_unit_test(without_an_agent_the_answer_comes_at_once),
		cmocka_unit_test(agents_need_a_certificate),
		cmocka_unit_test(a_token_is_good_for_one_key),
		cmocka_unit_test(a_new_token_keeps_the_agents_identity),
		cmocka_unit_test(a_poll_without_a_published_key_is_told_to_publish),
		cmocka_unit_test(a_sign_in_goes_to_the_agent_and_its_verdict_back),
		cmocka_unit_test(what_was_not_proved_is_told_as_a_wrong_password),
		cmocka_unit_test(a_declined_request_without_another_agent_is_unavailable),
		cmocka_unit_test(one_poll_brings_an_answer_and_gets_the_next_request),
		cmocka_unit_test(what_was_refused_is_told_beside_the_next_request),
		cmocka_unit_test(the_receipt_of_results_does_not_wait_for_a_request),
		cmocka_unit_test(results_are_taken_though_their_poll_is_refused),
		cmocka_unit_test(a_further_poll_ends_the_oldest),
		cmocka_unit_test(an_agent_that_hangs_up_is_lost_at_once),
		cmocka_unit_test(renewing_gives_another_certificate_that_works),
		cmocka_unit_test(a_reload_is_whole_or_refused),
		cmocka_unit_test(metrics_count_what_was_answered),
		cmocka_unit_test(revoking_cuts_an_agent_off),
	};
	struct err err;
	int failed, status;

	/* Before libcurl and the secure heap of this process: the child starts clean. */
	service_bed_start(&bed, 2);
	if (secret_arena_init(1 << 20, &err) < 0)
		fail_msg("%s", err.text);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	bed_agent_done(&agent);
	status = service_bed_stop(&bed);
	if (status != 0)
		fprintf(stderr, "the service ended with %d\n", status);
	curl_global_cleanup();
	return failed || status != 0;
}
