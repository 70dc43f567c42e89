#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent_conf.h"

#define DIRECTORY "[directory Corp.Example.com]\nservers = 127.0.0.1:3389\ntls = none\n"

static struct agent_conf *load(const char *text)
{
	struct agent_conf *conf = NULL;
	struct conf_errors errors;

	conf_errors_init(&errors);
	if (agent_conf_load_text("t", text, strlen(text), true, &conf, &errors) < 0)
		fail_msg("%s", (const char *)errors.text.data);
	conf_errors_done(&errors);
	return conf;
}

/* Every line of the errors, in one text. */
static void load_errors(const char *text, char *out, size_t cap)
{
	struct agent_conf *conf = NULL;
	struct conf_errors errors;

	conf_errors_init(&errors);
	assert_true(agent_conf_load_text("t", text, strlen(text), true, &conf, &errors) < 0);
	assert_null(conf);
	assert_true(errors.count > 0);
	snprintf(out, cap, "%s", (const char *)errors.text.data);
	conf_errors_done(&errors);
}

static void a_file_with_one_directory_is_enough(void **state)
{
	struct agent_conf *conf = load(DIRECTORY);

	(void)state;
	assert_null(conf->agent.service);
	assert_string_equal(conf->agent.state_dir, PTA_STATEDIR "/pta-agent");
	assert_string_equal(conf->agent.control_socket, PTA_RUNDIR "/pta-agent/control.sock");
	assert_null(conf->agent.metrics_listen);
	assert_int_equal(conf->ndirectories, 1);
	assert_string_equal(conf->directories[0]->name, "corp.example.com");
	agent_conf_unref(conf);
}

static void bad_values_are_named_by_their_key(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"[agent]\nservice = http://a:1\n" DIRECTORY, "service"},
		{"[agent]\nservice = https://a:1/\n" DIRECTORY, "service"},
		{"[agent]\nservice = https://a:1/x\n" DIRECTORY, "service"},
		{"[agent]\nservice = https://u@a:1\n" DIRECTORY, "service"},
		{"[agent]\nservice = https://a:1?x\n" DIRECTORY, "service"},
		{"[agent]\nservice = a:1\n" DIRECTORY, "service"},
		{"[agent]\nstate_dir = state\n" DIRECTORY, "state_dir"},
		{"[agent]\ncontrol_socket = control.sock\n" DIRECTORY, "control_socket"},
		{"[agent]\nmetrics_listen = 0.0.0.0:9464\n" DIRECTORY, "metrics_listen"},
		{"[agent]\nmetrics_listen = 127.0.0.1\n" DIRECTORY, "metrics_listen"},
		{"[agent]\nmetrics_listen = 127.0.0.1:99999\n" DIRECTORY, "metrics_listen"},
		{"[agent]\nmetrics_listen = localhost:1\n" DIRECTORY, "metrics_listen"},
		{"[agent]\nmetrics_listen = [::2]:1\n" DIRECTORY, "metrics_listen"},
		{"[agent]\nnonsense = 1\n" DIRECTORY, "nonsense"},
		{"[proxy]\nurl = ftp://p:1\n" DIRECTORY, "url"},
		{"[proxy]\nurl = http://u:p@p:1\n" DIRECTORY, "password_file"},
		{"[proxy]\nurl = http://p:1\nuser = u\n" DIRECTORY, "password_file"},
		{"[proxy]\nuser = u\npassword_file = /x\n" DIRECTORY, "need url"},
		{"[proxy]\nurl = http://p:1\nuser = u\npassword_file = /nonexistent/x\n" DIRECTORY, "/nonexistent/x"},
		{"[log]\nlevel = loud\n" DIRECTORY, "level"},
		{"[agent]\n", "no [directory"},
		{DIRECTORY "[directory corp.example.com]\nservers = 127.0.0.1\ntls = none\n", "is there already"},
		{DIRECTORY "suffixes = b.example\n[directory b.example]\nservers = 127.0.0.1\ntls = none\n", "both serve"},
		{DIRECTORY "suffixes = c.example\n[directory b.example]\nservers = 127.0.0.1\ntls = none\nsuffixes = c.example\n", "both serve"},
		{DIRECTORY "netbios = CORP\n[directory b.example]\nservers = 127.0.0.1\ntls = none\nnetbios = corp\n", "netbios"},
		{"[directory bad..name]\nservers = 127.0.0.1\ntls = none\n", "bad..name"},
	};
	char errors[4096];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		load_errors(cases[i].text, errors, sizeof(errors));
		if (!strstr(errors, cases[i].want))
			fail_msg("%s\nshould speak of %s:\n%s", cases[i].text, cases[i].want, errors);
	}
}

