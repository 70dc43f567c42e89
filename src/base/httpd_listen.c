/* Listening sockets of httpd: TCP with SO_REUSEPORT, unix sockets with mode and group. Blocks on name look-ups, at start only. */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/httpd_internal.h"

#define BACKLOG 1024
#define USER_TIMEOUT_MS 5000 /* sent and not acknowledged for so long: the peer is gone */
#define KEEPALIVE_IDLE_S 5   /* a parked poll sends nothing: probe it */
#define KEEPALIVE_INTERVAL_S 2
#define KEEPALIVE_COUNT 3

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

/* Linux hands these down to the accepted sockets. */
static int set_options(int fd)
{
	if (set(fd, SOL_SOCKET, SO_REUSEADDR, 1) || set(fd, SOL_SOCKET, SO_REUSEPORT, 1) || set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) ||
		set(fd, IPPROTO_TCP, TCP_NODELAY, 1) || set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS) ||
		set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S) || set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S) ||
		set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT))
		return -1;
	return 0;
}

static int listen_at(struct httpd *httpd, const struct addrinfo *ai, int *out, struct err *err)
{
	const char *address = httpd->conf.address;
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set_errno(err, -PTA_EIO, errno, "listen on %s: socket", address);
	/* "[::]" takes IPv4 too, whatever the system's default is. */
	if (set_options(fd) || (ai->ai_family == AF_INET6 && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0)) || bind(fd, ai->ai_addr, ai->ai_addrlen) ||
		listen(fd, BACKLOG) || getsockname(fd, (struct sockaddr *)&bound, &len)) {
		int r = err_set_errno(err, errno == EADDRINUSE ? -PTA_EEXIST : -PTA_EIO, errno, "listen on %s", address);

		close(fd);
		return r;
	}
	/* The port lies at the same place in both families. */
	httpd->port = ntohs(((struct sockaddr_in *)(void *)&bound)->sin_port);
	*out = fd;
	return 0;
}

static int listen_tcp(struct httpd *httpd, int *out, struct err *err)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	const char *address = httpd->conf.address, *colon = strrchr(address, ':');
	struct addrinfo *list = NULL;
	char host[NI_MAXHOST];
	size_t len;
	int r;

	if (!colon || !colon[1])
		return err_set(err, -PTA_EINVAL, "listen on %s: want host:port, [address]:port, :port or unix:/path", address);
	len = (size_t)(colon - address);
	if (len >= 2 && address[0] == '[' && colon[-1] == ']') {
		address++;
		len -= 2;
	} else if (memchr(address, ':', len)) {
		return err_set(err, -PTA_EINVAL, "listen on %s: an IPv6 address stands in brackets, [address]:port", address);
	}
	if (len >= sizeof(host))
		return err_set(err, -PTA_EINVAL, "listen on %s: the host is too long", httpd->conf.address);
	memcpy(host, address, len);
	host[len] = '\0';
	r = getaddrinfo(len ? host : "::", colon + 1, &hints, &list);
	if (r)
		return err_set(err, -PTA_EINVAL, "listen on %s: %s", httpd->conf.address, gai_strerror(r));
	r = listen_at(httpd, list, out, err);
	freeaddrinfo(list);
	if (r < 0 && !len) {
		/* A kernel without IPv6. */
		if (getaddrinfo("0.0.0.0", colon + 1, &hints, &list))
			return r;
		r = listen_at(httpd, list, out, err);
		freeaddrinfo(list);
	}
	return r;
}

/* A socket that nobody listens on is left from a crash and may go; one that answers belongs to a living daemon. */
static int remove_stale(const struct sockaddr_un *sun, struct err *err)
{
	struct stat st;
	int fd, r;

	if (lstat(sun->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_set_errno(err, -PTA_EIO, errno, "listen on %s", sun->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -PTA_EEXIST, "listen on %s: there is a file which is no socket; remove it or choose another path", sun->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, -PTA_EIO, errno, "listen on %s: socket", sun->sun_path);
	r = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0 ? errno : 0;
	close(fd);
	if (r != ECONNREFUSED)
		return err_set(err, -PTA_EEXIST, "listen on %s: another process serves this socket; is the daemon running already?", sun->sun_path);
	if (unlink(sun->sun_path) < 0)
		return err_set_errno(err, -PTA_EIO, errno, "remove the stale socket %s", sun->sun_path);
	return 0;
}

static int listen_unix(struct httpd *httpd, const char *path, int *out, struct err *err)
{
	const struct httpd_conf *conf = &httpd->conf;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct stat st;
	int fd, r;

	if (strlen(path) >= sizeof(sun.sun_path))
		return err_set(err, -PTA_EINVAL, "listen on %s: the path is longer than %zu bytes", path, sizeof(sun.sun_path) - 1);
	memcpy(sun.sun_path, path, strlen(path) + 1);
	r = remove_stale(&sun, err);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, -PTA_EIO, errno, "listen on %s: socket", path);
	/* The mode before bind() is that of the new file: at no time may more reach it than may in the end. */
	if (fchmod(fd, S_IRUSR | S_IWUSR) < 0 || bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0) {
		r = err_set_errno(err, -PTA_EIO, errno, "listen on %s", path);
		close(fd);
		return r;
	}
	if ((conf->unix_gid != (gid_t)-1 && lchown(path, (uid_t)-1, conf->unix_gid) < 0) || chmod(path, conf->unix_mode) < 0 || lstat(path, &st) < 0 ||
		listen(fd, BACKLOG) < 0) {
		r = err_set_errno(err, -PTA_EIO, errno, "set up %s", path);
		close(fd);
		unlink(path);
		return r;
	}
	memcpy(httpd->unix_path, sun.sun_path, sizeof(httpd->unix_path));
	httpd->unix_dev = st.st_dev;
	httpd->unix_ino = st.st_ino;
	*out = fd;
	return 0;
}

int httpd_listen(struct httpd *httpd, int *fd, struct err *err)
{
	if (!strncmp(httpd->conf.address, "unix:", 5))
		return listen_unix(httpd, httpd->conf.address + 5, fd, err);
	return listen_tcp(httpd, fd, err);
}

void httpd_unlisten(struct httpd *httpd)
{
	struct stat st;

	/* A successor may have put its own there. */
	if (httpd->unix_path[0] && !lstat(httpd->unix_path, &st) && st.st_dev == httpd->unix_dev && st.st_ino == httpd->unix_ino)
		unlink(httpd->unix_path);
	httpd->unix_path[0] = '\0';
}
