#include "service/routes.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "service/agent_routes.h"
#include "service/enroll.h"
#include "service/service.h"
#include "service/service_metrics.h"
#include "service/signin.h"

#define METRICS_MAX (4u << 20)

const struct httpd_route routes_signin[] = {
	{"POST", "/v1/signin", signin_handle, LIMIT_SIGNIN_BODY},
	{"GET", "/live", route_live, 0},
	{"GET", "/ready", route_ready, 0},
	{0},
};

const struct httpd_route routes_agent[] = {
	{"POST", "/v1/agent/poll", agent_route_poll, LIMIT_POLL_BODY, MESSAGE_POLL_TYPE},
	{"POST", "/v1/agent/keys", agent_route_keys, LIMIT_KEY_BODY},
	{"POST", "/v1/agent/register", enroll_route_register, LIMIT_CSR + LIMIT_TOKEN},
	{"POST", "/v1/agent/renew", enroll_route_renew, LIMIT_CSR + LIMIT_TOKEN},
	{"GET", "/live", route_live, 0},
	{"GET", "/ready", route_ready, 0},
	{0},
};

const struct httpd_route routes_metrics[] = {
	{"GET", "/metrics", route_metrics, 0},
	{"GET", "/live", route_live, 0},
	{"GET", "/ready", route_ready, 0},
	{0},
};

void routes_put_time(struct httpd_request *request)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, clock_wall_ms());
	httpd_reply_header(request, MESSAGE_TIME_HEADER, text);
}

void route_live(struct httpd_request *request, void *arg)
{
	(void)arg;
	routes_put_time(request);
	httpd_reply(request, 200, "{\"live\":true}", 13);
}

void route_ready(struct httpd_request *request, void *arg)
{
	struct service_thread *thread = arg;

	routes_put_time(request);
	if (atomic_load(&thread->service->draining))
		httpd_reply(request, 503, "{\"ready\":false,\"why\":\"draining\"}", 32);
	else
		httpd_reply(request, 200, "{\"ready\":true}", 14);
}

void route_metrics(struct httpd_request *request, void *arg)
{
	struct service_thread *thread = arg;
	struct buf out = BUF_INIT(METRICS_MAX);

	service_look_at_certificates(thread->service); /* metrics are thread 0's */
	service_metrics_render(thread->service->dispatch, &thread->service->certificates, &out);
	if (buf_ok(&out))
		httpd_reply_type(request, 200, "text/plain; version=0.0.4", out.data, out.len);
	else
		httpd_reply_error(request, 503, "no_memory", NULL, "there is no memory for the metrics");
	buf_done(&out);
}
