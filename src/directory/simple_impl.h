/* What the two files of the simple validator share: validator_simple.c (jobs, controllers, time) and simple_slot.c
 * (connections and the binds on them). All of it belongs to the bind thread, but where it says otherwise. */
#ifndef PTA_DIRECTORY_SIMPLE_IMPL_H
#define PTA_DIRECTORY_SIMPLE_IMPL_H

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "directory/connector.h"
#include "directory/dc_pool.h"
#include "directory/validator.h"

#define IDLE_MAX_US (600 * 1000000ull) /* AD itself closes after 900 s */

struct simple;

/* One bind under way. */
struct flight {
	struct job *job; /* NULL: none */
	int id;		 /* ldap_conn's */
	uint64_t since_us, expires_us;
};

/* One connection and the binds on it. */
struct slot {
	struct simple *v;
	struct slot *next, **prev; /* in one of its server's lists */
	struct ldap_conn *conn;
	struct event *readable;
	size_t dc;
	unsigned n, room;    /* binds under way, and how many there may be */
	bool retiring;	     /* takes no more binds: one of them timed out, or its controller is gone */
	uint64_t connect_us; /* what connecting took */
	uint64_t since_us;   /* idle since */
	struct flight flights[];
};

struct server {
	struct slot *open, *full; /* open: takes a bind; the one used last comes first, so that the others can retire */
	uint64_t grow_after_us;
	uint64_t patience_us;		    /* a bind older than this makes the DC suspect */
	uint64_t overdue_us;		    /* when the connect began that has made it suspect */
	atomic_uint connections, in_flight; /* for reports */
};

struct answered {
	struct job *job;
	struct verdict verdict;
};

struct simple {
	struct validator base;
	const struct directory_conf *conf;
	struct dc_pool *pool; /* the section's */
	struct mailbox *jobs;
	pthread_t thread;
	atomic_uint pending;   /* jobs taken and not done */
	atomic_bool closed;    /* takes no more jobs */
	atomic_bool reachable; /* not every breaker is open */
	_Atomic uint64_t stop_deadline_us;
	/* The bind thread's own: */
	struct mail stop; /* posted to jobs */
	struct mail changed;
	atomic_bool changed_posted;
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
	struct server servers[DC_POOL_MAX];
};

/* ---- validator_simple.c ---- */

void simple_wake_at(struct simple *v, uint64_t at_us);
/* The DC in use, or false when every breaker is open. */
bool simple_pick(struct simple *v, size_t *dc);
/* Tells the pool, and validator_start() at once when that closed the last way. */
void simple_note_bound(struct simple *v, size_t dc, enum dc_outcome outcome, uint64_t took_us, const char *detail);
void simple_finish(struct simple *v, struct job *job, const struct verdict *verdict);
/* Ends a job whose password certainly was not sent. */
void simple_finish_unsent(struct simple *v, struct job *job, enum verdict_code code, enum verdict_reason reason, const char *detail);
/* Its outcome is told at the end of the loop's turn. */
void simple_answered(struct simple *v, struct job *job, const struct verdict *verdict);
struct job *simple_next_waiting(struct simple *v);
void simple_put_back_first(struct simple *v, struct job *job);
/* Gives waiting jobs to connections, asks for more connections, and keeps one warm. */
void simple_dispatch(struct simple *v);

static inline const char *simple_host(const struct simple *v, size_t dc)
{
	return dc_pool_server(v->pool, dc)->host;
}

static inline void simple_step(struct job *job, const char *what, uint64_t took_us, const char *text)
{
	if (job->step)
		job->step(job, what, took_us, text);
}

/* ---- simple_slot.c ---- */

/* Takes conn, closed when there is no memory (NULL). */
struct slot *slot_new(struct simple *v, size_t dc, struct ldap_conn *conn, uint64_t connect_us);
void slot_close(struct slot *slot); /* nothing is under way on it */
/* A connection to the DC that takes a bind and that the server has not closed meanwhile; NULL: none. */
struct slot *slot_take(struct simple *v, size_t dc);
/* The slot gets the job. If the slot turns out to be lost the job waits again, its password unsent. */
void slot_send(struct slot *slot, struct job *job);
/* Ends what is overdue of one server, and retires connections; returns when the next thing will be. */
uint64_t slots_sweep(struct simple *v, size_t dc, uint64_t now_us);

#endif
