#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "directory/dial.h"
#include "directory/job_check.h"
#include "directory/worker_impl.h"

#define MAX_ROUNDS 3 /* through the controllers that are thought good */

/* Tells a worker that there is one job more: which one, it finds out by itself. */
struct call {
	struct work work;
	struct worker_validator *v;
};

void attempt_step(const struct attempt *attempt, const char *what, uint64_t took_us, const char *text)
{
	if (attempt->job->step)
		attempt->job->step(attempt->job, what, took_us, text);
}

void attempt_unavailable(struct attempt *attempt, enum verdict_reason reason, bool sent, const char *detail)
{
	struct verdict *verdict = &attempt->verdict;

	*verdict = verdict_unavailable(reason, sent);
	snprintf(verdict->detail, sizeof(verdict->detail), "%s", detail);
}

static void finish(struct worker_validator *v, struct job *job, const struct verdict *verdict)
{
	/* First, so that whoever is told finds the room. close() joins this thread before anything is freed. */
	pthread_mutex_lock(&v->lock);
	if (--v->pending == 0 && v->stopping)
		pthread_cond_signal(&v->drained);
	pthread_mutex_unlock(&v->lock);
	job_done(job, verdict);
}

void worker_finish_unsent(struct worker_validator *v, struct job *job, enum verdict_reason reason, const char *dc, const char *detail)
{
	struct verdict verdict = verdict_unavailable(reason, false);

	snprintf(verdict.dc, sizeof(verdict.dc), "%s", dc);
	snprintf(verdict.detail, sizeof(verdict.detail), "%s", detail);
	finish(v, job, &verdict);
}

static struct job *next_waiting(struct worker_validator *v)
{
	struct mail *mail;

	pthread_mutex_lock(&v->lock);
	mail = v->waiting;
	if (mail) {
		v->waiting = mail->next;
		if (!v->waiting)
			v->waiting_last = &v->waiting;
	}
	pthread_mutex_unlock(&v->lock);
	return mail ? worker_job_of(mail) : NULL;
}

bool worker_is_stopping(struct worker_validator *v)
{
	bool stopping;

	pthread_mutex_lock(&v->lock);
	stopping = v->stopping;
	pthread_mutex_unlock(&v->lock);
	return stopping;
}

static bool is_cut(struct worker_validator *v)
{
	bool cut;

	pthread_mutex_lock(&v->lock);
	cut = v->cut;
	pthread_mutex_unlock(&v->lock);
	return cut;
}

static void begin(struct worker_validator *v, struct running *running, size_t dc, uint64_t now)
{
	*running = (struct running){.dc = dc, .overdue_us = now + dc_pool_patience_us(v->pool, dc)};
	dc_pool_hold(v->pool, dc);
	atomic_fetch_add(&v->busy[dc], 1);
	pthread_mutex_lock(&v->lock);
	running->next = v->running;
	running->prev = &v->running;
	if (running->next)
		running->next->prev = &running->next;
	v->running = running;
	/* Keepers sleep past it only if none looked since: about once per patience, not once per job. */
	if (running->overdue_us < v->wakes_us)
		pthread_cond_signal(&v->wake);
	pthread_mutex_unlock(&v->lock);
}

static void end(struct worker_validator *v, struct running *running)
{
	pthread_mutex_lock(&v->lock);
	*running->prev = running->next;
	if (running->next)
		running->next->prev = running->prev;
	pthread_mutex_unlock(&v->lock);
	atomic_fetch_sub(&v->busy[running->dc], 1);
}

/* The job's own deadline cut it short, or we are closing: that says nothing about the controller. */
static bool is_to_blame(struct worker_validator *v, const struct attempt *attempt, uint64_t now, uint64_t took, unsigned limit_ms)
{
	return !is_cut(v) && (attempt->outcome == DC_LOST || now < attempt->deadline_us || took >= limit_ms * 1000ull);
}

static void ended(struct worker_validator *v, size_t dc, struct attempt *attempt, uint64_t took)
{
	const struct directory_conf *conf = v->conf;
	struct verdict *verdict = &attempt->verdict;
	bool is_answered = attempt->outcome == DC_ANSWERED || attempt->outcome == DC_BUSY;
	uint64_t directory_us = took > attempt->connect_us ? took - attempt->connect_us : 1;
	uint64_t now = clock_mono_us();

	memcpy(verdict->dc, attempt->server->host, sizeof(verdict->dc));
	verdict->directory_us = directory_us < UINT32_MAX ? (uint32_t)directory_us : UINT32_MAX;
	if (is_answered)
		dc_pool_connected(v->pool, dc);
	if (is_answered || is_to_blame(v, attempt, now, directory_us, conf->bind_timeout))
		dc_pool_bound(v->pool, dc, attempt->outcome, took, verdict->detail);
	if (attempt->outcome != DC_ANSWERED)
		worker_wake_keeper(v);
	if (attempt->fault)
		log_event(LOG_ERR, "bind.fault", F_STR("request", attempt->job->id), F_STR("directory", conf->name), F_STR("dc", verdict->dc),
			F_STR("answer", verdict->detail));
	else if (attempt->outcome == DC_LOST || attempt->outcome == DC_TIMED_OUT)
		log_event(LOG_WARNING, "bind.lost", F_STR("request", attempt->job->id), F_STR("directory", conf->name), F_STR("dc", verdict->dc),
			F_STR("error", verdict->detail), F_MS("took", took));
}

