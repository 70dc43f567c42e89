/* Load on a running saslauthd through its socket, as libsasl's saslauthd_verify_password() speaks it: a connection for each
 * password, K at a time, one thread.
 *
 *   saslauthd_load --socket /run/saslauthd/mux --user 'user{05n}' --numbers 0-9999 --password 'Pw-{05n}' --in-flight 32 --seconds 1
 *                  [--service imap] [--realm example.com] [--json] */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"

#define WHAT "saslauthd_load"
/* "OK" or "NO" and a text for people; with its length before it. */
#define ANSWER_MAX 1024

struct client {
	struct client *next; /* in the list of those that wait */
	int fd;		     /* -1: none */
	uint64_t started_ns;
	size_t got;
	struct buf request;
	uint8_t answer[ANSWER_MAX];
};

struct load {
	struct bench bench;
	const char *socket, *service, *realm;
	struct sockaddr_un address;
	struct buf user, password;
	struct client *clients, *waiting, **waiting_end;
	int epoll;
};

/* False: saslauthd's queue of connections is full. What there is to say fits into the socket's buffer at once. */
static bool dial(struct load *load, struct client *client)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		bench_die(WHAT, "socket: %m");
	if (connect(fd, (const struct sockaddr *)&load->address, sizeof(load->address)) < 0) {
		if (errno != EAGAIN)
			bench_die(WHAT, "%s: %m", load->socket);
		bench_retry(&load->bench);
		close(fd);
		return false;
	}
	if (send(fd, client->request.data, client->request.len, MSG_NOSIGNAL) != (ssize_t)client->request.len ||
		epoll_ctl(load->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		bench_die(WHAT, "%s: %m", load->socket);
	client->fd = fd;
	client->got = 0;
	return true;
}

static void wait_for_room(struct load *load, struct client *client)
{
	client->next = NULL;
	*load->waiting_end = client;
	load->waiting_end = &client->next;
}

static void start_one(struct load *load, struct client *client)
{
	bench_login(&load->bench, &load->user, &load->password);
	buf_reset(&client->request);
	buf_put_lp(&client->request, load->user.data, load->user.len);
	buf_put_lp(&client->request, load->password.data, load->password.len);
	buf_put_lp(&client->request, load->service, strlen(load->service));
	buf_put_lp(&client->request, load->realm, strlen(load->realm));
	if (!buf_ok(&client->request))
		bench_die(WHAT, "no memory");
	client->started_ns = bench_start(&load->bench);
	/* Nobody overtakes those that wait already. */
	if (load->waiting || !dial(load, client))
		wait_for_room(load, client);
}

/* An answer came: a worker takes its next connection out of the queue, or has just done so. */
static void dial_waiting(struct load *load)
{
	while (load->waiting && dial(load, load->waiting)) {
		load->waiting = load->waiting->next;
		if (!load->waiting)
			load->waiting_end = &load->waiting;
	}
}

static void take_answer(struct load *load, struct client *client)
{
	ssize_t n = read(client->fd, client->answer + client->got, sizeof(client->answer) - client->got);
	struct reader reader;
	const char *verdict = NULL;
	const uint8_t *text;
	size_t len;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		client->got += (size_t)n;
		reader = READER(client->answer, client->got);
		text = reader_lp(&reader, &len);
		if (reader.failed && client->got < sizeof(client->answer))
			return;
		if (!reader.failed && len >= 2 && memcmp(text, "OK", 2) == 0)
			verdict = "success";
		else if (!reader.failed && len >= 2 && memcmp(text, "NO", 2) == 0)
			verdict = "invalid_credentials";
	}
	close(client->fd);
	client->fd = -1;
	if (bench_end(&load->bench, client->started_ns, verdict, verdict ? strlen(verdict) : 0))
		start_one(load, client);
}

int main(int argc, char **argv)
{
	struct load load = {.service = "imap",
		.realm = "",
		.user = BUF_INIT(256),
		.password = BUF_INIT(256),
		.address.sun_family = AF_UNIX,
		.epoll = epoll_create1(EPOLL_CLOEXEC)};
	const struct bench_option options[] = {
		{"socket", &load.socket, true},
		{"service", &load.service, false},
		{"realm", &load.realm, false},
		{NULL},
	};
	struct epoll_event events[64];
	int n;

	bench_init(&load.bench, WHAT, argc, argv, options);
	if ((size_t)snprintf(load.address.sun_path, sizeof(load.address.sun_path), "%s", load.socket) >= sizeof(load.address.sun_path))
		bench_die(WHAT, "--socket %s: too long", load.socket);
	load.clients = calloc(load.bench.in_flight, sizeof(*load.clients));
	if (!load.clients || load.epoll < 0)
		bench_die(WHAT, "no memory");
	load.waiting_end = &load.waiting;
	bench_go(&load.bench);
	for (unsigned long i = 0; i < load.bench.in_flight; i++) {
		load.clients[i].fd = -1;
		load.clients[i].request = BUF_INIT(1024);
		start_one(&load, &load.clients[i]);
	}
	while ((n = bench_wait(&load.bench, load.epoll, events, PTA_ARRAY_SIZE(events))) >= 0) {
		for (int i = 0; i < n; i++)
			take_answer(&load, events[i].data.ptr);
		dial_waiting(&load);
	}
	n = bench_report(&load.bench);
	for (unsigned long i = 0; i < load.bench.in_flight; i++) {
		if (load.clients[i].fd >= 0)
			close(load.clients[i].fd);
		buf_done(&load.clients[i].request);
	}
	free(load.clients);
	buf_done(&load.user);
	buf_done(&load.password);
	return n;
}
