#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ldap.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "simple_section.h"
#include "slapd_bed.h"

static const struct slapd_user users[] = {
	{"anna", "right-one"},
	{"j\xc3\xb6rg", "p\xc3\xa4ss w\xc3\xb6rd"},
	{NULL, NULL},
};

static void slapd_section(struct section *s, const struct slapd_bed *bed, int tls)
{
	static char bind_dn[] = "uid=%u,ou=people,dc=example,dc=com";

	section_init(s, tls, tls == DIRECTORY_LDAPS ? &bed->ldaps_port : &bed->ldap_port, 1);
	s->conf.bind_dn = bind_dn;
	section_open(s);
}

static void slapd_tells_right_from_wrong(void **state)
{
	static const int modes[] = {DIRECTORY_LDAPS, DIRECTORY_STARTTLS, DIRECTORY_TLS_NONE};
	struct slapd_bed *bed = *state;
	struct section s;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(modes); i++) {
		slapd_section(&s, bed, modes[i]);
		for (int round = 0; round < 3; round++) {
			struct verdict verdict = try_one(s.v, "anna", "right-one");

			assert_verdict(verdict, VERDICT_SUCCESS, 0, true);
			assert_true(verdict.password_proved);
			assert_string_equal(verdict.dc, "127.0.0.1");
			verdict = try_one(s.v, "anna", "wrong-one");
			assert_verdict(verdict, VERDICT_INVALID_CREDENTIALS, 0, true);
			assert_false(verdict.password_proved);
		}
		assert_verdict(try_one(s.v, "nobody", "right-one"), VERDICT_INVALID_CREDENTIALS, 0, true);
		assert_verdict(try_one(s.v, "j\xc3\xb6rg", "p\xc3\xa4ss w\xc3\xb6rd"), VERDICT_SUCCESS, 0, true);
		assert_verdict(try_one(s.v, "anna,ou=people", "right-one"), VERDICT_INVALID_CREDENTIALS, 0, true);
		/* A rejected bind leaves the connection to the next one. */
		assert_int_equal(report_of(&s, 0).connections, 1);
		assert_string_equal(report_of(&s, 0).state, "up");
		section_close(&s);
	}
}

static void each_of_many_gets_its_own_verdict(void **state)
{
	enum { TRIES = 240, AT_ONCE = 16 };
	static struct try tries[AT_ONCE];
	struct slapd_bed *bed = *state;
	struct section s;

	slapd_section(&s, bed, DIRECTORY_LDAPS);
	for (int round = 0; round < TRIES / AT_ONCE; round++) {
		for (int i = 0; i < AT_ONCE; i++)
			try_start(&tries[i], s.v, "anna", (i + round) % 3 ? "wrong-one" : "right-one");
		for (int i = 0; i < AT_ONCE; i++)
			assert_verdict(try_wait(&tries[i]), (i + round) % 3 ? VERDICT_INVALID_CREDENTIALS : VERDICT_SUCCESS, 0, true);
	}
	assert_in_range(report_of(&s, 0).connections, 1, 4);
	assert_int_equal(report_of(&s, 0).binds, TRIES);
	assert_int_equal(validator_capacity(s.v), 4);
	section_close(&s);
}

static void a_restarted_server_is_used_again(void **state)
{
	struct slapd_bed *bed = *state;
	struct section s;
	struct verdict verdict;

	slapd_section(&s, bed, DIRECTORY_LDAPS);
	assert_verdict(try_one(s.v, "anna", "right-one"), VERDICT_SUCCESS, 0, true);
	slapd_bed_stop(bed);
	while (validator_capacity(s.v) > 0)
		poll(NULL, 0, 1);
	{
		struct try t;

		try_init(&t, "anna", "right-one", 9, 20000);
		assert_int_equal(validator_start(s.v, &t.job), -PTA_ENODC);
		assert_int_equal(t.ended, 0);
		secret_freep(&t.job.password);
	}
	slapd_bed_start(bed);
	while (validator_capacity(s.v) == 0)
		poll(NULL, 0, 1);
	verdict = try_one(s.v, "anna", "right-one");
	assert_verdict(verdict, VERDICT_SUCCESS, 0, true);
	section_close(&s);
}

