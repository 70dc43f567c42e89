#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/queue_client.h"
#include "agent_peer.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/pki.h"

#define ID_A "00112233445566778899aabbccddeeff"
#define ID_B "ffeeddccbbaa99887766554433221100"
#define REQUEST(id) "{\"id\":\"" id "\",\"attempt\":1,\"expires_ms\":99,\"key_id\":\"" ID_A "\",\"enc\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"seq\":7,\"sealed\":\"AAECAwQFBgcICQoLDA0ODw\"}"

/* The agent's side: counts what comes and what is done, under the peer's lock and condition. */
struct fixture {
	struct peer *peer;
	struct agent_conf *conf;
	struct keyring *keyring;
	struct queue_client *queue;
	unsigned room, busy;
	unsigned requests, done;
	char last_id[RANDOM_ID_LEN + 1], last_tenant[LIMIT_TENANT + 1], last_agent[LIMIT_ID + 1];
	uint64_t last_seq;
};

static unsigned on_room(void *arg, unsigned *busy)
{
	struct fixture *f = arg;
	unsigned room;

	pthread_mutex_lock(&f->peer->lock);
	room = f->room;
	*busy = f->busy;
	pthread_mutex_unlock(&f->peer->lock);
	return room;
}

static void on_request(void *arg, const struct envelope_head *head, const struct message_request *m, uint64_t service_ms)
{
	struct fixture *f = arg;

	assert_true(service_ms > 0);
	pthread_mutex_lock(&f->peer->lock);
	f->requests++;
	memcpy(f->last_id, head->request_id, sizeof(f->last_id));
	memcpy(f->last_tenant, head->tenant, sizeof(f->last_tenant));
	memcpy(f->last_agent, head->agent, sizeof(f->last_agent));
	f->last_seq = m->seq;
	pthread_cond_broadcast(&f->peer->changed);
	pthread_mutex_unlock(&f->peer->lock);
}

static void wait_for(struct fixture *f, const unsigned *counter, unsigned n)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&f->peer->lock);
	while (*counter < n)
		if (pthread_cond_timedwait(&f->peer->changed, &f->peer->lock, &until) != 0)
			fail_msg("waited in vain");
	pthread_mutex_unlock(&f->peer->lock);
}

/* A state that the queue thread reaches: looked at until it does. */
static void wait_state(struct fixture *f, enum queue_state state, const char *error)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t until = clock_mono_ms() + 30000;
	struct queue_status status;

	do {
		queue_client_status(f->queue, &status);
		if (status.state == state && (!error || strstr(status.error, error)))
			return;
		nanosleep(&pause, NULL);
	} while (clock_mono_ms() < until);
	fail_msg("state is %s (%s)", queue_state_name(status.state), status.error);
}

