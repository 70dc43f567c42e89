/* The daemon's control socket, asked as the commands ask it. */
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

#include "agent/control.h"
#include "agent_peer.h"
#include "base/clock.h"
#include "base/control_client.h"
#include "base/json.h"
#include "base/log.h"

struct fixture {
	struct peer *peer;
	struct agent_conf *conf;
	struct agent *agent;
	struct event_base *base;
	struct control *control;
	pthread_t thread;
	char socket[128];
};

static void *loop(void *arg)
{
	event_base_loop(arg, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

/* The base belongs to its thread: what touches the control runs there. */
static void on_draining(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	control_draining(arg);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;

	log_set_level(LOG_EMERG);
	f->peer = peer_new();
	snprintf(f->socket, sizeof(f->socket), "%s/control.sock", f->peer->dir);
	f->conf = peer_conf(f->peer, "");
	free(f->conf->agent.control_socket);
	f->conf->agent.control_socket = strdup(f->socket);
	if (agent_new(f->conf, peer_identity(f->peer), &f->peer->identity_dir, &f->agent, &err) < 0)
		fail_msg("%s", err.text);
	f->base = event_base_new();
	if (control_new(f->base, f->conf, f->agent, &f->control, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(pthread_create(&f->thread, NULL, loop, f->base), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	const struct timeval now = {0};
	struct fixture *f = *state;

	event_base_once(f->base, -1, EV_TIMEOUT, on_end, f->base, &now);
	pthread_join(f->thread, NULL);
	control_free(f->control);
	event_base_loop(f->base, EVLOOP_NONBLOCK);
	event_base_free(f->base);
	assert_int_not_equal(access(f->socket, F_OK), 0); /* nothing is left behind */
	agent_drain(f->agent, clock_mono_us() + 5000000);
	agent_free(f->agent);
	agent_conf_unref(f->conf);
	peer_free(f->peer);
	free(f);
	return 0;
}

/* The answer's status; its body in *out. */
static int ask(struct fixture *f, const char *method, const char *path, struct buf *out)
{
	struct err err;
	int status;

	buf_reset(out);
	if (control_call(f->socket, method, path, strcmp(method, "POST") == 0 ? "{}" : NULL, strcmp(method, "POST") == 0 ? 2 : 0, 10000, &status, out, &err) < 0)
		fail_msg("%s %s: %s", method, path, err.text);
	return status;
}

static void the_socket_is_for_owner_and_group_only(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->socket, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
}

static void status_and_metrics_are_told(void **state)
{
	struct fixture *f = *state;
	struct buf out = BUF_INIT(4u << 20);
	struct json *doc;

	assert_int_equal(ask(f, "GET", "/v1/status", &out), 200);
	assert_int_equal(json_parse(out.data, out.len, &doc, NULL), 0);
	json_free(doc);
	assert_non_null(strstr((const char *)out.data, "\"agent\":\"agent1\""));
	assert_int_equal(ask(f, "GET", "/metrics", &out), 200);
	assert_non_null(strstr((const char *)out.data, "pta_agent_verdicts_total"));
	assert_int_equal(ask(f, "GET", "/live", &out), 200);
	buf_done(&out);
}

static void renew_renews(void **state)
{
	struct fixture *f = *state;
	struct buf out = BUF_INIT(4u << 20);

	peer_wait(f->peer, "poll", 1);
	assert_int_equal(ask(f, "POST", "/v1/renew", &out), 202);
	peer_wait(f->peer, "renew", 1);
	buf_done(&out);
}

static void without_a_controller_it_is_not_ready_and_says_why(void **state)
{
	struct fixture *f = *state;
	struct buf out = BUF_INIT(65536);

	assert_int_equal(ask(f, "GET", "/ready", &out), 503);
	assert_true(strstr((const char *)out.data, "controller") || strstr((const char *)out.data, "service"));
	buf_done(&out);
}

static void on_the_way_out_it_only_says_so(void **state)
{
	const struct timeval now = {0};
	struct fixture *f = *state;
	struct buf out = BUF_INIT(65536);

	event_base_once(f->base, -1, EV_TIMEOUT, on_draining, f->control, &now);
	while (ask(f, "GET", "/ready", &out) != 503 || !strstr((const char *)out.data, "stopping"))
		;
	assert_int_equal(ask(f, "GET", "/v1/status", &out), 503);
	assert_int_equal(ask(f, "POST", "/v1/renew", &out), 503);
	assert_int_equal(ask(f, "GET", "/live", &out), 200);
	buf_done(&out);
}

#define WITH_CONTROL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_CONTROL(the_socket_is_for_owner_and_group_only),
		WITH_CONTROL(status_and_metrics_are_told),
		WITH_CONTROL(renew_renews),
		WITH_CONTROL(without_a_controller_it_is_not_ready_and_says_why),
		WITH_CONTROL(on_the_way_out_it_only_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
