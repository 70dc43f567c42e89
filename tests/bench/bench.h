/* What the benchmarks' drivers share: options, numbered users, the measured window, a histogram of times, what watched processes
 * used, and the report. A driver keeps --in-flight operations under way: bench_start() when one begins, bench_end() when it ended,
 * bench_wait() in between. After --warm seconds the window begins, and ends after --seconds or --ops; nothing new is started
 * then, and what was under way is waited for: it is not counted, but without an answer it is an error. One thread. Wrong use, and
 * what leaves nothing to measure (a server that is not there), end the program with status 2. */
#ifndef PTA_TESTS_BENCH_H
#define PTA_TESTS_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "base/buf.h"

#define BENCH_VERDICTS 16
#define BENCH_WATCHED 8
#define BENCH_PIDS 64
/* Times in ns, log-linear: 128 steps for each power of two, so that a step is less than 1 % wide; up to 2^41 ns (36 minutes). */
#define BENCH_STEPS 128
#define BENCH_TIMES (BENCH_STEPS * 35)

/* An option of a driver's own. Its argument goes to *value, which may hold a default before. */
struct bench_option {
	const char *name; /* NULL ends the table */
	const char **value;
	bool required;
};

struct bench_watched {
	const char *name;
	size_t name_len;
	pid_t pids[BENCH_PIDS];
	unsigned n;
	uint64_t cpu_ns; /* in the window, all of them */
};

enum bench_phase { BENCH_WARMING, BENCH_MEASURING, BENCH_OVER };

struct bench {
	const char *what;
	unsigned long in_flight, first, last, ops;
	unsigned long connections; /* in_flight, unless the driver has others */
	double seconds, warm;
	const char *user, *password;
	bool json;
	struct bench_watched watched[BENCH_WATCHED]; /* the first is this process */
	unsigned nwatched;

	enum bench_phase phase;
	unsigned long number;	   /* the next user's */
	unsigned long running;	   /* operations under way */
	uint64_t begin_ns, end_ns; /* of the window; planned ones until they are reached */
	uint64_t done, errors, retries;
	uint64_t max_ns;
	uint32_t times[BENCH_TIMES];
	struct {
		char name[48];
		uint64_t count;
	} verdicts[BENCH_VERDICTS];
};

/* Reads --in-flight K, --seconds S or --ops N, --warm S, --numbers A-B, --user T, --password T, --watch NAME=PID[,PID…] (more than
 * once), --json, and the driver's own. {n} and {05n} in T stand for the number. */
void bench_init(struct bench *bench, const char *what, int argc, char **argv, const struct bench_option *own);
/* The next user of the range; both buffers are emptied first. */
void bench_login(struct bench *bench, struct buf *user, struct buf *password);

/* Everything is connected: --warm begins. */
void bench_go(struct bench *bench);
/* An operation begins: CLOCK_MONOTONIC in ns, for bench_end(). */
uint64_t bench_start(struct bench *bench);
/* It ended; verdict NULL: without an answer. True: start another. */
bool bench_end(struct bench *bench, uint64_t started_ns, const char *verdict, size_t len);
/* It could not be sent yet and is tried again. */
void bench_retry(struct bench *bench);
/* epoll_wait(), and moves the window on. Returns the number of events, perhaps 0; negative: all is over. */
int bench_wait(struct bench *bench, int epoll, struct epoll_event *events, int max);

/* Prints. Returns the exit status: 1 when an operation had no answer, or none had one. */
int bench_report(const struct bench *bench);

__attribute__((noreturn)) PTA_PRINTF(2, 3) void bench_die(const char *what, const char *fmt, ...);
/* The number that is an option's argument, least..most. */
unsigned long bench_number(const char *what, const char *option, const char *text, unsigned long least, unsigned long most);

#endif
