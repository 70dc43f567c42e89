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
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[65536]; /* under log_lock */

static void on_log(void *arg, const char *line, size_t len)
{
	size_t used;

	(void)arg;
	pthread_mutex_lock(&log_lock);
	used = strlen(log_text);
	if (used + len < sizeof(log_text)) {
		memcpy(log_text + used, line, len);
		log_text[used + len] = '\0';
	}
	pthread_mutex_unlock(&log_lock);
}

/* A line that the queue thread writes. */
static void wait_log(const char *part)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t until = clock_mono_ms() + 30000;
	bool found;

	do {
		pthread_mutex_lock(&log_lock);
		found = strstr(log_text, part) != NULL;
		pthread_mutex_unlock(&log_lock);
		if (found)
			return;
		nanosleep(&pause, NULL);
	} while (clock_mono_ms() < until);
	fail_msg("waited in vain for the line %s", part);
}

/* A batch with requests of these ids, and a refusal; NULL: none. */
static struct buf batch_of(const char *first, const char *second, const char *refused)
{
	const char *const ids[] = {first, second, NULL};
	struct message_list requests = MESSAGE_LIST(65536), refusals = MESSAGE_LIST(4096);
	struct buf batch = BUF_INIT(65536);

	for (size_t i = 0; ids[i]; i++) {
		struct message_request m = {.head = {.key_id = ID_A, .attempt = 1, .expires_ms = 99}, .seq = 7, .sealed = (const uint8_t *)"sealed", .sealed_len = 6};

		memcpy(m.head.request_id, ids[i], sizeof(m.head.request_id));
		message_request_item(&requests, &m);
	}
	if (refused)
		message_refused_item(&refusals, refused, 1, MESSAGE_REFUSED_UNKNOWN);
	message_encode_batch(&batch, &requests, &refusals);
	assert_true(buf_ok(&batch));
	message_list_done(&requests);
	message_list_done(&refusals);
	return batch;
}

static void send_batch(struct peer *peer, const char *first, const char *second)
{
	struct buf batch = batch_of(first, second, NULL);

	peer_send_batch(peer, &batch);
	buf_done(&batch);
}

static void send_receipt(struct peer *peer, const char *request, const char *refused)
{
	struct buf batch = batch_of(request, NULL, refused);

	peer_send_receipt(peer, &batch);
	buf_done(&batch);
}

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

	log_text[0] = '\0';
	log_set_level(LOG_INFO);
	log_capture(on_log, NULL);
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
	log_capture(NULL, NULL);
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

static void set_room(struct fixture *f, unsigned room, unsigned busy)
{
	pthread_mutex_lock(&f->peer->lock);
	f->room = room;
	f->busy = busy;
	pthread_mutex_unlock(&f->peer->lock);
}

/* The n-th poll that brought results; message_poll_done(). */
static void brought(struct fixture *f, unsigned n, struct message_poll *out)
{
	const struct peer_body *body = peer_wait(f->peer, "results", n);

	assert_int_equal(message_decode_poll(body->data, body->len, out, NULL), 0);
	assert_true(out->n > 0);
}

/* The n-th poll that brought results brought this one alone. */
static void assert_brought(struct fixture *f, unsigned n, const char *id)
{
	struct message_poll poll;

	brought(f, n, &poll);
	assert_int_equal(poll.n, 1);
	assert_string_equal(poll.results[0].request_id, id);
	message_poll_done(&poll);
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
	struct message_poll poll;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	send_batch(f->peer, ID_A, NULL);
	wait_for(f, &f->requests, 1);
	assert_string_equal(f->last_id, ID_A);
	assert_string_equal(f->last_tenant, "tenant1");
	assert_string_equal(f->last_agent, "agent1");
	assert_int_equal(f->last_seq, 7);
	post(f, ID_A, "sealed", soon());
	wait_for(f, &f->done, 1);
	brought(f, 1, &poll);
	assert_int_equal(poll.n, 1);
	assert_string_equal(poll.results[0].request_id, ID_A);
	assert_int_equal(poll.results[0].answer_len, 6);
	assert_memory_equal(poll.results[0].answer, "sealed", 6);
	assert_false(poll.results[0].declined);
	message_poll_done(&poll);
	peer_wait_parked(f->peer, 1, 8);
}

static void a_decline_says_its_reason(void **state)
{
	struct fixture *f = *state;
	struct message_poll poll;

	start_queue(f, peer_identity(f->peer));
	post(f, ID_B, NULL, soon());
	wait_for(f, &f->done, 1);
	brought(f, 1, &poll);
	assert_true(poll.results[0].declined);
	assert_int_equal(poll.results[0].decline_reason, REASON_OVERLOADED);
	message_poll_done(&poll);
}

static void a_result_asks_for_what_it_makes_room_for_and_the_next_request_is_its_receipt(void **state)
{
	struct fixture *f = *state;
	struct message_poll poll;

	f->room = 0;
	start_queue(f, peer_identity(f->peer));
	wait_state(f, QUEUE_CONNECTED, NULL);
	set_room(f, 1, 0);
	send_receipt(f->peer, ID_B, NULL);
	post(f, ID_A, "sealed", soon());
	wait_for(f, &f->requests, 1);
	assert_string_equal(f->last_id, ID_B);
	brought(f, 1, &poll);
	assert_int_equal(poll.credit, 1);
	message_poll_done(&poll);
	post(f, ID_B, "sealed", soon());
	assert_brought(f, 2, ID_B); /* the first has arrived */
}

