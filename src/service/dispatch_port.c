#include <stdlib.h>

#include "base/clock.h"
#include "service/dispatch_impl.h"

int dispatch_port_new(struct dispatch *d, const struct dispatch_port_ops *ops, void *arg, struct dispatch_port **out)
{
	struct dispatch_port *port = calloc(1, sizeof(*port));
	int r;

	if (!port)
		return -PTA_ENOMEM;
	r = mailbox_new(&port->box);
	if (r < 0) {
		free(port);
		return r;
	}
	port->dispatch = d;
	port->ops = ops;
	port->arg = arg;
	TAILQ_INIT(&port->deadlines);
	TAILQ_INIT(&port->polls[false]);
	TAILQ_INIT(&port->polls[true]);
	STAILQ_INIT(&port->submitted);
	*out = port;
	return 0;
}

void dispatch_port_free(struct dispatch_port *port)
{
	if (!port)
		return;
	mailbox_free(port->box);
	free(port);
}

int dispatch_port_fd(const struct dispatch_port *port)
{
	return mailbox_fd(port->box);
}

/* Nobody else refers to the request any more: its sealed copies and keys go here, outside the lock. */
static void release(struct dispatch_request *request)
{
	for (unsigned i = 0; i < request->nslots; i++) {
		struct dispatch_slot *slot = &request->slots[i];

		dispatch_copy_free(slot->copy);
		slot->copy = NULL;
		secret_wipe(slot->answer_key, sizeof(slot->answer_key));
	}
}

static void hand_over(struct dispatch_port *port, struct mail *mail)
{
	struct dispatch_mail *m = MAIL_CONTAINER(mail, struct dispatch_mail, mail);

	if (m->kind == DISPATCH_MAIL_POLL) {
		port->ops->answer(MAIL_CONTAINER(m, struct dispatch_poll, mail), port->arg);
	} else {
		struct dispatch_request *request = MAIL_CONTAINER(m, struct dispatch_request, mail);

		release(request);
		port->ops->finished(request, port->arg);
	}
}

void dispatch_port_run(struct dispatch_port *port)
{
	struct mail *next;

	for (struct mail *mail = mailbox_take(port->box); mail; mail = next) {
		next = mail->next;
		hand_over(port, mail);
	}
}

void deliveries_add(struct deliveries *list, struct dispatch_mail *mail)
{
	mail->mail.next = NULL;
	*list->end = &mail->mail;
	list->end = &mail->mail.next;
}

void deliver(struct dispatch_port *port, struct deliveries *list)
{
	struct mail *next;

	for (struct mail *mail = list->first; mail; mail = next) {
		struct dispatch_mail *m = MAIL_CONTAINER(mail, struct dispatch_mail, mail);

		next = mail->next;
		if (m->port == port)
			hand_over(port, mail);
		else
			mailbox_post(m->port->box, mail);
	}
}

void dispatch_deadline_add(struct dispatch_port *port, struct dispatch_request *request)
{
	struct dispatch_request *before = TAILQ_LAST(&port->deadlines, dispatch_deadlines);

	/* In order already, but for the first ones after the configured deadline became shorter. */
	while (before && before->deadline_us > request->deadline_us)
		before = TAILQ_PREV(before, dispatch_deadlines, by_deadline);
	if (before)
		TAILQ_INSERT_AFTER(&port->deadlines, before, request, by_deadline);
	else
		TAILQ_INSERT_HEAD(&port->deadlines, request, by_deadline);
}

uint64_t dispatch_port_due(struct dispatch_port *port)
{
	uint64_t due = UINT64_MAX;

	pthread_mutex_lock(&port->dispatch->lock);
	if (!TAILQ_EMPTY(&port->deadlines))
		due = TAILQ_FIRST(&port->deadlines)->deadline_us;
	for (unsigned i = 0; i < 2; i++)
		if (!TAILQ_EMPTY(&port->polls[i]) && TAILQ_FIRST(&port->polls[i])->until_us < due)
			due = TAILQ_FIRST(&port->polls[i])->until_us;
	pthread_mutex_unlock(&port->dispatch->lock);
	return due;
}

void dispatch_port_expire(struct dispatch_port *port)
{
	struct dispatch *d = port->dispatch;
	uint64_t now = clock_mono_us();
	struct dispatch_request *request;
	struct dispatch_poll *poll;
	DELIVERIES(list);

	pthread_mutex_lock(&d->lock);
	while ((request = TAILQ_FIRST(&port->deadlines)) && request->deadline_us <= now) {
		bool handed = request->state == DISPATCH_HANDED;
		struct verdict verdict = verdict_unavailable(REASON_TIMEOUT, handed);

		/* Who lets requests run into their deadline is slow, and would never be measured else. */
		if (handed)
			agent_session_latency(request->current->holder, now - request->handed_us);
		dispatch_end(d, request, &verdict, &list);
	}
	for (unsigned i = 0; i < 2; i++)
		while ((poll = TAILQ_FIRST(&port->polls[i])) && poll->until_us <= now)
			dispatch_poll_end(poll, DISPATCH_POLL_EMPTY, &list);
	pthread_mutex_unlock(&d->lock);
	deliver(port, &list);
}