static void every_answer_crosses_the_wire(void **state)
{
	static const struct {
		int result;
		const char *diagnostic;
		enum verdict_code code;
		enum verdict_reason reason;
		bool proved;
	} rows[] = {
		{0, "", VERDICT_SUCCESS, 0, true},
		{49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563", VERDICT_INVALID_CREDENTIALS, 0, false},
		{49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 775, v4563", VERDICT_ACCOUNT_LOCKED, 0, false},
		{49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 773, v4563", VERDICT_PASSWORD_MUST_CHANGE, 0, true},
		{49, "80090346: LdapErr: DSID-0C0906B0, comment: AcceptSecurityContext error, data 80090346, v4563", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR,
			false},
		{53, "unwilling", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false},
		{8, "stronger", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false},
		{10, "referral", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false},
		{14, "sasl", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false},
	};
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_ANSWER);

	(void)state;
	section_open(&s);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct verdict verdict;

		ldap_double_result(d, rows[i].result, rows[i].diagnostic);
		verdict = try_one(s.v, "anna", "p");
		assert_verdict(verdict, rows[i].code, rows[i].reason, true);
		assert_int_equal(verdict.password_proved, rows[i].proved);
		assert_true(ldap_double_saw(d, "anna@example.com", "p"));
	}
	assert_int_equal(ldap_double_connections(d), 1);
	section_close(&s);
	ldap_double_free(d);
}

static void a_busy_server_is_left_for_a_while(void **state)
{
	static const int results[] = {51, 52};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(results); i++) {
		struct ldap_double *first = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
		struct ldap_double *second = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
		const unsigned ports[] = {ldap_double_port(first), ldap_double_port(second)};
		struct section s;

		section_init(&s, DIRECTORY_LDAPS, ports, 2);
		section_open(&s);
		section_settle(&s);
		ldap_double_result(first, results[i], "busy");
		assert_verdict(try_one(s.v, "anna", "p"), VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, true);
		assert_int_equal(ldap_double_binds(second), 0);
		assert_verdict(try_one(s.v, "anna", "p"), VERDICT_SUCCESS, 0, true);
		assert_int_equal(ldap_double_binds(first), 1);
		assert_int_equal(ldap_double_binds(second), 1);
		/* A probe finds it up again, without any bind. */
		while (strcmp(report_of(&s, 0).state, "up") != 0)
			poll(NULL, 0, 1);
		assert_int_equal(ldap_double_binds(first), 1);
		section_close(&s);
		ldap_double_free(first);
		ldap_double_free(second);
	}
}

/* Servers that cannot be connected to: the password goes to the next one, and to nobody else. */
static void a_server_that_does_not_connect_is_passed_over(void **state)
{
	static const enum double_act acts[] = {ACT_SILENT_ACCEPT, ACT_HALF_HANDSHAKE, ACT_GARBAGE, ACT_CLOSE_ACCEPT};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(acts); i++) {
		struct ldap_double *bad = ldap_double_new(DOUBLE_LDAPS, certs.server, acts[i]);
		struct ldap_double *good = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
		const unsigned ports[] = {ldap_double_port(bad), ldap_double_port(good)};
		struct section s;

		section_init(&s, DIRECTORY_LDAPS, ports, 2);
		s.conf.connect_timeout = 300;
		section_open(&s);
		assert_verdict(try_one(s.v, "anna", "p"), VERDICT_SUCCESS, 0, true);
		assert_int_equal(ldap_double_binds(bad), 0);
		assert_int_equal(ldap_double_binds(good), 1);
		section_settle(&s);
		assert_int_equal(report_of(&s, 0).connections, 0);
		assert_true(report_of(&s, 0).last_error[0] != '\0');
		section_close(&s);
		ldap_double_free(bad);
		ldap_double_free(good);
	}
}

