/* The contract of everything that validates a password, and the registry of methods. A validator serves one
 * [directory …] section. validator_start() never blocks; the outcome comes through job_done(), exactly once for each
 * started job, from any thread. One password is sent to one domain controller, once. */
#ifndef PTA_DIRECTORY_VALIDATOR_H
#define PTA_DIRECTORY_VALIDATOR_H

#include <stdbool.h>
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

/* The entry that a name was found to mean (name_resolver). */
struct name_found {
	char dn[1024];
	char account[LIMIT_USERNAME + 1]; /* sAMAccountName, "" where the directory has none */
	bool remembered;		  /* found earlier: it may have been moved or renamed since */
};

/* Owned by whoever made it; lent to the validator between validator_start() and done(). */
struct job {
	struct mail mail;	    /* for the validator's own queueing */
	char id[RANDOM_ID_LEN + 1]; /* the request id, for every log line */
	struct credential credential;
	struct name_found *found;    /* the entry to validate; NULL: the name as typed. Freed by job_done() */
	struct validator *validator; /* set by validator_start() */
	struct denial *denial;	     /* validator.c's: a denial that waits for its name to be looked up once more */
	struct secret *password;
	uint64_t deadline_us; /* clock_mono_us(); a job not sent by then ends unavailable/timeout, unsent */
	/* Called once by job_done(); may free the job. Must not block. */
	void (*done)(struct job *job, const struct verdict *verdict);
	/* Steps for `pta-agent test`: may be NULL. what is a stable word ("connect", "bind"), text for a human. */
	void (*step)(struct job *job, const char *what, uint64_t took_us, const char *text);
};

/* Wipes the password, frees what was found, then calls done(). A denial of an entry that was remembered comes after the name was
 * looked up once more: if it means another one now, nobody knows whether the password is wrong. */
void job_done(struct job *job, const struct verdict *verdict);

struct validator;

/* Reports of one domain controller, for status and check. */
struct dc_report {
	char host[LIMIT_DOMAIN + 1];
	unsigned port;
	char site[64];	   /* "" unknown */
	bool in_use;	   /* new requests go there */
	const char *state; /* "up", "suspect", "down", "probing", "unknown" */
	unsigned connections, busy;
	uint64_t binds, failures;
	uint32_t latency_us;  /* smoothed bind latency */
	uint64_t retry_in_ms; /* while down */
	char last_error[256];
};

struct dc_pool;

/* One method. A new one is one file and one row in validator.c. The pool is the section's; it outlives the validator. */
struct validator_method {
	const char *name;
	int (*open)(const struct directory_conf *conf, struct dc_pool *pool, struct validator **out, struct err *err);
	int (*start)(struct validator *v, struct job *job);
	unsigned (*capacity)(const struct validator *v);
	/* The pool's controllers are others now; any thread, must not block. */
	void (*changed)(struct validator *v);
	/* Ends jobs not sent yet as unavailable, waits for the sent ones until deadline_us, then ends them too. */
	void (*close)(struct validator *v, uint64_t deadline_us);
	/* Adds what the method knows of a controller to the pool's report. */
	void (*report)(const struct validator *v, size_t dc, struct dc_report *out);
};

/* conf must outlive the validator. Starts threads; succeeds with every DC down. */
PTA_MUST_CHECK int validator_open(const struct directory_conf *conf, struct validator **out, struct err *err);
/* A search of the global catalog may find an entry of another domain: section_of() tells whose section that is, NULL: nobody's,
 * and then the job ends unavailable/not_configured. Before the first job; arg must outlive the validator. */
void validator_route(struct validator *v, struct validator *(*section_of)(void *arg, const char *domain), void *arg);
/* 0: the job is taken. -PTA_EBUSY, -PTA_ECLOSED or -PTA_ENODC (all breakers open): not taken, nothing was sent. Thread-safe. */
PTA_MUST_CHECK int validator_start(struct validator *v, struct job *job);
/* How many more jobs it would start at once without queueing behind another (0 when no DC is usable). Thread-safe. */
unsigned validator_capacity(const struct validator *v);
/* Ends the search for names: what it was looking for goes on or ends, and no job goes to another section any more. Before any
 * of several sections is closed. NULL is allowed. */
void validator_settle(struct validator *v);
void validator_close(struct validator *v, uint64_t deadline_us); /* frees; NULL is allowed */
/* Fills at most cap reports, returns how many there are. Thread-safe. */
size_t validator_report(const struct validator *v, struct dc_report *out, size_t cap);

/* What implementations embed first. */
struct validator {
	const struct validator_method *method; /* set by the implementation; the rest is validator.c's */
	const struct directory_conf *conf;
	struct dc_pool *pool;
	struct dc_locator *locator;	/* NULL with a list of servers */
	struct name_resolver *resolver; /* NULL without an identity */
	struct validator *(*section_of)(void *arg, const char *domain);
	void *section_arg;
};

#endif
