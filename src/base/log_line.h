/* One line of the log on its way: logfmt or JSON, in a buffer on the stack. Values are escaped, and cut at 1 KiB with a
 * mark; a field goes in whole or not at all, so that a full line can still be read. Neither allocates nor formats by printf:
 * a line is written for every sign-in. No state. */
#ifndef PTA_BASE_LOG_LINE_H
#define PTA_BASE_LOG_LINE_H

#include "base/log.h"

#define LOG_LINE_MAX 8192

struct log_line {
	char text[LOG_LINE_MAX]; /* not terminated */
	size_t len;
	bool json, full;
};

/* before: what stands in front of everything, NULL: nothing. */
void log_line_begin(struct log_line *line, bool json, const char *before);
/* A string field of ours that needs no escape. */
void log_line_word(struct log_line *line, const char *name, const char *word);
void log_line_field(struct log_line *line, const struct log_field *field);
void log_line_fields(struct log_line *line, const struct log_field *fields);
/* The mark of a line that was cut, and, with newline, its end. */
void log_line_end(struct log_line *line, bool newline);

/* The field's value as text without quotes or escapes, cut at a character: how the journal gets it. At most cap bytes; 0 for
 * a string that is NULL. */
size_t log_field_text(const struct log_field *field, char *out, size_t cap);

#endif
