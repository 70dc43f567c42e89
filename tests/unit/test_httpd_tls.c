#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/httpd.h"
#include "http_peer.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static bool no_ssl; /* SSL_new() fails */

SSL *__real_SSL_new(SSL_CTX *ctx);
SSL *__wrap_SSL_new(SSL_CTX *ctx);

SSL *__wrap_SSL_new(SSL_CTX *ctx)
{
	return no_ssl ? NULL : __real_SSL_new(ctx);
}

static struct fixture {
	struct event_base *base;
	struct httpd *httpd;
	SSL_CTX *server, *client;
	struct peer peer, other;
	struct httpd_request *parked;
	bool is_parked, is_closed, is_written, written;
	unsigned writes;
} f;

static void on_close(void *arg)
{
	(void)arg;
	f.is_closed = true;
}

static void on_written(void *arg, bool written)
{
	(void)arg;
	f.writes++;
	f.written = written;
	f.is_written = true;
}

static void handle_who(struct httpd_request *request, void *arg)
{
	X509 *cert = httpd_peer_certificate(request);
	char name[64] = "nobody";

	(void)arg;
	if (cert)
		X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name));
	httpd_reply(request, 200, name, strlen(name));
}

static void handle_forget(struct httpd_request *request, void *arg)
{
	(void)arg;
	assert_non_null(httpd_peer_certificate(request));
	httpd_peer_certificate_forget(request);
	assert_null(httpd_peer_certificate(request));
	httpd_reply(request, 200, NULL, 0);
}

static void handle_echo(struct httpd_request *request, void *arg)
{
	size_t len;
	const uint8_t *body = httpd_body(request, &len);

	(void)arg;
	httpd_reply(request, 200, body, len);
}

static void handle_park(struct httpd_request *request, void *arg)
{
	(void)arg;
	f.parked = request;
	f.is_parked = true;
	httpd_on_close(request, on_close, NULL);
}

static const struct httpd_route routes[] = {
	{.method = "GET", .path = "/who", .handler = handle_who},
	{.method = "GET", .path = "/forget", .handler = handle_forget},
	{.method = "POST", .path = "/echo", .handler = handle_echo, .max_body = 1 << 20},
	{.method = "GET", .path = "/park", .handler = handle_park},
	{0},
};

static struct httpd *serve(struct event_base *base, const char *address, unsigned request_timeout_ms)
{
	const struct httpd_conf conf = {
		.address = address,
		.tls = f.server,
		.routes = routes,
		.max_connections = 1000,
		.max_per_address = 1000,
		.request_timeout_ms = request_timeout_ms,
		.idle_timeout_ms = 60000,
	};
	struct httpd *httpd = NULL;
	struct err err;

	if (httpd_new(base, &conf, &httpd, &err) < 0)
		fail_msg("%s", err.text);
	return httpd;
}

static void dial(struct peer *peer)
{
	peer_connect(peer, f.base, "127.0.0.1", httpd_port(f.httpd), f.client);
}

static int set_up(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	no_ssl = false;
	f.peer.fd = f.other.fd = -1;
	f.base = event_base_new();
	f.server = test_server_ctx();
	f.client = test_client_ctx(false);
	f.httpd = serve(f.base, "127.0.0.1:0", 60000);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	httpd_free(f.httpd);
	peer_close(&f.peer);
	peer_close(&f.other);
	event_base_free(f.base);
	SSL_CTX_free(f.server);
	SSL_CTX_free(f.client);
	return 0;
}

static void park_one(void)
{
	dial(&f.peer);
	peer_say(&f.peer, GET("/park"));
	turn_until(f.base, &f.is_parked);
}

static void requests_are_answered_over_tls(void **state)
{
	const char *body;

	(void)state;
	dial(&f.peer);
	for (unsigned i = 0; i < 3; i++) {
		peer_say(&f.peer, GET("/who"));
		assert_int_equal(peer_response(&f.peer, &body), 200);
		assert_string_equal(body, "nobody");
	}
	peer_say(&f.peer, GET("/nothing"));
	assert_int_equal(peer_response(&f.peer, &body), 404);
	peer_wait_eof(&f.peer);
	/* Ended as TLS wants it: not cut off. */
	assert_true(SSL_get_shutdown(f.peer.ssl) & SSL_RECEIVED_SHUTDOWN);
}

static void large_bodies_go_through(void **state)
{
	size_t len = 60000;
	char *text = malloc(len), head[200];
	const char *body;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + i % 26);
	dial(&f.peer);
	for (unsigned round = 0; round < 2; round++) {
		snprintf(head, sizeof(head),
			"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %zu\r\n\r\n", len);
		peer_say(&f.peer, head);
		assert_int_equal(peer_response(&f.peer, &body), 100);
		peer_send(&f.peer, text, len);
		assert_int_equal(peer_response(&f.peer, &body), 200);
		assert_memory_equal(body, text, len);
	}
	free(text);
}

