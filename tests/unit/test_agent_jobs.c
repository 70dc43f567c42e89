#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent_peer.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "directory/validator.h"

#define USER "user@corp.example.com"
#define PASSWORD "correct horse"

/* ---- the validator of these tests, in the place of the real one ---- */

struct fake {
	struct validator base;
	struct job *held;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all of these */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct verdict next_verdict;
static int next_start;
static bool hold; /* jobs wait for release() */
static unsigned started, opened, closed;
static char seen_password[64], log_text[65536];
static struct fake *last;

static void end_job(struct job *job)
{
	struct verdict v;

	pthread_mutex_lock(&lock);
	v = next_verdict;
	pthread_mutex_unlock(&lock);
	job_done(job, &v);
}

void job_done(struct job *job, const struct verdict *verdict)
{
	secret_freep(&job->password);
	job->done(job, verdict);
}

int validator_open(const struct directory_conf *conf, struct validator **out, struct err *err)
{
	struct fake *fake;

	pthread_mutex_lock(&lock);
	if (strcmp(conf->name, "broken.example") == 0) {
		pthread_mutex_unlock(&lock);
		return err_set(err, -PTA_ETLS, "its CA file is broken");
	}
	fake = calloc(1, sizeof(*fake));
	fake->base.conf = conf;
	opened++;
	last = fake;
	pthread_mutex_unlock(&lock);
	*out = &fake->base;
	return 0;
}

int validator_start(struct validator *v, struct job *job)
{
	struct fake *fake = (struct fake *)v;
	bool held;
	int r;

	pthread_mutex_lock(&lock);
	r = next_start;
	held = hold;
	if (r == 0) {
		started++;
		memcpy(seen_password, secret_bytes(job->password), secret_len(job->password));
		seen_password[secret_len(job->password)] = '\0';
		if (held)
			fake->held = job;
	}
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	if (r == 0 && !held)
		end_job(job);
	return r;
}

unsigned validator_capacity(const struct validator *v)
{
	(void)v;
	return 4;
}

void validator_route(struct validator *v, struct validator *(*section_of)(void *arg, const char *domain), void *arg)
{
	(void)v;
	(void)section_of;
	(void)arg;
}

void validator_settle(struct validator *v)
{
	(void)v;
}

void validator_close(struct validator *v, uint64_t deadline_us)
{
	struct fake *fake = (struct fake *)v;

	(void)deadline_us;
	if (!fake)
		return;
	if (fake->held)
		end_job(fake->held);
	pthread_mutex_lock(&lock);
	closed++;
	if (last == fake)
		last = NULL;
	pthread_mutex_unlock(&lock);
	free(fake);
}

size_t validator_report(const struct validator *v, struct dc_report *out, size_t cap)
{
	(void)v;
	if (cap > 0)
		*out = (struct dc_report){.host = "dc1.corp.example.com", .port = 636, .state = "up"};
	return 1;
}

/* ---- fixture ---- */

struct fixture {
	struct peer *peer;
	struct agent_conf *conf;
	struct agent *agent;
	struct envelope_sender *sender;
	char key_id[RANDOM_ID_LEN + 1];
	unsigned results; /* polls with results looked at */
};

struct request {
	struct envelope_head head;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	struct buf batch;
};

static void on_log(void *arg, const char *line, size_t len)
{
	size_t used;

	(void)arg;
	pthread_mutex_lock(&lock);
	used = strlen(log_text);
	if (used + len < sizeof(log_text)) {
		memcpy(log_text + used, line, len);
		log_text[used + len] = '\0';
	}
	pthread_mutex_unlock(&lock);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct message_key key;
	const struct peer_body *keys;
	struct err err;

	next_verdict = verdict_make(VERDICT_SUCCESS);
	next_verdict.password_proved = next_verdict.password_sent = true;
	next_start = 0;
	hold = false;
	started = opened = closed = 0;
	log_text[0] = '\0';
	log_set_level(LOG_INFO);
	log_capture(on_log, NULL);
	f->peer = peer_new();
	f->conf = peer_conf(f->peer, "netbios = CORP\n");
	if (agent_new(f->conf, peer_identity(f->peer), &f->peer->identity_dir, &f->agent, &err) < 0)
		fail_msg("%s", err.text);
	keys = peer_wait(f->peer, "keys", 1);
	assert_int_equal(message_decode_key(keys->data, keys->len, &key, NULL, NULL), 0);
	memcpy(f->key_id, key.key_id, sizeof(f->key_id));
	assert_int_equal(envelope_sender_new(key.public_key, &f->sender), 0);
	peer_wait_parked(f->peer, 1, 4);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->agent)
		agent_drain(f->agent, clock_mono_us() + 5000000);
	agent_free(f->agent);
	assert_int_equal(opened, closed);
	envelope_sender_free(f->sender);
	agent_conf_unref(f->conf);
	peer_free(f->peer);
	log_capture(NULL, NULL);
	free(f);
	return 0;
}

