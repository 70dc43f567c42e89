#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "directory/krb5_profile.h"
#include "directory/validator_kerberos.h"
#include "job_try.h"
#include "kdc_double.h"
#include "krb5_bed.h"

static struct krb5_bed bed;
static char other_keytab[96]; /* of the same principal, with another key */

/* MIT's KDC has no names beside a principal's own: a UPN is one with an '@' in it. */
static const struct krb5_bed_user users[] = {
	{"alice", "right", NULL},
	{"alice\\@example.com", "right", NULL},
	{"olga\\@example.com", "right", "+requires_preauth -pwexpire 2001-01-01"},
	{"otto\\@example.com", "right", "-requires_preauth"},
	{"dora\\@example.com", "right", "+requires_preauth -allow_tix"},
	{"ed\\@example.com", "right", "+requires_preauth -expire 2001-01-01"},
	{NULL, NULL, NULL},
};

static void open_at(struct bench *bench, const struct directory_server *servers, size_t n)
{
	bench_init(bench);
	bench->conf.method = DIRECTORY_KERBEROS;
	bench->conf.keytab = bed.keytab;
	bench_open(bench, &validator_kerberos, servers, n);
}

static void open_bed(struct bench *bench)
{
	const struct directory_server server = krb5_bed_server(&bed);

	open_at(bench, &server, 1);
}

static void the_password_decides(void **state)
{
	static const struct {
		const char *name, *password;
		enum verdict_code code;
		bool sent;
	} rows[] = {
		{"alice@example.com", "right", VERDICT_SUCCESS, true},
		{"alice@example.com", "wrong", VERDICT_INVALID_CREDENTIALS, true},
		{"EXAMPLE\\alice", "right", VERDICT_SUCCESS, true},
		{"EXAMPLE\\alice", "wrong", VERDICT_INVALID_CREDENTIALS, true},
		{"nobody@example.com", "right", VERDICT_INVALID_CREDENTIALS, false},
		{"olga@example.com", "right", VERDICT_PASSWORD_EXPIRED, true},
		{"olga@example.com", "wrong", VERDICT_INVALID_CREDENTIALS, true},
		{"dora@example.com", "right", VERDICT_ACCOUNT_RESTRICTED, false},
		{"ed@example.com", "right", VERDICT_ACCOUNT_EXPIRED, false},
		{"otto@example.com", "right", VERDICT_SUCCESS, false},
		{"otto@example.com", "wrong", VERDICT_INVALID_CREDENTIALS, false},
	};
	struct bench bench;

	(void)state;
	open_bed(&bench);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct verdict got = job_try_one(&bench, rows[i].name, rows[i].password);

		assert_verdict(got, rows[i].code, 0, rows[i].sent);
		/* Only what the keytab verified is proved. */
		assert_int_equal(got.password_proved, rows[i].code == VERDICT_SUCCESS);
		assert_string_equal(got.dc, "127.0.0.1");
	}
	bench_close(&bench);
}

static void the_steps_are_told(void **state)
{
	struct bench bench;
	struct job_try t;

	(void)state;
	open_bed(&bench);
	job_try_init(&t, "alice", "right", 20000);
	assert_int_equal(job_try_start(&t, &bench), 0);
	assert_verdict(job_try_wait(&t), VERDICT_SUCCESS, 0, true);
	assert_string_equal(t.steps, "connect as-req as-rep ticket verify");
	job_try_init(&t, "alice", "wrong", 20000);
	assert_int_equal(job_try_start(&t, &bench), 0);
	assert_verdict(job_try_wait(&t), VERDICT_INVALID_CREDENTIALS, 0, true);
	assert_string_equal(t.steps, "connect as-req kdc-error");
	bench_close(&bench);
}

