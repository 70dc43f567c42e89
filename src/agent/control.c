#include "agent/control.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/httpd.h"
#include "base/log_route.h"
#include "base/metrics.h"

#define STATUS_LIMIT (1u << 20)
#define METRICS_LIMIT (4u << 20)

struct control {
	struct agent *agent;
	struct httpd *socket, *metrics;
	char *path;
	bool draining;
};

/* Answers itself when the peer is neither root nor the daemon's own user, or the agent is on its way out. */
static bool allowed(const struct control *control, struct httpd_request *request)
{
	uid_t uid;
	pid_t pid;

	if (httpd_peer_ids(request, &uid, &pid) == 0 && (uid == 0 || uid == geteuid())) {
		if (!control->draining)
			return true;
		httpd_reply_error(request, 503, "stopping", NULL, "the agent is stopping");
		return false;
	}
	httpd_reply_error(request, 403, "forbidden", NULL, "only root and the agent's own user may ask here");
	return false;
}

static void get_status(struct httpd_request *request, void *arg)
{
	struct buf out = BUF_INIT(STATUS_LIMIT);
	struct control *control = arg;

	if (!allowed(control, request))
		return;
	agent_status(control->agent, &out);
	if (buf_ok(&out))
		httpd_reply(request, 200, out.data, out.len);
	else
		httpd_reply_error(request, 500, "out_of_memory", NULL, "out of memory");
	buf_done(&out);
}

static void post_renew(struct httpd_request *request, void *arg)
{
	struct control *control = arg;

	if (!allowed(control, request))
		return;
	agent_renew(control->agent);
	httpd_reply(request, 202, "{}", 2);
}

static void post_log(struct httpd_request *request, void *arg)
{
	if (allowed(arg, request))
		log_route_set_level(request);
}

static void get_metrics(struct httpd_request *request, void *arg)
{
	struct buf out = BUF_INIT(METRICS_LIMIT);
	struct control *control = arg;

	/* While it drains, what some numbers are asked of goes: they stay as they were. */
	if (control->draining)
		metrics_render(&out);
	else
		agent_metrics(control->agent, &out);
	if (buf_ok(&out))
		httpd_reply_type(request, 200, "text/plain; version=0.0.4", out.data, out.len);
	else
		httpd_reply_error(request, 500, "out_of_memory", NULL, "out of memory");
	buf_done(&out);
}

static void get_live(struct httpd_request *request, void *arg)
{
	struct control *control = arg;

	if (agent_alive(control->agent))
		httpd_reply(request, 200, "{}", 2);
	else
		httpd_reply_error(request, 503, "hung", NULL, "the queue thread does not turn");
}

static void get_ready(struct httpd_request *request, void *arg)
{
	struct control *control = arg;
	char why[128] = "the agent is stopping";

	if (!control->draining && agent_ready(control->agent, why))
		httpd_reply(request, 200, "{}", 2);
	else
		httpd_reply_error(request, 503, "not_ready", NULL, "%s", why);
}

static const struct httpd_route socket_routes[] = {
	{.method = "GET", .path = "/v1/status", .handler = get_status},
	{.method = "POST", .path = "/v1/renew", .handler = post_renew, .max_body = 64},
	{.method = "POST", .path = LOG_ROUTE_PATH, .handler = post_log, .max_body = LOG_ROUTE_BODY},
	{.method = "GET", .path = "/metrics", .handler = get_metrics},
	{.method = "GET", .path = "/live", .handler = get_live},
	{.method = "GET", .path = "/ready", .handler = get_ready},
	{.method = NULL},
};

static const struct httpd_route metrics_routes[] = {
	{.method = "GET", .path = "/metrics", .handler = get_metrics},
	{.method = "GET", .path = "/live", .handler = get_live},
	{.method = "GET", .path = "/ready", .handler = get_ready},
	{.method = NULL},
};

int control_new(struct event_base *base, const struct agent_conf *conf, struct agent *agent, struct control **out, struct err *err)
{
	struct control *control = calloc(1, sizeof(*control));
	struct httpd_conf listener = {
		.unix_mode = 0660,
		.unix_gid = (gid_t)-1,
		.routes = socket_routes,
		.arg = control,
		.max_connections = 32,
		.max_per_address = 32,
		.request_timeout_ms = 5000,
		.idle_timeout_ms = 30000,
	};
	char address[PATH_MAX];
	int r = 0;

	if (!control)
		return err_set(err, -PTA_ENOMEM, "out of memory");
	control->agent = agent;
	control->path = strdup(conf->agent.control_socket);
	if (!control->path)
		r = err_set(err, -PTA_ENOMEM, "out of memory");
	snprintf(address, sizeof(address), "unix:%s", conf->agent.control_socket);
	listener.address = address;
	if (r == 0)
		r = httpd_new(base, &listener, &control->socket, err);
	if (r == 0 && conf->agent.metrics_listen) {
		listener.address = conf->agent.metrics_listen;
		listener.routes = metrics_routes;
		r = httpd_new(base, &listener, &control->metrics, err);
	}
	if (r < 0) {
		control_free(control);
		return r;
	}
	*out = control;
	return 0;
}

void control_draining(struct control *control)
{
	control->draining = true;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	if (control->metrics)
		httpd_free(control->metrics);
	if (control->socket)
		httpd_free(control->socket);
	free(control->path);
	free(control);
}