static void seal_for(struct fixture *f, const char *agent, const char *user, int64_t left_ms, struct request *out)
{
	struct envelope_request request = {.operation = ENVELOPE_VALIDATE, .domain = "corp.example.com"};
	struct buf sealed = BUF_INIT(LIMIT_SEALED);
	struct message_list requests = MESSAGE_LIST(65536);
	static const struct message_list nothing;
	struct message_request m = {0};

	memset(out, 0, sizeof(*out));
	snprintf(request.username, sizeof(request.username), "%s", user);
	request.password = secret_dup(PASSWORD, strlen(PASSWORD));
	snprintf(out->head.agent, sizeof(out->head.agent), "%s", agent);
	snprintf(out->head.tenant, sizeof(out->head.tenant), "tenant1");
	memcpy(out->head.key_id, f->key_id, sizeof(out->head.key_id));
	random_id(out->head.request_id);
	out->head.attempt = 1;
	out->head.expires_ms = (uint64_t)((int64_t)clock_wall_ms() + left_ms);
	assert_int_equal(envelope_seal_request(f->sender, &out->head, &request, &sealed, &m.seq, out->answer_key), 0);
	envelope_request_done(&request);
	m.head = out->head;
	memcpy(m.enc, envelope_sender_enc(f->sender), sizeof(m.enc));
	m.sealed = sealed.data;
	m.sealed_len = sealed.len;
	message_request_item(&requests, &m);
	out->batch = BUF_INIT(65536);
	message_encode_batch(&out->batch, &requests, &nothing);
	assert_true(buf_ok(&out->batch));
	message_list_done(&requests);
	buf_done(&sealed);
}

/* Sends it, and gives the one result that comes back. */
static void exchange(struct fixture *f, struct request *request, struct message_poll *poll)
{
	const struct peer_body *body;

	peer_send_batch(f->peer, &request->batch);
	body = peer_wait(f->peer, "results", ++f->results);
	assert_int_equal(message_decode_poll(body->data, body->len, poll, NULL), 0);
	assert_int_equal(poll->n, 1);
	assert_string_equal(poll->results[0].request_id, request->head.request_id);
}

static void expect_verdict(struct fixture *f, const char *user, enum verdict_code code)
{
	struct message_poll poll;
	struct request request;
	struct verdict v;
	struct err err;

	seal_for(f, "agent1", user, 10000, &request);
	exchange(f, &request, &poll);
	assert_false(poll.results[0].declined);
	if (envelope_open_answer(request.answer_key, &request.head, user, poll.results[0].answer, poll.results[0].answer_len, &v, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(v.code, code);
	message_poll_done(&poll);
	buf_done(&request.batch);
}

static void expect_decline(struct fixture *f, const char *agent, const char *user, int64_t left_ms, enum verdict_reason reason)
{
	struct message_poll poll;
	struct request request;

	seal_for(f, agent, user, left_ms, &request);
	exchange(f, &request, &poll);
	assert_true(poll.results[0].declined);
	assert_int_equal(poll.results[0].decline_reason, reason);
	message_poll_done(&poll);
	buf_done(&request.batch);
}

static void wait_started(unsigned n)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&lock);
	while (started < n)
		assert_int_equal(pthread_cond_timedwait(&changed, &lock, &until), 0);
	pthread_mutex_unlock(&lock);
}

/* ---- tests ---- */

static void a_password_goes_to_the_validator_and_its_verdict_back_sealed(void **state)
{
	struct fixture *f = *state;

	expect_verdict(f, USER, VERDICT_SUCCESS);
	assert_string_equal(seen_password, PASSWORD);
	expect_verdict(f, "CORP\\user", VERDICT_SUCCESS);
}

