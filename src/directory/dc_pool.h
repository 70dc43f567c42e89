/* Health and order of a section's domain controllers: a circuit breaker each. Connect and TLS failures, time-outs and
 * "busy" open it; rejections never do. A half-open probe (one connect, no password) follows after a jittered back-off.
 * Thread-safe; never blocks. Logs when a DC goes down or comes up. */
#ifndef PTA_DIRECTORY_DC_POOL_H
#define PTA_DIRECTORY_DC_POOL_H

#include <stdint.h>

#include "base/err.h"
#include "directory/directory_conf.h"
#include "directory/validator.h"

struct dc_pool;

enum dc_outcome {
	DC_ANSWERED,  /* a bind was answered, whatever the verdict */
	DC_LOST,      /* the connection broke behind a bind */
	DC_TIMED_OUT, /* no answer within the time-out */
	DC_BUSY,      /* it said that it cannot serve */
	DC_OUTCOMES
};

/* conf must outlive the pool; its servers were checked. */
PTA_MUST_CHECK int dc_pool_new(const struct directory_conf *conf, struct dc_pool **out, struct err *err);
void dc_pool_free(struct dc_pool *pool);
size_t dc_pool_size(const struct dc_pool *pool);
const struct directory_server *dc_pool_server(const struct dc_pool *pool, size_t dc);

/* The DC to use now: the one in use as long as it is good, else the first good one in list order, else the first that
 * was not tried yet. One that stands before it in the list is returned to after it was up for a minute.
 * -PTA_ENODC: every breaker is open. */
PTA_MUST_CHECK int dc_pool_pick(struct dc_pool *pool, size_t *dc);

/* What happened. err_text is kept for the report. A failed connect beside living connections does not open the breaker. */
void dc_pool_connected(struct dc_pool *pool, size_t dc);
void dc_pool_connect_failed(struct dc_pool *pool, size_t dc, unsigned living_connections, const char *err_text);
void dc_pool_bound(struct dc_pool *pool, size_t dc, enum dc_outcome outcome, uint64_t took_us, const char *err_text);

/* A DC whose breaker may be probed now (it is marked: answer with connected or connect_failed); -PTA_ENOENT when none is
 * due, *wait_ms then tells when the next will be (0: none is down). */
PTA_MUST_CHECK int dc_pool_probe(struct dc_pool *pool, size_t *dc, uint64_t *wait_ms);

/* host, port, state, binds, failures, latency, retry and last error; the rest is the caller's. */
void dc_pool_report(struct dc_pool *pool, size_t dc, struct dc_report *out);

#endif
