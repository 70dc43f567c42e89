/* Jittered exponential back-off without end (full jitter over the upper half). Not thread-safe; never blocks. */
#ifndef PTA_BASE_BACKOFF_H
#define PTA_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
	uint32_t min_ms, max_ms;
	uint32_t failures;
};

#define BACKOFF_INIT(min, max) ((struct backoff){.min_ms = (min), .max_ms = (max)})

/* The wait before the next try, in ms: min·2^failures at most max, of which a random half to whole. Counts the failure. */
uint32_t backoff_next_ms(struct backoff *b);
void backoff_reset(struct backoff *b);

#endif
