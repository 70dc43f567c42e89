#include "directory/bind_name.h"

#include <ldap.h>
#include <string.h>

/* RFC 4514 2.4: everything that could end the value or start another is written as itself behind a backslash. */
static void put_escaped(struct buf *out, const char *value)
{
	size_t len = strlen(value);

	for (size_t i = 0; i < len; i++) {
		char c = value[i];

		if (strchr(",+\"\\<>;=", c) || (c == '#' && i == 0) || (c == ' ' && (i == 0 || i == len - 1)))
			buf_putc(out, '\\');
		buf_putc(out, c);
	}
}

static int expand(const char *bind_dn, const char *user, const char *domain, struct buf *out)
{
	for (const char *p = bind_dn; *p; p++) {
		if (*p != '%') {
			buf_putc(out, *p);
			continue;
		}
		switch (*++p) {
		case 'u':
			put_escaped(out, user);
			break;
		case 'd':
			put_escaped(out, domain);
			break;
		case '%':
			buf_putc(out, '%');
			break;
		default:
			return -PTA_EINVAL;
		}
	}
	return buf_ok(out) ? 0 : -PTA_ETOOBIG;
}

int bind_name_check(const char *bind_dn, struct err *err)
{
	struct buf sample PTA_CLEANUP(buf_done) = BUF_INIT(BIND_NAME_MAX), other PTA_CLEANUP(buf_done) = BUF_INIT(BIND_NAME_MAX);
	LDAPDN dn = NULL;
	int rc;

	if (expand(bind_dn, "a", "example.com", &sample) < 0 || expand(bind_dn, "b", "example.com", &other) < 0)
		return err_set(err, -PTA_EINVAL, "bind_dn: '%s' may have %%u, %%d and %%%%, nothing else behind a percent sign", bind_dn);
	if (sample.len == 0 || strcmp((const char *)sample.data, (const char *)other.data) == 0)
		return err_set(err, -PTA_EINVAL, "bind_dn: '%s' has no %%u: every user would bind the same entry", bind_dn);
	rc = ldap_str2dn((const char *)sample.data, &dn, LDAP_DN_FORMAT_LDAPV3);
	ldap_dnfree(dn);
	if (rc != LDAP_SUCCESS)
		return err_set(err, -PTA_EINVAL, "bind_dn: '%s' does not make a DN: '%s' is refused with: %s", bind_dn, (const char *)sample.data,
			ldap_err2string(rc));
	return 0;
}

int bind_name_make(const char *bind_dn, const struct credential *credential, struct buf *out)
{
	if (bind_dn)
		return expand(bind_dn, credential->user, credential->domain, out);
	buf_puts(out, credential->name);
	return buf_ok(out) ? 0 : -PTA_ETOOBIG;
}
