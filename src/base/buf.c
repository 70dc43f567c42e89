#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

#define FIRST_CAP 64

void buf_done(struct buf *buf)
{
	if (buf->wipe)
		secret_wipe(buf->data, buf->cap);
	free(buf->data);
	*buf = (struct buf){.limit = buf->limit, .wipe = buf->wipe};
}

void buf_reset(struct buf *buf)
{
	if (buf->wipe)
		secret_wipe(buf->data, buf->len);
	buf->len = 0;
	buf->failed = false;
	if (buf->data)
		buf->data[0] = '\0';
}

bool buf_ok(const struct buf *buf)
{
	return !buf->failed;
}

/* Sets the capacity, the NUL's byte included. realloc() would leave the old bytes behind. */
static uint8_t *regrow(struct buf *buf, size_t cap)
{
	uint8_t *data;

	if (!buf->wipe)
		return realloc(buf->data, cap);
	data = malloc(cap);
	if (!data)
		return NULL;
	if (buf->len)
		memcpy(data, buf->data, buf->len);
	secret_wipe(buf->data, buf->cap);
	free(buf->data);
	return data;
}

/* Room for n more bytes and a NUL: at first what is needed, but no less than `least`; then at least twice what there was. */
static bool grow(struct buf *buf, size_t n, size_t least)
{
	size_t need, cap;
	uint8_t *data;

	if (buf->failed || n > buf->limit || buf->len > buf->limit - n || n >= SIZE_MAX - buf->len) {
		buf->failed = true;
		return false;
	}
	need = buf->len + n + 1;
	if (need <= buf->cap)
		return true;
	cap = need < least ? least : need;
	if (buf->cap <= SIZE_MAX / 2 && cap < buf->cap * 2)
		cap = buf->cap * 2;
	if (cap - 1 > buf->limit)
		cap = buf->limit + 1;
	data = regrow(buf, cap);
	if (!data) {
		buf->failed = true;
		return false;
	}
	buf->data = data;
	buf->cap = cap;
	return true;
}

void buf_reserve(struct buf *buf, size_t n)
{
	if (grow(buf, n, 0))
		buf->data[buf->len] = '\0';
}

void buf_put(struct buf *buf, const void *data, size_t len)
{
	if (!grow(buf, len, FIRST_CAP))
		return;
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void buf_puts(struct buf *buf, const char *text)
{
	buf_put(buf, text, strlen(text));
}

void buf_putc(struct buf *buf, char c)
{
	buf_put(buf, &c, 1);
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
	size_t room = buf->cap - buf->len;
	va_list ap;
	int n;

	if (buf->failed)
		return;
	va_start(ap, fmt);
	n = vsnprintf(buf->data ? (char *)buf->data + buf->len : NULL, room, fmt, ap);
	va_end(ap);
	if (n < 0 || !grow(buf, (size_t)n, FIRST_CAP)) {
		buf->failed = true;
		/* What was written beyond the content is not part of it. */
		if (buf->data)
			buf->data[buf->len] = '\0';
		return;
	}
	if ((size_t)n >= room) {
		va_start(ap, fmt);
		vsnprintf((char *)buf->data + buf->len, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	buf->len += (size_t)n;
}

static void put_be(struct buf *buf, uint64_t v, unsigned bytes)
{
	uint8_t out[8];

	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
	buf_put(buf, out, bytes);
}

void buf_put_u8(struct buf *buf, uint8_t v)
{
	buf_put(buf, &v, 1);
}

void buf_put_u16(struct buf *buf, uint16_t v)
{
	put_be(buf, v, 2);
}

void buf_put_u32(struct buf *buf, uint32_t v)
{
	put_be(buf, v, 4);
}

void buf_put_u64(struct buf *buf, uint64_t v)
{
	put_be(buf, v, 8);
}

void buf_put_lp(struct buf *buf, const void *data, size_t len)
{
	if (len > UINT16_MAX) {
		buf->failed = true;
		return;
	}
	buf_put_u16(buf, (uint16_t)len);
	buf_put(buf, data, len);
}

const uint8_t *reader_bytes(struct reader *r, size_t len)
{
	const uint8_t *at;

	if (r->failed || len > r->len - r->pos) {
		r->failed = true;
		return NULL;
	}
	at = r->data + r->pos;
	r->pos += len;
	return at;
}

static uint64_t get_be(struct reader *r, size_t bytes)
{
	const uint8_t *at = reader_bytes(r, bytes);
	uint64_t v = 0;

	for (size_t i = 0; at && i < bytes; i++)
		v = v << 8 | at[i];
	return v;
}

uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)get_be(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
	return (uint16_t)get_be(r, 2);
}

uint32_t reader_u32(struct reader *r)
{
	return (uint32_t)get_be(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
	return get_be(r, 8);
}

const uint8_t *reader_lp(struct reader *r, size_t *len)
{
	size_t n = reader_u16(r);
	const uint8_t *at = reader_bytes(r, n);

	*len = at ? n : 0;
	return at;
}

bool reader_done(const struct reader *r)
{
	return !r->failed && r->pos == r->len;
}
