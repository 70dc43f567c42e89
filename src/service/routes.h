/* Which URL is answered by whom, on each listener; /live, /ready and /metrics themselves. Every handler's arg is its
 * struct service_thread. */
#ifndef PTA_SERVICE_ROUTES_H
#define PTA_SERVICE_ROUTES_H

#include "base/httpd.h"

extern const struct httpd_route routes_signin[], routes_agent[], routes_metrics[];

/* The service's clock, for answers to agents. */
void routes_put_time(struct httpd_request *request);

/* Also for the control socket. */
void route_live(struct httpd_request *request, void *arg);
void route_ready(struct httpd_request *request, void *arg);
void route_metrics(struct httpd_request *request, void *arg);

#endif
