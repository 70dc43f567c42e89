/* method = kerberos: the user's TGT by password, and with it a ticket for the agent's own account, which its keytab verifies:
 * nobody but the realm's KDC can make one (an AS-REP alone could be anybody's). Everything is asked of one controller. On
 * worker_validator: a password each per thread. */
#ifndef PTA_DIRECTORY_VALIDATOR_KERBEROS_H
#define PTA_DIRECTORY_VALIDATOR_KERBEROS_H

#include "directory/validator.h"

extern const struct validator_method validator_kerberos;

#endif
