#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/err.h"

#define VALUE_MAX 1024 /* bytes of one written value, escapes included */
#define LINE_MAX_BYTES 8192
#define LINE_TAIL 32 /* kept for cut=yes and the newline */
#define CUT_MARK "…"

const char *const log_level_names[] = {"error", "warning", "notice", "info", "debug", NULL};

static atomic_int threshold = LOG_INFO;
static atomic_uint lost;	 /* lines that could not be written since the last one that was */
static const char *program_name; /* NULL: log_init() was not called, as in commands */
static bool journal;

static void (*capture)(void *arg, const char *line, size_t len);
static void *capture_arg;

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
	bool full;
};

/* stderr is a stream to the journal only if it is still the file that systemd named (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	char tail;

	if (!stream || sscanf(stream, "%llu:%llu%c", &device, &inode, &tail) != 2 || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

void log_init(const char *program, int level)
{
	program_name = program;
	journal = stderr_is_journal();
	log_set_level(level);
}

void log_set_level(int level)
{
	atomic_store_explicit(&threshold, level, memory_order_relaxed);
}

bool log_enabled(int level)
{
	return level <= atomic_load_explicit(&threshold, memory_order_relaxed);
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

static const char *level_name(int level)
{
	return level <= LOG_ERR ? "error" : level >= LOG_DEBUG ? "debug" : log_level_names[level - LOG_ERR];
}

static void line_put(struct line *line, const char *data, size_t len)
{
	if (line->full || len > sizeof(line->text) - LINE_TAIL - line->len) {
		line->full = true;
		return;
	}
	memcpy(line->text + line->len, data, len);
	line->len += len;
}

static void line_puts(struct line *line, const char *text)
{
	line_put(line, text, strlen(text));
}

static void line_decimal(struct line *line, uint64_t value)
{
	char digits[DECIMAL_MAX];

	line_put(line, digits, encode_decimal(value, digits));
}

/* Microseconds as milliseconds with three decimals. */
static void line_ms(struct line *line, uint64_t us)
{
	unsigned part = (unsigned)(us % 1000);

	line_decimal(line, us / 1000);
	line_put(line, (const char[]){'.', (char)('0' + part / 100), (char)('0' + part / 10 % 10), (char)('0' + part % 10)}, 4);
}

/* May stand without quotes. */
static bool is_bare(const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (value[i] <= ' ' || value[i] > '~' || value[i] == '"' || value[i] == '\\' || value[i] == '=')
			return false;
	return len > 0;
}

/* Writes one escaped character to out and gives the bytes taken from s. */
static size_t escape(const unsigned char *s, size_t left, char out[8], size_t *out_len)
{
	size_t n = utf8_printable(s, left);

	if (n == 1 && (*s == '"' || *s == '\\')) {
		*out_len = (size_t)snprintf(out, 8, "\\%c", *s);
		return 1;
	}
	if (n) {
		memcpy(out, s, n);
		*out_len = n;
		return n;
	}
	*out_len = *s == '\n' ? (size_t)snprintf(out, 8, "\\n") : (size_t)snprintf(out, 8, "\\x%02x", *s);
	return 1;
}

static void put_value(struct line *line, const char *value, size_t len)
{
	char text[VALUE_MAX + sizeof(CUT_MARK) + 2];
	size_t used = 0, piece_len;
	char piece[8];

	if (len <= VALUE_MAX && is_bare(value, len)) {
		line_put(line, value, len);
		return;
	}
	text[used++] = '"';
	for (size_t i = 0; i < len;) {
		i += escape((const unsigned char *)value + i, len - i, piece, &piece_len);
		if (used + piece_len > VALUE_MAX) {
			memcpy(text + used, CUT_MARK, sizeof(CUT_MARK) - 1);
			used += sizeof(CUT_MARK) - 1;
			break;
		}
		memcpy(text + used, piece, piece_len);
		used += piece_len;
	}
	text[used++] = '"';
	line_put(line, text, used);
}

/* A field goes in whole or not at all, so that a full line is still logfmt. */
static void put_field(struct line *line, const struct log_field *field)
{
	size_t before = line->len;

	if ((field->type == LOG_F_STR || field->type == LOG_F_STRN) && !field->str)
		return;
	line_put(line, " ", 1);
	line_puts(line, field->name);
	line_put(line, "=", 1);
	switch (field->type) {
	case LOG_F_STR:
		put_value(line, field->str, strlen(field->str));
		break;
	case LOG_F_STRN:
		put_value(line, field->str, field->len);
		break;
	case LOG_F_INT:
		if (field->num < 0)
			line_put(line, "-", 1);
		line_decimal(line, field->num < 0 ? -(uint64_t)field->num : (uint64_t)field->num);
		break;
	case LOG_F_UINT:
		line_decimal(line, (uint64_t)field->num);
		break;
	case LOG_F_MS:
		line_ms(line, (uint64_t)field->num);
		break;
	case LOG_F_END:
		break;
	}
	if (line->full)
		line->len = before;
}

static void emit(const struct line *line, unsigned gone)
{
	ssize_t n;

	if (capture) {
		capture(capture_arg, line->text, line->len);
		return;
	}
	do {
		n = write(STDERR_FILENO, line->text, line->len);
	} while (n < 0 && errno == EINTR);
	/* There is nobody to tell now: the next line that gets through tells. */
	if (n != (ssize_t)line->len)
		atomic_fetch_add(&lost, gone + 1);
}

void log_fields(int level, const char *event, const struct log_field *fields)
{
	char time[CLOCK_RFC3339_LEN + 1];
	struct line line;
	unsigned gone;

	line.len = 0;
	line.full = false;
	if (journal) {
		line_put(&line, (const char[]){'<', (char)('0' + level), '>'}, 3);
	} else {
		clock_rfc3339(clock_wall_ms(), time);
		line_puts(&line, "time=");
		line_puts(&line, time);
		line_puts(&line, " level=");
		line_puts(&line, level_name(level));
		line_puts(&line, " program=");
		line_puts(&line, program_name ? program_name : program_invocation_short_name);
		line_put(&line, " ", 1);
	}
	line_puts(&line, "event=");
	line_puts(&line, event);
	for (; fields->type != LOG_F_END; fields++)
		put_field(&line, fields);
	gone = atomic_exchange(&lost, 0);
	if (gone)
		put_field(&line, &(struct log_field)F_UINT("lost_lines", gone));
	if (line.full) {
		memcpy(line.text + line.len, " cut=yes", 8);
		line.len += 8;
	}
	line.text[line.len++] = '\n';
	emit(&line, gone);
}

void log_capture(void (*fn)(void *arg, const char *line, size_t len), void *arg)
{
	capture = fn;
	capture_arg = arg;
}
