/* ldap_search against a peer that says whatever the test wants; searches that succeed are tested on slapd, in
 * test_name_resolver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <lber.h>
#include <ldap.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/ldap_search.h"

enum message { END, ENTRY, NO_DN, LONG_DN, LONG_ACCOUNT, NUL_ACCOUNT, REFERENCE, BIND_ANSWER, DONE, CUT, HALF, HUGE_LENGTH, SILENCE };

/* times: how often the first message is sent. */
struct script {
	enum message first;
	unsigned times;
	enum message last;
	int result;
};

struct peer {
	pthread_t thread;
	int listening;
	unsigned port;
	struct script script;
	int size_limit, time_limit; /* as asked for */
};

static void put_string_attribute(BerElement *ber, const char *name, const char *value, size_t len)
{
	assert_true(ber_printf(ber, "{s[o]}", name, value, (ber_len_t)len) >= 0);
}

static void put_entry(BerElement *ber, int id, const char *dn, const char *account, size_t len)
{
	assert_true(ber_printf(ber, "{it{s{", id, (ber_tag_t)LDAP_RES_SEARCH_ENTRY, dn) >= 0);
	put_string_attribute(ber, "sAMAccountName", account, len);
	put_string_attribute(ber, "userPrincipalName", "u@x", 3);
	assert_true(ber_printf(ber, "}}}") >= 0);
}

/* False: the connection ends. */
static bool say(int fd, int id, enum message message, int result)
{
	static char big[2000];
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	struct berval bytes;
	bool goes_on = true;

	assert_non_null(ber);
	memset(big, 'a', sizeof(big) - 1);
	memcpy(big, "CN=", 3);
	switch (message) {
	case ENTRY:
		put_entry(ber, id, "CN=A,DC=x", "anna", 4);
		break;
	case NO_DN:
		put_entry(ber, id, "", "anna", 4);
		break;
	case LONG_DN:
		put_entry(ber, id, big, "anna", 4);
		break;
	case LONG_ACCOUNT:
		put_entry(ber, id, "CN=A,DC=x", big, LIMIT_USERNAME + 1);
		break;
	case NUL_ACCOUNT:
		put_entry(ber, id, "CN=A,DC=x", "an\0na", 5);
		break;
	case REFERENCE:
		assert_true(ber_printf(ber, "{it{s}}", id, (ber_tag_t)LDAP_RES_SEARCH_REFERENCE, "ldap://127.0.0.1:1/DC=y") >= 0);
		break;
	case BIND_ANSWER:
		assert_true(ber_printf(ber, "{it{ess}}", id, (ber_tag_t)LDAP_RES_BIND, 0, "", "") >= 0);
		break;
	case DONE:
		assert_true(ber_printf(ber, "{it{ess}}", id, (ber_tag_t)LDAP_RES_SEARCH_RESULT, result, "", "0000202B: RefErr") >= 0);
		break;
	case HALF:
		put_entry(ber, id, "CN=A,DC=x", "anna", 4);
		goes_on = false;
		break;
	case HUGE_LENGTH:
		if (send(fd, "\x30\x84\x7f\xff\xff\xff\x02\x01", 8, MSG_NOSIGNAL) < 0)
			goes_on = false;
		break;
	case CUT:
		goes_on = false;
		break;
	case SILENCE:
	case END:
		break;
	}
	assert_int_equal(ber_flatten2(ber, &bytes, 0), 0);
	if (bytes.bv_len && send(fd, bytes.bv_val, bytes.bv_len - (message == HALF ? 3 : 0), MSG_NOSIGNAL) < 0)
		goes_on = false;
	ber_free(ber, 1);
	return goes_on;
}

/* Reads one request, answers by the script, waits for the end. */
static void *serve(void *arg)
{
	struct peer *peer = arg;
	int fd = accept(peer->listening, NULL, NULL), id = 0, scope, deref;
	Sockbuf *sb = ber_sockbuf_alloc();
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	char base[64] = "", byte;
	ber_len_t len, base_len = sizeof(base);
	bool goes_on = true;

	assert_true(fd >= 0 && sb && ber);
	assert_int_equal(ber_sockbuf_add_io(sb, &ber_sockbuf_io_tcp, LBER_SBIOD_LEVEL_PROVIDER, &fd), 0);
	assert_int_equal(ber_get_next(sb, &len, ber), LDAP_TAG_MESSAGE);
	assert_true(ber_scanf(ber, "i{seeii", &id, base, &base_len, &scope, &deref, &peer->size_limit, &peer->time_limit) != LBER_ERROR);
	assert_string_equal(base, "DC=x");
	assert_int_equal(scope, LDAP_SCOPE_SUBTREE);
	for (unsigned i = 0; goes_on && i < peer->script.times; i++)
		goes_on = say(fd, id, peer->script.first, peer->script.result);
	if (goes_on)
		goes_on = say(fd, id, peer->script.last, peer->script.result);
	while (goes_on && recv(fd, &byte, 1, 0) > 0)
		;
	ber_free(ber, 1);
	ber_sockbuf_free(sb);
	return NULL;
}

