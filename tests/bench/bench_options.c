#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum { OPT_IN_FLIGHT = 256, OPT_SECONDS, OPT_OPS, OPT_WARM, OPT_NUMBERS, OPT_USER, OPT_PASSWORD, OPT_WATCH, OPT_JSON, OPT_OWN };

void bench_die(const char *what, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", what);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* Digits at the start of text; *end is what follows them. */
static unsigned long digits(const char *what, const char *option, const char *text, char **end)
{
	unsigned long n;

	errno = 0;
	n = strtoul(text, end, 10);
	if (errno || *text < '0' || *text > '9')
		bench_die(what, "--%s %s: not a number", option, text);
	return n;
}

unsigned long bench_number(const char *what, const char *option, const char *text, unsigned long least, unsigned long most)
{
	char *end;
	unsigned long n = digits(what, option, text, &end);

	if (*end || n < least || n > most)
		bench_die(what, "--%s %s: want a number from %lu to %lu", option, text, least, most);
	return n;
}

static double seconds(const char *what, const char *option, const char *text)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s >= 0 && s <= 86400))
		bench_die(what, "--%s %s: want seconds", option, text);
	return s;
}

static void watch(struct bench *bench, const char *text)
{
	struct bench_watched *watched = &bench->watched[bench->nwatched];
	const char *at = strchr(text, '=');
	char *end;

	if (!at || bench->nwatched == BENCH_WATCHED)
		bench_die(bench->what, "--watch %s: want NAME=PID[,PID...], at most %d times", text, BENCH_WATCHED - 1);
	*watched = (struct bench_watched){.name = text, .name_len = (size_t)(at - text)};
	do {
		if (watched->n == BENCH_PIDS)
			bench_die(bench->what, "--watch %s: more than %d processes", text, BENCH_PIDS);
		watched->pids[watched->n++] = (pid_t)digits(bench->what, "watch", at + 1, &end);
		at = end;
	} while (*at == ',');
	if (*at)
		bench_die(bench->what, "--watch %s: want NAME=PID[,PID...]", text);
	bench->nwatched++;
}

static void take(struct bench *bench, int option, const char *text)
{
	char *end;

	switch (option) {
	case OPT_IN_FLIGHT:
		bench->in_flight = bench_number(bench->what, "in-flight", text, 1, 10000);
		break;
	case OPT_SECONDS:
		bench->seconds = seconds(bench->what, "seconds", text);
		break;
	case OPT_OPS:
		bench->ops = bench_number(bench->what, "ops", text, 1, ULONG_MAX);
		break;
	case OPT_WARM:
		bench->warm = seconds(bench->what, "warm", text);
		break;
	case OPT_NUMBERS:
		bench->first = digits(bench->what, "numbers", text, &end);
		if (*end != '-')
			bench_die(bench->what, "--numbers %s: want FIRST-LAST", text);
		bench->last = bench_number(bench->what, "numbers", end + 1, bench->first, ULONG_MAX);
		break;
	case OPT_USER:
		bench->user = text;
		break;
	case OPT_PASSWORD:
		bench->password = text;
		break;
	case OPT_WATCH:
		watch(bench, text);
		break;
	case OPT_JSON:
		bench->json = true;
		break;
	default:
		exit(2); /* getopt has said what is wrong */
	}
}

void bench_init(struct bench *bench, const char *what, int argc, char **argv, const struct bench_option *own)
{
	struct option options[32] = {
		{"in-flight", required_argument, NULL, OPT_IN_FLIGHT},
		{"seconds", required_argument, NULL, OPT_SECONDS},
		{"ops", required_argument, NULL, OPT_OPS},
		{"warm", required_argument, NULL, OPT_WARM},
		{"numbers", required_argument, NULL, OPT_NUMBERS},
		{"user", required_argument, NULL, OPT_USER},
		{"password", required_argument, NULL, OPT_PASSWORD},
		{"watch", required_argument, NULL, OPT_WATCH},
		{"json", no_argument, NULL, OPT_JSON},
	};
	size_t n = 0;
	int c;

	*bench = (struct bench){.what = what, .in_flight = 1, .warm = 0.3, .first = 1, .last = 1, .nwatched = 1};
	bench->watched[0] = (struct bench_watched){.name = "driver", .name_len = strlen("driver"), .pids = {getpid()}, .n = 1};
	while (options[n].name)
		n++;
	for (int i = 0; own[i].name; i++)
		options[n++] = (struct option){own[i].name, required_argument, NULL, OPT_OWN + i};
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c >= OPT_OWN)
			*own[c - OPT_OWN].value = optarg;
		else
			take(bench, c, optarg);
	}
	if (optind < argc)
		bench_die(what, "%s: not an option", argv[optind]);
	for (; own->name; own++)
		if (own->required && !*own->value)
			bench_die(what, "--%s is needed", own->name);
	if (!bench->user || !bench->password || (bench->seconds > 0) == (bench->ops > 0))
		bench_die(what, "--user, --password, and --seconds or --ops are needed");
	bench->connections = bench->in_flight;
	bench->number = bench->first;
}

/* ---- users ---- */

static void put_number(struct buf *out, unsigned long n, unsigned long width)
{
	char text[20], *at = text + sizeof(text);

	do
		*--at = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	while (at > text && (size_t)(text + sizeof(text) - at) < width)
		*--at = '0';
	buf_put(out, at, (size_t)(text + sizeof(text) - at));
}

static void fill(const struct bench *bench, struct buf *out, const char *template)
{
	const char *open;

	buf_reset(out);
	while ((open = strchr(template, '{'))) {
		char *end;
		unsigned long width = strtoul(open + 1, &end, 10);

		if (end[0] != 'n' || end[1] != '}' || width > 20)
			bench_die(bench->what, "%s: only {n} and the like of {05n} stand in a template", open);
		buf_put(out, template, (size_t)(open - template));
		put_number(out, bench->number, width);
		template = end + 2;
	}
	buf_puts(out, template);
	if (!buf_ok(out))
		bench_die(bench->what, "a user name or password is too long");
}

void bench_login(struct bench *bench, struct buf *user, struct buf *password)
{
	fill(bench, user, bench->user);
	fill(bench, password, bench->password);
	bench->number = bench->number == bench->last ? bench->first : bench->number + 1;
}
