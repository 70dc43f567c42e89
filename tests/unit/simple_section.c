#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "simple_section.h"

struct test_certs certs;

static void note_done(struct job *job, const struct verdict *verdict)
{
	struct try *t = (struct try *)job;

	assert_null(job->password);
	pthread_mutex_lock(&t->lock);
	t->verdict = *verdict;
	t->ended++;
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

void try_init(struct try *t, const char *user, const char *password, size_t len, unsigned deadline_ms)
{
	*t = (struct try){.job.done = note_done};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	random_id(t->job.id);
	t->job.credential.form = CREDENTIAL_UPN;
	snprintf(t->job.credential.name, sizeof(t->job.credential.name), "%s@example.com", user);
	snprintf(t->job.credential.user, sizeof(t->job.credential.user), "%s", user);
	snprintf(t->job.credential.domain, sizeof(t->job.credential.domain), "example.com");
	t->job.password = secret_dup(password, len);
	t->job.deadline_us = clock_mono_us() + deadline_ms * 1000ull;
}

void try_start(struct try *t, struct validator *v, const char *user, const char *password)
{
	try_init(t, user, password, strlen(password), 20000);
	assert_int_equal(validator_start(v, &t->job), 0);
}

struct verdict try_wait(struct try *t)
{
	pthread_mutex_lock(&t->lock);
	while (!t->ended)
		pthread_cond_wait(&t->changed, &t->lock);
	assert_int_equal(t->ended, 1);
	pthread_mutex_unlock(&t->lock);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->changed);
	return t->verdict;
}

struct verdict try_one(struct validator *v, const char *user, const char *password)
{
	struct try t;

	try_start(&t, v, user, password);
	return try_wait(&t);
}

void assert_verdict(struct verdict got, enum verdict_code code, enum verdict_reason reason, bool sent)
{
	if (got.code != code || got.reason != reason || got.password_sent != sent)
		fail_msg("got %s %s sent %d (%s)", verdict_name(got.code), verdict_reason_name(got.reason), got.password_sent, got.detail);
}

void section_init(struct section *s, int tls, const unsigned *ports, size_t n)
{
	static char name[] = "example.com";

	*s = (struct section){.conf = {.name = name, .tls = tls, .ca_file = certs.ca_file, .connections = 4, .connect_timeout = 10000, .bind_timeout = 10000}};
	for (size_t i = 0; i < n; i++) {
		snprintf(s->names[i], sizeof(s->names[i]), "127.0.0.1:%u", ports[i]);
		s->items[i] = s->names[i];
	}
	s->conf.servers = (struct conf_list){.items = s->items, .n = n};
}

void section_open(struct section *s)
{
	struct err err = {""};

	if (validator_open(&s->conf, &s->v, &err) < 0)
		fail_msg("%s", err.text);
}

void section_close(struct section *s)
{
	validator_close(s->v, clock_mono_us());
}

/* Until each controller was tried: the first of the list that works is then the one in use. */
void section_settle(struct section *s)
{
	for (size_t i = 0; i < s->conf.servers.n; i++)
		while (strcmp(report_of(s, i).state, "unknown") == 0)
			poll(NULL, 0, 1);
}

struct dc_report report_of(struct section *s, size_t dc)
{
	struct dc_report reports[4];

	assert_true(validator_report(s->v, reports, 4) > dc);
	return reports[dc];
}

/* A section with one double. */
struct ldap_double *open_double(struct section *s, enum double_act act)
{
	struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, act);
	const unsigned port = ldap_double_port(d);

	section_init(s, DIRECTORY_LDAPS, &port, 1);
	return d;
}
