/* HTTPS to the service over libcurl: what every call of the agent has in common (the service's CA and nothing else, the
 * agent's certificate, proxy, fresh DNS, keepalive, limits, the service's clock). Used blocking by the commands, and on
 * a curl multi handle by the queue client. A call belongs to one thread. */
#ifndef PTA_AGENT_SERVICE_HTTP_H
#define PTA_AGENT_SERVICE_HTTP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/agent_conf.h"
#include "base/buf.h"
#include "base/err.h"

/* Where the service is and who we are to it. Borrowed: everything in it outlives the calls made with it. */
struct service_link {
	const struct agent_conf *conf; /* proxy */
	const char *url;	       /* "https://host:port" */
	const struct buf *ca_pem;
	const struct buf *cert_pem, *key_pem; /* NULL: no client certificate */
};

struct service_call {
	CURL *easy;
	struct curl_slist *headers;
	char *url;
	struct buf request;  /* must stay as it is while the call runs */
	struct buf response;
	uint64_t service_ms;   /* the service's clock of this answer; 0: it had none */
	uint64_t service_at_us; /* clock_mono_us() when it came */
	char error[CURL_ERROR_SIZE];
};

#define SERVICE_JSON "application/json"

/* Prepares a POST to path of what has this Content-Type; the answer may have max_answer bytes. Released with service_call_done(). */
PTA_MUST_CHECK int service_call_init(struct service_call *call, const struct service_link *link, const char *path, const char *type, size_t max_request, size_t max_answer, unsigned timeout_ms,
				     struct err *err);
void service_call_done(struct service_call *call); /* a zeroed one is allowed */
/* Arms the call with what is in call->request now. Before each start. */
void service_call_arm(struct service_call *call);
/* The outcome once libcurl is done with it: 0 with the HTTP status, or -PTA_E* (ENET, ETLS, ETIMEDOUT, ETOOBIG) with a text. */
PTA_MUST_CHECK int service_call_outcome(const struct service_call *call, CURLcode code, int *status, struct err *err);
/* arm, perform, outcome. Blocks. */
PTA_MUST_CHECK int service_call_perform(struct service_call *call, int *status, struct err *err);

/* "the service says: message (code)" of an error answer, or its status alone when the body is not one of ours. code (may
 * be NULL) gets the stable word. Always printable. */
void service_error_text(const struct service_call *call, int status, char *text, size_t cap, char code[32]);

#endif
