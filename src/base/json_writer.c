#include "base/json.h"

#include <math.h>
#include <string.h>

#include "base/encode.h"

static void put_escaped(struct buf *out, const char *text, size_t len)
{
	/* What is not UTF-8 must not make the document invalid. */
	bool ascii_only = !utf8_valid(text, len);
	size_t start = 0;

	buf_putc(out, '"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c != '"' && c != '\\' && !(ascii_only && c >= 0x80))
			continue;
		buf_put(out, text + start, i - start);
		start = i + 1;
		if (c >= 0x80)
			buf_puts(out, "\\ufffd");
		else if (c == '"' || c == '\\')
			buf_put(out, (const char[]){'\\', (char)c}, 2);
		else if (c == '\n')
			buf_puts(out, "\\n");
		else
			buf_printf(out, "\\u%04x", c);
	}
	buf_put(out, text + start, len - start);
	buf_putc(out, '"');
}

/* The comma before a value and its key, which is a name of ours and needs no escapes. */
static void lead(struct json_writer *w, const char *key)
{
	if (w->comma)
		buf_putc(w->out, ',');
	w->comma = true;
	if (key) {
		buf_putc(w->out, '"');
		buf_puts(w->out, key);
		buf_put(w->out, "\":", 2);
	}
}

static void open_with(struct json_writer *w, const char *key, char c)
{
	lead(w, key);
	buf_putc(w->out, c);
	w->comma = false;
}

static void close_with(struct json_writer *w, char c)
{
	buf_putc(w->out, c);
	w->comma = true;
}

void json_put_object(struct json_writer *w, const char *key)
{
	open_with(w, key, '{');
}

void json_end_object(struct json_writer *w)
{
	close_with(w, '}');
}

void json_put_array(struct json_writer *w, const char *key)
{
	open_with(w, key, '[');
}

void json_end_array(struct json_writer *w)
{
	close_with(w, ']');
}

void json_put_string(struct json_writer *w, const char *key, const char *value)
{
	lead(w, key);
	if (value)
		put_escaped(w->out, value, strlen(value));
	else
		buf_puts(w->out, "null");
}

void json_put_stringn(struct json_writer *w, const char *key, const char *value, size_t len)
{
	lead(w, key);
	put_escaped(w->out, value, len);
}

static void put_decimal(struct buf *out, uint64_t value)
{
	char digits[DECIMAL_MAX];

	buf_put(out, digits, encode_decimal(value, digits));
}

void json_put_uint(struct json_writer *w, const char *key, uint64_t value)
{
	lead(w, key);
	put_decimal(w->out, value);
}

void json_put_int(struct json_writer *w, const char *key, int64_t value)
{
	lead(w, key);
	if (value < 0)
		buf_putc(w->out, '-');
	put_decimal(w->out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void json_put_double(struct json_writer *w, const char *key, double value)
{
	lead(w, key);
	if (isfinite(value))
		buf_printf(w->out, "%.15g", value);
	else
		buf_puts(w->out, "null"); /* JSON has no other word for it */
}

void json_put_bool(struct json_writer *w, const char *key, bool value)
{
	lead(w, key);
	buf_puts(w->out, value ? "true" : "false");
}

void json_put_base64url(struct json_writer *w, const char *key, const void *data, size_t len)
{
	lead(w, key);
	buf_putc(w->out, '"');
	encode_base64url(w->out, data, len);
	buf_putc(w->out, '"');
}
