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
/* Between these two, what this thread posts wakes nobody; release() wakes each consumer once. For a loop that posts many: its
 * first mail is found together with the others, where it would else be fetched alone, by a wake of its own. Not nested. No
 * waiting for a consumer in between, and the boxes must live until the release. */
void mailbox_hold(void);
void mailbox_release(void);
/* Readable while there may be mail: for libevent, poll or curl_multi_poll. */
int mailbox_fd(const struct mailbox *box);
/* All there is, oldest first (NULL when none), and re-arms the fd. */
struct mail *mailbox_take(struct mailbox *box);

#define MAIL_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
