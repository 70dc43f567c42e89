#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/dial.h"
#include "directory/ldap_conn.h"
#include "ldap_double.h"
#include "test_certs.h"

static struct test_certs certs;
static char section_name[] = "example.com";

struct bed {
	struct directory_conf conf;
	struct directory_server server;
	struct ldap_tls *tls;
	struct ldap_double *d;
};

static void bed_init(struct bed *bed, int tls, enum double_tls mode, enum double_act act)
{
	struct err err = {""};

	*bed = (struct bed){.conf = {.name = section_name, .tls = tls, .ca_file = certs.ca_file, .connect_timeout = 10000, .bind_timeout = 10000}};
	bed->d = ldap_double_new(mode, certs.server, act);
	bed->server = (struct directory_server){.host = "127.0.0.1", .port = ldap_double_port(bed->d)};
	if (ldap_tls_new(&bed->conf, &bed->tls, &err) < 0)
		fail_msg("%s", err.text);
}

static void bed_done(struct bed *bed)
{
	ldap_tls_free(bed->tls);
	ldap_double_free(bed->d);
}

static struct ldap_conn *must_open(struct bed *bed)
{
	struct ldap_conn *conn = NULL;
	struct err err = {""};

	if (ldap_conn_open(&bed->conf, &bed->server, bed->tls, clock_mono_us() + 10000000, &conn, &err) < 0)
		fail_msg("%s", err.text);
	return conn;
}

/* Of the bind that was sent last, here always the only one. */
static int id;

static int wait_answer(struct ldap_conn *conn, struct verdict *verdict, struct err *err)
{
	enum ad_status_health health;
	int r = 0;

	while (r == 0) {
		assert_int_equal(dial_wait(ldap_conn_fd(conn), POLLIN, clock_mono_us() + 10000000), 0);
		r = ldap_conn_bind_answer(conn, &id, verdict, &health, err);
	}
	return r;
}

static struct verdict bind_once(struct ldap_conn *conn, const char *password)
{
	struct secret *secret PTA_CLEANUP(secret_freep) = secret_dup(password, strlen(password));
	struct verdict verdict = {0};
	struct err err = {""};
	bool sent = false;

	assert_int_equal(ldap_conn_bind(conn, "anna@example.com", secret, &id, &sent, &err), 0);
	assert_true(sent);
	assert_int_equal(wait_answer(conn, &verdict, &err), 1);
	return verdict;
}

static void one_connection_takes_bind_after_bind(void **state)
{
	static const struct {
		int tls;
		enum double_tls mode;
	} rows[] = {{DIRECTORY_LDAPS, DOUBLE_LDAPS}, {DIRECTORY_STARTTLS, DOUBLE_STARTTLS}, {DIRECTORY_TLS_NONE, DOUBLE_PLAIN}};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct ldap_conn *conn;
		struct bed bed;

		bed_init(&bed, rows[i].tls, rows[i].mode, ACT_ANSWER);
		conn = must_open(&bed);
		assert_int_equal(ldap_conn_tls_version(conn)[0] == '\0', rows[i].tls == DIRECTORY_TLS_NONE);
		assert_int_equal(bind_once(conn, "right").code, VERDICT_SUCCESS);
		ldap_double_result(bed.d, 49, "data 52e");
		assert_int_equal(bind_once(conn, "wrong").code, VERDICT_INVALID_CREDENTIALS);
		assert_true(ldap_conn_reusable(conn));
		assert_true(ldap_double_saw(bed.d, "anna@example.com", "wrong"));
		assert_int_equal(ldap_double_connections(bed.d), 1);
		ldap_conn_close(conn);
		bed_done(&bed);
	}
}

static void an_empty_name_or_password_is_never_sent(void **state)
{
	struct secret *empty PTA_CLEANUP(secret_freep) = secret_new(0), *full PTA_CLEANUP(secret_freep) = secret_dup("p", 1);
	struct ldap_conn *conn;
	struct err err;
	struct bed bed;
	bool sent = true;

	(void)state;
	bed_init(&bed, DIRECTORY_LDAPS, DOUBLE_LDAPS, ACT_ANSWER);
	conn = must_open(&bed);
	assert_int_equal(ldap_conn_bind(conn, "anna@example.com", empty, &id, &sent, &err), -PTA_EINVAL);
	assert_false(sent);
	assert_int_equal(ldap_conn_bind(conn, "", full, &id, &sent, &err), -PTA_EINVAL);
	assert_false(sent);
	assert_int_equal(ldap_double_binds(bed.d), 0);
	assert_int_equal(bind_once(conn, "p").code, VERDICT_SUCCESS);
	ldap_conn_close(conn);
	bed_done(&bed);
}

