#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/identity.h"
#include "base/file.h"
#include "wire/pki.h"

#define DAY_MS 86400000ull

struct fixture {
	char path[64];
	struct identity_dir dir;
	EVP_PKEY *ca_key;
	X509 *ca;
	struct buf ca_pem;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/pta-test-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dir = (struct identity_dir){.path = f->path, .uid = (uid_t)-1, .gid = (gid_t)-1};
	assert_int_equal(pki_key_new(&f->ca_key, NULL), 0);
	assert_int_equal(pki_ca_new(f->ca_key, "test CA", &f->ca, NULL), 0);
	f->ca_pem = BUF_INIT(LIMIT_CERTIFICATE);
	assert_int_equal(pki_cert_to_pem(f->ca, &f->ca_pem), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct dirent *entry;
	char path[PATH_MAX];
	DIR *dir = opendir(f->path);

	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", f->path, entry->d_name);
		unlink(path);
	}
	closedir(dir);
	rmdir(f->path);
	pki_key_freep(&f->ca_key);
	pki_cert_freep(&f->ca);
	buf_done(&f->ca_pem);
	free(f);
	return 0;
}

/* A certificate for whatever waits in pending.key. */
static void issue(struct fixture *f, struct buf *pem)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	struct err err;

	if (identity_pending_key(&f->dir, &key, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pki_issue_agent(f->ca, f->ca_key, key, "agent1", "tenant1", "group1", 30, &cert, NULL), 0);
	assert_int_equal(pki_cert_to_pem(cert, pem), 0);
}

static void install(struct fixture *f)
{
	struct identity names = {.agent = "agent1", .tenant = "tenant1", .group = "group1", .service = "https://pta.example.com:8443"};
	struct buf pem = BUF_INIT(LIMIT_CERTIFICATE);
	struct err err;

	issue(f, &pem);
	if (identity_install(&f->dir, &names, &f->ca_pem, (const char *)pem.data, &err) < 0)
		fail_msg("%s", err.text);
	buf_done(&pem);
}

static struct identity *load(struct fixture *f)
{
	struct identity *identity;
	struct err err;

	if (identity_load(&f->dir, &identity, &err) < 0)
		fail_msg("%s", err.text);
	return identity;
}

static void assert_mode(struct fixture *f, const char *name, unsigned mode)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", f->path, name);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static bool there(struct fixture *f, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", f->path, name);
	return access(path, F_OK) == 0;
}

static void an_empty_folder_says_how_to_register(void **state)
{
	struct fixture *f = *state;
	struct identity *identity;
	struct err err;

	assert_int_equal(identity_load(&f->dir, &identity, &err), -PTA_ENOENT);
	assert_non_null(strstr(err.text, "pta-agent register"));
}

static void what_is_installed_is_loaded_and_private(void **state)
{
	struct fixture *f = *state;
	struct identity *identity;

	install(f);
	identity = load(f);
	assert_string_equal(identity->agent, "agent1");
	assert_string_equal(identity->tenant, "tenant1");
	assert_string_equal(identity->group, "group1");
	assert_string_equal(identity->service, "https://pta.example.com:8443");
	assert_true(pki_pair(identity->cert, identity->key));
	assert_mode(f, "key.pem", 0600);
	assert_mode(f, "cert.pem", 0600);
	assert_mode(f, "ca.pem", 0600);
	assert_mode(f, "identity", 0600);
	assert_false(there(f, "pending.key"));
	identity_free(identity);
}

static void a_lost_reply_finds_the_same_key(void **state)
{
	struct fixture *f = *state;
	EVP_PKEY *first = NULL, *second = NULL;

	assert_int_equal(identity_pending_key(&f->dir, &first, NULL), 0);
	assert_int_equal(identity_pending_key(&f->dir, &second, NULL), 0);
	assert_int_equal(EVP_PKEY_eq(first, second), 1);
	assert_mode(f, "pending.key", 0600);
	pki_key_freep(&first);
	pki_key_freep(&second);
}

static void a_renewal_has_a_new_key(void **state)
{
	struct fixture *f = *state;
	struct identity *before, *after;

	install(f);
	before = load(f);
	install(f);
	after = load(f);
	assert_int_not_equal(EVP_PKEY_eq(before->key, after->key), 1);
	identity_free(before);
	identity_free(after);
}

