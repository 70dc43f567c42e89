/* Makes LDAP connections on helper threads, where DNS, TCP and TLS may block, and hands them to an event loop's thread.
 * All functions belong to that thread, and so does the callback. */
#ifndef PTA_DIRECTORY_CONNECTOR_H
#define PTA_DIRECTORY_CONNECTOR_H

#include <event2/event.h>
#include <stdint.h>

#include "base/err.h"
#include "directory/dc_pool.h"
#include "directory/ldap_conn.h"

struct connector;

/* conn is the callee's from now on, or NULL and err_text says why not. Exactly once for each start, but not during
 * connector_free(). */
typedef void (*connector_done)(void *arg, size_t dc, struct ldap_conn *conn, uint64_t took_us, const char *err_text);

/* Loads the section's CA file. conf and pool must outlive the connector. */
PTA_MUST_CHECK int connector_new(const struct directory_conf *conf, struct dc_pool *pool, struct event_base *loop, connector_done done, void *arg,
	struct connector **out, struct err *err);
/* Joins the helpers: waits for what they do, at most connect_timeout but for DNS. NULL is allowed. */
void connector_free(struct connector *connector);
/* -PTA_EBUSY or -PTA_ENOMEM: nothing was started. */
PTA_MUST_CHECK int connector_start(struct connector *connector, size_t dc);
unsigned connector_under_way(const struct connector *connector, size_t dc);
/* When the oldest of these began; UINT64_MAX: there is none. */
uint64_t connector_oldest_us(const struct connector *connector, size_t dc);
/* Gives up what is overdue (DNS has no deadline of its own) and returns when the next will be; UINT64_MAX: none. */
uint64_t connector_sweep(struct connector *connector, uint64_t now_us);

#endif
