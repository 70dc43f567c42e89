/* A bounded growing byte buffer and a bounds-checked reader, for wire formats and texts. Not thread-safe. */
#ifndef PTA_BASE_BUF_H
#define PTA_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Zero-initialise with BUF_INIT(limit). An append past the limit or without memory sets `failed`, which
 * stays; the content is then incomplete and buf_ok() false. Check once, at the end. */
struct buf {
	uint8_t *data; /* always NUL-terminated once something was appended */
	size_t len, cap, limit;
	bool failed;
	bool wipe; /* wipe on growth and on buf_done(): it holds something secret */
};

#define BUF_INIT(max_bytes) ((struct buf){.limit = (max_bytes)})
#define BUF_INIT_WIPED(max_bytes) ((struct buf){.limit = (max_bytes), .wipe = true})

void buf_done(struct buf *buf); /* frees; the buffer may be used again */
void buf_reset(struct buf *buf); /* empties (and wipes) it, forgets the failure, keeps the memory */
bool buf_ok(const struct buf *buf);

/* Makes room for n more bytes at once (one allocation). */
void buf_reserve(struct buf *buf, size_t n);
void buf_put(struct buf *buf, const void *data, size_t len);
void buf_puts(struct buf *buf, const char *text);
void buf_putc(struct buf *buf, char c);
PTA_PRINTF(2, 3) void buf_printf(struct buf *buf, const char *fmt, ...);
void buf_put_u8(struct buf *buf, uint8_t v);
void buf_put_u16(struct buf *buf, uint16_t v); /* big endian, as all of these */
void buf_put_u32(struct buf *buf, uint32_t v);
void buf_put_u64(struct buf *buf, uint64_t v);
/* u16 length and the bytes; longer than 65,535 sets failed. */
void buf_put_lp(struct buf *buf, const void *data, size_t len);

/* A reader over memory it does not own. Reading past the end sets `failed`, which stays, and gives zeros. */
struct reader {
	const uint8_t *data;
	size_t len, pos;
	bool failed;
};

#define READER(bytes, size) ((struct reader){.data = (bytes), .len = (size)})

uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
/* Points into the reader's memory; NULL on failure. */
const uint8_t *reader_bytes(struct reader *r, size_t len);
const uint8_t *reader_lp(struct reader *r, size_t *len);
/* Nothing failed and nothing is left over. */
bool reader_done(const struct reader *r);

#endif