static void a_crash_between_certificate_and_key_is_mended(void **state)
{
	struct fixture *f = *state;
	struct buf pem = BUF_INIT(LIMIT_CERTIFICATE);
	struct identity *identity;
	char path[PATH_MAX];

	install(f);
	/* The new certificate is there, its key still pending. */
	issue(f, &pem);
	snprintf(path, sizeof(path), "%s/cert.pem", f->path);
	assert_int_equal(file_write_atomic(path, pem.data, pem.len, 0600, (uid_t)-1, (gid_t)-1, NULL), 0);
	identity = load(f);
	assert_true(pki_pair(identity->cert, identity->key));
	assert_false(there(f, "pending.key"));
	identity_free(identity);
	identity = load(f);
	assert_true(pki_pair(identity->cert, identity->key));
	identity_free(identity);
	buf_done(&pem);
}

static void a_crash_before_the_certificate_leaves_the_old_pair(void **state)
{
	struct fixture *f = *state;
	EVP_PKEY *pending PTA_CLEANUP(pki_key_freep) = NULL;
	struct identity *identity;

	install(f);
	assert_int_equal(identity_pending_key(&f->dir, &pending, NULL), 0);
	identity = load(f);
	assert_true(pki_pair(identity->cert, identity->key));
	assert_true(there(f, "pending.key"));
	identity_free(identity);
}

static void a_pair_that_does_not_fit_is_refused(void **state)
{
	struct fixture *f = *state;
	EVP_PKEY *other PTA_CLEANUP(pki_key_freep) = NULL;
	struct buf pem = BUF_INIT_WIPED(4096);
	struct identity *identity;
	char path[PATH_MAX];
	struct err err;

	install(f);
	assert_int_equal(pki_key_new(&other, NULL), 0);
	assert_int_equal(pki_key_to_pem(other, &pem, NULL), 0);
	snprintf(path, sizeof(path), "%s/key.pem", f->path);
	assert_int_equal(file_write_atomic(path, pem.data, pem.len, 0600, (uid_t)-1, (gid_t)-1, NULL), 0);
	buf_done(&pem);
	assert_int_equal(identity_load(&f->dir, &identity, &err), -PTA_EINVAL);
	assert_non_null(strstr(err.text, "do not belong together"));
}

static void broken_files_are_named(void **state)
{
	static const char *const names[] = {"key.pem", "cert.pem", "ca.pem", "identity"};
	struct fixture *f = *state;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(names); i++) {
		struct identity *identity;
		char path[PATH_MAX];
		struct err err;

		install(f);
		snprintf(path, sizeof(path), "%s/%s", f->path, names[i]);
		assert_int_equal(file_write_atomic(path, "rubbish\n", 8, 0600, (uid_t)-1, (gid_t)-1, NULL), 0);
		assert_true(identity_load(&f->dir, &identity, &err) < 0);
		assert_non_null(strstr(err.text, names[i]));
		unlink(path);
		assert_int_equal(identity_load(&f->dir, &identity, &err), i == 1 ? -PTA_ENOENT : -PTA_EINVAL);
	}
}

static void renewal_is_due_behind_two_thirds_of_the_life(void **state)
{
	struct fixture *f = *state;
	struct identity *identity;
	uint64_t at;

	install(f);
	identity = load(f);
	at = identity_renew_at_ms(identity);
	assert_true(at >= identity->not_before_ms + 20 * DAY_MS);
	assert_true(at <= identity->not_before_ms + 22 * DAY_MS);
	assert_true(at == identity_renew_at_ms(identity));
	identity_free(identity);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FOLDER(an_empty_folder_says_how_to_register),
		WITH_FOLDER(what_is_installed_is_loaded_and_private),
		WITH_FOLDER(a_lost_reply_finds_the_same_key),
		WITH_FOLDER(a_renewal_has_a_new_key),
		WITH_FOLDER(a_crash_between_certificate_and_key_is_mended),
		WITH_FOLDER(a_crash_before_the_certificate_leaves_the_old_pair),
		WITH_FOLDER(a_pair_that_does_not_fit_is_refused),
		WITH_FOLDER(broken_files_are_named),
		WITH_FOLDER(renewal_is_due_behind_two_thirds_of_the_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