static void each_definite_verdict_comes_back(void **state)
{
	struct fixture *f = *state;

	for (int code = VERDICT_SUCCESS; code <= VERDICT_ACCOUNT_RESTRICTED; code++) {
		next_verdict = verdict_make((enum verdict_code)code);
		next_verdict.password_sent = true;
		expect_verdict(f, USER, (enum verdict_code)code);
	}
}

static void what_was_perhaps_sent_is_answered_and_what_was_not_is_declined(void **state)
{
	struct fixture *f = *state;

	next_verdict = verdict_unavailable(REASON_TIMEOUT, true);
	expect_verdict(f, USER, VERDICT_UNAVAILABLE);
	next_verdict = verdict_unavailable(REASON_DIRECTORY_UNREACHABLE, false);
	expect_decline(f, "agent1", USER, 10000, REASON_DIRECTORY_UNREACHABLE);
}

static void a_validator_that_takes_no_job_means_a_decline(void **state)
{
	static const struct {
		int start;
		enum verdict_reason reason;
	} cases[] = {{-PTA_EBUSY, REASON_OVERLOADED}, {-PTA_ENODC, REASON_DIRECTORY_UNREACHABLE}, {-PTA_ECLOSED, REASON_AGENT_ERROR}};
	struct fixture *f = *state;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		next_start = cases[i].start;
		expect_decline(f, "agent1", USER, 10000, cases[i].reason);
	}
	assert_int_equal(started, 0);
}

static void a_domain_without_a_section_is_declined(void **state)
{
	struct fixture *f = *state;

	expect_decline(f, "agent1", "user@elsewhere.example", 10000, REASON_NOT_CONFIGURED);
	expect_decline(f, "agent1", "ELSEWHERE\\user", 10000, REASON_NOT_CONFIGURED);
	assert_int_equal(started, 0);
}

static void what_is_not_for_this_agent_or_too_late_is_declined(void **state)
{
	struct fixture *f = *state;

	expect_decline(f, "agent2", USER, 10000, REASON_DECRYPT_FAILED);
	expect_decline(f, "agent1", USER, -5000, REASON_CLOCK_SKEW);
	memset(f->key_id, '0', RANDOM_ID_LEN);
	expect_decline(f, "agent1", USER, 10000, REASON_DECRYPT_FAILED);
	assert_int_equal(started, 0);
}

static void a_name_that_is_none_is_answered_without_asking(void **state)
{
	struct fixture *f = *state;

	expect_verdict(f, "CN=user,DC=corp@corp.example.com", VERDICT_INVALID_REQUEST);
	expect_verdict(f, "user", VERDICT_INVALID_REQUEST);
	assert_int_equal(started, 0);
}

static void a_replayed_request_is_not_validated_again(void **state)
{
	struct fixture *f = *state;
	struct message_poll poll;
	struct request request;

	seal_for(f, "agent1", USER, 10000, &request);
	exchange(f, &request, &poll);
	message_poll_done(&poll);
	peer_send_batch(f->peer, &request.batch);
	expect_verdict(f, USER, VERDICT_SUCCESS); /* comes behind it, and is the next result */
	assert_int_equal(started, 2);
	buf_done(&request.batch);
}

static void the_audit_line_tells_all_but_the_password(void **state)
{
	static const char *const wanted[] = {"auth.verdict", "user=user@corp.example.com", "dc=dc1", "verdict=invalid_credentials", "detail="};
	struct fixture *f = *state;

	next_verdict = verdict_make(VERDICT_INVALID_CREDENTIALS);
	next_verdict.password_sent = true;
	strcpy(next_verdict.dc, "dc1");
	strcpy(next_verdict.detail, "80090308: data 52e");
	expect_verdict(f, USER, VERDICT_INVALID_CREDENTIALS);
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(wanted); i++)
		if (!strstr(log_text, wanted[i]))
			fail_msg("%s is not in: %s", wanted[i], log_text);
	assert_null(strstr(log_text, PASSWORD));
	pthread_mutex_unlock(&lock);
}