static void start_queue(struct fixture *f, struct identity *identity)
{
	struct queue_handler handler = {.room = on_room, .request = on_request, .arg = f};
	struct err err;

	assert_int_equal(keyring_new(clock_mono_us(), &f->keyring), 0);
	if (queue_client_new(f->conf, identity, &f->peer->identity_dir, f->keyring, &handler, &f->queue, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(queue_client_start(f->queue, &err), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_set_level(LOG_EMERG);
	f->peer = peer_new();
	f->room = 8;
	f->conf = peer_conf(f->peer, "");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->queue)
		queue_client_stop(f->queue, clock_mono_us());
	queue_client_free(f->queue);
	keyring_free(f->keyring);
	agent_conf_unref(f->conf);
	peer_free(f->peer);
	free(f);
	return 0;
}

struct test_result {
	struct queue_result result;
	struct fixture *f;
};

static void on_done(struct queue_result *result)
{
	struct test_result *r = (struct test_result *)(void *)result;
	struct fixture *f = r->f;

	buf_done(&result->answer);
	free(r);
	pthread_mutex_lock(&f->peer->lock);
	f->done++;
	pthread_cond_broadcast(&f->peer->changed);
	pthread_mutex_unlock(&f->peer->lock);
}

/* answer NULL: a decline. */
static void post(struct fixture *f, const char *id, const char *answer, uint64_t until_us)
{
	struct test_result *r = calloc(1, sizeof(*r));

	r->f = f;
	memcpy(r->result.request_id, id, RANDOM_ID_LEN + 1);
	r->result.attempt = 1;
	r->result.until_us = until_us;
	r->result.declined = !answer;
	r->result.decline_reason = REASON_OVERLOADED;
	r->result.answer = BUF_INIT(LIMIT_ANSWER);
	if (answer)
		buf_puts(&r->result.answer, answer);
	r->result.done = on_done;
	queue_client_post(f->queue, &r->result);
}

static uint64_t soon(void)
{
	return clock_mono_us() + 20 * 1000000ull;
}

static void keys_are_published_signed_before_the_first_poll(void **state)
{
	struct fixture *f = *state;
	const struct peer_body *keys;
	struct buf text = BUF_INIT(4096);
	struct message_key m;
	struct identity *identity = peer_identity(f->peer);
	EVP_PKEY *key = identity->key;

	EVP_PKEY_up_ref(key);
	start_queue(f, identity);
	keys = peer_wait(f->peer, "keys", 1);
	peer_wait_parked(f->peer, 1, 8);
	assert_string_equal(f->peer->bodies[0].path, "keys");
	assert_int_equal(message_decode_key(keys->data, keys->len, &m, NULL, NULL), 0);
	message_key_signed(&text, "tenant1", "agent1", &m);
	assert_int_equal(pki_verify(key, text.data, text.len, m.signature, m.signature_len), 0);
	assert_true(m.not_after_ms > clock_wall_ms() + KEYRING_LIFE_MS);
	assert_true(keys->fingerprint[0] != '\0');
	buf_done(&text);
	EVP_PKEY_free(key);
	wait_state(f, QUEUE_CONNECTED, NULL);
}

static void a_request_comes_and_its_result_goes(void **state)
{
	struct fixture *f = *state;
	struct message_results results;
	const struct peer_body *body;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	peer_send_batch(f->peer, "{\"requests\":[" REQUEST(ID_A) "]}");
	wait_for(f, &f->requests, 1);
	assert_string_equal(f->last_id, ID_A);
	assert_string_equal(f->last_tenant, "tenant1");
	assert_string_equal(f->last_agent, "agent1");
	assert_int_equal(f->last_seq, 7);
	post(f, ID_A, "sealed", soon());
	body = peer_wait(f->peer, "results", 1);
	wait_for(f, &f->done, 1);
	assert_int_equal(message_decode_results(body->data, body->len, &results, NULL, NULL), 0);
	assert_int_equal(results.n, 1);
	assert_string_equal(results.results[0].request_id, ID_A);
	assert_int_equal(results.results[0].answer_len, 6);
	assert_false(results.results[0].declined);
	message_results_done(&results);
	peer_wait_parked(f->peer, 1, 8);
}

static void a_decline_says_its_reason(void **state)
{
	struct fixture *f = *state;
	struct message_results results;
	const struct peer_body *body;

	start_queue(f, peer_identity(f->peer));
	post(f, ID_B, NULL, soon());
	body = peer_wait(f->peer, "results", 1);
	wait_for(f, &f->done, 1);
	assert_int_equal(message_decode_results(body->data, body->len, &results, NULL, NULL), 0);
	assert_true(results.results[0].declined);
	assert_int_equal(results.results[0].decline_reason, REASON_OVERLOADED);
	message_results_done(&results);
}

static void a_busy_agent_parks_two_polls_that_share_its_room(void **state)
{
	struct fixture *f = *state;

	f->busy = 5;
	f->room = 7;
	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 2, 7);
}

static void an_agent_without_room_parks_nothing_until_it_has(void **state)
{
	struct fixture *f = *state;

	f->room = 0;
	f->busy = 4;
	start_queue(f, peer_identity(f->peer));
	wait_state(f, QUEUE_CONNECTED, NULL);
	assert_int_equal(peer_count(f->peer, "poll"), 0);
	pthread_mutex_lock(&f->peer->lock);
	f->room = 3;
	f->busy = 1;
	pthread_mutex_unlock(&f->peer->lock);
	post(f, ID_A, "x", soon()); /* a job is over */
	peer_wait_parked(f->peer, 1, 3);
}

static void a_failed_post_is_repeated_with_the_same_bytes(void **state)
{
	struct fixture *f = *state;
	const struct peer_body *first, *second;

	peer_fail(f->peer, PEER_RESULTS, 503, "busy", 1);
	start_queue(f, peer_identity(f->peer));
	post(f, ID_A, "sealed", soon());
	first = peer_wait(f->peer, "results", 1);
	second = peer_wait(f->peer, "results", 2);
	wait_for(f, &f->done, 1);
	assert_int_equal(first->len, second->len);
	assert_memory_equal(first->data, second->data, first->len);
}

static void a_result_that_nobody_waits_for_is_given_up(void **state)
{
	struct fixture *f = *state;

	peer_fail(f->peer, PEER_RESULTS, 503, "busy", 1000);
	start_queue(f, peer_identity(f->peer));
	post(f, ID_A, "sealed", clock_mono_us() + 200000);
	wait_for(f, &f->done, 1);
}

static void what_the_service_calls_malformed_is_not_repeated(void **state)
{
	struct fixture *f = *state;

	peer_fail(f->peer, PEER_RESULTS, 400, "bad_json", 1000);
	start_queue(f, peer_identity(f->peer));
	post(f, ID_A, "sealed", soon());
	wait_for(f, &f->done, 1);
	assert_int_equal(peer_count(f->peer, "results"), 1);
}

static void a_result_without_an_answer_is_dropped(void **state)
{
	struct fixture *f = *state;

	start_queue(f, peer_identity(f->peer));
	post(f, ID_A, "", soon());
	wait_for(f, &f->done, 1);
	assert_int_equal(peer_count(f->peer, "results"), 0);
}

static void a_service_that_forgot_the_key_gets_it_again(void **state)
{
	struct fixture *f = *state;
	const struct peer_body *first, *second;
	struct message_key a, b;

	peer_fail(f->peer, PEER_POLL, 409, MESSAGE_ERROR_KEY_UNKNOWN, 1);
	start_queue(f, peer_identity(f->peer));
	first = peer_wait(f->peer, "keys", 1);
	second = peer_wait(f->peer, "keys", 2);
	peer_wait_parked(f->peer, 1, 8);
	assert_int_equal(message_decode_key(first->data, first->len, &a, NULL, NULL), 0);
	assert_int_equal(message_decode_key(second->data, second->len, &b, NULL, NULL), 0);
	assert_string_equal(a.key_id, b.key_id);
	assert_string_equal(a.instance, b.instance);
}

static void a_refused_certificate_shows_the_reason(void **state)
{
	struct fixture *f = *state;

	peer_fail(f->peer, PEER_KEYS, 403, MESSAGE_ERROR_CERTIFICATE, 1000);
	start_queue(f, peer_identity(f->peer));
	wait_state(f, QUEUE_REFUSED, "the test says so");
}

static void a_restarted_service_is_found_again(void **state)
{
	struct fixture *f = *state;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	peer_stop(f->peer);
	wait_state(f, QUEUE_DISCONNECTED, NULL);
	peer_start(f->peer);
	peer_wait_parked(f->peer, 1, 8);
	wait_state(f, QUEUE_CONNECTED, NULL);
}

static void a_service_of_another_ca_is_not_trusted(void **state)
{
	struct fixture *f = *state;
	struct peer *other = peer_new();
	struct identity *identity;

	/* The identity, CA included, is the other service's; the URL in the configuration is the first's. */
	identity = peer_identity(other);
	start_queue(f, identity);
	wait_state(f, QUEUE_DISCONNECTED, "certificate");
	assert_int_equal(peer_count(f->peer, "keys"), 0);
	peer_free(other);
}

static void draining_ends_the_polls_and_results_still_go(void **state)
{
	struct fixture *f = *state;
	struct queue_status status;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	queue_client_drain(f->queue);
	peer_wait_parked(f->peer, 0, 0);
	queue_client_status(f->queue, &status);
	assert_int_equal(status.state, QUEUE_DRAINING);
	post(f, ID_A, "sealed", soon());
	post(f, ID_B, "sealed", soon());
	queue_client_stop(f->queue, soon());
	assert_int_equal(f->done, 2);
	assert_true(peer_count(f->peer, "results") >= 1);
}

static void draining_loses_no_request_that_is_on_its_way(void **state)
{
	struct fixture *f = *state;
	bool unsent;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	peer_send_batch(f->peer, "{\"requests\":[" REQUEST(ID_A) "]}");
	queue_client_drain(f->queue);
	pthread_mutex_lock(&f->peer->lock);
	unsent = f->peer->batch != NULL; /* then the service still has it, and knows that the poll is gone */
	pthread_mutex_unlock(&f->peer->lock);
	assert_true(f->requests == 1 || unsent);
}

static void stopping_gives_up_what_cannot_be_delivered(void **state)
{
	struct fixture *f = *state;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	peer_stop(f->peer);
	post(f, ID_A, "sealed", soon());
	queue_client_stop(f->queue, clock_mono_us() + 100000);
	assert_int_equal(f->done, 1);
}

static void renewing_moves_over_to_the_new_certificate(void **state)
{
	struct fixture *f = *state;
	const struct timespec pause = {.tv_nsec = 5000000};
	const struct peer_body *before, *after, *renew;
	struct queue_status status;

	start_queue(f, peer_identity(f->peer));
	before = peer_wait(f->peer, "poll", 1);
	queue_client_renew(f->queue);
	renew = peer_wait(f->peer, "renew", 1);
	assert_string_equal(renew->fingerprint, before->fingerprint);
	do {
		nanosleep(&pause, NULL);
		queue_client_status(f->queue, &status);
	} while (status.renewals_tried == 0);
	assert_int_equal(status.renewals_done, 1);
	post(f, ID_A, "sealed", soon());
	after = peer_wait(f->peer, "results", 1);
	assert_string_not_equal(after->fingerprint, before->fingerprint);
	wait_for(f, &f->done, 1);
}

static void a_failed_renewal_keeps_the_certificate_and_says_why(void **state)
{
	struct fixture *f = *state;
	const struct timespec pause = {.tv_nsec = 5000000};
	struct queue_status status;

	peer_fail(f->peer, PEER_REGISTER, 503, "busy", 1);
	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	queue_client_renew(f->queue);
	do {
		nanosleep(&pause, NULL);
		queue_client_status(f->queue, &status);
	} while (status.renewals_tried == 0);
	assert_int_equal(status.renewals_done, 0);
	assert_non_null(strstr(status.renewal_error, "the test says so"));
	assert_int_equal(status.state, QUEUE_CONNECTED);
}

static void the_services_clock_counts(void **state)
{
	struct fixture *f = *state;
	struct queue_status status;

	f->peer->clock_ms = -3600000;
	start_queue(f, peer_identity(f->peer));
	wait_state(f, QUEUE_CONNECTED, NULL);
	queue_client_status(f->queue, &status);
	assert_true(status.clock_known);
	assert_true(status.clock_offset_ms < -3500000 && status.clock_offset_ms > -3700000);
}

static void a_broken_batch_is_a_failure_of_the_service(void **state)
{
	struct fixture *f = *state;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	peer_send_batch(f->peer, "{\"requests\":[{}]}");
	wait_state(f, QUEUE_DISCONNECTED, "batch");
	peer_wait_parked(f->peer, 1, 8);
}

#define WITH_PEER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PEER(keys_are_published_signed_before_the_first_poll),
		WITH_PEER(a_request_comes_and_its_result_goes),
		WITH_PEER(a_decline_says_its_reason),
		WITH_PEER(a_busy_agent_parks_two_polls_that_share_its_room),
		WITH_PEER(an_agent_without_room_parks_nothing_until_it_has),
		WITH_PEER(a_failed_post_is_repeated_with_the_same_bytes),
		WITH_PEER(a_result_that_nobody_waits_for_is_given_up),
		WITH_PEER(what_the_service_calls_malformed_is_not_repeated),
		WITH_PEER(a_result_without_an_answer_is_dropped),
		WITH_PEER(a_service_that_forgot_the_key_gets_it_again),
		WITH_PEER(a_refused_certificate_shows_the_reason),
		WITH_PEER(a_restarted_service_is_found_again),
		WITH_PEER(a_service_of_another_ca_is_not_trusted),
		WITH_PEER(draining_ends_the_polls_and_results_still_go),
		WITH_PEER(draining_loses_no_request_that_is_on_its_way),
		WITH_PEER(stopping_gives_up_what_cannot_be_delivered),
		WITH_PEER(renewing_moves_over_to_the_new_certificate),
		WITH_PEER(a_failed_renewal_keeps_the_certificate_and_says_why),
		WITH_PEER(the_services_clock_counts),
		WITH_PEER(a_broken_batch_is_a_failure_of_the_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
