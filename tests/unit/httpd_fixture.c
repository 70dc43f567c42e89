#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "httpd_fixture.h"

struct fixture f;

void on_close(void *arg)
{
	assert_ptr_equal(arg, &f);
	f.closes++;
	f.is_closed = true;
	f.parked = NULL;
}

void on_written(void *arg, bool written)
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

struct httpd_conf conf_of(const char *address)
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

void serve(const struct httpd_conf *conf)
{
	struct err err;

	if (httpd_new(f.base, conf, &f.httpd, &err) < 0)
		fail_msg("%s", err.text);
}

void serve_tcp(void)
{
	const struct httpd_conf conf = conf_of("127.0.0.1:0");

	serve(&conf);
}

void serve_with(unsigned request_ms, unsigned idle_ms)
{
	struct httpd_conf conf = conf_of("127.0.0.1:0");

	conf.request_timeout_ms = request_ms;
	conf.idle_timeout_ms = idle_ms;
	serve(&conf);
}

void dial(struct peer *peer)
{
	peer_connect(peer, f.base, "127.0.0.1", httpd_port(f.httpd), NULL);
}

int set_up(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	f.peer.fd = f.other.fd = -1;
	f.base = event_base_new();
	return f.base ? 0 : -1;
}

int tear_down(void **state)
{
	(void)state;
	httpd_free(f.httpd);
	peer_close(&f.peer);
	peer_close(&f.other);
	event_base_free(f.base);
	return 0;
}

void park_one(void)
{
	dial(&f.peer);
	peer_say(&f.peer, GET("/park"));
	turn_until(f.base, &f.is_parked);
}
