/* Sign-in requests between their submission and their verdict: waiting, handed, done. Agents' polls are answered from
 * here, agents' results come back here. One lock guards all of it; it is held for pointer work only.
 *
 * Thread-safe but for a port's own functions, which are its thread's; never blocks. Callbacks run without the lock, on the thread of the port that a request or poll came in by:
 * within the call when that is the caller's own port, by mailbox else. A password is here in sealed copies only. */
#ifndef PTA_SERVICE_DISPATCH_H
#define PTA_SERVICE_DISPATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/mailbox.h"
#include "service/idmap.h"
#include "service/registry.h"
#include "wire/envelope.h"
#include "wire/message.h"
#include "wire/verdict.h"

#define DISPATCH_COPIES 4  /* agents that a request is sealed for */
#define DISPATCH_REHANDS 2 /* times that it is handed out again */
#define DISPATCH_POLLS 2   /* parked by one agent; a further one takes the place of the oldest */

struct dispatch;
struct agent_session;
struct dispatch_request;
struct dispatch_poll;

/* ---- ports: one per event thread ---- */
struct dispatch_port;

struct dispatch_port_ops {
	/* The first request of a turn was submitted: dispatch_port_hand_out() must follow. */
	void (*submitted)(void *arg);
	/* The request is done: verdict, agent and the rest are final, nobody else refers to it. */
	void (*finished)(struct dispatch_request *request, void *arg);
	/* The poll is over: answer it by its outcome. */
	void (*answer)(struct dispatch_poll *poll, void *arg);
};

PTA_MUST_CHECK int dispatch_new(unsigned queue_limit, struct dispatch **out);
void dispatch_free(struct dispatch *d);				   /* after dispatch_close(), the ports' last run and their end */
void dispatch_set_queue_limit(struct dispatch *d, unsigned limit); /* waiting requests per group */

PTA_MUST_CHECK int dispatch_port_new(struct dispatch *d, const struct dispatch_port_ops *ops, void *arg, struct dispatch_port **out);
void dispatch_port_free(struct dispatch_port *port);
int dispatch_port_fd(const struct dispatch_port *port);
void dispatch_port_run(struct dispatch_port *port); /* the fd is readable */
/* When dispatch_port_expire() has something to end next, as clock_mono_us(); UINT64_MAX: nothing. */
uint64_t dispatch_port_due(struct dispatch_port *port);
void dispatch_port_expire(struct dispatch_port *port); /* deadlines of requests and polls that came in by this port */

/* ---- sign-in side ---- */
struct dispatch_candidate {
	char agent[LIMIT_ID + 1];
	char key_id[RANDOM_ID_LEN + 1];
	uint8_t public_key[HPKE_KEY_LEN];
	uint64_t session;
};

/* One sealed copy as it goes to its agent. Moves between a request and a poll's batch; dispatch_copy_free(). */
struct dispatch_copy {
	struct dispatch_copy *next;
	struct message_request message; /* sealed points to bytes */
	uint8_t bytes[];
};

PTA_MUST_CHECK int dispatch_copy_new(
	const struct envelope_head *head, const uint8_t enc[ENVELOPE_ENC_LEN], uint64_t seq, const uint8_t *sealed, size_t len, struct dispatch_copy **out);
void dispatch_copy_free(struct dispatch_copy *copy); /* a whole list */

struct dispatch_slot {
	/* set by the submitter */
	uint64_t session; /* the candidate's */
	char agent[LIMIT_ID + 1], key_id[RANDOM_ID_LEN + 1];
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	struct dispatch_copy *copy;
	/* the dispatcher's */
	struct dispatch_request *request;
	struct agent_session *holder; /* NULL: never to be handed out (again) */
	bool linked;
	TAILQ_ENTRY(dispatch_slot) link; /* in holder->waiting */
};

enum dispatch_mail_kind { DISPATCH_MAIL_REQUEST, DISPATCH_MAIL_POLL };

