#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/dial.h"
#include "directory/worker_validator.h"
#include "job_try.h"

/* What the method does at a controller. */
enum act {
	ACCEPT,	     /* success */
	REFUSE,	     /* not sent */
	LOSE,	     /* sent, and the connection breaks */
	HOLD,	     /* sent; waits to be released, as for an answer */
	HOLD_FIRST,  /* not sent; waits to be released, as for a connect */
	REFUSE_FIRST /* the first is not sent, though another came through meanwhile; success then */
};

#define DCS 3

/* The fake method, and what reached it. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum act acts[DCS];
	unsigned asked[DCS], probes[DCS], at_once, most_at_once;
	struct dc_pool *pool;
	int release; /* an eventfd: readable, lets all go */
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct directory_server server_of(size_t i)
{
	struct directory_server server = {.port = (unsigned)i + 1, .kdc_port = 88};

	snprintf(server.host, sizeof(server.host), "dc%zu.example.com", i);
	return server;
}

static enum act note_asked(size_t i)
{
	enum act act;

	pthread_mutex_lock(&fake.lock);
	act = fake.acts[i];
	fake.asked[i]++;
	if (++fake.at_once > fake.most_at_once)
		fake.most_at_once = fake.at_once;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	return act;
}

static void act_at(size_t i, enum act act)
{
	pthread_mutex_lock(&fake.lock);
	fake.acts[i] = act;
	pthread_mutex_unlock(&fake.lock);
}

static int fake_validate(void *state, struct attempt *attempt, struct err *err)
{
	enum act act = note_asked(attempt->server->port - 1);
	int r = 0;

	(void)state;
	attempt->verdict = (struct verdict){.code = VERDICT_SUCCESS, .password_proved = true, .password_sent = true};
	if ((act == HOLD || act == HOLD_FIRST) && dial_wait(fake.release, POLLIN, attempt->deadline_us) < 0) {
		attempt_unavailable(attempt, REASON_TIMEOUT, true, "no answer");
		attempt->outcome = DC_TIMED_OUT;
		r = act == HOLD ? 0 : err_set(err, -PTA_ETIMEDOUT, "no connection");
	} else if (act == LOSE) {
		attempt_unavailable(attempt, REASON_DIRECTORY_UNREACHABLE, true, "gone");
		attempt->outcome = DC_LOST;
	} else if (act == REFUSE) {
		r = err_set(err, -PTA_ENET, "refused");
	} else if (act == REFUSE_FIRST) {
		act_at(attempt->server->port - 1, ACCEPT);
		(void)dc_pool_connected(fake.pool, attempt->server->port - 1);
		r = err_set(err, -PTA_ENET, "lost on the way");
	}
	pthread_mutex_lock(&fake.lock);
	fake.at_once--;
	pthread_mutex_unlock(&fake.lock);
	return r;
}

static int fake_probe(void *state, const struct directory_server *server, uint64_t deadline_us, struct err *err)
{
	size_t i = server->port - 1;
	enum act act;

	(void)state;
	(void)deadline_us;
	pthread_mutex_lock(&fake.lock);
	act = fake.acts[i];
	fake.probes[i]++;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	return act == REFUSE ? err_set(err, -PTA_ENET, "refused") : 0;
}

static int fake_state(const struct directory_conf *conf, void **state, struct err *err)
{
	(void)err;
	*state = (void *)(uintptr_t)conf;
	return 0;
}

static void fake_free(void *state)
{
	(void)state;
}

static const struct validator_method fake_method;
static const struct worker_method fake_worker = {
	.method = &fake_method,
	.open = fake_state,
	.close = fake_free,
	.validate = fake_validate,
	.probe = fake_probe,
};

static int fake_open(const struct directory_conf *conf, struct dc_pool *pool, struct validator **out, struct err *err)
{
	return worker_validator_open(&fake_worker, conf, pool, out, err);
}

static const struct validator_method fake_method = {
	.name = "fake",
	.open = fake_open,
	.start = worker_validator_start,
	.capacity = worker_validator_capacity,
	.changed = worker_validator_changed,
	.close = worker_validator_close,
	.report = worker_validator_report,
};

