/* Simple binds through the validator's contract, as the agent drives it: jobs started by one thread, outcomes mailed back to
 * it from the bind thread, K in flight. tests/bench/binds runs it beside raw_bind, which is the limit. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench_binds.h"
#include "directory/validator.h"

struct one {
	struct job job;
	struct mail back;
	uint64_t started_us;
	struct verdict verdict;
};

static struct mailbox *outcomes;

static void mail_back(struct job *job, const struct verdict *verdict)
{
	struct one *one = (struct one *)job;

	one->verdict = *verdict;
	mailbox_post(outcomes, &one->back);
}

static void start(struct bench *bench, struct validator *v, struct one *one, unsigned number)
{
	char password[64];
	int len = snprintf(password, sizeof(password), bench->password, number % bench->users), r;

	snprintf(one->job.credential.name, sizeof(one->job.credential.name), "user%05u@load.example.com", number % bench->users);
	snprintf(one->job.credential.user, sizeof(one->job.credential.user), "user%05u", number % bench->users);
	one->job.password = secret_dup(password, (size_t)len);
	one->job.done = mail_back;
	one->started_us = clock_mono_us();
	one->job.deadline_us = one->started_us + 10000000;
	r = validator_start(v, &one->job);
	if (r < 0) {
		fprintf(stderr, "validator_bench: start: %s\n", pta_error_name(r));
		exit(1);
	}
}

static void finish(struct bench *bench, const struct one *one)
{
	bench->took_us[bench->done++] = (uint32_t)(clock_mono_us() - one->started_us);
	if (one->verdict.code != VERDICT_SUCCESS && bench->failed++ == 0)
		fprintf(stderr, "validator_bench: %s %s: %s\n", verdict_name(one->verdict.code), verdict_reason_name(one->verdict.reason), one->verdict.detail);
}

int main(int argc, char **argv)
{
	char name[] = "load.example.com", server[300], *servers[] = {server};
	struct directory_conf conf = {.name = name, .servers = {.items = servers, .n = 1}, .connect_timeout = 5000, .bind_timeout = 5000};
	struct validator *v;
	struct bench bench;
	struct one *ones;
	struct err err;
	unsigned sent = 0, warm;

	bench_init(&bench, argc, argv);
	snprintf(server, sizeof(server), "%s:%u", bench.host, bench.port);
	conf.ca_file = strdup(bench.ca);
	conf.bind_dn = strdup(bench.bind_dn);
	conf.connections = bench.in_flight;
	log_set_level(LOG_WARNING);
	ones = calloc(bench.in_flight, sizeof(*ones));
	if (!ones || secret_arena_init(SECRET_ARENA_BYTES, &err) < 0 || mailbox_new(&outcomes) < 0 || validator_open(&conf, &v, &err) < 0) {
		fprintf(stderr, "validator_bench: %s\n", err.text);
		return 1;
	}
	/* The connections are made first, as in raw_bind: a tenth of the binds is not measured. */
	warm = bench.in_flight + bench.binds / 10;
	for (unsigned i = 0; i < bench.in_flight; i++)
		start(&bench, v, &ones[i], sent++);
	for (unsigned done = 0; bench.done < bench.binds;) {
		struct pollfd pfd = {.fd = mailbox_fd(outcomes), .events = POLLIN};
		struct mail *next;

		poll(&pfd, 1, -1);
		for (struct mail *mail = mailbox_take(outcomes); mail; mail = next) {
			struct one *one = MAIL_CONTAINER(mail, struct one, back);

			next = mail->next;
			if (++done == warm)
				bench_begin(&bench);
			if (done > warm && bench.done < bench.binds)
				finish(&bench, one);
			if (sent < warm + bench.binds)
				start(&bench, v, one, sent++);
		}
	}
	bench_end(&bench);
	validator_close(v, clock_mono_us() + 5000000);
	(void)mailbox_take(outcomes);
	mailbox_free(outcomes);
	free(ones);
	free(conf.ca_file);
	free(conf.bind_dn);
	return bench_report(&bench, "validator");
}
