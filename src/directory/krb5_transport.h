/* One question to one KDC over TCP and its answer (RFC 4120 7.2.2), for krb5_exchange. Blocks, within the exchange's deadline. */
#ifndef PTA_DIRECTORY_KRB5_TRANSPORT_H
#define PTA_DIRECTORY_KRB5_TRANSPORT_H

#include "base/buf.h"
#include "directory/krb5_exchange.h"

/* Sends the message and reads the answer into *reply (BUF_INIT(KRB5_MESSAGE_MAX); emptied before). Connects where there is no
 * connection, or where the KDC closed it behind an earlier answer. proof: the message was made from the password; it has a
 * new connection, leaves this host once at most, and x->sent is set with its first byte. -PTA_ENET, -PTA_ETIMEDOUT, -PTA_EPROTO (no frame, or
 * one over the limit); the connection is closed then. */
PTA_MUST_CHECK int krb5_transport_ask(struct krb5_exchange *x, const void *message, size_t len, bool proof, struct buf *reply, struct err *err);
void krb5_transport_close(struct krb5_exchange *x);

#endif