/* libldap would connect again and send the password there. */
static void a_lost_connection_stays_lost(void **state)
{
	struct secret *secret PTA_CLEANUP(secret_freep) = secret_dup("p", 1);
	struct verdict verdict = {0};
	struct ldap_conn *conn;
	struct err err;
	struct bed bed;
	bool sent;

	(void)state;
	bed_init(&bed, DIRECTORY_LDAPS, DOUBLE_LDAPS, ACT_CUT_BIND);
	conn = must_open(&bed);
	assert_int_equal(ldap_conn_bind(conn, "anna@example.com", secret, &id, &sent, &err), 0);
	assert_int_equal(wait_answer(conn, &verdict, &err), -PTA_ENET);
	ldap_double_act(bed.d, ACT_ANSWER);
	assert_int_equal(ldap_conn_bind(conn, "anna@example.com", secret, &id, &sent, &err), -PTA_ECLOSED);
	assert_false(sent);
	assert_false(ldap_conn_reusable(conn));
	assert_int_equal(ldap_double_connections(bed.d), 1);
	assert_int_equal(ldap_double_binds(bed.d), 1);
	ldap_conn_close(conn);
	bed_done(&bed);
}

static void opening_fails_with_what_was_tried(void **state)
{
	static const struct {
		enum double_act act;
		unsigned ms;
		int r;
		const char *text;
	} rows[] = {
		{ACT_SILENT_ACCEPT, 200, -PTA_ETIMEDOUT, "no answer in"},
		{ACT_HALF_HANDSHAKE, 200, -PTA_ETIMEDOUT, "no answer in"},
		{ACT_GARBAGE, 10000, -PTA_ETLS, "TLS with 127.0.0.1 port"},
		{ACT_CLOSE_ACCEPT, 10000, -PTA_ETLS, "TLS with 127.0.0.1 port"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct ldap_conn *conn = NULL;
		struct err err = {""};
		struct bed bed;
		int r;

		bed_init(&bed, DIRECTORY_LDAPS, DOUBLE_LDAPS, rows[i].act);
		r = ldap_conn_open(&bed.conf, &bed.server, bed.tls, clock_mono_us() + rows[i].ms * 1000ull, &conn, &err);
		if (r != rows[i].r || !strstr(err.text, rows[i].text))
			fail_msg("row %zu: %d '%s'", i, r, err.text);
		assert_null(conn);
		bed_done(&bed);
	}
}

static void old_tls_versions_are_refused(void **state)
{
	struct ldap_conn *conn = NULL;
	struct err err = {""};
	struct bed bed;

	(void)state;
	bed_init(&bed, DIRECTORY_LDAPS, DOUBLE_LDAPS, ACT_ANSWER);
	assert_int_equal(SSL_CTX_set_cipher_list(certs.server, "ALL:@SECLEVEL=0"), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(certs.server, TLS1_1_VERSION), 1);
	assert_int_equal(ldap_conn_open(&bed.conf, &bed.server, bed.tls, clock_mono_us() + 10000000, &conn, &err), -PTA_ETLS);
	assert_int_equal(SSL_CTX_set_max_proto_version(certs.server, TLS1_2_VERSION), 1);
	conn = must_open(&bed);
	assert_non_null(strstr(ldap_conn_tls_version(conn), "1.2"));
	assert_int_equal(bind_once(conn, "p").code, VERDICT_SUCCESS);
	ldap_conn_close(conn);
	assert_int_equal(SSL_CTX_set_max_proto_version(certs.server, 0), 1);
	bed_done(&bed);
}

static void without_tls_only_loopback_is_dialled(void **state)
{
	const struct directory_server any = {.host = "0.0.0.0", .port = 1}, loopback = {.host = "127.0.0.1", .port = 1};
	struct err err = {""};
	int fd;

	(void)state;
	/* 0.0.0.0 would be this very host to connect(), but it is not a loopback address. */
	assert_int_equal(dial(&any, true, clock_mono_us() + 1000000, 1000, &fd, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "loopback"));
	assert_int_equal(dial(&loopback, true, clock_mono_us() + 1000000, 1000, &fd, &err), -PTA_ENET);
	assert_non_null(strstr(err.text, "127.0.0.1 port 1"));
}

static void a_name_that_does_not_resolve_is_said(void **state)
{
	const struct directory_server server = {.host = "dc1.invalid", .port = 636};
	struct err err = {""};
	int fd;

	(void)state;
	assert_int_equal(dial(&server, false, clock_mono_us() + 10000000, 1000, &fd, &err), -PTA_ENET);
	assert_non_null(strstr(err.text, "looking up dc1.invalid"));
}

/* ThreadSanitizer's memory is too big to look through, and it takes no threads after a fork. */
#define LOOK_THROUGH_MEMORY 1
#ifdef __SANITIZE_THREAD__
#undef LOOK_THROUGH_MEMORY
#define LOOK_THROUGH_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef LOOK_THROUGH_MEMORY
#define LOOK_THROUGH_MEMORY 0
#endif
#endif

#if LOOK_THROUGH_MEMORY
/* How often the text, each byte of it flipped, is in this process's writable memory. */
static unsigned count_in_memory(const unsigned char *flipped, size_t len)
{
	static unsigned char chunk[1 << 16];
	FILE *maps = fopen("/proc/self/maps", "r");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned long from, to;
	unsigned found = 0;
	char line[512], flags[5];

	assert_non_null(maps);
	assert_true(mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %4s", &from, &to, flags) != 3 || flags[0] != 'r' || flags[1] != 'w' || strstr(line, "[v"))
			continue;
		/* Sanitizers map terabytes that nobody wrote to. */
		if (to - from > 1ul << 30)
			continue;
		for (unsigned long at = from; at < to; at += sizeof(chunk) - len) {
			ssize_t n = pread(mem, chunk, to - at < sizeof(chunk) ? to - at : sizeof(chunk), (off_t)at);

			for (ssize_t i = 0; i + (ssize_t)len <= n; i++) {
				size_t k = 0;

				while (k < len && (chunk[i + (ssize_t)k] ^ 0xff) == flipped[k])
					k++;
				found += k == len;
			}
			memset(chunk, 0, sizeof(chunk));
		}
	}
	fclose(maps);
	close(mem);
	return found;
}

/* The double in a process of its own, since it has copies of what it receives. Returns its port; closing *control ends it. */
static unsigned fork_double(int *control, pid_t *pid)
{
	int ports[2], controls[2];
	unsigned port = 0;
	char byte;

	assert_int_equal(pipe2(ports, O_CLOEXEC), 0);
	assert_int_equal(pipe2(controls, O_CLOEXEC), 0);
	*pid = fork();
	assert_true(*pid >= 0);
	if (*pid == 0) {
		struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);

		close(controls[1]);
		port = ldap_double_port(d);
		if (write(ports[1], &port, sizeof(port)) != sizeof(port) || read(controls[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(ports[1]);
	close(controls[0]);
	assert_int_equal(read(ports[0], &port, sizeof(port)), sizeof(port));
	close(ports[0]);
	*control = controls[1];
	return port;
}

static void no_copy_of_a_password_stays_in_memory(void **state)
{
	unsigned char flipped[24], ends[8];
	struct secret *secret;
	struct verdict verdict = {0};
	struct ldap_conn *conn;
	struct err err;
	struct bed bed;
	int control, status;
	unsigned port;
	bool sent;
	pid_t pid;

	(void)state;
	port = fork_double(&control, &pid);
	bed_init(&bed, DIRECTORY_LDAPS, DOUBLE_LDAPS, ACT_ANSWER);
	bed.server.port = port;
	conn = must_open(&bed);
	secret = secret_new(sizeof(flipped));
	for (size_t i = 0; i < sizeof(flipped); i++) {
		secret_data(secret)[i] = (uint8_t)('a' + (i * 7 + 3) % 26);
		flipped[i] = secret_data(secret)[i] ^ 0xff;
	}
	assert_true(count_in_memory(flipped, sizeof(flipped)) >= 1);
	assert_int_equal(ldap_conn_bind(conn, "anna@example.com", secret, &id, &sent, &err), 0);
	secret_free(secret);
	assert_int_equal(count_in_memory(flipped, sizeof(flipped)), 0);
	/* liblber closes two gaps of four bytes, and leaves the last four bytes behind its buffer each time. */
	memcpy(ends, flipped + sizeof(flipped) - 4, 4);
	memcpy(ends + 4, flipped + sizeof(flipped) - 4, 4);
	assert_int_equal(count_in_memory(ends, sizeof(ends)), 0);
	assert_int_equal(wait_answer(conn, &verdict, &err), 1);
	assert_int_equal(verdict.code, VERDICT_SUCCESS);
	assert_int_equal(count_in_memory(flipped, sizeof(flipped)), 0);
	ldap_conn_close(conn);
	close(control);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	bed_done(&bed);
}

#endif

int main(void)
{
	static const char *const names[] = {"127.0.0.1", NULL};
	const struct CMUnitTest tests[] = {
#if LOOK_THROUGH_MEMORY
		cmocka_unit_test(no_copy_of_a_password_stays_in_memory),
#endif
		cmocka_unit_test(one_connection_takes_bind_after_bind),
		cmocka_unit_test(an_empty_name_or_password_is_never_sent),
		cmocka_unit_test(a_lost_connection_stays_lost),
		cmocka_unit_test(opening_fails_with_what_was_tried),
		cmocka_unit_test(old_tls_versions_are_refused),
		cmocka_unit_test(without_tls_only_loopback_is_dialled),
		cmocka_unit_test(a_name_that_does_not_resolve_is_said),
	};
	int failed;

	/* What the environment says about TLS must not weaken anything. */
	setenv("LDAPTLS_REQCERT", "never", 1);
	test_certs_init(&certs, names);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	test_certs_done(&certs);
	return failed;
}
