/* A line that takes time: a TCP proxy on loopback that holds each piece it reads for DELAY_MS before it passes it on, each way.
 *
 *   delay_proxy LISTEN_PORT TARGET_HOST TARGET_PORT DELAY_MS        prints "ready" when it listens
 *
 * One thread. The delay is the same for all, so one queue in the order of reading is in the order of time as well. What was held
 * long enough is written at once: at most 50 us late, the kernel's timer slack, which lets one wake-up do for several. What a slow
 * reader leaves is kept for it, and from HELD_MAX bytes on the way to it no more is read for it. An end of a stream is passed on
 * behind what was read before it. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX (1u << 20)
#define READ_MAX 65536
#define NS 1000000000

/* What one read gave; no bytes: the end. */
struct chunk {
	STAILQ_ENTRY(chunk) next;
	struct side *to;
	uint64_t due_ns;
	size_t len, sent;
	char data[];
};

STAILQ_HEAD(chunks, chunk);

/* One socket, and what is on its way to it. */
struct side {
	struct link *link;
	int fd;
	bool readable;	   /* there may be more to read */
	bool hung_up;	   /* its end, or an error, is behind what can be read */
	bool read_end;	   /* there is no more */
	bool broken;	   /* it takes no more: what is on its way is dropped */
	bool ended;	   /* the end was passed on to it: nothing is on its way any more */
	size_t held;	   /* bytes on the way to it */
	struct chunks due; /* to be written, when it takes more */
};

struct link {
	struct side sides[2]; /* who connected, and the target */
	STAILQ_ENTRY(link) closed;
};

static struct {
	int epoll, listener;
	struct addrinfo *target;
	uint64_t delay_ns;
	struct chunks held;	    /* of all links, in the order of time */
	STAILQ_HEAD(, link) closed; /* freed when no event that was got with theirs is left */
} proxy;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "delay_proxy: %s: %m\n", what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

static struct side *other(const struct side *side)
{
	struct side *sides = side->link->sides;

	return side == &sides[0] ? &sides[1] : &sides[0];
}

/* Reads what there is, as long as there is room for it. */
static void take(struct side *from)
{
	static char buffer[READ_MAX];
	struct side *to = other(from);

	while (from->readable && !from->read_end && to->held < HELD_MAX) {
		ssize_t n = read(from->fd, buffer, sizeof(buffer));
		struct chunk *chunk;

		if (n < 0 && errno == EAGAIN) {
			from->readable = false;
			return;
		}
		/* Less than there was room for was all: what comes later is another edge, and so is an end that comes later. */
		from->readable = n == (ssize_t)sizeof(buffer) || from->hung_up;
		/* A connection that was reset has ended. */
		from->read_end = n <= 0;
		n = n < 0 ? 0 : n;
		chunk = malloc(sizeof(*chunk) + (size_t)n);
		if (!chunk)
			die("malloc");
		*chunk = (struct chunk){.to = to, .due_ns = now_ns() + proxy.delay_ns, .len = (size_t)n};
		memcpy(chunk->data, buffer, (size_t)n);
		to->held += (size_t)n;
		STAILQ_INSERT_TAIL(&proxy.held, chunk, next);
	}
}

/* False: it takes no more for now. */
static bool write_one(struct side *to, struct chunk *chunk)
{
	while (!to->broken && chunk->sent < chunk->len) {
		ssize_t n = send(to->fd, chunk->data + chunk->sent, chunk->len - chunk->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0)
			to->broken = true;
		else
			chunk->sent += (size_t)n;
	}
	if (chunk->len == 0) {
		to->ended = true;
		/* A failure says that there is no connection left to end. */
		(void)shutdown(to->fd, SHUT_WR);
	}
	return true;
}

/* Writes what is due, and reads on where that makes room. */
static void give(struct side *to)
{
	struct side *from = other(to);
	struct chunk *chunk;

	while ((chunk = STAILQ_FIRST(&to->due)) && write_one(to, chunk)) {
		STAILQ_REMOVE_HEAD(&to->due, next);
		to->held -= chunk->len;
		free(chunk);
	}
	take(from);
	if (to->ended && from->ended && to->fd >= 0) {
		close(to->fd);
		close(from->fd);
		to->fd = from->fd = -1;
		STAILQ_INSERT_TAIL(&proxy.closed, to->link, closed);
	}
}