static void wait_asked(size_t i, unsigned n)
{
	pthread_mutex_lock(&fake.lock);
	while (fake.asked[i] < n)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

static unsigned asked(size_t i)
{
	unsigned n;

	pthread_mutex_lock(&fake.lock);
	n = fake.asked[i];
	pthread_mutex_unlock(&fake.lock);
	return n;
}

static void release_all(void)
{
	assert_int_equal(eventfd_write(fake.release, 1), 0);
}

static void open_fake(struct bench *bench, const enum act *acts, size_t n)
{
	struct directory_server servers[DCS];

	fake.release = eventfd(0, EFD_CLOEXEC);
	assert_true(fake.release >= 0);
	fake.at_once = fake.most_at_once = 0;
	memset(fake.asked, 0, sizeof(fake.asked));
	memset(fake.probes, 0, sizeof(fake.probes));
	for (size_t i = 0; i < n; i++) {
		servers[i] = server_of(i);
		fake.acts[i] = acts[i];
	}
	bench_init(bench);
	bench_open(bench, &fake_method, servers, n);
	for (size_t i = 0; i < n; i++)
		bench_wait_state(bench, i, acts[i] == REFUSE ? "down" : "up");
}

static void close_fake(struct bench *bench)
{
	bench_close(bench);
	close(fake.release);
}

static unsigned capacity(const struct bench *bench)
{
	return bench->v->method->capacity(bench->v);
}

static void as_many_at_a_time_as_there_are_workers(void **state)
{
	struct job_try tries[17];
	struct bench bench;

	(void)state;
	open_fake(&bench, (const enum act[]){HOLD}, 1);
	assert_int_equal(capacity(&bench), 4);
	for (size_t i = 0; i < 17; i++)
		job_try_init(&tries[i], "alice", "right", 20000);
	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(job_try_start(&tries[i], &bench), 0);
		assert_int_equal(capacity(&bench), i < 3 ? 3 - i : 0);
	}
	assert_int_equal(job_try_start(&tries[16], &bench), -PTA_EBUSY);
	wait_asked(0, 4);
	assert_int_equal(bench_report(&bench, 0).busy, 4);
	release_all();
	for (size_t i = 0; i < 16; i++)
		assert_verdict(job_try_wait(&tries[i]), VERDICT_SUCCESS, 0, true);
	assert_int_equal(fake.most_at_once, 4);
	assert_int_equal(capacity(&bench), 4);
	assert_int_equal(job_try_start(&tries[16], &bench), 0);
	assert_verdict(job_try_wait(&tries[16]), VERDICT_SUCCESS, 0, true);
	assert_int_equal(bench_report(&bench, 0).busy, 0);
	close_fake(&bench);
}

static void a_job_that_waits_for_too_long_ends_in_time(void **state)
{
	struct job_try holding[4], t;
	struct bench bench;

	(void)state;
	open_fake(&bench, (const enum act[]){HOLD}, 1);
	for (size_t i = 0; i < 4; i++) {
		job_try_init(&holding[i], "alice", "right", 20000);
		assert_int_equal(job_try_start(&holding[i], &bench), 0);
	}
	wait_asked(0, 4);
	job_try_init(&t, "alice", "right", 50);
	assert_int_equal(job_try_start(&t, &bench), 0);
	assert_verdict(job_try_wait(&t), VERDICT_UNAVAILABLE, REASON_TIMEOUT, false);
	assert_int_equal(asked(0), 4);
	release_all();
	for (size_t i = 0; i < 4; i++)
		assert_verdict(job_try_wait(&holding[i]), VERDICT_SUCCESS, 0, true);
	close_fake(&bench);
}

static void what_was_not_sent_goes_on_to_the_next(void **state)
{
	struct verdict got;
	struct bench bench;
	struct job_try t;

	(void)state;
	open_fake(&bench, (const enum act[]){ACCEPT, ACCEPT, ACCEPT}, 3);
	act_at(0, REFUSE);
	act_at(1, REFUSE);
	job_try_init(&t, "alice", "right", 20000);
	assert_int_equal(job_try_start(&t, &bench), 0);
	got = job_try_wait(&t);
	assert_verdict(got, VERDICT_SUCCESS, 0, true);
	assert_string_equal(got.dc, "dc2.example.com");
	assert_string_equal(t.steps, "connect connect");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(asked(i), 1);
	/* None is left: each was asked once. */
	act_at(2, REFUSE);
	got = job_try_one(&bench, "alice@example.com", "right");
	assert_verdict(got, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, false);
	assert_string_equal(got.detail, "refused");
	assert_int_equal(asked(2), 2);
	close_fake(&bench);
}

