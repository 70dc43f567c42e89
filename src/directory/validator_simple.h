/* method = simple: LDAP simple binds over TLS, on one event-driven thread (the bind thread) over up to `connections`
 * persistent connections to one domain controller, one bind in flight on each, or FAST_BINDS where it has AD's fast bind. Connecting and TLS handshakes happen
 * on helper threads, so that the bind thread never blocks. Jobs come by mailbox; job_done() and job->step() are called on the bind thread. The contract is that
 * of directory/validator.h. */
#ifndef PTA_DIRECTORY_VALIDATOR_SIMPLE_H
#define PTA_DIRECTORY_VALIDATOR_SIMPLE_H

#include "directory/validator.h"

extern const struct validator_method validator_simple;

#endif
