#include "directory/validator_simple.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "directory/bind_name.h"
#include "directory/job_check.h"
#include "directory/simple_impl.h"

#define CONNECTING_MAX 4	 /* at a time to one DC */
#define GROW_PAUSE_US 1000000ull /* after a connect failed beside living connections */
#define QUEUE_FACTOR 4		 /* jobs taken at most, in connections */
#define STOP_POLL_US 10000ull

static struct simple *simple_of(const struct validator *v)
{
	return MAIL_CONTAINER((void *)(uintptr_t)v, struct simple, base);
}

static struct job *job_of(struct mail *mail)
{
	return MAIL_CONTAINER(mail, struct job, mail);
}

/* The timer stands at or before whatever may expire first. It is not moved when that ends well: on_timer() looks again. */
void simple_wake_at(struct simple *v, uint64_t at_us)
{
	uint64_t now, wait;
	struct timeval tv;

	if (at_us >= v->timer_at_us)
		return;
	now = clock_mono_us();
	wait = at_us > now ? at_us - now : 0;
	tv = (struct timeval){.tv_sec = (time_t)(wait / 1000000), .tv_usec = (suseconds_t)(wait % 1000000)};
	v->timer_at_us = at_us;
	evtimer_add(v->timer, &tv);
}

void simple_finish(struct simple *v, struct job *job, const struct verdict *verdict)
{
	/* First, so that whoever is told finds the room. */
	unsigned left = atomic_fetch_sub(&v->pending, 1) - 1;

	job_done(job, verdict);
	if (left == 0 && v->stopping)
		event_base_loopbreak(v->loop);
}

void simple_finish_unsent(struct simple *v, struct job *job, enum verdict_code code, enum verdict_reason reason, const char *detail)
{
	struct verdict verdict = {.code = code, .reason = reason};

	snprintf(verdict.detail, sizeof(verdict.detail), "%s", detail);
	simple_finish(v, job, &verdict);
}

struct job *simple_next_waiting(struct simple *v)
{
	struct mail *mail = v->waiting;

	v->waiting = mail->next;
	if (!v->waiting)
		v->waiting_last = &v->waiting;
	v->nwaiting--;
	return job_of(mail);
}

static void put_waiting(struct simple *v, struct job *job)
{
	job->mail.next = NULL;
	*v->waiting_last = &job->mail;
	v->waiting_last = &job->mail.next;
	v->nwaiting++;
	simple_wake_at(v, job->deadline_us);
}

void simple_put_back_first(struct simple *v, struct job *job)
{
	job->mail.next = v->waiting;
	if (!v->waiting)
		v->waiting_last = &job->mail.next;
	v->waiting = &job->mail;
	v->nwaiting++;
	simple_wake_at(v, job->deadline_us);
}

bool simple_pick(struct simple *v, size_t *dc)
{
	bool found = dc_pool_pick(v->pool, dc) == 0;

	if (atomic_load_explicit(&v->reachable, memory_order_relaxed) != found)
		atomic_store(&v->reachable, found);
	return found;
}

void simple_note_bound(struct simple *v, size_t dc, enum dc_outcome outcome, uint64_t took_us, const char *detail)
{
	size_t other;

	dc_pool_bound(v->pool, dc, outcome, took_us, detail);
	if (outcome == DC_ANSWERED)
		return;
	simple_pick(v, &other);
	/* For the probe. */
	simple_wake_at(v, clock_mono_us());
}

static void fail_waiting(struct simple *v, enum verdict_reason reason, const char *detail)
{
	while (v->waiting)
		simple_finish_unsent(v, simple_next_waiting(v), VERDICT_UNAVAILABLE, reason, detail);
}

static void connect_to(struct simple *v, size_t dc)
{
	int r = connector_start(v->connector, dc);

	if (r < 0)
		dc_pool_connect_failed(v->pool, dc, atomic_load(&v->servers[dc].connections), "too many connects under way");
	else
		simple_wake_at(v, clock_mono_us() + v->conf->connect_timeout * 1000ull);
}

