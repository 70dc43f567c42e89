/* For tests of validators: a section whose controllers are given one by one, and jobs whose outcome is waited for. */
#ifndef PTA_TESTS_JOB_TRY_H
#define PTA_TESTS_JOB_TRY_H

#include <pthread.h>

#include "directory/dc_pool.h"
#include "directory/validator.h"

/* A validator on a pool of its own. */
struct bench {
	struct directory_conf conf;
	struct dc_pool *pool;
	struct validator *v;
};

/* example.com with time-outs of 10 s and four workers. The rest of conf is the caller's. */
void bench_init(struct bench *bench);
/* Each server is a tier of its own. Fails the test when the method does not open. */
void bench_open(struct bench *bench, const struct validator_method *method, const struct directory_server *servers, size_t n);
void bench_close(struct bench *bench); /* at once, and the pool */
void bench_wait_state(struct bench *bench, size_t dc, const char *state);
struct dc_report bench_report(struct bench *bench, size_t dc);

struct job_try {
	struct job job;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned ended;
	struct verdict verdict;
	char steps[512]; /* "connect as-req ..." */
};

/* user@example.com */
void job_try_init(struct job_try *t, const char *user, const char *password, unsigned deadline_ms);
void job_try_name(struct job_try *t, const char *name); /* as it is typed */
int job_try_start(struct job_try *t, struct bench *bench);
struct verdict job_try_wait(struct job_try *t);
struct verdict job_try_one(struct bench *bench, const char *name, const char *password);

void assert_verdict(struct verdict got, enum verdict_code code, enum verdict_reason reason, bool sent);

#endif
