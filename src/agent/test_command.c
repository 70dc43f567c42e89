/* `pta-agent test USER`: one password through the same validators as the daemon's, without the queue. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/commands.h"
#include "agent/directories.h"
#include "agent/verdict_text.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "wire/limits.h"

#define MAX_STEPS 32

struct step {
	char what[32], text[256];
	uint64_t took_us;
};

/* What the validator's threads and the waiting command share. */
struct test {
	struct job job;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t over;
	bool done;
	struct verdict verdict;
	struct step steps[MAX_STEPS];
	unsigned nsteps;
	char login[sizeof(((struct name_found *)0)->dn)]; /* the entry that the name means, "" where nothing looks for it */
};

static void on_step(struct job *job, const char *what, uint64_t took_us, const char *text)
{
	struct test *test = (struct test *)(void *)job;

	pthread_mutex_lock(&test->lock);
	if (test->nsteps < MAX_STEPS) {
		struct step *step = &test->steps[test->nsteps++];

		snprintf(step->what, sizeof(step->what), "%s", what);
		snprintf(step->text, sizeof(step->text), "%s", text ? text : "");
		step->took_us = took_us;
	}
	if (job->found)
		memcpy(test->login, job->found->dn, sizeof(test->login));
	pthread_mutex_unlock(&test->lock);
}

static void on_done(struct job *job, const struct verdict *verdict)
{
	struct test *test = (struct test *)(void *)job;

	pthread_mutex_lock(&test->lock);
	test->verdict = *verdict;
	test->done = true;
	pthread_cond_signal(&test->over);
	pthread_mutex_unlock(&test->lock);
}

/* A fresh validator may have found no controller yet, or have no connection: it is asked again until it takes the job or the
 * deadline has passed. */
static int start(struct validator *validator, struct test *test)
{
	const struct timespec pause = {.tv_nsec = 20 * 1000000L};
	struct dc_report report;
	int r = -PTA_ENODC;

	while (clock_mono_us() < test->job.deadline_us) {
		if (validator_report(validator, &report, 1) > 0)
			r = validator_start(validator, &test->job);
		if (r != -PTA_ENODC)
			break;
		nanosleep(&pause, NULL);
	}
	return r;
}

/* The verdict for people. */
static void print_sentences(const struct verdict *v)
{
	struct buf text PTA_CLEANUP(buf_done) = BUF_INIT(1024);

	verdict_text(v, &text);
	if (buf_ok(&text))
		printf("\n%s\n", (const char *)text.data);
}

static void print_text(const struct test *test, const char *method, uint64_t took_us)
{
	const struct verdict *v = &test->verdict;

	for (unsigned i = 0; i < test->nsteps; i++)
		printf("%10.1f ms  %-10s %s\n", (double)test->steps[i].took_us / 1000, test->steps[i].what, test->steps[i].text);
	printf("%10.1f ms  %-10s %s%s%s by %s", (double)took_us / 1000, "verdict", verdict_name(v->code), v->code == VERDICT_UNAVAILABLE ? "/" : "",
		verdict_reason_text(v), method);
	if (v->dc[0])
		printf(" from %s", v->dc);
	putchar('\n');
	if (test->login[0])
		printf("%16s%-10s %s\n", "", "entry", test->login);
	if (v->detail[0])
		printf("%16s%-10s %s\n", "", "answer", v->detail);
	print_sentences(v);
}

