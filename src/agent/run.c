/* `pta-agent run`: start, main loop, signals, reload, end. Main thread. */
#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/commands.h"
#include "agent/control.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sdnotify.h"
#include "base/secret.h"

#define DRAIN_MS 14000 /* within the 15 s that SIGTERM may take */
#define TICK_MS 1000

struct run {
	const char *conf_path;
	struct agent_conf *conf;
	struct identity_dir dir;
	struct event_base *base;
	struct event *on_term, *on_int, *on_hup, *on_tick, *on_watchdog;
	struct agent *agent;
	struct control *control;
	pthread_t drain;
	bool stopping;
	char told[200]; /* systemd's newest STATUS */
};

/* root only opens files; the daemon works as the configured user. */
static int become_user(const struct agent_conf *conf, struct err *err)
{
	uid_t uid;
	gid_t gid;
	int r;

	if (geteuid() != 0 || !conf->agent.user)
		return 0;
	r = file_user_ids(conf->agent.user, &uid, &gid, err);
	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		return err_set_errno(err, -PTA_EPERM, errno, "become user %s", conf->agent.user);
	return 0;
}

/* The control socket's folder; under systemd RuntimeDirectory= has made it. */
static int make_runtime_dir(const struct run *run, struct err *err)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", run->conf->agent.control_socket);
	slash = strrchr(dir, '/');
	if (slash == dir)
		return 0;
	*slash = '\0';
	if (mkdir(dir, 0755) < 0) {
		if (errno == EEXIST)
			return 0;
		return err_set_errno(err, -PTA_EIO, errno, "make the folder %s of the control socket", dir);
	}
	if (run->dir.uid != (uid_t)-1 && chown(dir, run->dir.uid, run->dir.gid) < 0)
		return err_set_errno(err, -PTA_EIO, errno, "give %s to the agent's user", dir);
	return 0;
}

/* Draining blocks: meanwhile the main thread still answers /ready and /live. */
static void *drain_thread(void *arg)
{
	struct run *run = arg;

	agent_drain(run->agent, clock_mono_us() + DRAIN_MS * 1000ull);
	event_base_loopbreak(run->base);
	return NULL;
}

static void on_stop(evutil_socket_t signal_number, short what, void *arg)
{
	struct run *run = arg;
	int r;

	(void)what;
	if (run->stopping)
		return;
	log_event(LOG_NOTICE, "agent.stopping", F_STR("signal", signal_number == SIGINT ? "INT" : "TERM"));
	sdnotify_stopping();
	control_draining(run->control);
	run->stopping = true;
	r = pthread_create(&run->drain, NULL, drain_thread, run);
	if (r == 0)
		return;
	log_event(LOG_ERR, "agent.no_drain_thread", F_STR("error", "no thread to drain on: the main thread does it"));
	agent_drain(run->agent, clock_mono_us() + DRAIN_MS * 1000ull);
	run->stopping = false;
	event_base_loopbreak(run->base);
}

/* All of it or nothing: whatever is wrong, the agent goes on as it is. */
static int reload(struct run *run, struct err *err)
{
	struct agent_conf *next PTA_CLEANUP(agent_conf_unrefp) = NULL;
	struct identity *identity = NULL;
	struct conf_errors errors;
	int r;

	conf_errors_init(&errors);
	r = agent_conf_load(run->conf_path, &next, &errors);
	if (r < 0) /* without the last line's end */
		err_set(err, r, "%.*s", buf_ok(&errors.text) && errors.text.len ? (int)errors.text.len - 1 : 0, errors.text.len ? (const char *)errors.text.data : "");
	conf_errors_done(&errors);
	if (r == 0)
		r = agent_conf_check_reload(run->conf, next, err);
	if (r == 0)
		r = identity_load(&run->dir, &identity, err);
	if (r == 0)
		r = agent_reload(run->agent, next, identity, err);
	if (r < 0)
		return r;
	agent_conf_unref(run->conf);
	run->conf = agent_conf_ref(next);
	run->dir.path = run->conf->agent.state_dir; /* it was the old one's */
	return 0;
}

static void on_reload(evutil_socket_t signal_number, short what, void *arg)
{
	struct run *run = arg;
	struct err err;

	(void)signal_number;
	(void)what;
	if (run->stopping)
		return;
	sdnotify_reloading();
	if (reload(run, &err) < 0)
		log_event(LOG_ERR, "config.refused", F_STR("file", run->conf_path), F_STR("error", err.text));
	else
		log_event(LOG_NOTICE, "config.reloaded", F_STR("file", run->conf_path));
	/* After a rotation as well, whatever the file says. */
	log_open(&run->conf->log);
	sdnotify_ready();
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;
	char text[200];

	(void)fd;
	(void)what;
	if (run->stopping)
		return;
	agent_tick(run->agent);
	log_tick();
	agent_summary(run->agent, text, sizeof(text));
	if (strcmp(text, run->told) == 0)
		return;
	memcpy(run->told, text, sizeof(run->told));
	sdnotify_status("%s", text);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct run *run = arg;

	(void)fd;
	(void)what;
	if (agent_alive(run->agent))
		sdnotify_watchdog();
	else
		log_event(LOG_CRIT, "agent.hung", F_STR("error", "the queue thread does not turn: leaving the watchdog to restart the agent"));
}

