#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sdnotify.h"

static char logged[1024];

static void keep(void *arg, const char *line, size_t len)
{
	(void)arg;
	snprintf(logged, sizeof(logged), "%.*s", (int)len, line);
}

/* A datagram socket as systemd has one. name: as in NOTIFY_SOCKET. */
static int listen_as_systemd(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void expect_message(int fd, const char *expected)
{
	char text[1024];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, expected);
}

static void expect_nothing(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
}

static void send_and_expect_all(int fd)
{
	clock_fake(123456789, 0);
	sdnotify_ready();
	expect_message(fd, "READY=1");
	sdnotify_reloading();
	expect_message(fd, "RELOADING=1\nMONOTONIC_USEC=123456789");
	sdnotify_stopping();
	expect_message(fd, "STOPPING=1");
	sdnotify_watchdog();
	expect_message(fd, "WATCHDOG=1");
	sdnotify_status("%u DCs up", 2u);
	expect_message(fd, "STATUS=2 DCs up");
	sdnotify_status("one\nREADY=1");
	expect_message(fd, "STATUS=one READY=1");
	expect_nothing(fd);
	clock_fake(-1, -1);
}

static void messages_arrive_at_a_path(void **state)
{
	char dir[] = "/tmp/test_sdnotify.XXXXXX", path[64];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	fd = listen_as_systemd(path);
	sdnotify_init();
	send_and_expect_all(fd);
	close(fd);
	unlink(path);
	rmdir(dir);
	/* nobody there any more: said in the log, not fatal */
	log_capture(keep, NULL);
	sdnotify_ready();
	log_capture(NULL, NULL);
	assert_non_null(strstr(logged, "event=sdnotify.failed notification=\"READY=1\""));
}

static void messages_arrive_at_an_abstract_socket(void **state)
{
	char name[64];
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@test_sdnotify.%ld", (long)getpid());
	fd = listen_as_systemd(name);
	sdnotify_init();
	send_and_expect_all(fd);
	close(fd);
}

static void a_status_has_a_limit(void **state)
{
	char name[64], text[2000];
	ssize_t n;
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@test_sdnotify.%ld", (long)getpid());
	fd = listen_as_systemd(name);
	sdnotify_init();
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	sdnotify_status("%s", text);
	n = recv(fd, text, sizeof(text), 0);
	assert_int_equal(n, 511);
	close(fd);
}

static void the_environment_is_taken(void **state)
{
	static const struct {
		const char *usec, *pid;
		uint32_t ms;
	} cases[] = {
		{"30000000", NULL, 15000},
		{"30000000", "self", 15000},
		{"30000000", "1", 0},
		{"", NULL, 0},
		{"0", NULL, 0},
		{"x", NULL, 0},
		{"30000000s", NULL, 0},
		{NULL, NULL, 0},
		{"-1", NULL, 0},
		{"99999999999999999999", NULL, 0},
	};
	char self[16];

	(void)state;
	snprintf(self, sizeof(self), "%ld", (long)getpid());
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		if (cases[i].usec)
			setenv("WATCHDOG_USEC", cases[i].usec, 1);
		if (cases[i].pid)
			setenv("WATCHDOG_PID", strcmp(cases[i].pid, "self") ? cases[i].pid : self, 1);
		sdnotify_init();
		assert_int_equal(sdnotify_watchdog_ms(), cases[i].ms);
		assert_null(getenv("WATCHDOG_USEC"));
		assert_null(getenv("WATCHDOG_PID"));
		assert_null(getenv("NOTIFY_SOCKET"));
	}
}

static void without_the_variable_nothing_happens(void **state)
{
	(void)state;
	logged[0] = '\0';
	log_capture(keep, NULL);
	sdnotify_init();
	sdnotify_ready();
	sdnotify_status("nobody reads this");
	log_capture(NULL, NULL);
	assert_string_equal(logged, "");
}

static void strange_addresses_are_refused_in_the_log(void **state)
{
	static const char *const names[] = {"vsock:2:1234", "relative", "@", "/", ""};
	char long_name[200];

	(void)state;
	log_capture(keep, NULL);
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[0] = '/';
	long_name[sizeof(long_name) - 1] = '\0';
	for (size_t i = 0; i <= PTA_ARRAY_SIZE(names); i++) {
		setenv("NOTIFY_SOCKET", i < PTA_ARRAY_SIZE(names) ? names[i] : long_name, 1);
		logged[0] = '\0';
		sdnotify_init();
		assert_non_null(strstr(logged, "event=sdnotify.refused"));
		sdnotify_ready();
	}
	log_capture(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: before any test has named a socket */
		cmocka_unit_test(without_the_variable_nothing_happens),
		cmocka_unit_test(strange_addresses_are_refused_in_the_log),
		cmocka_unit_test(the_environment_is_taken),
		cmocka_unit_test(messages_arrive_at_a_path),
		cmocka_unit_test(messages_arrive_at_an_abstract_socket),
		cmocka_unit_test(a_status_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