static void add_side(struct link *link, int i, int fd)
{
	struct side *side = &link->sides[i];
	/* Edges: what cannot be read or written now is remembered here, and no event comes again and again. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = side};
	const int on = 1;

	side->link = link;
	side->fd = fd;
	STAILQ_INIT(&side->due);
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 || epoll_ctl(proxy.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		die("a new connection");
}

static void accept_one(void)
{
	int fd = accept4(proxy.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), out;
	struct link *link;

	if (fd < 0) {
		if (errno == EAGAIN || errno == ECONNABORTED)
			return;
		die("accept");
	}
	out = socket(proxy.target->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	link = calloc(1, sizeof(*link));
	if (out < 0 || !link)
		die("a new connection");
	/* One that is refused at once ends like one that is refused later: reading it fails. */
	if (connect(out, proxy.target->ai_addr, proxy.target->ai_addrlen) < 0 && errno != EINPROGRESS && errno != ECONNREFUSED)
		die("connect");
	add_side(link, 0, fd);
	add_side(link, 1, out);
}

static void pass_on_due(void)
{
	uint64_t now = now_ns();
	struct chunk *chunk;

	while ((chunk = STAILQ_FIRST(&proxy.held)) && chunk->due_ns <= now) {
		STAILQ_REMOVE_HEAD(&proxy.held, next);
		STAILQ_INSERT_TAIL(&chunk->to->due, chunk, next);
		if (STAILQ_FIRST(&chunk->to->due) == chunk)
			give(chunk->to);
	}
}

static void free_closed(void)
{
	struct link *link;

	while ((link = STAILQ_FIRST(&proxy.closed))) {
		STAILQ_REMOVE_HEAD(&proxy.closed, closed);
		free(link);
	}
}

static void serve(void)
{
	struct epoll_event events[256];
	struct chunk *chunk = STAILQ_FIRST(&proxy.held);
	uint64_t now = now_ns(), wait_ns = chunk && chunk->due_ns > now ? chunk->due_ns - now : 0;
	struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS), .tv_nsec = (long)(wait_ns % NS)};
	int n = epoll_pwait2(proxy.epoll, events, sizeof(events) / sizeof(events[0]), chunk ? &wait : NULL, NULL);

	if (n < 0 && errno != EINTR)
		die("epoll_pwait2");
	for (int i = 0; i < n; i++) {
		struct side *side = events[i].data.ptr;

		if (!side) {
			accept_one();
			continue;
		}
		if (side->fd < 0)
			continue;
		side->hung_up = side->hung_up || events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
		side->readable = side->readable || side->hung_up || events[i].events & EPOLLIN;
		take(side);
		if (side->fd >= 0 && events[i].events & EPOLLOUT && !STAILQ_EMPTY(&side->due))
			give(side);
	}
	pass_on_due();
	free_closed();
}

static void prepare(char **argv)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	const int on = 1;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN};
	char *end, *delay_end;
	double delay_ms = strtod(argv[4], &delay_end);
	unsigned long port = strtoul(argv[1], &end, 10);
	int r = getaddrinfo(argv[2], argv[3], &hints, &proxy.target);

	if (*end || port == 0 || port > 65535 || *delay_end || !(delay_ms >= 0 && delay_ms <= 60000) || r) {
		fprintf(stderr, "delay_proxy: port %s, target %s port %s, delay %s: %s\n", argv[1], argv[2], argv[3], argv[4],
			r ? gai_strerror(r) : "want a port and milliseconds");
		exit(2);
	}
	proxy.delay_ns = (uint64_t)(delay_ms * 1e6);
	STAILQ_INIT(&proxy.held);
	STAILQ_INIT(&proxy.closed);
	address.sin_port = htons((uint16_t)port);
	proxy.epoll = epoll_create1(EPOLL_CLOEXEC);
	proxy.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (proxy.epoll < 0 || proxy.listener < 0 || setsockopt(proxy.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(proxy.listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(proxy.listener, SOMAXCONN) < 0 ||
		epoll_ctl(proxy.epoll, EPOLL_CTL_ADD, proxy.listener, &event) < 0)
		die("listening");
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: delay_proxy LISTEN_PORT TARGET_HOST TARGET_PORT DELAY_MS\n");
		return 2;
	}
	prepare(argv);
	puts("ready");
	if (fflush(stdout) != 0)
		die("stdout");
	for (;;)
		serve();
}
