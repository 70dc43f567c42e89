/* A backup of a state that is written to meanwhile, and what restore takes and refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <pwd.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "service/backup.h"
#include "service/ca.h"
#include "service/commands.h"
#include "service/registry_impl.h"

#define NOBODY (uid_t) - 1, (gid_t)-1

static char dir[64], state_dir[PATH_MAX], registry_path[PATH_MAX], file[PATH_MAX], other_dir[PATH_MAX], other_registry[PATH_MAX];

static void must(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%s", err->text);
}

static void in(char out[PATH_MAX], const char *folder, const char *name)
{
	assert_int_equal(file_path(out, PATH_MAX, folder, name), 0);
}

static void add_domain(struct registry_db *db, const char *name)
{
	struct registry_domain domain = {.tenant = "default", .group = "main", .enabled = true};
	struct err err;

	snprintf(domain.name, sizeof(domain.name), "%s", name);
	must(registry_domain_add(db, &domain, &err), &err);
}

static void make_state(void)
{
	struct registry_app app;
	struct registry_db *db;
	char key[64];
	struct err err;

	must(ca_create(state_dir, NOBODY, &err), &err);
	must(registry_db_create(registry_path, &err), &err);
	must(registry_db_open(registry_path, &db, &err), &err);
	must(registry_tenant_add(db, "default", &err), &err);
	add_domain(db, "corp.example.com");
	must(registry_app_add(db, "default", "web", false, key, &app, &err), &err);
	must(registry_app_add(db, "default", "old", false, key, &app, &err), &err);
	must(registry_app_revoke(db, app.id, &err), &err);
	registry_db_close(db);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_backup.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	in(state_dir, dir, "state");
	in(registry_path, state_dir, "registry.db");
	in(other_dir, dir, "other");
	in(other_registry, other_dir, "registry.db");
	in(file, dir, "backup");
	if (mkdir(state_dir, 0700))
		return -1;
	make_state();
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_backup(void)
{
	struct backup *backup;
	struct err err;

	must(backup_of_state(state_dir, registry_path, &backup, &err), &err);
	must(backup_write(backup, file, &err), &err);
	backup_free(backup);
}

static void assert_same_file(const char *name)
{
	char a[PATH_MAX], b[PATH_MAX];
	struct buf one = BUF_INIT(1 << 20), two = BUF_INIT(1 << 20);
	struct stat st, again;
	struct err err;

	in(a, state_dir, name);
	in(b, other_dir, name);
	must(file_read(a, one.limit, &one, &err), &err);
	must(file_read(b, two.limit, &two, &err), &err);
	assert_int_equal(one.len, two.len);
	assert_memory_equal(one.data, two.data, one.len);
	assert_int_equal(stat(a, &st), 0);
	assert_int_equal(stat(b, &again), 0);
	assert_int_equal(st.st_mode, again.st_mode);
	buf_done(&one);
	buf_done(&two);
}

static bool has(const char *path, const char *text)
{
	struct buf content = BUF_INIT(1 << 24);
	struct err err;
	bool found;

	must(file_read(path, content.limit, &content, &err), &err);
	found = memmem(content.data, content.len, text, strlen(text)) != NULL;
	buf_done(&content);
	return found;
}

static void what_is_restored_is_what_was_backed_up(void **state)
{
	struct registry *registry;
	struct registry_snapshot *s;
	struct backup *backup;
	struct stat st;
	struct err err;

	(void)state;
	make_backup();
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(has(file, "PRIVATE KEY"));
	must(backup_of_file(file, &backup, &err), &err);
	assert_int_equal(backup_summary(backup)->domains, 1);
	assert_int_equal(backup_summary(backup)->apps, 1);
	assert_int_equal(backup_summary(backup)->agents, 0);
	assert_string_equal(backup_summary(backup)->version, PACKAGE_VERSION);
	must(backup_restore(backup, other_dir, other_registry, NOBODY, &err), &err);
	backup_free(backup);
	assert_same_file(CA_KEY_FILE);
	assert_same_file(CA_CERTIFICATE_FILE);
	assert_int_equal(stat(other_registry, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_false(has(other_registry, "PRIVATE KEY"));

	must(registry_open(other_registry, &registry, &err), &err);
	s = registry_acquire(registry);
	assert_non_null(registry_find_domain(s, "default", CREDENTIAL_UPN, "corp.example.com"));
	assert_non_null(registry_app_at(s, 1));
	registry_release(s);
	registry_close(registry);
}

static int number(const char *query)
{
	sqlite3_stmt *stmt;
	sqlite3 *db;
	int n;

	assert_int_equal(sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	n = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return n;
}

static atomic_bool stop;

static void *write_on(void *arg)
{
	struct registry_db *db;
	char name[64];
	struct err err;

	(void)arg;
	must(registry_db_open(registry_path, &db, &err), &err);
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		snprintf(name, sizeof(name), "d%u.example.com", i);
		must(db_exec(db, "BEGIN IMMEDIATE", NULL, NULL, &err), &err);
		add_domain(db, name);
		must(db_exec(db, "COMMIT", NULL, NULL, &err), &err);
	}
	registry_db_close(db);
	return NULL;
}

/* A domain is a row of each of two tables. */
static void a_backup_is_of_one_moment_while_the_registry_is_written(void **state)
{
	struct backup *backup;
	size_t before = 0;
	pthread_t writer;
	struct err err;

	(void)state;
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&writer, NULL, write_on, NULL), 0);
	for (unsigned i = 0; i < 30 || before < 10; i++) {
		must(backup_of_state(state_dir, registry_path, &backup, &err), &err);
		assert_true(backup_summary(backup)->domains >= before);
		before = backup_summary(backup)->domains;
		must(backup_write(backup, file, &err), &err);
		backup_free(backup);
		assert_int_equal(number("SELECT count(*) FROM domain"), before);
		assert_int_equal(number("SELECT count(*) FROM suffix"), before);
	}
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
}

