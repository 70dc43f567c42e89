/* The HTTP request path: the bytes go through a unix socket into a real httpd, in two pieces cut where the first byte says. Whatever comes,
 * the connection ends, nothing of it stays, and no answer is one of evhttp's own HTML pages. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/httpd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz_http.XXXXXX", path[64];
static struct event_base *base;
static struct httpd *httpd;
static struct httpd_request *parked;

static void handle_sum(struct httpd_request *request, void *arg)
{
	size_t len;
	const uint8_t *body = httpd_body(request, &len);
	unsigned sum = 0;

	(void)arg;
	for (size_t i = 0; i < len; i++)
		sum += body[i];
	httpd_reply_error(request, 400, "sum", NULL, "%u", sum);
}

static void handle_look(struct httpd_request *request, void *arg)
{
	const char *q = httpd_query(request, "q"), *authorization = httpd_header(request, "Authorization");

	(void)arg;
	httpd_reply_error(request, 400, "looked", q ? q : "", "%s", authorization ? authorization : "");
}

static void forget(void *arg)
{
	(void)arg;
	parked = NULL;
}

static void handle_park(struct httpd_request *request, void *arg)
{
	(void)arg;
	parked = request;
	httpd_on_close(request, forget, NULL);
}

static const struct httpd_route routes[] = {
	{.method = "POST", .path = "/sum", .handler = handle_sum, .max_body = 64},
	{.method = "GET", .path = "/look", .handler = handle_look},
	{.method = "GET", .path = "/park", .handler = handle_park},
	{0},
};

static void clean_up(void)
{
	httpd_free(httpd);
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_free(base);
	rmdir(dir);
}

static void start(void)
{
	char address[80];
	const struct httpd_conf conf = {
		.address = address,
		.unix_mode = 0600,
		.unix_gid = (gid_t)-1,
		.routes = routes,
		.max_connections = 4,
		.request_timeout_ms = 10000,
		.idle_timeout_ms = 10000,
	};
	struct err err;

	if (!mkdtemp(dir) || !(base = event_base_new()))
		abort();
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(address, sizeof(address), "unix:%s", path);
	if (httpd_new(base, &conf, &httpd, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	atexit(clean_up);
}

static void turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
	if (parked) {
		struct httpd_request *request = parked;

		parked = NULL;
		httpd_reply(request, 200, "{}", 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	static char answer[1 << 16];
	size_t cut, got = 0;
	ssize_t n;
	int fd;

	if (!base)
		start();
	if (size < 1 || size > 20000)
		return 0;
	cut = (size - 1) * data[0] / 255;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	memcpy(sun.sun_path, path, sizeof(path));
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		abort();
	/* Both pieces fit the socket's buffer. After a refusal the second may find it closed. */
	if (cut && send(fd, data + 1, cut, MSG_NOSIGNAL) < 0)
		abort();
	turn();
	if (cut < size - 1 && send(fd, data + 1 + cut, size - 1 - cut, MSG_NOSIGNAL) < 0 && errno != EPIPE)
		abort();
	turn();
	shutdown(fd, SHUT_WR);
	while ((n = recv(fd, answer + got, sizeof(answer) - 1 - got, 0)) != 0) {
		if (n < 0 && errno != EAGAIN)
			break;
		got += n > 0 ? (size_t)n : 0;
		turn();
	}
	answer[got] = '\0';
	if (got && strncmp(answer, "HTTP/1.", 7))
		abort();
	/* What a handler repeats has its line ends escaped, so this one is a header. */
	if (strstr(answer, "\r\nContent-Type: text/html"))
		abort();
	close(fd);
	while (httpd_connections(httpd))
		turn();
	return 0;
}
