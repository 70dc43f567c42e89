/* Time. Monotonic time for deadlines, wall time only for certificates, audit lines and the wire.
 * Thread-safe; never blocks. */
#ifndef PTA_BASE_CLOCK_H
#define PTA_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_mono_us(void);
uint64_t clock_mono_ms(void);
uint64_t clock_wall_ms(void); /* since 1970, UTC */

/* RFC 3339 in UTC with milliseconds: "2026-01-31T23:59:59.123Z" and a NUL. */
#define CLOCK_RFC3339_LEN 24
void clock_rfc3339(uint64_t wall_ms, char out[CLOCK_RFC3339_LEN + 1]);

/* For tests only: from now on the clocks stand at these values until moved again; -1 ends it. */
void clock_fake(int64_t mono_us, int64_t wall_ms);

#endif
