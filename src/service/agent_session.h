/* What the dispatcher knows of one agent: its instance, HPKE key, connections, parked polls, room, latency and lease.
 * Guarded by the dispatcher's lock. Never blocks. */
#ifndef PTA_SERVICE_AGENT_SESSION_H
#define PTA_SERVICE_AGENT_SESSION_H

#include "service/dispatch.h"

TAILQ_HEAD(agent_session_waiting, dispatch_slot);
TAILQ_HEAD(agent_session_polls, dispatch_poll);
LIST_HEAD(agent_session_handed, dispatch_request);

struct dispatch_group;

struct agent_session {
	char agent[LIMIT_ID + 1];
	struct idmap_node by_agent;
	LIST_ENTRY(agent_session) by_group;
	struct dispatch_group *group;
	char instance[RANDOM_ID_LEN + 1];
	/* Another one with each instance and each return after a loss: connections and sealed copies belong to one. */
	uint64_t number;
	bool lost;     /* or never seen: not online until the next authenticated request */
	bool disabled; /* drains */
	bool revoked;  /* for good */
	unsigned connections;
	uint64_t seen_us, seen_ms;
	struct {
		char id[RANDOM_ID_LEN + 1]; /* "" : none */
		uint8_t public_key[HPKE_KEY_LEN];
		uint64_t not_after_ms;
	} key;
	struct agent_session_polls polls;
	unsigned npolls, room;		      /* room: credit of the parked polls */
	struct agent_session_waiting waiting; /* copies that it may fetch, oldest request first */
	unsigned nwaiting;
	struct agent_session_handed handed;
	unsigned in_flight;
	uint32_t latency_us; /* smoothed, from hand-out to answer */
	uint64_t nhanded, nanswered, ndeclined;
};

PTA_MUST_CHECK int agent_session_new(const char *agent, struct agent_session **out);
void agent_session_free(struct agent_session *s);

/* Online from now on, under a new number: connections and copies of the time before do not count any more. */
void agent_session_begin(struct agent_session *s, const char *instance, uint64_t number);
/* An authenticated request on this connection: renews the lease and, once, counts the connection. */
void agent_session_seen(struct agent_session *s, struct dispatch_peer *peer);
/* True when it was the last connection that counted. */
bool agent_session_closed(struct agent_session *s, struct dispatch_peer *peer);
bool agent_session_online(const struct agent_session *s, uint64_t now_us);
/* Online, enabled, with a key that has not ended. */
bool agent_session_usable(const struct agent_session *s, uint64_t now_us, uint64_t now_ms);
/* a before b: more room, then lower latency. */
bool agent_session_before(const struct agent_session *a, const struct agent_session *b);
void agent_session_park(struct agent_session *s, struct dispatch_poll *poll);
void agent_session_unpark(struct agent_session *s, struct dispatch_poll *poll);
/* The parked poll to answer next: one of this port when there is any, else the oldest; NULL when none. */
struct dispatch_poll *agent_session_poll(const struct agent_session *s, const struct dispatch_port *port);
struct dispatch_poll *agent_session_poll_number(const struct agent_session *s, uint64_t number);
void agent_session_latency(struct agent_session *s, uint64_t sample_us);
void agent_session_report(const struct agent_session *s, uint64_t now_us, struct dispatch_agent_report *out);

#endif
