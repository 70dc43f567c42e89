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

/* Many binds on one connection, answered in another order than they were sent. */
static void fast_bind_takes_many_at_a_time_and_mixes_up_none(void **state)
{
	enum { TRIES = 64, AT_ONCE = 8 };
	static struct try tries[AT_ONCE];
	struct ldap_double *d;
	struct section s;

	(void)state;
	d = open_double(&s, ACT_ANSWER);
	s.conf.connections = AT_ONCE;
	ldap_double_offer_fast_bind(d, false);
	section_open(&s);
	/* One connection is there before the first of many comes. */
	assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	ldap_double_reverse(d, AT_ONCE);
	for (int round = 0; round < TRIES / AT_ONCE; round++) {
		for (int i = 0; i < AT_ONCE; i++)
			try_start(&tries[i], s.v, "anna", (i + round) % 3 ? "wrong" : "right");
		for (int i = 0; i < AT_ONCE; i++)
			assert_verdict(try_wait(&tries[i]), (i + round) % 3 ? VERDICT_INVALID_CREDENTIALS : VERDICT_SUCCESS, 0, true);
	}
	assert_int_equal(ldap_double_connections(d), 1);
	assert_int_equal(ldap_double_fast_connections(d), 1);
	assert_int_equal(ldap_double_binds(d), TRIES + 1);
	section_close(&s);
	ldap_double_free(d);
}

static void a_lost_fast_connection_loses_each_of_its_binds_once(void **state)
{
	enum { AT_ONCE = 4 };
	static struct try tries[AT_ONCE];
	struct ldap_double *d;
	struct section s;

	(void)state;
	d = open_double(&s, ACT_ANSWER);
	ldap_double_offer_fast_bind(d, false);
	section_open(&s);
	assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	ldap_double_reverse(d, AT_ONCE + 1);
	for (int i = 0; i < AT_ONCE; i++)
		try_start(&tries[i], s.v, "anna", "right");
	ldap_double_wait_binds(d, AT_ONCE + 1);
	ldap_double_drop(d);
	for (int i = 0; i < AT_ONCE; i++)
		assert_verdict(try_wait(&tries[i]), VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, true);
	assert_int_equal(ldap_double_binds(d), AT_ONCE + 1);
	section_close(&s);
	ldap_double_free(d);
}

/* One that gets no answer ends alone; the others on its connection go on, and no further bind is put beside them. */
static void a_fast_bind_without_an_answer_takes_no_other_with_it(void **state)
{
	struct ldap_double *d;
	struct try lost, held;
	struct section s;

	(void)state;
	d = open_double(&s, ACT_ANSWER);
	ldap_double_offer_fast_bind(d, false);
	section_open(&s);
	assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	ldap_double_reverse(d, 2);
	try_init(&lost, "anna", "wrong", 5, 300);
	assert_int_equal(validator_start(s.v, &lost.job), 0);
	assert_verdict(try_wait(&lost), VERDICT_UNAVAILABLE, REASON_TIMEOUT, true);
	assert_int_equal(ldap_double_connections(d), 1);
	ldap_double_act(d, ACT_ANSWER);
	/* On a second connection. */
	try_start(&held, s.v, "anna", "right");
	assert_verdict(try_wait(&held), VERDICT_SUCCESS, 0, true);
	assert_int_equal(ldap_double_connections(d), 2);
	section_close(&s);
	ldap_double_free(d);
}

static void where_fast_bind_is_refused_binds_go_one_by_one(void **state)
{
	struct ldap_double *d;
	struct section s;

	(void)state;
	d = open_double(&s, ACT_ANSWER);
	ldap_double_offer_fast_bind(d, true);
	section_open(&s);
	for (int i = 0; i < 3; i++)
		assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	assert_int_equal(ldap_double_fast_connections(d), 0);
	assert_int_equal(ldap_double_connections(d), 1);
	section_close(&s);
	ldap_double_free(d);
}

