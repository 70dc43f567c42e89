#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory/directory_conf.h"
#include "wire/credential.h"

/* A root with one [directory …] section. */
struct root {
	struct directory_conf *directory;
};

static int add(void *root_, const char *label, void **out, struct err *err)
{
	struct root *root = root_;

	if (root->directory)
		return err_set(err, -PTA_EEXIST, "only one here");
	root->directory = calloc(1, sizeof(*root->directory));
	assert_non_null(root->directory);
	root->directory->name = strdup(label);
	*out = root->directory;
	return 0;
}

static const struct conf_section sections[] = {
	{.name = "directory", .labelled = true, .rows = directory_conf_rows, .help = "", .instance = add},
	{.name = NULL},
};

/* Loads the keys as [directory corp.example.com] and checks; *text is the errors' text. */
static struct directory_conf *load(const char *keys, struct conf_errors *errors)
{
	struct root root = {NULL};
	char text[4096];
	int n;

	conf_errors_init(errors);
	n = snprintf(text, sizeof(text), "[directory corp.example.com]\n%s\n", keys);
	if (conf_load_text("test.conf", text, (size_t)n, sections, &root, errors) == 0)
		directory_conf_check(root.directory, "test.conf", errors);
	return root.directory;
}

static void a_short_section_gets_the_defaults(void **state)
{
	struct conf_errors errors;
	struct directory_conf *conf = load("servers = dc1.corp.example.com, dc2.corp.example.com:3636\nca_file = system", &errors);

	(void)state;
	assert_int_equal(errors.count, 0);
	assert_int_equal(conf->method, DIRECTORY_SIMPLE);
	assert_int_equal(conf->tls, DIRECTORY_LDAPS);
	assert_int_equal(conf->servers.n, 2);
	assert_int_equal(conf->connections, 32);
	assert_int_equal(conf->connect_timeout, 3000);
	assert_int_equal(conf->bind_timeout, 5000);
	assert_null(conf->bind_dn);
	conf_errors_done(&errors);
	directory_conf_free(conf);
}

static void sections_of_each_method_are_taken(void **state)
{
	static const char *const rows[] = {
		"ca_file = system",
		"method = gssapi\nca_file = system",
		"method = gssapi\ntls = none",
		"method = kerberos\nkeytab = /dev/null",
		"ca_file = system\nidentity = AGENT$@CORP.EXAMPLE.COM\nkeytab = /dev/null\nlogin = upn attribute:proxyAddresses\nglobal_catalog = yes",
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct conf_errors errors;
		struct directory_conf *conf = load(rows[i], &errors);

		if (errors.count)
			fail_msg("%s: %s", rows[i], (const char *)errors.text.data);
		conf_errors_done(&errors);
		directory_conf_free(conf);
	}
}

static void realms_are_the_domain_in_capitals_and_what_is_added(void **state)
{
	struct conf_errors errors;
	struct directory_conf *conf = load("ca_file = system\nrealms = BRANCH.EXAMPLE.COM", &errors);
	char realm[LIMIT_DOMAIN + 1];

	(void)state;
	assert_int_equal(errors.count, 0);
	directory_conf_realm(conf, realm);
	assert_string_equal(realm, "CORP.EXAMPLE.COM");
	assert_true(directory_conf_allows_realm(conf, "CORP.EXAMPLE.COM", 16));
	assert_true(directory_conf_allows_realm(conf, "BRANCH.EXAMPLE.COM", 18));
	assert_false(directory_conf_allows_realm(conf, "corp.example.com", 16));
	assert_false(directory_conf_allows_realm(conf, "CORP.EXAMPLE.COMX", 17));
	assert_false(directory_conf_allows_realm(conf, "CORP.EXAMPLE", 12));
	conf_errors_done(&errors);
	directory_conf_free(conf);
}

static void bad_sections_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *keys, *text;
	} rows[] = {
		{"tls = none", "tls = none needs servers"},
		{"ca_file = system\nmethod = kerberos", "needs keytab"},
		{"ca_file = system\nkeytab = /nonexistent/keytab", "keytab: cannot read '/nonexistent/keytab'"},
		{"ca_file = system\nidentity = agent$", "identity needs identity_password_file or keytab"},
		{"ca_file = system\nlogin = attribute:mail", "set identity"},
		{"ca_file = system\nlogin = mail", "neither upn nor attribute:NAME"},
		{"ca_file = system\nlogin = attribute:ma)il", "neither upn nor attribute:NAME"},
		{"ca_file = system\nsearch_base = dc=example", "of no use without identity"},
		{"ca_file = system\nglobal_catalog = yes", "of no use without identity"},
		{"ca_file = system\nbind_dn = uid=%u\nmethod = gssapi", "bind_dn is for method = simple"},
		{"ca_file = system\nrealm = -.-.", "is not a realm"},
		{"ca_file = system\nrealms = A..B", "is not a realm"},
		{"servers = dc1.corp.example.com\nmethod = gssapi\ntls = none\nidentity = cn=a\nidentity_password_file = /nonexistent/p",
			"tls = none would send"},
		{"servers = dc1", "ca_file is missing"},
		{"servers = dc1\nca_file = /nonexistent/ca.pem", "cannot read '/nonexistent/ca.pem'"},
		{"servers = ldaps://dc1\nca_file = system", "is a URL"},
		{"servers = dc1:0\nca_file = system", "port from 1 to 65535"},
		{"servers = dc1 DC1:636\nca_file = system", "listed twice"},
		{"servers = dc1\nca_file = system\nbind_dn = ou=people", "has no %u"},
		{"servers = dc1\nca_file = system\nnetbios = CO\\RP", "not a NetBIOS name"},
		{"servers = dc1\nca_file = system\nsuffixes = a..b", "suffixes: 'a..b'"},
		{"servers = dc1\nca_file = system\ntls = off", "tls"},
		{"servers = dc1\nca_file = system\nconnections = 0", "connections"},
		{"servers = localhost:1636\nca_file = system", "this host's own name"},
		/* tls = none to anything but loopback */
		{"servers = dc1.corp.example.com\ntls = none", "loopback addresses only"},
		{"servers = 10.0.0.1\ntls = none", "loopback addresses only"},
		{"servers = 1270.0.0.1\ntls = none", "loopback addresses only"},
		{"servers = 127.0.0.1.example.com\ntls = none", "loopback addresses only"},
		{"servers = localhost.example.com\ntls = none", "loopback addresses only"},
		{"servers = [2001:db8::1]\ntls = none", "loopback addresses only"},
		{"servers = [::ffff:10.0.0.1]\ntls = none", "loopback addresses only"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct conf_errors errors;
		struct directory_conf *conf = load(rows[i].keys, &errors);

		if (errors.count == 0 || !strstr((const char *)errors.text.data, rows[i].text))
			fail_msg("'%s': '%s' does not say '%s'", rows[i].keys, errors.count ? (const char *)errors.text.data : "", rows[i].text);
		conf_errors_done(&errors);
		directory_conf_free(conf);
	}
}

