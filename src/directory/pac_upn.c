#include "directory/pac_upn.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static unsigned u16(const uint8_t *at)
{
	return (unsigned)at[0] | (unsigned)at[1] << 8;
}

/* One character of UTF-16LE; *used is 2 or 4. False for a lone surrogate. */
static bool take_character(const uint8_t *at, size_t left, uint32_t *out, size_t *used)
{
	uint32_t unit = u16(at), low;

	*used = 2;
	*out = unit;
	if (unit < 0xd800 || unit > 0xdfff)
		return unit != 0;
	if (unit > 0xdbff || left < 4)
		return false;
	low = u16(at + 2);
	if (low < 0xdc00 || low > 0xdfff)
		return false;
	*used = 4;
	*out = 0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00));
	return true;
}

/* RFC 3629 3 */
static size_t put_utf8(uint32_t c, char out[4])
{
	size_t more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	static const uint8_t marks[] = {0, 0xc0, 0xe0, 0xf0};

	out[0] = (char)(marks[more] | c >> (6 * more));
	for (size_t i = 1; i <= more; i++)
		out[i] = (char)(0x80 | (c >> (6 * (more - i)) & 0x3f));
	return more + 1;
}

int pac_upn(const void *buffer, size_t len, char out[LIMIT_USERNAME + 1])
{
	const uint8_t *bytes = buffer;
	size_t upn_len, upn_at, used, n = 0;

	out[0] = '\0';
	if (len < 12)
		return -PTA_EPROTO;
	upn_len = u16(bytes);
	upn_at = u16(bytes + 2);
	if (upn_len == 0 || upn_len % 2 || upn_at > len || upn_len > len - upn_at)
		return -PTA_EPROTO;
	for (size_t i = 0; i < upn_len; i += used) {
		char utf8[4];
		uint32_t c;
		size_t m;

		if (!take_character(bytes + upn_at + i, upn_len - i, &c, &used))
			return -PTA_EPROTO;
		m = put_utf8(c, utf8);
		if (n + m > LIMIT_USERNAME)
			return -PTA_EPROTO;
		memcpy(out + n, utf8, m);
		n += m;
	}
	out[n] = '\0';
	return 0;
}