struct dispatch_mail {
	struct mail mail;
	struct dispatch_port *port;
	enum dispatch_mail_kind kind;
};

enum dispatch_state { DISPATCH_NEW, DISPATCH_WAITING, DISPATCH_HANDED, DISPATCH_DONE };

/* Embedded in the submitter's own struct; the dispatcher's from dispatch_submit() to finished(). The slots' position + 1 is
 * the attempt of their copy. */
struct dispatch_request {
	struct dispatch_mail mail;
	/* set by the submitter */
	char id[RANDOM_ID_LEN + 1];
	char tenant[LIMIT_TENANT + 1], group[LIMIT_ID + 1];
	const char *username; /* as sealed; lives as long as the request */
	uint64_t deadline_us; /* clock_mono_us() */
	uint64_t expires_ms;  /* the same in wall time, as sealed */
	struct dispatch_slot slots[DISPATCH_COPIES];
	unsigned nslots;
	/* the outcome */
	struct verdict verdict;
	char agent[LIMIT_ID + 1]; /* who had it last; "" when nobody */
	unsigned handouts;
	uint32_t waited_us; /* until the (last) hand-out */
	/* the dispatcher's */
	enum dispatch_state state;
	bool claimed;
	struct dispatch_slot *current; /* while handed */
	unsigned live;		       /* linked slots, while waiting */
	bool declined;
	enum verdict_reason decline_reason;
	uint64_t submitted_us, handed_us;
	struct dispatch_group *in_group;
	struct idmap_node by_id;
	TAILQ_ENTRY(dispatch_request) by_deadline; /* in the port */
	STAILQ_ENTRY(dispatch_request) by_turn;	   /* from dispatch_submit() to the end of the turn */
	LIST_ENTRY(dispatch_request) by_holder;	   /* while handed: in current->holder->handed */
};

/* The agents to seal for, best first: online, enabled, with a key, most room, lower latency. -PTA_ENOENT: none;
 * -PTA_EBUSY: too many requests of this group wait already. */
PTA_MUST_CHECK int dispatch_candidates(struct dispatch *d, const char *tenant, const char *group, struct dispatch_candidate out[DISPATCH_COPIES], size_t *n);
/* Always ends in finished(), not before dispatch_port_hand_out(). */
void dispatch_submit(struct dispatch_port *port, struct dispatch_request *request);
/* Hands out, or queues, what was submitted by this port: at the end of its thread's turn, so that all sign-ins that a turn has
 * read go out in one poll. */
void dispatch_port_hand_out(struct dispatch_port *port);

/* ---- agent side ---- */

/* An authenticated connection of an agent; the caller's, for as long as the connection lives. */
struct dispatch_peer {
	char agent[LIMIT_ID + 1], tenant[LIMIT_TENANT + 1], group[LIMIT_ID + 1];
	bool disabled;	  /* gets no new requests */
	uint64_t session; /* the dispatcher's; start with 0 */
};

/* The connection ended. An agent's last one: the agent is lost. */
void dispatch_peer_closed(struct dispatch *d, struct dispatch_port *port, struct dispatch_peer *peer);
/* The agent's state in the registry has changed: disabled ones drain, revoked ones lose polls, key and requests. */
void dispatch_agent_state(struct dispatch *d, struct dispatch_port *port, const char *agent, enum registry_agent_state state);
/* A key whose signature was verified. A new instance ends the one before. */
PTA_MUST_CHECK int dispatch_publish(struct dispatch *d, struct dispatch_port *port, struct dispatch_peer *peer, const struct message_key *key, struct err *err);
/* A key for which a sealer may keep its sender. */
bool dispatch_key_lives(struct dispatch *d, const char *agent, const char *key_id);

enum dispatch_poll_outcome {
	DISPATCH_POLL_EMPTY = 0, /* 204 */
	DISPATCH_POLL_BATCH,	 /* 200 */
	DISPATCH_POLL_REVOKED,	 /* 403 */
};