static void what_cannot_be_a_password_is_not_sent(void **state)
{
	struct kdc_double *d = kdc_double_new(KDC_PREAUTH);
	const struct directory_server server = kdc_double_server(d);
	struct bench bench;
	struct job_try t;
	unsigned before;

	(void)state;
	open_at(&bench, &server, 1);
	bench_wait_state(&bench, 0, "up");
	before = kdc_double_requests(d);
	assert_verdict(job_try_one(&bench, "alice@example.com", ""), VERDICT_INVALID_REQUEST, 0, false);
	job_try_init(&t, "alice", "right", 20000);
	secret_data(t.job.password)[2] = '\0';
	assert_int_equal(job_try_start(&t, &bench), 0);
	assert_verdict(job_try_wait(&t), VERDICT_INVALID_REQUEST, 0, false);
	job_try_init(&t, "alice", "right", 0);
	assert_int_equal(job_try_start(&t, &bench), 0);
	assert_verdict(job_try_wait(&t), VERDICT_UNAVAILABLE, REASON_TIMEOUT, false);
	assert_int_equal(kdc_double_requests(d), before);
	bench_close(&bench);
	kdc_double_free(d);
}

/* A name is one component of the principal, whatever is in it. */
static void no_name_becomes_another_principal(void **state)
{
	static const struct {
		const char *account;
		enum verdict_code code;
	} rows[] = {
		{"alice", VERDICT_SUCCESS},
		{"host/agent.example.com", VERDICT_INVALID_CREDENTIALS},
		{"alice@EXAMPLE.COM", VERDICT_INVALID_CREDENTIALS},
		{"alice\\@example.com", VERDICT_INVALID_CREDENTIALS},
	};
	struct bench bench;

	(void)state;
	open_bed(&bench);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct job_try t;

		job_try_init(&t, "somebody", "right", 20000);
		t.job.found = calloc(1, sizeof(*t.job.found));
		assert_non_null(t.job.found);
		snprintf(t.job.found->account, sizeof(t.job.found->account), "%s", rows[i].account);
		assert_int_equal(job_try_start(&t, &bench), 0);
		assert_verdict(job_try_wait(&t), rows[i].code, 0, rows[i].code == VERDICT_SUCCESS);
	}
	bench_close(&bench);
}

/* Before the password is sent, the next controller is asked. */
static void what_answers_nothing_is_passed_over(void **state)
{
	static const enum kdc_act acts[] = {KDC_SILENT, KDC_CUT, KDC_HALF_FRAME, KDC_HALF_SILENT, KDC_GARBAGE, KDC_HUGE, KDC_ERROR};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(acts); i++) {
		struct kdc_double *d = kdc_double_new(acts[i]);
		const struct directory_server servers[] = {kdc_double_server(d), krb5_bed_server(&bed)};
		struct bench bench;
		struct verdict got;

		kdc_double_error(d, 29, NULL, 0);
		bench_init(&bench);
		bench.conf.method = DIRECTORY_KERBEROS;
		bench.conf.keytab = bed.keytab;
		bench.conf.connect_timeout = 300;
		bench_open(&bench, &validator_kerberos, servers, 2);
		got = job_try_one(&bench, "alice@example.com", "right");
		assert_verdict(got, VERDICT_SUCCESS, 0, true);
		assert_int_equal(kdc_double_proofs(d), 0);
		bench_close(&bench);
		kdc_double_free(d);
	}
}

static void a_dead_controller_is_passed_over(void **state)
{
	struct kdc_double *d = kdc_double_new(KDC_PREAUTH);
	const struct directory_server servers[] = {kdc_double_server(d), krb5_bed_server(&bed)};
	struct bench bench;
	struct job_try t;

	(void)state;
	kdc_double_free(d);
	open_at(&bench, servers, 2);
	assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_SUCCESS, 0, true);
	bench_close(&bench);
	/* Alone, it is down as soon as it was probed. */
	open_at(&bench, servers, 1);
	bench_wait_state(&bench, 0, "down");
	job_try_init(&t, "alice", "right", 20000);
	assert_int_equal(job_try_start(&t, &bench), -PTA_ENODC);
	secret_free(t.job.password);
	bench_close(&bench);
}