static void a_black_hole_is_passed_over(void **state)
{
	struct ldap_double *good = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
	unsigned ports[2] = {0, ldap_double_port(good)};
	struct section s;
	int fds[4];

	(void)state;
	ports[0] = black_hole(fds);
	section_init(&s, DIRECTORY_LDAPS, ports, 2);
	s.conf.connect_timeout = 300;
	section_open(&s);
	assert_verdict(try_one(s.v, "anna", "p"), VERDICT_SUCCESS, 0, true);
	section_close(&s);
	ldap_double_free(good);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
}

static void with_every_server_down_jobs_end_at_once_and_unsent(void **state)
{
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_SILENT_ACCEPT);
	struct verdict verdict;
	struct try t;

	(void)state;
	s.conf.connect_timeout = 200;
	section_open(&s);
	/* Nothing is known yet: the job waits for the first connect. */
	verdict = try_one(s.v, "anna", "p");
	assert_verdict(verdict, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, false);
	while (validator_capacity(s.v) > 0)
		poll(NULL, 0, 1);
	try_init(&t, "anna", "p", 1, 20000);
	assert_int_equal(validator_start(s.v, &t.job), -PTA_ENODC);
	secret_freep(&t.job.password);
	/* The probe finds it alive again. */
	ldap_double_act(d, ACT_ANSWER);
	while (validator_capacity(s.v) == 0)
		poll(NULL, 0, 1);
	assert_verdict(try_one(s.v, "anna", "p"), VERDICT_SUCCESS, 0, true);
	section_close(&s);
	ldap_double_free(d);
}

static void what_was_sent_is_never_sent_again(void **state)
{
	static const struct {
		enum double_act act;
		enum verdict_reason reason;
	} rows[] = {
		{ACT_SILENT_BIND, REASON_TIMEOUT},
		{ACT_CUT_BIND, REASON_DIRECTORY_UNREACHABLE},
		{ACT_HALF_ANSWER, REASON_DIRECTORY_UNREACHABLE},
		{ACT_WRONG_ID, REASON_TIMEOUT},
		{ACT_WRONG_TYPE, REASON_AGENT_ERROR},
		{ACT_BROKEN_ANSWER, REASON_DIRECTORY_UNREACHABLE},
		{ACT_HUGE_ANSWER, REASON_DIRECTORY_UNREACHABLE},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct ldap_double *bad = ldap_double_new(DOUBLE_LDAPS, certs.server, rows[i].act);
		struct ldap_double *good = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
		const unsigned ports[] = {ldap_double_port(bad), ldap_double_port(good)};
		struct verdict verdict;
		struct section s;

		section_init(&s, DIRECTORY_LDAPS, ports, 2);
		s.conf.bind_timeout = rows[i].reason == REASON_TIMEOUT ? 300 : 10000;
		section_open(&s);
		section_settle(&s);
		verdict = try_one(s.v, "anna", "p");
		if (verdict.reason != rows[i].reason)
			fail_msg("row %zu: %s (%s)", i, verdict_reason_name(verdict.reason), verdict.detail);
		assert_verdict(verdict, VERDICT_UNAVAILABLE, rows[i].reason, true);
		assert_int_equal(ldap_double_binds(bad), 1);
		assert_int_equal(ldap_double_binds(good), 0);
		/* A bind that timed out opens the breaker. */
		if (rows[i].reason == REASON_TIMEOUT)
			assert_verdict(try_one(s.v, "anna", "p"), VERDICT_SUCCESS, 0, true);
		section_close(&s);
		ldap_double_free(bad);
		ldap_double_free(good);
	}
}

