/* One LDAP connection to a domain controller for simple binds, one in flight at a time, or many where AD's fast bind is to be
 * had: libldap over ldap_io.
 * ldap_conn_open() blocks until its deadline (helper threads); everything else never blocks. Belongs to one thread at a
 * time. After any error the connection is dead: it refuses further binds, and libldap cannot reconnect by itself. */
#ifndef PTA_DIRECTORY_LDAP_CONN_H
#define PTA_DIRECTORY_LDAP_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "directory/ad_status.h"
#include "directory/directory_conf.h"
#include "directory/ldap_tls.h"
#include "wire/verdict.h"

struct ldap_conn;

/* DNS, TCP and TLS (LDAPS or StartTLS) with certificate and name verified. Errors: -PTA_ENET, -PTA_ETIMEDOUT, -PTA_ETLS,
 * -PTA_EPERM (no TLS and not loopback), -PTA_ENOMEM; the text names server, step and answer. No credentials are sent. */
PTA_MUST_CHECK int ldap_conn_open(const struct directory_conf *conf, const struct directory_server *server, const struct ldap_tls *tls, uint64_t deadline_us,
	struct ldap_conn **out, struct err *err);
/* Sends an unbind if it still can. NULL is allowed. Take the fd out of the event loop before. */
void ldap_conn_close(struct ldap_conn *conn);
int ldap_conn_fd(const struct ldap_conn *conn);
const char *ldap_conn_tls_version(const struct ldap_conn *conn); /* "TLS1.3", "" without TLS */

/* How many binds may be in flight at a time: 1, or FAST_BINDS. */
#define FAST_BINDS 16
unsigned ldap_conn_room(const struct ldap_conn *conn);

/* Sends a simple bind. An empty password is refused (RFC 4513 5.1.2: it would be anonymous). *id names it in the answer;
 * *sent: the password may have left this host, even if an error is returned. */
PTA_MUST_CHECK int ldap_conn_bind(struct ldap_conn *conn, const char *name, struct secret *password, int *id, bool *sent, struct err *err);
/* When the fd is readable, until it returns 0 (nothing more yet): 1 and the mapped verdict of bind *id; -PTA_ENET (lost) or
 * -PTA_EPROTO (not an answer to a bind), for all that is in flight. */
PTA_MUST_CHECK int ldap_conn_bind_answer(struct ldap_conn *conn, int *id, struct verdict *verdict, enum ad_status_health *health, struct err *err);
/* Nothing in flight and the fd readable: takes what TLS has to say. -PTA_ENET: the server closed or is about to. */
PTA_MUST_CHECK int ldap_conn_idle_input(struct ldap_conn *conn);
/* After an answer: the connection takes another bind. False when the server said more than its answers. */
bool ldap_conn_reusable(struct ldap_conn *conn);
/* Is there input nobody has seen yet (most likely the server's goodbye)? One system call. */
bool ldap_conn_has_input(const struct ldap_conn *conn);

#endif
