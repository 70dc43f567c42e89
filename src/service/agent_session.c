#include "service/agent_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

int agent_session_new(const char *agent, struct agent_session **out)
{
	struct agent_session *s = calloc(1, sizeof(*s));

	if (!s)
		return -PTA_ENOMEM;
	snprintf(s->agent, sizeof(s->agent), "%s", agent);
	s->lost = true;
	TAILQ_INIT(&s->polls);
	TAILQ_INIT(&s->waiting);
	LIST_INIT(&s->handed);
	*out = s;
	return 0;
}

void agent_session_free(struct agent_session *s)
{
	free(s);
}

void agent_session_begin(struct agent_session *s, const char *instance, uint64_t number)
{
	snprintf(s->instance, sizeof(s->instance), "%s", instance);
	s->number = number;
	s->connections = 0;
	s->lost = false;
}

void agent_session_seen(struct agent_session *s, struct dispatch_peer *peer)
{
	s->seen_us = clock_mono_us();
	s->seen_ms = clock_wall_ms();
	s->disabled = peer->disabled;
	if (peer->session == s->number)
		return;
	peer->session = s->number;
	s->connections++;
}

bool agent_session_closed(struct agent_session *s, struct dispatch_peer *peer)
{
	if (s->lost || peer->session != s->number)
		return false;
	s->connections--;
	return s->connections == 0;
}

bool agent_session_online(const struct agent_session *s, uint64_t now_us)
{
	return !s->lost && now_us < s->seen_us + AGENT_ONLINE_MS * 1000ull;
}

bool agent_session_usable(const struct agent_session *s, uint64_t now_us, uint64_t now_ms)
{
	return agent_session_online(s, now_us) && !s->disabled && s->key.id[0] && now_ms < s->key.not_after_ms;
}

bool agent_session_before(const struct agent_session *a, const struct agent_session *b)
{
	if (a->room != b->room)
		return a->room > b->room;
	return a->latency_us < b->latency_us;
}

void agent_session_park(struct agent_session *s, struct dispatch_poll *poll)
{
	poll->session = s;
	TAILQ_INSERT_TAIL(&s->polls, poll, by_session);
	s->npolls++;
	s->room += poll->credit;
}

void agent_session_unpark(struct agent_session *s, struct dispatch_poll *poll)
{
	poll->session = NULL;
	TAILQ_REMOVE(&s->polls, poll, by_session);
	s->npolls--;
	s->room -= poll->credit;
}

struct dispatch_poll *agent_session_poll(const struct agent_session *s, const struct dispatch_port *port)
{
	struct dispatch_poll *poll;

	TAILQ_FOREACH (poll, &s->polls, by_session) {
		if (poll->mail.port == port)
			return poll;
	}
	return TAILQ_FIRST(&s->polls);
}

struct dispatch_poll *agent_session_poll_number(const struct agent_session *s, uint64_t number)
{
	struct dispatch_poll *poll;

	TAILQ_FOREACH (poll, &s->polls, by_session) {
		if (poll->number == number)
			return poll;
	}
	return NULL;
}

void agent_session_latency(struct agent_session *s, uint64_t sample_us)
{
	if (sample_us > UINT32_MAX)
		sample_us = UINT32_MAX;
	s->latency_us = s->latency_us ? (uint32_t)((s->latency_us * 7ull + sample_us) / 8) : (uint32_t)sample_us;
}

void agent_session_report(const struct agent_session *s, uint64_t now_us, struct dispatch_agent_report *out)
{
	*out = (struct dispatch_agent_report){
		.online = agent_session_online(s, now_us),
		.disabled = s->disabled,
		.connections = s->connections,
		.polls = s->npolls,
		.room = s->room,
		.in_flight = s->in_flight,
		.waiting = s->nwaiting,
		.latency_us = s->latency_us,
		.seen_ms = s->seen_ms,
		.key_not_after_ms = s->key.id[0] ? s->key.not_after_ms : 0,
		.handed = s->nhanded,
		.answered = s->nanswered,
		.declined = s->ndeclined,
	};
	snprintf(out->agent, sizeof(out->agent), "%s", s->agent);
	snprintf(out->instance, sizeof(out->instance), "%s", s->instance);
}
