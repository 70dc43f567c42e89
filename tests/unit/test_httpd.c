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

#include "base/httpd.h"
#include "base/json.h"
#include "http_peer.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define BIG (8u << 20)

/* One server, and what its handlers have seen. */
static struct fixture {
	struct event_base *base;
	struct httpd *httpd;
	struct peer peer, other;
	struct httpd_request *parked;
	bool is_parked, is_closed, is_written, written;
	unsigned closes, writes, values_closed;
	uint64_t id;
} f;

static void on_close(void *arg)
{
	assert_ptr_equal(arg, &f);
	f.closes++;
	f.is_closed = true;
	f.parked = NULL;
}

static void on_written(void *arg, bool written)
{
	assert_ptr_equal(arg, &f);
	f.writes++;
	f.written = written;
	f.is_written = true;
}

static void handle_hello(struct httpd_request *request, void *arg)
{
	assert_ptr_equal(arg, &f);
	f.id = httpd_connection_id(request);
	assert_null(httpd_peer_certificate(request));
	httpd_reply(request, 200, "{}", 2);
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
	httpd_on_close(request, on_close, &f);
}

static void value_closed(void *value)
{
	assert_ptr_equal(value, &f.id);
	assert_false(f.parked); /* its request heard of it first */
	f.values_closed++;
}

static void handle_keep(struct httpd_request *request, void *arg)
{
	(void)arg;
	if (!httpd_connection_get(request))
		httpd_connection_set(request, &f.id, value_closed);
	assert_ptr_equal(httpd_connection_get(request), &f.id);
	httpd_reply(request, 200, "{}", 2);
}

static void handle_forget(struct httpd_request *request, void *arg)
{
	(void)request;
	(void)arg;
}

static void handle_look(struct httpd_request *request, void *arg)
{
	const char *header = httpd_header(request, "x-test"), *query = httpd_query(request, "q");
	char text[256];

	(void)arg;
	assert_null(httpd_header(request, "absent"));
	assert_null(httpd_query(request, "absent"));
	snprintf(text, sizeof(text), "%s|%s|%s", header ? header : "-", query ? query : "-", httpd_peer(request));
	httpd_reply_header(request, "X-Answer", "yes");
	httpd_reply_type(request, 200, "text/plain", text, strlen(text));
}

static void handle_fail(struct httpd_request *request, void *arg)
{
	(void)arg;
	httpd_reply_error(request, 422, "bad_thing", "thing", "\"%s\" is no thing", "a\\b");
}

static void handle_none(struct httpd_request *request, void *arg)
{
	(void)arg;
	httpd_reply(request, 204, NULL, 0);
}

static const struct httpd_route routes[] = {
	{.method = "GET", .path = "/hello", .handler = handle_hello},
	{.method = "POST", .path = "/echo", .handler = handle_echo, .max_body = BIG},
	{.method = "POST", .path = "/small", .handler = handle_echo, .max_body = 100},
	{.method = "GET", .path = "/park", .handler = handle_park},
	{.method = "GET", .path = "/keep", .handler = handle_keep},
	{.method = "GET", .path = "/forget", .handler = handle_forget},
	{.method = "GET", .path = "/look", .handler = handle_look},
	{.method = "GET", .path = "/fail", .handler = handle_fail},
	{.method = "GET", .path = "/none", .handler = handle_none},
	{0},
};

static struct httpd_conf conf_of(const char *address)
{
	return (struct httpd_conf){
		.address = address,
		.unix_mode = 0660,
		.unix_gid = (gid_t)-1,
		.routes = routes,
		.arg = &f,
		.max_connections = 100,
		.max_per_address = 100,
		.request_timeout_ms = 60000,
		.idle_timeout_ms = 60000,
	};
}

static void serve(const struct httpd_conf *conf)
{
	struct err err;

	if (httpd_new(f.base, conf, &f.httpd, &err) < 0)
		fail_msg("%s", err.text);
}

static void serve_tcp(void)
{
	const struct httpd_conf conf = conf_of("127.0.0.1:0");

	serve(&conf);
}

static void serve_with(unsigned request_ms, unsigned idle_ms)
{
	struct httpd_conf conf = conf_of("127.0.0.1:0");

	conf.request_timeout_ms = request_ms;
	conf.idle_timeout_ms = idle_ms;
	serve(&conf);
}

