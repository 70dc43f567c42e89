/* Health and order of a section's domain controllers: a circuit breaker each. Connect and TLS failures, time-outs and
 * "busy" open it; rejections never do. A half-open probe (one connect, no password) follows after a jittered back-off.
 * The controllers are the section's `servers`, or what dc_locator found: they may come and go while the pool is used. Each
 * has a slot, by whose number everybody speaks of it. Thread-safe; never blocks. Logs when a DC goes down or comes up. */
#ifndef PTA_DIRECTORY_DC_POOL_H
#define PTA_DIRECTORY_DC_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "directory/directory_conf.h"
#include "directory/validator.h"

#define DC_POOL_MAX 64

struct dc_pool;

/* A controller that there is now. */
struct dc_candidate {
	struct directory_server server;
	unsigned tier; /* 0 is best. A better tier is returned to; within one the earlier is preferred and a good one is kept */
	char site[64]; /* "" unknown */
};

enum dc_outcome {
	DC_ANSWERED,  /* a bind was answered, whatever the verdict */
	DC_LOST,      /* the connection broke behind a bind */
	DC_TIMED_OUT, /* no answer within the time-out */
	DC_BUSY,      /* it said that it cannot serve */
	DC_OUTCOMES
};

/* Begins with conf's `servers`, which were checked, each a tier of its own; with none of them the pool is empty. conf must
 * outlive the pool. */
PTA_MUST_CHECK int dc_pool_new(const struct directory_conf *conf, struct dc_pool **out, struct err *err);
void dc_pool_free(struct dc_pool *pool);

/* The controllers that there are from now on, best first (at most DC_POOL_MAX). Those that stay keep their state; new ones
 * are unknown; the others are forgotten: never picked, probed or reported again. */
void dc_pool_update(struct dc_pool *pool, const struct dc_candidate *list, size_t n);
/* fn is called, outside locks, whenever a breaker opens, and whenever dc_pool_pick() finds nothing; and `changed` after
 * each dc_pool_update(). NULL: nobody. */
void dc_pool_watch(struct dc_pool *pool, void (*trouble)(void *arg), void (*changed)(void *arg), void *arg);

/* Slots are numbered from 0 up to this, which grows only. */
size_t dc_pool_size(const struct dc_pool *pool);
/* The slot holds a controller that there still is. */
bool dc_pool_present(struct dc_pool *pool, size_t dc);
/* Valid as long as the slot is held, and for a minute after it was forgotten. */
const struct directory_server *dc_pool_server(const struct dc_pool *pool, size_t dc);
/* A slot that is held (by a connection, an attempt) is not given to another controller. */
void dc_pool_hold(struct dc_pool *pool, size_t dc);
void dc_pool_drop(struct dc_pool *pool, size_t dc);

/* The DC to use now: the one in use as long as it is good, else the best good one, else one that was not tried yet, else one
 * that is suspected. One of a better tier is returned to after it was up for a minute. -PTA_ENODC: every breaker is open. */
PTA_MUST_CHECK int dc_pool_pick(struct dc_pool *pool, size_t *dc);
/* The same without the DCs in `tried` (a bit for each slot), for a request whose password was not sent yet. */
PTA_MUST_CHECK int dc_pool_pick_other(struct dc_pool *pool, uint64_t tried, size_t *dc);

/* What happened. err_text is kept for the report. A failed connect beside living connections does not open the breaker.
 * dc_pool_connected() tells whether the DC is a good one now: not while it is suspected. */
bool dc_pool_connected(struct dc_pool *pool, size_t dc);
void dc_pool_connect_failed(struct dc_pool *pool, size_t dc, unsigned living_connections, const char *err_text);
void dc_pool_bound(struct dc_pool *pool, size_t dc, enum dc_outcome outcome, uint64_t took_us, const char *err_text);

/* It connected or answered at since_us (clock_mono_us()) or later: a connect that began then and failed is that connect's failure. */
bool dc_pool_good_since(struct dc_pool *pool, size_t dc, uint64_t since_us);

/* How long a bind at this DC may stay unanswered before it is suspected, in microseconds: some times its usual latency. */
uint64_t dc_pool_patience_us(struct dc_pool *pool, size_t dc);
/* A bind is unanswered for longer than that: others are preferred until it answers one. True: just now, so probe it. */
bool dc_pool_suspect(struct dc_pool *pool, size_t dc);

/* A DC to connect to without a password: one that was never tried, or whose breaker may be probed now (it is marked: answer
 * with connected or connect_failed). -PTA_ENOENT when none is due, *wait_ms then tells when the next will be (0: none is). */
PTA_MUST_CHECK int dc_pool_probe(struct dc_pool *pool, size_t *dc, uint64_t *wait_ms);

/* host, port, site, state, binds, failures, latency, retry and last error; the rest is the caller's. False: the slot holds
 * no controller any more. */
bool dc_pool_report(struct dc_pool *pool, size_t dc, struct dc_report *out);

#endif
