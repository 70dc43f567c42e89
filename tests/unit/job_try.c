#include "job_try.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "wire/credential.h"

#define WAIT_MS 30000

void bench_init(struct bench *bench)
{
	static char name[] = "example.com", netbios[] = "EXAMPLE";

	*bench = (struct bench){.conf = {.name = name, .netbios = netbios, .connections = 4, .connect_timeout = 10000, .bind_timeout = 10000}};
}

static void on_changed(void *arg)
{
	struct bench *bench = arg;

	bench->v->method->changed(bench->v);
}

void bench_open(struct bench *bench, const struct validator_method *method, const struct directory_server *servers, size_t n)
{
	struct dc_candidate list[8] = {0};
	struct err err = {""};

	for (size_t i = 0; i < n; i++)
		list[i] = (struct dc_candidate){.server = servers[i], .tier = (unsigned)i};
	if (dc_pool_new(&bench->conf, &bench->pool, &err) < 0)
		fail_msg("%s", err.text);
	dc_pool_update(bench->pool, list, n);
	if (method->open(&bench->conf, bench->pool, &bench->v, &err) < 0)
		fail_msg("%s", err.text);
	dc_pool_watch(bench->pool, NULL, on_changed, bench);
}

void bench_close(struct bench *bench)
{
	bench->v->method->close(bench->v, clock_mono_us());
	dc_pool_free(bench->pool);
}

struct dc_report bench_report(struct bench *bench, size_t dc)
{
	struct dc_report report = {0};

	dc_pool_report(bench->pool, dc, &report);
	bench->v->method->report(bench->v, dc, &report);
	return report;
}

void bench_wait_state(struct bench *bench, size_t dc, const char *state)
{
	for (int ms = 0; strcmp(bench_report(bench, dc).state, state) != 0; ms += 5) {
		if (ms > WAIT_MS)
			fail_msg("dc %zu is %s, not %s", dc, bench_report(bench, dc).state, state);
		poll(NULL, 0, 5);
	}
}

static void note_done(struct job *job, const struct verdict *verdict)
{
	struct job_try *t = (struct job_try *)job;

	assert_null(job->password);
	pthread_mutex_lock(&t->lock);
	t->verdict = *verdict;
	t->ended++;
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

static void note_step(struct job *job, const char *what, uint64_t took_us, const char *text)
{
	struct job_try *t = (struct job_try *)job;
	size_t len = strlen(t->steps);

	(void)took_us;
	(void)text;
	snprintf(t->steps + len, sizeof(t->steps) - len, "%s%s", len ? " " : "", what);
}

void job_try_name(struct job_try *t, const char *name)
{
	struct err err = {""};

	if (credential_parse(name, strlen(name), &t->job.credential, &err) < 0)
		fail_msg("%s: %s", name, err.text);
}

void job_try_init(struct job_try *t, const char *user, const char *password, unsigned deadline_ms)
{
	char name[128];

	*t = (struct job_try){.job = {.done = note_done, .step = note_step}};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	random_id(t->job.id);
	snprintf(name, sizeof(name), "%s@example.com", user);
	job_try_name(t, name);
	t->job.password = secret_dup(password, strlen(password));
	t->job.deadline_us = clock_mono_us() + deadline_ms * 1000ull;
}

int job_try_start(struct job_try *t, struct bench *bench)
{
	t->job.validator = bench->v;
	return bench->v->method->start(bench->v, &t->job);
}

struct verdict job_try_wait(struct job_try *t)
{
	pthread_mutex_lock(&t->lock);
	while (!t->ended)
		pthread_cond_wait(&t->changed, &t->lock);
	assert_int_equal(t->ended, 1);
	pthread_mutex_unlock(&t->lock);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->changed);
	return t->verdict;
}

struct verdict job_try_one(struct bench *bench, const char *name, const char *password)
{
	struct job_try t;

	job_try_init(&t, "x", password, 20000);
	job_try_name(&t, name);
	assert_int_equal(job_try_start(&t, bench), 0);
	return job_try_wait(&t);
}

void assert_verdict(struct verdict got, enum verdict_code code, enum verdict_reason reason, bool sent)
{
	if (got.code != code || got.reason != reason || got.password_sent != sent)
		fail_msg("got %s %s sent %d (%s), not %s %s sent %d", verdict_name(got.code), verdict_reason_name(got.reason), got.password_sent, got.detail,
			verdict_name(code), verdict_reason_name(reason), sent);
}
