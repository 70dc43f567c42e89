#include "service/service.h"

#include <errno.h>
#include <grp.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sdnotify.h"
#include "service/service_metrics.h"
#include "service/service_thread.h"

#define MAPPED_FROM_BYTES (256 << 10) /* pieces of memory that go back to the system when they are freed */
#define DRAIN_MS 12000 /* for requests that are open at SIGTERM, */
#define LEAVE_MS 2000  /* and then for their answers to leave */
#define DRAIN_CHECK_MS 20
#define OWN_DESCRIPTORS 256 /* registry, control socket, metrics, event threads */
#define LOOK_S 600 /* between two looks at the certificates */

/* ---- signals ---- */

static void on_hup(evutil_socket_t fd, short what, void *arg)
{
	struct service *service = arg;
	struct err err;

	(void)fd;
	(void)what;
	if (atomic_load(&service->draining))
		return;
	sdnotify_reloading();
	if (service_reload(service, &err) < 0)
		log_event(LOG_ERR, "service.reload_refused", F_STR("error", err.text));
	else
		log_event(LOG_NOTICE, "service.reloaded", F_STR("file", service->conf_path));
	/* After a rotation as well, whatever the file says. */
	log_open(&service->conf->log);
	sdnotify_ready();
}

struct stop {
	struct service *service;
	struct event *term, *interrupt, *hup, *check, *watchdog, *look;
	uint64_t until_us;
	struct service_task *tasks; /* two per thread: drain, leave */
};

static void drain_thread(struct service_thread *thread, struct service_task *task)
{
	(void)task;
	httpd_drain(thread->signin);
}

static void leave_thread(struct service_thread *thread, struct service_task *task)
{
	(void)task;
	service_thread_leave(thread, LEAVE_MS);
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval soon = {.tv_usec = DRAIN_CHECK_MS * 1000};
	struct stop *stop = arg;
	struct service *service = stop->service;

	(void)fd;
	(void)what;
	if (atomic_exchange(&service->draining, true))
		return;
	log_event(LOG_NOTICE, "service.stopping", F_STR("signal", fd == SIGTERM ? "TERM" : "INT"));
	sdnotify_stopping();
	for (unsigned i = 0; i < service->nthreads; i++)
		service_task_post(&service->threads[i], &stop->tasks[i]);
	stop->until_us = clock_mono_us() + DRAIN_MS * 1000ull;
	event_add(stop->check, &soon);
}

/* Agents go on fetching and answering until the last request is answered. */
static void drain_check(evutil_socket_t fd, short what, void *arg)
{
	struct stop *stop = arg;
	struct service *service = stop->service;
	struct dispatch_counts counts;

	(void)fd;
	(void)what;
	dispatch_count(service->dispatch, &counts);
	if (counts.waiting + counts.handed > 0 && clock_mono_us() < stop->until_us)
		return;
	event_del(stop->check);
	dispatch_close(service->dispatch, service->threads[0].port);
	for (unsigned i = 0; i < service->nthreads; i++)
		service_task_post(&service->threads[i], &stop->tasks[service->nthreads + i]);
}

void service_look_at_certificates(struct service *service)
{
	certificates_look(&service->certificates, service->ca, service_snapshot(&service->threads[0]));
}

/* The days of its thresholds may be hours. */
static void look_at_certificates(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	service_look_at_certificates(arg);
}

static void ping_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	sdnotify_watchdog();
}

