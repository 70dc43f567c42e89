/* One TLS client context per directory section, shared by all its LDAP handles: each handle that loads the system's CA
 * bundle by itself costs 3.8 MB. Thread-safe after ldap_tls_new(), which reads the CA file from disk. */
#ifndef PTA_DIRECTORY_LDAP_TLS_H
#define PTA_DIRECTORY_LDAP_TLS_H

#include <ldap.h>

#include "base/err.h"
#include "directory/directory_conf.h"

struct ldap_tls;

/* -PTA_ETLS when the CA file gives no context. With tls = none the context is empty. */
PTA_MUST_CHECK int ldap_tls_new(const struct directory_conf *conf, struct ldap_tls **out, struct err *err);
void ldap_tls_free(struct ldap_tls *tls); /* handles that still use the context keep it */

/* Makes the handle demand a valid certificate with the right name, whatever ldap.conf and LDAPTLS_* say. */
PTA_MUST_CHECK int ldap_tls_apply(const struct ldap_tls *tls, LDAP *ld);
/* After the handshake: TLS is there and of version 1.2 or up. Writes its version. */
PTA_MUST_CHECK int ldap_tls_verify(LDAP *ld, char version[16], struct err *err);

#endif
