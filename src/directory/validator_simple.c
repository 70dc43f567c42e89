#include "directory/validator_simple.h"

#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "directory/bind_name.h"
#include "directory/connector.h"

#define IDLE_MAX_US (600 * 1000000ull) /* AD itself closes after 900 s */
#define CONNECTING_MAX 4	       /* at a time to one DC */
#define GROW_PAUSE_US 1000000ull       /* after a connect failed beside living connections */
#define QUEUE_FACTOR 4		       /* jobs taken at most, in connections */
#define STOP_POLL_US 10000ull
#define FRESH_US 1000ull /* idle for less: the server has hardly closed meanwhile */

/* One connection and the bind on it. */
struct slot {
	struct simple *v;
	struct slot *next, **prev; /* in its server's idle or busy list */
	struct ldap_conn *conn;
	struct event *readable;
	size_t dc;
	struct job *job;     /* NULL: idle */
	uint64_t connect_us; /* what connecting took */
	uint64_t since_us;   /* sent, or idle since */
	uint64_t expires_us; /* of the bind */
};

struct server {
	struct slot *idle, *busy; /* idle: the one used last comes first, so that the others can retire */
	uint64_t grow_after_us;
	atomic_uint connections, in_flight; /* for reports */
};

struct answered {
	struct job *job;
	struct verdict verdict;
};

struct simple {
	struct validator base;
	struct dc_pool *pool;
	struct mailbox *jobs;
	pthread_t thread;
	atomic_uint pending;   /* jobs taken and not done */
	atomic_bool closed;    /* takes no more jobs */
	atomic_bool reachable; /* not every breaker is open */
	_Atomic uint64_t stop_deadline_us;
	/* The bind thread's own: */
	struct mail stop; /* posted to jobs */
	bool stopping;
	struct event_base *loop;
	struct event *jobs_event, *answered_event, *timer;
	struct answered *answered; /* `connections` of them */
	unsigned nanswered;
	uint64_t timer_at_us; /* UINT64_MAX: not armed */
	struct connector *connector;
	struct mail *waiting, **waiting_last;
	unsigned nwaiting;
	struct buf name;
	struct server servers[];
};

static void dispatch(struct simple *v);

static struct simple *simple_of(const struct validator *v)
{
	return MAIL_CONTAINER((void *)(uintptr_t)v, struct simple, base);
}

static struct job *job_of(struct mail *mail)
{
	return MAIL_CONTAINER(mail, struct job, mail);
}

/* The timer stands at or before whatever may expire first. It is not moved when that ends well: on_timer() looks again. */
static void wake_at(struct simple *v, uint64_t at_us)
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

static void finish(struct simple *v, struct job *job, const struct verdict *verdict)
{
	/* First, so that whoever is told finds the room. */
	unsigned left = atomic_fetch_sub(&v->pending, 1) - 1;

	job_done(job, verdict);
	if (left == 0 && v->stopping)
		event_base_loopbreak(v->loop);
}

/* Ends a job whose password certainly was not sent. */
static void finish_unsent(struct simple *v, struct job *job, enum verdict_code code, enum verdict_reason reason, const char *detail)
{
	struct verdict verdict = {.code = code, .reason = reason};

	snprintf(verdict.detail, sizeof(verdict.detail), "%s", detail);
	finish(v, job, &verdict);
}

static struct job *next_waiting(struct simple *v)
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
	wake_at(v, job->deadline_us);
}

static void put_back_first(struct simple *v, struct job *job)
{
	job->mail.next = v->waiting;
	if (!v->waiting)
		v->waiting_last = &job->mail.next;
	v->waiting = &job->mail;
	v->nwaiting++;
	wake_at(v, job->deadline_us);
}

static void link_slot(struct slot **list, struct slot *slot)
{
	slot->next = *list;
	slot->prev = list;
	if (slot->next)
		slot->next->prev = &slot->next;
	*list = slot;
}

static void unlink_slot(struct slot *slot)
{
	*slot->prev = slot->next;
	if (slot->next)
		slot->next->prev = slot->prev;
}