static struct ldap_conn *connect_to(struct peer *peer, const struct script *script)
{
	static char name[] = "x";
	const struct directory_conf conf = {
		.name = name, .method = DIRECTORY_GSSAPI, .tls = DIRECTORY_TLS_NONE, .connect_timeout = 10000, .bind_timeout = 10000};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct directory_server server = {.host = "127.0.0.1"};
	socklen_t len = sizeof(address);
	struct ldap_conn *conn = NULL;
	struct ldap_tls *tls = NULL;
	struct err err = {""};

	*peer = (struct peer){.script = *script, .listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	assert_true(peer->listening >= 0);
	assert_int_equal(bind(peer->listening, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(peer->listening, 1), 0);
	assert_int_equal(getsockname(peer->listening, (struct sockaddr *)&address, &len), 0);
	server.port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&peer->thread, NULL, serve, peer), 0);
	assert_int_equal(ldap_tls_new(&conf, &tls, &err), 0);
	if (ldap_conn_open(&conf, &server, tls, clock_mono_us() + 10000000, &conn, &err) < 0)
		fail_msg("%s", err.text);
	ldap_tls_free(tls);
	return conn;
}

static void disconnect(struct peer *peer, struct ldap_conn *conn)
{
	ldap_conn_close(conn);
	assert_int_equal(pthread_join(peer->thread, NULL), 0);
	close(peer->listening);
}

