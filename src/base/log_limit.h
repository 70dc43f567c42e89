/* Keeps an event that repeats from filling the log: ten lines in five seconds, then one a minute that tells how many were
 * left out, until it is calm again. One fixed struct for each event. Thread-safe; never blocks for long. */
#ifndef PTA_BASE_LOG_LIMIT_H
#define PTA_BASE_LOG_LIMIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LOG_LIMIT_BURST 10
#define LOG_LIMIT_WINDOW_US 5000000
#define LOG_LIMIT_TELL_US 60000000

struct log_limit {
	pthread_mutex_t lock; /* of all that follows */
	uint64_t since_us;    /* begin of the window, or when it was last told */
	unsigned passed;      /* in the window */
	unsigned suppressed;  /* since since_us; > 0 only while storming */
	bool storming;
};

#define LOG_LIMIT_INIT                                                                                                                                         \
	{                                                                                                                                                      \
		.lock = PTHREAD_MUTEX_INITIALIZER                                                                                                              \
	}

/* May the line be written? *suppressed: how many were not since the last that was. */
bool log_limit_pass(struct log_limit *limit, uint64_t now_us, unsigned *suppressed);
/* What was left out of an event that has stopped to come, once: its next line may be days away. 0: nothing. */
unsigned log_limit_rest(struct log_limit *limit, uint64_t now_us);

#endif