static void dial(struct peer *peer)
{
	peer_connect(peer, f.base, "127.0.0.1", httpd_port(f.httpd), NULL);
}

static int set_up(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	f.peer.fd = f.other.fd = -1;
	f.base = event_base_new();
	return f.base ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	httpd_free(f.httpd);
	peer_close(&f.peer);
	peer_close(&f.other);
	event_base_free(f.base);
	return 0;
}

static void park_one(void)
{
	dial(&f.peer);
	peer_say(&f.peer, GET("/park"));
	turn_until(f.base, &f.is_parked);
}

static void requests_share_a_connection(void **state)
{
	const char *body;
	uint64_t id;

	(void)state;
	serve_tcp();
	dial(&f.peer);
	peer_say(&f.peer, GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_string_equal(body, "{}");
	assert_non_null(strstr(peer_head(&f.peer), "Content-Type: application/json\r\n"));
	id = f.id;
	peer_say(&f.peer, GET("/none"));
	assert_int_equal(peer_response(&f.peer, &body), 204);
	peer_say(&f.peer, GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_int_equal(f.id, id);
	assert_int_equal(httpd_connections(f.httpd), 1);
	dial(&f.other);
	peer_say(&f.other, GET("/hello"));
	assert_int_equal(peer_response(&f.other, &body), 200);
	assert_int_not_equal(f.id, id);
	assert_int_equal(httpd_connections(f.httpd), 2);
}

static void body_arrives_whole_from_pieces(void **state)
{
	static const char text[] = "POST /small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"a\":\"b c d\"}";
	const char *body;

	(void)state;
	serve_tcp();
	dial(&f.peer);
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(text) - 1; i++) {
			peer_send(&f.peer, text + i, 1);
			turn(f.base);
		}
		assert_int_equal(peer_response(&f.peer, &body), 200);
		assert_string_equal(body, "{\"a\":\"b c d\"}");
	}
}

static void large_bodies_go_through(void **state)
{
	size_t len = 50000;
	char *text = malloc(len), head[200];
	const char *body;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + i % 26);
	serve_tcp();
	dial(&f.peer);
	snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", len);
	peer_say(&f.peer, head);
	peer_send(&f.peer, text, len);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_memory_equal(body, text, len);
	free(text);
}

