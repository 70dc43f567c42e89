#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <krb5.h>
#include <ldap.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/krb5_profile.h"
#include "directory/validator_gssapi.h"
#include "job_try.h"
#include "kdc_double.h"
#include "krb5_bed.h"
#include "ldap_double.h"
#include "slapd_bed.h"

/* Of libldap: the name for which it verifies the certificate of "localhost". */
char *ldap_pvt_get_fqdn(char *name);

static struct krb5_bed bed;
static struct slapd_bed slapd;
static struct test_certs certs, strangers; /* the latter of a CA that nobody trusts */

/* MIT's KDC has no names beside a principal's own: a UPN is one with an '@' in it. */
static const struct krb5_bed_user users[] = {
	{"alice", "right", NULL},
	{"alice\\@example.com", "right", NULL},
	{"olga\\@example.com", "right", "+requires_preauth -pwexpire 2001-01-01"},
	{"otto\\@example.com", "right", "-requires_preauth"},
	{"dora\\@example.com", "right", "+requires_preauth -allow_tix"},
	{"ldap/localhost", NULL, "-requires_preauth"},
	{NULL, NULL, NULL},
};

static const struct slapd_user entries[] = {{"alice", "unused"}, {NULL, NULL}};

/* A controller: LDAP there, and the bed's KDC. */
static struct directory_server server_at(unsigned port)
{
	return (struct directory_server){.host = "localhost", .port = port, .kdc_port = bed.port};
}

static void init_at(struct bench *bench, int tls)
{
	bench_init(bench);
	bench->conf.method = DIRECTORY_GSSAPI;
	bench->conf.tls = tls;
	bench->conf.ca_file = certs.ca_file;
}

static void open_slapd(struct bench *bench, int tls)
{
	const struct directory_server server = server_at(tls == DIRECTORY_LDAPS ? slapd.ldaps_port : slapd.ldap_port);

	init_at(bench, tls);
	bench_open(bench, &validator_gssapi, &server, 1);
}

static const int all_tls[] = {DIRECTORY_LDAPS, DIRECTORY_STARTTLS, DIRECTORY_TLS_NONE};

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
		{"nobody@example.com", "right", VERDICT_INVALID_CREDENTIALS, false},
		{"olga@example.com", "right", VERDICT_PASSWORD_EXPIRED, true},
		{"dora@example.com", "right", VERDICT_ACCOUNT_RESTRICTED, false},
		{"otto@example.com", "right", VERDICT_SUCCESS, false},
		{"otto@example.com", "wrong", VERDICT_INVALID_CREDENTIALS, false},
	};

	(void)state;
	for (size_t k = 0; k < PTA_ARRAY_SIZE(all_tls); k++) {
		struct bench bench;

		open_slapd(&bench, all_tls[k]);
		for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
			struct verdict got = job_try_one(&bench, rows[i].name, rows[i].password);

			assert_verdict(got, rows[i].code, 0, rows[i].sent);
			assert_int_equal(got.password_proved, rows[i].code == VERDICT_SUCCESS);
			assert_string_equal(got.dc, "localhost");
		}
		bench_close(&bench);
	}
}

static void the_steps_are_told(void **state)
{
	struct bench bench;
	struct job_try t;

	(void)state;
	open_slapd(&bench, DIRECTORY_LDAPS);
	job_try_init(&t, "alice", "right", 20000);
	assert_int_equal(job_try_start(&t, &bench), 0);
	assert_verdict(job_try_wait(&t), VERDICT_SUCCESS, 0, true);
	assert_string_equal(t.steps, "connect connect as-req as-rep ticket bind");
	bench_close(&bench);
}

/* Sixteen at a time, right and wrong ones: nobody gets another's tickets. */
static void many_at_a_time_stay_apart(void **state)
{
	struct job_try tries[64];
	struct bench bench;

	(void)state;
	init_at(&bench, DIRECTORY_LDAPS);
	bench.conf.connections = 16;
	bench_open(&bench, &validator_gssapi, &(const struct directory_server){.host = "localhost", .port = slapd.ldaps_port, .kdc_port = bed.port}, 1);
	for (size_t i = 0; i < 64; i++) {
		job_try_init(&tries[i], i % 4 == 3 ? "otto" : "alice", i % 2 ? "right" : "wrong", 60000);
		assert_int_equal(job_try_start(&tries[i], &bench), 0);
	}
	for (size_t i = 0; i < 64; i++)
		assert_int_equal(job_try_wait(&tries[i]).code, i % 2 ? VERDICT_SUCCESS : VERDICT_INVALID_CREDENTIALS);
	bench_close(&bench);
}

