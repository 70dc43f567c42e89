/* What the parts of `pta-agent check` share: a list of findings. Main thread; blocks on disk and network. */
#ifndef PTA_AGENT_CHECK_H
#define PTA_AGENT_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/agent_conf.h"
#include "wire/limits.h"

struct finding {
	bool good;
	char what[LIMIT_DOMAIN + 64]; /* "certificate", "dc1.corp.example.com:636 TLS" */
	char text[600];		      /* what was found */
	char mend[300];		      /* what to do; "" where there is nothing */
};

struct findings {
	struct finding *items;
	size_t n, cap;
	bool failed;	/* one of them is not good, or there was no memory for one */
	void (*shown)(const struct finding *finding); /* as soon as it is there; may be NULL */
};

/* Good ones take a printf format; bad ones say what to do. */
PTA_PRINTF(3, 4) void findings_good(struct findings *findings, const char *what, const char *fmt, ...);
PTA_PRINTF(4, 5) void findings_bad(struct findings *findings, const char *what, const char *mend, const char *fmt, ...);
void findings_done(struct findings *findings);

/* Each server of each section: DNS, TCP, TLS, rootDSE. */
void check_directories(const struct agent_conf *conf, struct findings *findings);

#endif
