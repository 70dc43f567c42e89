#include "directory/name_filter.h"

#include <string.h>
#include <strings.h>

#define ATTRIBUTE "attribute:"

/* SAM_NORMAL_USER_ACCOUNT (MS-ADTS 2.2.6): indexed and in the global catalog, other than objectCategory and objectClass in
 * one. Computers, trusts, groups and contacts have other types or none. */
#define AD_USERS "(&(sAMAccountType=805306368)"

void name_filter_put_value(struct buf *out, const char *value)
{
	static const char hex[] = "0123456789abcdef";

	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		if (c == '*' || c == '(' || c == ')' || c == '\\') {
			buf_putc(out, '\\');
			buf_putc(out, hex[c >> 4]);
			buf_putc(out, hex[c & 15]);
			continue;
		}
		buf_putc(out, *value);
	}
}

static const char *attribute_of(const char *word)
{
	return strncmp(word, ATTRIBUTE, sizeof(ATTRIBUTE) - 1) == 0 ? word + sizeof(ATTRIBUTE) - 1 : NULL;
}

bool name_filter_has_attributes(const struct directory_conf *conf)
{
	for (size_t i = 0; i < conf->login.n; i++)
		if (attribute_of(conf->login.items[i]))
			return true;
	return false;
}

static bool takes_upn(const struct directory_conf *conf)
{
	for (size_t i = 0; i < conf->login.n; i++)
		if (!attribute_of(conf->login.items[i]))
			return true;
	return conf->login.n == 0;
}

/* A proxy address is written with its protocol: smtp: or, for the primary one, SMTP:, which AD compares without case. */
static void put_assertion(struct buf *out, const char *attribute, const char *value)
{
	buf_putc(out, '(');
	buf_puts(out, attribute);
	buf_puts(out, strcasecmp(attribute, "proxyAddresses") == 0 ? "=smtp:" : "=");
	name_filter_put_value(out, value);
	buf_putc(out, ')');
}

int name_filter_explicit(const struct directory_conf *conf, const struct credential *credential, bool active_directory, struct buf *out)
{
	if (credential->form != CREDENTIAL_UPN)
		return -PTA_ENOENT;
	buf_puts(out, active_directory ? AD_USERS "(|" : "(|");
	if (takes_upn(conf))
		put_assertion(out, "userPrincipalName", credential->name);
	for (size_t i = 0; i < conf->login.n; i++) {
		const char *attribute = attribute_of(conf->login.items[i]);

		if (attribute)
			put_assertion(out, attribute, credential->name);
	}
	buf_puts(out, active_directory ? "))" : ")");
	return buf_ok(out) ? 0 : -PTA_ETOOBIG;
}

int name_filter_account(const struct directory_conf *conf, const struct credential *credential, bool active_directory, struct buf *out)
{
	if (credential->form == CREDENTIAL_UPN && (!active_directory || !takes_upn(conf) || !credential_domain_equal(conf->name, credential->domain)))
		return -PTA_ENOENT;
	if (active_directory)
		buf_puts(out, AD_USERS);
	put_assertion(out, "sAMAccountName", credential->user);
	if (active_directory)
		buf_putc(out, ')');
	return buf_ok(out) ? 0 : -PTA_ETOOBIG;
}