/* Embedded in the caller's own struct. */
struct dispatch_poll {
	struct dispatch_mail mail;
	/* set by the caller */
	uint64_t number;
	uint32_t credit;
	bool receipt; /* it brought results: held for a short time only */
	/* the outcome */
	enum dispatch_poll_outcome outcome;
	struct dispatch_copy *batch; /* oldest first; the caller gives it to dispatch_handed() */
	/* the dispatcher's */
	struct dispatch_copy **batch_end;
	uint32_t batched;
	struct agent_session *session; /* while parked */
	uint64_t until_us;
	TAILQ_ENTRY(dispatch_poll) by_session, by_port;
};

/* 0: ends in answer(), which may come before this returns. -PTA_ENOENT: no key of this instance is known. */
PTA_MUST_CHECK int dispatch_park(struct dispatch *d, struct dispatch_port *port, struct dispatch_peer *peer, const char *instance, struct dispatch_poll *poll);
/* The poll's connection is gone. True: the poll is the caller's again; false: answer() comes still. */
PTA_MUST_CHECK bool dispatch_poll_gone(struct dispatch *d, struct dispatch_poll *poll);
/* The end of a batch. Not a byte written: its requests wait again. Takes the list. */
void dispatch_handed(struct dispatch *d, struct dispatch_port *port, struct dispatch_copy *batch, bool written);

/* What is needed to open an answer, outside the lock. */
struct dispatch_claim {
	struct envelope_head head;
	char username[LIMIT_USERNAME + 1];
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
};

/* Takes the current attempt of a handed request for opening its answer; nobody else can meanwhile. Ends with
 * dispatch_finish() or dispatch_unclaim(), which wipe the claim. *refused gets a MESSAGE_REFUSED_* when it fails. */
PTA_MUST_CHECK int dispatch_claim(struct dispatch *d, struct dispatch_peer *peer, const char *instance, const char *request_id, uint32_t attempt,
	struct dispatch_claim *out, const char **refused);
/* False: the deadline was faster. */
bool dispatch_finish(struct dispatch *d, struct dispatch_port *port, struct dispatch_claim *claim, const struct verdict *verdict);
void dispatch_unclaim(struct dispatch *d, struct dispatch_claim *claim);
/* The holder says that it has sent nothing to any DC: on to the next copy. */
PTA_MUST_CHECK int dispatch_decline(struct dispatch *d, struct dispatch_port *port, struct dispatch_peer *peer, const char *instance, const char *request_id,
	uint32_t attempt, enum verdict_reason reason, const char **refused);

/* ---- the whole ---- */

/* Agents silent past their lease are lost. Every few seconds, from one thread. */
void dispatch_tick(struct dispatch *d, struct dispatch_port *port);
/* Ends all requests and polls; whatever comes later ends at once. */
void dispatch_close(struct dispatch *d, struct dispatch_port *port);

struct dispatch_agent_report {
	char agent[LIMIT_ID + 1], instance[RANDOM_ID_LEN + 1];
	bool online, disabled;
	unsigned connections, polls, room, in_flight, waiting;
	uint32_t latency_us;
	uint64_t seen_ms;		     /* wall clock; its last authenticated request */
	uint64_t key_not_after_ms;	     /* 0: no key */
	uint64_t handed, answered, declined; /* since the service started */
};
/* Fills at most cap, returns how many there are. Agents not seen since the start and revoked ones are not among them. */
size_t dispatch_report(struct dispatch *d, struct dispatch_agent_report *out, size_t cap);

struct dispatch_counts {
	unsigned waiting, handed, polls, agents_online;
	uint64_t submitted, handouts, rehandouts, lost; /* lost: requests that ended agent_lost */
};
void dispatch_count(struct dispatch *d, struct dispatch_counts *out);

#endif
