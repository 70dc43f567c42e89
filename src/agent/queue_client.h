/* The agent's end of the queue: one thread with libcurl's multi interface that holds polls open, hands requests on,
 * brings results, publishes keys and renews the certificate. It never gives up: failures are repeated after a jittered
 * back-off, with fresh DNS. Everything but the callbacks is called from other threads and never blocks, apart from
 * queue_client_drain() and queue_client_stop(). */
#ifndef PTA_AGENT_QUEUE_CLIENT_H
#define PTA_AGENT_QUEUE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/agent_conf.h"
#include "agent/identity.h"
#include "agent/keyring.h"
#include "base/buf.h"
#include "base/mailbox.h"
#include "wire/message.h"

struct queue_client;

/* A result on its way to the service. Owned by the queue client from queue_client_post() until done(). */
struct queue_result {
	struct mail mail;
	char request_id[RANDOM_ID_LEN + 1];
	uint32_t attempt;
	uint64_t until_us; /* clock_mono_us(): nobody waits for it any more, it is not repeated after */
	bool declined;	   /* said: not sent to any DC */
	enum verdict_reason decline_reason;
	struct buf answer; /* sealed; empty when declined. Empty without a decline: there is nothing to post */
	/* On the queue thread: on its way, as a copy that is repeated until it has arrived; or given up. */
	void (*done)(struct queue_result *result);
};

/* Called on the queue thread; must not block. */
struct queue_handler {
	/* How many more requests fit now; *busy: how many are being worked on. */
	unsigned (*room)(void *arg, unsigned *busy);
	/* A request came. head is complete (tenant and agent filled in); service_ms: the service's clock now. */
	void (*request)(void *arg, const struct envelope_head *head, const struct message_request *m, uint64_t service_ms);
	void *arg;
};

enum queue_state { QUEUE_STARTING, QUEUE_CONNECTED, QUEUE_DISCONNECTED, QUEUE_REFUSED, QUEUE_DRAINING };
const char *queue_state_name(enum queue_state state);

struct queue_status {
	enum queue_state state;
	uint64_t since_ms;	 /* wall clock of the last change of state */
	char error[512];	 /* the last failure; "" when there was none */
	uint64_t error_ms;	 /* its wall clock */
	bool clock_known;
	int64_t clock_offset_ms; /* service minus our wall clock */
	char instance[RANDOM_ID_LEN + 1];
	char service[LIMIT_DOMAIN + 1];
	char agent[LIMIT_ID + 1], tenant[LIMIT_TENANT + 1], group[LIMIT_ID + 1];
	uint64_t not_before_ms, not_after_ms, renew_at_ms;
	uint64_t ca_not_before_ms, ca_not_after_ms; /* of the service's CA */
	uint64_t renewals_tried, renewals_done;
	char renewal_error[512];
	unsigned polls, credit; /* parked polls, and what they ask for */
};

/* Takes a reference of conf, and the identity. keyring is borrowed and used by the queue thread alone. */
PTA_MUST_CHECK int queue_client_new(struct agent_conf *conf, struct identity *identity, const struct identity_dir *dir, struct keyring *keyring, const struct queue_handler *handler,
				    struct queue_client **out, struct err *err);
PTA_MUST_CHECK int queue_client_start(struct queue_client *q, struct err *err);
/* Any thread. */
void queue_client_post(struct queue_client *q, struct queue_result *result);
/* Moves over to another configuration and identity, keeping what is in flight. Takes a reference and the identity. */
void queue_client_reload(struct queue_client *q, struct agent_conf *conf, struct identity *identity);
/* Renews the certificate now; the outcome shows in the status (renewals_tried, renewals_done, renewal_error). */
void queue_client_renew(struct queue_client *q);
/* Ends the polls: when this returns, the handler is not called any more; results still go out. Waits for the queue thread's
 * present turn. */
void queue_client_drain(struct queue_client *q);
/* Posts what there is until deadline_us, then ends the thread. Results not delivered by then get their done() too. */
void queue_client_stop(struct queue_client *q, uint64_t deadline_us);
void queue_client_free(struct queue_client *q); /* stopped, or never started; NULL is allowed */

void queue_client_status(struct queue_client *q, struct queue_status *out);
/* clock_mono_us() of the thread's last turn, for the watchdog: at most QUEUE_TURN_MS old when all is well. */
#define QUEUE_TURN_MS 1000
uint64_t queue_client_beat_us(const struct queue_client *q);

#endif