static void close_slot(struct slot *slot)
{
	atomic_fetch_sub(&slot->v->servers[slot->dc].connections, 1);
	unlink_slot(slot);
	event_free(slot->readable);
	ldap_conn_close(slot->conn);
	free(slot);
}

/* The slot's job leaves it. The slot is then idle or about to be closed. */
static struct job *take_job(struct slot *slot)
{
	struct server *server = &slot->v->servers[slot->dc];
	struct job *job = slot->job;

	slot->job = NULL;
	slot->since_us = clock_mono_us();
	unlink_slot(slot);
	link_slot(&server->idle, slot);
	atomic_fetch_sub(&server->in_flight, 1);
	return job;
}

static const char *host_of(const struct simple *v, size_t dc)
{
	return dc_pool_server(v->pool, dc)->host;
}

/* The DC in use, or false when every breaker is open. */
static bool pick(struct simple *v, size_t *dc)
{
	bool found = dc_pool_pick(v->pool, dc) == 0;

	if (atomic_load_explicit(&v->reachable, memory_order_relaxed) != found)
		atomic_store(&v->reachable, found);
	return found;
}

/* Tells the pool, and validator_start() at once when that closed the last way. */
static void note_bound(struct simple *v, size_t dc, enum dc_outcome outcome, uint64_t took_us, const char *detail)
{
	size_t other;

	dc_pool_bound(v->pool, dc, outcome, took_us, detail);
	if (outcome == DC_ANSWERED)
		return;
	pick(v, &other);
	/* For the probe. */
	wake_at(v, clock_mono_us());
}

static void unavailable_at(const struct simple *v, size_t dc, enum verdict_reason reason, uint64_t took_us, const char *detail, struct verdict *out)
{
	*out = (struct verdict){.code = VERDICT_UNAVAILABLE, .reason = reason, .password_sent = true, .directory_us = (uint32_t)took_us};
	snprintf(out->dc, sizeof(out->dc), "%s", host_of(v, dc));
	snprintf(out->detail, sizeof(out->detail), "%s", detail);
}

static void step(struct job *job, const char *what, uint64_t took_us, const char *text)
{
	if (job->step)
		job->step(job, what, took_us, text);
}

/* The password was sent, or may have been, and nobody will ever know the outcome: it is not sent again. */
static void lose(struct slot *slot, enum verdict_reason reason, const char *detail)
{
	struct simple *v = slot->v;
	uint64_t took = clock_mono_us() - slot->since_us;
	/* Cut short by the job's deadline, not by the DC. */
	bool blame = reason != REASON_TIMEOUT || took >= v->base.conf->bind_timeout * 1000ull;
	struct job *job = take_job(slot);
	struct verdict verdict;

	unavailable_at(v, slot->dc, reason, took, detail, &verdict);
	if (blame)
		note_bound(v, slot->dc, reason == REASON_TIMEOUT ? DC_TIMED_OUT : DC_LOST, took, detail);
	log_event(LOG_WARNING, "bind.lost", F_STR("request", job->id), F_STR("directory", v->base.conf->name), F_STR("dc", verdict.dc), F_STR("error", detail),
		F_MS("took", took));
	/* A late answer must never be taken for that to the next bind. */
	close_slot(slot);
	step(job, "bind", took, detail);
	finish(v, job, &verdict);
}

