#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/worker_impl.h"

#define QUEUE_FACTOR 4 /* jobs taken at most, in workers */

static struct worker_validator *worker_of(const struct validator *v)
{
	return MAIL_CONTAINER((void *)(uintptr_t)v, struct worker_validator, base);
}

int worker_validator_start(struct validator *validator, struct job *job)
{
	struct worker_validator *v = worker_of(validator);
	struct work *call = worker_call_new(v);
	size_t dc;
	int r = 0;

	if (!call)
		return -PTA_EBUSY;
	if (dc_pool_pick(v->pool, &dc) < 0)
		r = -PTA_ENODC;
	pthread_mutex_lock(&v->lock);
	if (v->stopping)
		r = -PTA_ECLOSED;
	else if (r == 0 && v->pending >= QUEUE_FACTOR * v->conf->connections)
		r = -PTA_EBUSY;
	if (r == 0)
		r = workpool_submit(v->workers, call);
	if (r == 0) {
		job->mail.next = NULL;
		*v->waiting_last = &job->mail;
		v->waiting_last = &job->mail.next;
		/* Behind all the workers: it may have to be ended while it waits. */
		if (v->pending++ >= v->conf->connections && job->deadline_us < v->wakes_us)
			pthread_cond_signal(&v->wake);
	}
	pthread_mutex_unlock(&v->lock);
	if (r < 0)
		worker_call_free(call);
	return r;
}

unsigned worker_validator_capacity(const struct validator *validator)
{
	struct worker_validator *v = worker_of(validator);
	unsigned most = v->conf->connections, room = 0;
	size_t dc;

	if (dc_pool_pick(v->pool, &dc) < 0)
		return 0;
	pthread_mutex_lock(&v->lock);
	if (!v->stopping && v->pending < most)
		room = most - v->pending;
	pthread_mutex_unlock(&v->lock);
	return room;
}

void worker_validator_changed(struct validator *validator)
{
	/* A new controller is to be probed. */
	worker_wake_keeper(worker_of(validator));
}

void worker_validator_report(const struct validator *validator, size_t dc, struct dc_report *out)
{
	struct worker_validator *v = worker_of(validator);

	/* A connection lasts as long as its password. */
	out->connections = out->busy = atomic_load(&v->busy[dc]);
}

static void raise_cut(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		abort(); /* an eventfd that counts to one always has room */
}

static void wait_drained(struct worker_validator *v, uint64_t deadline_us)
{
	pthread_mutex_lock(&v->lock);
	while (v->pending > 0) {
		uint64_t now = clock_mono_us();
		struct timespec ts;

		if (now >= deadline_us)
			break;
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_nsec += (long)((deadline_us - now) % 1000000 * 1000);
		ts.tv_sec += (time_t)((deadline_us - now) / 1000000) + ts.tv_nsec / 1000000000;
		ts.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&v->drained, &v->lock, &ts);
	}
	v->cut = v->pending > 0;
	pthread_mutex_unlock(&v->lock);
}

static void worker_free(struct worker_validator *v)
{
	workpool_free(v->workers);
	if (v->state)
		v->method->close(v->state);
	if (v->cut_jobs >= 0)
		close(v->cut_jobs);
	if (v->cut_probes >= 0)
		close(v->cut_probes);
	pthread_cond_destroy(&v->drained);
	pthread_cond_destroy(&v->wake);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

void worker_validator_close(struct validator *validator, uint64_t deadline_us)
{
	struct worker_validator *v = worker_of(validator);
	struct mail *unsent;
	uint64_t next_us;

	pthread_mutex_lock(&v->lock);
	v->stopping = true;
	unsent = worker_take_overdue(v, 0, &next_us);
	pthread_cond_broadcast(&v->wake);
	pthread_mutex_unlock(&v->lock);
	raise_cut(v->cut_probes);
	worker_finish_overdue(v, unsent);
	wait_drained(v, deadline_us);
	raise_cut(v->cut_jobs);
	worker_keepers_join(v);
	worker_free(v);
}

int worker_validator_open(const struct worker_method *method, const struct directory_conf *conf, struct dc_pool *pool, struct validator **out, struct err *err)
{
	struct worker_validator *v = calloc(1, sizeof(*v));
	pthread_condattr_t monotonic;
	int r;

	if (!v)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	v->base = (struct validator){.method = method->method};
	v->method = method;
	v->conf = conf;
	v->pool = pool;
	v->waiting_last = &v->waiting;
	v->wakes_us = UINT64_MAX;
	v->cut_jobs = eventfd(0, EFD_CLOEXEC);
	v->cut_probes = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&v->wake, &monotonic);
	pthread_cond_init(&v->drained, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = method->open(conf, &v->state, err);
	if (r < 0)
		goto fail;
	r = err_set(err, -PTA_ENOMEM, "[directory %s] no threads or file descriptors for %u workers (connections)", conf->name, conf->connections);
	if (v->cut_jobs < 0 || v->cut_probes < 0)
		goto fail;
	if (workpool_new(method->method->name, conf->connections, QUEUE_FACTOR * conf->connections, &v->workers) < 0)
		goto fail;
	*out = &v->base;
	if (worker_keepers_start(v) == 0)
		return 0;
	*out = NULL;
	worker_validator_close(&v->base, 0);
	return r;
fail:
	worker_free(v);
	return r;
}