static void no_ticket_stays(void **state)
{
	krb5_context context;
	krb5_cccol_cursor cursor;
	krb5_ccache ccache;
	struct bench bench;
	unsigned n = 0;

	(void)state;
	open_slapd(&bench, DIRECTORY_LDAPS);
	assert_int_equal(job_try_one(&bench, "alice@example.com", "right").code, VERDICT_SUCCESS);
	assert_int_equal(job_try_one(&bench, "alice@example.com", "wrong").code, VERDICT_INVALID_CREDENTIALS);
	bench_close(&bench);
	assert_int_equal(krb5_init_context(&context), 0);
	assert_int_equal(krb5_cccol_cursor_new(context, &cursor), 0);
	while (krb5_cccol_cursor_next(context, cursor, &ccache) == 0 && ccache) {
		n += strcmp(krb5_cc_get_type(context, ccache), "MEMORY") == 0;
		krb5_cc_close(context, ccache);
	}
	krb5_cccol_cursor_free(context, &cursor);
	krb5_free_context(context);
	assert_int_equal(n, 0);
}

/* Without the LDAP connection the KDC is not asked at all. */
static void a_controller_without_ldap_is_passed_over(void **state)
{
	static const enum double_act acts[] = {ACT_CLOSE_ACCEPT, ACT_SILENT_ACCEPT, ACT_HALF_HANDSHAKE, ACT_GARBAGE};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(acts); i++) {
		struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, acts[i]);
		struct kdc_double *kdc = kdc_double_new(KDC_PREAUTH);
		struct directory_server servers[] = {server_at(ldap_double_port(d)), server_at(slapd.ldaps_port)};
		struct bench bench;

		servers[0].kdc_port = kdc_double_server(kdc).kdc_port;
		init_at(&bench, DIRECTORY_LDAPS);
		bench.conf.connect_timeout = 1000;
		bench_open(&bench, &validator_gssapi, servers, 2);
		assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_SUCCESS, 0, true);
		assert_int_equal(kdc_double_requests(kdc), 0);
		bench_close(&bench);
		ldap_double_free(d);
		kdc_double_free(kdc);
	}
}

static void a_controller_that_cannot_prove_its_name_gets_nothing(void **state)
{
	struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, strangers.server, ACT_ANSWER);
	struct kdc_double *kdc = kdc_double_new(KDC_PREAUTH);
	struct directory_server server = server_at(ldap_double_port(d));
	struct bench bench;

	(void)state;
	server.kdc_port = kdc_double_server(kdc).kdc_port;
	init_at(&bench, DIRECTORY_LDAPS);
	bench_open(&bench, &validator_gssapi, &server, 1);
	bench_wait_state(&bench, 0, "down");
	assert_non_null(strstr(bench_report(&bench, 0).last_error, "certificate"));
	assert_int_equal(kdc_double_requests(kdc), 0);
	assert_int_equal(ldap_double_binds(d), 0);
	bench_close(&bench);
	ldap_double_free(d);
	kdc_double_free(kdc);
}