static void not_sent(struct worker_validator *v, size_t dc, const struct attempt *attempt, uint64_t began, const struct err *err)
{
	const struct directory_conf *conf = v->conf;
	uint64_t took = clock_mono_us() - began;
	/* Others came through meanwhile: a lost packet, or a full queue of connections there. */
	bool others = dc_pool_good_since(v->pool, dc, began);

	attempt_step(attempt, "connect", took, err->text);
	if (is_to_blame(v, attempt, clock_mono_us(), took, conf->connect_timeout))
		dc_pool_connect_failed(v->pool, dc, others, err->text);
	worker_wake_keeper(v);
	log_event(LOG_NOTICE, "bind.not_sent", F_STR("request", attempt->job->id), F_STR("directory", conf->name), F_STR("dc", attempt->server->host),
		F_STR("error", err->text), F_MS("took", took));
}

/* True: the job has ended. */
static bool try_at(struct worker_validator *v, struct job *job, size_t dc, struct err *err)
{
	const struct directory_conf *conf = v->conf;
	uint64_t now = clock_mono_us(), connect_end = now + conf->connect_timeout * 1000ull, took;
	struct attempt attempt = {
		.conf = conf,
		.server = dc_pool_server(v->pool, dc),
		.job = job,
		.deadline_us = job->deadline_us,
		.connect_deadline_us = connect_end < job->deadline_us ? connect_end : job->deadline_us,
		.outcome = DC_ANSWERED,
	};
	struct running running;
	int r;

	begin(v, &running, dc, now);
	r = v->method->validate(v->state, &attempt, err);
	took = clock_mono_us() - now;
	end(v, &running);
	if (r == 0)
		ended(v, dc, &attempt, took);
	else
		not_sent(v, dc, &attempt, now, err);
	dc_pool_drop(v->pool, dc);
	if (r == 0)
		finish(v, job, &attempt.verdict);
	return r == 0;
}

/* The next controller for a job that was not sent. Those that are still thought good are asked again once all were tried. */
static int pick_next(struct worker_validator *v, uint64_t *tried, unsigned *rounds, size_t *dc)
{
	if (*tried && dc_pool_pick_other(v->pool, *tried, dc) == 0)
		return 0;
	if (*rounds == MAX_ROUNDS)
		return -PTA_ENODC;
	++*rounds;
	*tried = 0;
	return dc_pool_pick(v->pool, dc);
}

static void validate(struct worker_validator *v, struct job *job)
{
	struct err err = {"no domain controller of this section can be reached"};
	char last[LIMIT_DOMAIN + 1] = "";
	struct verdict refused;
	unsigned rounds = 0;
	uint64_t tried = 0;
	size_t dc;

	if (!job_check(job, clock_mono_us(), &refused)) {
		finish(v, job, &refused);
		return;
	}
	for (;;) {
		if (worker_is_stopping(v)) {
			worker_finish_unsent(v, job, REASON_OVERLOADED, last, "the validator is closing");
			return;
		}
		if (pick_next(v, &tried, &rounds, &dc) < 0) {
			worker_finish_unsent(v, job, REASON_DIRECTORY_UNREACHABLE, last, err.text);
			return;
		}
		tried |= 1ull << dc;
		memcpy(last, dc_pool_server(v->pool, dc)->host, sizeof(last));
		if (try_at(v, job, dc, &err))
			return;
		if (clock_mono_us() >= job->deadline_us) {
			worker_finish_unsent(v, job, REASON_TIMEOUT, last, err.text);
			return;
		}
	}
}

static void run_job(struct work *work)
{
	struct call *call = MAIL_CONTAINER(work, struct call, work);
	struct worker_validator *v = call->v;
	struct job *job;

	free(call);
	job = next_waiting(v);
	/* Its deadline may have ended it meanwhile. */
	if (!job)
		return;
	dial_cancel_by(v->cut_jobs);
	validate(v, job);
}

struct work *worker_call_new(struct worker_validator *v)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->work.run = run_job;
	call->v = v;
	return &call->work;
}

void worker_call_free(struct work *work)
{
	free(MAIL_CONTAINER(work, struct call, work));
}
