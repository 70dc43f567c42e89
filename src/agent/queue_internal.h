/* What the parts of the queue client share: queue_client.c (thread and loop), queue_poll.c (polls), queue_results.c (what they
 * bring), queue_keys.c (HPKE keys), queue_renew.c (certificate). Everything here belongs to the queue thread unless it says
 * otherwise. */
#ifndef PTA_AGENT_QUEUE_INTERNAL_H
#define PTA_AGENT_QUEUE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/queue_client.h"
#include "agent/service_http.h"
#include "base/backoff.h"
#include "base/metrics.h"

/* The service parks two and answers the older ones: so two can be on their way with results at any time. */
#define QUEUE_POLLS 4

enum queue_call_kind { CALL_POLL, CALL_KEYS, CALL_RENEW };

/* One kind of call and its handle, kept for the next. */
struct queue_call {
	struct service_call http; /* first: libcurl's private pointer leads here */
	enum queue_call_kind kind;
	bool busy;	     /* libcurl has it */
	unsigned generation; /* of the link it was made for; 0: none yet */

	/* poll */
	unsigned credit;
	struct message_list results;   /* what it brings, kept until it has arrived */
	char first[RANDOM_ID_LEN + 1]; /* of the results, for the log */
	uint64_t until_us, retry_us;   /* of the results */
	struct backoff backoff;

	char key_id[RANDOM_ID_LEN + 1]; /* keys */
};

struct queue_client {
	struct agent_conf *conf;
	struct identity *identity;
	struct identity_dir dir;
	char *dir_path;
	struct keyring *keyring;
	struct queue_handler handler;
	struct service_link link;
	unsigned generation; /* counts up whenever link changed */
	char instance[RANDOM_ID_LEN + 1];

	CURLM *multi;
	struct mailbox *results; /* posted by any thread */
	struct mail *waiting, *waiting_last; /* results taken, not in a poll yet; oldest first */
	struct queue_call polls[QUEUE_POLLS], keys, renew;
	uint64_t poll_number;
	uint64_t renew_at_ms; /* of the identity's certificate, wall clock */
	uint64_t poll_next_us, keys_next_us, renew_next_us;
	struct backoff connect_backoff, refused_backoff, renew_backoff;
	int64_t clock_offset_ms; /* service's wall clock minus clock_mono_ms() */
	bool clock_known;
	bool renew_wanted, draining, polls_ended;
	uint64_t drain_us; /* draining: parked polls are let go then */
	uint64_t stop_us; /* 0: not stopping */

	pthread_t thread;
	bool running; /* main thread */
	atomic_uint_fast64_t beat_us;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t drained_cond;
	bool drained; /* the thread polls no more */
	struct {
		bool renew, drain;
		uint64_t stop_us;
		struct agent_conf *conf;
		struct identity *identity;
	} command;
	struct queue_status status;
};

/* Makes the call's handle fit the present link, when it does not yet. Its request buffer stays as it is. */
PTA_MUST_CHECK int queue_call_prepare(struct queue_client *q, struct queue_call *call, struct err *err);
/* Gives the call to libcurl. */
PTA_MUST_CHECK int queue_call_start(struct queue_client *q, struct queue_call *call, struct err *err);

/* The service's clock; our own wall clock before its first answer. */
uint64_t queue_service_ms(const struct queue_client *q, uint64_t now_us);
/* The service answered as it should / did not: state, back-off of polls and keys, one log line for each change. */
void queue_connected(struct queue_client *q);
void queue_failed(struct queue_client *q, enum queue_state state, uint64_t now_us, const char *text);
/* Failure of a call with an HTTP status that means one. */
void queue_refused(struct queue_client *q, const struct queue_call *call, int status, uint64_t now_us);

/* Sends what results there are, each poll asking for what has become free, and keeps one parked. */
void queue_polls_start(struct queue_client *q, uint64_t now_us);
void queue_poll_done(struct queue_client *q, struct queue_call *call, CURLcode code, uint64_t now_us);
void queue_polls_cancel(struct queue_client *q);

void queue_keys_start(struct queue_client *q, uint64_t now_us);
void queue_keys_done(struct queue_client *q, struct queue_call *call, CURLcode code, uint64_t now_us);

/* What other threads have posted joins what waits. */
void queue_results_take(struct queue_client *q);
/* Moves what waits into the call, oldest first, as far as one poll holds. They are done then: the call has their bytes. */
void queue_results_gather(struct queue_client *q, struct queue_call *call);
void queue_results_arrived(struct queue_call *call);
/* The call is repeated with the same bytes, until nobody waits for anything in it. */
void queue_results_again(struct queue_call *call, uint64_t now_us, const char *why);
void queue_results_give_up(struct queue_call *call, const char *why);
bool queue_results_idle(const struct queue_client *q);
void queue_results_abandon(struct queue_client *q); /* ends all polls and gives everything up */
uint64_t queue_results_next_us(const struct queue_client *q);

void queue_renew_start(struct queue_client *q, uint64_t now_us);
void queue_renew_done(struct queue_client *q, struct queue_call *call, CURLcode code, uint64_t now_us);
/* The link now means this identity (taken). */
void queue_use_identity(struct queue_client *q, struct identity *identity);

#endif
