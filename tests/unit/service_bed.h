/* A whole pta-service in a child process with a registry, CA, app and domain of its own in a temporary folder, and what speaks to it: a
 * sign-in client and an agent. Everything waits with libcurl's time-outs. */
#ifndef PTA_TESTS_SERVICE_BED_H
#define PTA_TESTS_SERVICE_BED_H

#include <openssl/evp.h>
#include <pthread.h>
#include <sys/types.h>

#include "base/buf.h"
#include "wire/envelope.h"
#include "wire/message.h"
#include "wire/token.h"

#define BED_DOMAIN "corp.example.com"

struct service_bed {
	char dir[32];
	pid_t pid;
	int log; /* the child's stderr */
	unsigned signin_port, agent_port;
	char app_key[64];
	struct buf ca_pem;
	uint8_t ca_der[2048];
	size_t ca_der_len;
};

void service_bed_start(struct service_bed *bed, unsigned tokens);
/* SIGTERM; returns the exit status. Removes the folder. */
int service_bed_stop(struct service_bed *bed);
void service_bed_signal(struct service_bed *bed, int number);
/* Rewrites the configuration with these lines in [service]. */
void service_bed_configure(struct service_bed *bed, const char *lines);
/* Waits until the log has a line of this event; the rest of it goes to text (may be NULL). */
void service_bed_wait_event(struct service_bed *bed, const char *event, char *text, size_t cap);
void service_bed_token(const struct service_bed *bed, unsigned i, struct token *out);

/* Over the control socket; status. */
int service_bed_control(const struct service_bed *bed, const char *method, const char *path, const char *body, struct buf *out);

/* One agent's end. */
struct bed_agent {
	const struct service_bed *bed;
	EVP_PKEY *key;
	struct message_certificate identity;
	char instance[RANDOM_ID_LEN + 1];
	uint64_t polls;
	uint64_t key_life_ms; /* of the key that is published next; 0: a day */
	struct envelope_receiver *receiver;
	void *curl; /* keeps its connection */
	struct buf batches[64]; /* what batches that were given out borrow from */
	unsigned nbatches;
};

struct bed_answer {
	int status;
	struct buf body; /* terminated */
	char head[2048];
};

void bed_answer_done(struct bed_answer *answer);
/* POST (or GET, body NULL) to the sign-in listener; bearer NULL: without. */
void bed_client_call(const struct service_bed *bed, const char *path, const char *bearer, const char *body, struct bed_answer *out);
/* To the agent listener; with the agent's certificate once it has one. agent->curl is made at the first call. */
void bed_agent_call(struct bed_agent *agent, const char *path, const char *type, const struct buf *body, struct bed_answer *out);
void bed_agent_done(struct bed_agent *agent);
/* Status of the answer; on 200 the identity is set. A NULL key inside makes a new one. */
int bed_agent_register(struct bed_agent *agent, const struct service_bed *bed, const struct token *token);
int bed_agent_publish(struct bed_agent *agent);
/* Polls until the service answers; status. */
int bed_agent_poll(struct bed_agent *agent, unsigned credit, struct message_batch *out);
/* Opens a request of a batch; the caller frees `out` by envelope_request_done(). */
int bed_agent_open(struct bed_agent *agent, const struct message_request *request, struct envelope_request *out, uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN]);
/* Polls bringing one result (NULL: none); status. */
int bed_agent_bring(struct bed_agent *agent, unsigned credit, const struct message_result *result, struct message_batch *out);
/* Seals a verdict for a request and polls bringing it; status. */
int bed_agent_answer(struct bed_agent *agent, unsigned credit, const struct message_request *request, const char *username,
	const uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], enum verdict_code code, struct message_batch *out);

#endif
