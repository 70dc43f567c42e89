/* A service for the agent's tests: the real HTTPS server with a CA of its own, on a thread of its own, whose routes record
 * what came and answer as the test says. A poll that brings results is "results" here, another one "poll"; the former gets its
 * receipt at once, the latter is parked. Every wait is for an event, with a limit that only a broken test reaches. */
#ifndef PTA_TESTS_AGENT_PEER_H
#define PTA_TESTS_AGENT_PEER_H

#include <event2/event.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>

#include "agent/agent_conf.h"
#include "agent/identity.h"
#include "base/httpd.h"
#include "wire/message.h"

#define PEER_MAX 64

struct peer_body {
	char path[32];
	uint8_t *data;
	size_t len;
	char fingerprint[65]; /* of the client's certificate; "" without */
};

struct peer {
	char dir[64]; /* the agent's state folder */
	struct identity_dir identity_dir;
	EVP_PKEY *ca_key, *server_key;
	X509 *ca, *server_cert;
	SSL_CTX *tls;
	unsigned port; /* stays over restarts */
	char url[64];
	struct event_base *base;
	struct httpd *httpd;
	pthread_t thread;
	bool up;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct peer_body bodies[PEER_MAX]; /* in the order of their coming */
	unsigned nbodies;
	struct peer_poll {
		struct peer *peer;
		struct httpd_request *request; /* NULL: none parked here; the server's thread answers them */
		unsigned credit;
	} polls[4];
	int status[4];	      /* by enum peer_route: what to answer next; 0: nothing, for as long as the peer is up */
	unsigned fail[4];     /* so many times; then as a service does */
	const char *error[4]; /* with this error body */
	struct buf batch;     /* answers the next poll that asks for something; empty: nothing does */
	struct buf receipt;   /* answers the next results */
	int64_t clock_ms;     /* added to PTA-Time */
};

enum peer_route { PEER_KEYS, PEER_POLL, PEER_RESULTS, PEER_REGISTER };

struct peer *peer_new(void);
void peer_free(struct peer *peer);
void peer_start(struct peer *peer);
void peer_stop(struct peer *peer);
/* Answers the next `times` calls of a route with an error; status 0: not at all. */
void peer_fail(struct peer *peer, enum peer_route route, int status, const char *error, unsigned times);
/* Waits until the n-th (from 1) body of a path came; owned by the peer. */
const struct peer_body *peer_wait(struct peer *peer, const char *path, unsigned n);
unsigned peer_count(struct peer *peer, const char *path);
/* Waits until polls of this credit in all are parked in exactly n polls. */
void peer_wait_parked(struct peer *peer, unsigned n, unsigned credit);
/* Answers a parked poll, or else the next one. */
void peer_send_batch(struct peer *peer, const struct buf *batch); /* copied */
/* Answers the next results, whatever their poll asks for. */
void peer_send_receipt(struct peer *peer, const struct buf *batch);

struct agent_conf *peer_conf(struct peer *peer, const char *more);
/* A registered agent: agent1 of tenant1, group1. */
struct identity *peer_identity(struct peer *peer);

#endif
