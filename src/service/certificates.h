/* When the certificates expire that the service depends on: warned of in the log, told in status and metrics. Thread 0's. */
#ifndef PTA_SERVICE_CERTIFICATES_H
#define PTA_SERVICE_CERTIFICATES_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "service/ca.h"
#include "service/registry.h"
#include "wire/expiry.h"

/* CERTIFICATE_AGENTS: of all agents that are enabled, the one that expires next and has not yet. */
enum certificate_kind { CERTIFICATE_CA, CERTIFICATE_SIGNIN_LISTEN, CERTIFICATE_AGENT_LISTEN, CERTIFICATE_AGENTS, CERTIFICATE_KINDS };

/* "ca", …: in log, status and metrics. */
extern const char *const certificate_names[CERTIFICATE_KINDS];

struct certificates {
	SSL_CTX *signin, *agent; /* the listeners', each referenced */
	struct expiry_watch watches[CERTIFICATE_KINDS];
	struct {
		uint64_t from_ms, until_ms; /* 0: there is none */
		enum expiry_stage stage;
	} of[CERTIFICATE_KINDS];
	char next_agent[LIMIT_ID + 1];
};

/* Takes references of the listeners' contexts, in place of those that it has. */
void certificates_listeners(struct certificates *certs, SSL_CTX *signin, SSL_CTX *agent);
void certificates_done(struct certificates *certs);
/* Looks at all of them as of now, and warns. */
void certificates_look(struct certificates *certs, const struct ca *ca, const struct registry_snapshot *snapshot);

#endif
