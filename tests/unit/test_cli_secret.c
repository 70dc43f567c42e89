#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/cli.h"

#define PROMPT "Password: "
#define MAX 32

/* What a process that asked has got. */
struct answer {
	int status;
	size_t len;
	char bytes[MAX + 1];
};

/* What its parent saw of it: one of these each time that it stops or ends. */
struct sight {
	pid_t pid;
	int wait_status;
	bool echo;
};

/* A terminal with a session on it: a leader as a shell would be, and in the foreground a process that asks. */
struct session {
	int master, slave;
	int sights, answers; /* read ends */
	pid_t leader, asker;
	char screen[4096];
	size_t screen_len;
};

static void ask_and_tell(int answers)
{
	struct secret *secret = NULL;
	struct answer answer = {0};
	struct err err;

	answer.status = cli_ask_secret(PROMPT, MAX, &secret, &err);
	if (answer.status == 0) {
		answer.len = secret_len(secret);
		memcpy(answer.bytes, secret_bytes(secret), answer.len);
	}
	if (write(answers, &answer, sizeof(answer)) != sizeof(answer))
		_exit(99);
	secret_free(secret);
	_exit(0);
}

static void lead(const struct session *session, int sights, int answers)
{
	struct sight sight = {0};
	struct termios now;
	pid_t asker;

	if (setsid() < 0 || ioctl(session->slave, TIOCSCTTY, 0) < 0 || dup2(session->slave, STDIN_FILENO) < 0)
		_exit(98);
	signal(SIGTTOU, SIG_IGN);
	asker = fork();
	if (asker == 0) {
		/* both sides of the fork do this, whoever comes first */
		setpgid(0, 0);
		tcsetpgrp(STDIN_FILENO, getpid());
		signal(SIGTTOU, SIG_DFL);
		/* a shell starts what it puts into the background with these ignored */
		signal(SIGINT, SIG_DFL);
		signal(SIGQUIT, SIG_DFL);
		signal(SIGHUP, SIG_DFL); /* nohup */
		ask_and_tell(answers);
	}
	setpgid(asker, asker);
	sight.pid = asker;
	do {
		if (write(sights, &sight, sizeof(sight)) != sizeof(sight) || waitpid(asker, &sight.wait_status, WUNTRACED) != asker ||
			tcgetattr(session->slave, &now) < 0)
			_exit(97);
		sight.echo = now.c_lflag & ECHO;
	} while (WIFSTOPPED(sight.wait_status));
	_exit(write(sights, &sight, sizeof(sight)) == sizeof(sight) ? 0 : 96);
}

static struct sight next_sight(struct session *session)
{
	struct sight sight = {0};

	assert_int_equal(read(session->sights, &sight, sizeof(sight)), sizeof(sight));
	return sight;
}

static void session_start(struct session *session)
{
	int sights[2], answers[2];

	*session = (struct session){0};
	assert_int_equal(openpty(&session->master, &session->slave, NULL, NULL, NULL), 0);
	assert_int_equal(pipe(sights), 0);
	assert_int_equal(pipe(answers), 0);
	session->leader = fork();
	assert_true(session->leader >= 0);
	if (session->leader == 0)
		lead(session, sights[1], answers[1]);
	close(sights[1]);
	close(answers[1]);
	session->sights = sights[0];
	session->answers = answers[0];
	session->asker = next_sight(session).pid;
}

static void session_end(struct session *session)
{
	int status;

	assert_int_equal(waitpid(session->leader, &status, 0), session->leader);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(session->master);
	close(session->slave);
	close(session->sights);
	close(session->answers);
}

/* Reads the screen until the prompt is there for the nth time. */
static void await_prompt(struct session *session, int n)
{
	ssize_t got;
	int seen;

	for (;;) {
		seen = 0;
		for (const char *at = session->screen; (at = strstr(at, PROMPT)); at++)
			seen++;
		if (seen >= n)
			return;
		got = read(session->master, session->screen + session->screen_len, sizeof(session->screen) - 1 - session->screen_len);
		assert_true(got > 0);
		session->screen_len += (size_t)got;
	}
}

static void type_in(struct session *session, const char *text)
{
	assert_int_equal(write(session->master, text, strlen(text)), strlen(text));
}

static struct answer read_answer(struct session *session)
{
	struct answer answer = {0};

	assert_int_equal(read(session->answers, &answer, sizeof(answer)), sizeof(answer));
	return answer;
}

static bool echo_is_on(const struct session *session)
{
	struct termios now;

	assert_int_equal(tcgetattr(session->slave, &now), 0);
	return now.c_lflag & ECHO;
}

static void a_password_is_read_without_echo(void **state)
{
	struct session session;
	struct answer answer;
	struct sight end;

	(void)state;
	session_start(&session);
	await_prompt(&session, 1);
	assert_false(echo_is_on(&session));
	type_in(&session, "pässwort 1\n");
	answer = read_answer(&session);
	assert_int_equal(answer.status, 0);
	assert_int_equal(answer.len, strlen("pässwort 1"));
	assert_string_equal(answer.bytes, "pässwort 1");
	end = next_sight(&session);
	assert_true(WIFEXITED(end.wait_status) && WEXITSTATUS(end.wait_status) == 0);
	assert_true(end.echo);
	assert_null(strstr(session.screen, "wort"));
	session_end(&session);
}

