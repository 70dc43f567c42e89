/* The agent's own identity on a connection: a simple bind with the password of identity_password_file, or without one a
 * GSSAPI bind with a ticket that the same controller's KDC gives for the key in the keytab. A password or key that was
 * refused is not tried again for a growing pause, so that a wrong one does not lock the account out: at most one bind is
 * under way at a time, and after a refusal there is none for 30 s, 2 minutes, 8 minutes, then 10 minutes each (connections
 * that are bound stay so). A reloaded section has a new identity and tries at once. Thread-safe. */
#ifndef PTA_DIRECTORY_IDENTITY_BIND_H
#define PTA_DIRECTORY_IDENTITY_BIND_H

#include <stdint.h>

#include "base/err.h"
#include "directory/directory_conf.h"
#include "directory/ldap_conn.h"

struct identity_bind;

/* Reads the password from disk, or looks whether the keytab can be read. conf must outlive the identity. Fails with the
 * file's name when it cannot be read; the password also when it is open to others than its owner, or empty (RFC 4513 5.1.2:
 * the bind would be anonymous). */
PTA_MUST_CHECK int identity_bind_new(const struct directory_conf *conf, struct identity_bind **out, struct err *err);
void identity_bind_free(struct identity_bind *identity); /* NULL is allowed */

/* -PTA_EPERM during a pause, with the text of identity_bind_connection(): then a connection need not be made. */
PTA_MUST_CHECK int identity_bind_paused(struct identity_bind *identity, struct err *err);

/* Blocks until deadline_us. -PTA_EPERM: refused now, or not long ago (the text says which, and repeats the directory's own
 * words; a refusal is logged here, at most once a minute): no other controller is to be tried. -PTA_EBUSY (the server
 * cannot serve now, or the time ran out behind another's bind), -PTA_EINVAL (any other answer: a configuration fault),
 * -PTA_ENET, -PTA_ETIMEDOUT. After any of them the connection is of no use. */
PTA_MUST_CHECK int identity_bind_connection(
	struct identity_bind *identity, struct ldap_conn *conn, const struct directory_server *server, uint64_t deadline_us, struct err *err);

#endif