static struct event *add_event(struct run *run, int fd, short what, event_callback_fn fn, unsigned every_ms)
{
	struct timeval every = {.tv_sec = every_ms / 1000, .tv_usec = (every_ms % 1000) * 1000};
	struct event *event = event_new(run->base, fd, what | EV_PERSIST, fn, run);

	if (event && event_add(event, every_ms ? &every : NULL) < 0) {
		event_free(event);
		return NULL;
	}
	return event;
}

static int open_events(struct run *run, struct err *err)
{
	uint32_t watchdog_ms = sdnotify_watchdog_ms();

	/* The drain thread wakes the loop. */
	if (evthread_use_pthreads() == 0)
		run->base = event_base_new();
	if (!run->base)
		return err_set(err, -PTA_ENOMEM, "libevent does not start");
	run->on_term = add_event(run, SIGTERM, EV_SIGNAL, on_stop, 0);
	run->on_int = add_event(run, SIGINT, EV_SIGNAL, on_stop, 0);
	run->on_hup = add_event(run, SIGHUP, EV_SIGNAL, on_reload, 0);
	run->on_tick = add_event(run, -1, 0, on_tick, TICK_MS);
	if (watchdog_ms)
		run->on_watchdog = add_event(run, -1, 0, on_watchdog, watchdog_ms);
	if (!run->on_term || !run->on_int || !run->on_hup || !run->on_tick || (watchdog_ms && !run->on_watchdog))
		return err_set(err, -PTA_ENOMEM, "libevent takes no events");
	return 0;
}

static int start(struct run *run, struct err *err)
{
	struct identity *identity = NULL;
	int r = command_load_identity(run->conf, &run->dir, &identity, err);

	if (r == 0)
		r = make_runtime_dir(run, err);
	if (r == 0)
		r = become_user(run->conf, err);
	if (r == 0)
		log_open(&run->conf->log); /* the audit file is the user's, who opens it again after each rotation */
	if (r == 0)
		r = secret_arena_init(SECRET_ARENA_BYTES, err); /* after setuid, which would make the process dumpable again */
	if (r == 0)
		r = open_events(run, err);
	if (r < 0) {
		identity_free(identity);
		return r;
	}
	r = agent_new(run->conf, identity, &run->dir, &run->agent, err);
	return r < 0 ? r : control_new(run->base, run->conf, run->agent, &run->control, err);
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

static void stop(struct run *run)
{
	if (run->stopping)
		pthread_join(run->drain, NULL);
	else if (run->agent)
		agent_drain(run->agent, 0);
	control_free(run->control);
	agent_free(run->agent);
	free_event(run->on_term);
	free_event(run->on_int);
	free_event(run->on_hup);
	free_event(run->on_tick);
	free_event(run->on_watchdog);
	if (run->base) {
		event_base_loop(run->base, EVLOOP_NONBLOCK); /* libevent frees connections on its next turn */
		event_base_free(run->base);
	}
	agent_conf_unref(run->conf);
}

static int dump(const struct agent_conf *conf)
{
	struct buf out = BUF_INIT(1u << 20);
	bool good;

	agent_conf_dump(conf, &out);
	good = buf_ok(&out) && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
	buf_done(&out);
	return good ? CLI_OK : cli_fail(PROGRAM, CLI_FAILED, "the configuration could not be written");
}

int command_run(void *options, char **args, int nargs)
{
	const struct run_options *o = options;
	struct run run = {.conf_path = o->config ? o->config : AGENT_CONF_PATH};
	struct err err;
	int r;

	(void)args;
	(void)nargs;
	r = command_load_conf(o->config, &run.conf);
	if (r != CLI_OK)
		return r;
	if (o->check_config || o->dump_config) {
		r = o->dump_config ? dump(run.conf) : CLI_OK;
		agent_conf_unref(run.conf);
		return r;
	}
	sdnotify_init();
	log_init(PROGRAM, LOG_INFO);
	log_configure(&run.conf->log);
	signal(SIGPIPE, SIG_IGN);
	r = start(&run, &err);
	if (r < 0) {
		log_event(LOG_ERR, "agent.failed", F_STR("error", err.text));
		stop(&run);
		return r == -PTA_ENOENT ? CLI_CONFIG : command_exit(r);
	}
	log_event(LOG_NOTICE, "agent.started", F_STR("version", PACKAGE_VERSION), F_UINT("directories", run.conf->ndirectories));
	sdnotify_ready();
	event_base_dispatch(run.base);
	stop(&run);
	log_event(LOG_NOTICE, "agent.stopped", F_STR("version", PACKAGE_VERSION));
	return CLI_OK;
}
