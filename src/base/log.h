/* Logging: one event per line with a stable name and fields, logfmt on stderr: time=… level=… program=… event=… and the
 * fields; to the journal ($JOURNAL_STREAM) <priority>event=… instead, since it keeps the rest itself. What a peer sent is
 * escaped, and cut at 1 KiB with a mark. Never a password (there is no field type for one). Thread-safe; one write(2) per
 * line; lines that could not be written are counted in the next one (lost_lines=N). Blocks if stderr does. */
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

#define F_STR(field, value) {.type = LOG_F_STR, .name = (field), .str = (value)} /* NULL: left out */
#define F_STRN(field, value, size) {.type = LOG_F_STRN, .name = (field), .str = (value), .len = (size)}
#define F_INT(field, value) {.type = LOG_F_INT, .name = (field), .num = (int64_t)(value)}
#define F_UINT(field, value) {.type = LOG_F_UINT, .name = (field), .num = (int64_t)(value)}
/* Microseconds, printed in ms with three decimals. */
#define F_MS(field, us) {.type = LOG_F_MS, .name = (field), .num = (int64_t)(us)}

/* program: "pta-agent" (not copied); level: the least urgent that is written. Without this call: the name it was
 * started by, and LOG_INFO. Before threads. */
void log_init(const char *program, int level);
void log_set_level(int level);
bool log_enabled(int level);
/* Name to LOG_*: error, warning, notice, info, debug; -1 when unknown. NULL-terminated list of them for conf tables, in LOG_ERR.. order. */
int log_level_parse(const char *name);
extern const char *const log_level_names[];
int log_level_from_index(int index); /* index into log_level_names to LOG_* */

void log_fields(int level, const char *event, const struct log_field *fields);

/* log_event(LOG_INFO, "auth.verdict", F_STR("request", id), F_MS("took", us)) */
#define log_event(level, ...)                                               \
	do {                                                                \
		if (log_enabled(level))                                     \
			LOG_EVENT_(level, __VA_ARGS__, {.type = LOG_F_END}); \
	} while (0)
#define LOG_EVENT_(level, event, ...) log_fields(level, event, (const struct log_field[]){__VA_ARGS__})

/* For tests: lines go to fn instead of stderr; NULL ends it. */
void log_capture(void (*fn)(void *arg, const char *line, size_t len), void *arg);

#endif
