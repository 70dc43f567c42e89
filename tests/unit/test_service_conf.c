#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "service/service_conf.h"

static char path[] = "/tmp/pta-test-XXXXXX";

static int load(const char *text, struct service_conf **out, char *errors_text, size_t cap)
{
	struct conf_errors errors;
	FILE *file = fopen(path, "w");
	int r;

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	conf_errors_init(&errors);
	r = service_conf_load(path, out, &errors);
	snprintf(errors_text, cap, "%s", errors.text.len ? (const char *)errors.text.data : "");
	conf_errors_done(&errors);
	return r;
}

static struct service_conf *load_good(const char *text)
{
	struct service_conf *conf = NULL;
	char errors[2048];

	if (load(text, &conf, errors, sizeof(errors)) < 0)
		fail_msg("%s", errors);
	return conf;
}

static void defaults_are_filled_in(void **state)
{
	struct service_conf *conf = load_good("[service]\nnames = pta.example.com, 192.0.2.1\n");

	(void)state;
	assert_string_equal(conf->signin_listen, ":8443");
	assert_string_equal(conf->agent_listen, ":8444");
	assert_string_equal(conf->agent_url, "https://pta.example.com:8444");
	assert_string_equal(conf->user, "pta-service");
	assert_int_equal(conf->deadline, 10000);
	assert_true(conf->threads >= 1);
	assert_int_equal(conf->names.n, 2);
	assert_null(conf->tls_cert);
	assert_null(conf->metrics_listen);
	service_conf_unref(conf);
}

static void what_is_dumped_loads_to_the_same(void **state)
{
	struct service_conf *first = load_good("[service]\nnames = ::1\nthreads = 3\ndeadline = 5s\nmetrics_listen = 127.0.0.1:9443\n[log]\nlevel = debug\n"),
			    *second;
	struct buf one = BUF_INIT(65536), two = BUF_INIT(65536);

	(void)state;
	assert_string_equal(first->agent_url, "https://[::1]:8444");
	service_conf_dump(first, &one);
	second = load_good((const char *)one.data);
	service_conf_dump(second, &two);
	assert_string_equal((const char *)one.data, (const char *)two.data);
	buf_done(&one);
	buf_done(&two);
	service_conf_unref(first);
	service_conf_unref(second);
}

static void each_fault_is_told(void **state)
{
	static const struct {
		const char *text, *told;
	} rows[] = {
		{"", "names"},
		{"[service]\nnames = a\nlisten = :1\n", "listen"},
		{"[service]\nnames = a\nsignin_listen = example\n", "signin_listen: \"example\" has no port"},
		{"[service]\nnames = a\nsignin_listen = :70000\n", "signin_listen"},
		{"[service]\nnames = a\nsignin_listen = :8444\n", "the same address"},
		{"[service]\nnames = a\nmetrics_listen = 0.0.0.0:9443\n", "not a loopback address"},
		{"[service]\nnames = a\nmetrics_listen = 127.0.0.1\n", "not a loopback address"},
		{"[service]\nnames = a\ntls_cert = /a\n", "tls_cert and tls_key go together"},
		{"[service]\nnames = a\nstate_dir = here\n", "not an absolute path"},
		{"[service]\nnames = a\ncontrol_socket = here\n", "control_socket"},
		{"[service]\nnames = a\nagent_url = http://a\n", "https://"},
		{"[service]\nnames = a/b\n", "names: \"a/b\""},
		{"[service]\nnames = a\ndeadline = 0s\n", "deadline"},
		{"[service]\nnames = a\n[log]\nlevel = loud\n", "level"},
		{"[agent]\n", "agent"},
	};
	struct service_conf *conf = NULL;
	char errors[2048];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		if (load(rows[i].text, &conf, errors, sizeof(errors)) == 0)
			fail_msg("accepted: %s", rows[i].text);
		if (!strstr(errors, rows[i].told))
			fail_msg("\"%s\" does not tell \"%s\"", errors, rows[i].told);
	}
	assert_null(conf);
}

static void all_faults_come_in_one_pass(void **state)
{
	struct service_conf *conf = NULL;
	char errors[2048];

	(void)state;
	assert_int_not_equal(load("[service]\nnames = a\nsignin_listen = x\nagent_listen = y\ntls_key = /k\n", &conf, errors, sizeof(errors)), 0);
	assert_non_null(strstr(errors, "signin_listen"));
	assert_non_null(strstr(errors, "agent_listen"));
	assert_non_null(strstr(errors, "tls_key"));
}

static void a_running_daemon_keeps_its_addresses_and_takes_the_rest(void **state)
{
	static const struct {
		const char *line, *refused;
	} rows[] = {
		{"deadline = 3s", NULL},
		{"names = b", NULL},
		{"queue_limit = 5", NULL},
		{"tls_cert = /c\ntls_key = /k", NULL},
		{"signin_listen = :1", "signin_listen"},
		{"agent_listen = :1", "agent_listen"},
		{"state_dir = /other", "state_dir"},
		{"user = nobody", "user"},
		{"control_socket = /other", "control_socket"},
		{"metrics_listen = [::1]:1", "metrics_listen"},
		{"threads = 200", "threads"},
		{"max_connections = 99", "limits"},
	};
	struct service_conf *current = load_good("[service]\nnames = a\n");

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct service_conf *next;
		struct err err = {0};
		char text[256];
		int r;

		snprintf(text, sizeof(text), "[service]\n%s%s\n", strncmp(rows[i].line, "names", 5) ? "names = a\n" : "", rows[i].line);
		next = load_good(text);
		r = service_conf_may_follow(current, next, &err);
		if (rows[i].refused ? r == 0 || !strstr(err.text, rows[i].refused) : r != 0)
			fail_msg("%s: %d %s", rows[i].line, r, err.text);
		service_conf_unref(next);
	}
	service_conf_unref(current);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_filled_in),
		cmocka_unit_test(what_is_dumped_loads_to_the_same),
		cmocka_unit_test(each_fault_is_told),
		cmocka_unit_test(all_faults_come_in_one_pass),
		cmocka_unit_test(a_running_daemon_keeps_its_addresses_and_takes_the_rest),
	};
	int fd = mkstemp(path), failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
