#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "directory/krb5_login.h"
#include "directory/krb5_profile.h"
#include "directory/krb5_verify.h"
#include "krb5_bed.h"

static struct krb5_bed bed;
static struct directory_conf conf = {.name = (char[]){"example.com"}, .method = DIRECTORY_KERBEROS, .bind_timeout = 5000};

static const struct krb5_bed_user users[] = {{"alice", "right", NULL}, {"ldap/dc1.example.com", NULL, "-requires_preauth"}, {NULL, NULL, NULL}};

static krb5_principal principal(krb5_context context, const char *realm, const char *name, krb5_int32 type)
{
	krb5_principal out = NULL;

	assert_int_equal(krb5_build_principal(context, &out, (unsigned)strlen(realm), realm, name, (char *)NULL), 0);
	out->type = type;
	return out;
}

/* Whom may the KDC name, without further proof, when somebody typed a name? */
static void another_account_is_noticed(void **state)
{
	static const struct {
		const char *typed, *asked;
		krb5_int32 type;
		const char *realm, *answered;
		bool renamed;
	} rows[] = {
		{"anna@example.com", "anna@example.com", KRB5_NT_ENTERPRISE_PRINCIPAL, "EXAMPLE.COM", "anna", false},
		{"Anna@Example.Com", "Anna@Example.Com", KRB5_NT_ENTERPRISE_PRINCIPAL, "EXAMPLE.COM", "anna", false},
		{"anna@example.com", "anna@example.com", KRB5_NT_ENTERPRISE_PRINCIPAL, "EXAMPLE.COM", "anna@example.com", false},
		{"anna@example.com", "anna@example.com", KRB5_NT_ENTERPRISE_PRINCIPAL, "EXAMPLE.COM", "mallory", true},
		{"anna@example.com", "anna@example.com", KRB5_NT_ENTERPRISE_PRINCIPAL, "CHILD.EXAMPLE.COM", "anna", true},
		{"anna@example.org", "anna@example.org", KRB5_NT_ENTERPRISE_PRINCIPAL, "EXAMPLE.COM", "anna", true},
		{"anna@example.org", "anna@example.org", KRB5_NT_ENTERPRISE_PRINCIPAL, "EXAMPLE.COM", "mallory", true},
		{"EXAMPLE\\anna", "anna", KRB5_NT_PRINCIPAL, "EXAMPLE.COM", "ANNA", false},
		{"EXAMPLE\\anna", "anna", KRB5_NT_PRINCIPAL, "EXAMPLE.COM", "mallory", true},
		{"EXAMPLE\\anna", "anna", KRB5_NT_PRINCIPAL, "CHILD.EXAMPLE.COM", "anna", true},
		/* The entry that was found is another account than the one whose name looks like the typed one. */
		{"anna@example.com", "a.smith", KRB5_NT_PRINCIPAL, "EXAMPLE.COM", "a.smith", false},
		{"anna@example.com", "a.smith", KRB5_NT_PRINCIPAL, "EXAMPLE.COM", "anna", true},
	};
	struct krb5_login login = {.conf = &conf};

	(void)state;
	assert_int_equal(krb5_init_context(&login.context), 0);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct credential credential;

		assert_int_equal(credential_parse(rows[i].typed, strlen(rows[i].typed), &credential, NULL), 0);
		login.asked = principal(login.context, "EXAMPLE.COM", rows[i].asked, rows[i].type);
		login.tgt.client = principal(login.context, rows[i].realm, rows[i].answered, KRB5_NT_PRINCIPAL);
		if (krb5_login_renamed(&login, &credential) != rows[i].renamed)
			fail_msg("row %zu", i);
		krb5_free_principal(login.context, login.asked);
		krb5_free_principal(login.context, login.tgt.client);
	}
	krb5_free_context(login.context);
}

static void begin(struct krb5_login *login, const struct directory_server *server)
{
	struct err err = {""};
	uint64_t end = clock_mono_us() + 10000000;

	if (krb5_login_init(login, &conf, server, end, end, &err) < 0)
		fail_msg("%s", err.text);
}

static unsigned tickets_in(const char *name)
{
	krb5_context context;
	krb5_ccache ccache;
	krb5_cc_cursor cursor;
	krb5_creds creds;
	unsigned n = 0;

	assert_int_equal(krb5_init_context(&context), 0);
	assert_int_equal(krb5_cc_resolve(context, name, &ccache), 0);
	if (krb5_cc_start_seq_get(context, ccache, &cursor) == 0) {
		while (krb5_cc_next_cred(context, ccache, &cursor, &creds) == 0) {
			n++;
			krb5_free_cred_contents(context, &creds);
		}
		krb5_cc_end_seq_get(context, ccache, &cursor);
	}
	krb5_cc_close(context, ccache);
	krb5_free_context(context);
	return n;
}

