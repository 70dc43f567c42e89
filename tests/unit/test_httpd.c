/* Requests and replies of httpd over real sockets. Time-outs, limits and addresses: test_httpd_conn.c. TLS and threads: test_httpd_tls.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/json.h"
#include "httpd_fixture.h"

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

static void watched_reply_that_arrives_is_written(void **state)
{
	const char *body;

	(void)state;
	serve_tcp();
	park_one();
	httpd_reply_watched(f.parked, 200, "application/json", "{}", 2, on_written, &f);
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
	httpd_reply_watched(f.parked, 200, "application/json", "{}", 2, on_written, &f);
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
	httpd_reply_watched(f.parked, 200, "application/json", "{}", 2, on_written, &f);
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
	httpd_reply_watched(f.parked, 200, "application/json", large, BIG, on_written, &f);
	free(large);
	while (recv(f.peer.fd, f.peer.data, 1, 0) != 1)
		turn(f.base);
	assert_int_equal(f.writes, 0);
	peer_reset(&f.peer);
	turn_until(f.base, &f.is_written);
	assert_int_equal(f.writes, 1);
	assert_true(f.written);
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
		T(request_sent_ahead_ends_the_connection_after_the_first_reply),
		T(client_may_ask_to_close),
		T(watched_reply_that_arrives_is_written),
		T(watched_reply_that_never_started_is_not_written),
		T(watched_reply_to_a_reset_connection_is_not_written),
		T(watched_reply_cut_in_the_middle_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
