#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "directory/bind_name.h"
#include "directory/simple_impl.h"

#define FRESH_US 1000ull /* idle for less: the server has hardly closed meanwhile */

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

/* To the front of the list it belongs to now. */
static void relink(struct slot *slot)
{
	struct server *server = &slot->v->servers[slot->dc];

	unlink_slot(slot);
	link_slot(slot->n < slot->room && !slot->retiring ? &server->open : &server->full, slot);
}

void slot_close(struct slot *slot)
{
	atomic_fetch_sub(&slot->v->servers[slot->dc].connections, 1);
	unlink_slot(slot);
	event_free(slot->readable);
	ldap_conn_close(slot->conn);
	dc_pool_drop(slot->v->pool, slot->dc);
	free(slot);
}

/* The job leaves the slot, which is then for relink() or slot_close(). */
static struct job *take_job(struct slot *slot, struct flight *flight)
{
	struct job *job = flight->job;

	flight->job = NULL;
	slot->since_us = clock_mono_us();
	slot->n--;
	atomic_fetch_sub(&slot->v->servers[slot->dc].in_flight, 1);
	return job;
}

static struct flight *find_flight(struct slot *slot, int id)
{
	for (unsigned i = 0; i < slot->room; i++)
		if (slot->flights[i].job && slot->flights[i].id == id)
			return &slot->flights[i];
	return NULL;
}

static struct flight *free_flight(struct slot *slot)
{
	for (unsigned i = 0; i < slot->room; i++)
		if (!slot->flights[i].job)
			return &slot->flights[i];
	return NULL;
}

/* The password was sent, or may have been, and nobody will ever know the outcome: it is not sent again. */
static void lose(struct slot *slot, struct flight *flight, enum verdict_reason reason, const char *detail)
{
	struct simple *v = slot->v;
	uint64_t took = clock_mono_us() - flight->since_us;
	/* Cut short by the job's deadline, not by the DC. */
	bool blame = reason != REASON_TIMEOUT || took >= v->conf->bind_timeout * 1000ull;
	struct job *job = take_job(slot, flight);
	struct verdict verdict = {.code = VERDICT_UNAVAILABLE, .reason = reason, .password_sent = true, .directory_us = (uint32_t)took};

	snprintf(verdict.dc, sizeof(verdict.dc), "%s", simple_host(v, slot->dc));
	snprintf(verdict.detail, sizeof(verdict.detail), "%s", detail);
	if (blame)
		simple_note_bound(v, slot->dc, reason == REASON_TIMEOUT ? DC_TIMED_OUT : DC_LOST, took, detail);
	log_event(LOG_WARNING, "bind.lost", F_STR("request", job->id), F_STR("directory", v->conf->name), F_STR("dc", verdict.dc), F_STR("error", detail),
		F_MS("took", took));
	simple_step(job, "bind", took, detail);
	simple_finish(v, job, &verdict);
}

/* The connection is gone, and so is what was under way on it. */
static void lose_all(struct slot *slot, enum verdict_reason reason, const char *detail)
{
	for (unsigned i = 0; i < slot->room; i++)
		if (slot->flights[i].job)
			lose(slot, &slot->flights[i], reason, detail);
	slot_close(slot);
}

