/* method = gssapi: the user's TGT by password, a ticket for the controller's ldap service, and a SASL GSSAPI bind with it: the
 * controller proves itself, and says what it thinks of the account. Everything is asked of one controller, and its LDAP
 * connection is made before the password is used. On worker_validator: a password each per thread. */
#ifndef PTA_DIRECTORY_VALIDATOR_GSSAPI_H
#define PTA_DIRECTORY_VALIDATOR_GSSAPI_H

#include "directory/validator.h"

extern const struct validator_method validator_gssapi;

#endif
