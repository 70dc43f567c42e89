#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cli.h"

/* Signals that end or stop the process: the terminal must have its echo again before they do. */
static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

#define WATCHED PTA_ARRAY_SIZE(watched)

static volatile sig_atomic_t caught;

static void note_signal(int signo)
{
	caught = signo;
}

/* The terminal and the process's signals as they were. */
struct quiet {
	int fd; /* a terminal, or stdin when it is none: then there is nothing to restore */
	bool terminal, silenced;
	int prompt_fd;
	struct termios before;
	struct sigaction actions[WATCHED];
	sigset_t mask;
};

/* Blocks the signals (only the wait for input lets them in, so that none slips past between a test and a read) and ends the echo. */
static int quiet_begin(struct quiet *quiet, struct err *err)
{
	struct sigaction action = {.sa_handler = note_signal};
	struct termios silent;
	sigset_t block;

	caught = 0;
	sigemptyset(&block);
	for (size_t i = 0; i < WATCHED; i++)
		sigaddset(&block, watched[i]);
	sigprocmask(SIG_BLOCK, &block, &quiet->mask);
	for (size_t i = 0; i < WATCHED; i++) {
		sigaction(watched[i], NULL, &quiet->actions[i]);
		/* nohup and the like: who ignores a signal goes on ignoring it */
		if (quiet->actions[i].sa_handler != SIG_IGN)
			sigaction(watched[i], &action, NULL);
	}
	if (!quiet->terminal)
		return 0;
	if (tcgetattr(quiet->fd, &quiet->before) < 0)
		return err_set_errno(err, -PTA_EIO, errno, "read the terminal's settings");
	silent = quiet->before;
	silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
	silent.c_lflag |= ICANON | ISIG;
	/* What was typed ahead, with echo, is dropped. */
	if (tcsetattr(quiet->fd, TCSAFLUSH, &silent) < 0)
		return err_set_errno(err, -PTA_EIO, errno, "turn off the terminal's echo");
	quiet->silenced = true;
	return 0;
}

static void quiet_end(struct quiet *quiet)
{
	int signo = caught;

	if (quiet->silenced)
		tcsetattr(quiet->fd, TCSAFLUSH, &quiet->before);
	quiet->silenced = false;
	for (size_t i = 0; i < WATCHED; i++)
		sigaction(watched[i], &quiet->actions[i], NULL);
	sigprocmask(SIG_SETMASK, &quiet->mask, NULL);
	if (signo)
		raise(signo);
}

/* One byte, straight to its place. 1, 0 at the end of the input, or an error. */
static int read_byte(const struct quiet *quiet, uint8_t *out, struct err *err)
{
	struct pollfd ready = {.fd = quiet->fd, .events = POLLIN};
	ssize_t n;

	if (ppoll(&ready, 1, NULL, &quiet->mask) < 0)
		return err_set_errno(err, errno == EINTR ? -PTA_ECLOSED : -PTA_EIO, errno, "wait for the password");
	n = read(quiet->fd, out, 1);
	if (n < 0)
		return err_set_errno(err, -PTA_EIO, errno, "read the password");
	return (int)n;
}

/* Up to a newline or the end of the input. */
static int read_line(const struct quiet *quiet, size_t max, struct secret **out, struct err *err)
{
	struct secret *secret PTA_CLEANUP(secret_freep) = secret_new(max + 1);
	size_t len = 0;
	bool too_long = false, any = false;
	uint8_t *bytes;
	int r;

	if (!secret)
		return err_set(err, -PTA_ENOMEM, "no room on the secure heap for the password");
	bytes = secret_data(secret);
	while ((r = read_byte(quiet, bytes + len, err)) > 0) {
		any = true;
		if (bytes[len] == '\n')
			break;
		if (len < max)
			len++;
		else
			too_long = true; /* read on: the rest must not be taken for the next line */
	}
	if (r < 0)
		return r;
	if (!any)
		return err_set(err, -PTA_EINVAL, "no password was given");
	if (too_long)
		return err_set(err, -PTA_ETOOBIG, "the password is longer than %zu bytes", max);
	secret_truncate(secret, len);
	*out = secret;
	secret = NULL;
	return 0;
}

static int write_prompt(int fd, const char *text, struct err *err)
{
	size_t len = strlen(text);

	if (write(fd, text, len) != (ssize_t)len)
		return err_set_errno(err, -PTA_EIO, errno, "write to the terminal");
	return 0;
}

static int ask_once(struct quiet *quiet, const char *prompt, size_t max, struct secret **out, struct err *err)
{
	int r = quiet_begin(quiet, err);

	if (r == 0 && quiet->terminal)
		r = write_prompt(quiet->prompt_fd, prompt, err);
	if (r == 0)
		r = read_line(quiet, max, out, err);
	/* The newline that was typed has not been seen. */
	if (quiet->terminal && write_prompt(quiet->prompt_fd, "\n", r < 0 ? NULL : err) < 0 && r == 0) {
		secret_freep(out);
		r = -PTA_EIO;
	}
	quiet_end(quiet);
	return r;
}

int cli_ask_secret(const char *prompt, size_t max, struct secret **out, struct err *err)
{
	struct quiet quiet = {.fd = STDIN_FILENO, .prompt_fd = STDERR_FILENO, .terminal = isatty(STDIN_FILENO)};
	int tty = -1, r;

	if (quiet.terminal) {
		/* stdin itself where the process has no controlling terminal */
		tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (tty >= 0)
			quiet.fd = quiet.prompt_fd = tty;
	}
	do {
		r = ask_once(&quiet, prompt, max, out, err);
	} while (r == -PTA_ECLOSED && caught == SIGTSTP);
	if (tty >= 0)
		close(tty);
	return r;
}
