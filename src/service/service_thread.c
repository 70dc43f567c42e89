#include "service/service_thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "service/admin.h"
#include "service/agent_routes.h"
#include "service/routes.h"
#include "service/signin.h"

#define TICK_S 5
#define REQUEST_TIMEOUT_MS 10000
#define IDLE_TIMEOUT_MS 120000
#define LEAVE_CHECK_MS 20
#define CONTROL_CONNECTIONS 64

/* ---- what other threads send ---- */

static void port_readable(evutil_socket_t fd, short what, void *arg)
{
	struct service_thread *thread = arg;

	(void)fd;
	(void)what;
	dispatch_port_run(thread->port);
}

/* At the end of the turn: it has been put behind all that the turn has found to do. */
static void hand_out(evutil_socket_t fd, short what, void *arg)
{
	struct service_thread *thread = arg;

	(void)fd;
	(void)what;
	dispatch_port_hand_out(thread->port);
}

static void submitted(void *arg)
{
	struct service_thread *thread = arg;

	event_active(thread->handout_event, EV_TIMEOUT, 0);
}

static const struct dispatch_port_ops port_ops = {.submitted = submitted, .finished = signin_finished, .answer = agent_poll_answer};

static void tasks_readable(evutil_socket_t fd, short what, void *arg)
{
	struct service_thread *thread = arg;
	struct mail *next;

	(void)fd;
	(void)what;
	for (struct mail *mail = mailbox_take(thread->tasks); mail; mail = next) {
		struct service_task *task = MAIL_CONTAINER(mail, struct service_task, mail);

		next = mail->next;
		task->run(thread, task);
	}
}

/* Tells the dispatcher of agents that were disabled, enabled or revoked. Whichever thread hears of a change first does it. */
static void apply_registry(struct service_thread *thread)
{
	struct service *service = thread->service;
	const struct registry_snapshot *snapshot = service_snapshot(thread);
	const struct registry_agent *agent;
	uint64_t applied = atomic_load(&service->registry_applied);

	do {
		if (applied >= thread->generation)
			return;
	} while (!atomic_compare_exchange_weak(&service->registry_applied, &applied, thread->generation));
	for (size_t i = 0; (agent = registry_agent_at(snapshot, i)); i++)
		dispatch_agent_state(service->dispatch, thread->port, agent->id, agent->state);
}

static void run_replies(struct service_thread *thread)
{
	struct mail *next;

	for (struct mail *mail = mailbox_take(thread->replies); mail; mail = next) {
		struct registry_call *call = MAIL_CONTAINER(mail, struct registry_call, mail);
		struct service_call *mine = MAIL_CONTAINER(call, struct service_call, call);

		next = mail->next;
		if (thread->service->registry) /* not while all is being closed */
			apply_registry(thread);
		mine->done(mine);
	}
}

static void replies_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run_replies(arg);
}

void service_thread_drain_mail(struct service_thread *thread)
{
	run_replies(thread);
	dispatch_port_hand_out(thread->port);
	dispatch_port_run(thread->port);
}

void service_call_submit(struct service_thread *thread, struct service_call *call)
{
	call->thread = thread;
	call->call.reply = thread->replies;
	registry_submit(thread->service->registry, &call->call);
}

void service_task_post(struct service_thread *thread, struct service_task *task)
{
	mailbox_post(thread->tasks, &task->mail);
}

const struct registry_snapshot *service_snapshot(struct service_thread *thread)
{
	struct registry *registry = thread->service->registry;
	uint64_t generation = registry_generation(registry);

	if (!thread->snapshot || generation != thread->generation) {
		registry_release(thread->snapshot);
		thread->snapshot = registry_acquire(registry);
		thread->generation = generation;
	}
	return thread->snapshot;
}

/* ---- timers ---- */

static void arm(struct service_thread *thread)
{
	uint64_t now = clock_mono_us(), wait = thread->due_us > now ? thread->due_us - now : 0;
	const struct timeval tv = {.tv_sec = (time_t)(wait / 1000000), .tv_usec = (suseconds_t)(wait % 1000000)};

	event_add(thread->due_event, &tv);
}

static void due(evutil_socket_t fd, short what, void *arg)
{
	struct service_thread *thread = arg;

	(void)fd;
	(void)what;
	thread->due_us = UINT64_MAX;
	dispatch_port_expire(thread->port);
	service_due(thread, dispatch_port_due(thread->port));
}