static void all_faults_of_a_section_come_at_once(void **state)
{
	struct conf_errors errors;
	struct directory_conf *conf = load("servers = dc1:x ldap://b\nsuffixes = -..\nnetbios = a@b\nbind_dn = x", &errors);

	(void)state;
	assert_int_equal(errors.count, 6);
	conf_errors_done(&errors);
	directory_conf_free(conf);
}

static void plain_ldap_is_taken_to_loopback(void **state)
{
	static const char *const servers[] = {"127.0.0.1", "127.1.2.3:3389", "localhost", "[::1]:3389"};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(servers); i++) {
		struct conf_errors errors;
		struct directory_conf *conf;
		char keys[200];

		snprintf(keys, sizeof(keys), "servers = %s\ntls = none", servers[i]);
		conf = load(keys, &errors);
		assert_int_equal(errors.count, 0);
		conf_errors_done(&errors);
		directory_conf_free(conf);
	}
}

static void servers_are_taken_apart(void **state)
{
	static const struct {
		const char *text;
		int tls, r;
		const char *host;
		unsigned port;
	} rows[] = {
		{"dc1", DIRECTORY_LDAPS, 0, "dc1", 636},
		{"dc1.corp.example.com", DIRECTORY_STARTTLS, 0, "dc1.corp.example.com", 389},
		{"dc1:1", DIRECTORY_LDAPS, 0, "dc1", 1},
		{"10.0.0.1:65535", DIRECTORY_LDAPS, 0, "10.0.0.1", 65535},
		{"[2001:db8::1]", DIRECTORY_LDAPS, 0, "2001:db8::1", 636},
		{"[2001:db8::1]:3636", DIRECTORY_LDAPS, 0, "2001:db8::1", 3636},
		{"", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{":636", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"dc1:", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"dc1:65536", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"dc1:99999999999", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"dc1:6a", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"2001:db8::1", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"[2001:db8::1", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"[2001:db8::1]x", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"[dc1]", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"dc1/x", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"dc 1", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"dc1?x", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"dc1.", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
		{"ldaps://dc1", DIRECTORY_LDAPS, -PTA_EINVAL, NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct directory_server server;
		struct err err = {""};

		if (directory_server_parse(rows[i].text, rows[i].tls, &server, &err) != rows[i].r)
			fail_msg("'%s': %s", rows[i].text, err.text);
		if (rows[i].r < 0) {
			assert_true(strstr(err.text, "servers: ") != NULL);
			continue;
		}
		assert_string_equal(server.host, rows[i].host);
		assert_int_equal(server.port, rows[i].port);
	}
}

static void a_section_serves_its_own_names_only(void **state)
{
	struct conf_errors errors;
	struct directory_conf *conf = load("servers = dc1\nca_file = system\nsuffixes = example.com Mail.Example.COM\nnetbios = CORP", &errors);

	(void)state;
	assert_int_equal(errors.count, 0);
	assert_true(directory_conf_serves(conf, CREDENTIAL_UPN, "corp.example.com"));
	assert_true(directory_conf_serves(conf, CREDENTIAL_UPN, "CORP.example.com"));
	assert_true(directory_conf_serves(conf, CREDENTIAL_UPN, "example.com"));
	assert_true(directory_conf_serves(conf, CREDENTIAL_UPN, "mail.example.com"));
	assert_true(directory_conf_serves(conf, CREDENTIAL_NETBIOS, "corp"));
	assert_false(directory_conf_serves(conf, CREDENTIAL_UPN, "corp"));
	assert_false(directory_conf_serves(conf, CREDENTIAL_NETBIOS, "example.com"));
	assert_false(directory_conf_serves(conf, CREDENTIAL_UPN, "other.example.com"));
	assert_false(directory_conf_serves(conf, CREDENTIAL_UPN, ""));
	conf_errors_done(&errors);
	directory_conf_free(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_short_section_gets_the_defaults),
		cmocka_unit_test(sections_of_each_method_are_taken),
		cmocka_unit_test(realms_are_the_domain_in_capitals_and_what_is_added),
		cmocka_unit_test(bad_sections_are_refused_with_the_reason),
		cmocka_unit_test(all_faults_of_a_section_come_at_once),
		cmocka_unit_test(plain_ldap_is_taken_to_loopback),
		cmocka_unit_test(servers_are_taken_apart),
		cmocka_unit_test(a_section_serves_its_own_names_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
