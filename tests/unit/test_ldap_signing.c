#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <ldap.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/ldap_signing.h"

#define DEADLINE_US 5000000ull

/* BindResponse { 8, "", "no" }, and one as AD writes it: each length in four octets. */
#define STRONGER "\x30\x0e\x02\x01\x01\x61\x09\x0a\x01\x08\x04\x00\x04\x02no"
#define AD_INVALID                                                                                                                                             \
	"\x30\x84\x00\x00\x00\x14\x02\x01\x01\x61\x84\x00\x00\x00\x0b\x0a\x01\x31\x04\x00\x04\x04"                                                             \
	"52e\x00"
#define BYTES(text) text, sizeof(text) - 1

static void the_bind_that_is_sent(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(256);
	static const char want[] = "\x30\x12\x02\x01\x01\x60\x0d\x02\x01\x03\x04\x04n@d\x78\x80\x02pw";

	(void)state;
	assert_int_equal(ldap_signing_encode("n@dx", "pw", &out), 0);
	assert_int_equal(out.len, sizeof(want) - 1);
	assert_memory_equal(out.data, want, out.len);
}

static void the_bind_that_does_not_fit_is_an_error(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(8);

	(void)state;
	assert_int_equal(ldap_signing_encode("name", "password", &out), -PTA_ENOMEM);
}

static const struct {
	const char *what, *answer;
	size_t len;
	int r, result;
	const char *diagnostic;
} answers[] = {
	{"nothing yet", BYTES(""), 0, 0, ""},
	{"one byte", BYTES("\x30"), 0, 0, ""},
	{"half", STRONGER, 10, 0, 0, ""},
	{"half of a long length", AD_INVALID, 4, 0, 0, ""},
	{"stronger authentication is demanded", BYTES(STRONGER), 1, 8, "no"},
	{"as AD writes it", BYTES(AD_INVALID), 1, 49, "52e"},
	{"with more behind it", BYTES(STRONGER "\x30\x00"), 1, 8, "no"},
	{"success", BYTES("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"), 1, 0, ""},
	{"no LDAP at all", BYTES("HTTP/1.1 400 Bad Request\r\n"), -PTA_EPROTO, 0, ""},
	{"a length without end", BYTES("\x30\x80\x02\x01\x01"), -PTA_EPROTO, 0, ""},
	{"a length of five octets", BYTES("\x30\x85\x00\x00\x00\x00\x0c\x02\x01\x01"), -PTA_EPROTO, 0, ""},
	{"longer than it may be", BYTES("\x30\x84\x00\x01\x00\x00\x02\x01\x01"), -PTA_EPROTO, 0, ""},
	{"the longest length", BYTES("\x30\x84\xff\xff\xff\xff\x02\x01\x01"), -PTA_EPROTO, 0, ""},
	{"another message id", BYTES("\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x08\x04\x00\x04\x00"), -PTA_EPROTO, 0, ""},
	{"notice of disconnection", BYTES("\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00"), -PTA_EPROTO, 0, ""},
	{"another answer", BYTES("\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x08\x04\x00\x04\x00"), -PTA_EPROTO, 0, ""},
	{"a value that reaches beyond", BYTES("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x08\x04\x00\x04\x7f"), -PTA_EPROTO, 0, ""},
	{"an empty message", BYTES("\x30\x00"), -PTA_EPROTO, 0, ""},
	{"no result code", BYTES("\x30\x05\x02\x01\x01\x61\x00"), -PTA_EPROTO, 0, ""},
};

static void answers_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(answers); i++) {
		struct ldap_signing_answer answer = {0};
		struct err err;
		int r = ldap_signing_decode(answers[i].answer, answers[i].len, &answer, &err);

		if (r != answers[i].r)
			fail_msg("%s: %d", answers[i].what, r);
		assert_int_equal(answer.result, answers[i].result);
		assert_string_equal(answer.diagnostic, answers[i].diagnostic);
	}
}

