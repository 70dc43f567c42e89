#include "base/sdnotify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static int notify_fd = -1;
static struct sockaddr_un address;
static socklen_t address_len;
static uint32_t watchdog_ms;

/* systemd pings only the process that it means: WATCHDOG_PID, where it is set. */
static uint32_t read_watchdog(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	unsigned long long us;
	char *end;

	if (!usec || (pid && strtoll(pid, NULL, 10) != getpid()))
		return 0;
	errno = 0;
	us = strtoull(usec, &end, 10);
	if (errno || *end || us < 2000 || us / 2000 > UINT32_MAX)
		return 0;
	return (uint32_t)(us / 2000);
}

/* "/path", or "@name" for an abstract socket; its length counts, since it has no NUL. */
static bool read_address(const char *socket_name)
{
	size_t len = strlen(socket_name);

	if ((socket_name[0] != '/' && socket_name[0] != '@') || len < 2 || len > sizeof(address.sun_path) - 1)
		return false;
	address.sun_family = AF_UNIX;
	memcpy(address.sun_path, socket_name, len + 1);
	address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (socket_name[0] == '@')
		address.sun_path[0] = '\0';
	else
		address_len++;
	return true;
}

void sdnotify_init(void)
{
	const char *socket_name = getenv("NOTIFY_SOCKET");

	if (notify_fd >= 0)
		close(notify_fd);
	notify_fd = -1;
	watchdog_ms = read_watchdog();
	if (socket_name && !read_address(socket_name)) {
		log_event(LOG_WARNING, "sdnotify.refused", F_STR("socket", socket_name),
			F_STR("error", "neither a path nor an abstract name; systemd is not told"));
	} else if (socket_name) {
		notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (notify_fd < 0)
			log_event(LOG_WARNING, "sdnotify.failed", F_STR("call", "socket"), F_INT("errno", errno));
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

static void notify(const char *text)
{
	ssize_t n;

	if (notify_fd < 0)
		return;
	do {
		n = sendto(notify_fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address, address_len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		log_event(LOG_WARNING, "sdnotify.failed", F_STR("notification", text), F_INT("errno", errno));
}

void sdnotify_ready(void)
{
	notify("READY=1");
}

void sdnotify_reloading(void)
{
	char text[64];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_mono_us());
	notify(text);
}

void sdnotify_stopping(void)
{
	notify("STOPPING=1");
}

void sdnotify_watchdog(void)
{
	notify("WATCHDOG=1");
}

void sdnotify_status(const char *fmt, ...)
{
	char text[512] = "STATUS=";
	size_t used = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + used, sizeof(text) - used, fmt, ap);
	va_end(ap);
	/* A newline would begin a further assignment. */
	for (char *c = text; *c; c++)
		if (*c == '\n')
			*c = ' ';
	notify(text);
}

uint32_t sdnotify_watchdog_ms(void)
{
	return watchdog_ms;
}
