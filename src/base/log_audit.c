#include "base/log_audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NO_FACILITY (-1)

static const struct {
	const char *name;
	int facility;
} facilities[] = {
	{"auth", LOG_AUTH},
	{"authpriv", LOG_AUTHPRIV},
	{"daemon", LOG_DAEMON},
	{"local0", LOG_LOCAL0},
	{"local1", LOG_LOCAL1},
	{"local2", LOG_LOCAL2},
	{"local3", LOG_LOCAL3},
	{"local4", LOG_LOCAL4},
	{"local5", LOG_LOCAL5},
	{"local6", LOG_LOCAL6},
	{"local7", LOG_LOCAL7},
	{"user", LOG_USER},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	bool on;
	int facility;				/* NO_FACILITY: a file, */
	int fd;					/* -1 when it could not be opened */
	bool torn;				/* its last line is not whole */
} stream = {.facility = NO_FACILITY, .fd = -1}; /* guarded by lock: nobody writes to what is being closed */
/* Copies to look at without the lock. */
static atomic_bool on, to_syslog;

int log_audit_facility(const char *name)
{
	for (size_t i = 0; i < PTA_ARRAY_SIZE(facilities); i++)
		if (strcmp(facilities[i].name, name) == 0)
			return facilities[i].facility;
	return NO_FACILITY;
}

static int open_file(const char *path)
{
	/* A FIFO without a reader must not stop the daemon. */
	const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int made = open(path, flags | O_CREAT | O_EXCL, 0640);

	if (made < 0)
		return errno == EEXIST ? open(path, flags) : -1;
	/* Whatever the umask of keys and databases is: who reads logs is of the group. */
	if (fchmod(made, 0640) < 0) {
		close(made);
		return -1;
	}
	return made;
}

int log_audit_open(const char *where, struct err *err)
{
	int facility = NO_FACILITY, fd = -1, before, error = 0;

	if (where && strncmp(where, "syslog:", 7) == 0) {
		facility = log_audit_facility(where + 7);
	} else if (where) {
		fd = open_file(where);
		error = errno;
	}
	pthread_mutex_lock(&lock);
	before = stream.fd;
	stream.on = where != NULL;
	stream.facility = facility;
	stream.fd = fd;
	stream.torn = false;
	pthread_mutex_unlock(&lock);
	if (before >= 0)
		close(before);
	atomic_store_explicit(&on, where != NULL, memory_order_relaxed);
	atomic_store_explicit(&to_syslog, facility != NO_FACILITY, memory_order_relaxed);
	if (where && facility == NO_FACILITY && fd < 0)
		return err_set_errno(err, -PTA_EIO, error, "open %s", where);
	return 0;
}

bool log_audit_is_on(void)
{
	return atomic_load_explicit(&on, memory_order_relaxed);
}

bool log_audit_is_syslog(void)
{
	return atomic_load_explicit(&to_syslog, memory_order_relaxed);
}

static int write_file(const struct log_line *line, struct err *err)
{
	ssize_t n;

	if (stream.fd < 0)
		return err_set(err, -PTA_EIO, "the file could not be opened");
	if (stream.torn && write(stream.fd, "\n", 1) == 1)
		stream.torn = false;
	do {
		n = write(stream.fd, line->text, line->len);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)line->len)
		return 0;
	stream.torn = stream.torn || n > 0;
	return err_set_errno(err, -PTA_EIO, n < 0 ? errno : ENOSPC, "write");
}

int log_audit_write(int level, const struct log_line *line, struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	if (!stream.on)
		r = -PTA_ECLOSED;
	else if (stream.facility != NO_FACILITY)
		syslog(stream.facility | level, "%.*s", (int)line->len, line->text);
	else
		r = write_file(line, err);
	pthread_mutex_unlock(&lock);
	return r;
}
