/* Each case is a process of its own: libkrb5 and the environment remember. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <krb5.h>
#include <profile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "directory/krb5_profile.h"
#include "kdc_double.h"

#define NOBODY 65534

static char admins[] = "/tmp/pta-krb5-profile-XXXXXX";

/* Says the opposite of everything that we set, and where to go. */
static void write_admins(unsigned port)
{
	FILE *file = fopen(admins, "w");

	assert_non_null(file);
	fprintf(file,
		"[libdefaults]\n\tdefault_realm = EXAMPLE.COM\n\tdns_lookup_kdc = true\n\tdns_lookup_realm = true\n\tdns_uri_lookup = true\n"
		"\tdns_canonicalize_hostname = true\n\trdns = true\n\tkdc_timesync = 1\n\tclockskew = 77\n\tudp_preference_limit = 1\n"
		"[realms]\n\tEXAMPLE.COM = {\n\t\tkdc = 127.0.0.1:%u\n\t\tdisable_encrypted_timestamp = true\n\t}\n"
		"[plugins]\n\tclpreauth = {\n\t\tenable_only = spake\n\t\tenable_only = encrypted_challenge\n\t\tdisable = encrypted_timestamp\n\t}\n",
		port);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(admins, 0644), 0);
}

/* In the child: a number that tells the line. */
#define CHECK(ok)                                                                                                                                              \
	do {                                                                                                                                                   \
		if (!(ok)) {                                                                                                                                   \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #ok);                                                                               \
			_exit(1);                                                                                                                              \
		}                                                                                                                                              \
	} while (0)

static void in_child(void (*fn)(const char *config), const char *config)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (config ? setenv("KRB5_CONFIG", config, 1) : unsetenv("KRB5_CONFIG"))
			_exit(2);
		fn(config);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* As libkrb5 looks up what has one value. */
static bool says(profile_t profile, const char *name, const char *value)
{
	char *text = NULL;
	bool ok;

	if (profile_get_string(profile, "libdefaults", name, NULL, "", &text) != 0)
		return false;
	ok = strcmp(text, value) == 0;
	profile_release_string(text);
	return ok;
}

static void check_settings(krb5_context context)
{
	static const char *const kdc[] = {"realms", "EXAMPLE.COM", "kdc", NULL};
	static const char *const enable[] = {"plugins", "clpreauth", "enable_only", NULL};
	static const char *const disable[] = {"plugins", "clpreauth", "disable", NULL};
	profile_t profile = NULL;
	char **values = NULL;

	CHECK(krb5_get_profile(context, &profile) == 0);
	CHECK(says(profile, "dns_lookup_kdc", "false"));
	CHECK(says(profile, "dns_lookup_realm", "false"));
	CHECK(says(profile, "dns_uri_lookup", "false"));
	CHECK(says(profile, "dns_canonicalize_hostname", "false"));
	CHECK(says(profile, "rdns", "false"));
	CHECK(says(profile, "kdc_timesync", "0"));
	CHECK(profile_get_values(profile, (const char **)(uintptr_t)enable, &values) == 0);
	CHECK(strcmp(values[0], "encrypted_timestamp") == 0 && values[1] == NULL);
	profile_free_list(values);
	CHECK(profile_get_values(profile, (const char **)(uintptr_t)disable, &values) != 0);
	CHECK(profile_get_values(profile, (const char **)(uintptr_t)kdc, &values) != 0);
	profile_release(profile);
}