static void expectant_client_is_told_to_continue(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	dial(&f.peer);
	for (unsigned round = 0; round < 2; round++) {
		peer_say(&f.peer, "POST /small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
		assert_int_equal(peer_response(&f.peer, &body), 100);
		peer_say(&f.peer, "{}");
		assert_int_equal(peer_response(&f.peer, &body), 200);
		assert_string_equal(body, "{}");
	}
	/* Who does not wait needs no telling. */
	peer_say(&f.peer, "POST /small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}");
	assert_int_equal(peer_response(&f.peer, &body), 200);
}

static void handler_sees_header_query_and_peer(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	dial(&f.peer);
	peer_say(&f.peer, "GET /look?p=1&q=a%20b+c HTTP/1.1\r\nHost: x\r\nX-Test:  some thing \r\n\r\n");
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_string_equal(body, "some thing|a b c|127.0.0.1");
	assert_non_null(strstr(peer_head(&f.peer), "X-Answer: yes\r\n"));
	assert_non_null(strstr(peer_head(&f.peer), "Content-Type: text/plain\r\n"));
	peer_say(&f.peer, "GET /look?& HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_string_equal(body, "-|-|127.0.0.1");
}

static void check_error_body(const char *text, const char *code)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct json_fields fields;
	struct err err;

	if (json_parse(text, strlen(text), &doc, &err) < 0)
		fail_msg("%s: %s", err.text, text);
	json_fields_begin(&fields, json_root(doc), &err);
	assert_string_equal(json_string(&fields, "error", 1, 100, NULL), code);
	json_string(&fields, "message", 1, 1000, NULL);
	json_string_opt(&fields, "field", 1, 100, NULL);
	if (json_fields_end(&fields) < 0)
		fail_msg("%s: %s", err.text, text);
}

static void every_refusal_is_json_and_ends_the_connection(void **state)
{
	static const struct {
		const char *text;
		int status;
		const char *code, *also;
	} cases[] = {
		{"\r\n\r\n", 400, "bad_request"},
		{"GET /hello HTTP/1.1\r\n\r\n", 400, "bad_request"},
		{"GET /hello HTTP/1.1\r\nHost : x\r\n\r\n", 400, "bad_request"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400, "bad_request"},
		{GET("/nothing"), 404, "not_found"},
		{"PUT /echo HTTP/1.1\r\nHost: x\r\n\r\n", 405, "bad_method", "\r\nAllow: POST\r\n"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411, "length_required"},
		{"POST /small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 101\r\n\r\n", 413, "too_large"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n", 413, "too_large"},
		{"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 415, "bad_content_type"},
		{"GET /hello HTTP/3.0\r\n\r\n", 505, "bad_version"},
	};
	const char *body;

	(void)state;
	serve_tcp();
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		dial(&f.peer);
		peer_say(&f.peer, cases[i].text);
		assert_int_equal(peer_response(&f.peer, &body), cases[i].status);
		check_error_body(body, cases[i].code);
		assert_non_null(strstr(peer_head(&f.peer), "\r\nConnection: close\r\n"));
		if (cases[i].also)
			assert_non_null(strstr(peer_head(&f.peer), cases[i].also));
		peer_wait_eof(&f.peer);
		peer_close(&f.peer);
	}
}

static void oversize_body_is_refused_while_it_is_sent(void **state)
{
	static char chunk[65536];
	const char *body;

	(void)state;
	serve_tcp();
	dial(&f.peer);
	peer_say(&f.peer, "POST /small HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n");
	/* A client that sends before it listens still gets to read the answer. */
	for (unsigned i = 0; i < 50; i++)
		assert_true(peer_send(&f.peer, chunk, sizeof(chunk)));
	assert_int_equal(peer_response(&f.peer, &body), 413);
	check_error_body(body, "too_large");
}

static void oversize_headers_are_refused(void **state)
{
	static char many[20000];
	const char *body;

	(void)state;
	serve_tcp();
	memset(many, 'x', sizeof(many) - 1);
	dial(&f.peer);
	peer_say(&f.peer, "GET /hello HTTP/1.1\r\nHost: x\r\nX-Long: ");
	peer_say(&f.peer, many);
	assert_int_equal(peer_response(&f.peer, &body), 431);
	check_error_body(body, "head_too_large");
}

static void errors_of_handlers_are_escaped(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	dial(&f.peer);
	peer_say(&f.peer, GET("/fail"));
	assert_int_equal(peer_response(&f.peer, &body), 422);
	assert_string_equal(body, "{\"error\":\"bad_thing\",\"message\":\"\\\"a\\\\b\\\" is no thing\",\"field\":\"thing\"}");
	peer_say(&f.peer, GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
}

static void forgotten_request_is_answered_500(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	dial(&f.peer);
	peer_say(&f.peer, GET("/forget"));
	assert_int_equal(peer_response(&f.peer, &body), 500);
	check_error_body(body, "internal");
}

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

static void request_sent_ahead_ends_the_connection_after_the_first_reply(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	/* In one piece, ... */
	dial(&f.peer);
	peer_say(&f.peer, GET("/park") GET("/hello") GET("/hello"));
	turn_until(f.base, &f.is_parked);
	turn(f.base);
	httpd_reply(f.parked, 200, "{}", 2);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_non_null(strstr(peer_head(&f.peer), "Connection: close"));
	peer_wait_eof(&f.peer);
	peer_close(&f.peer);
	/* ... while it is parked, ... */
	f.is_parked = false;
	park_one();
	peer_say(&f.peer, GET("/hello"));
	turn(f.base);
	turn(f.base);
	httpd_reply(f.parked, 200, "{}", 2);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	peer_wait_eof(&f.peer);
	peer_close(&f.peer);
	/* ... and with a handler that answers at once. */
	dial(&f.peer);
	peer_say(&f.peer, GET("/hello") GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	assert_non_null(strstr(peer_head(&f.peer), "Connection: close"));
	peer_wait_eof(&f.peer);
	assert_int_equal(f.closes, 0);
}

static void client_may_ask_to_close(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	dial(&f.peer);
	peer_say(&f.peer, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	assert_int_equal(peer_response(&f.peer, &body), 200);
	peer_wait_eof(&f.peer);
	peer_close(&f.peer);
	dial(&f.peer);
	peer_say(&f.peer, "GET /hello HTTP/1.0\r\n\r\n");
	turn(f.base);
	peer_wait_eof(&f.peer);
	assert_int_equal(httpd_connections(f.httpd), 0);
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

static void watched_reply_that_arrives_is_written(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	park_one();
	httpd_reply_watched(f.parked, 200, "{}", 2, on_written, &f);
	assert_int_equal(f.writes, 0);
	assert_int_equal(peer_response(&f.peer, &body), 200);
	turn_until(f.base, &f.is_written);
	assert_true(f.written);
	peer_close(&f.peer);
	while (httpd_connections(f.httpd))
		turn(f.base);
	assert_int_equal(f.writes, 1);
	assert_int_equal(f.closes, 0);
}

static void watched_reply_that_never_started_is_not_written(void **state)
{
	(void)state;
	serve_tcp();
	park_one();
	httpd_reply_watched(f.parked, 200, "{}", 2, on_written, &f);
	httpd_free(f.httpd);
	f.httpd = NULL;
	assert_int_equal(f.writes, 1);
	assert_false(f.written);
}

static void watched_reply_to_a_reset_connection_is_not_written(void **state)
{
	(void)state;
	serve_tcp();
	park_one();
	peer_reset(&f.peer);
	httpd_reply_watched(f.parked, 200, "{}", 2, on_written, &f);
	turn_until(f.base, &f.is_written);
	assert_int_equal(f.writes, 1);
	assert_false(f.written);
	assert_int_equal(f.closes, 0);
}

static void watched_reply_cut_in_the_middle_is_written(void **state)
{
	char *large = calloc(1, BIG);

	(void)state;
	assert_non_null(large);
	serve_tcp();
	park_one();
	httpd_reply_watched(f.parked, 200, large, BIG, on_written, &f);
	free(large);
	while (recv(f.peer.fd, f.peer.data, 1, 0) != 1)
		turn(f.base);
	assert_int_equal(f.writes, 0);
	peer_reset(&f.peer);
	turn_until(f.base, &f.is_written);
	assert_int_equal(f.writes, 1);
	assert_true(f.written);
}

static void reply_that_is_not_read_is_cut(void **state)
{
	char *large = calloc(1, BIG);

	(void)state;
	assert_non_null(large);
	serve_with(100, 60000);
	park_one();
	httpd_reply_watched(f.parked, 200, large, BIG, on_written, &f);
	free(large);
	turn_until(f.base, &f.is_written);
	assert_int_equal(httpd_connections(f.httpd), 0);
}

static void connections_past_the_limit_are_closed(void **state)
{
	struct httpd_conf conf = conf_of("127.0.0.1:0");
	const char *body;
	struct peer third;

	(void)state;
	conf.max_connections = 2;
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

	(void)state;
	conf.max_per_address = 1;
	serve(&conf);
	dial(&f.peer);
	peer_say(&f.peer, GET("/hello"));
	assert_int_equal(peer_response(&f.peer, &body), 200);
	dial(&third);
	peer_wait_eof(&third);
	peer_close(&third);
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
	static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:", "::1:80", "127.0.0.1:http x", "no such host.invalid:80", "192.0.2.1:0", "unix:/nowhere/x"};
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
		T(requests_share_a_connection),
		T(body_arrives_whole_from_pieces),
		T(large_bodies_go_through),
		T(expectant_client_is_told_to_continue),
		T(handler_sees_header_query_and_peer),
		T(every_refusal_is_json_and_ends_the_connection),
		T(oversize_body_is_refused_while_it_is_sent),
		T(oversize_headers_are_refused),
		T(errors_of_handlers_are_escaped),
		T(forgotten_request_is_answered_500),
		T(dripping_request_is_cut),
		T(dripping_body_on_a_kept_connection_is_cut),
		T(silent_connection_is_cut),
		T(idle_connection_is_cut),
		T(parked_request_outlives_both_timeouts),
		T(closing_peer_of_a_parked_request_is_noticed),
		T(close_is_not_told_after_the_reply),
		T(request_sent_ahead_ends_the_connection_after_the_first_reply),
		T(client_may_ask_to_close),
		T(vanishing_at_any_byte_leaves_nothing),
		T(watched_reply_that_arrives_is_written),
		T(watched_reply_that_never_started_is_not_written),
		T(watched_reply_to_a_reset_connection_is_not_written),
		T(watched_reply_cut_in_the_middle_is_written),
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
