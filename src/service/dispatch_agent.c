#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/dispatch_impl.h"

/* What a decline counts as, so that another agent comes first for a while. */
#define DECLINE_US 1000000

/* The agent's session when it is this instance's, online again where it had been lost. */
static struct agent_session *seen(struct dispatch *d, struct dispatch_peer *peer, const char *instance)
{
	struct agent_session *s = dispatch_find_session(d, peer->agent);

	if (!s || s->revoked || strcmp(s->instance, instance) != 0)
		return NULL;
	if (s->lost)
		agent_session_begin(s, instance, ++d->next_session);
	agent_session_seen(s, peer);
	return s;
}

void dispatch_peer_closed(struct dispatch *d, struct dispatch_port *port, struct dispatch_peer *peer)
{
	struct agent_session *s;
	bool lost = false;
	DELIVERIES(list);

	pthread_mutex_lock(&d->lock);
	s = dispatch_find_session(d, peer->agent);
	if (s && agent_session_closed(s, peer)) {
		dispatch_lose(d, s, DISPATCH_POLL_EMPTY, &list);
		lost = true;
	}
	pthread_mutex_unlock(&d->lock);
	if (lost)
		log_event(LOG_NOTICE, "agent.lost", F_STR("agent", peer->agent), F_STR("why", "all its connections are closed"));
	deliver(port, &list);
}

void dispatch_agent_state(struct dispatch *d, struct dispatch_port *port, const char *agent, enum registry_agent_state state)
{
	struct agent_session *s;
	DELIVERIES(list);

	pthread_mutex_lock(&d->lock);
	s = dispatch_find_session(d, agent);
	if (s && state == AGENT_REVOKED) {
		s->revoked = true;
		secret_wipe(&s->key, sizeof(s->key));
		dispatch_lose(d, s, DISPATCH_POLL_REVOKED, &list);
	} else if (s) {
		s->disabled = state == AGENT_DISABLED;
		if (s->disabled)
			dispatch_drop_waiting(d, s, &list);
	}
	pthread_mutex_unlock(&d->lock);
	deliver(port, &list);
}

static struct dispatch_group *group_get(struct dispatch *d, const struct dispatch_peer *peer)
{
	struct dispatch_group *group = dispatch_find_group(d, peer->tenant, peer->group);

	if (group)
		return group;
	group = calloc(1, sizeof(*group));
	if (!group)
		return NULL;
	snprintf(group->name, sizeof(group->name), "%s/%s", peer->tenant, peer->group);
	LIST_INIT(&group->sessions);
	idmap_put(&d->groups, group->name, &group->by_name);
	return group;
}

static int session_get(struct dispatch *d, const struct dispatch_peer *peer, struct agent_session **out)
{
	struct agent_session *s = dispatch_find_session(d, peer->agent);
	struct dispatch_group *group;
	int r;

	if (s) {
		*out = s;
		return 0;
	}
	group = group_get(d, peer);
	if (!group)
		return -PTA_ENOMEM;
	r = agent_session_new(peer->agent, &s);
	if (r < 0)
		return r;
	s->group = group;
	LIST_INSERT_HEAD(&group->sessions, s, by_group);
	idmap_put(&d->sessions, s->agent, &s->by_agent);
	*out = s;
	return 0;
}

static int publish(struct dispatch *d, struct dispatch_peer *peer, const struct message_key *key, bool *started, struct deliveries *list)
{
	struct agent_session *s;
	int r = session_get(d, peer, &s);

	if (r < 0)
		return r;
	if (s->revoked)
		return -PTA_EPERM;
	*started = strcmp(s->instance, key->instance) != 0;
	if (*started)
		dispatch_lose(d, s, DISPATCH_POLL_EMPTY, list);
	if (s->lost)
		agent_session_begin(s, key->instance, ++d->next_session);
	agent_session_seen(s, peer);
	memcpy(s->key.id, key->key_id, sizeof(s->key.id));
	memcpy(s->key.public_key, key->public_key, sizeof(s->key.public_key));
	s->key.not_after_ms = key->not_after_ms;
	return 0;
}

int dispatch_publish(struct dispatch *d, struct dispatch_port *port, struct dispatch_peer *peer, const struct message_key *key, struct err *err)
{
	bool started = false;
	DELIVERIES(list);
	int r;

	if (key->not_after_ms <= clock_wall_ms())
		return err_set(err, -PTA_EEXPIRED, "the key has ended already: publish a new one, and compare the agent's clock with the service's");
	pthread_mutex_lock(&d->lock);
	r = publish(d, peer, key, &started, &list);
	pthread_mutex_unlock(&d->lock);
	deliver(port, &list);
	if (r == -PTA_EPERM)
		return err_set(err, r, "agent %s is revoked", peer->agent);
	if (r < 0)
		return err_set(err, r, "no memory for the session of agent %s", peer->agent);
	if (started)
		log_event(LOG_INFO, "agent.online", F_STR("agent", peer->agent), F_STR("instance", key->instance));
	return 0;
}