static void whatever_a_server_says_is_bounded(void **state)
{
	static const struct {
		struct script script;
		const char *domain;
		int r;
		unsigned n;
		const char *text;
	} rows[] = {
		{{ENTRY, 1, DONE, 0}, NULL, 0, 1, ""},
		{{ENTRY, 2, DONE, 0}, NULL, 0, 2, ""},
		{{END, 0, DONE, 0}, NULL, 0, 0, ""},
		{{REFERENCE, 5, DONE, 0}, NULL, 0, 0, ""},
		{{ENTRY, 2, DONE, LDAP_SIZELIMIT_EXCEEDED}, NULL, 0, 2, ""},
		{{ENTRY, 1, DONE, LDAP_SIZELIMIT_EXCEEDED}, NULL, 0, 2, ""},
		{{ENTRY, 40, DONE, 0}, "y", 0, 0, ""},
		{{ENTRY, 1, DONE, 0}, "x", 0, 1, ""},
		{{ENTRY, 40, DONE, 0}, "x", 0, 2, ""},
		{{ENTRY, 64, DONE, LDAP_SIZELIMIT_EXCEEDED}, "y", 0, 2, ""},
		/* No answer about the name. */
		{{END, 0, DONE, LDAP_SIZELIMIT_EXCEEDED}, NULL, -PTA_EINVAL, 0, "4 (Size limit exceeded)"},
		{{ENTRY, 1, DONE, LDAP_OPERATIONS_ERROR}, NULL, -PTA_EINVAL, 0, "RefErr"},
		{{END, 0, DONE, LDAP_REFERRAL}, NULL, -PTA_EINVAL, 0, "10 (Referral)"},
		{{END, 0, DONE, LDAP_NO_SUCH_OBJECT}, NULL, -PTA_EINVAL, 0, "below 'DC=x'"},
		{{END, 0, DONE, LDAP_BUSY}, NULL, -PTA_EBUSY, 0, "51"},
		{{END, 0, DONE, LDAP_UNAVAILABLE}, NULL, -PTA_EBUSY, 0, "52"},
		{{END, 0, DONE, LDAP_TIMELIMIT_EXCEEDED}, NULL, -PTA_ETIMEDOUT, 0, "3 (Time limit exceeded)"},
		{{ENTRY, 1, BIND_ANSWER, 0}, NULL, -PTA_EINVAL, 0, "type 0x61"},
		{{NO_DN, 1, DONE, 0}, NULL, -PTA_EINVAL, 0, "without a DN"},
		{{LONG_DN, 1, DONE, 0}, NULL, -PTA_ETOOBIG, 0, "1999 bytes"},
		{{LONG_ACCOUNT, 1, DONE, 0}, NULL, -PTA_ETOOBIG, 0, "sAMAccountName"},
		{{NUL_ACCOUNT, 1, DONE, 0}, NULL, -PTA_ETOOBIG, 0, "NUL"},
		/* More than it was asked for. */
		{{ENTRY, 1000, SILENCE, 0}, NULL, -PTA_EINVAL, 0, "more than the 2"},
		{{REFERENCE, 1000, SILENCE, 0}, NULL, -PTA_EINVAL, 0, "more than the 2"},
		{{ENTRY, 1000, SILENCE, 0}, "y", -PTA_EINVAL, 0, "more than the 64"},
		{{ENTRY, 1, CUT, 0}, NULL, -PTA_ENET, 0, "lost"},
		{{ENTRY, 1, HALF, 0}, NULL, -PTA_ENET, 0, "lost"},
		{{ENTRY, 1, HUGE_LENGTH, 0}, NULL, -PTA_ENET, 0, "lost"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		const struct ldap_query query = {.base = "DC=x", .filter = "(uid=a)", .domain = rows[i].domain};
		struct ldap_hit hit;
		struct err err = {""};
		struct peer peer;
		struct ldap_conn *conn = connect_to(&peer, &rows[i].script);
		unsigned n = 99;
		int r = ldap_search_accounts(conn, &query, clock_mono_us() + 10000000, &hit, &n, &err);

		if (r != rows[i].r || (r == 0 && n != rows[i].n) || !strstr(err.text, rows[i].text))
			fail_msg("row %zu: %d, %u entries, '%s'", i, r, n, err.text);
		if (n == 1) {
			assert_string_equal(hit.found.dn, "CN=A,DC=x");
			assert_string_equal(hit.found.account, "anna");
			assert_string_equal(hit.upn, "u@x");
		}
		disconnect(&peer, conn);
	}
}

static void silence_ends_at_the_deadline_and_with_it_the_connection(void **state)
{
	const struct ldap_query query = {.base = "DC=x", .filter = "(uid=a)"};
	const struct script script = {ENTRY, 1, SILENCE, 0};
	struct ldap_hit hit;
	struct err err = {""};
	struct peer peer;
	struct ldap_conn *conn = connect_to(&peer, &script);
	uint64_t deadline_us = clock_mono_us() + 100000;
	unsigned n;

	(void)state;
	assert_int_equal(ldap_search_accounts(conn, &query, deadline_us, &hit, &n, &err), -PTA_ETIMEDOUT);
	/* libldap counts in milliseconds. */
	assert_true(clock_mono_us() + 2000 >= deadline_us);
	assert_int_equal(ldap_search_accounts(conn, &query, clock_mono_us() + 10000000, &hit, &n, &err), -PTA_ENET);
	disconnect(&peer, conn);
}

static void a_filter_that_is_none_is_not_sent(void **state)
{
	const struct ldap_query query = {.base = "DC=x", .filter = "(uid=a"};
	const struct script script = {END, 0, DONE, 0};
	struct ldap_hit hit;
	struct err err = {""};
	struct peer peer;
	struct ldap_conn *conn = connect_to(&peer, &script);
	const struct ldap_query good = {.base = "DC=x", .filter = "(uid=a)"};
	unsigned n;

	(void)state;
	assert_int_equal(ldap_search_accounts(conn, &query, clock_mono_us() + 10000000, &hit, &n, &err), -PTA_EINVAL);
	assert_non_null(strstr(err.text, "(uid=a"));
	assert_int_equal(ldap_search_accounts(conn, &good, clock_mono_us() + 10000000, &hit, &n, &err), 0);
	assert_int_equal(n, 0);
	disconnect(&peer, conn);
	assert_int_equal(peer.size_limit, 2);
	assert_in_range(peer.time_limit, 9, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_a_server_says_is_bounded),
		cmocka_unit_test(silence_ends_at_the_deadline_and_with_it_the_connection),
		cmocka_unit_test(a_filter_that_is_none_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