/* The idle slot gets the job. False: the slot is gone and the job waits again, its password unsent. */
static bool send_bind(struct slot *slot, struct job *job)
{
	struct simple *v = slot->v;
	struct server *server = &v->servers[slot->dc];
	const char *name = job->credential.name;
	uint64_t timeout = v->base.conf->bind_timeout * 1000ull;
	bool sent = false;
	struct err err;
	int r;

	if (v->base.conf->bind_dn) {
		buf_reset(&v->name);
		if (bind_name_make(v->base.conf->bind_dn, &job->credential, &v->name) < 0) {
			finish_unsent(v, job, VERDICT_INVALID_REQUEST, 0, "the name is too long for a DN");
			return true;
		}
		name = (const char *)v->name.data;
	}
	if (job->step) {
		snprintf(err.text, sizeof(err.text), "%s port %u %s", host_of(v, slot->dc), dc_pool_server(v->pool, slot->dc)->port,
			ldap_conn_tls_version(slot->conn));
		step(job, "connect", slot->connect_us, err.text);
	}
	slot->since_us = clock_mono_us();
	slot->expires_us = slot->since_us + timeout < job->deadline_us ? slot->since_us + timeout : job->deadline_us;
	slot->job = job;
	unlink_slot(slot);
	link_slot(&server->busy, slot);
	atomic_fetch_add(&server->in_flight, 1);
	r = ldap_conn_bind(slot->conn, name, job->password, &sent, &err);
	if (sent)
		secret_freep(&job->password);
	if (r == 0) {
		wake_at(v, slot->expires_us);
		return true;
	}
	if (sent) {
		lose(slot, REASON_DIRECTORY_UNREACHABLE, err.text);
		return true;
	}
	note_bound(v, slot->dc, DC_LOST, 0, err.text);
	log_event(LOG_NOTICE, "bind.not_sent", F_STR("request", job->id), F_STR("directory", v->base.conf->name), F_STR("dc", host_of(v, slot->dc)),
		F_STR("error", err.text));
	take_job(slot);
	close_slot(slot);
	put_back_first(v, job);
	return false;
}

static void fail_waiting(struct simple *v, enum verdict_reason reason, const char *detail)
{
	while (v->waiting)
		finish_unsent(v, next_waiting(v), VERDICT_UNAVAILABLE, reason, detail);
}

/* An idle connection that the server has not closed meanwhile. */
static struct slot *take_idle(struct simple *v, size_t dc)
{
	struct slot *slot;

	while ((slot = v->servers[dc].idle)) {
		/* What is sent into a closed connection counts as sent: look first. */
		if (clock_mono_us() - slot->since_us < FRESH_US || !ldap_conn_has_input(slot->conn) || ldap_conn_idle_input(slot->conn) == 0)
			return slot;
		close_slot(slot);
	}
	return NULL;
}

static void connect_to(struct simple *v, size_t dc)
{
	int r = connector_start(v->connector, dc);

	if (r < 0)
		dc_pool_connect_failed(v->pool, dc, atomic_load(&v->servers[dc].connections), "too many connects under way");
	else
		wake_at(v, clock_mono_us() + v->base.conf->connect_timeout * 1000ull);
}

/* As many connections as there are jobs waiting for one, within the limits. */
static void grow(struct simple *v, size_t dc, unsigned wanted)
{
	struct server *server = &v->servers[dc];
	unsigned connections = atomic_load(&server->connections);

	if (connections > 0 && clock_mono_us() < server->grow_after_us) {
		wake_at(v, server->grow_after_us);
		return;
	}
	for (;;) {
		unsigned under_way = connector_under_way(v->connector, dc);

		if (under_way >= wanted || under_way >= CONNECTING_MAX || connections + under_way >= v->base.conf->connections)
			return;
		connect_to(v, dc);
		if (connector_under_way(v->connector, dc) == under_way)
			return;
	}
}

/* Gives waiting jobs to connections, asks for more connections, and keeps one warm. */
static void dispatch(struct simple *v)
{
	size_t dc;

	if (v->stopping) {
		fail_waiting(v, REASON_OVERLOADED, "the validator is closing");
		return;
	}
	for (;;) {
		struct slot *slot;

		if (!pick(v, &dc)) {
			fail_waiting(v, REASON_DIRECTORY_UNREACHABLE, "no domain controller of this section can be reached");
			return;
		}
		if (!v->waiting || !(slot = take_idle(v, dc)))
			break;
		send_bind(slot, next_waiting(v));
	}
	if (v->waiting)
		grow(v, dc, v->nwaiting);
	else if (atomic_load(&v->servers[dc].connections) == 0)
		grow(v, dc, 1);
}

/* At the end of the loop's turn, so that whoever takes the outcomes is woken once for all that the turn brought. */
static void on_answered(evutil_socket_t fd, short what, void *arg)
{
	struct simple *v = arg;
	unsigned n = v->nanswered;

	(void)fd;
	(void)what;
	v->nanswered = 0;
	for (unsigned i = 0; i < n; i++) {
		step(v->answered[i].job, "bind", v->answered[i].verdict.directory_us, v->answered[i].verdict.detail);
		finish(v, v->answered[i].job, &v->answered[i].verdict);
	}
}