/* As many connections as there are jobs waiting for one, within the limits. */
static void grow(struct simple *v, size_t dc, unsigned wanted)
{
	struct server *server = &v->servers[dc];
	unsigned connections = atomic_load(&server->connections);

	if (connections > 0 && clock_mono_us() < server->grow_after_us) {
		simple_wake_at(v, server->grow_after_us);
		return;
	}
	for (;;) {
		unsigned under_way = connector_under_way(v->connector, dc);

		if (under_way >= wanted || under_way >= CONNECTING_MAX || connections + under_way >= v->conf->connections)
			return;
		connect_to(v, dc);
		if (connector_under_way(v->connector, dc) == under_way)
			return;
	}
}

/* Jobs wait for a first connection to this controller: when it becomes suspect for that. UINT64_MAX: never. */
static uint64_t overdue_at(const struct simple *v, size_t dc)
{
	const struct server *server = &v->servers[dc];
	uint64_t oldest = connector_oldest_us(v->connector, dc);

	if (oldest == UINT64_MAX || oldest == server->overdue_us || !v->waiting || atomic_load(&server->connections) > 0)
		return UINT64_MAX;
	return oldest + dc_pool_patience_us(v->pool, dc);
}

/* It is not coming about: others are asked meanwhile. Returns when to look again. */
static uint64_t sweep_connects(struct simple *v, size_t dc, uint64_t now)
{
	uint64_t at = overdue_at(v, dc);

	if (at > now)
		return at;
	v->servers[dc].overdue_us = connector_oldest_us(v->connector, dc);
	(void)dc_pool_suspect(v->pool, dc);
	return UINT64_MAX;
}

void simple_dispatch(struct simple *v)
{
	size_t dc;

	if (v->stopping) {
		fail_waiting(v, REASON_OVERLOADED, "the validator is closing");
		return;
	}
	for (;;) {
		struct slot *slot;

		if (!simple_pick(v, &dc)) {
			fail_waiting(v, REASON_DIRECTORY_UNREACHABLE, "no domain controller of this section can be reached");
			return;
		}
		if (!v->waiting || !(slot = slot_take(v, dc)))
			break;
		slot_send(slot, simple_next_waiting(v));
	}
	if (v->waiting) {
		grow(v, dc, v->nwaiting);
		simple_wake_at(v, overdue_at(v, dc));
	} else if (atomic_load(&v->servers[dc].connections) == 0) {
		grow(v, dc, 1);
	}
}

/* At the end of the loop's turn, so that whoever takes the outcomes is woken once for all that the turn brought. */
static void on_answered(evutil_socket_t fd, short what, void *arg)
{
	struct simple *v = arg;
	unsigned n = v->nanswered;

	(void)fd;
	(void)what;
	v->nanswered = 0;
	mailbox_hold();
	for (unsigned i = 0; i < n; i++) {
		simple_step(v->answered[i].job, "bind", v->answered[i].verdict.directory_us, v->answered[i].verdict.detail);
		simple_finish(v, v->answered[i].job, &v->answered[i].verdict);
	}
	mailbox_release();
}

void simple_answered(struct simple *v, struct job *job, const struct verdict *verdict)
{
	struct answered *answered = &v->answered[v->nanswered];

	answered->job = job;
	answered->verdict = *verdict;
	if (v->nanswered++ == 0)
		event_active(v->answered_event, EV_TIMEOUT, 0);
	if (v->nanswered == v->conf->connections)
		on_answered(-1, 0, v);
}

static void on_connected(void *arg, size_t dc, struct ldap_conn *conn, uint64_t took_us, const char *err_text)
{
	struct simple *v = arg;
	struct server *server = &v->servers[dc];
	unsigned living = atomic_load(&server->connections);

	if (conn) {
		/* Connections to one that hangs are there already. */
		if (!dc_pool_connected(v->pool, dc) && living > 0) {
			ldap_conn_close(conn);
			return;
		}
		if (!slot_new(v, dc, conn, took_us)) {
			server->grow_after_us = clock_mono_us() + GROW_PAUSE_US;
			return;
		}
		server->patience_us = dc_pool_patience_us(v->pool, dc);
		simple_wake_at(v, clock_mono_us() + IDLE_MAX_US);
	} else {
		dc_pool_connect_failed(v->pool, dc, living, err_text);
		server->grow_after_us = clock_mono_us() + GROW_PAUSE_US;
		for (struct mail *mail = v->waiting; mail; mail = mail->next)
			simple_step(job_of(mail), "connect", took_us, err_text);
		simple_wake_at(v, clock_mono_us());
	}
	simple_dispatch(v);
}

