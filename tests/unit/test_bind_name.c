#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ldap.h>
#include <string.h>

#include "directory/bind_name.h"

static struct credential credential_of(const char *name, const char *user, const char *domain)
{
	struct credential credential = {.form = CREDENTIAL_UPN};

	strncpy(credential.name, name, sizeof(credential.name) - 1);
	strncpy(credential.user, user, sizeof(credential.user) - 1);
	strncpy(credential.domain, domain, sizeof(credential.domain) - 1);
	return credential;
}

static void assert_name(const char *bind_dn, const struct credential *credential, const char *want)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(BIND_NAME_MAX);

	assert_int_equal(bind_name_make(bind_dn, credential, &out), 0);
	assert_string_equal((const char *)out.data, want);
}

static void without_a_template_the_name_is_bound_as_typed(void **state)
{
	struct credential upn = credential_of("J\xc3\xb6rg@Corp.example.com", "J\xc3\xb6rg", "corp.example.com");
	struct credential netbios = credential_of("CORP\\anna", "anna", "corp");

	(void)state;
	assert_name(NULL, &upn, "J\xc3\xb6rg@Corp.example.com");
	assert_name(NULL, &netbios, "CORP\\anna");
}

static void a_template_takes_user_and_domain(void **state)
{
	struct credential credential = credential_of("anna@example.com", "anna", "example.com");

	(void)state;
	assert_name("uid=%u,ou=people,o=%d", &credential, "uid=anna,ou=people,o=example.com");
	assert_name("cn=100%% %u,dc=x", &credential, "cn=100% anna,dc=x");
}

/* Whatever is typed, the DN has the template's RDNs, and its value is what was typed. */
static void what_is_typed_stays_one_value(void **state)
{
	static const char *const users[] = {
		"anna",
		"a,b",
		"a=b",
		"a+b",
		"a\"b",
		"a\\b",
		"a<b>c",
		"a;b",
		"#hex",
		" lead",
		"trail ",
		"  ",
		"x,ou=admins",
		"x+cn=y",
		"\\2c",
		"\xc3\xbc\xe2\x82\xac",
		"%u%d",
		"#",
		"a#",
		"\\",
		"a b",
		",,,,",
		"*()",
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(users); i++) {
		struct credential credential = credential_of("n", users[i], "example.com");
		struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(BIND_NAME_MAX);
		LDAPDN dn = NULL;
		const struct berval *value;

		assert_int_equal(bind_name_make("uid=%u,ou=people", &credential, &out), 0);
		assert_int_equal(ldap_str2dn((const char *)out.data, &dn, LDAP_DN_FORMAT_LDAPV3), LDAP_SUCCESS);
		assert_non_null(dn[0]);
		assert_non_null(dn[1]);
		assert_null(dn[2]);
		assert_null(dn[0][1]);
		assert_null(dn[1][1]);
		value = &dn[0][0]->la_value;
		assert_int_equal(value->bv_len, strlen(users[i]));
		assert_memory_equal(value->bv_val, users[i], value->bv_len);
		ldap_dnfree(dn);
	}
}

static void a_name_that_does_not_fit_is_refused(void **state)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(100);
	struct credential credential = credential_of("n", "x", "example.com");

	(void)state;
	memset(credential.user, ',', LIMIT_USERNAME);
	assert_int_equal(bind_name_make("uid=%u", &credential, &out), -PTA_ETOOBIG);
}

static void templates_are_checked(void **state)
{
	static const struct {
		const char *bind_dn;
		int r;
		const char *text;
	} rows[] = {
		{"uid=%u,ou=people,dc=example,dc=com", 0, NULL},
		{"uid=%u,o=%d", 0, NULL},
		{"uid=%u+o=%d,dc=x", 0, NULL},
		{"ou=people,dc=example", -PTA_EINVAL, "no %u"},
		{"uid=%%u,o=%d", -PTA_EINVAL, "no %u"},
		{"uid=%d", -PTA_EINVAL, "no %u"},
		{"%u", -PTA_EINVAL, "does not make a DN"},
		{"uid=%u,,", -PTA_EINVAL, "does not make a DN"},
		{"uid=%u,ou=%s", -PTA_EINVAL, "nothing else"},
		{"uid=%u,o=x%", -PTA_EINVAL, "nothing else"},
		{"", -PTA_EINVAL, "no %u"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct err err = {""};

		assert_int_equal(bind_name_check(rows[i].bind_dn, &err), rows[i].r);
		if (rows[i].text && !strstr(err.text, rows[i].text))
			fail_msg("'%s': '%s' does not say '%s'", rows[i].bind_dn, err.text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_template_the_name_is_bound_as_typed),
		cmocka_unit_test(a_template_takes_user_and_domain),
		cmocka_unit_test(what_is_typed_stays_one_value),
		cmocka_unit_test(a_name_that_does_not_fit_is_refused),
		cmocka_unit_test(templates_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