static void results_of_a_parked_agent_wait_for_nothing(void **state)
{
	struct fixture *f = *state;
	struct message_poll poll;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	post(f, ID_A, "sealed", soon());
	brought(f, 1, &poll);
	assert_int_equal(poll.credit, 0);
	message_poll_done(&poll);
	peer_wait_parked(f->peer, 1, 8);
}

static void a_busy_agent_leaves_half_its_room_to_the_poll_that_brings_results(void **state)
{
	struct fixture *f = *state;
	struct message_poll poll;

	f->busy = 5;
	f->room = 7;
	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 4);
	post(f, ID_A, "sealed", soon());
	brought(f, 1, &poll);
	assert_int_equal(poll.credit, 3);
	message_poll_done(&poll);
}

static void a_parked_poll_that_asks_for_too_little_gets_company(void **state)
{
	struct fixture *f = *state;

	f->room = 2;
	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 2);
	set_room(f, 9, 0);
	peer_wait_parked(f->peer, 2, 9);
	assert_int_equal(peer_count(f->peer, "poll"), 2);
}

static void an_agent_without_room_parks_nothing_until_it_has(void **state)
{
	struct fixture *f = *state;

	f->room = 0;
	f->busy = 4;
	start_queue(f, peer_identity(f->peer));
	wait_state(f, QUEUE_CONNECTED, NULL);
	assert_int_equal(peer_count(f->peer, "poll"), 0);
	set_room(f, 3, 1);
	post(f, ID_A, "x", soon()); /* a job is over */
	peer_wait_parked(f->peer, 1, 2); /* the third is left to who brings the other job's result */
}

/* All but number and credit, which stand before the results. */
static void assert_same_results(const struct peer_body *first, const struct peer_body *second)
{
	const size_t head = 1 + RANDOM_ID_LEN + 8 + 2;

	assert_true(first->len > head);
	assert_int_equal(first->len, second->len);
	assert_memory_equal(first->data + head, second->data + head, first->len - head);
}

static void results_that_were_refused_for_now_are_repeated(void **state)
{
	static const int statuses[] = {403, 408, 429, 500, 503};
	struct fixture *f = *state;

	start_queue(f, peer_identity(f->peer));
	for (unsigned i = 0; i < PTA_ARRAY_SIZE(statuses); i++) {
		peer_fail(f->peer, PEER_RESULTS, statuses[i], "busy", 1);
		post(f, ID_A, "sealed", soon());
		assert_same_results(peer_wait(f->peer, "results", 2 * i + 1), peer_wait(f->peer, "results", 2 * i + 2));
	}
	wait_for(f, &f->done, PTA_ARRAY_SIZE(statuses));
}

static void a_lost_connection_repeats_its_results(void **state)
{
	struct fixture *f = *state;
	const struct peer_body *first;

	peer_fail(f->peer, PEER_RESULTS, 0, NULL, 1);
	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	post(f, ID_A, "sealed", soon());
	first = peer_wait(f->peer, "results", 1);
	wait_for(f, &f->done, 1); /* its bytes are kept */
	peer_stop(f->peer);
	wait_log("event=results.retry first=" ID_A);
	peer_start(f->peer);
	assert_same_results(first, peer_wait(f->peer, "results", 2));
	peer_wait_parked(f->peer, 1, 8);
}

static void refused_results_are_told_once_and_over(void **state)
{
	struct fixture *f = *state;

	f->room = 0;
	start_queue(f, peer_identity(f->peer));
	wait_state(f, QUEUE_CONNECTED, NULL);
	send_receipt(f->peer, NULL, ID_A);
	post(f, ID_A, "sealed", soon());
	wait_log("event=result.refused request=" ID_A " attempt=1 error=unknown");
	post(f, ID_B, "sealed", soon());
	assert_brought(f, 2, ID_B);
	wait_state(f, QUEUE_CONNECTED, NULL);
}

static void a_result_that_nobody_waits_for_is_given_up(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	peer_fail(f->peer, PEER_RESULTS, 503, "busy", 1000);
	start_queue(f, peer_identity(f->peer));
	post(f, ID_A, "sealed", clock_mono_us() + 200000);
	wait_for(f, &f->done, 1);
	wait_log("event=results.lost first=" ID_A " count=1");
	peer_fail(f->peer, PEER_RESULTS, 0, NULL, 0);
	before = peer_count(f->peer, "results");
	post(f, ID_B, "sealed", soon());
	assert_brought(f, before + 1, ID_B);
}

static void what_the_service_calls_malformed_is_not_repeated(void **state)
{
	struct fixture *f = *state;

	peer_fail(f->peer, PEER_RESULTS, 400, "bad_json", 1);
	start_queue(f, peer_identity(f->peer));
	post(f, ID_A, "sealed", soon());
	wait_log("event=results.lost first=" ID_A);
	post(f, ID_B, "sealed", soon());
	assert_brought(f, 2, ID_B);
}

