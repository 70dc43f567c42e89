#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "directory/name_filter.h"

#define UPN(word) "(userPrincipalName=" word ")"
#define AD(filter) "(&(sAMAccountType=805306368)" filter ")"

static char name[] = "example.com";

static struct credential credential_of(const char *typed)
{
	struct credential credential;
	struct err err = {""};

	if (credential_parse(typed, strlen(typed), &credential, &err) < 0)
		fail_msg("'%s': %s", typed, err.text);
	return credential;
}

/* words: those of `login`, each at most once. */
static struct directory_conf conf_of(char **words)
{
	struct directory_conf conf = {.name = name, .login = {.items = words}};

	while (words && words[conf.login.n])
		conf.login.n++;
	return conf;
}

typedef int (*make)(const struct directory_conf *conf, const struct credential *credential, bool active_directory, struct buf *out);

static void check(make fn, char **words, const char *typed, bool ad, const char *wanted)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(NAME_FILTER_MAX);
	struct credential credential = credential_of(typed);
	struct directory_conf conf = conf_of(words);
	int r = fn(&conf, &credential, ad, &out);

	if (!wanted) {
		assert_int_equal(r, -PTA_ENOENT);
		assert_int_equal(out.len, 0);
		return;
	}
	assert_int_equal(r, 0);
	assert_string_equal((const char *)out.data, wanted);
}

static void explicit_names_follow_the_login_words(void **state)
{
	static char upn[] = "upn", mail[] = "attribute:mail", proxy[] = "attribute:PROXYaddresses", oid[] = "attribute:1.2.840.113556.1.4.656";
	static char *only_upn[] = {upn, NULL}, *only_mail[] = {mail, NULL}, *all[] = {upn, mail, proxy, NULL}, *by_oid[] = {oid, NULL};
	static const struct {
		char **words;
		const char *typed;
		bool ad;
		const char *wanted;
	} rows[] = {
		{NULL, "anna@example.com", true, AD("(|" UPN("anna@example.com") ")")},
		{only_upn, "anna@example.com", true, AD("(|" UPN("anna@example.com") ")")},
		{only_upn, "Anna@EXAMPLE.com", false, "(|" UPN("Anna@EXAMPLE.com") ")"},
		{only_mail, "anna@example.com", false, "(|(mail=anna@example.com))"},
		{only_mail, "anna@example.com", true, AD("(|(mail=anna@example.com))")},
		{all, "a@b.com", true, AD("(|" UPN("a@b.com") "(mail=a@b.com)(PROXYaddresses=smtp:a@b.com))")},
		{by_oid, "a@b.com", false, "(|(1.2.840.113556.1.4.656=a@b.com))"},
		{NULL, "EXAMPLE\\anna", true, NULL},
		{all, "EXAMPLE\\anna", false, NULL},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++)
		check(name_filter_explicit, rows[i].words, rows[i].typed, rows[i].ad, rows[i].wanted);
}

static void account_names_are_of_the_own_domain(void **state)
{
	static char upn[] = "upn", mail[] = "attribute:mail";
	static char *only_mail[] = {mail, NULL}, *both[] = {mail, upn, NULL};
	static const struct {
		char **words;
		const char *typed;
		bool ad;
		const char *wanted;
	} rows[] = {
		{NULL, "EXAMPLE\\anna", true, AD("(sAMAccountName=anna)")},
		{NULL, "EXAMPLE\\anna", false, "(sAMAccountName=anna)"},
		{only_mail, "EXAMPLE\\anna", true, AD("(sAMAccountName=anna)")},
		/* AD's implicit UPN, unless the suffix is another, or only attributes are taken. */
		{NULL, "anna@example.com", true, AD("(sAMAccountName=anna)")},
		{both, "anna@EXAMPLE.com", true, AD("(sAMAccountName=anna)")},
		{NULL, "anna@example.com", false, NULL},
		{NULL, "anna@other.com", true, NULL},
		{only_mail, "anna@example.com", true, NULL},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++)
		check(name_filter_account, rows[i].words, rows[i].typed, rows[i].ad, rows[i].wanted);
}

static void values_are_escaped_and_else_as_typed(void **state)
{
	static const struct {
		const char *value, *wanted;
	} rows[] = {
		{"", ""},
		{"anna", "anna"},
		{"*", "\\2a"},
		{"a(b)c", "a\\28b\\29c"},
		{"a\\b", "a\\5cb"},
		{"\\2a", "\\5c2a"},
		{"*)(uid=*", "\\2a\\29\\28uid=\\2a"},
		{"a&b|c!d~e<f>g=h", "a&b|c!d~e<f>g=h"},
		{" a b ", " a b "},
		/* Composed and decomposed are two names: AD tells them apart. */
		{"j\xc3\xb6rg", "j\xc3\xb6rg"},
		{"jo\xcc\x88rg", "jo\xcc\x88rg"},
		{"\xf0\x9f\x94\x91", "\xf0\x9f\x94\x91"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(NAME_FILTER_MAX);

		buf_puts(&out, ">");
		name_filter_put_value(&out, rows[i].value);
		assert_true(buf_ok(&out));
		assert_string_equal((const char *)out.data + 1, rows[i].wanted);
	}
}

static void the_longest_name_in_all_attributes_fits(void **state)
{
	static char upn[] = "upn", attribute[] = "attribute:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	char *words[DIRECTORY_MAX_LOGINS + 1] = {upn, attribute, attribute, attribute, attribute, attribute, attribute, attribute, NULL};
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(NAME_FILTER_MAX), small PTA_CLEANUP(buf_done) = BUF_INIT(100);
	struct credential credential = {.form = CREDENTIAL_UPN};
	struct directory_conf conf = conf_of(words);

	(void)state;
	memset(credential.name, '(', LIMIT_USERNAME);
	assert_int_equal(name_filter_explicit(&conf, &credential, true, &out), 0);
	assert_int_equal(name_filter_explicit(&conf, &credential, true, &small), -PTA_ETOOBIG);
	assert_true(name_filter_has_attributes(&conf));
	conf.login.n = 1;
	assert_false(name_filter_has_attributes(&conf));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(explicit_names_follow_the_login_words),
		cmocka_unit_test(account_names_are_of_the_own_domain),
		cmocka_unit_test(values_are_escaped_and_else_as_typed),
		cmocka_unit_test(the_longest_name_in_all_attributes_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