static int stop_init(struct stop *stop, struct service *service, struct err *err)
{
	struct event_base *base = service->threads[0].base;
	uint32_t watchdog_ms = sdnotify_watchdog_ms();
	const struct timeval look = {.tv_sec = LOOK_S};
	const struct timeval watchdog = {.tv_sec = watchdog_ms / 1000, .tv_usec = watchdog_ms % 1000 * 1000};

	stop->service = service;
	stop->term = evsignal_new(base, SIGTERM, on_term, stop);
	stop->interrupt = evsignal_new(base, SIGINT, on_term, stop);
	stop->hup = evsignal_new(base, SIGHUP, on_hup, service);
	stop->check = event_new(base, -1, EV_PERSIST, drain_check, stop);
	stop->watchdog = event_new(base, -1, EV_PERSIST, ping_watchdog, NULL);
	stop->look = event_new(base, -1, EV_PERSIST, look_at_certificates, service);
	stop->tasks = calloc((size_t)service->nthreads * 2, sizeof(*stop->tasks));
	if (!stop->term || !stop->interrupt || !stop->hup || !stop->check || !stop->watchdog || !stop->look || !stop->tasks)
		return err_set(err, -PTA_ENOMEM, "no memory for the signals");
	for (unsigned i = 0; i < service->nthreads; i++) {
		stop->tasks[i].run = drain_thread;
		stop->tasks[service->nthreads + i].run = leave_thread;
	}
	if (event_add(stop->look, &look) < 0 || event_add(stop->term, NULL) < 0 || event_add(stop->interrupt, NULL) < 0 || event_add(stop->hup, NULL) < 0 ||
		(watchdog_ms && event_add(stop->watchdog, &watchdog) < 0))
		return err_set(err, -PTA_EIO, "the signals could not be set up");
	return 0;
}

static void stop_done(struct stop *stop)
{
	struct event *events[] = {stop->term, stop->interrupt, stop->hup, stop->check, stop->watchdog, stop->look};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(events); i++)
		if (events[i])
			event_free(events[i]);
	free(stop->tasks);
}

/* ---- start ---- */

/* The folder of the control socket, where nobody made it before (systemd does). */
static int make_run_dir(const struct service_conf *conf, uid_t uid, gid_t gid, struct err *err)
{
	char dir[1100];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", conf->control_socket);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = 0;
	if (access(dir, F_OK) == 0)
		return 0;
	return file_ensure_dir(dir, uid, gid, err);
}

