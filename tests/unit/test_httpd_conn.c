/* Connections of httpd: time-outs, ends, limits, draining, addresses, unix sockets. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/metrics.h"
#include "httpd_fixture.h"

static void dripping_request_is_cut(void **state)
{
	static const char drip[] = "GET /hello HTTP/1.1\r\nHost: x\r\nX-Drip: ";

	(void)state;
	serve_with(60, 60000);
	dial(&f.peer);
	peer_say(&f.peer, drip);
	while (peer_send(&f.peer, "x", 1) && !f.peer.eof)
		turn(f.base);
	assert_int_equal(httpd_connections(f.httpd), 0);
}

static void dripping_body_on_a_kept_connection_is_cut(void **state)
{
	const char *body;

	(void)state;
	serve_with(60, 60000);
	dial(&f.peer);
	peer_say(&f.peer, GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	peer_say(&f.peer, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n");
	while (peer_send(&f.peer, "x", 1) && !f.peer.eof)
		turn(f.base);
	assert_int_equal(httpd_connections(f.httpd), 0);
}

static void silent_connection_is_cut(void **state)
{
	(void)state;
	serve_with(40, 60000);
	dial(&f.peer);
	peer_wait_eof(&f.peer);
}

static void idle_connection_is_cut(void **state)
{
	const char *body;

	(void)state;
	serve_with(60000, 40);
	dial(&f.peer);
	peer_say(&f.peer, GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	peer_wait_eof(&f.peer);
}

static void parked_request_outlives_both_timeouts(void **state)
{
	const char *body;

	(void)state;
	serve_with(40, 40);
	park_one();
	/* Both times have passed for connections that came after it. */
	dial(&f.other);
	peer_wait_eof(&f.other);
	peer_close(&f.other);
	dial(&f.other);
	peer_say(&f.other, GET("/hello"));
	assert_int_equal(peer_response(&f.other, &body), 200);
	peer_wait_eof(&f.other);
	assert_false(f.is_closed);
	httpd_reply(f.parked, 200, "{}", 2);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_int_equal(f.closes, 0);
	peer_wait_eof(&f.peer);
	assert_int_equal(f.closes, 0);
}

static void closing_peer_of_a_parked_request_is_noticed(void **state)
{
	(void)state;
	serve_tcp();
	for (unsigned round = 1; round <= 2; round++) {
		park_one();
		if (round == 1)
			peer_close(&f.peer);
		else
			peer_reset(&f.peer); /* libevent shows no EV_CLOSED for this one */
		turn_until(f.base, &f.is_closed);
		assert_int_equal(f.closes, round);
		assert_int_equal(httpd_connections(f.httpd), 0);
		f.is_closed = f.is_parked = false;
	}
}

static void close_is_not_told_after_the_reply(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	park_one();
	httpd_reply(f.parked, 200, "{}", 2);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	f.is_parked = false;
	peer_say(&f.peer, GET("/park")); /* and the watch works a second time */
	turn_until(f.base, &f.is_parked);
	assert_int_equal(f.closes, 0);
	peer_close(&f.peer);
	turn_until(f.base, &f.is_closed);
	assert_int_equal(f.closes, 1);
}

static void vanishing_at_any_byte_leaves_nothing(void **state)
{
	static const char text[] = "POST /small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

	(void)state;
	serve_tcp();
	for (size_t len = 0; len < sizeof(text); len++) {
		dial(&f.peer);
		peer_send(&f.peer, text, len);
		turn(f.base);
		if (len % 2)
			peer_reset(&f.peer);
		else
			peer_close(&f.peer);
		turn(f.base);
	}
	while (httpd_connections(f.httpd))
		turn(f.base);
}

static void reply_that_is_not_read_is_cut(void **state)
{
	char *large = calloc(1, BIG);

	(void)state;
	assert_non_null(large);
	serve_with(100, 60000);
	park_one();
	httpd_reply_watched(f.parked, 200, "application/json", large, BIG, on_written, &f);
	free(large);
	turn_until(f.base, &f.is_written);
	assert_int_equal(httpd_connections(f.httpd), 0);
}

static uint64_t refused(const char *limit)
{
	static const char *const labels[] = {"limit", NULL};

	return metric_value(metric_at(metric_new(METRIC_COUNTER, "pta_http_refused_connections_total", "", labels), &limit));
}