static void the_agents_own_account_needs_no_password(void **state)
{
	static const char *const names[] = {KRB5_BED_HOST, NULL};
	const struct directory_server server = krb5_bed_server(&bed);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		krb5_principal service = NULL;
		struct krb5_login login;
		struct err err = {""};
		char name[64];

		begin(&login, &server);
		assert_int_equal(krb5_login_service(&login, "ldap", "DC1.example.com", &service, &err), 0);
		if (krb5_login_keytab(&login, names[i], service, &err) < 0)
			fail_msg("%s", err.text);
		memcpy(name, login.ccache_name, sizeof(name));
		assert_int_equal(strncmp(name, "MEMORY:", 7), 0);
		/* The TGT and the ticket. */
		assert_true(tickets_in(name) >= 2);
		krb5_free_principal(login.context, service);
		krb5_login_done(&login);
		assert_int_equal(tickets_in(name), 0);
	}
}

static void a_key_that_is_not_there_is_said(void **state)
{
	const struct directory_server server = krb5_bed_server(&bed);
	krb5_principal service = NULL;
	struct krb5_login login;
	struct err err = {""};

	(void)state;
	begin(&login, &server);
	assert_int_equal(krb5_login_service(&login, "ldap", "dc1.example.com", &service, &err), 0);
	assert_int_equal(krb5_login_keytab(&login, "alice", service, &err), -PTA_ECRYPTO);
	assert_non_null(strstr(err.text, "keytab"));
	assert_int_equal(login.x.asked, 0);
	krb5_free_principal(login.context, service);
	krb5_login_done(&login);
}

/* The ticket of alice, who typed the name that is asked about. */
static int verify(const char *upn, struct err *err)
{
	const struct directory_server server = krb5_bed_server(&bed);
	struct secret *password = secret_dup("right", 5);
	krb5_principal service = NULL;
	krb5_creds creds = {0};
	struct krb5_login login;
	char *name = NULL;
	int r;

	begin(&login, &server);
	login.asked = principal(login.context, "EXAMPLE.COM", "alice", KRB5_NT_PRINCIPAL);
	assert_int_equal(krb5_exchange_initial(&login.x, login.asked, password, NULL, &login.tgt, err), 0);
	assert_int_equal(krb5_cc_initialize(login.context, login.ccache, login.tgt.client), 0);
	assert_int_equal(krb5_cc_store_cred(login.context, login.ccache, &login.tgt), 0);
	assert_int_equal(krb5_verify_service(&conf, &name, err), 0);
	assert_string_equal(name, KRB5_BED_HOST "@" KRB5_BED_REALM);
	assert_int_equal(krb5_parse_name(login.context, name, &service), 0);
	assert_int_equal(krb5_exchange_ticket(&login.x, login.ccache, login.tgt.client, service, &creds, err), 0);
	r = krb5_verify_ticket(login.context, &conf, service, &creds, upn, err);
	/* A ticket that says it is another's is not: the name inside counts. */
	if (r == 0) {
		krb5_free_principal(login.context, creds.client);
		creds.client = principal(login.context, "EXAMPLE.COM", "mallory", KRB5_NT_PRINCIPAL);
		assert_int_equal(krb5_verify_ticket(login.context, &conf, service, &creds, NULL, err), -PTA_ECRYPTO);
	}
	krb5_free_cred_contents(login.context, &creds);
	krb5_free_principal(login.context, service);
	krb5_login_done(&login);
	secret_free(password);
	free(name);
	return r;
}

/* This KDC puts no UPN into its PAC. */
static void a_ticket_of_another_name_needs_a_upn_inside(void **state)
{
	struct err err = {""};

	(void)state;
	assert_int_equal(verify(NULL, &err), 0);
	assert_int_equal(verify("victim@example.com", &err), -PTA_ECRYPTO);
	assert_non_null(strstr(err.text, "UPN"));
}

static void a_ticket_for_another_service_asks_nobody(void **state)
{
	krb5_creds creds = {0};
	struct krb5_login login;
	krb5_principal service;
	const struct directory_server server = krb5_bed_server(&bed);
	struct err err = {""};

	(void)state;
	begin(&login, &server);
	service = principal(login.context, "EXAMPLE.COM", "host", KRB5_NT_PRINCIPAL);
	creds.server = principal(login.context, "EXAMPLE.COM", "krbtgt", KRB5_NT_PRINCIPAL);
	assert_int_equal(krb5_verify_ticket(login.context, &conf, service, &creds, NULL, &err), -PTA_ECRYPTO);
	assert_non_null(strstr(err.text, "another service"));
	krb5_free_principal(login.context, creds.server);
	krb5_free_principal(login.context, service);
	krb5_login_done(&login);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_account_is_noticed),
		cmocka_unit_test(the_agents_own_account_needs_no_password),
		cmocka_unit_test(a_key_that_is_not_there_is_said),
		cmocka_unit_test(a_ticket_of_another_name_needs_a_upn_inside),
		cmocka_unit_test(a_ticket_for_another_service_asks_nobody),
	};
	struct err err = {""};
	int failed;

	if (!krb5_bed_installed())
		return 1;
	krb5_bed_init(&bed, users);
	conf.keytab = bed.keytab;
	if (setenv("KRB5_CONFIG", bed.krb5_conf, 1) < 0 || krb5_profile_init(&err) < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	krb5_bed_done(&bed);
	return failed;
}