static void a_job_in_flight_keeps_its_directory_over_a_reload(void **state)
{
	struct agent_conf *next;
	struct fixture *f = *state;
	struct message_poll poll;
	const struct peer_body *body;
	struct request request;
	struct fake *first;
	struct err err;

	hold = true;
	seal_for(f, "agent1", USER, 10000, &request);
	peer_send_batch(f->peer, &request.batch);
	wait_started(1);
	first = last;
	next = peer_conf(f->peer, "netbios = OTHER\n");
	assert_int_equal(agent_reload(f->agent, next, peer_identity(f->peer), &err), 0);
	agent_conf_unref(next);
	agent_tick(f->agent);
	assert_int_equal(opened, 2);
	assert_int_equal(closed, 0);
	end_job(first->held);
	first->held = NULL;
	body = peer_wait(f->peer, "results", ++f->results);
	assert_int_equal(message_decode_poll(body->data, body->len, &poll, NULL), 0);
	assert_false(poll.results[0].declined);
	message_poll_done(&poll);
	buf_done(&request.batch);
	/* The new configuration answers; by then the first job is over. */
	hold = false;
	expect_verdict(f, "OTHER\\user", VERDICT_SUCCESS);
	expect_decline(f, "agent1", "CORP\\user", 10000, REASON_NOT_CONFIGURED);
	agent_tick(f->agent);
	assert_int_equal(closed, 1);
}

static void a_reload_that_cannot_open_changes_nothing(void **state)
{
	struct agent_conf *next;
	struct fixture *f = *state;
	struct err err;

	next = peer_conf(f->peer, "[directory broken.example]\nservers = 127.0.0.1\ntls = none\n");
	assert_int_equal(agent_reload(f->agent, next, peer_identity(f->peer), &err), -PTA_ETLS);
	assert_non_null(strstr(err.text, "broken.example"));
	agent_conf_unref(next);
	expect_verdict(f, "CORP\\user", VERDICT_SUCCESS);
}

static void draining_answers_what_was_sent(void **state)
{
	struct fixture *f = *state;
	struct message_poll poll;
	const struct peer_body *body;
	struct request request;
	struct verdict v;

	hold = true;
	seal_for(f, "agent1", USER, 10000, &request);
	peer_send_batch(f->peer, &request.batch);
	wait_started(1);
	agent_drain(f->agent, clock_mono_us() + 5000000);
	body = peer_wait(f->peer, "results", 1);
	assert_int_equal(message_decode_poll(body->data, body->len, &poll, NULL), 0);
	assert_int_equal(envelope_open_answer(request.answer_key, &request.head, USER, poll.results[0].answer, poll.results[0].answer_len, &v, NULL), 0);
	assert_int_equal(v.code, VERDICT_SUCCESS);
	message_poll_done(&poll);
	buf_done(&request.batch);
}

static void the_status_is_json_and_ready_needs_the_service(void **state)
{
	struct fixture *f = *state;
	struct buf out = BUF_INIT(65536);
	struct json *doc = NULL;
	char why[128] = "";
	struct err err;

	expect_verdict(f, USER, VERDICT_SUCCESS);
	agent_status(f->agent, &out);
	if (json_parse(out.data, out.len, &doc, &err) < 0)
		fail_msg("%s: %s", err.text, (const char *)out.data);
	assert_non_null(strstr((const char *)out.data, "\"state\":\"connected\""));
	assert_non_null(strstr((const char *)out.data, "dc1.corp.example.com"));
	assert_true(agent_ready(f->agent, why));
	assert_true(agent_alive(f->agent));
	json_free(doc);
	buf_done(&out);
}

#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_AGENT(a_password_goes_to_the_validator_and_its_verdict_back_sealed),
		WITH_AGENT(each_definite_verdict_comes_back),
		WITH_AGENT(what_was_perhaps_sent_is_answered_and_what_was_not_is_declined),
		WITH_AGENT(a_validator_that_takes_no_job_means_a_decline),
		WITH_AGENT(a_domain_without_a_section_is_declined),
		WITH_AGENT(what_is_not_for_this_agent_or_too_late_is_declined),
		WITH_AGENT(a_name_that_is_none_is_answered_without_asking),
		WITH_AGENT(a_replayed_request_is_not_validated_again),
		WITH_AGENT(the_audit_line_tells_all_but_the_password),
		WITH_AGENT(a_job_in_flight_keeps_its_directory_over_a_reload),
		WITH_AGENT(a_reload_that_cannot_open_changes_nothing),
		WITH_AGENT(draining_answers_what_was_sent),
		WITH_AGENT(the_status_is_json_and_ready_needs_the_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
