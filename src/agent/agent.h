/* The life of a job: a request comes from the queue, is opened, goes to the validator of its domain, and its verdict is
 * logged, sealed and posted. Requests come on the queue thread, verdicts on any thread of a validator; everything declared
 * here belongs to the main thread. */
#ifndef PTA_AGENT_AGENT_H
#define PTA_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/agent_conf.h"
#include "agent/identity.h"
#include "base/buf.h"
#include "base/err.h"

struct agent;

/* Takes a reference of conf, and the identity. Opens the validators and starts the queue thread; works with service and
 * controllers away. */
PTA_MUST_CHECK int agent_new(struct agent_conf *conf, struct identity *identity, const struct identity_dir *dir, struct agent **out, struct err *err);
/* Ends the work: no more polls, what was not sent to a controller is declined, what was is finished and answered, until
 * deadline_us. Blocks; from any one thread. Afterwards only agent_alive() and agent_free(). */
void agent_drain(struct agent *agent, uint64_t deadline_us);
void agent_free(struct agent *agent); /* drained; NULL is allowed */

/* Moves over to another configuration; jobs in flight keep theirs. On error nothing changed. Takes the identity in any case. */
PTA_MUST_CHECK int agent_reload(struct agent *agent, struct agent_conf *conf, struct identity *identity, struct err *err);
/* Once a second: lets go of what a reload left behind, and warns of certificates that expire. */
void agent_tick(struct agent *agent);

void agent_renew(struct agent *agent);
/* Prometheus text of the whole process, as of now. */
void agent_metrics(struct agent *agent, struct buf *out);
/* {"state":…}: everything for `pta-agent status`. */
void agent_status(struct agent *agent, struct buf *out);
/* Connected, and every domain has a controller that answers. why (may be NULL) says what is missing. */
bool agent_ready(struct agent *agent, char why[128]);
/* The queue thread turns. */
bool agent_alive(const struct agent *agent);
/* One line for sd_notify's STATUS. */
void agent_summary(struct agent *agent, char *text, size_t cap);

#endif
