/* TCP to a domain controller within a deadline. Blocks, at most until the deadline but for getaddrinfo(), which has the
 * resolver's own limits: call it from helper threads. Thread-safe; no state. */
#ifndef PTA_DIRECTORY_DIAL_H
#define PTA_DIRECTORY_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "directory/directory_conf.h"

/* Looks the name up afresh and tries its addresses in turn, each with its share of the time left. *fd is non-blocking,
 * close-on-exec, with TCP_NODELAY, keepalive and TCP_USER_TIMEOUT (dead_after_ms without an acknowledgement).
 * loopback_only: every other address is refused (-PTA_EPERM), whatever the name says. -PTA_ENET or -PTA_ETIMEDOUT else. */
PTA_MUST_CHECK int dial(const struct directory_server *server, bool loopback_only, uint64_t deadline_us, unsigned dead_after_ms, int *fd, struct err *err);

/* Waits until fd is ready for events (POLLIN, POLLOUT), or fails with -PTA_ETIMEDOUT at the deadline. */
PTA_MUST_CHECK int dial_wait(int fd, short events, uint64_t deadline_us);

/* From now on the waits of the calling thread fail with -PTA_ECLOSED as soon as fd (an eventfd, say) is readable: so others
 * end what blocks in a library. -1: no more. The fd stays the caller's. */
void dial_cancel_by(int fd);

#endif
