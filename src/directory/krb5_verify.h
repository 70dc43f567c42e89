/* Whether a service ticket is genuine, and whose it is: by the key in the section's keytab. Asks nobody. Blocks on the
 * keytab's file only. A krb5_context belongs to one thread. */
#ifndef PTA_DIRECTORY_KRB5_VERIFY_H
#define PTA_DIRECTORY_KRB5_VERIFY_H

#include <krb5.h>

#include "base/err.h"
#include "directory/directory_conf.h"

/* The principal in the keytab for which tickets are asked: the first of two components whose realm the section allows, else
 * the first of an allowed realm. *out (free()) is its name. -PTA_ENOENT: there is none, -PTA_EIO: no keytab. */
PTA_MUST_CHECK int krb5_verify_service(const struct directory_conf *conf, char **out, struct err *err);

/* creds: a ticket for `service`. upn NULL: the client that creds names is enough; else the ticket's PAC must say that this is
 * the client's UPN. -PTA_ECRYPTO: not so, *err says why. */
PTA_MUST_CHECK int krb5_verify_ticket(
	krb5_context context, const struct directory_conf *conf, krb5_principal service, krb5_creds *creds, const char *upn, struct err *err);

#endif
