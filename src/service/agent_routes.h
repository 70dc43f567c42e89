/* What registered agents ask: keys, and polls, which bring results. Each request belongs to its event thread; arg is the struct
 * service_thread. Never blocks. */
#ifndef PTA_SERVICE_AGENT_ROUTES_H
#define PTA_SERVICE_AGENT_ROUTES_H

#include "base/httpd.h"
#include "service/dispatch.h"

void agent_route_keys(struct httpd_request *request, void *arg);
void agent_route_poll(struct httpd_request *request, void *arg);

/* For the thread's dispatch port. */
void agent_poll_answer(struct dispatch_poll *poll, void *arg);

#endif