static void print_json(const struct test *test, const char *method, uint64_t took_us)
{
	const struct verdict *v = &test->verdict;
	struct buf out = BUF_INIT(65536), text = BUF_INIT(1024);
	struct json_writer w = JSON_WRITER(&out);

	verdict_text(v, &text);
	json_put_object(&w, NULL);
	json_put_string(&w, "user", test->job.credential.name);
	json_put_string(&w, "method", method);
	json_put_string(&w, "verdict", verdict_name(v->code));
	json_put_string(&w, "reason", verdict_reason_text(v));
	json_put_string(&w, "text", buf_ok(&text) ? (const char *)text.data : "");
	json_put_bool(&w, "password_proved", v->password_proved);
	json_put_bool(&w, "password_sent", v->password_sent);
	json_put_string(&w, "dc", v->dc);
	json_put_string(&w, "login", test->login);
	json_put_string(&w, "detail", v->detail);
	json_put_uint(&w, "took_us", took_us);
	json_put_uint(&w, "directory_us", v->directory_us);
	json_put_array(&w, "steps");
	for (unsigned i = 0; i < test->nsteps; i++) {
		json_put_object(&w, NULL);
		json_put_string(&w, "step", test->steps[i].what);
		json_put_uint(&w, "took_us", test->steps[i].took_us);
		json_put_string(&w, "text", test->steps[i].text);
		json_end_object(&w);
	}
	json_end_array(&w);
	json_end_object(&w);
	if (buf_ok(&out))
		printf("%.*s\n", (int)out.len, (const char *)out.data);
	buf_done(&out);
	buf_done(&text);
}

/* Asks for the password and waits for its verdict. */
static int validate(struct directories *set, struct test *test, bool json)
{
	struct validator *validator = directories_pick(set, &test->job.credential);
	uint64_t began_us;
	struct err err;
	int r;

	if (!validator)
		return cli_fail(PROGRAM, CLI_FAILED, "no [directory …] section serves %s: add it to suffixes (or netbios) of the section of its domain",
			test->job.credential.domain);
	r = cli_ask_secret("Password: ", LIMIT_PASSWORD, &test->job.password, &err);
	if (r < 0)
		return cli_fail(PROGRAM, CLI_FAILED, "%s", err.text);
	if (secret_len(test->job.password) == 0)
		return cli_fail(PROGRAM, CLI_FAILED, "the password is empty: a directory would take that for an anonymous bind");
	began_us = clock_mono_us();
	test->job.deadline_us = began_us + SIGNIN_DEADLINE_MS * 1000ull;
	random_id(test->job.id);
	r = start(validator, test);
	if (r < 0) {
		test->verdict = verdict_unavailable(r == -PTA_ENODC ? REASON_DIRECTORY_UNREACHABLE : REASON_OVERLOADED, false);
	} else {
		pthread_mutex_lock(&test->lock);
		while (!test->done)
			pthread_cond_wait(&test->over, &test->lock);
		pthread_mutex_unlock(&test->lock);
	}
	if (json)
		print_json(test, validator->method->name, clock_mono_us() - began_us);
	else
		print_text(test, validator->method->name, clock_mono_us() - began_us);
	return test->verdict.code == VERDICT_SUCCESS ? CLI_OK : CLI_FAILED;
}

int command_test(void *options, char **args, int nargs)
{
	const struct common_options *o = options;
	struct agent_conf *conf PTA_CLEANUP(agent_conf_unrefp) = NULL;
	struct test test = {.job = {.done = on_done, .step = on_step}, .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};
	struct directories *set;
	struct err err;
	int r = command_load_conf(o->config, &conf);

	(void)nargs;
	if (r != CLI_OK)
		return r;
	/* The steps tell the rest. */
	log_init(PROGRAM, LOG_WARNING);
	if (credential_parse(args[0], strlen(args[0]), &test.job.credential, &err) < 0)
		return cli_fail(PROGRAM, CLI_USAGE, "%s: %s", args[0], err.text);
	if (secret_arena_init(SECRET_ARENA_BYTES, &err) < 0)
		return cli_fail(PROGRAM, CLI_FAILED, "%s", err.text);
	r = directories_open(conf, &set, &err);
	if (r < 0)
		return cli_fail(PROGRAM, CLI_CONFIG, "%s", err.text);
	r = validate(set, &test, o->json);
	directories_close(set, 0);
	directories_free(set);
	secret_free(test.job.password);
	return r;
}