static void on_answer(struct slot *slot)
{
	struct simple *v = slot->v;
	enum ad_status_health health = AD_STATUS_WELL;
	struct answered *answered = &v->answered[v->nanswered];
	struct verdict *verdict = &answered->verdict;
	struct err err;
	struct job *job;
	uint64_t took;
	size_t dc;
	int r = ldap_conn_bind_answer(slot->conn, verdict, &health, &err);

	if (r == 0)
		return;
	if (r < 0) {
		lose(slot, r == -PTA_EPROTO ? REASON_AGENT_ERROR : REASON_DIRECTORY_UNREACHABLE, err.text);
		dispatch(v);
		return;
	}
	took = clock_mono_us() - slot->since_us;
	verdict->directory_us = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
	memcpy(verdict->dc, host_of(v, slot->dc), sizeof(verdict->dc));
	answered->job = job = take_job(slot);
	note_bound(v, slot->dc, health == AD_STATUS_BUSY ? DC_BUSY : DC_ANSWERED, took, verdict->detail);
	if (health == AD_STATUS_FAULT)
		log_event(LOG_ERR, "bind.fault", F_STR("request", job->id), F_STR("directory", v->base.conf->name), F_STR("dc", verdict->dc),
			F_STR("answer", verdict->detail));
	if (v->nanswered++ == 0)
		event_active(v->answered_event, EV_TIMEOUT, 0);
	if (!ldap_conn_reusable(slot->conn))
		close_slot(slot);
	else if (v->waiting && pick(v, &dc) && dc == slot->dc)
		send_bind(slot, next_waiting(v));
	if (v->waiting || health == AD_STATUS_BUSY)
		dispatch(v);
	if (v->nanswered == v->base.conf->connections)
		on_answered(-1, 0, v);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct slot *slot = arg;
	struct simple *v = slot->v;

	(void)fd;
	(void)what;
	if (slot->job) {
		on_answer(slot);
		return;
	}
	if (ldap_conn_idle_input(slot->conn) == 0)
		return;
	close_slot(slot);
	dispatch(v);
}

static void on_connected(void *arg, size_t dc, struct ldap_conn *conn, uint64_t took_us, const char *err_text)
{
	struct simple *v = arg;
	struct server *server = &v->servers[dc];
	unsigned living = atomic_load(&server->connections);
	struct slot *slot = NULL;

	if (conn) {
		dc_pool_connected(v->pool, dc);
		slot = calloc(1, sizeof(*slot));
		if (slot)
			slot->readable = event_new(v->loop, ldap_conn_fd(conn), EV_READ | EV_PERSIST, on_readable, slot);
		if (!slot || !slot->readable || event_add(slot->readable, NULL) < 0) {
			if (slot && slot->readable)
				event_free(slot->readable);
			free(slot);
			ldap_conn_close(conn);
			server->grow_after_us = clock_mono_us() + GROW_PAUSE_US;
			return;
		}
		slot->v = v;
		slot->conn = conn;
		slot->dc = dc;
		slot->connect_us = took_us;
		slot->since_us = clock_mono_us();
		link_slot(&server->idle, slot);
		atomic_fetch_add(&server->connections, 1);
		wake_at(v, slot->since_us + IDLE_MAX_US);
	} else {
		dc_pool_connect_failed(v->pool, dc, living, err_text);
		server->grow_after_us = clock_mono_us() + GROW_PAUSE_US;
		for (struct mail *mail = v->waiting; mail; mail = mail->next)
			step(job_of(mail), "connect", took_us, err_text);
		wake_at(v, clock_mono_us());
	}
	dispatch(v);
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
			finish_unsent(v, job, VERDICT_UNAVAILABLE, REASON_TIMEOUT, "no connection to a domain controller was free in time");
			continue;
		}
		put_waiting(v, job);
		next = job->deadline_us < next ? job->deadline_us : next;
	}
	return next;
}

