/* What MIT Kerberos must and must not do in this process, whatever /etc/krb5.conf says: no DNS of its own, no KDC of its own,
 * no preauthentication but the encrypted timestamp, no clock but this host's. */
#ifndef PTA_DIRECTORY_KRB5_PROFILE_H
#define PTA_DIRECTORY_KRB5_PROFILE_H

#include "base/err.h"

/* Puts our settings before those of $KRB5_CONFIG, or of /etc/krb5.conf where it is unset: makes a sealed file in memory, kept
 * open for as long as the process lives, and sets KRB5_CONFIG. Once per process, before any thread and any krb5_context.
 * Neither file needs to exist. -PTA_EIO, -PTA_ENOMEM. */
PTA_MUST_CHECK int krb5_profile_init(struct err *err);

#endif
