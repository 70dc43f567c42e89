/* The routes of the control socket: what the commands (domain, token, app, agent, status, …) ask the running daemon.
 * They run on thread 0; every handler's arg is its struct service_thread. Changes go through service_call_submit(). */
#ifndef PTA_SERVICE_ADMIN_H
#define PTA_SERVICE_ADMIN_H

#include "base/httpd.h"

extern const struct httpd_route admin_routes[];

#endif
