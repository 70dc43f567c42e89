/* How an agent gets and renews its certificate: register (one-time token) and renew (over mTLS). The work is done on the
 * registry's writer thread; the request belongs to its event thread. */
#ifndef PTA_SERVICE_ENROLL_H
#define PTA_SERVICE_ENROLL_H

#include "base/httpd.h"

void enroll_route_register(struct httpd_request *request, void *arg);
void enroll_route_renew(struct httpd_request *request, void *arg);

#endif