bool dispatch_key_lives(struct dispatch *d, const char *agent, const char *key_id)
{
	const struct agent_session *s;
	bool lives;

	pthread_mutex_lock(&d->lock);
	s = dispatch_find_session(d, agent);
	lives = s && !strcmp(s->key.id, key_id) && clock_wall_ms() < s->key.not_after_ms;
	pthread_mutex_unlock(&d->lock);
	return lives;
}

static int park(
	struct dispatch *d, struct dispatch_port *port, struct dispatch_peer *peer, const char *instance, struct dispatch_poll *poll, struct deliveries *list)
{
	struct agent_session *s = seen(d, peer, instance);
	struct dispatch_poll *same;

	if (!s || !s->key.id[0] || clock_wall_ms() >= s->key.not_after_ms)
		return -PTA_ENOENT;
	/* libcurl sends a poll again when its connection has died: this one takes the place of the first. */
	same = agent_session_poll_number(s, poll->number);
	if (same)
		dispatch_poll_end(same, DISPATCH_POLL_EMPTY, list);
	else if (s->npolls >= DISPATCH_POLLS)
		dispatch_poll_end(TAILQ_FIRST(&s->polls), DISPATCH_POLL_EMPTY, list);
	agent_session_park(s, poll);
	TAILQ_INSERT_TAIL(&port->polls[poll->receipt], poll, by_port);
	if (d->closed) {
		dispatch_poll_end(poll, DISPATCH_POLL_EMPTY, list);
	} else if (s->nwaiting) {
		dispatch_poll_end(poll, DISPATCH_POLL_BATCH, list);
		dispatch_fill(d, s, poll);
	}
	return 0;
}

int dispatch_park(struct dispatch *d, struct dispatch_port *port, struct dispatch_peer *peer, const char *instance, struct dispatch_poll *poll)
{
	DELIVERIES(list);
	int r;

	poll->mail.port = port;
	poll->mail.kind = DISPATCH_MAIL_POLL;
	poll->batch = NULL;
	poll->batch_end = &poll->batch;
	poll->batched = 0;
	poll->until_us = clock_mono_us() + (poll->receipt ? POLL_HOLD_RESULTS_MS : POLL_HOLD_MS) * 1000ull;
	pthread_mutex_lock(&d->lock);
	r = park(d, port, peer, instance, poll, &list);
	pthread_mutex_unlock(&d->lock);
	deliver(port, &list);
	return r;
}

bool dispatch_poll_gone(struct dispatch *d, struct dispatch_poll *poll)
{
	bool parked;

	pthread_mutex_lock(&d->lock);
	parked = poll->session != NULL;
	if (parked) {
		TAILQ_REMOVE(&poll->mail.port->polls[poll->receipt], poll, by_port);
		agent_session_unpark(poll->session, poll);
	}
	pthread_mutex_unlock(&d->lock);
	return parked;
}

/* The handed request of this copy, still on the attempt that the copy was. */
static struct dispatch_slot *slot_of(struct dispatch *d, const char *request_id, uint32_t attempt)
{
	struct dispatch_request *request = dispatch_find_request(d, request_id);

	if (!request || request->state != DISPATCH_HANDED || request->current != &request->slots[attempt - 1])
		return NULL;
	return request->current;
}

void dispatch_handed(struct dispatch *d, struct dispatch_port *port, struct dispatch_copy *batch, bool written)
{
	struct dispatch_copy *next;
	DELIVERIES(list);

	if (written) {
		dispatch_copy_free(batch);
		return;
	}
	pthread_mutex_lock(&d->lock);
	for (struct dispatch_copy *copy = batch; copy; copy = next) {
		struct dispatch_slot *slot = slot_of(d, copy->message.head.request_id, copy->message.head.attempt);

		next = copy->next;
		copy->next = NULL;
		if (!slot) {
			dispatch_copy_free(copy);
			continue;
		}
		slot->copy = copy;
		dispatch_again(d, port, slot->request, &list);
	}
	pthread_mutex_unlock(&d->lock);
	deliver(port, &list);
}

/* The request that this agent holds in this attempt and that no other thread has an answer of. */
static struct dispatch_request *held(
	struct dispatch *d, struct dispatch_peer *peer, const char *instance, const char *request_id, uint32_t attempt, const char **refused)
{
	struct agent_session *s = seen(d, peer, instance);
	struct dispatch_request *request = dispatch_find_request(d, request_id);

	if (!request || request->claimed) {
		*refused = MESSAGE_REFUSED_UNKNOWN;
		return NULL;
	}
	if (!s || request->state != DISPATCH_HANDED || request->current->holder != s) {
		*refused = MESSAGE_REFUSED_NOT_HOLDER;
		return NULL;
	}
	if (attempt != (uint32_t)(request->current - request->slots) + 1) {
		*refused = MESSAGE_REFUSED_ATTEMPT;
		return NULL;
	}
	return request;
}

