/* A many-to-one queue between threads: intrusive, unbounded by itself (what is put in is bounded by its owner),
 * with one eventfd written only on empty → non-empty. Posting is thread-safe and never blocks; taking belongs to one
 * thread. */
#ifndef PTA_BASE_MAILBOX_H
#define PTA_BASE_MAILBOX_H

#include <stdbool.h>

#include "base/err.h"

struct mail {
	struct mail *next;
};

struct mailbox;

PTA_MUST_CHECK int mailbox_new(struct mailbox **out);
void mailbox_free(struct mailbox *box); /* whatever is still inside belongs to the caller: take it first */

/* The box owns the mail until it is taken. */
void mailbox_post(struct mailbox *box, struct mail *mail);
/* Readable while there may be mail: for libevent, poll or curl_multi_poll. */
int mailbox_fd(const struct mailbox *box);
/* All there is, oldest first (NULL when none), and re-arms the fd. */
struct mail *mailbox_take(struct mailbox *box);

#define MAIL_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