/* Ends what is overdue; returns when the next thing will be. */
static uint64_t sweep_waiting(struct simple *v, uint64_t now)
{
	struct mail *mail = v->waiting;
	uint64_t next = UINT64_MAX;

	v->waiting = NULL;
	v->waiting_last = &v->waiting;
	v->nwaiting = 0;
	while (mail) {
		struct job *job = job_of(mail);

		mail = mail->next;
		if (job->deadline_us <= now) {
			simple_finish_unsent(v, job, VERDICT_UNAVAILABLE, REASON_TIMEOUT, "no connection to a domain controller was free in time");
			continue;
		}
		put_waiting(v, job);
		next = job->deadline_us < next ? job->deadline_us : next;
	}
	return next;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct simple *v = arg;
	uint64_t now = clock_mono_us(), next = UINT64_MAX, at, wait_ms;
	size_t dc;

	(void)fd;
	(void)what;
	v->timer_at_us = UINT64_MAX;
	for (size_t i = 0; i < dc_pool_size(v->pool); i++) {
		at = slots_sweep(v, i, now);
		next = at < next ? at : next;
		at = sweep_connects(v, i, now);
		next = at < next ? at : next;
	}
	at = sweep_waiting(v, now);
	next = at < next ? at : next;
	at = connector_sweep(v->connector, now);
	next = at < next ? at : next;
	if (v->stopping) {
		/* A job may still be on its way through the mailbox. */
		at = now + STOP_POLL_US;
		next = at < next ? at : next;
		if (atomic_load(&v->pending) == 0)
			event_base_loopbreak(v->loop);
	} else {
		while (dc_pool_probe(v->pool, &dc, &wait_ms) == 0)
			if (connector_under_way(v->connector, dc) == 0)
				connect_to(v, dc);
		at = now + wait_ms * 1000;
		next = wait_ms > 0 && at < next ? at : next;
	}
	simple_wake_at(v, next);
	simple_dispatch(v);
}

static void take_job_in(struct simple *v, struct job *job)
{
	struct verdict refused;

	if (!job_check(job, clock_mono_us(), &refused))
		simple_finish(v, job, &refused);
	else if (v->stopping)
		simple_finish_unsent(v, job, VERDICT_UNAVAILABLE, REASON_OVERLOADED, "the validator is closing");
	else
		put_waiting(v, job);
}

static void on_jobs(evutil_socket_t fd, short what, void *arg)
{
	struct simple *v = arg;
	struct mail *next;

	(void)fd;
	(void)what;
	for (struct mail *mail = mailbox_take(v->jobs); mail; mail = next) {
		next = mail->next;
		if (mail == &v->stop)
			v->stopping = true;
		else if (mail == &v->changed)
			atomic_store(&v->changed_posted, false);
		else
			take_job_in(v, job_of(mail));
		if (mail == &v->stop || mail == &v->changed)
			simple_wake_at(v, clock_mono_us());
	}
	simple_dispatch(v);
}

static void *run(void *arg)
{
	struct simple *v = arg;

	pthread_setname_np(pthread_self(), "bind");
	/* Every controller is tried at once: one that is a black hole keeps nobody from the next. */
	simple_wake_at(v, 0);
	event_base_dispatch(v->loop);
	return NULL;
}

static void simple_free(struct simple *v)
{
	connector_free(v->connector);
	for (size_t dc = 0; v->pool && dc < dc_pool_size(v->pool); dc++)
		while (v->servers[dc].open)
			slot_close(v->servers[dc].open);
	if (v->jobs_event)
		event_free(v->jobs_event);
	if (v->timer)
		event_free(v->timer);
	if (v->answered_event)
		event_free(v->answered_event);
	free(v->answered);
	mailbox_free(v->jobs);
	if (v->loop)
		event_base_free(v->loop);
	buf_done(&v->name);
	free(v);
}

static int start_thread(struct simple *v)
{
	sigset_t all, before;
	int failed;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&v->thread, NULL, run, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed ? -PTA_ENOMEM : 0;
}