/* Behind it, nobody is. */
static void a_sent_password_is_not_sent_again(void **state)
{
	static const struct {
		enum kdc_act act;
		int error;
		enum verdict_code code;
		enum verdict_reason reason;
	} rows[] = {
		{KDC_SILENT_PROOF, 0, VERDICT_UNAVAILABLE, REASON_TIMEOUT},
		{KDC_CUT_PROOF, 0, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE},
		{KDC_PREAUTH, 24, VERDICT_INVALID_CREDENTIALS, 0},
		{KDC_PREAUTH, 29, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE},
		{KDC_PREAUTH, 37, VERDICT_UNAVAILABLE, REASON_CLOCK_SKEW},
		{KDC_PREAUTH, 60, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
		{KDC_PREAUTH, 23, VERDICT_PASSWORD_EXPIRED, 0},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct kdc_double *d = kdc_double_new(rows[i].act), *second = kdc_double_new(KDC_PREAUTH);
		const struct directory_server servers[] = {kdc_double_server(d), kdc_double_server(second)};
		struct verdict got;
		struct bench bench;

		kdc_double_error(d, rows[i].error, NULL, 0);
		bench_init(&bench);
		bench.conf.method = DIRECTORY_KERBEROS;
		bench.conf.keytab = bed.keytab;
		bench.conf.bind_timeout = 300;
		bench_open(&bench, &validator_kerberos, servers, 2);
		bench_wait_state(&bench, 0, "up");
		got = job_try_one(&bench, "alice@example.com", "right");
		assert_verdict(got, rows[i].code, rows[i].reason, true);
		assert_false(got.password_proved);
		assert_int_equal(kdc_double_proofs(d), 1);
		assert_int_equal(kdc_double_proofs(second), 0);
		bench_close(&bench);
		kdc_double_free(d);
		kdc_double_free(second);
	}
}

/* Errors that came before the password was needed. */
static void an_answer_without_the_password_is_final(void **state)
{
	static const struct {
		enum kdc_act act;
		int error;
		uint32_t status;
		enum verdict_code code;
		enum verdict_reason reason;
	} rows[] = {
		{KDC_ERROR, 6, 0, VERDICT_INVALID_CREDENTIALS, 0},
		{KDC_ERROR, 18, 0xc0000072, VERDICT_ACCOUNT_DISABLED, 0},
		{KDC_ERROR, 18, 0xc0000193, VERDICT_ACCOUNT_EXPIRED, 0},
		{KDC_ERROR, 18, 0, VERDICT_ACCOUNT_RESTRICTED, 0},
		{KDC_ERROR, 23, 0xc0000071, VERDICT_PASSWORD_EXPIRED, 0},
		{KDC_ERROR, 23, 0xc0000224, VERDICT_PASSWORD_MUST_CHANGE, 0},
		{KDC_ERROR, 60, 0, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
		{KDC_REFERRAL, 0, 0, VERDICT_UNAVAILABLE, REASON_NOT_CONFIGURED},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct kdc_double *d = kdc_double_new(KDC_PREAUTH);
		const struct directory_server server = kdc_double_server(d);
		unsigned char e_data[64];
		struct verdict got;
		struct bench bench;

		kdc_double_error(d, rows[i].error, e_data, rows[i].status ? kdc_e_data(KDC_ERROR_DATA, rows[i].status, e_data) : 0);
		open_at(&bench, &server, 1);
		bench_wait_state(&bench, 0, "up");
		kdc_double_act(d, rows[i].act);
		got = job_try_one(&bench, "alice@example.com", "right");
		assert_verdict(got, rows[i].code, rows[i].reason, false);
		assert_false(got.password_proved);
		assert_int_equal(kdc_double_proofs(d), 0);
		bench_close(&bench);
		kdc_double_free(d);
	}
}

static void a_ticket_that_the_keytab_does_not_open_proves_nothing(void **state)
{
	const struct directory_server server = krb5_bed_server(&bed);
	struct verdict got;
	struct bench bench;

	(void)state;
	bench_init(&bench);
	bench.conf.method = DIRECTORY_KERBEROS;
	bench.conf.keytab = other_keytab;
	bench_open(&bench, &validator_kerberos, &server, 1);
	got = job_try_one(&bench, "alice@example.com", "right");
	assert_verdict(got, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, true);
	assert_false(got.password_proved);
	assert_non_null(strstr(got.detail, "keytab"));
	assert_verdict(job_try_one(&bench, "alice@example.com", "wrong"), VERDICT_INVALID_CREDENTIALS, 0, true);
	bench_close(&bench);
}

static void a_keytab_that_vanished_proves_nothing(void **state)
{
	const struct directory_server server = krb5_bed_server(&bed);
	char path[96], command[256];
	struct bench bench;

	(void)state;
	bench_init(&bench);
	bench.conf.method = DIRECTORY_KERBEROS;
	bench.conf.keytab = path;
	snprintf(path, sizeof(path), "%s/gone.keytab", bed.dir);
	snprintf(command, sizeof(command), "%s", KRB5_BED_HOST);
	krb5_bed_keytab(&bed, command, path);
	bench_open(&bench, &validator_kerberos, &server, 1);
	assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_SUCCESS, 0, true);
	assert_int_equal(remove(path), 0);
	assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, true);
	bench_close(&bench);
}