/* Its old connections ended and new ones come about no more: nobody waits for the connect's time-out. */
static void a_dc_that_takes_connections_and_is_silent_is_left_before_the_connect_time_out(void **state)
{
	struct ldap_double *first = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER), *second = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
	const unsigned ports[2] = {ldap_double_port(first), ldap_double_port(second)};
	struct section s;

	(void)state;
	section_init(&s, DIRECTORY_LDAPS, ports, 2);
	s.conf.connect_timeout = 60000;
	section_open(&s);
	section_settle(&s);
	assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	assert_true(report_of(&s, 0).in_use);
	ldap_double_act(first, ACT_SILENT_ACCEPT);
	ldap_double_drop(first);
	while (report_of(&s, 0).connections > 0)
		poll(NULL, 0, 1);
	assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	assert_string_equal(report_of(&s, 0).state, "suspect");
	assert_int_equal(ldap_double_binds(second), 1);
	/* Ends the connect that still waits. */
	ldap_double_drop(first);
	section_close(&s);
	ldap_double_free(first);
	ldap_double_free(second);
}

static void referrals_take_no_password_elsewhere(void **state)
{
	struct ldap_double *d, *other = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
	struct section s;
	char url[64];

	(void)state;
	d = open_double(&s, ACT_ANSWER);
	snprintf(url, sizeof(url), "ldaps://127.0.0.1:%u/", ldap_double_port(other));
	ldap_double_refer(d, url);
	section_open(&s);
	for (int i = 0; i < 3; i++)
		assert_verdict(try_one(s.v, "anna", "right"), VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, true);
	assert_int_equal(ldap_double_binds(d), 3);
	assert_int_equal(ldap_double_connections(other), 0);
	section_close(&s);
	ldap_double_free(d);
	ldap_double_free(other);
}

static void a_controller_may_have_an_ipv6_address_only(void **state)
{
	struct ldap_double *d = ldap_double_new6(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
	const unsigned port = ldap_double_port(d);
	struct section s;

	(void)state;
	section_init(&s, DIRECTORY_LDAPS, &port, 1);
	snprintf(s.names[0], sizeof(s.names[0]), "[::1]:%u", port);
	section_open(&s);
	assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	assert_string_equal(report_of(&s, 0).host, "::1");
	section_close(&s);
	ldap_double_free(d);
}

/* A DC that goes silent is left for another long before its bind times out. */
static void a_silent_dc_is_left_before_its_time_out(void **state)
{
	struct ldap_double *first = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER), *second = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
	const unsigned ports[2] = {ldap_double_port(first), ldap_double_port(second)};
	struct dc_report report;
	struct section s;
	struct try lost;

	(void)state;
	section_init(&s, DIRECTORY_LDAPS, ports, 2);
	section_open(&s);
	assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	while (strcmp(report_of(&s, 0).state, "up") != 0 || !report_of(&s, 0).in_use)
		assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	ldap_double_act(first, ACT_HOLD_BIND);
	try_start(&lost, s.v, "anna", "right");
	do {
		poll(NULL, 0, 5);
		report = report_of(&s, 0);
	} while (strcmp(report.state, "suspect") != 0);
	for (int i = 0; i < 5; i++)
		assert_verdict(try_one(s.v, "anna", "right"), VERDICT_SUCCESS, 0, true);
	assert_true(report_of(&s, 1).in_use);
	assert_in_range(report_of(&s, 1).binds, 5, 1000);
	/* Its late answer is still the verdict. */
	ldap_double_release(first);
	assert_verdict(try_wait(&lost), VERDICT_SUCCESS, 0, true);
	assert_string_equal(report_of(&s, 0).state, "up");
	section_close(&s);
	ldap_double_free(first);
	ldap_double_free(second);
}

int main(void)
{
	static const char *const names[] = {"127.0.0.1", "::1", NULL};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fast_bind_takes_many_at_a_time_and_mixes_up_none),
		cmocka_unit_test(a_lost_fast_connection_loses_each_of_its_binds_once),
		cmocka_unit_test(a_fast_bind_without_an_answer_takes_no_other_with_it),
		cmocka_unit_test(where_fast_bind_is_refused_binds_go_one_by_one),
		cmocka_unit_test(a_dc_that_takes_connections_and_is_silent_is_left_before_the_connect_time_out),
		cmocka_unit_test(referrals_take_no_password_elsewhere),
		cmocka_unit_test(a_controller_may_have_an_ipv6_address_only),
		cmocka_unit_test(a_silent_dc_is_left_before_its_time_out),
	};
	int failed;

	test_certs_init(&certs, names);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	test_certs_done(&certs);
	return failed;
}