/* What a controller makes of a good ticket. */
static void a_refused_bind_is_no_denial_of_the_password(void **state)
{
	static const struct {
		int result;
		const char *text;
		enum verdict_code code;
		enum verdict_reason reason;
		bool proved;
	} rows[] = {
		{49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 533, v4563", VERDICT_ACCOUNT_DISABLED, 0, true},
		{49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 530, v4563", VERDICT_LOGON_HOURS, 0, true},
		{49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false},
		{49, "80090346: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 80090346, v4563", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR,
			false},
		{49, "", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false},
		{49, "SASL(-13): authentication failure", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false},
		{8, "strong auth required", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false},
		{7, "", VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false},
		{51, "busy", VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, false},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
		const struct directory_server server = server_at(ldap_double_port(d));
		struct verdict got;
		struct bench bench;

		ldap_double_result(d, rows[i].result, rows[i].text);
		init_at(&bench, DIRECTORY_LDAPS);
		bench_open(&bench, &validator_gssapi, &server, 1);
		got = job_try_one(&bench, "alice@example.com", "right");
		assert_verdict(got, rows[i].code, rows[i].reason, true);
		assert_int_equal(got.password_proved, rows[i].proved);
		assert_int_equal(ldap_double_binds(d), 1);
		bench_close(&bench);
		ldap_double_free(d);
	}
}

/* Without TLS anybody can answer a bind. Nothing that he says opens anything. */
static void an_answer_without_proof_is_no_success(void **state)
{
	static const enum double_tls tls[] = {DOUBLE_PLAIN, DOUBLE_LDAPS};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(tls); i++) {
		struct ldap_double *d = ldap_double_new(tls[i], certs.server, ACT_ANSWER);
		const struct directory_server server = server_at(ldap_double_port(d));
		struct verdict got;
		struct bench bench;

		ldap_double_result(d, 0, "");
		init_at(&bench, tls[i] == DOUBLE_PLAIN ? DIRECTORY_TLS_NONE : DIRECTORY_LDAPS);
		bench_open(&bench, &validator_gssapi, &server, 1);
		got = job_try_one(&bench, "alice@example.com", "right");
		assert_verdict(got, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, true);
		assert_false(got.password_proved);
		bench_close(&bench);
		ldap_double_free(d);
	}
}

static void a_bind_without_an_answer_is_not_repeated(void **state)
{
	static const struct {
		enum double_act act;
		enum verdict_reason reason;
	} rows[] = {
		{ACT_SILENT_BIND, REASON_TIMEOUT},
		{ACT_CUT_BIND, REASON_DIRECTORY_UNREACHABLE},
		{ACT_HALF_ANSWER, REASON_DIRECTORY_UNREACHABLE},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, rows[i].act),
				   *other = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
		const struct directory_server servers[] = {server_at(ldap_double_port(d)), server_at(ldap_double_port(other))};
		struct bench bench;

		init_at(&bench, DIRECTORY_LDAPS);
		bench.conf.bind_timeout = 500;
		bench_open(&bench, &validator_gssapi, servers, 2);
		bench_wait_state(&bench, 0, "up");
		assert_verdict(job_try_one(&bench, "alice@example.com", "right"), VERDICT_UNAVAILABLE, rows[i].reason, true);
		assert_int_equal(ldap_double_binds(d), 1);
		assert_int_equal(ldap_double_binds(other), 0);
		bench_close(&bench);
		ldap_double_free(d);
		ldap_double_free(other);
	}
}

/* Somebody in the middle, whose certificate the client trusts: he passes on what both say. */
struct relay {
	int listener;
	unsigned port, relayed;
	pthread_t thread;
};

static SSL *tls_client(unsigned port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	SSL_CTX_free(ctx);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1)
		abort();
	return ssl;
}

/* False: it ended. */
static bool pass_on(SSL *from, SSL *to)
{
	char data[16384];
	int n;

	do {
		n = SSL_read(from, data, sizeof(data));
		if (n > 0 && SSL_write(to, data, n) != n)
			return false;
	} while (n > 0 && SSL_pending(from) > 0);
	return n > 0 || SSL_get_error(from, n) == SSL_ERROR_WANT_READ;
}

static void end_tls(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);

	SSL_free(ssl);
	close(fd);
}

static void *relay_all(void *arg)
{
	struct relay *relay = arg;

	for (;;) {
		int fd = accept(relay->listener, NULL, NULL);
		SSL *client, *server;
		bool goes_on;

		if (fd < 0)
			return NULL;
		client = SSL_new(strangers.server);
		if (!client || SSL_set_fd(client, fd) != 1 || SSL_accept(client) != 1)
			abort();
		server = tls_client(slapd.ldaps_port);
		/* A session ticket is readable and no data. */
		fcntl(fd, F_SETFL, O_NONBLOCK);
		fcntl(SSL_get_fd(server), F_SETFL, O_NONBLOCK);
		do {
			struct pollfd pfds[] = {{.fd = fd, .events = POLLIN}, {.fd = SSL_get_fd(server), .events = POLLIN}};

			poll(pfds, 2, -1);
			goes_on = pass_on(client, server) && pass_on(server, client);
		} while (goes_on);
		relay->relayed++;
		end_tls(server);
		end_tls(client);
	}
}

static void relay_start(struct relay *relay)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	*relay = (struct relay){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	if (bind(relay->listener, (struct sockaddr *)&address, len) < 0 || listen(relay->listener, 8) < 0 ||
		getsockname(relay->listener, (struct sockaddr *)&address, &len) < 0 || pthread_create(&relay->thread, NULL, relay_all, relay) != 0)
		abort();
	relay->port = ntohs(address.sin_port);
}

static void relay_stop(struct relay *relay)
{
	shutdown(relay->listener, SHUT_RDWR);
	pthread_join(relay->thread, NULL);
	close(relay->listener);
}