void service_due(struct service_thread *thread, uint64_t when_us)
{
	if (when_us >= thread->due_us)
		return;
	thread->due_us = when_us;
	arm(thread);
}

static void tick(evutil_socket_t fd, short what, void *arg)
{
	struct service_thread *thread = arg;

	(void)fd;
	(void)what;
	sealer_prune(thread->sealer, thread->service->dispatch);
	if (thread->index == 0) {
		dispatch_tick(thread->service->dispatch, thread->port);
		log_tick();
	}
}

static void leave_check(evutil_socket_t fd, short what, void *arg)
{
	struct service_thread *thread = arg;

	(void)fd;
	(void)what;
	if ((!httpd_connections(thread->signin) && !httpd_connections(thread->agent)) || clock_mono_us() >= thread->leave_us)
		event_base_loopbreak(thread->base);
}

void service_thread_leave(struct service_thread *thread, unsigned ms)
{
	const struct timeval tv = {.tv_usec = LEAVE_CHECK_MS * 1000};

	httpd_drain(thread->signin);
	httpd_drain(thread->agent);
	thread->leave_us = clock_mono_us() + ms * 1000ull;
	event_add(thread->leave_event, &tv);
}

/* ---- life ---- */

/* The other threads listen where thread 0 does, also when that left the port to the kernel (":0"). */
static void listen_address(char *out, size_t cap, const char *configured, const struct httpd *first)
{
	int host_len = (int)(strrchr(configured, ':') - configured);

	if (first)
		snprintf(out, cap, "%.*s:%u", host_len, configured, httpd_port(first));
	else
		snprintf(out, cap, "%s", configured);
}

static int open_public(struct service_thread *thread, SSL_CTX *signin, SSL_CTX *agent, struct err *err)
{
	const struct service_conf *conf = thread->conf;
	const struct service_thread *first = thread->index ? &thread->service->threads[0] : NULL;
	char address[1100];
	struct httpd_conf http = {
		.address = address,
		.arg = thread,
		.unix_gid = (gid_t)-1,
		/* Each thread has its share; the kernel divides the connections evenly. */
		.max_connections = (conf->max_connections + conf->threads - 1) / conf->threads,
		.max_per_address = conf->max_connections_per_address,
		.request_timeout_ms = REQUEST_TIMEOUT_MS,
		.idle_timeout_ms = IDLE_TIMEOUT_MS,
	};
	int r;

	listen_address(address, sizeof(address), conf->signin_listen, first ? first->signin : NULL);
	http.tls = signin;
	http.routes = routes_signin;
	r = httpd_new(thread->base, &http, &thread->signin, err);
	if (r < 0)
		return err_prefix(err, r, "signin_listen: ");
	listen_address(address, sizeof(address), conf->agent_listen, first ? first->agent : NULL);
	http.tls = agent;
	http.routes = routes_agent;
	r = httpd_new(thread->base, &http, &thread->agent, err);
	if (r < 0)
		return err_prefix(err, r, "agent_listen: ");
	return 0;
}

static int open_local(struct service_thread *thread, struct err *err)
{
	const struct service_conf *conf = thread->conf;
	char address[1100];
	struct httpd_conf http = {
		.address = address,
		.arg = thread,
		.unix_mode = 0660,
		.unix_gid = (gid_t)-1,
		.routes = admin_routes,
		.max_connections = CONTROL_CONNECTIONS,
		.max_per_address = CONTROL_CONNECTIONS,
		.request_timeout_ms = REQUEST_TIMEOUT_MS,
		.idle_timeout_ms = IDLE_TIMEOUT_MS,
	};
	int r;

	snprintf(address, sizeof(address), "unix:%s", conf->control_socket);
	r = httpd_new(thread->base, &http, &thread->control, err);
	if (r < 0)
		return err_prefix(err, r, "control_socket: ");
	if (!conf->metrics_listen)
		return 0;
	http.address = conf->metrics_listen;
	http.routes = routes_metrics;
	r = httpd_new(thread->base, &http, &thread->metrics, err);
	if (r < 0)
		return err_prefix(err, r, "metrics_listen: ");
	return 0;
}