static void limits_on_a_terminal(void **state)
{
	static const struct {
		const char *typed;
		int status;
		size_t len;
	} cases[] = {
		{"\n", 0, 0}, {"12345678901234567890123456789012\n", 0, 32}, {"123456789012345678901234567890123\n", -PTA_ETOOBIG, 0},
		{"wrong\x15right\n", 0, 5}, /* ^U: the line editing of the terminal stays */
		{"\x04", -PTA_EINVAL, 0},   /* ^D */
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		struct session session;
		struct answer answer;

		session_start(&session);
		await_prompt(&session, 1);
		type_in(&session, cases[i].typed);
		answer = read_answer(&session);
		assert_int_equal(answer.status, cases[i].status);
		assert_int_equal(answer.len, cases[i].len);
		assert_true(next_sight(&session).echo);
		session_end(&session);
	}
}

static void echo_is_restored_before_a_signal_ends_the_process(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(signals); i++) {
		struct session session;
		struct sight end;

		session_start(&session);
		await_prompt(&session, 1);
		type_in(&session, "half");
		assert_int_equal(kill(session.asker, signals[i]), 0);
		end = next_sight(&session);
		assert_true(WIFSIGNALED(end.wait_status));
		assert_int_equal(WTERMSIG(end.wait_status), signals[i]);
		assert_true(end.echo);
		session_end(&session);
	}
}

static void the_interrupt_key_ends_it(void **state)
{
	struct session session;
	struct sight end;

	(void)state;
	session_start(&session);
	await_prompt(&session, 1);
	type_in(&session, "half\x03");
	end = next_sight(&session);
	assert_true(WIFSIGNALED(end.wait_status) && WTERMSIG(end.wait_status) == SIGINT);
	assert_true(end.echo);
	session_end(&session);
}

static void after_a_stop_it_asks_again(void **state)
{
	struct session session;
	struct answer answer;
	struct sight stop;

	(void)state;
	session_start(&session);
	await_prompt(&session, 1);
	assert_int_equal(kill(session.asker, SIGTSTP), 0);
	/* the leader tells of the stop when it waits for the next change */
	stop = next_sight(&session);
	assert_true(WIFSTOPPED(stop.wait_status));
	assert_true(stop.echo);
	assert_int_equal(kill(session.asker, SIGCONT), 0);
	await_prompt(&session, 2);
	assert_false(echo_is_on(&session));
	type_in(&session, "again\n");
	answer = read_answer(&session);
	assert_int_equal(answer.status, 0);
	assert_string_equal(answer.bytes, "again");
	assert_true(next_sight(&session).echo);
	session_end(&session);
}

static void one_line_of_a_pipe_is_taken(void **state)
{
	static const struct {
		const char *piped;
		int status;
		const char *secret, *rest;
	} cases[] = {
		{"first\nsecond\n", 0, "first", "second\n"},
		{"no newline", 0, "no newline", ""},
		{"\n", 0, "", ""},
		{"", -PTA_EINVAL, "", ""},
		{"123456789012345678901234567890123\nnext", -PTA_ETOOBIG, "", "next"},
	};
	int saved = dup(STDIN_FILENO), fds[2], r;
	char rest[64];
	ssize_t n;

	(void)state;
	assert_true(saved >= 0);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		struct secret *secret = NULL;
		struct err err;

		assert_int_equal(pipe(fds), 0);
		assert_int_equal(write(fds[1], cases[i].piped, strlen(cases[i].piped)), strlen(cases[i].piped));
		close(fds[1]);
		dup2(fds[0], STDIN_FILENO);
		close(fds[0]);
		r = cli_ask_secret(PROMPT, MAX, &secret, &err);
		assert_int_equal(r, cases[i].status);
		if (r == 0) {
			assert_int_equal(secret_len(secret), strlen(cases[i].secret));
			assert_memory_equal(secret_bytes(secret), cases[i].secret, secret_len(secret));
		} else {
			assert_null(secret);
		}
		n = read(STDIN_FILENO, rest, sizeof(rest));
		assert_int_equal(n, strlen(cases[i].rest));
		assert_memory_equal(rest, cases[i].rest, (size_t)n);
		secret_free(secret);
	}
	dup2(saved, STDIN_FILENO);
	close(saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_password_is_read_without_echo),
		cmocka_unit_test(limits_on_a_terminal),
		cmocka_unit_test(echo_is_restored_before_a_signal_ends_the_process),
		cmocka_unit_test(the_interrupt_key_ends_it),
		cmocka_unit_test(after_a_stop_it_asks_again),
		cmocka_unit_test(one_line_of_a_pipe_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