static void a_long_text_is_cut(void **state)
{
	uint8_t message[512] = {0x30, 0x82, 0x01, 0x39, 0x02, 0x01, 0x01, 0x61, 0x82, 0x01, 0x32, 0x0a, 0x01, 0x31, 0x04, 0x00, 0x04, 0x82, 0x01, 0x29};
	struct ldap_signing_answer answer;
	struct err err;

	(void)state;
	memset(message + 20, 'x', 0x129);
	assert_int_equal(ldap_signing_decode(message, 4 + 0x139, &answer, &err), 1);
	assert_int_equal(strlen(answer.diagnostic), sizeof(answer.diagnostic) - 1);
}

/* A server for one connection: reads something, sends what it has in two parts, closes unless it is to hang. */
struct server {
	int fd;
	const char *answer;
	size_t len;
	bool hangs;
	char asked[512];
	pthread_t thread;
	struct directory_server address;
};

static void *serve(void *arg)
{
	struct server *server = arg;
	int fd = accept(server->fd, NULL, NULL);
	ssize_t n = recv(fd, server->asked, sizeof(server->asked) - 1, 0);
	size_t half = server->len / 2;

	assert_true(n > 0);
	if (half)
		assert_int_equal(send(fd, server->answer, half, MSG_NOSIGNAL), half);
	if (server->len)
		assert_int_equal(send(fd, server->answer + half, server->len - half, MSG_NOSIGNAL), server->len - half);
	/* Until the client has gone. */
	if (server->hangs)
		recv(fd, server->asked + n, 1, 0);
	close(fd);
	return NULL;
}

static void start(struct server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(server->fd, 1), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &len), 0);
	server->address = (struct directory_server){.host = "127.0.0.1", .port = ntohs(address.sin_port)};
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static int ask(struct server *server, uint64_t limit_us, struct ldap_signing_answer *answer)
{
	struct err err;
	int r;

	start(server);
	r = ldap_signing_ask(&server->address, "corp.example.com", clock_mono_us() + limit_us, answer, &err);
	pthread_join(server->thread, NULL);
	close(server->fd);
	return r;
}

static void a_controller_is_asked_with_an_invented_name(void **state)
{
	struct server server = {.answer = STRONGER, .len = sizeof(STRONGER) - 1}, again = server;
	struct ldap_signing_answer answer;

	(void)state;
	assert_int_equal(ask(&server, DEADLINE_US, &answer), 0);
	assert_int_equal(answer.result, LDAP_STRONG_AUTH_REQUIRED);
	assert_int_equal(ask(&again, DEADLINE_US, &answer), 0);
	assert_memory_equal(server.asked + 12, "pta-check-", 10);
	/* Another name and password each time. */
	assert_memory_not_equal(server.asked, again.asked, 60);
}

static void silence_ends_in_time(void **state)
{
	struct server server = {.answer = STRONGER, .len = 5, .hangs = true};
	struct ldap_signing_answer answer;

	(void)state;
	assert_int_equal(ask(&server, 200000, &answer), -PTA_ETIMEDOUT);
}

static void a_controller_that_hangs_up_is_no_answer(void **state)
{
	struct server server = {.len = 0};
	struct ldap_signing_answer answer;

	(void)state;
	assert_int_equal(ask(&server, DEADLINE_US, &answer), -PTA_ENET);
}

static void nonsense_is_no_answer(void **state)
{
	struct server server = {.answer = "220 smtp ready\r\n", .len = 16};
	struct ldap_signing_answer answer;

	(void)state;
	assert_int_equal(ask(&server, DEADLINE_US, &answer), -PTA_EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_bind_that_is_sent),
		cmocka_unit_test(the_bind_that_does_not_fit_is_an_error),
		cmocka_unit_test(answers_are_read),
		cmocka_unit_test(a_long_text_is_cut),
		cmocka_unit_test(a_controller_is_asked_with_an_invented_name),
		cmocka_unit_test(silence_ends_in_time),
		cmocka_unit_test(a_controller_that_hangs_up_is_no_answer),
		cmocka_unit_test(nonsense_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
