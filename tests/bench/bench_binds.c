#include "bench_binds.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"

void bench_init(struct bench *bench, int argc, char **argv)
{
	if (argc != 9) {
		fprintf(stderr, "usage: %s HOST PORT CA BIND_DN PASSWORD_FORMAT USERS IN_FLIGHT BINDS\n", argv[0]);
		exit(2);
	}
	*bench = (struct bench){.host = argv[1],
		.port = (unsigned)strtoul(argv[2], NULL, 10),
		.ca = argv[3],
		.bind_dn = argv[4],
		.password = argv[5],
		.users = (unsigned)strtoul(argv[6], NULL, 10),
		.in_flight = (unsigned)strtoul(argv[7], NULL, 10),
		.binds = (unsigned)strtoul(argv[8], NULL, 10)};
	bench->took_us = calloc(bench->binds, sizeof(*bench->took_us));
	if (!bench->took_us || bench->in_flight == 0 || bench->users == 0 || bench->binds < bench->in_flight) {
		fprintf(stderr, "%s: bad numbers\n", argv[0]);
		exit(2);
	}
}

/* Of this process: what is left of a machine shared with the directory. */
static uint64_t cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

void bench_begin(struct bench *bench)
{
	bench->started_us = clock_mono_us();
	bench->cpu_us = cpu_us();
}

void bench_end(struct bench *bench)
{
	bench->ended_us = clock_mono_us();
	bench->cpu_us = cpu_us() - bench->cpu_us;
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int bench_report(struct bench *bench, const char *what)
{
	double seconds = (double)(bench->ended_us - bench->started_us) / 1e6;

	qsort(bench->took_us, bench->done, sizeof(*bench->took_us), compare);
	printf("%s, %u in flight: %.0f/s, p50 %.3f ms, p99 %.3f ms, %.1f us of CPU a bind, %u failed\n", what, bench->in_flight, bench->done / seconds,
		bench->took_us[bench->done / 2] / 1e3, bench->took_us[(size_t)bench->done * 99 / 100] / 1e3, (double)bench->cpu_us / bench->done,
		bench->failed);
	free(bench->took_us);
	return bench->failed > 0;
}
