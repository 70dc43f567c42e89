/* The control socket of a real service in a process of its own, asked as the commands ask it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/control_client.h"
#include "base/file.h"
#include "base/json.h"
#include "service/commands.h"
#include "service/service.h"
#include "wire/token.h"

static char dir[64], conf_path[PATH_MAX], control_path[PATH_MAX];
static pid_t service_pid;
static int notify_fd;

static void in_dir(const char *name, char out[PATH_MAX])
{
	assert_int_equal(file_path(out, PATH_MAX, dir, name), 0);
}

static void write_conf(void)
{
	struct buf text = BUF_INIT(4096);
	const struct passwd *user = getpwuid(geteuid());
	struct err err;

	assert_non_null(user);
	buf_printf(&text,
		"[service]\nnames = localhost\nstate_dir = %s/state\ncontrol_socket = %s/control.sock\nsignin_listen = 127.0.0.1:0\n"
		"agent_listen = [::1]:0\nagent_url = https://localhost:8444\nthreads = 2\nuser = %s\n",
		dir, dir, user->pw_name);
	assert_int_equal(file_write_atomic(conf_path, text.data, text.len, 0600, (uid_t)-1, (gid_t)-1, &err), 0);
	buf_done(&text);
}

/* The service in a child; returns when it has said READY=1. */
static void start(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval patience = {.tv_sec = 60}; /* of one that never comes up */
	char said[512] = "";

	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
	assert_int_equal(bind(notify_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(setsockopt(notify_fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	fflush(NULL); /* not a second time by the child */
	service_pid = fork();
	assert_true(service_pid >= 0);
	if (service_pid == 0) {
		setenv("NOTIFY_SOCKET", address.sun_path, 1);
		exit(service_run(conf_path));
	}
	while (!strstr(said, "READY=1")) {
		ssize_t n = recv(notify_fd, said, sizeof(said) - 1, 0);

		assert_true(n >= 0);
		said[n] = '\0';
	}
}

static int set_up(void **state)
{
	struct init_options options = {.config = conf_path};

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_admin.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	in_dir("service.conf", conf_path);
	in_dir("control.sock", control_path);
	write_conf();
	assert_int_equal(command_init(&options, NULL, 0), CLI_OK);
	start();
	return 0;
}

static int tear_down(void **state)
{
	static const char *const files[] = {"state/ca.key", "state/ca.crt", "state/registry.db", "state/registry.db-wal", "state/registry.db-shm",
		"service.conf", "control.sock", "notify"};
	char path[PATH_MAX];
	int status;

	(void)state;
	assert_int_equal(kill(service_pid, SIGTERM), 0);
	assert_int_equal(waitpid(service_pid, &status, 0), service_pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), CLI_OK);
	close(notify_fd);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(files); i++) {
		in_dir(files[i], path);
		unlink(path);
	}
	in_dir("state", path);
	rmdir(path);
	return rmdir(dir);
}

/* The HTTP status; *doc is the answer. */
static int ask(const char *method, const char *path, const char *body, struct json **doc)
{
	struct buf answer = BUF_INIT(1u << 20);
	struct err err = {{0}};
	int status = 0;

	if (control_call(control_path, method, path, body, body ? strlen(body) : 0, 10000, &status, &answer, &err) < 0)
		fail_msg("%s %s: %s", method, path, err.text);
	assert_int_equal(json_parse(answer.data, answer.len, doc, &err), 0);
	buf_done(&answer);
	return status;
}

static void expect(const char *method, const char *path, const char *body, int status, const char *error)
{
	struct json *doc;
	int got = ask(method, path, body, &doc);

	if (got != status || (error && strcmp(command_text(json_root(doc), "error"), error) != 0))
		fail_msg("%s %s %s: %d %s", method, path, body ? body : "", got, command_text(json_root(doc), "error"));
	json_free(doc);
}

static size_t items(const char *path)
{
	struct json_fields f;
	struct json *doc;
	struct err err;
	size_t n;

	assert_int_equal(ask("GET", path, NULL, &doc), 200);
	json_fields_begin(&f, json_root(doc), &err);
	json_array(&f, "items", 1000, &n);
	assert_int_equal(json_fields_end(&f), 0);
	json_free(doc);
	return n;
}

static void domains_are_added_switched_and_removed(void **state)
{
	(void)state;
	assert_int_equal(items("/v1/domains"), 0);
	expect("POST", "/v1/domains",
		"{\"tenant\":\"default\",\"name\":\"corp.example.com\",\"group\":\"hq\",\"suffixes\":[\"example.com\"],\"netbios\":\"CORP\"}", 200, NULL);
	expect("POST", "/v1/domains", "{\"tenant\":\"default\",\"name\":\"corp.example.com\",\"group\":\"hq\"}", 409, "exists");
	expect("POST", "/v1/domains", "{\"tenant\":\"default\",\"name\":\"example.com\",\"group\":\"hq\"}", 409, "exists");
	expect("POST", "/v1/domains", "{\"tenant\":\"nobody\",\"name\":\"b.example.com\",\"group\":\"hq\"}", 404, "not_found");
	expect("POST", "/v1/domains", "{\"tenant\":\"default\",\"name\":\"a b\",\"group\":\"hq\"}", 400, "invalid");
	expect("POST", "/v1/domains", "{\"tenant\":\"default\",\"name\":\"b.example.com\",\"group\":\"hq\",\"suffixes\":[1]}", 400, "invalid");
	expect("POST", "/v1/domains", "{\"tenant\":\"default\",\"name\":\"b.example.com\"}", 400, "invalid");
	expect("POST", "/v1/domains", "{\"tenant\":\"default\",\"name\":\"b.example.com\",\"group\":\"hq\",\"color\":\"red\"}", 400, "invalid");
	expect("POST", "/v1/domains", "{\"tenant\":", 400, "invalid");
	assert_int_equal(items("/v1/domains"), 1);
	expect("POST", "/v1/domains/disable", "{\"tenant\":\"default\",\"name\":\"corp.example.com\"}", 200, NULL);
	expect("POST", "/v1/domains/enable", "{\"tenant\":\"default\",\"name\":\"corp.example.com\"}", 200, NULL);
	expect("POST", "/v1/domains/enable", "{\"tenant\":\"default\",\"name\":\"none.example.com\"}", 404, "not_found");
	expect("POST", "/v1/domains/remove", "{\"tenant\":\"default\",\"name\":\"corp.example.com\"}", 200, NULL);
	assert_int_equal(items("/v1/domains"), 0);
}

static void apps_get_a_key_once_and_lose_it_for_good(void **state)
{
	char body[128];
	struct json *doc;
	uint8_t hash[32];
	const char *key;

	(void)state;
	assert_int_equal(ask("POST", "/v1/apps", "{\"tenant\":\"default\",\"name\":\"portal\",\"details\":true}", &doc), 200);
	key = command_text(json_root(doc), "key");
	assert_int_equal(registry_app_key_hash(key, strlen(key), hash), 0);
	snprintf(body, sizeof(body), "{\"app\":\"%s\"}", command_text(json_root(doc), "id"));
	json_free(doc);
	expect("POST", "/v1/apps", "{\"tenant\":\"default\",\"name\":\"portal\"}", 409, "exists");
	expect("POST", "/v1/apps/revoke", body, 200, NULL);
	expect("POST", "/v1/apps/revoke", "{\"app\":\"app-none\"}", 404, "not_found");
	expect("POST", "/v1/apps", "{\"tenant\":\"default\",\"name\":\"portal\"}", 200, NULL);
	assert_int_equal(items("/v1/apps"), 2);
}

static void tokens_carry_the_ca_and_the_agents_url(void **state)
{
	struct token token;
	const char *text;
	struct json *doc;
	struct err err;

	(void)state;
	assert_int_equal(ask("POST", "/v1/tokens", "{\"tenant\":\"default\",\"group\":\"hq\"}", &doc), 200);
	text = command_text(json_root(doc), "token");
	assert_int_equal(token_decode(text, strlen(text), &token, &err), 0);
	assert_string_equal(token.service, "https://localhost:8444");
	assert_true(token.ca_der_len > 0);
	assert_string_equal(token.id, command_text(json_root(doc), "id"));
	json_free(doc);
	expect("POST", "/v1/tokens", "{\"tenant\":\"default\",\"group\":\"H Q\"}", 400, "invalid");
}

static void unknown_agents_are_said_to_be_unknown(void **state)
{
	(void)state;
	assert_int_equal(items("/v1/agents"), 0);
	expect("GET", "/v1/agents/show?agent=agent-none", NULL, 404, "not_found");
	expect("GET", "/v1/agents/show", NULL, 404, "not_found");
	expect("POST", "/v1/agents/disable", "{\"agent\":\"agent-none\"}", 404, "not_found");
	expect("POST", "/v1/agents/enable", "{\"agent\":\"agent-none\"}", 404, "not_found");
	expect("POST", "/v1/agents/revoke", "{\"agent\":\"agent-none\"}", 404, "not_found");
}

static void status_counts_what_there_is(void **state)
{
	struct json *doc;

	(void)state;
	assert_int_equal(ask("GET", "/v1/status", NULL, &doc), 200);
	assert_string_equal(command_text(json_root(doc), "version"), PACKAGE_VERSION);
	assert_string_equal(command_text(json_root(doc), "threads"), "2");
	assert_string_equal(command_text(json_root(doc), "agents_online"), "0");
	assert_string_equal(command_text(json_root(doc), "draining"), "no");
	json_free(doc);
}

static void signing_in_tells_the_details(void **state)
{
	struct json *doc;

	(void)state;
	assert_int_equal(ask("POST", "/v1/signin", "{\"tenant\":\"default\",\"username\":\"anna@nowhere.example.com\",\"password\":\"pw\"}", &doc), 503);
	assert_string_equal(command_text(json_root(doc), "verdict"), "unavailable");
	assert_string_equal(command_text(json_root(doc), "reason"), "not_configured");
	assert_non_null(command_member(json_root(doc), "details"));
	json_free(doc);
}

static void other_users_are_refused_even_when_they_can_open_the_socket(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0) /* only root can become another user; everything else here runs as anybody */
		return;
	assert_int_equal(chmod(control_path, 0666), 0);
	assert_int_equal(chmod(dir, 0755), 0);
	pid = fork();
	if (pid == 0) {
		struct buf answer = BUF_INIT(65536);
		struct err err;
		int code = 0;

		if (setgid(65534) || setuid(65534) || control_call(control_path, "GET", "/v1/status", NULL, 0, 10000, &code, &answer, &err) < 0)
			_exit(1);
		_exit(code == 403 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(domains_are_added_switched_and_removed),
		cmocka_unit_test(apps_get_a_key_once_and_lose_it_for_good),
		cmocka_unit_test(tokens_carry_the_ca_and_the_agents_url),
		cmocka_unit_test(unknown_agents_are_said_to_be_unknown),
		cmocka_unit_test(status_counts_what_there_is),
		cmocka_unit_test(signing_in_tells_the_details),
		cmocka_unit_test(other_users_are_refused_even_when_they_can_open_the_socket),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
