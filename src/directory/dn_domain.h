/* The domain of an entry is that of its DN's DC= parts (MS-ADTS 3.1.1.1.4; RFC 2247). Pure; thread-safe. */
#ifndef PTA_DIRECTORY_DN_DOMAIN_H
#define PTA_DIRECTORY_DN_DOMAIN_H

#include "base/err.h"
#include "wire/limits.h"

/* "corp.example.com" of "CN=x,DC=corp,DC=example,DC=com", as it is written there. -PTA_EINVAL: it is no DN, has no such
 * parts at its end, or too long ones; out is then "". */
PTA_MUST_CHECK int dn_domain(const char *dn, char out[LIMIT_DOMAIN + 1]);

#endif
