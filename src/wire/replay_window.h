/* Which of the newest REPLAY_WINDOW numbers were seen: a ring of bits. What is older counts as seen. Not thread-safe. */
#ifndef PTA_WIRE_REPLAY_WINDOW_H
#define PTA_WIRE_REPLAY_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define REPLAY_WINDOW 65536

/* Zeroed memory is an empty window. */
struct replay_window {
	uint64_t highest;
	uint64_t bits[REPLAY_WINDOW / 64];
};

/* Never seen, and not too old to tell. Changes nothing. */
bool replay_window_fresh(const struct replay_window *w, uint64_t seq);
/* Only for a number that is fresh and whose message was authentic: it moves the window. */
void replay_window_mark(struct replay_window *w, uint64_t seq);

#endif
