/* What AD's schema says of an attribute (MS-ADTS 3.1.1.2.3): whether searches for it are quick, and whether the global
 * catalog has it. For `check`. Blocks until its deadline; the connection belongs to one thread. */
#ifndef PTA_DIRECTORY_LDAP_SCHEMA_H
#define PTA_DIRECTORY_LDAP_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "directory/ldap_conn.h"

struct ldap_schema_attribute {
	bool indexed;	 /* searchFlags, fATTINDEX (MS-ADTS 2.2.9) */
	bool in_catalog; /* isMemberOfPartialAttributeSet */
};

/* conn is bound as somebody who may read the schema, as every account may; name: an lDAPDisplayName or an OID. -PTA_ENOENT:
 * the schema has no such attribute. -PTA_EINVAL: the server tells no schema, or refused the search. -PTA_ENET,
 * -PTA_ETIMEDOUT: the connection is dead. */
PTA_MUST_CHECK int ldap_schema_look(struct ldap_conn *conn, const char *name, uint64_t deadline_us, struct ldap_schema_attribute *out, struct err *err);

#endif