static void connections_past_the_limit_are_closed(void **state)
{
	struct httpd_conf conf = conf_of("127.0.0.1:0");
	const char *body;
	struct peer third;
	uint64_t before;

	(void)state;
	conf.max_connections = 2;
	before = refused("all");
	serve(&conf);
	dial(&f.peer);
	peer_say(&f.peer, GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	dial(&f.other);
	peer_say(&f.other, GET("/hello"));
	assert_int_equal(peer_response(&f.other, &body), 200);
	dial(&third);
	peer_wait_eof(&third);
	peer_close(&third);
	assert_int_equal(refused("all"), before + 1);
	peer_close(&f.other);
	while (httpd_connections(f.httpd) > 1)
		turn(f.base);
	dial(&f.other);
	peer_say(&f.other, GET("/hello"));
	assert_int_equal(peer_response(&f.other, &body), 200);
}

static void connections_of_one_address_are_limited(void **state)
{
	struct httpd_conf conf = conf_of("127.0.0.1:0");
	const char *body;
	struct peer third;
	uint64_t before;

	(void)state;
	conf.max_per_address = 1;
	before = refused("address");
	serve(&conf);
	dial(&f.peer);
	peer_say(&f.peer, GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	dial(&third);
	peer_wait_eof(&third);
	peer_close(&third);
	assert_int_equal(refused("address"), before + 1);
	peer_connect_from(&f.other, f.base, "127.0.0.2", httpd_port(f.httpd));
	peer_say(&f.other, GET("/look"));
	assert_int_equal(peer_response(&f.other, &body), 200);
	assert_string_equal(body, "-|-|127.0.0.2");
	/* Whoever leaves makes room. */
	peer_close(&f.peer);
	while (httpd_connections(f.httpd) > 1)
		turn(f.base);
	dial(&f.peer);
	peer_say(&f.peer, GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
}

static void draining_closes_idle_and_answers_parked(void **state)
{
	const char *body;
	unsigned port;
	struct peer late;

	(void)state;
	serve_tcp();
	park_one();
	dial(&f.other);
	peer_say(&f.other, GET("/hello"));
	assert_int_equal(peer_response(&f.other, &body), 200);
	port = httpd_port(f.httpd);
	httpd_drain(f.httpd);
	peer_wait_eof(&f.other);
	assert_int_equal(f.closes, 0);
	peer_connect(&late, f.base, "127.0.0.1", port, NULL);
	peer_say(&late, GET("/hello"));
	assert_int_equal(peer_response(&late, &body), 0);
	peer_close(&late);
	httpd_reply(f.parked, 200, "{}", 2);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_non_null(strstr(peer_head(&f.peer), "Connection: close"));
	peer_wait_eof(&f.peer);
	assert_int_equal(httpd_connections(f.httpd), 0);
}

static void draining_while_a_reply_is_written_closes_after_it(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	park_one();
	httpd_reply(f.parked, 200, "{}", 2);
	httpd_drain(f.httpd);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	peer_wait_eof(&f.peer);
}

static void a_value_lives_as_long_as_its_connection(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	dial(&f.peer);
	for (unsigned i = 0; i < 2; i++) {
		peer_say(&f.peer, GET("/keep"));
		assert_int_equal(peer_response(&f.peer, &body), 200);
	}
	peer_say(&f.peer, GET("/park"));
	turn_until(f.base, &f.is_parked);
	assert_int_equal(f.values_closed, 0);
	peer_close(&f.peer);
	turn_until(f.base, &f.is_closed);
	assert_int_equal(f.values_closed, 1);
}

static void freeing_tells_parked_requests(void **state)
{
	(void)state;
	serve_tcp();
	park_one();
	httpd_free(f.httpd);
	f.httpd = NULL;
	assert_int_equal(f.closes, 1);
}

static void addresses_of_all_kinds_are_bound(void **state)
{
	static const struct {
		const char *address, *client, *seen;
	} cases[] = {
		{"127.0.0.1:0", "127.0.0.1", "-|-|127.0.0.1"},
		{"[::1]:0", "::1", "-|-|::1"},
		{":0", "127.0.0.1", "-|-|127.0.0.1"},
		{":0", "::1", "-|-|::1"},
		{"localhost:0", NULL, NULL},
	};
	const char *body;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		const struct httpd_conf conf = conf_of(cases[i].address);

		serve(&conf);
		assert_int_not_equal(httpd_port(f.httpd), 0);
		if (cases[i].client) {
			peer_connect(&f.peer, f.base, cases[i].client, httpd_port(f.httpd), NULL);
			peer_say(&f.peer, GET("/look"));
			assert_int_equal(peer_response(&f.peer, &body), 200);
			assert_string_equal(body, cases[i].seen);
			peer_close(&f.peer);
		}
		httpd_free(f.httpd);
		f.httpd = NULL;
	}
}

static void bad_addresses_are_refused_with_the_reason(void **state)
{
	static const char *const bad[] = {
		"", "127.0.0.1", "127.0.0.1:", "::1:80", "127.0.0.1:http x", "no such host.invalid:80", "192.0.2.1:0", "unix:/nowhere/x"};
	struct httpd_conf conf;
	struct err err;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(bad); i++) {
		conf = conf_of(bad[i]);
		err.text[0] = '\0';
		assert_true(httpd_new(f.base, &conf, &f.httpd, &err) < 0);
		assert_non_null(strstr(err.text, bad[i][0] == 'u' ? bad[i] + 5 : bad[i]));
	}
	conf = conf_of("127.0.0.1:0");
	conf.idle_timeout_ms = 0;
	assert_int_equal(httpd_new(f.base, &conf, &f.httpd, &err), -PTA_EINVAL);
}

static void two_listeners_share_a_port(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	struct httpd *second = NULL;
	struct httpd_conf conf;
	char address[64];
	struct err err;
	int plain;

	(void)state;
	serve_tcp();
	snprintf(address, sizeof(address), "127.0.0.1:%u", httpd_port(f.httpd));
	conf = conf_of(address);
	assert_int_equal(httpd_new(f.base, &conf, &second, &err), 0);
	assert_int_equal(httpd_port(second), httpd_port(f.httpd));
	httpd_free(second);
	/* A stranger's socket without SO_REUSEPORT keeps its port. */
	plain = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(plain >= 0);
	assert_int_equal(bind(plain, (const struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(plain, 1), 0);
	assert_int_equal(getsockname(plain, (struct sockaddr *)&in, &len), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(in.sin_port));
	assert_int_equal(httpd_new(f.base, &conf, &second, &err), -PTA_EEXIST);
	assert_non_null(strstr(err.text, address));
	close(plain);
}

static void unix_socket_has_mode_and_is_replaced_only_when_stale(void **state)
{
	char dir[] = "/tmp/test_httpd.XXXXXX", address[80], path[60];
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct httpd *second = NULL;
	struct httpd_conf conf;
	const char *body;
	struct stat st;
	struct err err;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	snprintf(address, sizeof(address), "unix:%s", path);
	/* Left from a crash: bound, and nobody listens. */
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	conf = conf_of(address);
	conf.unix_gid = getgid();
	serve(&conf);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	peer_connect_unix(&f.peer, f.base, path);
	peer_say(&f.peer, GET("/look"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_string_equal(body, "-|-|unix");
	/* Another daemon is told, and takes nothing away. */
	assert_int_equal(httpd_new(f.base, &conf, &second, &err), -PTA_EEXIST);
	assert_non_null(strstr(err.text, "running already"));
	assert_int_equal(stat(path, &st), 0);
	httpd_free(f.httpd);
	f.httpd = NULL;
	assert_int_equal(stat(path, &st), -1);
	/* A file that is no socket stays. */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(httpd_new(f.base, &conf, &second, &err), -PTA_EEXIST);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(dripping_request_is_cut),
		T(dripping_body_on_a_kept_connection_is_cut),
		T(silent_connection_is_cut),
		T(idle_connection_is_cut),
		T(parked_request_outlives_both_timeouts),
		T(closing_peer_of_a_parked_request_is_noticed),
		T(close_is_not_told_after_the_reply),
		T(vanishing_at_any_byte_leaves_nothing),
		T(reply_that_is_not_read_is_cut),
		T(connections_past_the_limit_are_closed),
		T(connections_of_one_address_are_limited),
		T(draining_closes_idle_and_answers_parked),
		T(draining_while_a_reply_is_written_closes_after_it),
		T(a_value_lives_as_long_as_its_connection),
		T(freeing_tells_parked_requests),
		T(addresses_of_all_kinds_are_bound),
		T(bad_addresses_are_refused_with_the_reason),
		T(two_listeners_share_a_port),
		T(unix_socket_has_mode_and_is_replaced_only_when_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
