#include "base/log_line.h"

#include <string.h>

#include "base/encode.h"
#include "base/err.h"

#define VALUE_MAX 1024 /* bytes of one written value, escapes included */
#define LINE_TAIL 32   /* kept for the mark of a cut and the end */
#define CUT_MARK "…"
#define MS_MAX (DECIMAL_MAX + 4)

static const char hex_digits[] = "0123456789abcdef";

static void put(struct log_line *line, const char *data, size_t len)
{
	if (line->full || len > sizeof(line->text) - LINE_TAIL - line->len) {
		line->full = true;
		return;
	}
	memcpy(line->text + line->len, data, len);
	line->len += len;
}

static void put_text(struct log_line *line, const char *text)
{
	put(line, text, strlen(text));
}

/* Microseconds as milliseconds with three decimals. */
static size_t decimal_ms(uint64_t us, char out[MS_MAX])
{
	size_t len = encode_decimal(us / 1000, out);
	unsigned part = (unsigned)(us % 1000);

	out[len++] = '.';
	out[len++] = (char)('0' + part / 100);
	out[len++] = (char)('0' + part / 10 % 10);
	out[len++] = (char)('0' + part % 10);
	return len;
}

static size_t number(const struct log_field *field, char out[MS_MAX])
{
	size_t sign = field->type == LOG_F_INT && field->num < 0;

	if (field->type == LOG_F_MS)
		return decimal_ms((uint64_t)field->num, out);
	out[0] = '-';
	return sign + encode_decimal(sign ? -(uint64_t)field->num : (uint64_t)field->num, out + sign);
}

/* Bytes that may stand as they are: in logfmt without quotes, in JSON between them. */
enum { IN_LOGFMT = 1, IN_JSON = 2, IN_BOTH = 3 };
static const unsigned char bare[256] = {
	[' '] = IN_JSON,
	['!'] = IN_BOTH,
	['#' ... '<'] = IN_BOTH,
	['='] = IN_JSON,
	['>' ... '['] = IN_BOTH,
	[']' ... '~'] = IN_BOTH,
};

static bool is_bare(const char *value, size_t len, bool json)
{
	const unsigned char wanted = json ? IN_JSON : IN_LOGFMT;

	for (size_t i = 0; i < len; i++)
		if (!(bare[(unsigned char)value[i]] & wanted))
			return false;
	return len > 0 || json;
}

/* Writes one escaped character to out and gives the bytes taken from s. */
static size_t escape(const unsigned char *s, size_t left, bool json, char out[8], size_t *out_len)
{
	size_t n = utf8_printable(s, left);
	const char *text;

	*out_len = 0;
	if (n == 0 && *s == '\n') {
		text = "\\n";
	} else if (n == 0 && json && *s >= 0x80) {
		/* A control character of two bytes, or no UTF-8: JSON has no way to say a byte. */
		text = "\xef\xbf\xbd";
	} else if (n == 0) {
		text = json ? "\\u00" : "\\x";
	} else if (n == 1 && (*s == '"' || *s == '\\')) {
		text = *s == '"' ? "\\\"" : "\\\\";
	} else {
		memcpy(out, s, n);
		*out_len = n;
		return n;
	}
	while (*text)
		out[(*out_len)++] = *text++;
	if (n == 0 && *s != '\n' && (!json || *s < 0x80)) {
		out[(*out_len)++] = hex_digits[*s >> 4];
		out[(*out_len)++] = hex_digits[*s & 15];
	}
	return n ? n : 1;
}

static void put_value(struct log_line *line, const char *value, size_t len)
{
	char text[VALUE_MAX + sizeof(CUT_MARK) + 2];
	size_t used = 0, piece_len;
	char piece[8];

	if (len <= VALUE_MAX && is_bare(value, len, line->json)) {
		if (line->json)
			put(line, "\"", 1);
		put(line, value, len);
		if (line->json)
			put(line, "\"", 1);
		return;
	}
	text[used++] = '"';
	for (size_t i = 0; i < len;) {
		i += escape((const unsigned char *)value + i, len - i, line->json, piece, &piece_len);
		if (used + piece_len > VALUE_MAX) {
			memcpy(text + used, CUT_MARK, sizeof(CUT_MARK) - 1);
			used += sizeof(CUT_MARK) - 1;
			break;
		}
		memcpy(text + used, piece, piece_len);
		used += piece_len;
	}
	text[used++] = '"';
	put(line, text, used);
}

static void put_name(struct log_line *line, const char *name)
{
	if (line->json) {
		if (line->text[line->len - 1] != '{')
			put(line, ",", 1);
		put(line, "\"", 1);
		put_text(line, name);
		put(line, "\":", 2);
		return;
	}
	/* Behind what may stand before a line there is no blank. */
	if (line->len > 0 && line->text[line->len - 1] != '>')
		put(line, " ", 1);
	put_text(line, name);
	put(line, "=", 1);
}

void log_line_begin(struct log_line *line, bool json, const char *before)
{
	line->len = 0;
	line->full = false;
	line->json = json;
	if (before)
		put_text(line, before);
	if (json)
		put(line, "{", 1);
}

void log_line_word(struct log_line *line, const char *name, const char *word)
{
	put_name(line, name);
	if (line->json)
		put(line, "\"", 1);
	put_text(line, word);
	if (line->json)
		put(line, "\"", 1);
}

void log_line_field(struct log_line *line, const struct log_field *field)
{
	size_t before = line->len;
	char digits[MS_MAX];

	switch (field->type) {
	case LOG_F_STR:
	case LOG_F_STRN:
		if (!field->str)
			return;
		put_name(line, field->name);
		put_value(line, field->str, field->type == LOG_F_STR ? strlen(field->str) : field->len);
		break;
	case LOG_F_INT:
	case LOG_F_UINT:
	case LOG_F_MS:
		put_name(line, field->name);
		put(line, digits, number(field, digits));
		break;
	case LOG_F_END:
		return;
	}
	if (line->full)
		line->len = before;
}

void log_line_fields(struct log_line *line, const struct log_field *fields)
{
	for (; fields->type != LOG_F_END; fields++)
		log_line_field(line, fields);
}

void log_line_end(struct log_line *line, bool newline)
{
	const char *mark = line->json ? ",\"cut\":true" : " cut=yes";

	/* There is room: LINE_TAIL. */
	if (line->full) {
		memcpy(line->text + line->len, mark, strlen(mark));
		line->len += strlen(mark);
	}
	if (line->json)
		line->text[line->len++] = '}';
	if (newline)
		line->text[line->len++] = '\n';
}

/* The whole characters that fit; what is none goes byte by byte. */
static size_t fitting(const char *text, size_t len, size_t cap)
{
	size_t kept = 0, n;

	while (kept < len) {
		n = utf8_printable(text + kept, len - kept);
		n = n ? n : 1;
		if (kept + n > cap)
			break;
		kept += n;
	}
	return kept;
}

size_t log_field_text(const struct log_field *field, char *out, size_t cap)
{
	char digits[MS_MAX];
	const char *from = digits;
	size_t len;

	if (field->type == LOG_F_STR || field->type == LOG_F_STRN) {
		if (!field->str)
			return 0;
		from = field->str;
		len = field->type == LOG_F_STR ? strlen(from) : field->len;
	} else {
		len = number(field, digits);
	}
	cap = cap < VALUE_MAX ? cap : VALUE_MAX;
	if (len > cap)
		len = fitting(from, len, cap);
	memcpy(out, from, len);
	return len;
}
