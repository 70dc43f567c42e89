/* A dispatcher with agents that are only calls and a clock that stands still. Requests and polls are the test's, and static: some
 * are ended only by the teardown. */
#ifndef PTA_TESTS_DISPATCH_BED_H
#define PTA_TESTS_DISPATCH_BED_H

#include "base/clock.h"
#include "base/log.h"
#include "service/dispatch.h"

#define START_US 1000000000ll
#define START_MS 1800000000000ll
#define LIMIT 8

struct request {
	struct dispatch_request base;
	bool finished;
};

struct poll {
	struct dispatch_poll base;
	bool answered;
	unsigned n; /* requests in its batch */
};

struct agent {
	struct dispatch_peer peer;
	char instance[RANDOM_ID_LEN + 1];
	uint64_t number;
};

struct world {
	struct dispatch *d;
	struct dispatch_port *port;
	int64_t now_us;
	bool long_turn; /* the test hands out */
	unsigned turns;
};

/* Moves the clocks. */
void advance(struct world *w, uint64_t us);
/* For cmocka: *state is a struct world. */
int dispatch_bed_setup(void **state);
int dispatch_bed_teardown(void **state);
/* A new key of the agent. */
void publish(struct world *w, struct agent *agent);
/* A new instance, with a key and no poll. */
void agent_start(struct world *w, struct agent *agent, const char *name);
int park(struct world *w, struct agent *agent, struct poll *poll, uint32_t credit);
/* A poll that brought results. */
int park_receipt(struct world *w, struct agent *agent, struct poll *poll, uint32_t credit);
/* As signin does: for the candidates of this moment. Returns what dispatch_candidates() said. */
int submit(struct world *w, struct request *request);
/* The batch was written to the agent, or nothing of it. */
void written(struct world *w, struct poll *poll, bool was);
/* The refusal, or NULL when the verdict was taken. */
const char *answer(struct world *w, struct agent *agent, struct request *request, uint32_t attempt);
const char *decline(struct world *w, struct agent *agent, struct request *request, uint32_t attempt);
void assert_unavailable(const struct request *request, enum verdict_reason reason, bool sent);

#endif
