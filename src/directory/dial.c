#include "directory/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* Keepalive finds a dead peer behind an idle connection in about a minute and a half. */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES 3

static _Thread_local int cancel_fd = -1;

void dial_cancel_by(int fd)
{
	cancel_fd = fd;
}

int dial_wait(int fd, short events, uint64_t deadline_us)
{
	for (;;) {
		/* poll() passes over a negative fd. */
		struct pollfd pfds[] = {{.fd = fd, .events = events}, {.fd = cancel_fd, .events = POLLIN}};
		uint64_t now = clock_mono_us();
		int n;

		if (now >= deadline_us)
			return -PTA_ETIMEDOUT;
		/* Rounded up: a wait of 0 ms would spin through the last one. */
		n = poll(pfds, PTA_ARRAY_SIZE(pfds), (int)((deadline_us - now) / 1000 + 1));
		if (n > 0)
			return pfds[1].revents ? -PTA_ECLOSED : 0;
		if (n < 0 && errno != EINTR)
			return -PTA_EIO;
	}
}

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		struct sockaddr_in v4;

		memcpy(&v4, address, sizeof(v4));
		return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
	}
	if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 v6;

		memcpy(&v6, address, sizeof(v6));
		return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
	}
	return false;
}

static int set_options(int fd, unsigned dead_after_ms)
{
	const int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, probes = KEEPALIVE_PROBES;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 || setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0 ||
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)) < 0 ||
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval)) < 0 ||
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes)) < 0 ||
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_after_ms, sizeof(dead_after_ms)) < 0)
		return -1;
	return 0;
}

/* One address. On failure errno tells why. */
static int connect_one(const struct addrinfo *info, uint64_t deadline_us, unsigned dead_after_ms, int *out)
{
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0, saved;
	socklen_t len = sizeof(error);

	if (fd < 0)
		return -1;
	if (set_options(fd, dead_after_ms) < 0)
		goto fail;
	if (connect(fd, info->ai_addr, info->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			goto fail;
		if (dial_wait(fd, POLLOUT, deadline_us) < 0) {
			errno = ETIMEDOUT;
			goto fail;
		}
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			goto fail;
		if (error) {
			errno = error;
			goto fail;
		}
	}
	*out = fd;
	return 0;
fail:
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

int dial(const struct directory_server *server, bool loopback_only, uint64_t deadline_us, unsigned dead_after_ms, int *fd, struct err *err)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	char port[12], address[64] = "";
	unsigned left = 0;
	int rc;

	snprintf(port, sizeof(port), "%u", server->port);
	rc = getaddrinfo(server->host, port, &hints, &list);
	if (rc == EAI_SYSTEM)
		return err_set_errno(err, -PTA_ENET, errno, "looking up %s", server->host);
	if (rc != 0)
		return err_set(err, -PTA_ENET, "looking up %s: %s", server->host, gai_strerror(rc));
	for (const struct addrinfo *info = list; info; info = info->ai_next)
		left++;
	rc = err_set(err, -PTA_ENET, "looking up %s: no address", server->host);
	for (const struct addrinfo *info = list; info; info = info->ai_next, left--) {
		uint64_t now = clock_mono_us();

		if (getnameinfo(info->ai_addr, info->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
			snprintf(address, sizeof(address), "?");
		if (loopback_only && !is_loopback(info->ai_addr)) {
			rc = err_set(err, -PTA_EPERM, "%s is %s: without TLS only loopback addresses are connected to", server->host, address);
			continue;
		}
		if (now >= deadline_us) {
			rc = err_set(err, -PTA_ETIMEDOUT, "connecting to %s port %u (%s): no time left", server->host, server->port, address);
			break;
		}
		if (connect_one(info, now + (deadline_us - now) / left, dead_after_ms, fd) == 0) {
			rc = 0;
			break;
		}
		rc = err_set_errno(
			err, errno == ETIMEDOUT ? -PTA_ETIMEDOUT : -PTA_ENET, errno, "connecting to %s port %u (%s)", server->host, server->port, address);
	}
	freeaddrinfo(list);
	return rc;
}