/* libldap answers a request to renegotiate with a handshake that spins on a silent peer. */
static void renegotiation_does_not_stop_the_thread(void **state)
{
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_RENEGOTIATE);

	(void)state;
	assert_int_equal(SSL_CTX_set_max_proto_version(certs.server, TLS1_2_VERSION), 1);
	section_open(&s);
	assert_verdict(try_one(s.v, "anna", "p"), VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, true);
	ldap_double_act(d, ACT_ANSWER);
	assert_verdict(try_one(s.v, "anna", "p"), VERDICT_SUCCESS, 0, true);
	section_close(&s);
	ldap_double_free(d);
	assert_int_equal(SSL_CTX_set_max_proto_version(certs.server, 0), 1);
}

static void a_late_answer_is_not_the_next_ones(void **state)
{
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_HOLD_BIND);

	(void)state;
	s.conf.bind_timeout = 300;
	section_open(&s);
	assert_verdict(try_one(s.v, "anna", "right"), VERDICT_UNAVAILABLE, REASON_TIMEOUT, true);
	while (validator_capacity(s.v) == 0)
		poll(NULL, 0, 1);
	/* The first bind's success goes out now, to a connection that nobody reads any more. */
	ldap_double_release(d);
	ldap_double_act(d, ACT_ANSWER);
	ldap_double_result(d, 49, "");
	assert_verdict(try_one(s.v, "anna", "wrong"), VERDICT_INVALID_CREDENTIALS, 0, true);
	section_close(&s);
	ldap_double_free(d);
}

static void a_goodbye_behind_an_answer_ends_the_connection(void **state)
{
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_ANSWER_GOODBYE);

	(void)state;
	section_open(&s);
	for (unsigned i = 1; i <= 5; i++) {
		assert_verdict(try_one(s.v, "anna", "p"), VERDICT_SUCCESS, 0, true);
		assert_int_equal(ldap_double_binds(d), i);
	}
	section_close(&s);
	ldap_double_free(d);
}

static void a_connection_closed_while_idle_costs_nobody_anything(void **state)
{
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_ANSWER);

	(void)state;
	section_open(&s);
	for (unsigned i = 1; i <= 5; i++) {
		assert_verdict(try_one(s.v, "anna", "p"), VERDICT_SUCCESS, 0, true);
		ldap_double_drop(d);
	}
	assert_int_equal(ldap_double_binds(d), 5);
	section_close(&s);
	ldap_double_free(d);
}

static void connections_grow_to_the_limit_and_no_further(void **state)
{
	enum { LIMIT = 4, JOBS = 10 };
	static struct try tries[JOBS];
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_HOLD_BIND);

	(void)state;
	section_open(&s);
	for (int i = 0; i < JOBS; i++)
		try_start(&tries[i], s.v, "anna", "p");
	assert_int_equal(validator_capacity(s.v), 0);
	ldap_double_wait_binds(d, LIMIT);
	assert_int_equal(report_of(&s, 0).busy, LIMIT);
	assert_int_equal(ldap_double_binds(d), LIMIT);
	ldap_double_release(d);
	for (int i = 0; i < JOBS; i++)
		assert_verdict(try_wait(&tries[i]), VERDICT_SUCCESS, 0, true);
	assert_int_equal(ldap_double_connections(d), LIMIT);
	section_close(&s);
	ldap_double_free(d);
}

static void too_many_jobs_are_refused(void **state)
{
	enum { MOST = 16 };
	static struct try tries[MOST + 1];
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_HOLD_BIND);

	(void)state;
	section_open(&s);
	for (int i = 0; i < MOST; i++)
		try_start(&tries[i], s.v, "anna", "p");
	try_init(&tries[MOST], "anna", "p", 1, 20000);
	assert_int_equal(validator_start(s.v, &tries[MOST].job), -PTA_EBUSY);
	secret_freep(&tries[MOST].job.password);
	ldap_double_release(d);
	for (int i = 0; i < MOST; i++)
		assert_verdict(try_wait(&tries[i]), VERDICT_SUCCESS, 0, true);
	section_close(&s);
	ldap_double_free(d);
}

