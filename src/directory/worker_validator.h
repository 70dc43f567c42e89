/* The validator contract (directory/validator.h) for methods whose libraries block or burn CPU: conf->connections worker
 * threads, a password each at a time, over base/workpool; some threads more that probe controllers. A method is what it
 * does with one job at one controller, and how it probes one. job_done() and job->step() are called on worker threads.
 *
 * A job goes from controller to controller as long as its password certainly was not sent. What was sent, or may have been,
 * ends the job there. */
#ifndef PTA_DIRECTORY_WORKER_VALIDATOR_H
#define PTA_DIRECTORY_WORKER_VALIDATOR_H

#include "directory/dc_pool.h"
#include "directory/validator.h"

/* One job's try at one controller. */
struct attempt {
	const struct directory_conf *conf;
	const struct directory_server *server;
	struct job *job;
	uint64_t connect_deadline_us; /* connecting, and the first answer to what carries no password, end by then */
	uint64_t deadline_us;	      /* everything does */
	/* The method's: */
	uint64_t connect_us; /* what connecting took */
	struct verdict verdict;
	enum dc_outcome outcome; /* what it says of the controller */
	bool fault;		 /* for the administrator: logged as an error */
};

/* A method. `state` is what open() made. */
struct worker_method {
	const struct validator_method *method;
	/* Reads what the method needs, a keytab for instance. */
	int (*open)(const struct directory_conf *conf, void **state, struct err *err);
	void (*close)(void *state);
	/* Blocks. 0: the job ends with attempt->verdict; attempt->outcome and fault are set. Negative, with a text: the password
	 * certainly was not sent, and another controller may do better. Many threads at a time. */
	int (*validate)(void *state, struct attempt *attempt, struct err *err);
	/* Blocks, at most until deadline_us: would validate() find this controller in order? Without any user's password. */
	int (*probe)(void *state, const struct directory_server *server, uint64_t deadline_us, struct err *err);
};

/* For job->step(), which may be NULL. */
void attempt_step(const struct attempt *attempt, const char *what, uint64_t took_us, const char *text);
/* Sets the verdict: unavailable, with this detail. */
void attempt_unavailable(struct attempt *attempt, enum verdict_reason reason, bool sent, const char *detail);

/* The validator_method's functions, for all but open(). */
PTA_MUST_CHECK int worker_validator_open(
	const struct worker_method *method, const struct directory_conf *conf, struct dc_pool *pool, struct validator **out, struct err *err);
int worker_validator_start(struct validator *validator, struct job *job);
unsigned worker_validator_capacity(const struct validator *validator);
void worker_validator_changed(struct validator *validator);
void worker_validator_close(struct validator *validator, uint64_t deadline_us);
void worker_validator_report(const struct validator *validator, size_t dc, struct dc_report *out);

#endif
