/* The first byte chooses the form, the server and the words of `login`; the rest is the name, without NUL. Whatever it is,
 * the filter has the shape that the configuration gives it, and each value reads back as the name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "directory/name_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *p; /* what is left of the filter */

static void expect(const char *text)
{
	size_t len = strlen(text);

	if (strncmp(p, text, len) != 0)
		abort();
	p += len;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	abort();
}

/* RFC 4515 3: valueencoding, up to the parenthesis that ends the item. */
static void expect_value(const char *value)
{
	for (; *p != ')'; value++) {
		char c = *p++;

		if (c == '\0' || c == '*' || c == '(')
			abort();
		if (c == '\\') {
			c = (char)(hex(p[0]) << 4 | hex(p[1]));
			p += 2;
		}
		if (c != *value)
			abort();
	}
	if (*value)
		abort();
	p++;
}

static void check_explicit(const struct directory_conf *conf, const struct credential *credential, bool ad, bool upn)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(NAME_FILTER_MAX);

	if (name_filter_explicit(conf, credential, ad, &out) < 0) {
		if (credential->form == CREDENTIAL_UPN || out.len)
			abort();
		return;
	}
	p = (const char *)out.data;
	expect(ad ? "(&(sAMAccountType=805306368)(|" : "(|");
	if (upn) {
		expect("(userPrincipalName=");
		expect_value(credential->name);
	}
	if (name_filter_has_attributes(conf)) {
		expect("(mail=");
		expect_value(credential->name);
		expect("(proxyAddresses=smtp:");
		expect_value(credential->name);
	}
	expect(ad ? "))" : ")");
	if (*p)
		abort();
}

static void check_account(const struct directory_conf *conf, const struct credential *credential, bool ad)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(NAME_FILTER_MAX);

	if (name_filter_account(conf, credential, ad, &out) < 0) {
		if (credential->form == CREDENTIAL_NETBIOS || out.len)
			abort();
		return;
	}
	p = (const char *)out.data;
	expect(ad ? "(&(sAMAccountType=805306368)(sAMAccountName=" : "(sAMAccountName=");
	expect_value(credential->user);
	expect(ad ? ")" : "");
	if (*p)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char name[] = "example.com", upn[] = "upn", mail[] = "attribute:mail", proxy[] = "attribute:proxyAddresses";
	char *words[4];
	struct directory_conf conf = {.name = name, .login = {.items = words}};
	struct credential credential = {.form = CREDENTIAL_UPN};
	bool ad, takes_upn;

	if (size < 1 || size - 1 > LIMIT_USERNAME || memchr(data + 1, '\0', size - 1))
		return 0;
	ad = data[0] & 2;
	if (data[0] & 1)
		credential.form = CREDENTIAL_NETBIOS;
	if (data[0] & 4)
		words[conf.login.n++] = upn;
	if (data[0] & 8) {
		words[conf.login.n++] = mail;
		words[conf.login.n++] = proxy;
	}
	takes_upn = conf.login.n == 0 || data[0] & 4;
	memcpy(credential.name, data + 1, size - 1);
	memcpy(credential.user, data + 1, size - 1);
	memcpy(credential.domain, data[0] & 16 ? "example.com" : "other.com", data[0] & 16 ? 11 : 9);
	check_explicit(&conf, &credential, ad, takes_upn);
	check_account(&conf, &credential, ad);
	return 0;
}