int dispatch_claim(struct dispatch *d, struct dispatch_peer *peer, const char *instance, const char *request_id, uint32_t attempt, struct dispatch_claim *out,
	const char **refused)
{
	struct dispatch_request *request;

	pthread_mutex_lock(&d->lock);
	request = held(d, peer, instance, request_id, attempt, refused);
	if (request) {
		const struct dispatch_slot *slot = request->current;

		request->claimed = true;
		out->head.attempt = attempt;
		out->head.expires_ms = request->expires_ms;
		memcpy(out->head.tenant, request->tenant, sizeof(out->head.tenant));
		memcpy(out->head.agent, slot->agent, sizeof(out->head.agent));
		memcpy(out->head.key_id, slot->key_id, sizeof(out->head.key_id));
		memcpy(out->head.request_id, request->id, sizeof(out->head.request_id));
		memcpy(out->answer_key, slot->answer_key, sizeof(out->answer_key));
		snprintf(out->username, sizeof(out->username), "%s", request->username);
	}
	pthread_mutex_unlock(&d->lock);
	return request ? 0 : -PTA_ENOENT;
}

static void claim_wipe(struct dispatch_claim *claim)
{
	secret_wipe(claim->answer_key, sizeof(claim->answer_key));
}

bool dispatch_finish(struct dispatch *d, struct dispatch_port *port, struct dispatch_claim *claim, const struct verdict *verdict)
{
	struct dispatch_slot *slot;
	DELIVERIES(list);

	pthread_mutex_lock(&d->lock);
	slot = slot_of(d, claim->head.request_id, claim->head.attempt);
	if (slot) {
		agent_session_latency(slot->holder, clock_mono_us() - slot->request->handed_us);
		slot->holder->nanswered++;
		dispatch_end(d, slot->request, verdict, &list);
	}
	pthread_mutex_unlock(&d->lock);
	claim_wipe(claim);
	deliver(port, &list);
	return slot != NULL;
}

void dispatch_unclaim(struct dispatch *d, struct dispatch_claim *claim)
{
	struct dispatch_slot *slot;

	pthread_mutex_lock(&d->lock);
	slot = slot_of(d, claim->head.request_id, claim->head.attempt);
	if (slot)
		slot->request->claimed = false;
	pthread_mutex_unlock(&d->lock);
	claim_wipe(claim);
}

int dispatch_decline(struct dispatch *d, struct dispatch_port *port, struct dispatch_peer *peer, const char *instance, const char *request_id, uint32_t attempt,
	enum verdict_reason reason, const char **refused)
{
	struct dispatch_request *request;
	DELIVERIES(list);

	pthread_mutex_lock(&d->lock);
	request = held(d, peer, instance, request_id, attempt, refused);
	if (request) {
		struct agent_session *s = request->current->holder;

		agent_session_latency(s, DECLINE_US);
		s->ndeclined++;
		request->declined = true;
		request->decline_reason = reason;
		dispatch_again(d, port, request, &list);
	}
	pthread_mutex_unlock(&d->lock);
	deliver(port, &list);
	return request ? 0 : -PTA_ENOENT;
}

/* Ends one agent that has been silent for too long and gives its name. */
static bool lose_silent(struct dispatch *d, struct dispatch_port *port, char agent[LIMIT_ID + 1])
{
	uint64_t now_us = clock_mono_us();
	struct agent_session *s = NULL;
	DELIVERIES(list);

	pthread_mutex_lock(&d->lock);
	for (struct idmap_node *node = idmap_next(&d->sessions, NULL); node; node = idmap_next(&d->sessions, node)) {
		s = IDMAP_CONTAINER(node, struct agent_session, by_agent);
		if (!s->lost && !agent_session_online(s, now_us))
			break;
		s = NULL;
	}
	if (s) {
		memcpy(agent, s->agent, sizeof(s->agent));
		dispatch_lose(d, s, DISPATCH_POLL_EMPTY, &list);
	}
	pthread_mutex_unlock(&d->lock);
	deliver(port, &list);
	return s != NULL;
}

void dispatch_tick(struct dispatch *d, struct dispatch_port *port)
{
	char agent[LIMIT_ID + 1];

	while (lose_silent(d, port, agent))
		log_event(LOG_NOTICE, "agent.lost", F_STR("agent", agent), F_STR("why", "silent past its lease"));
}

size_t dispatch_report(struct dispatch *d, struct dispatch_agent_report *out, size_t cap)
{
	uint64_t now_us = clock_mono_us();
	size_t n = 0;

	pthread_mutex_lock(&d->lock);
	for (struct idmap_node *node = idmap_next(&d->sessions, NULL); node; node = idmap_next(&d->sessions, node)) {
		const struct agent_session *s = IDMAP_CONTAINER(node, struct agent_session, by_agent);

		if (s->revoked)
			continue;
		if (n < cap)
			agent_session_report(s, now_us, &out[n]);
		n++;
	}
	pthread_mutex_unlock(&d->lock);
	return n;
}