/* The service has taken them before it missed the key. */
static void results_have_arrived_where_only_the_key_was_forgotten(void **state)
{
	struct fixture *f = *state;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	peer_fail(f->peer, PEER_RESULTS, 409, MESSAGE_ERROR_KEY_UNKNOWN, 1);
	post(f, ID_A, "sealed", soon());
	peer_wait(f->peer, "keys", 2);
	post(f, ID_B, "sealed", soon());
	assert_brought(f, 2, ID_B);
}

static void a_result_without_an_answer_is_dropped(void **state)
{
	struct fixture *f = *state;

	start_queue(f, peer_identity(f->peer));
	post(f, ID_A, "", soon());
	wait_for(f, &f->done, 1);
	post(f, ID_B, "sealed", soon());
	assert_brought(f, 1, ID_B);
}

static void more_requests_than_were_asked_for_are_a_failure_of_the_service(void **state)
{
	struct fixture *f = *state;

	f->room = 1;
	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 1);
	send_batch(f->peer, ID_A, ID_B);
	wait_state(f, QUEUE_DISCONNECTED, "2 requests where 1 were asked for");
	peer_wait_parked(f->peer, 1, 1);
	/* Nor is anything taken that a poll without credit gets; its results have arrived. */
	send_receipt(f->peer, ID_A, NULL);
	post(f, ID_B, "sealed", soon());
	wait_state(f, QUEUE_DISCONNECTED, "1 requests where 0 were asked for");
	assert_int_equal(f->requests, 0);
	post(f, ID_A, "sealed", soon());
	assert_brought(f, 2, ID_A);
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
	struct message_poll poll;
	unsigned n = 0;

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
	for (unsigned i = 1; n < 2; i++) {
		brought(f, i, &poll);
		assert_int_equal(poll.credit, 0);
		n += (unsigned)poll.n;
		message_poll_done(&poll);
	}
	assert_int_equal(peer_count(f->peer, "poll"), 1);
}

static void stopping_waits_for_the_receipt(void **state)
{
	struct fixture *f = *state;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	queue_client_drain(f->queue);
	peer_fail(f->peer, PEER_RESULTS, 503, "busy", 1);
	post(f, ID_A, "sealed", soon());
	queue_client_stop(f->queue, soon());
	assert_int_equal(peer_count(f->peer, "results"), 2);
}

static void draining_loses_no_request_that_is_on_its_way(void **state)
{
	struct fixture *f = *state;
	bool unsent;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	send_batch(f->peer, ID_A, NULL);
	queue_client_drain(f->queue);
	pthread_mutex_lock(&f->peer->lock);
	unsent = f->peer->batch.len > 0; /* then the service still has it, and knows that the poll is gone */
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
	wait_log("event=results.lost first=" ID_A);
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
	struct buf broken = {.data = (uint8_t[]){MESSAGE_POLL_VERSION, 0, 1, '0'}, .len = 4};
	struct fixture *f = *state;

	start_queue(f, peer_identity(f->peer));
	peer_wait_parked(f->peer, 1, 8);
	peer_send_batch(f->peer, &broken);
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
		WITH_PEER(a_result_asks_for_what_it_makes_room_for_and_the_next_request_is_its_receipt),
		WITH_PEER(results_of_a_parked_agent_wait_for_nothing),
		WITH_PEER(a_busy_agent_leaves_half_its_room_to_the_poll_that_brings_results),
		WITH_PEER(a_parked_poll_that_asks_for_too_little_gets_company),
		WITH_PEER(an_agent_without_room_parks_nothing_until_it_has),
		WITH_PEER(results_that_were_refused_for_now_are_repeated),
		WITH_PEER(a_lost_connection_repeats_its_results),
		WITH_PEER(refused_results_are_told_once_and_over),
		WITH_PEER(a_result_that_nobody_waits_for_is_given_up),
		WITH_PEER(what_the_service_calls_malformed_is_not_repeated),
		WITH_PEER(results_have_arrived_where_only_the_key_was_forgotten),
		WITH_PEER(a_result_without_an_answer_is_dropped),
		WITH_PEER(more_requests_than_were_asked_for_are_a_failure_of_the_service),
		WITH_PEER(a_service_that_forgot_the_key_gets_it_again),
		WITH_PEER(a_refused_certificate_shows_the_reason),
		WITH_PEER(a_restarted_service_is_found_again),
		WITH_PEER(a_service_of_another_ca_is_not_trusted),
		WITH_PEER(draining_ends_the_polls_and_results_still_go),
		WITH_PEER(stopping_waits_for_the_receipt),
		WITH_PEER(draining_loses_no_request_that_is_on_its_way),
		WITH_PEER(stopping_gives_up_what_cannot_be_delivered),
		WITH_PEER(renewing_moves_over_to_the_new_certificate),
		WITH_PEER(a_failed_renewal_keeps_the_certificate_and_says_why),
		WITH_PEER(the_services_clock_counts),
		WITH_PEER(a_broken_batch_is_a_failure_of_the_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