static uint64_t sweep_server(struct simple *v, size_t dc, uint64_t now)
{
	struct server *server = &v->servers[dc];
	uint64_t next = UINT64_MAX, end;
	struct slot *slot, *after;

	for (slot = server->busy; slot; slot = after) {
		after = slot->next;
		end = slot->expires_us;
		if (v->stopping && atomic_load(&v->stop_deadline_us) < end)
			end = atomic_load(&v->stop_deadline_us);
		if (end <= now)
			lose(slot, REASON_TIMEOUT, "no answer to the bind in time");
		else
			next = end < next ? end : next;
	}
	for (slot = server->idle; slot; slot = after) {
		after = slot->next;
		end = slot->since_us + IDLE_MAX_US;
		if (end <= now)
			close_slot(slot);
		else
			next = end < next ? end : next;
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
		at = sweep_server(v, i, now);
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
			connect_to(v, dc);
		at = now + wait_ms * 1000;
		next = wait_ms > 0 && at < next ? at : next;
	}
	wake_at(v, next);
	dispatch(v);
}

static void take_job_in(struct simple *v, struct job *job)
{
	/* An empty password would make an anonymous bind of it, which always succeeds (RFC 4513 5.1.2). */
	if (!job->password || secret_len(job->password) == 0)
		finish_unsent(v, job, VERDICT_INVALID_REQUEST, 0, "the password is empty");
	else if (memchr(secret_bytes(job->password), '\0', secret_len(job->password)))
		finish_unsent(v, job, VERDICT_INVALID_REQUEST, 0, "the password has a NUL byte");
	else if (job->credential.name[0] == '\0')
		finish_unsent(v, job, VERDICT_INVALID_REQUEST, 0, "the name is empty");
	else if (v->stopping)
		finish_unsent(v, job, VERDICT_UNAVAILABLE, REASON_OVERLOADED, "the validator is closing");
	else if (job->deadline_us <= clock_mono_us())
		finish_unsent(v, job, VERDICT_UNAVAILABLE, REASON_TIMEOUT, "the job came past its deadline");
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
		if (mail != &v->stop) {
			take_job_in(v, job_of(mail));
			continue;
		}
		v->stopping = true;
		wake_at(v, clock_mono_us());
	}
	dispatch(v);
}

static void *run(void *arg)
{
	struct simple *v = arg;

	pthread_setname_np(pthread_self(), "bind");
	dispatch(v);
	event_base_dispatch(v->loop);
	return NULL;
}

static void simple_free(struct simple *v)
{
	connector_free(v->connector);
	for (size_t dc = 0; v->pool && dc < dc_pool_size(v->pool); dc++)
		while (v->servers[dc].idle)
			close_slot(v->servers[dc].idle);
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
	dc_pool_free(v->pool);
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

static int simple_open(const struct directory_conf *conf, struct validator **out, struct err *err)
{
	struct simple *v = calloc(1, sizeof(*v) + conf->servers.n * sizeof(v->servers[0]));
	int r;

	if (!v)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	v->base = (struct validator){.method = &validator_simple, .conf = conf};
	v->waiting_last = &v->waiting;
	v->timer_at_us = UINT64_MAX;
	v->name = BUF_INIT(BIND_NAME_MAX);
	atomic_store(&v->reachable, true);
	r = dc_pool_new(conf, &v->pool, err);
	if (r < 0)
		goto fail;
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
	else if (before >= QUEUE_FACTOR * v->base.conf->connections)
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
	unsigned pending = atomic_load(&v->pending), most = v->base.conf->connections;

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

static size_t simple_report(const struct validator *validator, struct dc_report *out, size_t cap)
{
	const struct simple *v = simple_of(validator);
	size_t n = dc_pool_size(v->pool);

	for (size_t dc = 0; dc < n && dc < cap; dc++) {
		out[dc] = (struct dc_report){0};
		dc_pool_report(v->pool, dc, &out[dc]);
		out[dc].connections = atomic_load(&v->servers[dc].connections);
		out[dc].busy = atomic_load(&v->servers[dc].in_flight);
	}
	return n;
}

const struct validator_method validator_simple = {
	.name = "simple",
	.open = simple_open,
	.start = simple_start,
	.capacity = simple_capacity,
	.close = simple_close,
	.report = simple_report,
};
