#include "directory/ad_status.h"

#include <ldap.h>
#include <stdio.h>
#include <string.h>

/* AD's sub-codes: Win32 errors in hex behind "data " in the text of result 49. `proved`: told only with the right password.
 * Samba tells 52f of a member of Protected Users whatever the password is. */
static const struct {
	uint32_t data;
	enum verdict_code code;
	bool proved;
} sub_codes[] = {
	{0x525, VERDICT_INVALID_CREDENTIALS, false}, /* ERROR_NO_SUCH_USER */
	{0x52e, VERDICT_INVALID_CREDENTIALS, false}, /* ERROR_LOGON_FAILURE */
	{0x52f, VERDICT_ACCOUNT_RESTRICTED, false},  /* ERROR_ACCOUNT_RESTRICTION */
	{0x530, VERDICT_LOGON_HOURS, true},	     /* ERROR_INVALID_LOGON_HOURS */
	{0x531, VERDICT_LOGON_RESTRICTED, true},     /* ERROR_INVALID_WORKSTATION */
	{0x532, VERDICT_PASSWORD_EXPIRED, true},     /* ERROR_PASSWORD_EXPIRED */
	{0x533, VERDICT_ACCOUNT_DISABLED, true},     /* ERROR_ACCOUNT_DISABLED */
	{0x569, VERDICT_LOGON_RESTRICTED, true},     /* ERROR_LOGON_TYPE_NOT_GRANTED */
	{0x701, VERDICT_ACCOUNT_EXPIRED, true},	     /* ERROR_ACCOUNT_EXPIRED */
	{0x773, VERDICT_PASSWORD_MUST_CHANGE, true}, /* ERROR_PASSWORD_MUST_CHANGE */
	{0x775, VERDICT_ACCOUNT_LOCKED, false},	     /* ERROR_ACCOUNT_LOCKED_OUT */
};

/* Result codes other than 0 and 49 are never about the password. What is not listed is a fault. */
static const struct {
	int result;
	enum verdict_reason reason;
	enum ad_status_health health;
} results[] = {
	{LDAP_TIMELIMIT_EXCEEDED, REASON_TIMEOUT, AD_STATUS_BUSY},
	{LDAP_BUSY, REASON_DIRECTORY_UNREACHABLE, AD_STATUS_BUSY},
	{LDAP_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, AD_STATUS_BUSY},
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool word_end(char c)
{
	c |= 0x20;
	return !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'));
}

/* Up to eight hex digits that end as a word. */
static bool parse_hex(const char *text, size_t len, uint32_t *out)
{
	uint32_t value = 0;
	size_t n = 0;

	while (n < len && hex_digit(text[n]) >= 0) {
		if (n == 8)
			return false;
		value = value << 4 | (uint32_t)hex_digit(text[n++]);
	}
	if (n == 0 || (n < len && !word_end(text[n])))
		return false;
	*out = value;
	return true;
}

/* AD and Samba write "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563". */
static bool is_ad_text(const char *text, size_t len)
{
	static const char mark[] = ": LdapErr: ";

	return len >= 8 + sizeof(mark) - 1 && memcmp(text + 8, mark, sizeof(mark) - 1) == 0;
}

static bool find_sub_code(const char *text, size_t len, uint32_t *out)
{
	static const char mark[] = "data ";
	const size_t skip = sizeof(mark) - 1;

	for (size_t i = 0; i + skip < len; i++)
		if (memcmp(text + i, mark, skip) == 0 && (i == 0 || word_end(text[i - 1])) && parse_hex(text + i + skip, len - i - skip, out))
			return true;
	return false;
}

/* "49: the text": printable ASCII, the rest as '?', cut to fit; AD's trailing NUL and newlines are left out. */
static void set_detail(struct verdict *out, int result, const char *text, size_t len)
{
	int n = snprintf(out->detail, sizeof(out->detail), "%d", result);
	size_t used = n > 0 ? (size_t)n : 0;

	while (len > 0 && (text[len - 1] == '\0' || text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == ' '))
		len--;
	if (len == 0)
		return;
	out->detail[used++] = ':';
	out->detail[used++] = ' ';
	for (size_t i = 0; i < len && used < sizeof(out->detail) - 1; i++)
		out->detail[used++] = text[i] >= 0x20 && text[i] <= 0x7e ? text[i] : '?';
	out->detail[used] = '\0';
}

static void set_unavailable(struct verdict *out, enum verdict_reason reason)
{
	out->code = VERDICT_UNAVAILABLE;
	out->reason = reason;
	out->password_proved = false;
}

enum ad_status_health ad_status_bind(int result, const char *diagnostic, size_t len, struct verdict *out)
{
	uint32_t data;

	set_unavailable(out, REASON_AGENT_ERROR);
	out->password_sent = true;
	set_detail(out, result, diagnostic, len);

	if (result == LDAP_SUCCESS) {
		out->code = VERDICT_SUCCESS;
		out->password_proved = true;
		return AD_STATUS_WELL;
	}
	if (result == LDAP_INVALID_CREDENTIALS) {
		if (find_sub_code(diagnostic, len, &data)) {
			for (size_t i = 0; i < PTA_ARRAY_SIZE(sub_codes); i++) {
				if (sub_codes[i].data != data)
					continue;
				out->code = sub_codes[i].code;
				out->password_proved = sub_codes[i].proved;
				return AD_STATUS_WELL;
			}
			/* A missing channel binding token (57, 80090346) and what nobody knows must not deny everyone. */
			return AD_STATUS_FAULT;
		}
		/* AD always gives a sub-code; its text without one is an answer nobody knows. */
		if (is_ad_text(diagnostic, len))
			return AD_STATUS_FAULT;
		out->code = VERDICT_INVALID_CREDENTIALS;
		return AD_STATUS_WELL;
	}
	for (size_t i = 0; i < PTA_ARRAY_SIZE(results); i++) {
		if (results[i].result != result)
			continue;
		out->reason = results[i].reason;
		return results[i].health;
	}
	return AD_STATUS_FAULT;
}