/* One connect that fails beside others that come about does not make the only controller a dead one, nor the job lost. */
static void a_connect_that_fails_beside_others_is_made_again(void **state)
{
	static const enum act acts[] = {ACCEPT};
	struct bench bench;

	(void)state;
	open_fake(&bench, acts, 1);
	fake.pool = bench.pool;
	assert_verdict(job_try_one(&bench, "anna@example.com", "p"), VERDICT_SUCCESS, 0, true);
	act_at(0, REFUSE_FIRST);
	assert_verdict(job_try_one(&bench, "anna@example.com", "p"), VERDICT_SUCCESS, 0, true);
	assert_int_equal(fake.asked[0], 3);
	assert_string_equal(bench_report(&bench, 0).state, "up");
	assert_int_equal(bench_report(&bench, 0).failures, 1);
	close_fake(&bench);
}

static void what_was_sent_ends_there(void **state)
{
	struct verdict got;
	struct bench bench;

	(void)state;
	open_fake(&bench, (const enum act[]){LOSE, ACCEPT}, 2);
	got = job_try_one(&bench, "alice@example.com", "right");
	assert_verdict(got, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, true);
	assert_string_equal(got.dc, "dc0.example.com");
	assert_int_equal(asked(1), 0);
	close_fake(&bench);
}

static void nothing_is_taken_while_all_are_down(void **state)
{
	struct bench bench;
	struct job_try t;

	(void)state;
	open_fake(&bench, (const enum act[]){REFUSE, REFUSE}, 2);
	assert_int_equal(capacity(&bench), 0);
	job_try_init(&t, "alice", "right", 20000);
	assert_int_equal(job_try_start(&t, &bench), -PTA_ENODC);
	act_at(1, ACCEPT);
	bench_wait_state(&bench, 1, "up");
	assert_int_equal(capacity(&bench), 4);
	assert_int_equal(job_try_start(&t, &bench), 0);
	assert_verdict(job_try_wait(&t), VERDICT_SUCCESS, 0, true);
	assert_int_equal(asked(0), 0);
	close_fake(&bench);
}

static void a_new_controller_is_probed(void **state)
{
	const struct dc_candidate other = {.server = server_of(1)};
	struct bench bench;

	(void)state;
	open_fake(&bench, (const enum act[]){REFUSE}, 1);
	act_at(1, ACCEPT);
	dc_pool_update(bench.pool, &other, 1);
	bench_wait_state(&bench, 1, "up");
	assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_SUCCESS, 0, true);
	assert_int_equal(asked(1), 1);
	close_fake(&bench);
}

/* It owes an answer for much longer than usual: others are preferred, long before its time-out. */
static void a_silent_controller_is_suspected(void **state)
{
	struct job_try silent;
	struct bench bench;

	(void)state;
	open_fake(&bench, (const enum act[]){HOLD, ACCEPT}, 2);
	job_try_init(&silent, "alice", "right", 20000);
	assert_int_equal(job_try_start(&silent, &bench), 0);
	bench_wait_state(&bench, 0, "suspect");
	assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_SUCCESS, 0, true);
	assert_int_equal(asked(1), 1);
	release_all();
	assert_verdict(job_try_wait(&silent), VERDICT_SUCCESS, 0, true);
	assert_string_equal(bench_report(&bench, 0).state, "up");
	close_fake(&bench);
}