/* Many replies turn events off and on again within one turn of the base: epoll hears only what has changed in the end. */
static struct event_base *base_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config && event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

static int make_parts(struct service_thread *thread, struct err *err)
{
	struct service *service = thread->service;

	thread->base = base_new();
	if (!thread->base || dispatch_port_new(service->dispatch, &port_ops, thread, &thread->port) < 0 || sealer_new(&thread->sealer) < 0 ||
		mailbox_new(&thread->tasks) < 0 || mailbox_new(&thread->replies) < 0)
		return err_set(err, -PTA_ENOMEM, "event thread %u: no memory or no file descriptors", thread->index);
	thread->port_event = event_new(thread->base, dispatch_port_fd(thread->port), EV_READ | EV_PERSIST, port_readable, thread);
	thread->handout_event = event_new(thread->base, -1, 0, hand_out, thread);
	thread->tasks_event = event_new(thread->base, mailbox_fd(thread->tasks), EV_READ | EV_PERSIST, tasks_readable, thread);
	thread->replies_event = event_new(thread->base, mailbox_fd(thread->replies), EV_READ | EV_PERSIST, replies_readable, thread);
	thread->due_event = evtimer_new(thread->base, due, thread);
	thread->tick_event = event_new(thread->base, -1, EV_PERSIST, tick, thread);
	thread->leave_event = event_new(thread->base, -1, EV_PERSIST, leave_check, thread);
	if (!thread->port_event || !thread->handout_event || !thread->tasks_event || !thread->replies_event || !thread->due_event || !thread->tick_event || !thread->leave_event)
		return err_set(err, -PTA_ENOMEM, "event thread %u: no memory", thread->index);
	return 0;
}

int service_thread_init(struct service_thread *thread, struct service *service, unsigned index, SSL_CTX *signin, SSL_CTX *agent, struct err *err)
{
	const struct timeval tick_every = {.tv_sec = TICK_S};
	int r;

	thread->service = service;
	thread->index = index;
	thread->conf = service_conf_ref(service->conf);
	thread->requests = MESSAGE_LIST(LIMIT_BATCH_BODY);
	thread->scratch = BUF_INIT(LIMIT_BATCH_BODY);
	thread->due_us = UINT64_MAX;
	r = make_parts(thread, err);
	if (r < 0)
		return r;
	r = open_public(thread, signin, agent, err);
	if (r < 0)
		return r;
	if (index == 0) {
		r = open_local(thread, err);
		if (r < 0)
			return r;
	}
	if (event_add(thread->port_event, NULL) < 0 || event_add(thread->tasks_event, NULL) < 0 || event_add(thread->replies_event, NULL) < 0 ||
		event_add(thread->tick_event, &tick_every) < 0)
		return err_set(err, -PTA_EIO, "event thread %u: its events could not be added", index);
	return 0;
}

void service_thread_run(struct service_thread *thread)
{
	event_base_dispatch(thread->base);
}

void service_thread_close(struct service_thread *thread)
{
	struct event *events[] = {thread->port_event, thread->handout_event, thread->tasks_event, thread->replies_event, thread->due_event, thread->tick_event, thread->leave_event};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(events); i++)
		if (events[i])
			event_del(events[i]);
	httpd_free(thread->signin);
	httpd_free(thread->agent);
	httpd_free(thread->control);
	httpd_free(thread->metrics);
	thread->signin = thread->agent = thread->control = thread->metrics = NULL;
	if (thread->base)
		event_base_loop(thread->base, EVLOOP_NONBLOCK); /* libevent frees connections in its next turn */
}

static void event_freep(struct event **event)
{
	if (*event)
		event_free(*event);
	*event = NULL;
}

void service_thread_free(struct service_thread *thread)
{
	struct event **events[] = {
		&thread->port_event, &thread->handout_event, &thread->tasks_event, &thread->replies_event, &thread->due_event, &thread->tick_event, &thread->leave_event};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(events); i++)
		event_freep(events[i]);
	dispatch_port_free(thread->port);
	sealer_free(thread->sealer);
	mailbox_free(thread->tasks);
	mailbox_free(thread->replies);
	message_list_done(&thread->requests);
	buf_done(&thread->scratch);
	registry_release(thread->snapshot);
	service_conf_unref(thread->conf);
	if (thread->base)
		event_base_free(thread->base);
}
