/* Who an agent is: its client certificate, looked up for each request. Belongs to the connection's event thread. Never
 * blocks. */
#ifndef PTA_SERVICE_AGENT_AUTH_H
#define PTA_SERVICE_AGENT_AUTH_H

#include "base/httpd.h"
#include "service/dispatch.h"

struct service_thread;

/* A connection with a client certificate, for as long as it lives. */
struct agent_connection {
	struct service_thread *thread;
	struct dispatch_peer peer;
	char fingerprint[65];
	uint8_t key[128]; /* of the certificate, as SubjectPublicKeyInfo: the certificate itself is not kept */
	size_t key_len;
	uint64_t not_before_ms, not_after_ms;
};

/* The connection of an agent that may speak now. NULL: a 403 with the reason was sent. */
struct agent_connection *agent_auth(struct httpd_request *request, struct service_thread *thread);
/* For register: the agent's id when the connection has a certificate that is still good for its identity (an expired one
 * is), else NULL. Never replies. */
const char *agent_auth_known(struct httpd_request *request, struct service_thread *thread);

#endif
