/* Shared by the dispatcher's own files: dispatch.c (requests and hand-out), dispatch_agent.c (what agents do),
 * dispatch_port.c (the way to the event threads). Functions named here are called with the lock held, but for deliver(). */
#ifndef PTA_SERVICE_DISPATCH_IMPL_H
#define PTA_SERVICE_DISPATCH_IMPL_H

#include <pthread.h>

#include "service/agent_session.h"
#include "service/dispatch.h"

struct dispatch_group {
	char name[LIMIT_TENANT + LIMIT_ID + 2]; /* tenant/group */
	struct idmap_node by_name;
	LIST_HEAD(, agent_session) sessions;
	unsigned waiting;
};

struct dispatch {
	pthread_mutex_t lock;  /* guards everything here, in the sessions, and what requests and polls call the dispatcher's */
	struct idmap requests; /* by id: waiting and handed */
	struct idmap sessions; /* by agent; kept once made: bounded by the registered agents */
	struct idmap groups;   /* of those agents */
	unsigned queue_limit;
	uint64_t next_session;
	unsigned nwaiting, nhanded;
	uint64_t submitted, handouts, rehandouts, lost;
	bool closed;
};

TAILQ_HEAD(dispatch_deadlines, dispatch_request);

struct dispatch_port {
	struct dispatch *dispatch;
	struct mailbox *box;
	const struct dispatch_port_ops *ops;
	void *arg;
	struct dispatch_deadlines deadlines; /* earliest first */
	struct agent_session_polls polls[2]; /* by_port, by whether they are receipts: those of a list are held equally long, oldest first */
	STAILQ_HEAD(, dispatch_request) submitted; /* in this turn; the port's thread only, not under the lock */
};

/* What a call has brought to an end, to be told when the lock is released. */
struct deliveries {
	struct mail *first, **end;
};

#define DELIVERIES(name) struct deliveries name = {.end = &(name).first}

void deliveries_add(struct deliveries *list, struct dispatch_mail *mail);
/* Without the lock. port: the caller's own. */
void deliver(struct dispatch_port *port, struct deliveries *list);

void dispatch_deadline_add(struct dispatch_port *port, struct dispatch_request *request);
void dispatch_poll_end(struct dispatch_poll *poll, enum dispatch_poll_outcome outcome, struct deliveries *list);

struct dispatch_request *dispatch_find_request(struct dispatch *d, const char *id);
struct agent_session *dispatch_find_session(struct dispatch *d, const char *agent);
struct dispatch_group *dispatch_find_group(struct dispatch *d, const char *tenant, const char *group);
/* A handed request's hand-out has come to nothing: on to the next, at most DISPATCH_REHANDS times. */
void dispatch_again(struct dispatch *d, struct dispatch_port *port, struct dispatch_request *request, struct deliveries *list);
/* Gives the poll, not parked any more, everything that waits for the session, up to its credit. */
void dispatch_fill(struct dispatch *d, struct agent_session *s, struct dispatch_poll *poll);
void dispatch_end(struct dispatch *d, struct dispatch_request *request, const struct verdict *verdict, struct deliveries *list);
/* The copies that only this session could have fetched are dead. */
void dispatch_drop_waiting(struct dispatch *d, struct agent_session *s, struct deliveries *list);
/* All of a lost agent: handed requests, copies, polls. */
void dispatch_lose(struct dispatch *d, struct agent_session *s, enum dispatch_poll_outcome polls, struct deliveries *list);

#endif
