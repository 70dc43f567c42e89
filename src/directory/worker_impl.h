/* What the three files of the worker validator share: worker_validator.c (the contract), worker_job.c (one job, on a worker)
 * and worker_keeper.c (probes, suspicion, jobs that wait for too long). */
#ifndef PTA_DIRECTORY_WORKER_IMPL_H
#define PTA_DIRECTORY_WORKER_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/workpool.h"
#include "directory/worker_validator.h"

#define KEEPERS 3 /* controllers probed at a time: a silent one holds a thread until the time-out */

/* An attempt that is under way. */
struct running {
	struct running *next, **prev;
	size_t dc;
	uint64_t overdue_us; /* from then on the controller is suspected; UINT64_MAX: it is already */
};

struct worker_validator {
	struct validator base;
	const struct worker_method *method;
	void *state;
	/* As in base, which validator_open() fills when our threads run already. */
	const struct directory_conf *conf;
	struct dc_pool *pool;
	struct workpool *workers;
	pthread_t keepers[KEEPERS];
	unsigned nkeepers;
	int cut_jobs, cut_probes; /* eventfds: readable, they end what blocks on the network */
	atomic_uint busy[DC_POOL_MAX];

	pthread_mutex_t lock;	/* guards what follows */
	pthread_cond_t wake;	/* for the keepers */
	pthread_cond_t drained; /* pending became 0 */
	struct mail *waiting, **waiting_last;
	struct running *running;
	unsigned pending;  /* jobs taken and not done */
	uint64_t wakes_us; /* when the next keeper wakes by itself, at the latest */
	bool stopping;	   /* takes no more jobs, sends nothing more */
	bool cut;	   /* what was sent is given up */
};

static inline struct job *worker_job_of(struct mail *mail)
{
	return MAIL_CONTAINER(mail, struct job, mail);
}

/* ---- worker_job.c ---- */

/* The work that validates the job that has waited longest; NULL: no memory. */
struct work *worker_call_new(struct worker_validator *v);
void worker_call_free(struct work *work); /* one that was not submitted */
/* Ends a job whose password certainly was not sent. */
void worker_finish_unsent(struct worker_validator *v, struct job *job, enum verdict_reason reason, const char *dc, const char *detail);
bool worker_is_stopping(struct worker_validator *v);

/* ---- worker_keeper.c ---- */

/* -PTA_ENOMEM: not all of them run. worker_keepers_join() in any case, after `stopping` and cut_probes are set. */
PTA_MUST_CHECK int worker_keepers_start(struct worker_validator *v);
void worker_keepers_join(struct worker_validator *v);
/* There may be something to probe. */
void worker_wake_keeper(struct worker_validator *v);
/* Takes jobs out of `waiting` whose time is over, all of them when stopping; *next_us: when the next one's is. Under the lock. */
struct mail *worker_take_overdue(struct worker_validator *v, uint64_t now_us, uint64_t *next_us);
void worker_finish_overdue(struct worker_validator *v, struct mail *mail);

#endif
