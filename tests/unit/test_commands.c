/* What pta-service's commands do without a daemon: init, and their exit codes. With one: test_admin. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "service/commands.h"

static char dir[64], conf_path[PATH_MAX];

static const char *const made[] = {"state/ca.key", "state/ca.crt", "state/registry.db", "service.conf"};

static void in_dir(const char *name, char out[PATH_MAX])
{
	assert_int_equal(file_path(out, PATH_MAX, dir, name), 0);
}

static bool exists(const char *name)
{
	char path[PATH_MAX];

	in_dir(name, path);
	return access(path, F_OK) == 0;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_commands.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	in_dir("service.conf", conf_path);
	return 0;
}

static int tear_down(void **state)
{
	char path[PATH_MAX];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(made); i++) {
		in_dir(made[i], path);
		unlink(path);
	}
	in_dir("state", path);
	rmdir(path);
	return rmdir(dir);
}

static void write_conf(const char *more)
{
	struct buf text = BUF_INIT(4096);
	const struct passwd *user = getpwuid(geteuid());
	struct err err;

	assert_non_null(user);
	buf_printf(&text, "[service]\nnames = localhost\nstate_dir = %s/state\ncontrol_socket = %s/control.sock\nuser = %s\n%s", dir, dir, user->pw_name, more);
	assert_int_equal(file_write_atomic(conf_path, text.data, text.len, 0600, (uid_t)-1, (gid_t)-1, &err), 0);
	buf_done(&text);
}

static void init_makes_ca_and_registry_once(void **state)
{
	struct init_options options = {.config = conf_path};
	char path[PATH_MAX];
	struct stat st, again;

	(void)state;
	write_conf("");
	assert_int_equal(command_init(&options, NULL, 0), CLI_OK);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(made); i++)
		assert_true(exists(made[i]));
	in_dir("state", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	in_dir("state/registry.db", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	in_dir("state/ca.key", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(command_init(&options, NULL, 0), CLI_FAILED);
	assert_int_equal(stat(path, &again), 0);
	assert_int_equal(again.st_ino, st.st_ino);
}

static void init_that_fails_leaves_no_half_a_state(void **state)
{
	struct init_options options = {.config = conf_path};

	(void)state;
	write_conf("tls_cert = /nonexistent/cert.pem\ntls_key = /nonexistent/key.pem\n");
	assert_int_equal(command_init(&options, NULL, 0), CLI_FAILED);
	assert_false(exists("state/ca.key"));
	assert_false(exists("state/ca.crt"));
	assert_false(exists("state/registry.db"));
	write_conf("");
	assert_int_equal(command_init(&options, NULL, 0), CLI_OK);
}

static void options_of_init_do_not_go_with_a_configuration_that_is_there(void **state)
{
	struct init_options named = {.config = conf_path, .names = {.items = {"a.example.com"}, .n = 1}};
	struct init_options half = {.config = conf_path, .tls_cert = "cert.pem"};

	(void)state;
	write_conf("");
	assert_int_equal(command_init(&named, NULL, 0), CLI_USAGE);
	assert_int_equal(command_init(&half, NULL, 0), CLI_USAGE);
	assert_false(exists("state"));
}

/* The configuration that init writes names the system's own state folder, where a test has no business: another user, who may
 * not make it, runs this one. */
static void init_writes_a_configuration_that_loads(void **state)
{
	struct init_options options = {.config = conf_path, .names = {.items = {"a.example.com", "192.0.2.1"}, .n = 2}};
	struct service_conf *conf = NULL;
	struct buf text = BUF_INIT(65536);
	struct err err;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(chmod(dir, 0777), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(99);
		_exit(command_init(&options, NULL, 0));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_in_range(WEXITSTATUS(status), CLI_FAILED, CLI_PERMISSION);
	assert_int_equal(command_conf(conf_path, &conf), CLI_OK);
	assert_int_equal(conf->names.n, 2);
	assert_string_equal(conf->names.items[1], "192.0.2.1");
	service_conf_unref(conf);
	assert_int_equal(file_read(conf_path, 65536, &text, &err), 0);
	for (const struct conf_section *section = service_conf_sections; section->name; section++)
		for (const struct conf_row *row = section->rows; row->key; row++)
			assert_non_null(strstr((char *)text.data, row->key));
	buf_done(&text);
}

static void commands_say_what_is_wrong_by_their_exit_code(void **state)
{
	struct status_options status = {.common.config = conf_path};
	struct common_options options = {.config = conf_path};
	char agent[] = "agent?x", *args[] = {agent};

	(void)state;
	assert_int_equal(command_status(&status, NULL, 0), CLI_CONFIG); /* no file */
	write_conf("colour = red\n");
	assert_int_equal(command_status(&status, NULL, 0), CLI_CONFIG);
	write_conf("");
	assert_int_equal(command_status(&status, NULL, 0), CLI_UNREACHABLE);
	assert_int_equal(command_agent_show(&options, args, 1), CLI_FAILED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(init_makes_ca_and_registry_once),
		TEST(init_that_fails_leaves_no_half_a_state),
		TEST(options_of_init_do_not_go_with_a_configuration_that_is_there),
		TEST(init_writes_a_configuration_that_loads),
		TEST(commands_say_what_is_wrong_by_their_exit_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