static void on_answer(struct slot *slot)
{
	struct simple *v = slot->v;
	enum ad_status_health health = AD_STATUS_WELL;
	bool busy = false;
	struct err err;
	int id, r = 0;
	size_t dc;

	while (slot->n > 0) {
		struct flight *flight;
		struct verdict verdict;
		struct job *job;
		uint64_t took;

		memset(&verdict, 0, sizeof(verdict));
		r = ldap_conn_bind_answer(slot->conn, &id, &verdict, &health, &err);
		if (r <= 0)
			break;
		flight = find_flight(slot, id);
		/* It came too late: its job ended as unavailable. */
		if (!flight)
			continue;
		took = clock_mono_us() - flight->since_us;
		verdict.directory_us = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
		memcpy(verdict.dc, simple_host(v, slot->dc), sizeof(verdict.dc));
		job = take_job(slot, flight);
		busy = busy || health == AD_STATUS_BUSY;
		simple_note_bound(v, slot->dc, health == AD_STATUS_BUSY ? DC_BUSY : DC_ANSWERED, took, verdict.detail);
		if (health == AD_STATUS_FAULT)
			log_event(LOG_ERR, "bind.fault", F_STR("request", job->id), F_STR("directory", v->conf->name), F_STR("dc", verdict.dc),
				F_STR("answer", verdict.detail));
		simple_answered(v, job, &verdict);
	}
	if (r < 0) {
		lose_all(slot, r == -PTA_EPROTO ? REASON_AGENT_ERROR : REASON_DIRECTORY_UNREACHABLE, err.text);
		simple_dispatch(v);
		return;
	}
	if ((slot->retiring && slot->n == 0) || !ldap_conn_reusable(slot->conn)) {
		if (slot->n == 0)
			slot_close(slot);
		else
			lose_all(slot, REASON_DIRECTORY_UNREACHABLE, "the connection was lost before the answer");
	} else {
		relink(slot);
		/* The next one at once. Afterwards the slot may be gone: simple_dispatch() does the rest. */
		if (v->waiting && !slot->retiring && slot->n < slot->room && simple_pick(v, &dc) && dc == slot->dc)
			slot_send(slot, simple_next_waiting(v));
	}
	if (v->waiting || busy)
		simple_dispatch(v);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct slot *slot = arg;
	struct simple *v = slot->v;

	(void)fd;
	(void)what;
	if (slot->n > 0) {
		on_answer(slot);
		return;
	}
	if (ldap_conn_idle_input(slot->conn) == 0)
		return;
	slot_close(slot);
	simple_dispatch(v);
}

struct slot *slot_new(struct simple *v, size_t dc, struct ldap_conn *conn, uint64_t connect_us)
{
	unsigned room = ldap_conn_room(conn);
	struct slot *slot = calloc(1, sizeof(*slot) + room * sizeof(slot->flights[0]));

	if (slot)
		slot->readable = event_new(v->loop, ldap_conn_fd(conn), EV_READ | EV_PERSIST, on_readable, slot);
	if (!slot || !slot->readable || event_add(slot->readable, NULL) < 0) {
		if (slot && slot->readable)
			event_free(slot->readable);
		free(slot);
		ldap_conn_close(conn);
		return NULL;
	}
	slot->v = v;
	slot->conn = conn;
	slot->dc = dc;
	slot->room = room;
	slot->connect_us = connect_us;
	slot->since_us = clock_mono_us();
	dc_pool_hold(v->pool, dc);
	link_slot(&v->servers[dc].open, slot);
	atomic_fetch_add(&v->servers[dc].connections, 1);
	return slot;
}

struct slot *slot_take(struct simple *v, size_t dc)
{
	struct slot *slot;

	while ((slot = v->servers[dc].open)) {
		/* What is sent into a closed connection counts as sent: look first. */
		if (slot->n > 0 || clock_mono_us() - slot->since_us < FRESH_US || !ldap_conn_has_input(slot->conn) || ldap_conn_idle_input(slot->conn) == 0)
			return slot;
		slot_close(slot);
	}
	return NULL;
}

/* What is bound: the entry that was found, a DN made of the template, or the name as typed. NULL: it does not fit. */
static const char *name_of(struct simple *v, const struct job *job)
{
	if (job->found)
		return job->found->dn;
	if (!v->conf->bind_dn)
		return job->credential.name;
	buf_reset(&v->name);
	return bind_name_make(v->conf->bind_dn, &job->credential, &v->name) < 0 ? NULL : (const char *)v->name.data;
}