/* One thread uses the loop: no locks. */
static struct event_base *new_loop(void)
{
	struct event_config *config = event_config_new();
	struct event_base *loop = NULL;

	if (config && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
		loop = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return loop;
}

static int simple_open(const struct directory_conf *conf, struct dc_pool *pool, struct validator **out, struct err *err)
{
	struct simple *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	v->base.method = &validator_simple;
	v->conf = conf;
	v->pool = pool;
	v->waiting_last = &v->waiting;
	v->timer_at_us = UINT64_MAX;
	v->name = BUF_INIT(BIND_NAME_MAX);
	/* Without a list nothing is reachable before something was found. */
	atomic_store(&v->reachable, dc_pool_size(pool) > 0);
	r = err_set(err, -PTA_ENOMEM, "[directory %s] no memory or file descriptors for the bind thread", conf->name);
	v->loop = new_loop();
	if (!v->loop || mailbox_new(&v->jobs) < 0)
		goto fail;
	v->jobs_event = event_new(v->loop, mailbox_fd(v->jobs), EV_READ | EV_PERSIST, on_jobs, v);
	v->timer = evtimer_new(v->loop, on_timer, v);
	v->answered_event = event_new(v->loop, -1, 0, on_answered, v);
	v->answered = calloc(conf->connections, sizeof(*v->answered));
	if (!v->jobs_event || !v->timer || !v->answered_event || !v->answered || event_add(v->jobs_event, NULL) < 0)
		goto fail;
	r = connector_new(conf, v->pool, v->loop, on_connected, v, &v->connector, err);
	if (r < 0)
		goto fail;
	if (conf->tls == DIRECTORY_TLS_NONE)
		log_event(LOG_WARNING, "directory.plaintext", F_STR("directory", conf->name),
			F_STR("warning", "tls = none: PASSWORDS ARE SENT UNENCRYPTED; only loopback addresses are connected to"));
	r = start_thread(v);
	if (r < 0) {
		err_set(err, r, "[directory %s] the bind thread cannot be started", conf->name);
		goto fail;
	}
	*out = &v->base;
	return 0;
fail:
	simple_free(v);
	return r;
}

static int simple_start(struct validator *validator, struct job *job)
{
	struct simple *v = simple_of(validator);
	unsigned before = atomic_fetch_add(&v->pending, 1);
	int r = 0;

	if (atomic_load(&v->closed))
		r = -PTA_ECLOSED;
	else if (!atomic_load(&v->reachable))
		r = -PTA_ENODC;
	else if (before >= QUEUE_FACTOR * v->conf->connections)
		r = -PTA_EBUSY;
	if (r < 0)
		atomic_fetch_sub(&v->pending, 1);
	else
		mailbox_post(v->jobs, &job->mail);
	return r;
}

static unsigned simple_capacity(const struct validator *validator)
{
	const struct simple *v = simple_of(validator);
	unsigned pending = atomic_load(&v->pending), most = v->conf->connections;

	if (atomic_load(&v->closed) || !atomic_load(&v->reachable) || pending >= most)
		return 0;
	return most - pending;
}

static void simple_close(struct validator *validator, uint64_t deadline_us)
{
	struct simple *v = simple_of(validator);

	atomic_store(&v->closed, true);
	atomic_store(&v->stop_deadline_us, deadline_us);
	mailbox_post(v->jobs, &v->stop);
	pthread_join(v->thread, NULL);
	simple_free(v);
}

static void simple_report(const struct validator *validator, size_t dc, struct dc_report *out)
{
	const struct simple *v = simple_of(validator);

	out->connections = atomic_load(&v->servers[dc].connections);
	out->busy = atomic_load(&v->servers[dc].in_flight);
}

static void simple_changed(struct validator *validator)
{
	struct simple *v = simple_of(validator);

	if (!atomic_exchange(&v->changed_posted, true))
		mailbox_post(v->jobs, &v->changed);
}

const struct validator_method validator_simple = {
	.name = "simple",
	.open = simple_open,
	.start = simple_start,
	.capacity = simple_capacity,
	.changed = simple_changed,
	.close = simple_close,
	.report = simple_report,
};
