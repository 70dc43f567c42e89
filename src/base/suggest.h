/* "Did you mean …": the nearest of several words to a mistyped one. Pure; never blocks. */
#ifndef PTA_BASE_SUGGEST_H
#define PTA_BASE_SUGGEST_H

#include <stddef.h>

/* Start with .word set and the rest zero; offer every candidate; read best (NULL: none is near enough). */
struct suggestion {
	const char *word;
	const char *best;
	size_t distance;
};

#define SUGGESTION(text) ((struct suggestion){.word = (text)})

/* candidate must outlive the suggestion. */
void suggest_offer(struct suggestion *suggestion, const char *candidate);

#endif