static void a_keytab_of_no_use_is_refused_at_start(void **state)
{
	static char missing[] = "/nonexistent/keytab", realm[] = "ELSEWHERE.COM";
	struct directory_conf conf = {.name = (char[]){"example.com"}, .method = DIRECTORY_KERBEROS, .connections = 1, .keytab = missing};
	struct dc_pool *pool;
	struct validator *v;
	struct err err = {""};

	(void)state;
	assert_int_equal(dc_pool_new(&conf, &pool, &err), 0);
	assert_int_equal(validator_kerberos.open(&conf, pool, &v, &err), -PTA_EIO);
	assert_non_null(strstr(err.text, missing));
	conf.keytab = bed.keytab;
	conf.realm = realm;
	assert_int_equal(validator_kerberos.open(&conf, pool, &v, &err), -PTA_ENOENT);
	assert_non_null(strstr(err.text, "no key of a principal of this section's realm"));
	dc_pool_free(pool);
}

static void a_probe_finds_the_controller_again(void **state)
{
	const struct directory_server server = krb5_bed_server(&bed);
	struct bench bench;

	(void)state;
	open_at(&bench, &server, 1);
	assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_SUCCESS, 0, true);
	krb5_bed_stop(&bed);
	assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, false);
	assert_string_not_equal(bench_report(&bench, 0).state, "up");
	assert_int_equal(bench.v->method->capacity(bench.v), 0);
	krb5_bed_start(&bed);
	bench_wait_state(&bench, 0, "up");
	assert_int_equal(bench.v->method->capacity(bench.v), 4);
	assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_SUCCESS, 0, true);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_password_decides),
		cmocka_unit_test(the_steps_are_told),
		cmocka_unit_test(what_cannot_be_a_password_is_not_sent),
		cmocka_unit_test(no_name_becomes_another_principal),
		cmocka_unit_test(what_answers_nothing_is_passed_over),
		cmocka_unit_test(a_dead_controller_is_passed_over),
		cmocka_unit_test(a_sent_password_is_not_sent_again),
		cmocka_unit_test(an_answer_without_the_password_is_final),
		cmocka_unit_test(a_ticket_that_the_keytab_does_not_open_proves_nothing),
		cmocka_unit_test(a_keytab_that_vanished_proves_nothing),
		cmocka_unit_test(a_keytab_of_no_use_is_refused_at_start),
		cmocka_unit_test(a_probe_finds_the_controller_again),
	};
	struct err err = {""};
	int failed;

	if (!krb5_bed_installed())
		return 1;
	krb5_bed_init(&bed, users);
	/* The same principal and key version, of before: the KDC has another key now. */
	snprintf(other_keytab, sizeof(other_keytab), "%s/other.keytab", bed.dir);
	krb5_bed_keytab(&bed, KRB5_BED_HOST, other_keytab);
	krb5_bed_kadmin(&bed, "delprinc -force " KRB5_BED_HOST "\naddprinc -randkey -clearpolicy " KRB5_BED_HOST "\n");
	if (remove(bed.keytab) < 0)
		return 1;
	krb5_bed_keytab(&bed, KRB5_BED_HOST, bed.keytab);
	if (setenv("KRB5_CONFIG", bed.krb5_conf, 1) < 0 || krb5_profile_init(&err) < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	krb5_bed_done(&bed);
	return failed;
}