static void all_errors_come_in_one_pass(void **state)
{
	char errors[4096];

	(void)state;
	load_errors("[agent]\nservice = x\nmetrics_listen = 1.2.3.4:5\n" DIRECTORY, errors, sizeof(errors));
	assert_non_null(strstr(errors, "service"));
	assert_non_null(strstr(errors, "metrics"));
	load_errors("[agent]\nfoo = 1\n\nbar = 2\n" DIRECTORY, errors, sizeof(errors));
	assert_non_null(strstr(errors, "t:2:"));
	assert_non_null(strstr(errors, "t:4:"));
}

static void the_dump_loads_as_the_same_values(void **state)
{
	struct agent_conf *conf = load("[agent]\nservice = https://pta.example.com:8443\nmetrics_listen = [::1]:9464\n[log]\nlevel = debug\n" DIRECTORY "suffixes = a.example, b.example\n");
	struct buf first = BUF_INIT(65536), second = BUF_INIT(65536);
	struct agent_conf *again;

	(void)state;
	agent_conf_dump(conf, &first);
	assert_true(buf_ok(&first));
	again = load((const char *)first.data);
	agent_conf_dump(again, &second);
	assert_string_equal(first.data, second.data);
	assert_non_null(strstr((const char *)first.data, "level = debug"));
	assert_non_null(strstr((const char *)first.data, "connections = 32"));
	buf_done(&first);
	buf_done(&second);
	agent_conf_unref(conf);
	agent_conf_unref(again);
}

static void a_proxy_password_comes_from_a_file_of_its_owner(void **state)
{
	char path[] = "/tmp/pta-test-XXXXXX", text[256], errors[4096];
	int fd = mkstemp(path);
	struct agent_conf *conf;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "s3cret\n", 7), 7);
	close(fd);
	snprintf(text, sizeof(text), "[proxy]\nurl = http://p:3128\nuser = u\npassword_file = %s\nno_proxy = a.example b.example\n" DIRECTORY, path);
	conf = load(text);
	assert_int_equal(secret_len(conf->proxy.password), 6);
	assert_memory_equal(secret_bytes(conf->proxy.password), "s3cret", 6);
	assert_int_equal(conf->proxy.no_proxy.n, 2);
	agent_conf_unref(conf);
	assert_int_equal(chmod(path, 0644), 0);
	load_errors(text, errors, sizeof(errors));
	assert_non_null(strstr(errors, path));
	unlink(path);
}

static void what_needs_a_restart_is_refused_on_reload(void **state)
{
	struct agent_conf *now = load("[agent]\nservice = https://a:1\n" DIRECTORY);
	struct agent_conf *same = load("[agent]\nservice = https://a:1\n[log]\nlevel = debug\n" DIRECTORY "connections = 3\n");
	struct agent_conf *other = load("[agent]\nservice = https://b:1\n" DIRECTORY);
	struct agent_conf *moved = load("[agent]\nservice = https://a:1\nstate_dir = /x\n" DIRECTORY);
	struct err err;

	(void)state;
	assert_int_equal(agent_conf_check_reload(now, same, &err), 0);
	assert_int_equal(agent_conf_check_reload(now, other, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "service"));
	assert_int_equal(agent_conf_check_reload(now, moved, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "state_dir"));
	agent_conf_unref(now);
	agent_conf_unref(same);
	agent_conf_unref(other);
	agent_conf_unref(moved);
}

static void registration_needs_no_directory(void **state)
{
	struct agent_conf *conf = NULL;
	struct conf_errors errors;

	(void)state;
	conf_errors_init(&errors);
	assert_int_equal(agent_conf_load_text("defaults", "", 0, false, &conf, &errors), 0);
	conf_errors_done(&errors);
	agent_conf_unref(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_with_one_directory_is_enough),
		cmocka_unit_test(bad_values_are_named_by_their_key),
		cmocka_unit_test(all_errors_come_in_one_pass),
		cmocka_unit_test(the_dump_loads_as_the_same_values),
		cmocka_unit_test(a_proxy_password_comes_from_a_file_of_its_owner),
		cmocka_unit_test(what_needs_a_restart_is_refused_on_reload),
		cmocka_unit_test(registration_needs_no_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