static void a_state_that_is_there_is_not_touched(void **state)
{
	static const char *const there[] = {"ca.key", "ca.crt", "registry.db", "registry.db-wal", "registry.db-shm", "registry.db-journal"};
	struct backup *backup;
	char path[PATH_MAX];
	struct err err;

	(void)state;
	make_backup();
	must(backup_of_file(file, &backup, &err), &err);
	must(file_ensure_dir(other_dir, NOBODY, &err), &err);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(there); i++) {
		in(path, other_dir, there[i]);
		must(file_write_atomic(path, "x", 1, 0600, NOBODY, &err), &err);
		assert_int_equal(backup_restore(backup, other_dir, other_registry, NOBODY, &err), -PTA_EEXIST);
		assert_non_null(strstr(err.text, path));
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(other_dir), 0); /* nothing was left in it */
	backup_free(backup);
}

static void a_backup_goes_in_the_place_of_a_backup_only(void **state)
{
	struct backup *backup;
	struct err err;

	(void)state;
	make_backup();
	make_backup();
	must(backup_of_state(state_dir, registry_path, &backup, &err), &err);
	assert_int_equal(backup_write(backup, registry_path, &err), -PTA_EEXIST);
	backup_free(backup);
	must(backup_of_state(state_dir, registry_path, &backup, &err), &err);
	must(file_write_atomic(file, "notes", 5, 0600, NOBODY, &err), &err);
	assert_int_equal(backup_write(backup, file, &err), -PTA_EEXIST);
	backup_free(backup);
}

static void a_state_that_is_not_whole_gives_no_backup(void **state)
{
	char path[PATH_MAX];
	struct backup *backup;
	struct err err;

	(void)state;
	in(path, state_dir, "ca.key");
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(backup_of_state(state_dir, registry_path, &backup, &err), -PTA_EPERM);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(backup_of_state(state_dir, registry_path, &backup, &err), -PTA_ENOENT);
	assert_int_equal(unlink(registry_path), 0);
	assert_int_equal(backup_of_state(state_dir, registry_path, &backup, &err), -PTA_ENOENT);
}

static void sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void what_is_no_good_backup_is_refused(void **state)
{
	static const struct {
		const char *sql, *says;
		int code;
	} rows[] = {
		{"PRAGMA application_id = 0", "no backup", -PTA_EINVAL},
		{"PRAGMA user_version = 4711", "4711", -PTA_EINVAL},
		{"PRAGMA user_version = 0", "no registry", -PTA_EINVAL},
		{"DELETE FROM backup WHERE name = 'ca.key'", "ca.key", -PTA_EINVAL},
		{"DELETE FROM backup WHERE name = 'ca.crt'", "ca.crt", -PTA_EINVAL},
		{"DELETE FROM backup WHERE name = 'created'", "created", -PTA_EINVAL},
		{"DROP TABLE backup", "backup", -PTA_EIO},
		{"UPDATE backup SET content = zeroblob(100000) WHERE name = 'ca.key'", "100000", -PTA_EINVAL},
		{"UPDATE backup SET content = x'' WHERE name = 'ca.crt'", "no CA", -PTA_EINVAL},
		{"UPDATE backup SET content = 'no PEM' WHERE name = 'ca.key'", "key", -PTA_ECRYPTO},
		{"UPDATE backup SET content = printf('%.*c', 60, 'x') WHERE name = 'version'", "does not fit", -PTA_ETOOBIG},
		{"UPDATE domain SET name = printf('%.*c', 2000, 'x')", "does not fit", -PTA_ETOOBIG},
		{"DROP TABLE certificate", "certificate", -PTA_EIO},
	};
	struct backup *backup;
	struct err err;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		int r;

		make_backup();
		sql("PRAGMA foreign_keys = OFF");
		sql(rows[i].sql);
		r = backup_of_file(file, &backup, &err);
		if (r != rows[i].code || !strstr(err.text, rows[i].says))
			fail_msg("%s: %d, %s", rows[i].sql, r, r ? err.text : "taken");
		unlink(file);
	}
	assert_int_equal(backup_of_file(file, &backup, &err), -PTA_ENOENT);
}

