/* The SASL GSSAPI bind (RFC 4752) on a connection, with the tickets of a credential cache, by libldap and Cyrus SASL. It
 * asks no KDC: the ticket for ldap/HOST must be in the cache. Blocks, at most until its deadline. Thread-safe for different
 * connections. */
#ifndef PTA_DIRECTORY_LDAP_SASL_H
#define PTA_DIRECTORY_LDAP_SASL_H

#include <stdint.h>

#include "base/err.h"
#include "directory/ldap_conn.h"

/* Makes ready, once and before threads that bind, what the libraries share. -PTA_ENOENT: Cyrus SASL has no GSSAPI here. */
PTA_MUST_CHECK int ldap_sasl_init(struct err *err);

/* The server's refusal. */
struct ldap_sasl_answer {
	int result;	      /* RFC 4511 4.1.9; LDAP_SUCCESS when there was no refusal */
	char diagnostic[512]; /* its text, as it came */
};

/* The connection must be fresh, and its server's name be that of the ticket. Within TLS no second layer is made, and the
 * bind is bound to TLS (tls-server-end-point, RFC 5929 4; AD's LdapEnforceChannelBinding). Without TLS everything behind the
 * bind is signed and sealed, or it fails; what the bind's own answer says is then proved by the first sealed answer only.
 * ccache_name: of this process ("MEMORY:...").
 * 0: bound. -PTA_EPERM: the server refused, see *answer. -PTA_ECRYPTO: it did not prove itself, or the ticket is of no use
 * to it (clock, key, name). -PTA_ENET, -PTA_ETIMEDOUT. After a failure the connection takes nothing any more. */
PTA_MUST_CHECK int ldap_sasl_bind_ccache(
	struct ldap_conn *conn, const char *ccache_name, uint64_t deadline_us, struct ldap_sasl_answer *answer, struct err *err);
/* The same without binding it to TLS, to learn whether the server demands that it is (refused then, with AD's 80090346). */
PTA_MUST_CHECK int ldap_sasl_bind_unbound(
	struct ldap_conn *conn, const char *ccache_name, uint64_t deadline_us, struct ldap_sasl_answer *answer, struct err *err);

#endif
