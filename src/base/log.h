/* Logging: one event a line, with a stable name (log_events.def has them all) and fields. Where stderr is the journal's
 * ($JOURNAL_STREAM), each field goes there as a field of its own beside the line (log_journal.h), or <priority>line where that
 * is not built in; where stderr is closed or /dev/null, to syslog; else to stderr, with time, level and program before it, as
 * logfmt or JSON. Events of the audit stream go to their own file or facility where one is configured.
 *
 * What a peer sent is escaped, and cut at 1 KiB with a mark. Never a password (there is no field type for one). Events that
 * repeat are rate limited, which the next line tells (suppressed=N); audit events never are. Lines that could not be
 * written are counted in the next one (lost_lines=N). Thread-safe, but for log_init(), log_configure() and log_open(), which belong to the
 * main thread; one write(2) per line; blocks if stderr does. */
#ifndef PTA_BASE_LOG_H
#define PTA_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h> /* LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG */

enum log_field_type { LOG_F_END, LOG_F_STR, LOG_F_STRN, LOG_F_INT, LOG_F_UINT, LOG_F_MS };

struct log_field {
	enum log_field_type type;
	const char *name;
	const char *str;
	size_t len;
	int64_t num;
};

#define F_STR(field, value)                                                                                                                                    \
	{                                                                                                                                                      \
		.type = LOG_F_STR, .name = (field), .str = (value)                                                                                             \
	} /* NULL: left out */
#define F_STRN(field, value, size)                                                                                                                             \
	{                                                                                                                                                      \
		.type = LOG_F_STRN, .name = (field), .str = (value), .len = (size)                                                                             \
	}
#define F_INT(field, value)                                                                                                                                    \
	{                                                                                                                                                      \
		.type = LOG_F_INT, .name = (field), .num = (int64_t)(value)                                                                                    \
	}
#define F_UINT(field, value)                                                                                                                                   \
	{                                                                                                                                                      \
		.type = LOG_F_UINT, .name = (field), .num = (int64_t)(value)                                                                                   \
	}
/* Microseconds, printed in ms with three decimals. */
#define F_MS(field, us)                                                                                                                                        \
	{                                                                                                                                                      \
		.type = LOG_F_MS, .name = (field), .num = (int64_t)(us)                                                                                        \
	}

struct log_conf; /* log_conf.h */

/* program: "pta-agent" (not copied); level: the least urgent that is written. Without this call: the name it was
 * started by, LOG_INFO, and stderr. Before threads. */
void log_init(const char *program, int level);
/* A configuration's level and format. */
void log_configure(const struct log_conf *conf);
/* These, and the audit stream, whose file is opened anew though the value be the same: the daemon is the user who can do so
 * again. What cannot be opened is told in the log, where its lines then go. */
void log_open(const struct log_conf *conf);
void log_set_level(int level);
int log_level(void);
/* May be written: at this level, or since audit events always are. */
bool log_enabled(int level);
/* Name to LOG_*: error, warning, notice, info, debug; -1 when unknown. NULL-terminated list of them for conf tables, in LOG_ERR.. order. */
int log_level_parse(const char *name);
extern const char *const log_level_names[];
int log_level_from_index(int index); /* index into log_level_names to LOG_* */
const char *log_level_name(int level);

void log_fields(int level, const char *event, const struct log_field *fields);
/* Every few seconds: tells what the rate limit left out of events that have stopped to come. */
void log_tick(void);

/* log_event(LOG_INFO, "auth.verdict", F_STR("request", id), F_MS("took", us)) */
#define log_event(level, ...)                                                                                                                                  \
	do {                                                                                                                                                   \
		if (log_enabled(level))                                                                                                                        \
			LOG_EVENT_(level, __VA_ARGS__, {.type = LOG_F_END});                                                                                   \
	} while (0)
#define LOG_EVENT_(level, event, ...) log_fields(level, event, (const struct log_field[]){__VA_ARGS__})

/* For tests: lines of the main log go to fn, as stderr would get them; NULL ends it. */
void log_capture(void (*fn)(void *arg, const char *line, size_t len), void *arg);

#endif