void slot_send(struct slot *slot, struct job *job)
{
	struct simple *v = slot->v;
	struct server *server = &v->servers[slot->dc];
	struct flight *flight = free_flight(slot);
	const char *name = name_of(v, job);
	uint64_t timeout = v->conf->bind_timeout * 1000ull;
	bool sent = false;
	struct err err;
	int r;

	if (!name) {
		simple_finish_unsent(v, job, VERDICT_INVALID_REQUEST, 0, "the name is too long for a DN");
		return;
	}
	if (job->step) {
		snprintf(err.text, sizeof(err.text), "%s port %u %s%s", simple_host(v, slot->dc), dc_pool_server(v->pool, slot->dc)->port,
			ldap_conn_tls_version(slot->conn), slot->room > 1 ? ", fast bind" : "");
		simple_step(job, "connect", slot->connect_us, err.text);
	}
	flight->since_us = clock_mono_us();
	flight->expires_us = flight->since_us + timeout < job->deadline_us ? flight->since_us + timeout : job->deadline_us;
	flight->job = job;
	slot->n++;
	atomic_fetch_add(&server->in_flight, 1);
	r = ldap_conn_bind(slot->conn, name, job->password, &flight->id, &sent, &err);
	if (sent)
		secret_freep(&job->password);
	if (r == 0) {
		uint64_t suspect_us = flight->since_us + server->patience_us;

		relink(slot);
		simple_wake_at(v, suspect_us < flight->expires_us ? suspect_us : flight->expires_us);
		return;
	}
	if (!sent) {
		simple_note_bound(v, slot->dc, DC_LOST, 0, err.text);
		log_event(LOG_NOTICE, "bind.not_sent", F_STR("request", job->id), F_STR("directory", v->conf->name), F_STR("dc", simple_host(v, slot->dc)),
			F_STR("error", err.text));
		take_job(slot, flight);
		simple_put_back_first(v, job);
	}
	lose_all(slot, REASON_DIRECTORY_UNREACHABLE, err.text);
}

/* ---- time ---- */

static uint64_t min_us(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Looks at one list of connections. oldest: since when the oldest bind waits. */
static uint64_t sweep_list(struct simple *v, struct slot *slot, uint64_t now, uint64_t *oldest)
{
	uint64_t next = UINT64_MAX, stop = v->stopping ? atomic_load(&v->stop_deadline_us) : UINT64_MAX;
	struct slot *after;

	for (; slot; slot = after) {
		bool gone = !dc_pool_present(v->pool, slot->dc);

		after = slot->next;
		for (unsigned i = 0; i < slot->room && slot->n > 0; i++) {
			struct flight *flight = &slot->flights[i];

			if (!flight->job)
				continue;
			if (min_us(flight->expires_us, stop) <= now) {
				lose(slot, flight, REASON_TIMEOUT, "no answer to the bind in time");
				/* A late answer must not be taken for that to another bind: no more of them here. */
				slot->retiring = true;
			} else {
				next = min_us(next, min_us(flight->expires_us, stop));
				*oldest = min_us(*oldest, flight->since_us);
			}
		}
		slot->retiring = slot->retiring || gone;
		if (slot->n == 0 && (slot->retiring || slot->since_us + IDLE_MAX_US <= now))
			slot_close(slot);
		else if (slot->n == 0)
			next = min_us(next, slot->since_us + IDLE_MAX_US);
		else if (slot->retiring)
			relink(slot);
	}
	return next;
}

uint64_t slots_sweep(struct simple *v, size_t dc, uint64_t now)
{
	struct server *server = &v->servers[dc];
	uint64_t oldest = UINT64_MAX, next;

	next = sweep_list(v, server->full, now, &oldest);
	next = min_us(next, sweep_list(v, server->open, now, &oldest));
	if (oldest == UINT64_MAX)
		return next;
	server->patience_us = dc_pool_patience_us(v->pool, dc);
	if (oldest + server->patience_us > now)
		return min_us(next, oldest + server->patience_us);
	/* It hangs, it seems: others are asked meanwhile, and it is probed. */
	return dc_pool_suspect(v->pool, dc) ? now : next;
}
