/* What the parts of `pta-agent check` share: a list of findings. Main thread; blocks on disk and network. */
#ifndef PTA_AGENT_CHECK_H
#define PTA_AGENT_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/agent_conf.h"
#include "wire/limits.h"

enum severity {
	SEVERITY_OK,
	SEVERITY_WARNING, /* it works, but not for long, not well, or not everywhere */
	SEVERITY_ERROR,	  /* it will not work as configured */
};

/* The exit status of `check` with warnings and no error; with errors it is CLI_FAILED. */
#define CHECK_WARNINGS 4

#define FINDING_WHAT (LIMIT_DOMAIN + 64)

struct finding {
	enum severity severity;
	char what[FINDING_WHAT]; /* "certificate", "dc1.corp.example.com:636 TLS" */
	char text[900];		 /* what was found */
	char mend[300];		 /* what to do, in one sentence; "" where there is nothing */
};

struct findings {
	struct finding *items;
	size_t n, cap;
	enum severity worst;			      /* error as well when there was no memory for one */
	void (*shown)(const struct finding *finding); /* as soon as it is there; may be NULL */
};

/* Good ones take a printf format; the others say what to do before it. What a terminal would obey becomes '?'. */
PTA_PRINTF(3, 4) void findings_good(struct findings *findings, const char *what, const char *fmt, ...);
PTA_PRINTF(4, 5) void findings_warn(struct findings *findings, const char *what, const char *mend, const char *fmt, ...);
PTA_PRINTF(4, 5) void findings_bad(struct findings *findings, const char *what, const char *mend, const char *fmt, ...);
/* A fault that is as severe as said. */
PTA_PRINTF(5, 6) void findings_fault(struct findings *findings, enum severity severity, const char *what, const char *mend, const char *fmt, ...);
void findings_done(struct findings *findings);

/* One as lines for people, on stdout: for `shown`. */
void findings_show(const struct finding *finding);
/* All as JSON. */
void findings_json(const struct findings *findings, struct buf *out);
/* CLI_OK, CHECK_WARNINGS or CLI_FAILED. */
int findings_exit(const struct findings *findings);

/* Each section: its controllers, and for each one names, ports, TLS, what it says of itself, clocks, Kerberos, searches. */
void check_directories(const struct agent_conf *conf, struct findings *findings);

#endif