static void a_waiting_job_ends_at_its_deadline_unsent(void **state)
{
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_HOLD_BIND);
	struct try first, second;

	(void)state;
	s.conf.connections = 1;
	section_open(&s);
	try_start(&first, s.v, "anna", "first");
	ldap_double_wait_binds(d, 1);
	try_init(&second, "anna", "second", 6, 100);
	assert_int_equal(validator_start(s.v, &second.job), 0);
	assert_verdict(try_wait(&second), VERDICT_UNAVAILABLE, REASON_TIMEOUT, false);
	ldap_double_release(d);
	assert_verdict(try_wait(&first), VERDICT_SUCCESS, 0, true);
	assert_int_equal(ldap_double_binds(d), 1);
	section_close(&s);
	ldap_double_free(d);
}

static void empty_and_nul_passwords_reach_no_server(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {{"", 0}, {"\0", 1}, {"a\0b", 3}};
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_ANSWER);

	(void)state;
	section_open(&s);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct try t;

		try_init(&t, "anna", rows[i].bytes, rows[i].len, 20000);
		assert_int_equal(validator_start(s.v, &t.job), 0);
		assert_verdict(try_wait(&t), VERDICT_INVALID_REQUEST, 0, false);
	}
	assert_int_equal(ldap_double_binds(d), 0);
	section_close(&s);
	ldap_double_free(d);
}

static void closing_ends_the_waiting_at_once_and_the_sent_at_the_deadline(void **state)
{
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_HOLD_BIND);
	struct try sent, waiting;

	(void)state;
	s.conf.connections = 1;
	section_open(&s);
	try_start(&sent, s.v, "anna", "p");
	ldap_double_wait_binds(d, 1);
	try_start(&waiting, s.v, "anna", "p");
	validator_close(s.v, clock_mono_us() + 50000);
	assert_verdict(try_wait(&waiting), VERDICT_UNAVAILABLE, REASON_OVERLOADED, false);
	assert_verdict(try_wait(&sent), VERDICT_UNAVAILABLE, REASON_TIMEOUT, true);
	ldap_double_free(d);
}

static void *release_later(void *arg)
{
	ldap_double_release(arg);
	return NULL;
}

static void closing_waits_for_the_answer_of_what_was_sent(void **state)
{
	struct section s;
	struct ldap_double *d = open_double(&s, ACT_HOLD_BIND);
	pthread_t thread;
	struct try sent;

	(void)state;
	section_open(&s);
	try_start(&sent, s.v, "anna", "p");
	ldap_double_wait_binds(d, 1);
	assert_int_equal(pthread_create(&thread, NULL, release_later, d), 0);
	validator_close(s.v, clock_mono_us() + 20000000);
	assert_verdict(try_wait(&sent), VERDICT_SUCCESS, 0, true);
	pthread_join(thread, NULL);
	ldap_double_free(d);
}

static void only_the_right_certificate_gets_a_password(void **state)
{
	static const char *const other_names[] = {"dc1.example.com", "127.0.0.2", NULL};
	struct test_certs other;
	struct section s;

	(void)state;
	test_certs_init(&other, other_names);
	for (int i = 0; i < 4; i++) {
		enum double_tls tls = i % 2 ? DOUBLE_STARTTLS : DOUBLE_LDAPS;
		struct ldap_double *d = ldap_double_new(tls, other.server, ACT_ANSWER);
		const unsigned port = ldap_double_port(d);
		struct verdict verdict;

		section_init(&s, i % 2 ? DIRECTORY_STARTTLS : DIRECTORY_LDAPS, &port, 1);
		/* First another CA, then the right CA and another name. */
		if (i >= 2)
			s.conf.ca_file = other.ca_file;
		section_open(&s);
		verdict = try_one(s.v, "anna", "p");
		assert_verdict(verdict, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, false);
		assert_int_equal(ldap_double_binds(d), 0);
		assert_non_null(strstr(report_of(&s, 0).last_error, "TLS with 127.0.0.1 port"));
		section_close(&s);
		ldap_double_free(d);
	}
	test_certs_done(&other);
}

