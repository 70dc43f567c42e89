#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"

#define NS 1000000000.0
/* So long after the window an answer is waited for: longer than any server takes for a wrong password. */
#define GRACE_NS UINT64_C(10000000000)
/* Nothing happens for so long: no answer will come. */
#define STALL_NS UINT64_C(30000000000)

/* ---- the window ---- */

static uint64_t ns_of(struct timespec ts)
{
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return ns_of(ts);
}

/* A process's clock goes on with threads that have ended, unlike what /proc tells of those that live. */
static uint64_t cpu_ns(const struct bench *bench, const struct bench_watched *watched)
{
	uint64_t ns = 0;

	for (unsigned i = 0; i < watched->n; i++) {
		struct timespec ts;
		clockid_t clock;

		if (clock_getcpuclockid(watched->pids[i], &clock) || clock_gettime(clock, &ts) < 0)
			bench_die(bench->what, "--watch %.*s: process %d is not there", (int)watched->name_len, watched->name, watched->pids[i]);
		ns += ns_of(ts);
	}
	return ns;
}

void bench_go(struct bench *bench)
{
	bench->begin_ns = now_ns() + (uint64_t)(bench->warm * NS);
}

static void begin(struct bench *bench)
{
	for (unsigned i = 0; i < bench->nwatched; i++)
		bench->watched[i].cpu_ns = cpu_ns(bench, &bench->watched[i]);
	bench->begin_ns = now_ns();
	bench->end_ns = bench->ops ? UINT64_MAX : bench->begin_ns + (uint64_t)(bench->seconds * NS);
	bench->phase = BENCH_MEASURING;
}

static void end(struct bench *bench)
{
	bench->end_ns = now_ns();
	for (unsigned i = 0; i < bench->nwatched; i++)
		bench->watched[i].cpu_ns = cpu_ns(bench, &bench->watched[i]) - bench->watched[i].cpu_ns;
	bench->phase = BENCH_OVER;
}

uint64_t bench_start(struct bench *bench)
{
	bench->running++;
	return now_ns();
}

void bench_retry(struct bench *bench)
{
	bench->retries += bench->phase == BENCH_MEASURING;
}

/* Values below 2 * BENCH_STEPS have a step each; each further power of two has BENCH_STEPS of them. */
static unsigned step_of(uint64_t ns)
{
	unsigned power = 0, step;

	while (ns >> power >= 2 * BENCH_STEPS)
		power++;
	step = power * BENCH_STEPS + (unsigned)(ns >> power);
	return step < BENCH_TIMES ? step : BENCH_TIMES - 1;
}

/* Its middle. */
static double step_ms(unsigned step)
{
	unsigned power = step < 2 * BENCH_STEPS ? 0 : step / BENCH_STEPS - 1;

	return ((double)(step - power * BENCH_STEPS) + (power > 0 ? 0.5 : 0)) * (double)(UINT64_C(1) << power) / 1e6;
}

static void count_verdict(struct bench *bench, const char *name, size_t len)
{
	for (unsigned i = 0; i < BENCH_VERDICTS; i++) {
		if (!bench->verdicts[i].count)
			snprintf(bench->verdicts[i].name, sizeof(bench->verdicts[i].name), "%.*s", (int)len, name);
		else if (strlen(bench->verdicts[i].name) != len || memcmp(bench->verdicts[i].name, name, len))
			continue;
		bench->verdicts[i].count++;
		return;
	}
	bench_die(bench->what, "more than %d verdicts; the last was %.*s", BENCH_VERDICTS, (int)len, name);
}

bool bench_end(struct bench *bench, uint64_t started_ns, const char *verdict, size_t len)
{
	uint64_t took_ns;

	bench->running--;
	/* Outside of the window as well. */
	if (!verdict) {
		bench->errors++;
	} else if (bench->phase == BENCH_MEASURING) {
		took_ns = now_ns() - started_ns;
		bench->times[step_of(took_ns)]++;
		if (took_ns > bench->max_ns)
			bench->max_ns = took_ns;
		count_verdict(bench, verdict, len);
		bench->done++;
	}
	if (bench->phase == BENCH_MEASURING && bench->ops && bench->done + bench->errors >= bench->ops)
		end(bench);
	return bench->phase != BENCH_OVER;
}

int bench_wait(struct bench *bench, int epoll, struct epoll_event *events, int max)
{
	uint64_t now = now_ns(), next;
	int n;

	if (bench->phase == BENCH_WARMING && now >= bench->begin_ns)
		begin(bench);
	else if (bench->phase == BENCH_MEASURING && now >= bench->end_ns)
		end(bench);
	if (bench->phase == BENCH_OVER && bench->running == 0)
		return -1;
	if (bench->phase == BENCH_WARMING)
		next = bench->begin_ns;
	else if (bench->phase == BENCH_MEASURING)
		next = bench->end_ns < now + STALL_NS ? bench->end_ns : now + STALL_NS;
	else
		next = bench->end_ns + GRACE_NS;
	n = epoll_wait(epoll, events, max, next > now ? (int)((next - now) / 1000000 + 1) : 0);
	if (n < 0 && errno != EINTR)
		bench_die(bench->what, "epoll_wait: %m");
	if (n == 0 && (bench->phase == BENCH_OVER || next == now + STALL_NS)) {
		/* What is under way now will never be answered. */
		if (bench->phase == BENCH_MEASURING)
			end(bench);
		bench->errors += bench->running;
		return -1;
	}
	return n < 0 ? 0 : n;
}

