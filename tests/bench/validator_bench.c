/* Passwords through the validator's contract, as the agent drives it: jobs started by one thread, outcomes mailed back to it from
 * the validator's, K in flight. raw_bind is the limit of method simple.
 *
 *   validator_bench --ldap-host 127.0.0.1 --ldap-port 636 --ca ca.pem --bind-dn 'uid=%u,ou=people,dc=example,dc=com'
 *                   [--connections 32] --user 'user{05n}@example.com' --numbers 0-9999 --password 'Pw-{05n}' --in-flight 32 --seconds 1
 *   validator_bench --method kerberos --kdc 127.0.0.1:88 --realm EXAMPLE.COM --keytab host.keytab [--workers 32] --user … */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "bench.h"
#include "directory/krb5_profile.h"
#include "directory/validator.h"

#define WHAT "validator"
/* Longer than any time-out of the section's own. */
#define DEADLINE_US 20000000

struct one {
	struct job job;
	struct mail back;
	struct one *next; /* in the list of those that wait */
	uint64_t started_ns;
	struct verdict verdict;
};

struct section {
	const char *method, *host, *port, *ca, *bind_dn, *connections; /* simple */
	const char *kdc, *realm, *keytab, *workers;		       /* kerberos */
	char domain[LIMIT_DOMAIN + 1];
	struct directory_conf conf;
};

struct run {
	struct bench bench;
	struct section section;
	struct validator *validator;
	struct buf user, password;
	struct one *ones, *waiting, **waiting_end;
};

static struct mailbox *outcomes;

static void mail_back(struct job *job, const struct verdict *verdict)
{
	struct one *one = (struct one *)job;

	one->verdict = *verdict;
	mailbox_post(outcomes, &one->back);
}

/* False: the validator is full, as the agent knows from its capacity; passwords wait in the service then. */
static bool give(struct run *run, struct one *one)
{
	int r = validator_start(run->validator, &one->job);

	if (r < 0 && r != -PTA_EBUSY)
		bench_die(WHAT, "validator_start: %s", pta_error_name(r));
	return r == 0;
}

static void start_one(struct run *run, struct one *one)
{
	struct err err;

	bench_login(&run->bench, &run->user, &run->password);
	one->started_ns = bench_start(&run->bench);
	one->job = (struct job){.done = mail_back, .deadline_us = one->started_ns / 1000 + DEADLINE_US};
	if (credential_parse((const char *)run->user.data, run->user.len, &one->job.credential, &err) < 0)
		bench_die(WHAT, "--user %s: %s", run->bench.user, err.text);
	one->job.password = secret_dup(run->password.data, run->password.len);
	if (!one->job.password)
		bench_die(WHAT, "no memory for a password");
	if (run->waiting || !give(run, one)) {
		one->next = NULL;
		*run->waiting_end = one;
		run->waiting_end = &one->next;
	}
}

static void finish(struct run *run, struct one *one)
{
	const struct verdict *v = &one->verdict;
	const char *verdict = v->code == VERDICT_UNAVAILABLE ? NULL : verdict_name(v->code);

	if (!verdict)
		fprintf(stderr, WHAT ": unavailable %s: %s\n", verdict_reason_name(v->reason), v->detail);
	if (bench_end(&run->bench, one->started_ns, verdict, verdict ? strlen(verdict) : 0))
		start_one(run, one);
	while (run->waiting && give(run, run->waiting)) {
		run->waiting = run->waiting->next;
		if (!run->waiting)
			run->waiting_end = &run->waiting;
	}
}

/* ---- the section ---- */

static int instance(void *root, const char *label, void **out, struct err *err)
{
	struct section *section = root;

	section->conf.name = strdup(label);
	*out = &section->conf;
	return section->conf.name ? 0 : err_set(err, -PTA_ENOMEM, "out of memory");
}

static void need(bool given, const char *options)
{
	if (!given)
		bench_die(WHAT, "%s are needed with this method", options);
}