static void what_is_injected_before_starttls_is_not_an_answer(void **state)
{
	struct ldap_double *d = ldap_double_new(DOUBLE_STARTTLS, certs.server, ACT_INJECT_STARTTLS);
	const unsigned port = ldap_double_port(d);
	struct section s;

	(void)state;
	ldap_double_result(d, 49, "");
	section_init(&s, DIRECTORY_STARTTLS, &port, 1);
	section_open(&s);
	assert_verdict(try_one(s.v, "anna", "p"), VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, false);
	section_close(&s);
	ldap_double_free(d);
}

static void a_ca_file_without_certificates_is_refused(void **state)
{
	const unsigned port = 1;
	struct err err = {""};
	struct section s;

	(void)state;
	section_init(&s, DIRECTORY_LDAPS, &port, 1);
	s.conf.ca_file = certs.key_file;
	assert_int_equal(validator_open(&s.conf, &s.v, &err), -PTA_ETLS);
	assert_non_null(strstr(err.text, certs.key_file));
}

static int start_slapd(void **state)
{
	static struct slapd_bed bed;

	if (!slapd_installed()) {
		print_message("slapd is not installed: tools/install-deps brings it\n");
		return -1;
	}
	slapd_bed_init(&bed, &certs, users);
	*state = &bed;
	return 0;
}

static int stop_slapd(void **state)
{
	slapd_bed_done(*state);
	return 0;
}

int main(void)
{
	static const char *const names[] = {"127.0.0.1", "::1", NULL};
	const struct CMUnitTest with_slapd[] = {
		cmocka_unit_test(slapd_tells_right_from_wrong),
		cmocka_unit_test(each_of_many_gets_its_own_verdict),
		cmocka_unit_test(a_restarted_server_is_used_again),
	};
	const struct CMUnitTest with_doubles[] = {
		cmocka_unit_test(every_answer_crosses_the_wire),
		cmocka_unit_test(a_busy_server_is_left_for_a_while),
		cmocka_unit_test(a_server_that_does_not_connect_is_passed_over),
		cmocka_unit_test(a_black_hole_is_passed_over),
		cmocka_unit_test(with_every_server_down_jobs_end_at_once_and_unsent),
		cmocka_unit_test(what_was_sent_is_never_sent_again),
		cmocka_unit_test(renegotiation_does_not_stop_the_thread),
		cmocka_unit_test(a_late_answer_is_not_the_next_ones),
		cmocka_unit_test(a_goodbye_behind_an_answer_ends_the_connection),
		cmocka_unit_test(a_connection_closed_while_idle_costs_nobody_anything),
		cmocka_unit_test(connections_grow_to_the_limit_and_no_further),
		cmocka_unit_test(too_many_jobs_are_refused),
		cmocka_unit_test(a_waiting_job_ends_at_its_deadline_unsent),
		cmocka_unit_test(empty_and_nul_passwords_reach_no_server),
		cmocka_unit_test(closing_ends_the_waiting_at_once_and_the_sent_at_the_deadline),
		cmocka_unit_test(closing_waits_for_the_answer_of_what_was_sent),
		cmocka_unit_test(only_the_right_certificate_gets_a_password),
		cmocka_unit_test(what_is_injected_before_starttls_is_not_an_answer),
		cmocka_unit_test(a_ca_file_without_certificates_is_refused),
	};
	int failed;

	/* What the environment says about TLS must not weaken anything. */
	setenv("LDAPTLS_REQCERT", "never", 1);
	setenv("LDAPTLS_REQSAN", "never", 1);
	test_certs_init(&certs, names);
	failed = cmocka_run_group_tests(with_slapd, start_slapd, stop_slapd);
	failed += cmocka_run_group_tests(with_doubles, NULL, NULL);
	test_certs_done(&certs);
	return failed;
}
