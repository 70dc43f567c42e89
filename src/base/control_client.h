/* The commands' side of a control socket: one HTTP request over a unix socket, by libcurl. Blocks, with a deadline. */
#ifndef PTA_BASE_CONTROL_CLIENT_H
#define PTA_BASE_CONTROL_CLIENT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* method "GET" or "POST"; path "/v1/status"; body may be NULL. The answer's body goes to out (limit 4 MiB, set
 * by the caller's BUF_INIT), its status to *status. -PTA_ENET: nobody listens there (the text says which daemon to start);
 * -PTA_EPERM: the socket may not be opened by this user. */
PTA_MUST_CHECK int control_call(const char *socket_path, const char *method, const char *path, const void *body, size_t len, unsigned timeout_ms, int *status,
				struct buf *out, struct err *err);

/* Somebody holds this socket; also when this user may not ask, or it is too busy. */
bool control_listens(const char *socket_path);

#endif
