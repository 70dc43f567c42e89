/* What the daemon listens on: the unix control socket (status, renew, metrics, live, ready; root and the daemon's own user
 * only), and, where configured, metrics on a loopback port. Main thread. */
#ifndef PTA_AGENT_CONTROL_H
#define PTA_AGENT_CONTROL_H

#include <event2/event.h>

#include "agent/agent.h"

struct control;

PTA_MUST_CHECK int control_new(struct event_base *base, const struct agent_conf *conf, struct agent *agent, struct control **out, struct err *err);
/* From now on not ready, and nothing is asked of the agent but whether it lives. */
void control_draining(struct control *control);
void control_free(struct control *control); /* NULL is allowed; removes the socket */

#endif
