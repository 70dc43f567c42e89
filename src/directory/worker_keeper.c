#include <signal.h>
#include <time.h>

#include "base/clock.h"
#include "directory/dial.h"
#include "directory/worker_impl.h"

void worker_wake_keeper(struct worker_validator *v)
{
	pthread_mutex_lock(&v->lock);
	pthread_cond_signal(&v->wake);
	pthread_mutex_unlock(&v->lock);
}

struct mail *worker_take_overdue(struct worker_validator *v, uint64_t now, uint64_t *next_us)
{
	struct mail *overdue = NULL, **last = &overdue, **at = &v->waiting, *mail;

	while ((mail = *at)) {
		uint64_t deadline = worker_job_of(mail)->deadline_us;

		if (v->stopping || deadline <= now) {
			*at = mail->next;
			mail->next = NULL;
			*last = mail;
			last = &mail->next;
			continue;
		}
		*next_us = deadline < *next_us ? deadline : *next_us;
		at = &mail->next;
	}
	v->waiting_last = at;
	return overdue;
}

void worker_finish_overdue(struct worker_validator *v, struct mail *mail)
{
	bool stopping = worker_is_stopping(v);
	struct mail *next;

	for (; mail; mail = next) {
		next = mail->next;
		if (stopping)
			worker_finish_unsent(v, worker_job_of(mail), REASON_OVERLOADED, "", "the validator is closing");
		else
			worker_finish_unsent(v, worker_job_of(mail), REASON_TIMEOUT, "", "no worker was free in time");
	}
}

/* The controllers that owe an answer for too long, a bit for each. Under the lock. */
static uint64_t find_silent(struct worker_validator *v, uint64_t now, uint64_t *next_us)
{
	uint64_t silent = 0;

	for (struct running *running = v->running; running; running = running->next) {
		if (running->overdue_us <= now) {
			silent |= 1ull << running->dc;
			running->overdue_us = UINT64_MAX;
		}
		*next_us = running->overdue_us < *next_us ? running->overdue_us : *next_us;
	}
	return silent;
}

static void probe(struct worker_validator *v, size_t dc)
{
	const struct directory_conf *conf = v->conf;
	struct err err = {""};
	int r;

	dc_pool_hold(v->pool, dc);
	r = v->method->probe(v->state, dc_pool_server(v->pool, dc), clock_mono_us() + conf->connect_timeout * 1000ull, &err);
	if (r == 0)
		dc_pool_connected(v->pool, dc);
	else if (!worker_is_stopping(v))
		dc_pool_connect_failed(v->pool, dc, 0, err.text);
	dc_pool_drop(v->pool, dc);
}

/* Under the lock. */
static void sleep_until(struct worker_validator *v, uint64_t at_us)
{
	uint64_t now = clock_mono_us(), wait = at_us > now ? at_us - now : 0;
	struct timespec ts;

	if (v->stopping)
		return;
	if (at_us < v->wakes_us)
		v->wakes_us = at_us;
	if (at_us == UINT64_MAX) {
		pthread_cond_wait(&v->wake, &v->lock);
	} else {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_sec += (time_t)(wait / 1000000);
		ts.tv_nsec += (long)(wait % 1000000 * 1000);
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&v->wake, &v->lock, &ts);
	}
	/* The others' times are not known here: too early is harmless. */
	v->wakes_us = UINT64_MAX;
}

static void *keep(void *arg)
{
	struct worker_validator *v = arg;

	pthread_setname_np(pthread_self(), "probe");
	dial_cancel_by(v->cut_probes);
	pthread_mutex_lock(&v->lock);
	while (!v->stopping) {
		uint64_t now = clock_mono_us(), next_us = UINT64_MAX, wait_ms, silent;
		struct mail *overdue = worker_take_overdue(v, now, &next_us);
		size_t dc;
		int r;

		silent = find_silent(v, now, &next_us);
		pthread_mutex_unlock(&v->lock);
		worker_finish_overdue(v, overdue);
		for (dc = 0; silent; dc++, silent >>= 1)
			if (silent & 1)
				dc_pool_suspect(v->pool, dc);
		r = dc_pool_probe(v->pool, &dc, &wait_ms);
		if (r == 0) {
			/* Another keeps watch meanwhile. */
			worker_wake_keeper(v);
			probe(v, dc);
		} else if (wait_ms > 0 && now + wait_ms * 1000 < next_us) {
			next_us = now + wait_ms * 1000;
		}
		pthread_mutex_lock(&v->lock);
		if (r < 0)
			sleep_until(v, next_us);
	}
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

int worker_keepers_start(struct worker_validator *v)
{
	sigset_t all, before;
	int failed = 0;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!failed && v->nkeepers < KEEPERS) {
		failed = pthread_create(&v->keepers[v->nkeepers], NULL, keep, v);
		if (!failed)
			v->nkeepers++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed ? -PTA_ENOMEM : 0;
}

void worker_keepers_join(struct worker_validator *v)
{
	for (unsigned i = 0; i < v->nkeepers; i++)
		pthread_join(v->keepers[i], NULL);
}
