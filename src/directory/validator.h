/* The contract of everything that validates a password, and the registry of methods. A validator serves one
 * [directory …] section. validator_start() never blocks; the outcome comes through job_done(), exactly once for each
 * started job, from any thread. One password is sent to one domain controller, once. */
#ifndef PTA_DIRECTORY_VALIDATOR_H
#define PTA_DIRECTORY_VALIDATOR_H

#include <stdint.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mailbox.h"
#include "base/secret.h"
#include "directory/directory_conf.h"
#include "wire/credential.h"
#include "wire/verdict.h"

/* Owned by whoever made it; lent to the validator between validator_start() and done(). */
struct job {
	struct mail mail;	    /* for the validator's own queueing */
	char id[RANDOM_ID_LEN + 1]; /* the request id, for every log line */
	struct credential credential;
	struct secret *password;
	uint64_t deadline_us; /* clock_mono_us(); a job not sent by then ends unavailable/timeout, unsent */
	/* Called once by job_done(); may free the job. Must not block. */
	void (*done)(struct job *job, const struct verdict *verdict);
	/* Steps for `pta-agent test`: may be NULL. what is a stable word ("connect", "bind"), text for a human. */
	void (*step)(struct job *job, const char *what, uint64_t took_us, const char *text);
};

/* Wipes the password, then calls done(). */
void job_done(struct job *job, const struct verdict *verdict);

struct validator;

/* Reports of one domain controller, for status and check. */
struct dc_report {
	char host[LIMIT_DOMAIN + 1];
	unsigned port;
	const char *state; /* "up", "down", "probing", "unknown" */
	unsigned connections, busy;
	uint64_t binds, failures;
	uint32_t latency_us;  /* smoothed bind latency */
	uint64_t retry_in_ms; /* while down */
	char last_error[256];
};

/* One method. A new one is one file and one row in validator.c. */
struct validator_method {
	const char *name;
	int (*open)(const struct directory_conf *conf, struct validator **out, struct err *err);
	int (*start)(struct validator *v, struct job *job);
	unsigned (*capacity)(const struct validator *v);
	/* Ends jobs not sent yet as unavailable, waits for the sent ones until deadline_us, then ends them too. */
	void (*close)(struct validator *v, uint64_t deadline_us);
	size_t (*report)(const struct validator *v, struct dc_report *out, size_t cap);
};

/* conf must outlive the validator. Starts threads; succeeds with every DC down. */
PTA_MUST_CHECK int validator_open(const struct directory_conf *conf, struct validator **out, struct err *err);
/* 0: the job is taken. -PTA_EBUSY, -PTA_ECLOSED or -PTA_ENODC (all breakers open): not taken, nothing was sent. Thread-safe. */
PTA_MUST_CHECK int validator_start(struct validator *v, struct job *job);
/* How many more jobs it would start at once without queueing behind another (0 when no DC is usable). Thread-safe. */
unsigned validator_capacity(const struct validator *v);
void validator_close(struct validator *v, uint64_t deadline_us); /* frees; NULL is allowed */
/* Fills at most cap reports, returns how many there are. Thread-safe. */
size_t validator_report(const struct validator *v, struct dc_report *out, size_t cap);

/* What implementations embed first. */
struct validator {
	const struct validator_method *method;
	const struct directory_conf *conf;
};

#endif
