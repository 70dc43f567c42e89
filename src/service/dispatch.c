#include "service/dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/dispatch_impl.h"

int dispatch_new(unsigned queue_limit, struct dispatch **out)
{
	struct dispatch *d = calloc(1, sizeof(*d));

	if (!d)
		return -PTA_ENOMEM;
	pthread_mutex_init(&d->lock, NULL);
	d->queue_limit = queue_limit;
	if (idmap_init(&d->requests) < 0 || idmap_init(&d->sessions) < 0 || idmap_init(&d->groups) < 0) {
		dispatch_free(d);
		return -PTA_ENOMEM;
	}
	*out = d;
	return 0;
}

void dispatch_free(struct dispatch *d)
{
	struct idmap_node *next;

	if (!d)
		return;
	for (struct idmap_node *node = d->sessions.buckets ? idmap_next(&d->sessions, NULL) : NULL; node; node = next) {
		next = idmap_next(&d->sessions, node);
		agent_session_free(IDMAP_CONTAINER(node, struct agent_session, by_agent));
	}
	for (struct idmap_node *node = d->groups.buckets ? idmap_next(&d->groups, NULL) : NULL; node; node = next) {
		next = idmap_next(&d->groups, node);
		free(IDMAP_CONTAINER(node, struct dispatch_group, by_name));
	}
	idmap_done(&d->requests);
	idmap_done(&d->sessions);
	idmap_done(&d->groups);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

void dispatch_set_queue_limit(struct dispatch *d, unsigned limit)
{
	pthread_mutex_lock(&d->lock);
	d->queue_limit = limit;
	pthread_mutex_unlock(&d->lock);
}

int dispatch_copy_new(
	const struct envelope_head *head, const uint8_t enc[ENVELOPE_ENC_LEN], uint64_t seq, const uint8_t *sealed, size_t len, struct dispatch_copy **out)
{
	struct dispatch_copy *copy = malloc(sizeof(*copy) + len);

	if (!copy)
		return -PTA_ENOMEM;
	copy->next = NULL;
	copy->message = (struct message_request){.head = *head, .seq = seq, .sealed = copy->bytes, .sealed_len = len};
	memcpy(copy->message.enc, enc, ENVELOPE_ENC_LEN);
	memcpy(copy->bytes, sealed, len);
	*out = copy;
	return 0;
}

void dispatch_copy_free(struct dispatch_copy *copy)
{
	struct dispatch_copy *next;

	for (; copy; copy = next) {
		next = copy->next;
		free(copy);
	}
}

struct dispatch_request *dispatch_find_request(struct dispatch *d, const char *id)
{
	struct idmap_node *node = idmap_find(&d->requests, id);

	return node ? IDMAP_CONTAINER(node, struct dispatch_request, by_id) : NULL;
}

struct agent_session *dispatch_find_session(struct dispatch *d, const char *agent)
{
	struct idmap_node *node = idmap_find(&d->sessions, agent);

	return node ? IDMAP_CONTAINER(node, struct agent_session, by_agent) : NULL;
}

struct dispatch_group *dispatch_find_group(struct dispatch *d, const char *tenant, const char *group)
{
	char name[LIMIT_TENANT + LIMIT_ID + 2];
	struct idmap_node *node;

	snprintf(name, sizeof(name), "%s/%s", tenant, group);
	node = idmap_find(&d->groups, name);
	return node ? IDMAP_CONTAINER(node, struct dispatch_group, by_name) : NULL;
}

int dispatch_candidates(struct dispatch *d, const char *tenant, const char *group_name, struct dispatch_candidate out[DISPATCH_COPIES], size_t *n)
{
	const struct agent_session *best[DISPATCH_COPIES];
	const struct agent_session *s;
	uint64_t now_us = clock_mono_us(), now_ms = clock_wall_ms();
	struct dispatch_group *group;
	size_t found = 0;
	int r = 0;

	pthread_mutex_lock(&d->lock);
	group = dispatch_find_group(d, tenant, group_name);
	if (group) {
		LIST_FOREACH (s, &group->sessions, by_group) {
			size_t at = found;

			if (!agent_session_usable(s, now_us, now_ms))
				continue;
			while (at > 0 && agent_session_before(s, best[at - 1]))
				at--;
			if (at == DISPATCH_COPIES)
				continue;
			if (found < DISPATCH_COPIES)
				found++;
			memmove(&best[at + 1], &best[at], (found - at - 1) * sizeof(best[0]));
			best[at] = s;
		}
	}
	if (!found)
		r = -PTA_ENOENT;
	else if (d->closed || group->waiting >= d->queue_limit)
		r = -PTA_EBUSY;
	for (size_t i = 0; i < found && r == 0; i++) {
		out[i].session = best[i]->number;
		memcpy(out[i].agent, best[i]->agent, sizeof(out[i].agent));
		memcpy(out[i].key_id, best[i]->key.id, sizeof(out[i].key_id));
		memcpy(out[i].public_key, best[i]->key.public_key, sizeof(out[i].public_key));
	}
	pthread_mutex_unlock(&d->lock);
	*n = found;
	return r;
}

static bool slot_usable(const struct dispatch_slot *slot, uint64_t now_us)
{
	const struct agent_session *s = slot->holder;

	return slot->copy && s && s->number == slot->session && !s->disabled && agent_session_online(s, now_us);
}

static void unlink_slot(struct dispatch_slot *slot)
{
	if (!slot->linked)
		return;
	TAILQ_REMOVE(&slot->holder->waiting, slot, link);
	slot->holder->nwaiting--;
	slot->linked = false;
	slot->request->live--;
}

static void stop_waiting(struct dispatch *d, struct dispatch_request *request)
{
	for (unsigned i = 0; i < request->nslots; i++)
		unlink_slot(&request->slots[i]);
	request->in_group->waiting--;
	d->nwaiting--;
	request->state = DISPATCH_NEW;
}

static void stop_handed(struct dispatch *d, struct dispatch_request *request)
{
	LIST_REMOVE(request, by_holder);
	request->current->holder->in_flight--;
	request->current = NULL;
	request->claimed = false;
	d->nhanded--;
	request->state = DISPATCH_NEW;
}

void dispatch_end(struct dispatch *d, struct dispatch_request *request, const struct verdict *verdict, struct deliveries *list)
{
	if (request->state == DISPATCH_WAITING)
		stop_waiting(d, request);
	else if (request->state == DISPATCH_HANDED)
		stop_handed(d, request);
	idmap_remove(&d->requests, &request->by_id);
	TAILQ_REMOVE(&request->mail.port->deadlines, request, by_deadline);
	request->state = DISPATCH_DONE;
	request->verdict = *verdict;
	deliveries_add(list, &request->mail);
}

/* The copy leaves the request for the poll's batch. */
static void take(struct dispatch *d, struct dispatch_slot *slot, struct dispatch_poll *poll, uint64_t now_us)
{
	struct dispatch_request *request = slot->request;
	struct agent_session *s = slot->holder;

	if (request->state == DISPATCH_WAITING)
		stop_waiting(d, request);
	request->state = DISPATCH_HANDED;
	request->current = slot;
	request->handed_us = now_us;
	request->waited_us = (uint32_t)(now_us - request->submitted_us);
	request->handouts++;
	memcpy(request->agent, s->agent, sizeof(request->agent));
	LIST_INSERT_HEAD(&s->handed, request, by_holder);
	s->in_flight++;
	s->nhanded++;
	d->nhanded++;
	d->handouts++;

	slot->copy->next = NULL;
	*poll->batch_end = slot->copy;
	poll->batch_end = &slot->copy->next;
	poll->batched++;
	slot->copy = NULL;
}

void dispatch_fill(struct dispatch *d, struct agent_session *s, struct dispatch_poll *poll)
{
	uint64_t now_us = clock_mono_us();
	struct dispatch_slot *slot;

	while (poll->batched < poll->credit && (slot = TAILQ_FIRST(&s->waiting)))
		take(d, slot, poll, now_us);
}

void dispatch_poll_end(struct dispatch_poll *poll, enum dispatch_poll_outcome outcome, struct deliveries *list)
{
	TAILQ_REMOVE(&poll->mail.port->polls[poll->receipt], poll, by_port);
	agent_session_unpark(poll->session, poll);
	poll->outcome = outcome;
	deliveries_add(list, &poll->mail);
}

/* No copy is left that could be handed out. Nothing was sent to any DC. */
static void end_undeliverable(struct dispatch *d, struct dispatch_request *request, enum verdict_reason reason, struct deliveries *list)
{
	struct verdict verdict = verdict_unavailable(request->declined ? request->decline_reason : reason, false);

	dispatch_end(d, request, &verdict, list);
}

/* Into the queues of all agents that have a copy. */
static void enqueue(struct dispatch *d, struct dispatch_request *request, uint64_t now_us, struct deliveries *list)
{
	for (unsigned i = 0; i < request->nslots; i++) {
		struct dispatch_slot *slot = &request->slots[i];

		if (!slot_usable(slot, now_us))
			continue;
		if (request->handouts)
			TAILQ_INSERT_HEAD(&slot->holder->waiting, slot, link);
		else
			TAILQ_INSERT_TAIL(&slot->holder->waiting, slot, link);
		slot->holder->nwaiting++;
		slot->linked = true;
		request->live++;
	}
	if (!request->live) {
		end_undeliverable(d, request, REASON_NO_AGENT, list);
		return;
	}
	request->state = DISPATCH_WAITING;
	request->in_group->waiting++;
	d->nwaiting++;
}

/* The best of its agents that has a poll parked gets what waits for it. */
static void offer(struct dispatch *d, struct dispatch_port *port, struct dispatch_request *request, struct deliveries *list)
{
	/* Again where a poll had no room for all that was before it. */
	while (request->state == DISPATCH_WAITING) {
		struct agent_session *best = NULL;
		struct dispatch_poll *poll;

		for (unsigned i = 0; i < request->nslots; i++) {
			struct dispatch_slot *slot = &request->slots[i];

			if (slot->linked && slot->holder->npolls && (!best || agent_session_before(slot->holder, best)))
				best = slot->holder;
		}
		if (!best)
			return;
		poll = agent_session_poll(best, port);
		dispatch_poll_end(poll, DISPATCH_POLL_BATCH, list);
		dispatch_fill(d, best, poll);
	}
}

static void place(struct dispatch *d, struct dispatch_port *port, struct dispatch_request *request, struct deliveries *list)
{
	enqueue(d, request, clock_mono_us(), list);
	offer(d, port, request, list);
}

void dispatch_again(struct dispatch *d, struct dispatch_port *port, struct dispatch_request *request, struct deliveries *list)
{
	stop_handed(d, request);
	if (request->handouts > DISPATCH_REHANDS) {
		end_undeliverable(d, request, REASON_AGENT_LOST, list);
		return;
	}
	d->rehandouts++;
	place(d, port, request, list);
}

void dispatch_drop_waiting(struct dispatch *d, struct agent_session *s, struct deliveries *list)
{
	struct dispatch_slot *slot;

	while ((slot = TAILQ_FIRST(&s->waiting))) {
		unlink_slot(slot);
		if (!slot->request->live)
			end_undeliverable(d, slot->request, REASON_NO_AGENT, list);
	}
}

void dispatch_lose(struct dispatch *d, struct agent_session *s, enum dispatch_poll_outcome polls, struct deliveries *list)
{
	struct verdict verdict = verdict_unavailable(REASON_AGENT_LOST, true);
	struct dispatch_request *request;
	struct dispatch_poll *poll;

	s->lost = true;
	s->connections = 0;
	while ((request = LIST_FIRST(&s->handed))) {
		d->lost++;
		dispatch_end(d, request, &verdict, list);
	}
	while ((poll = TAILQ_FIRST(&s->polls)))
		dispatch_poll_end(poll, polls, list);
	dispatch_drop_waiting(d, s, list);
}

void dispatch_submit(struct dispatch_port *port, struct dispatch_request *request)
{
	bool first = STAILQ_EMPTY(&port->submitted);

	request->mail.port = port;
	request->mail.kind = DISPATCH_MAIL_REQUEST;
	request->state = DISPATCH_NEW;
	request->submitted_us = clock_mono_us();
	STAILQ_INSERT_TAIL(&port->submitted, request, by_turn);
	if (first)
		port->ops->submitted(port->arg);
}

static void enter(struct dispatch *d, struct dispatch_port *port, struct dispatch_request *request, uint64_t now_us, struct deliveries *list)
{
	d->submitted++;
	idmap_put(&d->requests, request->id, &request->by_id);
	dispatch_deadline_add(port, request);
	request->in_group = dispatch_find_group(d, request->tenant, request->group);
	for (unsigned i = 0; i < request->nslots; i++) {
		request->slots[i].request = request;
		request->slots[i].holder = dispatch_find_session(d, request->slots[i].agent);
	}
	if (d->closed)
		end_undeliverable(d, request, REASON_OVERLOADED, list);
	else if (!request->in_group)
		end_undeliverable(d, request, REASON_NO_AGENT, list);
	else
		enqueue(d, request, now_us, list);
}

void dispatch_port_hand_out(struct dispatch_port *port)
{
	struct dispatch *d = port->dispatch;
	uint64_t now_us = clock_mono_us();
	struct dispatch_request *request;
	DELIVERIES(list);

	if (STAILQ_EMPTY(&port->submitted))
		return;
	pthread_mutex_lock(&d->lock);
	/* All of them first: one poll takes what there is. */
	STAILQ_FOREACH (request, &port->submitted, by_turn)
		enter(d, port, request, now_us, &list);
	STAILQ_FOREACH (request, &port->submitted, by_turn)
		offer(d, port, request, &list);
	STAILQ_INIT(&port->submitted);
	pthread_mutex_unlock(&d->lock);
	deliver(port, &list);
}

void dispatch_close(struct dispatch *d, struct dispatch_port *port)
{
	struct verdict shut_down = verdict_unavailable(REASON_OVERLOADED, false);
	DELIVERIES(list);
	struct idmap_node *node;

	pthread_mutex_lock(&d->lock);
	d->closed = true;
	for (node = idmap_next(&d->sessions, NULL); node; node = idmap_next(&d->sessions, node))
		dispatch_lose(d, IDMAP_CONTAINER(node, struct agent_session, by_agent), DISPATCH_POLL_EMPTY, &list);
	while ((node = idmap_next(&d->requests, NULL)))
		dispatch_end(d, IDMAP_CONTAINER(node, struct dispatch_request, by_id), &shut_down, &list);
	pthread_mutex_unlock(&d->lock);
	deliver(port, &list);
}

void dispatch_count(struct dispatch *d, struct dispatch_counts *out)
{
	uint64_t now_us = clock_mono_us();

	pthread_mutex_lock(&d->lock);
	*out = (struct dispatch_counts){
		.waiting = d->nwaiting,
		.handed = d->nhanded,
		.submitted = d->submitted,
		.handouts = d->handouts,
		.rehandouts = d->rehandouts,
		.lost = d->lost,
	};
	for (struct idmap_node *node = idmap_next(&d->sessions, NULL); node; node = idmap_next(&d->sessions, node)) {
		const struct agent_session *s = IDMAP_CONTAINER(node, struct agent_session, by_agent);

		out->polls += s->npolls;
		out->agents_online += agent_session_online(s, now_us);
	}
	pthread_mutex_unlock(&d->lock);
}
