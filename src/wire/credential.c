#include "wire/credential.h"

#include <string.h>

#include "base/encode.h"

static bool is_ascii_alnum(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* C0, DEL, and C1 as UTF-8 (C2 80 to C2 9F). The text is valid UTF-8. */
static bool has_control_character(const unsigned char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] < 0x20 || text[i] == 0x7f)
			return true;
		if (text[i] == 0xc2 && i + 1 < len && text[i + 1] < 0xa0)
			return true;
	}
	return false;
}

static int check_user(const char *user, size_t len, struct err *err)
{
	if (len == 0)
		return err_set(err, -PTA_EINVAL, "user name: nothing stands before the '@' or behind the '\\'");
	if (user[0] == ' ' || user[len - 1] == ' ')
		return err_set(err, -PTA_EINVAL, "user name: begins or ends with a space");
	for (size_t i = 0; i < len; i++)
		if (strchr("\"/\\[]:;|=,*?<>@", user[i]))
			return err_set(err, -PTA_EINVAL, "user name: '%c' is not allowed in it", user[i]);
	return 0;
}

/* Copies the domain with its letters in lower case. */
static int take_domain(const char *text, size_t len, char out[LIMIT_DOMAIN + 1], struct err *err)
{
	if (len == 0)
		return err_set(err, -PTA_EINVAL, "user name: the domain is missing");
	if (len > LIMIT_DOMAIN)
		return err_set(err, -PTA_EINVAL, "user name: the domain has more than %d bytes", LIMIT_DOMAIN);
	if (text[0] == '.' || text[len - 1] == '.')
		return err_set(err, -PTA_EINVAL, "user name: the domain begins or ends with a dot");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (!is_ascii_alnum(c) && c != '-' && c != '_' && c != '.')
			return err_set(err, -PTA_EINVAL, "user name: the domain is neither a DNS name nor a NetBIOS name");
		if (c == '.' && text[i - 1] == '.')
			return err_set(err, -PTA_EINVAL, "user name: the domain has two dots side by side");
		out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : (char)c;
	}
	out[len] = '\0';
	return 0;
}

static int parse(const char *name, size_t len, struct credential *out, struct err *err)
{
	const char *at, *backslash, *user, *domain;
	size_t user_len, domain_len;
	int r;

	if (len == 0)
		return err_set(err, -PTA_EINVAL, "user name: empty");
	if (len > LIMIT_USERNAME)
		return err_set(err, -PTA_EINVAL, "user name: more than %d bytes", LIMIT_USERNAME);
	if (!utf8_valid(name, len))
		return err_set(err, -PTA_EINVAL, "user name: not UTF-8");
	if (has_control_character((const unsigned char *)name, len))
		return err_set(err, -PTA_EINVAL, "user name: control characters are not allowed in it");
	at = memrchr(name, '@', len);
	backslash = memchr(name, '\\', len);
	if (!at && !backslash)
		return err_set(err, -PTA_EINVAL, "user name: give it as user@domain or DOMAIN\\user");
	if (at && backslash)
		return err_set(err, -PTA_EINVAL, "user name: both '@' and '\\' in it");
	if (at) {
		out->form = CREDENTIAL_UPN;
		user = name;
		user_len = (size_t)(at - name);
		domain = at + 1;
		domain_len = len - user_len - 1;
	} else {
		out->form = CREDENTIAL_NETBIOS;
		domain = name;
		domain_len = (size_t)(backslash - name);
		user = backslash + 1;
		user_len = len - domain_len - 1;
	}
	r = check_user(user, user_len, err);
	if (r < 0)
		return r;
	r = take_domain(domain, domain_len, out->domain, err);
	if (r < 0)
		return r;
	memcpy(out->name, name, len);
	memcpy(out->user, user, user_len);
	return 0;
}

int credential_parse(const char *name, size_t len, struct credential *out, struct err *err)
{
	int r;

	memset(out, 0, sizeof(*out));
	r = parse(name, len, out, err);
	if (r < 0)
		memset(out, 0, sizeof(*out));
	return r;
}

bool credential_domain_equal(const char *a, const char *b)
{
	for (;; a++, b++) {
		unsigned char x = (unsigned char)*a, y = (unsigned char)*b;

		/* Not strcasecmp(): that depends on the locale. */
		if (x >= 'A' && x <= 'Z')
			x = (unsigned char)(x - 'A' + 'a');
		if (y >= 'A' && y <= 'Z')
			y = (unsigned char)(y - 'A' + 'a');
		if (x != y)
			return false;
		if (x == '\0')
			return true;
	}
}
