/* What ldap_conn.c shares with the parts that speak SASL, search and fast bind over the same connection. Nobody else
 * includes it. */
#ifndef PTA_DIRECTORY_LDAP_CONN_INTERNAL_H
#define PTA_DIRECTORY_LDAP_CONN_INTERNAL_H

#include <ldap.h>

#include "directory/ldap_conn.h"
#include "directory/ldap_io.h"

/* LDAP_SERVER_FAST_BIND_OID, MS-ADTS 3.1.1.3.4.2.2 */
#define LDAP_FAST_BIND_OID "1.2.840.113556.1.4.1781"

struct ldap_conn {
	LDAP *ld;
	Sockbuf *sb;	    /* of ld */
	unsigned in_flight; /* binds sent and not answered */
	int msgid;	    /* of the last one sent */
	bool fast;	    /* takes many binds at a time (MS-ADTS 5.1.1.3) */
	bool dead;
	char tls_version[16];
	struct ldap_io io;
};

/* Fast bind: asks the rootDSE whether the server has it, and if so switches the connection over. Within the connection's
 * deadline. A server without it, or that refuses it, leaves the connection as it was (0). */
PTA_MUST_CHECK int ldap_fast_begin(struct ldap_conn *conn, uint64_t deadline_us, struct err *err);

/* One search with the scope of the base object, within deadline_us; *result is the caller's (ldap_msgfree). */
PTA_MUST_CHECK int ldap_conn_read(struct ldap_conn *conn, const char *dn, char **attributes, uint64_t deadline_us, LDAPMessage **result, struct err *err);

/* What libldap, and below it the TLS or SASL library, says about the last failure; text is returned. */
const char *ldap_conn_diagnostic(LDAP *ld, int rc, char *text, size_t cap);

#endif
