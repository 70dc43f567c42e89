#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "wire/credential.h"

static void good_names_are_split(void **state)
{
	static const struct {
		const char *name;
		enum credential_form form;
		const char *user, *domain;
	} rows[] = {
		{"alice@corp.example.com", CREDENTIAL_UPN, "alice", "corp.example.com"},
		{"Alice@CORP.Example.COM", CREDENTIAL_UPN, "Alice", "corp.example.com"},
		{"CORP\\alice", CREDENTIAL_NETBIOS, "alice", "corp"},
		{"corp.example.com\\alice", CREDENTIAL_NETBIOS, "alice", "corp.example.com"},
		{"j\303\274rgen@corp.example.com", CREDENTIAL_UPN, "j\303\274rgen", "corp.example.com"},
		{"CORP_1-2\\o'brien & co (x)+#!$%{}~^`", CREDENTIAL_NETBIOS, "o'brien & co (x)+#!$%{}~^`", "corp_1-2"},
		{"first last@single", CREDENTIAL_UPN, "first last", "single"},
		{"a@b", CREDENTIAL_UPN, "a", "b"},
		{"\302\240@b", CREDENTIAL_UPN, "\302\240", "b"}, /* the first code point behind C1 */
		{"\360\237\230\200@b", CREDENTIAL_UPN, "\360\237\230\200", "b"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct credential c;
		struct err err = {""};

		if (credential_parse(rows[i].name, strlen(rows[i].name), &c, &err) < 0)
			fail_msg("%s: %s", rows[i].name, err.text);
		assert_int_equal(c.form, rows[i].form);
		assert_string_equal(c.name, rows[i].name);
		assert_string_equal(c.user, rows[i].user);
		assert_string_equal(c.domain, rows[i].domain);
	}
}

static void bad_names_are_refused_with_a_text(void **state)
{
	static const struct {
		const char *name, *text;
	} rows[] = {
		{"", "empty"},
		{"alice", "user@domain or DOMAIN\\user"},
		{"@corp.example.com", "nothing stands before"},
		{"corp\\", "nothing stands before"},
		{"alice@", "domain is missing"},
		{"\\alice", "domain is missing"},
		{"CORP\\alice@corp.example.com", "both"},
		{"alice@corp\\x", "both"},
		{"a@b@corp.example.com", "'@' is not allowed"},
		{"CORP\\a\\b", "'\\' is not allowed"},
		{"CN=alice,DC=corp@corp", "'=' is not allowed"},
		{"a,b@corp", "',' is not allowed"},
		{"corp.example.com/Users/alice@corp", "'/' is not allowed"},
		{"host/x@corp", "'/' is not allowed"},
		{"a*@corp", "'*' is not allowed"},
		{"a\"@corp", "'\"' is not allowed"},
		{"a[@corp", "'[' is not allowed"},
		{"a]@corp", "']' is not allowed"},
		{"a:@corp", "':' is not allowed"},
		{"a;@corp", "';' is not allowed"},
		{"a|@corp", "'|' is not allowed"},
		{"a?@corp", "'?' is not allowed"},
		{"a<@corp", "'<' is not allowed"},
		{"a>@corp", "'>' is not allowed"},
		{" alice@corp", "space"},
		{"CORP\\alice ", "space"},
		{"alice\t@corp", "control"},
		{"alice\177@corp", "control"},
		{"alice\302\205@corp", "control"},
		{"alice\n@corp", "control"},
		{"alice@.corp", "begins or ends with a dot"},
		{"alice@corp.", "begins or ends with a dot"},
		{"alice@.", "begins or ends with a dot"},
		{"alice@corp..com", "two dots"},
		{"alice@corp com", "neither a DNS name"},
		{"alice@corp ", "neither a DNS name"},
		{"alice@c\303\266rp", "neither a DNS name"},
		{"alice@corp:389", "neither a DNS name"},
		{"*\\alice", "neither a DNS name"},
		{"\377@corp", "not UTF-8"},
		{"\300\257@corp", "not UTF-8"}, /* '/' in an overlong form */
		{"\355\240\200@corp", "not UTF-8"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		static const struct credential zero;
		struct credential c;
		struct err err = {""};

		memset(&c, 0xff, sizeof(c));
		if (credential_parse(rows[i].name, strlen(rows[i].name), &c, &err) != -PTA_EINVAL || !strstr(err.text, rows[i].text))
			fail_msg("%s: %s", rows[i].name, err.text);
		assert_memory_equal(&c, &zero, sizeof(c));
	}
}

static void nul_bytes_are_refused(void **state)
{
	struct credential c;

	(void)state;
	assert_int_equal(credential_parse("al\0ice@corp", 11, &c, NULL), -PTA_EINVAL);
	assert_int_equal(credential_parse("alice@corp\0", 11, &c, NULL), -PTA_EINVAL);
	assert_int_equal(credential_parse("\0", 1, &c, NULL), -PTA_EINVAL);
}

static void limits_are_exact(void **state)
{
	char name[LIMIT_USERNAME + 2];
	struct credential c;

	(void)state;
	memset(name, 'x', sizeof(name));
	memcpy(name + LIMIT_USERNAME - 5, "@corpx", 6);
	assert_int_equal(credential_parse(name, LIMIT_USERNAME, &c, NULL), 0);
	assert_int_equal(strlen(c.name), LIMIT_USERNAME);
	assert_int_equal(strlen(c.user), LIMIT_USERNAME - 5);
	assert_int_equal(credential_parse(name, LIMIT_USERNAME + 1, &c, NULL), -PTA_EINVAL);

	memset(name, 'x', sizeof(name));
	name[1] = '@';
	assert_int_equal(credential_parse(name, 2 + LIMIT_DOMAIN, &c, NULL), 0);
	assert_int_equal(strlen(c.domain), LIMIT_DOMAIN);
	assert_int_equal(credential_parse(name, 3 + LIMIT_DOMAIN, &c, NULL), -PTA_EINVAL);
}

static void domains_compare_without_case_in_ascii(void **state)
{
	(void)state;
	assert_true(credential_domain_equal("Corp.Example.COM", "cORP.eXAMPLE.com"));
	assert_true(credential_domain_equal("", ""));
	assert_false(credential_domain_equal("corp", "corp."));
	assert_false(credential_domain_equal("corp", "cor"));
	assert_false(credential_domain_equal("a@b", "a`b")); /* 0x40 and 0x60 differ in the same bit as letters do */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_names_are_split),
		cmocka_unit_test(bad_names_are_refused_with_a_text),
		cmocka_unit_test(nul_bytes_are_refused),
		cmocka_unit_test(limits_are_exact),
		cmocka_unit_test(domains_compare_without_case_in_ascii),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