static void init(krb5_context *context)
{
	struct err err = {{0}};

	if (krb5_profile_init(&err) < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK(krb5_init_context(context) == 0);
}

static void ours_go_first(const char *config)
{
	krb5_context context;
	profile_t profile = NULL;
	char *realm = NULL;

	(void)config;
	init(&context);
	check_settings(context);
	/* What we do not speak of is the administrator's. */
	CHECK(krb5_get_default_realm(context, &realm) == 0 && strcmp(realm, "EXAMPLE.COM") == 0);
	CHECK(krb5_get_profile(context, &profile) == 0);
	CHECK(says(profile, "clockskew", "77"));
	profile_release(profile);
	krb5_free_default_realm(context, realm);
	krb5_free_context(context);
	/* Again and again, as each worker thread does. */
	for (int i = 0; i < 3; i++) {
		CHECK(krb5_init_context(&context) == 0);
		check_settings(context);
		krb5_free_context(context);
	}
}

static void a_file_that_is_not_there(const char *config)
{
	krb5_principal principal = NULL;
	krb5_context context;
	char *realm = NULL;

	(void)config;
	init(&context);
	check_settings(context);
	/* No realm is assumed, and none is needed. */
	CHECK(krb5_get_default_realm(context, &realm) != 0);
	CHECK(krb5_parse_name_flags(context, "alice@example.com@EXAMPLE.COM", KRB5_PRINCIPAL_PARSE_ENTERPRISE, &principal) == 0);
	krb5_free_principal(context, principal);
	krb5_free_context(context);
}

static void not_root_and_not_dumpable(const char *config)
{
	krb5_context context;

	(void)config;
	if (geteuid() == 0)
		CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
	init(&context);
	check_settings(context);
	krb5_free_context(context);
}

/* As a daemon that drops its rights behind it. */
static void made_as_root_read_as_nobody(const char *config)
{
	krb5_context context;

	(void)config;
	init(&context);
	krb5_free_context(context);
	if (geteuid() == 0)
		CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(krb5_init_context(&context) == 0);
	check_settings(context);
	krb5_free_context(context);
}

static void the_file_is_sealed_and_ours_alone(const char *config)
{
	krb5_context context;
	int fd;

	(void)config;
	init(&context);
	CHECK(sscanf(getenv("KRB5_CONFIG"), "/proc/self/fd/%d:", &fd) == 1);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CHECK(write(fd, "x", 1) < 0);
	CHECK(ftruncate(fd, 0) < 0);
	krb5_free_context(context);
}

static krb5_error_code ask_by_library(void)
{
	krb5_principal client = NULL;
	krb5_creds creds = {0};
	krb5_context context;
	krb5_error_code code;

	CHECK(krb5_init_context(&context) == 0);
	CHECK(krb5_parse_name(context, "alice@EXAMPLE.COM", &client) == 0);
	code = krb5_get_init_creds_password(context, &creds, client, "right", NULL, NULL, 0, NULL, NULL);
	krb5_free_principal(context, client);
	krb5_free_context(context);
	return code;
}

static void asked_with_ours(const char *config)
{
	struct err err;

	(void)config;
	CHECK(krb5_profile_init(&err) == 0);
	CHECK(ask_by_library() == KRB5_REALM_UNKNOWN);
}

static void asked_without(const char *config)
{
	(void)config;
	CHECK(ask_by_library() != 0);
}

static void settings_win_over_the_administrators(void **state)
{
	(void)state;
	write_admins(88);
	in_child(ours_go_first, admins);
	in_child(not_root_and_not_dumpable, admins);
	in_child(made_as_root_read_as_nobody, admins);
	in_child(the_file_is_sealed_and_ours_alone, admins);
}

static void no_file_is_needed(void **state)
{
	(void)state;
	in_child(a_file_that_is_not_there, "/nonexistent/krb5.conf");
	in_child(not_root_and_not_dumpable, "/nonexistent/krb5.conf");
	in_child(not_root_and_not_dumpable, NULL);
	in_child(not_root_and_not_dumpable, "");
}

static void libkrb5_never_connects_by_itself(void **state)
{
	struct kdc_double *d = kdc_double_new(KDC_ERROR);

	(void)state;
	write_admins(kdc_double_server(d).kdc_port);
	in_child(asked_with_ours, admins);
	assert_int_equal(kdc_double_connections(d), 0);
	/* The same without our settings: it would. */
	in_child(asked_without, admins);
	assert_true(kdc_double_connections(d) > 0);
	kdc_double_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_win_over_the_administrators),
		cmocka_unit_test(no_file_is_needed),
		cmocka_unit_test(libkrb5_never_connects_by_itself),
	};
	int fd = mkstemp(admins), failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(admins);
	return failed;
}
