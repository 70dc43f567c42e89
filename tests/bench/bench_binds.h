/* What the two bind benchmarks share: options, numbered users, and the report. */
#ifndef PTA_BENCH_BINDS_H
#define PTA_BENCH_BINDS_H

#include <stdint.h>

struct bench {
	const char *host, *ca, *bind_dn, *password; /* %u in bind_dn; "user%05u" and a printf format with one %u */
	unsigned port, users, in_flight, binds;
	uint32_t *took_us; /* one for each bind */
	unsigned done, failed;
	uint64_t started_us, ended_us, cpu_us;
};

/* HOST PORT CA BIND_DN PASSWORD_FORMAT USERS IN_FLIGHT BINDS */
void bench_init(struct bench *bench, int argc, char **argv);
void bench_begin(struct bench *bench);
void bench_end(struct bench *bench);
/* Prints one line and frees. Returns the exit status. */
int bench_report(struct bench *bench, const char *what);

#endif