/* A deadline of the job's own says nothing about the controller. */
static void who_came_late_is_not_held_against_the_controller(void **state)
{
	struct bench bench;
	struct job_try t;

	(void)state;
	open_fake(&bench, (const enum act[]){HOLD}, 1);
	job_try_init(&t, "alice", "right", 50);
	assert_int_equal(job_try_start(&t, &bench), 0);
	assert_verdict(job_try_wait(&t), VERDICT_UNAVAILABLE, REASON_TIMEOUT, true);
	assert_string_equal(bench_report(&bench, 0).state, "up");
	act_at(0, HOLD_FIRST);
	job_try_init(&t, "alice", "right", 50);
	assert_int_equal(job_try_start(&t, &bench), 0);
	assert_verdict(job_try_wait(&t), VERDICT_UNAVAILABLE, REASON_TIMEOUT, false);
	assert_string_equal(bench_report(&bench, 0).state, "up");
	close_fake(&bench);
}

/* What waits ends at once; what was sent has until the deadline; then it is cut, long before the job's own. */
static void closing_waits_for_what_was_sent_until_its_deadline(void **state)
{
	struct job_try sent[4], waiting;
	struct bench bench;
	uint64_t before;

	(void)state;
	open_fake(&bench, (const enum act[]){HOLD}, 1);
	for (size_t i = 0; i < 4; i++) {
		job_try_init(&sent[i], "alice", "right", 600000);
		assert_int_equal(job_try_start(&sent[i], &bench), 0);
	}
	wait_asked(0, 4);
	job_try_init(&waiting, "alice", "right", 600000);
	assert_int_equal(job_try_start(&waiting, &bench), 0);
	before = clock_mono_us();
	bench.v->method->close(bench.v, before + 100000);
	assert_true(clock_mono_us() - before >= 100000);
	assert_true(clock_mono_us() - before < 60000000);
	assert_verdict(job_try_wait(&waiting), VERDICT_UNAVAILABLE, REASON_OVERLOADED, false);
	for (size_t i = 0; i < 4; i++)
		assert_verdict(job_try_wait(&sent[i]), VERDICT_UNAVAILABLE, REASON_TIMEOUT, true);
	dc_pool_free(bench.pool);
	close(fake.release);
}

struct closing {
	struct bench *bench;
	uint64_t deadline_us;
};

static void *close_there(void *arg)
{
	struct closing *closing = arg;

	closing->bench->v->method->close(closing->bench->v, closing->deadline_us);
	return NULL;
}

static void closing_ends_when_the_last_answer_came(void **state)
{
	struct bench bench;
	struct closing closing = {.bench = &bench, .deadline_us = UINT64_MAX};
	struct job_try sent, waiting[8];
	pthread_t thread;

	(void)state;
	open_fake(&bench, (const enum act[]){HOLD}, 1);
	bench.conf.connections = 4;
	job_try_init(&sent, "alice", "right", 600000);
	assert_int_equal(job_try_start(&sent, &bench), 0);
	wait_asked(0, 1);
	for (size_t i = 0; i < 8; i++) {
		job_try_init(&waiting[i], "alice", "right", 600000);
		assert_int_equal(job_try_start(&waiting[i], &bench), 0);
	}
	assert_int_equal(pthread_create(&thread, NULL, close_there, &closing), 0);
	/* Those that no worker had taken yet. */
	assert_verdict(job_try_wait(&waiting[7]), VERDICT_UNAVAILABLE, REASON_OVERLOADED, false);
	release_all();
	pthread_join(thread, NULL);
	assert_verdict(job_try_wait(&sent), VERDICT_SUCCESS, 0, true);
	for (size_t i = 0; i < 7; i++)
		assert_in_range(job_try_wait(&waiting[i]).code, VERDICT_UNAVAILABLE, VERDICT_SUCCESS);
	dc_pool_free(bench.pool);
	close(fake.release);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_many_at_a_time_as_there_are_workers),
		cmocka_unit_test(a_job_that_waits_for_too_long_ends_in_time),
		cmocka_unit_test(what_was_not_sent_goes_on_to_the_next),
		cmocka_unit_test(a_connect_that_fails_beside_others_is_made_again),
		cmocka_unit_test(what_was_sent_ends_there),
		cmocka_unit_test(nothing_is_taken_while_all_are_down),
		cmocka_unit_test(a_new_controller_is_probed),
		cmocka_unit_test(a_silent_controller_is_suspected),
		cmocka_unit_test(who_came_late_is_not_held_against_the_controller),
		cmocka_unit_test(closing_waits_for_what_was_sent_until_its_deadline),
		cmocka_unit_test(closing_ends_when_the_last_answer_came),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