/* The bind is bound to the TLS connection that the agent sees: it is not good on another. */
static void a_bind_is_of_no_use_on_another_connection(void **state)
{
	struct relay relay;
	struct directory_server server;
	struct verdict got;
	struct bench bench;

	(void)state;
	relay_start(&relay);
	server = server_at(relay.port);
	init_at(&bench, DIRECTORY_LDAPS);
	bench.conf.ca_file = strangers.ca_file;
	bench_open(&bench, &validator_gssapi, &server, 1);
	bench_wait_state(&bench, 0, "up");
	got = job_try_one(&bench, "alice@example.com", "right");
	assert_verdict(got, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, true);
	assert_non_null(strstr(got.detail, "49"));
	bench_close(&bench);
	relay_stop(&relay);
	/* The probe's and the bind's. */
	assert_true(relay.relayed >= 2);
}

static void an_address_is_no_name(void **state)
{
	static const int tls[] = {DIRECTORY_LDAPS, DIRECTORY_TLS_NONE};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(tls); i++) {
		struct directory_server server = server_at(tls[i] == DIRECTORY_LDAPS ? slapd.ldaps_port : slapd.ldap_port);
		struct bench bench;

		snprintf(server.host, sizeof(server.host), "127.0.0.1");
		init_at(&bench, tls[i]);
		bench_open(&bench, &validator_gssapi, &server, 1);
		bench_wait_state(&bench, 0, "down");
		assert_non_null(strstr(bench_report(&bench, 0).last_error, "gssapi"));
		bench_close(&bench);
	}
}

/* The last one: it takes the service's key away. */
static void a_controller_that_the_kdc_does_not_know_is_a_fault(void **state)
{
	struct verdict got;
	struct bench bench;

	(void)state;
	krb5_bed_kadmin(&bed, "delprinc -force ldap/localhost\n");
	open_slapd(&bench, DIRECTORY_LDAPS);
	got = job_try_one(&bench, "alice@example.com", "right");
	assert_verdict(got, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, true);
	assert_non_null(strstr(got.detail, "ldap/localhost@EXAMPLE.COM"));
	assert_verdict(job_try_one(&bench, "alice@example.com", "wrong"), VERDICT_INVALID_CREDENTIALS, 0, true);
	/* One that the server cannot open. */
	krb5_bed_kadmin(&bed, "addprinc -randkey ldap/localhost\n");
	got = job_try_one(&bench, "alice@example.com", "right");
	assert_verdict(got, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, true);
	bench_close(&bench);
}

static void start_slapd(void)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/ldap.keytab", bed.dir);
	krb5_bed_keytab(&bed, "ldap/localhost", path);
	if (setenv("KRB5_KTNAME", path, 1) < 0)
		abort();
	slapd_bed_init(&slapd, &certs, entries);
	slapd_bed_stop(&slapd);
	snprintf(path, sizeof(path), "%s/slapd.conf", slapd.dir);
	file = fopen(path, "a");
	if (!file || fprintf(file, "\nsasl-host localhost\nsasl-cbinding tls-endpoint\n") < 0 || fclose(file) != 0)
		abort();
	slapd_bed_start(&slapd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_password_decides),
		cmocka_unit_test(the_steps_are_told),
		cmocka_unit_test(many_at_a_time_stay_apart),
		cmocka_unit_test(no_ticket_stays),
		cmocka_unit_test(a_controller_without_ldap_is_passed_over),
		cmocka_unit_test(a_controller_that_cannot_prove_its_name_gets_nothing),
		cmocka_unit_test(a_refused_bind_is_no_denial_of_the_password),
		cmocka_unit_test(an_answer_without_proof_is_no_success),
		cmocka_unit_test(a_bind_without_an_answer_is_not_repeated),
		cmocka_unit_test(a_bind_is_of_no_use_on_another_connection),
		cmocka_unit_test(an_address_is_no_name),
		cmocka_unit_test(a_controller_that_the_kdc_does_not_know_is_a_fault),
	};
	char *own_name = ldap_pvt_get_fqdn(NULL);
	const char *names[] = {"127.0.0.1", "localhost", own_name, NULL};
	struct err err = {""};
	int failed;

	if (!krb5_bed_installed() || !slapd_installed())
		return 1;
	test_certs_init(&certs, names);
	test_certs_init(&strangers, names);
	ldap_memfree(own_name);
	krb5_bed_init(&bed, users);
	if (setenv("KRB5_CONFIG", bed.krb5_conf, 1) < 0)
		return 1;
	/* Before the profile, whose first file is of this process only. */
	start_slapd();
	if (krb5_profile_init(&err) < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	slapd_bed_done(&slapd);
	krb5_bed_done(&bed);
	test_certs_done(&strangers);
	test_certs_done(&certs);
	return failed;
}
