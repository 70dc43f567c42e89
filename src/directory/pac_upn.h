/* The user's UPN in a PAC: its UPN_DNS_INFO buffer (MS-PAC 2.10), in which the KDC says whom an enterprise name meant. Takes
 * any bytes; bounded. Pure; thread-safe. */
#ifndef PTA_DIRECTORY_PAC_UPN_H
#define PTA_DIRECTORY_PAC_UPN_H

#include <stddef.h>

#include "base/err.h"
#include "wire/limits.h"

#define PAC_UPN_DNS_INFO 12 /* MS-PAC 2.4 */

/* The UPN as UTF-8. -PTA_EPROTO: out of bounds, empty, longer than a name may be, or no UTF-16. */
PTA_MUST_CHECK int pac_upn(const void *buffer, size_t len, char out[LIMIT_USERNAME + 1]);

#endif