static void a_damaged_file_is_refused(void **state)
{
	struct backup *backup;
	struct stat st;
	struct err err;
	FILE *f;

	(void)state;
	make_backup();
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(truncate(file, st.st_size - 4096), 0);
	assert_true(backup_of_file(file, &backup, &err) < 0);
	unlink(file);
	make_backup();
	f = fopen(file, "r+");
	assert_non_null(f);
	for (long at = 4096; at < st.st_size; at += 4096) { /* the head of each page behind the first */
		assert_int_equal(fseek(f, at, SEEK_SET), 0);
		assert_int_equal(fwrite("\377\377\377\377", 1, 4, f), 4);
	}
	fclose(f);
	assert_true(backup_of_file(file, &backup, &err) < 0);
	must(file_write_atomic(file, "text", 4, 0600, NOBODY, &err), &err);
	assert_int_equal(backup_of_file(file, &backup, &err), -PTA_EIO);
}

static void key_and_certificate_of_different_cas_are_refused(void **state)
{
	char path[PATH_MAX], target[PATH_MAX];
	struct backup *backup;
	struct err err;

	(void)state;
	must(file_ensure_dir(other_dir, NOBODY, &err), &err);
	must(ca_create(other_dir, NOBODY, &err), &err);
	in(path, other_dir, "ca.crt");
	in(target, state_dir, "ca.crt");
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(backup_of_state(state_dir, registry_path, &backup, &err), -PTA_ECRYPTO);
}

static void an_expired_ca_is_refused(void **state)
{
	struct backup *backup;
	struct err err;

	(void)state;
	make_backup();
	clock_fake(-1, INT64_C(9000000000000));
	assert_int_equal(backup_of_state(state_dir, registry_path, &backup, &err), -PTA_EEXPIRED);
	assert_int_equal(backup_of_file(file, &backup, &err), -PTA_EEXPIRED);
	clock_fake(-1, -1);
}

/* ---- the commands ---- */

/* In a process of its own: each sets up the memory for secrets. */
static int run(int (*command)(void *, char **, int), struct common_options *options)
{
	char *args[] = {file};
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		exit(command(options, args, 1));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void write_conf(char path[PATH_MAX], const char *state_at)
{
	const struct passwd *user = getpwuid(geteuid());
	char text[3 * PATH_MAX];
	struct err err;

	assert_non_null(user);
	in(path, dir, "service.conf");
	snprintf(text, sizeof(text), "[service]\nnames = localhost\nstate_dir = %s\ncontrol_socket = %s/control.sock\nuser = %s\n", state_at, dir,
		user->pw_name);
	must(file_write_atomic(path, text, strlen(text), 0600, NOBODY, &err), &err);
}

static void restore_waits_for_no_running_service(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char conf[PATH_MAX];
	struct common_options options = {.config = conf};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	write_conf(conf, state_dir);
	assert_int_equal(run(command_backup, &options), CLI_OK);
	assert_int_equal(run(command_restore, &options), CLI_FAILED); /* a state is there */
	write_conf(conf, other_dir);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control.sock", dir);
	assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(run(command_restore, &options), CLI_FAILED);
	assert_int_equal(access(other_dir, F_OK), -1);
	close(fd); /* what a service that was killed leaves behind is no hindrance */
	assert_int_equal(run(command_restore, &options), CLI_OK);
	assert_same_file(CA_KEY_FILE);
	assert_int_equal(run(command_backup, &options), CLI_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_restored_is_what_was_backed_up),
		TEST(a_backup_is_of_one_moment_while_the_registry_is_written),
		TEST(a_state_that_is_there_is_not_touched),
		TEST(a_backup_goes_in_the_place_of_a_backup_only),
		TEST(a_state_that_is_not_whole_gives_no_backup),
		TEST(what_is_no_good_backup_is_refused),
		TEST(a_damaged_file_is_refused),
		TEST(key_and_certificate_of_different_cas_are_refused),
		TEST(an_expired_ca_is_refused),
		TEST(restore_waits_for_no_running_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
