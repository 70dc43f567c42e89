/* POST {"level": "debug"} on the control socket of either program: changes the level of the log until the configuration is read
 * again. The route's handler has seen to who may ask. */
#ifndef PTA_BASE_LOG_ROUTE_H
#define PTA_BASE_LOG_ROUTE_H

#include "base/httpd.h"

#define LOG_ROUTE_PATH "/v1/log"
#define LOG_ROUTE_BODY 64 /* the most bytes that it takes */

/* Answers it. */
void log_route_set_level(struct httpd_request *request);
/* The commands' side: the body of the request; -PTA_EINVAL when there is no such level. */
PTA_MUST_CHECK int log_route_body(struct buf *body, const char *level, struct err *err);

#endif
