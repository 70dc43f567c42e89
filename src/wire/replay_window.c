#include "wire/replay_window.h"

#include <string.h>

static uint64_t *word_of(struct replay_window *w, uint64_t seq)
{
	return &w->bits[seq % REPLAY_WINDOW / 64];
}

static uint64_t mask_of(uint64_t seq)
{
	return UINT64_C(1) << (seq % 64);
}

bool replay_window_fresh(const struct replay_window *w, uint64_t seq)
{
	if (seq > w->highest)
		return true;
	return w->highest - seq < REPLAY_WINDOW && !(w->bits[seq % REPLAY_WINDOW / 64] & mask_of(seq));
}

void replay_window_mark(struct replay_window *w, uint64_t seq)
{
	if (seq > w->highest) {
		/* The numbers between were not seen; their bits are those of numbers that fall out. */
		if (seq - w->highest >= REPLAY_WINDOW)
			memset(w->bits, 0, sizeof(w->bits));
		else
			for (uint64_t n = w->highest + 1; n <= seq; n++)
				*word_of(w, n) &= ~mask_of(n);
		w->highest = seq;
	}
	*word_of(w, seq) |= mask_of(seq);
}
