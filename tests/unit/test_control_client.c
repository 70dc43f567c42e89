#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/control_client.h"
#include "base/httpd.h"

/* A real httpd on a unix socket in a thread, since control_call() blocks. */
static char dir[] = "/tmp/test_control.XXXXXX", path[64], address[80];
static struct event_base *base;
static struct httpd *httpd;
static pthread_t thread;

static void handle_status(struct httpd_request *request, void *arg)
{
	(void)arg;
	httpd_reply(request, 200, "{\"ok\":true}", 11);
}

static void handle_echo(struct httpd_request *request, void *arg)
{
	size_t len;
	const uint8_t *body = httpd_body(request, &len);

	(void)arg;
	httpd_reply(request, len ? 201 : 400, body, len);
}

static void gone(void *arg)
{
	(void)arg;
}

static void handle_silence(struct httpd_request *request, void *arg)
{
	(void)arg;
	httpd_on_close(request, gone, NULL);
}

static void stop(void *arg, bool written)
{
	(void)arg;
	(void)written;
	event_base_loopbreak(base);
}

static void handle_stop(struct httpd_request *request, void *arg)
{
	(void)arg;
	httpd_reply_watched(request, 200, "application/json", NULL, 0, stop, NULL);
}

static const struct httpd_route routes[] = {
	{.method = "GET", .path = "/v1/status", .handler = handle_status},
	{.method = "POST", .path = "/v1/echo", .handler = handle_echo, .max_body = 2 << 20},
	{.method = "GET", .path = "/v1/silence", .handler = handle_silence},
	{.method = "POST", .path = "/v1/stop", .handler = handle_stop},
	{0},
};

static void *serve(void *arg)
{
	event_base_dispatch(base);
	return arg;
}

static int set_up(void **state)
{
	const struct httpd_conf conf = {
		.address = address,
		.unix_mode = 0600,
		.unix_gid = (gid_t)-1,
		.routes = routes,
		.max_connections = 10,
		.request_timeout_ms = 60000,
		.idle_timeout_ms = 60000,
	};
	struct err err;

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(address, sizeof(address), "unix:%s", path);
	base = event_base_new();
	if (!base || httpd_new(base, &conf, &httpd, &err) < 0)
		return -1;
	return pthread_create(&thread, NULL, serve, NULL);
}

static int tear_down(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(100);
	struct err err;
	int status;

	(void)state;
	if (control_call(path, "POST", "/v1/stop", NULL, 0, 10000, &status, &out, &err) < 0)
		return -1;
	pthread_join(thread, NULL);
	httpd_free(httpd);
	event_base_free(base);
	return rmdir(dir);
}

static void get_brings_status_and_body(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(100);
	struct err err;
	int status = 0;

	(void)state;
	assert_int_equal(control_call(path, "GET", "/v1/status", NULL, 0, 10000, &status, &out, &err), 0);
	assert_int_equal(status, 200);
	assert_string_equal((char *)out.data, "{\"ok\":true}");
	buf_reset(&out);
	assert_int_equal(control_call(path, "GET", "/v1/nothing", NULL, 0, 10000, &status, &out, &err), 0);
	assert_int_equal(status, 404);
}

static void post_carries_its_body(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(4 << 20);
	size_t len = 2 << 20; /* libcurl would expect a "100 Continue" for this one */
	char *body = malloc(len);
	struct err err;
	int status = 0;

	(void)state;
	assert_non_null(body);
	memset(body, 'x', len);
	assert_int_equal(control_call(path, "POST", "/v1/echo", body, len, 10000, &status, &out, &err), 0);
	assert_int_equal(status, 201);
	assert_int_equal(out.len, len);
	assert_memory_equal(out.data, body, len);
	free(body);
	assert_int_equal(control_call(path, "POST", "/v1/echo", NULL, 0, 10000, &status, &out, &err), 0);
	assert_int_equal(status, 400);
}

static void environment_proxies_are_ignored(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(100);
	struct err err;
	int status = 0;

	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1/", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
	assert_int_equal(control_call(path, "GET", "/v1/status", NULL, 0, 10000, &status, &out, &err), 0);
	assert_int_equal(status, 200);
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
}

static void silence_ends_at_the_deadline(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(100);
	struct err err;
	int status = 0;

	(void)state;
	assert_int_equal(control_call(path, "GET", "/v1/silence", NULL, 0, 50, &status, &out, &err), -PTA_ETIMEDOUT);
	assert_non_null(strstr(err.text, "50 ms"));
}

static void answer_past_the_limit_is_too_big(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(5);
	struct err err;
	int status = 0;

	(void)state;
	assert_int_equal(control_call(path, "GET", "/v1/status", NULL, 0, 10000, &status, &out, &err), -PTA_ETOOBIG);
}

static void nobody_listening_is_said(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(100);
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char other[80], longer[200];
	struct err err;
	int status = 0, fd;

	(void)state;
	snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(control_call(other, "GET", "/v1/status", NULL, 0, 10000, &status, &out, &err), -PTA_ENET);
	assert_non_null(strstr(err.text, other));
	assert_non_null(strstr(err.text, "running"));
	/* Left from a crash. */
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", other);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	assert_int_equal(control_call(other, "GET", "/v1/status", NULL, 0, 10000, &status, &out, &err), -PTA_ENET);
	assert_non_null(strstr(err.text, "running"));
	unlink(other);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_true(control_call(longer, "GET", "/v1/status", NULL, 0, 10000, &status, &out, &err) < 0);
	assert_int_equal(status, 0);
}

static void closed_door_is_told_from_an_empty_house(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(100);
	struct err err;
	int status = 0, r;

	(void)state;
	if (geteuid() == 0) {
		/* Root passes every mode: become somebody else for the one call. */
		assert_int_equal(chmod(dir, 0755), 0);
		assert_int_equal(seteuid(65534), 0);
	} else {
		assert_int_equal(chmod(path, 0), 0);
	}
	r = control_call(path, "GET", "/v1/status", NULL, 0, 10000, &status, &out, &err);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	else
		assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(r, -PTA_EPERM);
	assert_non_null(strstr(err.text, "root"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(get_brings_status_and_body),
		cmocka_unit_test(post_carries_its_body),
		cmocka_unit_test(environment_proxies_are_ignored),
		cmocka_unit_test(silence_ends_at_the_deadline),
		cmocka_unit_test(answer_past_the_limit_is_too_big),
		cmocka_unit_test(nobody_listening_is_said),
		cmocka_unit_test(closed_door_is_told_from_an_empty_house),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