static void client_certificate_is_shown(void **state)
{
	SSL_CTX *ctx = test_client_ctx(true);
	const char *body;

	(void)state;
	peer_connect(&f.peer, f.base, "127.0.0.1", httpd_port(f.httpd), ctx);
	peer_say(&f.peer, GET("/who"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_string_equal(body, "localhost");
	SSL_CTX_free(ctx);
}

static void a_connection_goes_on_without_its_certificate(void **state)
{
	const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	const char *body;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(versions); i++) {
		SSL_CTX *ctx = test_client_ctx(true);

		SSL_CTX_set_max_proto_version(ctx, versions[i]);
		peer_connect(&f.peer, f.base, "127.0.0.1", httpd_port(f.httpd), ctx);
		peer_say(&f.peer, GET("/forget"));
		assert_int_equal(peer_response(&f.peer, &body), 200);
		if (versions[i] == TLS1_3_VERSION)
			assert_int_equal(SSL_key_update(f.peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		for (int n = 0; n < 2; n++) {
			peer_say(&f.peer, GET("/who"));
			assert_int_equal(peer_response(&f.peer, &body), 200);
			assert_string_equal(body, "nobody");
		}
		peer_close(&f.peer);
		SSL_CTX_free(ctx);
	}
}

static void a_renewed_context_serves_new_connections(void **state)
{
	SSL_CTX *renewed = test_server_ctx();
	const char *body;

	(void)state;
	dial(&f.peer);
	peer_say(&f.peer, GET("/who"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	SSL_CTX_set_max_proto_version(renewed, TLS1_2_VERSION);
	httpd_set_tls(f.httpd, renewed);
	SSL_CTX_free(renewed);
	dial(&f.other);
	peer_say(&f.other, GET("/who"));
	assert_int_equal(peer_response(&f.other, &body), 200);
	assert_int_equal(SSL_version(f.other.ssl), TLS1_2_VERSION);
	peer_say(&f.peer, GET("/who"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_int_equal(SSL_version(f.peer.ssl), TLS1_3_VERSION);
}

static void plain_http_gets_no_http(void **state)
{
	const char *body;

	(void)state;
	peer_connect(&f.peer, f.base, "127.0.0.1", httpd_port(f.httpd), NULL);
	peer_say(&f.peer, GET("/who"));
	assert_int_equal(peer_response(&f.peer, &body), 0);
	assert_null(strstr(f.peer.data, "HTTP"));
}

static void without_memory_for_tls_nothing_is_spoken_in_the_clear(void **state)
{
	struct peer plain, waiting;
	const char *body;

	(void)state;
	/* The connection that was ready is still good, the one behind it cannot be made: it waits. */
	no_ssl = true;
	peer_connect(&plain, f.base, "127.0.0.1", httpd_port(f.httpd), NULL);
	peer_say(&plain, GET("/who"));
	assert_int_equal(peer_response(&plain, &body), 0);
	assert_null(strstr(plain.data, "HTTP"));
	peer_close(&plain);
	no_ssl = false;
	peer_connect(&waiting, f.base, "127.0.0.1", httpd_port(f.httpd), f.client);
	no_ssl = true;
	for (unsigned i = 0; i < 100; i++)
		turn(f.base);
	assert_int_equal(httpd_connections(f.httpd), 0);
	no_ssl = false;
	peer_say(&waiting, GET("/who"));
	assert_int_equal(peer_response(&waiting, &body), 200);
	peer_close(&waiting);
}

static void stalled_handshake_is_cut(void **state)
{
	(void)state;
	httpd_free(f.httpd);
	f.httpd = serve(f.base, "127.0.0.1:0", 50);
	/* Silent, ... */
	peer_connect(&f.peer, f.base, "127.0.0.1", httpd_port(f.httpd), NULL);
	peer_wait_eof(&f.peer);
	peer_close(&f.peer);
	/* ... and in the middle of a record. */
	peer_connect(&f.peer, f.base, "127.0.0.1", httpd_port(f.httpd), NULL);
	peer_send(&f.peer, "\x16\x03\x01\x02\x00\x01", 6);
	peer_wait_eof(&f.peer);
	assert_int_equal(httpd_connections(f.httpd), 0);
}

static void closing_peer_of_a_parked_request_is_noticed(void **state)
{
	(void)state;
	park_one();
	peer_close(&f.peer);
	turn_until(f.base, &f.is_closed);
	f.is_parked = f.is_closed = false;
	park_one();
	peer_reset(&f.peer);
	turn_until(f.base, &f.is_closed);
	assert_int_equal(httpd_connections(f.httpd), 0);
}

static void request_sent_ahead_gets_no_second_answer(void **state)
{
	const char *body;

	(void)state;
	dial(&f.peer);
	peer_say(&f.peer, GET("/park") GET("/who"));
	turn_until(f.base, &f.is_parked);
	peer_say(&f.peer, GET("/who"));
	turn(f.base);
	httpd_reply(f.parked, 200, "{}", 2);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_string_equal(body, "{}");
	peer_wait_eof(&f.peer);
	assert_false(f.is_closed);
}

static void watched_reply_tells_whether_it_left(void **state)
{
	const char *body;

	(void)state;
	park_one();
	httpd_reply_watched(f.parked, 200, "application/json", "{}", 2, on_written, NULL);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	turn_until(f.base, &f.is_written);
	assert_true(f.written);
	f.is_written = f.is_parked = false;
	peer_say(&f.peer, GET("/park"));
	turn_until(f.base, &f.is_parked);
	peer_reset(&f.peer);
	httpd_reply_watched(f.parked, 200, "application/json", "{}", 2, on_written, NULL);
	turn_until(f.base, &f.is_written);
	assert_false(f.written);
	assert_int_equal(f.writes, 2);
	f.is_parked = false;
	park_one();
	httpd_reply_watched(f.parked, 200, "application/json", "{}", 2, on_written, NULL);
	httpd_free(f.httpd);
	f.httpd = NULL;
	assert_int_equal(f.writes, 3);
	assert_false(f.written);
}

static void vanishing_at_any_stage_leaves_nothing(void **state)
{
	static const char text[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len += 7) {
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

/* ---- threads, each with a base and an httpd of its own on one port ---- */

#define THREADS 2
#define CONNECTIONS 32
#define REQUESTS 10

struct server_thread {
	pthread_t thread;
	struct event_base *base;
	struct httpd *httpd;
	struct event *stop;
	atomic_bool stopping;
};

static void stop_now(evutil_socket_t fd, short what, void *arg)
{
	struct server_thread *t = arg;

	(void)fd;
	(void)what;
	if (atomic_load(&t->stopping))
		event_base_loopbreak(t->base);
}

static void *run_server(void *arg)
{
	struct server_thread *t = arg;

	event_base_dispatch(t->base);
	httpd_free(t->httpd);
	event_free(t->stop);
	turn(t->base); /* as the header asks */
	event_base_free(t->base);
	return NULL;
}

static void threads_share_a_port(void **state)
{
	const struct timeval often = {.tv_usec = 5000};
	struct server_thread threads[THREADS];
	static struct peer peers[CONNECTIONS];
	char address[64] = "127.0.0.1:0";
	unsigned port = 0;
	const char *body;

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		struct server_thread *t = &threads[i];

		t->base = event_base_new();
		t->httpd = serve(t->base, address, 60000);
		port = httpd_port(t->httpd);
		snprintf(address, sizeof(address), "127.0.0.1:%u", port);
		atomic_init(&t->stopping, false);
		t->stop = event_new(t->base, -1, EV_PERSIST, stop_now, t);
		event_add(t->stop, &often);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i].thread, NULL, run_server, &threads[i]), 0);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		peer_connect(&peers[i], f.base, "127.0.0.1", port, f.client);
	for (unsigned round = 0; round < REQUESTS; round++) {
		for (unsigned i = 0; i < CONNECTIONS; i++)
			peer_say(&peers[i], GET("/who"));
		for (unsigned i = 0; i < CONNECTIONS; i++)
			assert_int_equal(peer_response(&peers[i], &body), 200);
	}
	for (unsigned i = 0; i < THREADS; i++)
		atomic_store(&threads[i].stopping, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i].thread, NULL);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		peer_close(&peers[i]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(requests_are_answered_over_tls),
		T(large_bodies_go_through),
		T(client_certificate_is_shown),
		T(a_connection_goes_on_without_its_certificate),
		T(a_renewed_context_serves_new_connections),
		T(plain_http_gets_no_http),
		T(without_memory_for_tls_nothing_is_spoken_in_the_clear),
		T(stalled_handshake_is_cut),
		T(closing_peer_of_a_parked_request_is_noticed),
		T(request_sent_ahead_gets_no_second_answer),
		T(watched_reply_tells_whether_it_left),
		T(vanishing_at_any_stage_leaves_nothing),
		T(threads_share_a_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
