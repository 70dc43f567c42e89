/* Whether a domain controller demands that binds be signed or within TLS (MS-ADTS 5.1.1.1.1, LDAPServerIntegrity): asked by a
 * simple bind over plain LDAP with a name that nobody has and a password that nobody has, never with a real one. For `check`.
 * ldap_signing_ask() blocks; all are thread-safe and keep no state. */
#ifndef PTA_DIRECTORY_LDAP_SIGNING_H
#define PTA_DIRECTORY_LDAP_SIGNING_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "directory/directory_conf.h"

/* No answer to a bind is longer. */
#define LDAP_SIGNING_ANSWER_MAX 4096
#define LDAP_SIGNING_MSGID 1

struct ldap_signing_answer {
	int result;	      /* RFC 4511 4.1.9: 8 (strongerAuthRequired) demands it, 49 (invalidCredentials) does not */
	char diagnostic[256]; /* as sent, cut to fit */
};

/* A BindRequest (RFC 4511 4.2), version 3, simple. -PTA_ENOMEM. */
PTA_MUST_CHECK int ldap_signing_encode(const char *name, const char *password, struct buf *out);
/* The answer so far: 1 and *out, 0: more of it is to come, -PTA_EPROTO: it is none, or longer than it may be. */
PTA_MUST_CHECK int ldap_signing_decode(const void *data, size_t len, struct ldap_signing_answer *out, struct err *err);

/* server: its port is taken, 389 as a rule. 0: *out is its answer. -PTA_ENET, -PTA_ETIMEDOUT, -PTA_EPROTO. */
PTA_MUST_CHECK int ldap_signing_ask(
	const struct directory_server *server, const char *domain, uint64_t deadline_us, struct ldap_signing_answer *out, struct err *err);

#endif