/* Sockets are bound and key files are read by now. */
static int become_user(const struct service_conf *conf, uid_t uid, gid_t gid, struct err *err)
{
	if (initgroups(conf->user, gid) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		return err_set_errno(err, -PTA_EPERM, errno, "become user %s", conf->user);
	/* The kernel forgets it with the change of user. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_set_errno(err, -PTA_EIO, errno, "prctl(PR_SET_DUMPABLE)");
	return 0;
}

static int open_threads(struct service *service, struct err *err)
{
	SSL_CTX *signin PTA_CLEANUP(service_tls_freep) = NULL, *agent PTA_CLEANUP(service_tls_freep) = NULL;
	int r = service_tls(service, service->conf, &signin, &agent, err);

	if (r < 0)
		return r;
	certificates_listeners(&service->certificates, signin, agent);
	service->threads = calloc(service->conf->threads, sizeof(*service->threads));
	if (!service->threads)
		return err_set(err, -PTA_ENOMEM, "no memory for %u threads", service->conf->threads);
	for (unsigned i = 0; i < service->conf->threads; i++) {
		service->nthreads = i + 1;
		r = service_thread_init(&service->threads[i], service, i, signin, agent, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_parts(struct service *service, struct err *err)
{
	bool root = geteuid() == 0;
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char path[4096];
	int r;

	if (root) {
		r = file_user_ids(service->conf->user, &uid, &gid, err);
		if (r < 0)
			return r;
	}
	r = dispatch_new(service->conf->queue_limit, &service->dispatch);
	if (r < 0)
		return err_set(err, r, "no memory for the queue");
	r = ca_open(service->conf->state_dir, &service->ca, err);
	if (r < 0)
		return r;
	r = make_run_dir(service->conf, uid, gid, err);
	if (r < 0)
		return r;
	if (root && setegid(gid) < 0) /* of the control socket */
		return err_set_errno(err, -PTA_EPERM, errno, "take the group of user %s", service->conf->user);
	r = open_threads(service, err);
	if (r < 0)
		return r;
	if (root) {
		r = become_user(service->conf, uid, gid, err);
		if (r < 0)
			return r;
	}
	/* The audit file is the user's, who opens it again after each rotation. */
	log_open(&service->conf->log);
	r = service_conf_registry_path(service->conf, path, err);
	if (r < 0)
		return r;
	return registry_open(path, &service->registry, err);
}

static void *thread_main(void *arg)
{
	service_thread_run(arg);
	return NULL;
}

static unsigned start_threads(struct service *service)
{
	sigset_t all, before;
	unsigned started = 1;

	/* Thread 0 is the main thread, which alone takes signals. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (started < service->nthreads && pthread_create(&service->threads[started].id, NULL, thread_main, &service->threads[started]) == 0)
		started++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

static int run_threads(struct service *service, struct stop *stop, struct err *err)
{
	unsigned started = start_threads(service);

	if (started == service->nthreads) {
		service_look_at_certificates(service);
		log_event(LOG_NOTICE, "service.started", F_UINT("signin_port", httpd_port(service->threads[0].signin)),
			F_UINT("agent_port", httpd_port(service->threads[0].agent)), F_UINT("threads", service->nthreads));
		sdnotify_status("serving sign-ins at %s, agents at %s", service->conf->signin_listen, service->conf->agent_listen);
		sdnotify_ready();
		service_thread_run(&service->threads[0]);
	} else {
		for (unsigned i = 1; i < started; i++)
			service_task_post(&service->threads[i], &stop->tasks[service->nthreads + i]);
	}
	for (unsigned i = 1; i < started; i++)
		pthread_join(service->threads[i].id, NULL);
	if (started < service->nthreads)
		return err_set(err, -PTA_EIO, "event thread %u could not be started: are there too many threads?", started);
	return 0;
}

/* No thread runs any more. What they have sent each other is taken, what is still open is ended. */
static void close_parts(struct service *service)
{
	if (service->nthreads && service->threads[0].port)
		dispatch_close(service->dispatch, service->threads[0].port);
	for (unsigned i = 0; i < service->nthreads; i++)
		if (service->threads[i].port)
			dispatch_port_run(service->threads[i].port);
	for (unsigned i = 0; i < service->nthreads; i++)
		service_thread_close(&service->threads[i]);
	/* Its replies to calls of the threads come back here. */
	registry_close(service->registry);
	service->registry = NULL;
	for (unsigned i = 0; i < service->nthreads; i++)
		if (service->threads[i].replies)
			service_thread_drain_mail(&service->threads[i]);
	for (unsigned i = 0; i < service->nthreads; i++)
		service_thread_free(&service->threads[i]);
	free(service->threads);
	dispatch_free(service->dispatch);
	certificates_done(&service->certificates);
	ca_free(service->ca);
	service_conf_unref(service->conf);
}

/* All errors of the file, each on its line. */
static int load_first(const char *path, struct service_conf **out)
{
	struct conf_errors errors;
	int r;

	conf_errors_init(&errors);
	r = service_conf_load(path, out, &errors);
	if (r < 0)
		fputs(errors.count ? (const char *)errors.text.data : "pta-service: no memory\n", stderr);
	conf_errors_done(&errors);
	return r;
}

/* A connection is a descriptor. With too few it serves fewer. */
static void raise_descriptors(const struct service_conf *conf)
{
	struct err err;

	if (descriptors_raise(2 * (uint64_t)conf->max_connections + OWN_DESCRIPTORS, "max_connections", &err) < 0)
		log_event(LOG_WARNING, "service.few_descriptors", F_STR("error", err.text));
}

static int failed(int code, const struct err *err)
{
	log_event(LOG_ERR, "service.failed", F_STR("error", err->text));
	return code;
}

int service_run(const char *conf_path)
{
	struct service service = {.conf_path = conf_path, .started_ms = clock_wall_ms()};
	struct stop stop = {0};
	struct err err = {0};
	int code = CLI_OK;

	log_init("pta-service", LOG_INFO);
	sdnotify_init();
#ifdef M_MMAP_THRESHOLD
	/* Each change of the registry makes a new copy of it and drops an old one. glibc would learn from that to keep such pieces. */
	mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
#endif
	if (load_first(conf_path, &service.conf) < 0)
		return CLI_CONFIG;
	log_configure(&service.conf->log);
	raise_descriptors(service.conf);
	service_metrics_init();
	if (secret_arena_init(SECRET_ARENA_BYTES, &err) < 0 || open_parts(&service, &err) < 0 || stop_init(&stop, &service, &err) < 0 ||
		run_threads(&service, &stop, &err) < 0)
		code = failed(CLI_FAILED, &err);
	else
		log_event(LOG_NOTICE, "service.stopped", F_STR("file", conf_path));
	stop_done(&stop);
	close_parts(&service);
	return code;
}
