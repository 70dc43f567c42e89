#include "base/backoff.h"

#include <stdlib.h>
#include <sys/random.h>

static uint32_t random_u32(void)
{
	uint32_t value;

	/* So few bytes come whole and uninterrupted from any kernel that has the call. */
	if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value))
		abort();
	return value;
}

uint32_t backoff_next_ms(struct backoff *b)
{
	uint64_t whole = (uint64_t)b->min_ms << (b->failures < 31 ? b->failures : 31);
	uint32_t wait = whole < b->max_ms ? (uint32_t)whole : b->max_ms, half = wait / 2;

	if (b->failures < UINT32_MAX)
		b->failures++;
	return half + (uint32_t)((uint64_t)random_u32() * (wait - half + 1) >> 32);
}

void backoff_reset(struct backoff *b)
{
	b->failures = 0;
}
