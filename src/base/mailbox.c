#include "base/mailbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A stack that producers push onto one by one and the consumer takes whole: nothing is ever popped alone, so there is no
 * ABA problem. The newest mail is on top. */
struct mailbox {
	_Atomic(struct mail *) top;
	int fd;
};

#define HELD_MAX 8 /* further boxes are woken at once */

static _Thread_local struct {
	bool holding;
	unsigned n;
	const struct mailbox *boxes[HELD_MAX];
} held;

int mailbox_new(struct mailbox **out)
{
	struct mailbox *box = calloc(1, sizeof(*box));

	if (!box)
		return -PTA_ENOMEM;
	box->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (box->fd < 0) {
		free(box);
		return -PTA_EIO;
	}
	*out = box;
	return 0;
}

void mailbox_free(struct mailbox *box)
{
	if (!box)
		return;
	close(box->fd);
	free(box);
}

/* EAGAIN: the counter is full, so the fd is readable anyway; nothing else can befall an eventfd, and a consumer that is never
 * woken must not go unnoticed. */
static void wake(const struct mailbox *box)
{
	const uint64_t one = 1;

	if (write(box->fd, &one, sizeof(one)) != (ssize_t)sizeof(one) && errno != EAGAIN)
		abort();
}

static bool hold_back(const struct mailbox *box)
{
	if (!held.holding)
		return false;
	for (unsigned i = 0; i < held.n; i++)
		if (held.boxes[i] == box)
			return true;
	if (held.n == HELD_MAX)
		return false;
	held.boxes[held.n++] = box;
	return true;
}

void mailbox_hold(void)
{
	held.holding = true;
}

void mailbox_release(void)
{
	for (unsigned i = 0; i < held.n; i++)
		wake(held.boxes[i]);
	held.n = 0;
	held.holding = false;
}

void mailbox_post(struct mailbox *box, struct mail *mail)
{
	struct mail *old = atomic_load_explicit(&box->top, memory_order_relaxed);

	do {
		mail->next = old;
	} while (!atomic_compare_exchange_weak_explicit(&box->top, &old, mail, memory_order_release, memory_order_relaxed));
	/* From here on the mail may be gone. */
	if (!old && !hold_back(box))
		wake(box);
}

int mailbox_fd(const struct mailbox *box)
{
	return box->fd;
}

struct mail *mailbox_take(struct mailbox *box)
{
	struct mail *mail, *oldest = NULL;
	uint64_t count;

	/* Re-arm first: what is posted after the exchange finds the stack empty and writes again. */
	if (read(box->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		abort();
	mail = atomic_exchange_explicit(&box->top, NULL, memory_order_acquire);
	while (mail) {
		struct mail *next = mail->next;

		mail->next = oldest;
		oldest = mail;
		mail = next;
	}
	return oldest;
}
