#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "directory/dn_domain.h"

static void the_domain_is_what_the_dn_ends_in(void **state)
{
	static const struct {
		const char *dn, *domain; /* NULL: refused */
	} rows[] = {
		{"CN=anna,OU=people,DC=corp,DC=example,DC=com", "corp.example.com"},
		{"cn=anna,dc=corp,dc=example,dc=com", "corp.example.com"},
		{"CN=anna,OU=people,DC=Child,DC=Corp,DC=Example,DC=com", "Child.Corp.Example.com"},
		{"DC=com", "com"},
		/* A value that looks like more of them is one value. */
		{"CN=x\\,DC=corp,DC=example,DC=com", "example.com"},
		/* Only the end counts. */
		{"DC=evil,OU=people,DC=example,DC=com", "example.com"},
		{"CN=anna,OU=people", NULL},
		{"CN=anna,DC=example,O=org", NULL},
		{"", NULL},
		{"anna@example.com", NULL},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		char got[LIMIT_DOMAIN + 1];
		int r = dn_domain(rows[i].dn, got);

		if (r != (rows[i].domain ? 0 : -PTA_EINVAL) || strcmp(got, rows[i].domain ? rows[i].domain : "") != 0)
			fail_msg("%s: %d '%s'", rows[i].dn, r, got);
	}
}

static void a_domain_that_is_too_long_is_refused(void **state)
{
	char dn[1024] = "CN=x", got[LIMIT_DOMAIN + 1];

	(void)state;
	for (int i = 0; i < 50; i++)
		strcat(dn, ",DC=aaaaaa");
	assert_int_equal(dn_domain(dn, got), -PTA_EINVAL);
	assert_string_equal(got, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_domain_is_what_the_dn_ends_in),
		cmocka_unit_test(a_domain_that_is_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
