#include "base/encode.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char base64url_digits[64] = {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};
static const char hex_digits[16] = {"0123456789abcdef"};

void encode_base64url(struct buf *out, const void *data, size_t len)
{
	const uint8_t *in = data;
	uint8_t *to;
	size_t i;

	buf_reserve(out, BASE64URL_LEN(len));
	if (!buf_ok(out))
		return;
	to = out->data + out->len;
	for (i = 0; i + 3 <= len; i += 3) {
		*to++ = (uint8_t)base64url_digits[in[i] >> 2];
		*to++ = (uint8_t)base64url_digits[(in[i] << 4 | in[i + 1] >> 4) & 63];
		*to++ = (uint8_t)base64url_digits[(in[i + 1] << 2 | in[i + 2] >> 6) & 63];
		*to++ = (uint8_t)base64url_digits[in[i + 2] & 63];
	}
	if (len - i > 0) {
		*to++ = (uint8_t)base64url_digits[in[i] >> 2];
		*to++ = (uint8_t)base64url_digits[(in[i] << 4 | (len - i == 2 ? in[i + 1] >> 4 : 0)) & 63];
		if (len - i == 2)
			*to++ = (uint8_t)base64url_digits[in[i + 1] << 2 & 63];
	}
	*to = '\0';
	out->len += BASE64URL_LEN(len);
}

/* Value + 1 of a digit; 0: none. */
static const uint8_t base64url_values[256] = {
	['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8, ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13,
	['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26,
	['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39,
	['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52,
	['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

/* n digits, most significant first; -1 when one of them is none. */
static int64_t base64url_group(const char *text, size_t n)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t value = base64url_values[(uint8_t)text[i]];

		if (!value)
			return -1;
		bits = bits << 6 | (value - 1u);
	}
	return bits;
}

int decode_base64url(const char *text, size_t text_len, uint8_t *out, size_t cap, size_t *len)
{
	size_t tail = text_len % 4, n = text_len / 4 * 3 + (tail ? tail - 1 : 0);
	int64_t bits;

	if (tail == 1)
		return -PTA_EINVAL;
	if (n > cap)
		return -PTA_ETOOBIG;
	for (size_t groups = text_len / 4; groups; groups--, text += 4, out += 3) {
		bits = base64url_group(text, 4);
		if (bits < 0)
			return -PTA_EINVAL;
		out[0] = (uint8_t)(bits >> 16);
		out[1] = (uint8_t)(bits >> 8);
		out[2] = (uint8_t)bits;
	}
	if (tail) {
		bits = base64url_group(text, tail);
		/* The last character's unused bits: only zeros are canonical. */
		if (bits < 0 || bits & (tail == 2 ? 15 : 3))
			return -PTA_EINVAL;
		bits <<= tail == 2 ? 12 : 6;
		out[0] = (uint8_t)(bits >> 16);
		if (tail == 3)
			out[1] = (uint8_t)(bits >> 8);
	}
	*len = n;
	return 0;
}

void encode_hex(const void *data, size_t len, char *out)
{
	const uint8_t *in = data;

	for (size_t i = 0; i < len; i++) {
		*out++ = hex_digits[in[i] >> 4];
		*out++ = hex_digits[in[i] & 15];
	}
	*out = '\0';
}

size_t encode_decimal(uint64_t value, char out[DECIMAL_MAX])
{
	char digits[DECIMAL_MAX];
	size_t n = 0;

	do {
		digits[sizeof(digits) - ++n] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	memcpy(out, digits + sizeof(digits) - n, n);
	return n;
}

/* The length of the sequence at p, 0 when it is none (Unicode 15, table 3-7). */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return p[0] ? 1 : 0;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > left)
		return 0;
	switch (p[0]) {
	case 0xe0: /* shorter forms exist */
		low = 0xa0;
		break;
	case 0xed: /* surrogates */
		high = 0x9f;
		break;
	case 0xf0: /* shorter forms exist */
		low = 0x90;
		break;
	case 0xf4: /* above U+10FFFF */
		high = 0x8f;
		break;
	}
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* How many bytes at the front are certainly ASCII without NUL, taken eight at a time: most texts are nothing else. */
static size_t ascii_run(const uint8_t *p, size_t len)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
	size_t i = 0;
	uint64_t word;

	for (; len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		if ((word | ((word - ones) & ~word)) & highs)
			break;
	}
	return i;
}

bool utf8_valid(const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = ascii_run(p, len), n; i < len; i += n) {
		n = utf8_sequence(p + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

size_t utf8_printable(const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t n = len ? utf8_sequence(p, len) : 0;

	if ((n == 1 && (*p < 0x20 || *p == 0x7f)) || (n == 2 && p[0] == 0xc2 && p[1] < 0xa0))
		return 0;
	return n;
}

bool ascii_printable(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return true;
}

void random_id(char out[RANDOM_ID_LEN + 1])
{
	uint8_t bytes[RANDOM_ID_LEN / 2];

	/* So few bytes come whole and uninterrupted from any kernel that has the call; ids that repeat must not happen. */
	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		abort();
	encode_hex(bytes, sizeof(bytes), out);
}

bool random_id_valid(const char *text, size_t len)
{
	if (len != RANDOM_ID_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
	return true;
}
