#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define SAME_OWNER (uid_t) - 1, (gid_t)-1

static char dir[64];

static const char *in_dir(const char *name)
{
	static char path[PATH_MAX]; /* one at a time is enough here */

	assert_int_equal(file_path(path, sizeof(path), dir, name), 0);
	return path;
}

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_file.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;

	(void)state;
	while (stream && (entry = readdir(stream)))
		unlinkat(dirfd(stream), entry->d_name, entry->d_type == DT_DIR ? AT_REMOVEDIR : 0);
	closedir(stream);
	return rmdir(dir);
}

static unsigned files(void)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(stream);
	while ((entry = readdir(stream)))
		n += entry->d_name[0] != '.';
	closedir(stream);
	return n;
}

static void what_is_written_is_read_with_mode_and_without_leftovers(void **state)
{
	struct buf buf = BUF_INIT(100);
	struct err err;
	struct stat st;
	mode_t before = umask(077);

	(void)state;
	assert_int_equal(file_write_atomic(in_dir("a"), "one", 3, 0600, SAME_OWNER, &err), 0);
	assert_int_equal(file_write_atomic(in_dir("a"), "second\n", 7, 0644, SAME_OWNER, &err), 0);
	umask(before);
	assert_int_equal(files(), 1);
	assert_int_equal(stat(in_dir("a"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	buf_puts(&buf, "> ");
	assert_int_equal(file_read(in_dir("a"), 7, &buf, &err), 0);
	assert_string_equal((char *)buf.data, "> second\n");
	buf_done(&buf);
	assert_int_equal(file_write_atomic(in_dir("a"), NULL, 0, 0644, SAME_OWNER, &err), 0);
	assert_int_equal(file_read(in_dir("a"), 0, &buf, &err), 0);
	assert_int_equal(buf.len, 0);
	buf_done(&buf);
}

static void reading_names_what_is_wrong(void **state)
{
	struct buf buf = BUF_INIT(100);
	struct err err;

	(void)state;
	assert_int_equal(file_read(in_dir("none"), 10, &buf, &err), -PTA_ENOENT);
	assert_non_null(strstr(err.text, "none: No such file"));
	assert_int_equal(file_write_atomic(in_dir("a"), "12345", 5, 0600, SAME_OWNER, &err), 0);
	assert_int_equal(file_read(in_dir("a"), 4, &buf, &err), -PTA_ETOOBIG);
	assert_int_equal(file_read(dir, 4096 * 16, &buf, &err), -PTA_EINVAL);
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	assert_int_equal(file_read(in_dir("fifo"), 10, &buf, &err), -PTA_EINVAL);
	assert_int_equal(buf.len, 0);
	buf_done(&buf);
}

static void secrets_lose_one_newline_and_must_be_private(void **state)
{
	static const struct {
		const char *content, *secret;
	} cases[] = {{"pass", "pass"}, {"pass\n", "pass"}, {"pass\n\n", "pass\n"}, {"\n", ""}, {"", ""}};
	struct secret *secret;
	struct err err;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		assert_int_equal(file_write_atomic(in_dir("s"), cases[i].content, strlen(cases[i].content), 0600, SAME_OWNER, &err), 0);
		assert_int_equal(file_read_secret(in_dir("s"), 100, false, &secret, &err), 0);
		assert_int_equal(secret_len(secret), strlen(cases[i].secret));
		assert_memory_equal(secret_bytes(secret), cases[i].secret, strlen(cases[i].secret) + 1);
		secret_free(secret);
	}
	assert_int_equal(file_write_atomic(in_dir("s"), "pass", 4, 0640, SAME_OWNER, &err), 0);
	assert_int_equal(file_read_secret(in_dir("s"), 100, false, &secret, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "0640"));
	assert_int_equal(file_read_secret(in_dir("s"), 100, true, &secret, &err), 0);
	secret_free(secret);
	assert_int_equal(file_read_secret(in_dir("s"), 3, true, &secret, &err), -PTA_ETOOBIG);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(file_write_atomic(in_dir("missing/a"), "x", 1, 0600, SAME_OWNER, &err), -PTA_EIO);
	assert_int_equal(mkdir(in_dir("folder"), 0700), 0);
	assert_int_equal(file_write_atomic(in_dir("folder"), "x", 1, 0600, SAME_OWNER, &err), -PTA_EIO);
	assert_int_equal(files(), 1); /* no temporary file stays */
}

static void root_hands_files_to_their_user(void **state)
{
	struct err err;
	struct stat st;
	uid_t owner = geteuid() == 0 ? 12345 : geteuid();

	(void)state;
	assert_int_equal(file_write_atomic(in_dir("a"), "x", 1, 0600, 12345, (gid_t)-1, &err), 0);
	assert_int_equal(stat(in_dir("a"), &st), 0);
	assert_int_equal(st.st_uid, owner);
	assert_int_equal(file_ensure_dir(in_dir("d"), 12345, (gid_t)-1, &err), 0);
	assert_int_equal(stat(in_dir("d"), &st), 0);
	assert_int_equal(st.st_uid, owner);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void folders_are_made_once_and_must_not_be_writable_by_others(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(file_ensure_dir(in_dir("d"), SAME_OWNER, &err), 0);
	assert_int_equal(file_ensure_dir(in_dir("d"), SAME_OWNER, &err), 0);
	assert_int_equal(chmod(in_dir("d"), 0770), 0);
	assert_int_equal(file_ensure_dir(in_dir("d"), SAME_OWNER, &err), -PTA_EPERM);
	assert_int_equal(file_ensure_dir(in_dir("x/y"), SAME_OWNER, &err), -PTA_EIO);
	assert_int_equal(file_write_atomic(in_dir("f"), "x", 1, 0600, SAME_OWNER, &err), 0);
	assert_int_equal(file_ensure_dir(in_dir("f"), SAME_OWNER, &err), -PTA_EEXIST);
}

static void paths_that_do_not_fit_are_refused(void **state)
{
	char out[6];

	(void)state;
	assert_int_equal(file_path(out, sizeof(out), "ab", "cd"), 0);
	assert_string_equal(out, "ab/cd");
	assert_int_equal(file_path(out, sizeof(out), "ab", "cde"), -PTA_ETOOBIG);
}

static void users_are_looked_up(void **state)
{
	struct err err;
	uid_t uid = 1;
	gid_t gid = 1;

	(void)state;
	assert_int_equal(file_user_ids("root", &uid, &gid, &err), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(gid, 0);
	assert_int_equal(file_user_ids("no-such-user", &uid, &gid, &err), -PTA_ENOENT);
	assert_non_null(strstr(err.text, "useradd --system no-such-user"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_is_read_with_mode_and_without_leftovers, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(reading_names_what_is_wrong, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(secrets_lose_one_newline_and_must_be_private, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(a_failed_write_leaves_the_old_file, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(root_hands_files_to_their_user, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(folders_are_made_once_and_must_not_be_writable_by_others, make_dir, remove_dir),
		cmocka_unit_test(paths_that_do_not_fit_are_refused),
		cmocka_unit_test(users_are_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