/* As the agent reads it, with the same defaults and checks. */
static void configure(struct section *section, const struct bench *bench)
{
	static const struct conf_section sections[] = {{"directory", true, directory_conf_rows, "", instance}, {NULL}};
	bool kerberos = strcmp(section->method, "kerberos") == 0;
	const char *domain = strrchr(bench->user, '@'), *colon = section->kdc ? strrchr(section->kdc, ':') : NULL;
	struct buf text = BUF_INIT(65536);
	struct conf_errors errors;

	need(domain != NULL, "user names with a domain");
	buf_printf(&text, "[directory %s]\nmethod = %s\n", domain + 1, section->method);
	if (kerberos) {
		need(colon && section->realm && section->keytab, "--kdc HOST:PORT, --realm and --keytab");
		buf_printf(&text, "tls = none\nservers = %.*s\nrealm = %s\nkeytab = %s\n", (int)(colon - section->kdc), section->kdc, section->realm,
			section->keytab);
		if (section->workers)
			buf_printf(&text, "connections = %s\n", section->workers);
		section->conf.kdc_port = (unsigned)bench_number(WHAT, "kdc", colon + 1, 1, 65535);
	} else {
		need(section->host && section->port && section->ca && section->bind_dn, "--ldap-host, --ldap-port, --ca and --bind-dn");
		buf_printf(&text, "servers = %s:%s\nca_file = %s\nbind_dn = %s\nconnections = ", section->host, section->port, section->ca, section->bind_dn);
		if (section->connections)
			buf_puts(&text, section->connections);
		else
			buf_printf(&text, "%lu", bench->in_flight);
	}
	conf_errors_init(&errors);
	if (conf_load_text("options", (const char *)text.data, text.len, sections, section, &errors) == 0)
		directory_conf_check(&section->conf, "options", &errors);
	if (!buf_ok(&text) || errors.count)
		bench_die(WHAT, "%s", (const char *)errors.text.data);
	conf_errors_done(&errors);
	buf_done(&text);
}

int main(int argc, char **argv)
{
	struct run run = {.section.method = "simple", .user = BUF_INIT(LIMIT_USERNAME), .password = BUF_INIT(256)};
	struct section *section = &run.section;
	const struct bench_option options[] = {
		{"method", &section->method, false},
		{"ldap-host", &section->host, false},
		{"ldap-port", &section->port, false},
		{"ca", &section->ca, false},
		{"bind-dn", &section->bind_dn, false},
		{"connections", &section->connections, false},
		{"kdc", &section->kdc, false},
		{"realm", &section->realm, false},
		{"keytab", &section->keytab, false},
		{"workers", &section->workers, false},
		{NULL},
	};
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(EPOLL_CLOEXEC), status;
	struct err err = {""};

	bench_init(&run.bench, WHAT, argc, argv, options);
	configure(section, &run.bench);
	run.bench.connections = section->conf.connections;
	log_init("validator_bench", LOG_WARNING);
	run.ones = calloc(run.bench.in_flight, sizeof(*run.ones));
	run.waiting_end = &run.waiting;
	if (!run.ones || epoll < 0 || mailbox_new(&outcomes) < 0)
		bench_die(WHAT, "no memory");
	if (krb5_profile_init(&err) < 0 || secret_arena_init(SECRET_ARENA_BYTES, &err) < 0 || validator_open(&section->conf, &run.validator, &err) < 0)
		bench_die(WHAT, "%s", err.text);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, mailbox_fd(outcomes), &event) < 0)
		bench_die(WHAT, "epoll_ctl: %m");
	bench_go(&run.bench);
	for (unsigned long i = 0; i < run.bench.in_flight; i++)
		start_one(&run, &run.ones[i]);
	while (bench_wait(&run.bench, epoll, &event, 1) >= 0)
		for (struct mail *mail = mailbox_take(outcomes), *next; mail; mail = next) {
			next = mail->next;
			finish(&run, MAIL_CONTAINER(mail, struct one, back));
		}
	status = bench_report(&run.bench);
	validator_close(run.validator, clock_mono_us() + 5000000);
	(void)mailbox_take(outcomes);
	mailbox_free(outcomes);
	conf_free_rows(directory_conf_rows, &section->conf);
	free(section->conf.name);
	free(run.ones);
	buf_done(&run.user);
	buf_done(&run.password);
	return status;
}
