/* Passwords and keys in memory: exact size, on OpenSSL's secure heap (guarded, locked, not dumped),
 * cleansed on free, no formatter. Thread-safe (the arena has OpenSSL's lock). Never blocks. */
#ifndef PTA_BASE_SECRET_H
#define PTA_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct secret;

#define SECRET_ARENA_BYTES (8u << 20)

/* Sets up the arena (once per process, before threads), PR_SET_DUMPABLE 0 and RLIMIT_CORE 0.
 * bytes: a power of two. Fails with a text naming RLIMIT_MEMLOCK when it cannot be locked. */
PTA_MUST_CHECK int secret_arena_init(size_t bytes, struct err *err);

/* Bytes of the arena in use, for metrics. */
size_t secret_arena_used(void);

/* A zeroed secret of len bytes (0 is allowed); NULL when the arena is exhausted. Free with secret_free(). */
struct secret *secret_new(size_t len);
/* A secret with a copy of data. The caller still owns (and wipes) data. */
struct secret *secret_dup(const void *data, size_t len);
void secret_free(struct secret *secret);
void secret_freep(struct secret **secret);

/* The bytes, followed by one NUL that is not counted (libraries want it); writable until shared. */
uint8_t *secret_data(struct secret *secret);
const uint8_t *secret_bytes(const struct secret *secret);
size_t secret_len(const struct secret *secret);
/* Drops the bytes behind len (len <= secret_len) and wipes them. */
void secret_truncate(struct secret *secret, size_t len);

/* Constant time for equal lengths. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Wipes memory that is not a secret but held one; never optimised away. NULL with 0 is allowed. */
void secret_wipe(void *data, size_t len);

/* Wipes the stack below the caller's frame, as deep as a library goes that was just handed a secret: its functions leave
 * what they worked on behind them. Costs as much as writing 8 KiB. */
void secret_wipe_stack(void);

#endif
