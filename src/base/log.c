#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log_audit.h"
#include "base/log_conf.h"
#include "base/log_events.h"
#include "base/log_journal.h"
#include "base/log_line.h"

const char *const log_level_names[] = {"error", "warning", "notice", "info", "debug", NULL};

enum where {
	TO_STDERR,
	TO_STREAM,  /* the journal's stream of lines */
	TO_JOURNAL, /* the journal, with fields */
	TO_SYSLOG,
};

static atomic_int threshold = LOG_INFO;
static atomic_int enabled = LOG_INFO; /* the threshold, or what audit events need */
static atomic_bool json;
static atomic_uint lost;	 /* lines that could not be written since the last one that was */
static const char *program_name; /* NULL: log_init() was not called, as in commands */
static enum where where;

static void (*capture)(void *arg, const char *line, size_t len);
static void *capture_arg;

/* cli_stdio() has made a closed one /dev/null. */
static bool stderr_is_null(void)
{
	struct stat st, null;

	if (fstat(STDERR_FILENO, &st) < 0)
		return true;
	return S_ISCHR(st.st_mode) && stat("/dev/null", &null) == 0 && st.st_rdev == null.st_rdev;
}

static const char *program(void)
{
	return program_name ? program_name : program_invocation_short_name;
}

void log_init(const char *name, int level)
{
	program_name = name;
	if (stderr_is_null()) {
		where = TO_SYSLOG;
		openlog(program(), LOG_PID, LOG_DAEMON);
	} else if (log_journal_is_stderr()) {
		where = log_journal_takes_fields() ? TO_JOURNAL : TO_STREAM;
	} else {
		where = TO_STDERR;
	}
	log_set_level(level);
}

void log_set_level(int level)
{
	atomic_store_explicit(&threshold, level, memory_order_relaxed);
	atomic_store_explicit(&enabled, log_audit_is_on() && level < LOG_INFO ? LOG_INFO : level, memory_order_relaxed);
}

void log_configure(const struct log_conf *conf)
{
	atomic_store_explicit(&json, conf->format == LOG_FORMAT_JSON, memory_order_relaxed);
	log_set_level(log_level_from_index(conf->level));
}

void log_open(const struct log_conf *conf)
{
	struct err err;
	int r = log_audit_open(conf->audit, &err);

	log_configure(conf);
	if (r < 0)
		log_event(LOG_ERR, "log.audit_failed", F_STR("file", conf->audit), F_STR("error", err.text));
	/* The audit stream to syslog has the program's name too. */
	if (log_audit_is_syslog())
		openlog(program(), LOG_PID, LOG_DAEMON);
}

int log_level(void)
{
	return atomic_load_explicit(&threshold, memory_order_relaxed);
}

bool log_enabled(int level)
{
	return level <= atomic_load_explicit(&enabled, memory_order_relaxed);
}

int log_level_from_index(int index)
{
	return LOG_ERR + index;
}

int log_level_parse(const char *name)
{
	for (int i = 0; log_level_names[i]; i++)
		if (!strcmp(name, log_level_names[i]))
			return log_level_from_index(i);
	return -1;
}

const char *log_level_name(int level)
{
	return level <= LOG_ERR ? "error" : level >= LOG_DEBUG ? "debug" : log_level_names[level - LOG_ERR];
}

/* head: time, level and program, which the journal and syslog keep themselves. */
static void compose(struct log_line *line, bool as_json, bool head, const char *before, int level, const char *event, const struct log_field *fields,
	const struct log_field *more)
{
	char time[CLOCK_RFC3339_LEN + 1];

	log_line_begin(line, as_json, before);
	if (head) {
		clock_rfc3339(clock_wall_ms(), time);
		log_line_word(line, "time", time);
		log_line_word(line, "level", log_level_name(level));
		log_line_word(line, "program", program());
	}
	log_line_word(line, "event", event);
	log_line_fields(line, fields);
	log_line_fields(line, more);
}

static bool write_line(const char *text, size_t len)
{
	ssize_t n;

	if (capture) {
		capture(capture_arg, text, len);
		return true;
	}
	do {
		n = write(STDERR_FILENO, text, len);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)len;
}

static void write_main(int level, const struct log_event_row *row, const char *event, const struct log_field *fields, unsigned suppressed)
{
	const enum where to = where;
	bool as_json = (to == TO_STDERR || to == TO_SYSLOG) && atomic_load_explicit(&json, memory_order_relaxed);
	unsigned gone = atomic_exchange_explicit(&lost, 0, memory_order_relaxed);
	struct log_field more[3] = {{.type = LOG_F_END}};
	size_t n = 0;
	struct log_line line;
	bool written = true;

	if (suppressed)
		more[n++] = (struct log_field)F_UINT("suppressed", suppressed);
	if (gone)
		more[n++] = (struct log_field)F_UINT("lost_lines", gone);
	more[n].type = LOG_F_END;
	compose(&line, as_json, to == TO_STDERR, to == TO_STREAM ? (const char[]){'<', (char)('0' + level), '>', '\0'} : NULL, level, event, fields, more);
	log_line_end(&line, to == TO_STDERR || to == TO_STREAM);
	if (to == TO_JOURNAL)
		written = log_journal_send(program(), level, event, row, &line, fields, more);
	else if (to == TO_SYSLOG)
		syslog(LOG_DAEMON | level, "%.*s", (int)line.len, line.text);
	else
		written = write_line(line.text, line.len);
	/* There is nobody to tell now: the next line that gets through tells. */
	if (!written)
		atomic_fetch_add_explicit(&lost, gone + 1, memory_order_relaxed);
}

static const struct log_field no_fields[] = {{.type = LOG_F_END}};

/* False when the stream does not take it: the main log does then, whatever its level. */
static bool write_audit(int level, const char *event, const struct log_field *fields)
{
	const bool to_syslog = log_audit_is_syslog();
	struct log_line line;
	struct err err;
	int r;

	compose(&line, atomic_load_explicit(&json, memory_order_relaxed), !to_syslog, NULL, level, event, fields, no_fields);
	log_line_end(&line, !to_syslog);
	r = log_audit_write(level, &line, &err);
	if (r == 0)
		return true;
	if (r == -PTA_EIO)
		log_event(LOG_ERR, "log.audit_failed", F_STR("error", err.text));
	return false;
}

void log_fields(int level, const char *event, const struct log_field *fields)
{
	const struct log_event_row *row = log_events_find(event);
	unsigned suppressed = 0;

	if (row && row->flags & LOG_AUDIT && log_audit_is_on()) {
		if (write_audit(level, event, fields))
			return;
	} else if (level > log_level()) {
		return;
	}
	if (row && row->flags & LOG_LIMITED && !log_limit_pass(log_events_limit(row), clock_mono_us(), &suppressed))
		return;
	write_main(level, row, event, fields, suppressed);
}

void log_tick(void)
{
	const struct log_event_row *row;

	for (size_t i = 0; (row = log_events_at(i)); i++) {
		unsigned rest = row->flags & LOG_LIMITED ? log_limit_rest(log_events_limit(row), clock_mono_us()) : 0;

		if (rest)
			log_event(LOG_WARNING, "log.suppressed", F_STR("name", row->name), F_UINT("suppressed", rest));
	}
}

void log_capture(void (*fn)(void *arg, const char *line, size_t len), void *arg)
{
	capture = fn;
	capture_arg = arg;
}