/* ---- the report ---- */

/* One process: resident. Several that were forked from one: what they share is counted once (proportional set size). */
static double memory_mb(const struct bench *bench, const struct bench_watched *watched)
{
	bool several = watched->n > 1;
	unsigned long sum_kb = 0, kb;
	char path[64], line[256];

	for (unsigned i = 0; i < watched->n; i++) {
		bool found = false;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/%s", watched->pids[i], several ? "smaps_rollup" : "status");
		file = fopen(path, "re");
		while (file && !found && fgets(line, sizeof(line), file))
			found = sscanf(line, several ? "Pss: %lu kB" : "VmRSS: %lu kB", &kb) == 1;
		if (!found)
			bench_die(bench->what, "%s: cannot be read", path);
		sum_kb += kb;
		fclose(file);
	}
	return (double)sum_kb / 1024;
}

static double percentile_ms(const struct bench *bench, double p)
{
	uint64_t wanted = (uint64_t)((double)bench->done * p), seen = 0;

	for (unsigned i = 0; i < BENCH_TIMES; i++) {
		seen += bench->times[i];
		if (seen > wanted)
			return step_ms(i);
	}
	return (double)bench->max_ns / 1e6;
}

struct figures {
	double seconds, rate, p50_ms, p99_ms, p999_ms, max_ms;
	double cpu_us[BENCH_WATCHED], rss_mb[BENCH_WATCHED];
};

static void print_text(const struct bench *bench, const struct figures *f)
{
	printf("%s, %lu in flight: %.0f/s, p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms, max %.3f ms\n", bench->what, bench->in_flight, f->rate, f->p50_ms,
		f->p99_ms, f->p999_ms, f->max_ms);
	for (unsigned i = 0; i < BENCH_VERDICTS && bench->verdicts[i].count; i++)
		printf("  %-24s %10" PRIu64 "\n", bench->verdicts[i].name, bench->verdicts[i].count);
	printf("  %-24s %10" PRIu64 "\n", "error", bench->errors);
	for (unsigned i = 0; i < bench->nwatched; i++)
		printf("  %-24.*s %10.1f us of CPU for one, %.1f MB\n", (int)bench->watched[i].name_len, bench->watched[i].name, f->cpu_us[i], f->rss_mb[i]);
}

static void put_watched(struct json_writer *w, const struct bench *bench, const char *key, const double *values)
{
	char name[64];

	json_put_object(w, key);
	for (unsigned i = 0; i < bench->nwatched; i++) {
		snprintf(name, sizeof(name), "%.*s", (int)bench->watched[i].name_len, bench->watched[i].name);
		json_put_double(w, name, values[i]);
	}
	json_end_object(w);
}

static void print_json(const struct bench *bench, const struct figures *f)
{
	struct buf out = BUF_INIT(65536);
	struct json_writer w = JSON_WRITER(&out);

	json_put_object(&w, NULL);
	json_put_string(&w, "what", bench->what);
	json_put_uint(&w, "in_flight", bench->in_flight);
	json_put_uint(&w, "connections", bench->connections);
	json_put_uint(&w, "ops", bench->done);
	json_put_double(&w, "seconds", f->seconds);
	json_put_double(&w, "rate", f->rate);
	json_put_double(&w, "p50_ms", f->p50_ms);
	json_put_double(&w, "p99_ms", f->p99_ms);
	json_put_double(&w, "p999_ms", f->p999_ms);
	json_put_double(&w, "max_ms", f->max_ms);
	if (bench->retries > 0)
		json_put_uint(&w, "retries", bench->retries);
	json_put_object(&w, "verdicts");
	for (unsigned i = 0; i < BENCH_VERDICTS && bench->verdicts[i].count; i++)
		json_put_uint(&w, bench->verdicts[i].name, bench->verdicts[i].count);
	if (bench->errors > 0)
		json_put_uint(&w, "error", bench->errors);
	json_end_object(&w);
	put_watched(&w, bench, "cpu_us", f->cpu_us);
	put_watched(&w, bench, "rss_mb", f->rss_mb);
	json_end_object(&w);
	if (!buf_ok(&out))
		bench_die(bench->what, "no memory for the report");
	puts((const char *)out.data);
	buf_done(&out);
}

int bench_report(const struct bench *bench)
{
	struct figures f = {.p50_ms = percentile_ms(bench, 0.5),
		.p99_ms = percentile_ms(bench, 0.99),
		.p999_ms = percentile_ms(bench, 0.999),
		.max_ms = (double)bench->max_ns / 1e6,
		.seconds = (double)(bench->end_ns - bench->begin_ns) / NS};

	f.rate = (double)bench->done / f.seconds;
	for (unsigned i = 0; i < bench->nwatched; i++) {
		f.cpu_us[i] = (double)bench->watched[i].cpu_ns / 1e3 / (double)bench->done;
		f.rss_mb[i] = memory_mb(bench, &bench->watched[i]);
	}
	if (bench->json)
		print_json(bench, &f);
	else
		print_text(bench, &f);
	return bench->errors > 0 || bench->done == 0;
}
