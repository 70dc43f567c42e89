#include "base/suggest.h"

#include <string.h>

#define WORD_MAX 63

/* Levenshtein's distance with two rows; words longer than WORD_MAX are as far as can be. */
static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], len_a = strlen(a), len_b = strlen(b), diagonal, above, best;

	if (len_a > WORD_MAX || len_b > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= len_b; j++)
		row[j] = j;
	for (size_t i = 1; i <= len_a; i++) {
		diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= len_b; j++) {
			above = row[j];
			best = diagonal + (a[i - 1] != b[j - 1]);
			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diagonal = above;
		}
	}
	return row[len_b];
}

void suggest_offer(struct suggestion *suggestion, const char *candidate)
{
	size_t d = distance(suggestion->word, candidate), near = strlen(candidate) / 3 + 1;

	if (d <= near && d < strlen(candidate) && (!suggestion->best || d < suggestion->distance)) {
		suggestion->best = candidate;
		suggestion->distance = d;
	}
}
