#include "directory/name_fold.h"

#include <locale.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <wctype.h>

static locale_t utf8_locale;

static void make_locale(void)
{
	/* Part of glibc since 2.35, and of Debian's and Fedora's before. */
	utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/* RFC 3629. One byte of anything else is a character of its own, which no valid one is. */
static uint32_t take(const char **at, const char *end)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	const uint8_t *p = (const uint8_t *)*at;
	size_t more = p[0] >= 0xf8 ? 0 : p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc2 ? 1 : 0, left = (size_t)(end - *at);
	uint32_t c = more ? p[0] & (0x3fu >> more) : p[0];

	for (size_t i = 1; i <= more; i++) {
		if (i >= left || (p[i] & 0xc0) != 0x80) {
			more = 0;
			break;
		}
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[more])
		more = 0;
	*at += more + 1;
	return more == 0 && p[0] >= 0x80 ? 0x80000000u | p[0] : c;
}

static uint32_t fold(uint32_t c)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint32_t lower;

	if (c < 0x80)
		return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
	pthread_once(&once, make_locale);
	lower = utf8_locale && c < 0x110000 ? (uint32_t)towlower_l((wint_t)c, utf8_locale) : c;
	/* The sign for Kelvin is no 'k'. */
	return lower < 0x80 ? c : lower;
}

bool name_fold_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
	const char *a_end = a + a_len, *b_end = b + b_len;

	while (a < a_end && b < b_end)
		if (fold(take(&a, a_end)) != fold(take(&b, b_end)))
			return false;
	return a == a_end && b == b_end;
}
