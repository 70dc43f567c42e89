/* The validators of one configuration, one for each [directory …] section, and the count of jobs that they are working on.
 * After a reload the set before lives until its last job ended. Picking and counting are thread-safe and never block;
 * opening and closing belong to the main thread. */
#ifndef PTA_AGENT_DIRECTORIES_H
#define PTA_AGENT_DIRECTORIES_H

#include <stdatomic.h>
#include <stdint.h>

#include "agent/agent_conf.h"
#include "base/json.h"
#include "directory/validator.h"
#include "wire/credential.h"

struct directories {
	struct agent_conf *conf; /* referenced */
	struct validator *validators[AGENT_CONF_MAX_DIRECTORIES]; /* as conf->directories */
	atomic_uint jobs; /* counted by the owner of the jobs */
	struct directories *next; /* for the owner's list */
};

/* Starts them; succeeds with every controller down. */
PTA_MUST_CHECK int directories_open(struct agent_conf *conf, struct directories **out, struct err *err);
/* Ends what is not sent, waits for the sent until deadline_us. No job may be started any more. */
void directories_close(struct directories *set, uint64_t deadline_us);
/* After directories_close(), and when no job holds it any more. NULL is allowed. */
void directories_free(struct directories *set);

/* The section that serves the name's domain; NULL: none. */
struct validator *directories_pick(const struct directories *set, const struct credential *credential);
/* How many more jobs would start at once, over all sections. */
unsigned directories_capacity(const struct directories *set);
/* More than this many jobs at a time are declined. */
unsigned directories_limit(const struct directories *set);
/* Every section has a controller that answers. */
bool directories_ready(const struct directories *set);
/* "directories": [...] with the report of every controller. */
void directories_report(const struct directories *set, struct json_writer *w);

#endif
