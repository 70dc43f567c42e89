/* One agent of many, as the service sees it: registered with a token of its own, a certificate and an HPKE key of its own, one connection
 * on which it parks one poll for one request at a time. What it is handed it opens, and it answers "success" to everybody: there is no
 * directory. A group GROUP serves the domain GROUP.example.com, so each agent knows which requests are not for it.
 * Belongs to the loop's thread; a refusal of the service ends the program with its words. */
#ifndef PTA_BENCH_PARKED_AGENT_H
#define PTA_BENCH_PARKED_AGENT_H

#include "tests/bench/tls_link.h"
#include "wire/envelope.h"

#define PARKED_DOMAIN "example.com"

struct parked_fleet;

struct parked_agent {
	struct tls_link link;
	struct parked_fleet *fleet;
	char *token; /* the line, until it is registered */
	EVP_PKEY *key;
	X509 *cert;
	char name[LIMIT_ID + 1], tenant[LIMIT_TENANT + 1], group[LIMIT_ID + 1];
	char instance[RANDOM_ID_LEN + 1];
	struct envelope_receiver *receiver;
	uint64_t poll_number;
	enum { AGENT_APART, AGENT_PUBLISHING, AGENT_PARKED } state;
};

struct parked_fleet {
	struct tls_loop *loop;
	struct tls_target target; /* the agents' listener */
	struct parked_agent *agents;
	size_t n, registered, opened, parked;
	size_t requested;      /* by registrations: the next agent to be registered */
	unsigned long renewed; /* polls that the service ended without a request */
	/* An agent has opened a request; at most one is on its way for each agent. */
	void (*arrived)(void *arg, const struct parked_agent *agent, const struct envelope_request *request);
	void *arg;
};

/* A token a line. */
void parked_fleet_init(struct parked_fleet *fleet, struct tls_loop *loop, const char *url, const char *tokens);
void parked_fleet_done(struct parked_fleet *fleet);
/* Registers all of them over a few connections, one after the other on each. */
void parked_fleet_register(struct parked_fleet *fleet);
/* Lets agents connect until so many are parked. */
void parked_fleet_park(struct parked_fleet *fleet, size_t n);

#endif
