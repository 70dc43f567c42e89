#include "service/admin.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/log_route.h"
#include "base/secret.h"
#include "service/admin_impl.h"
#include "service/routes.h"
#include "service/signin.h"

#define CHANGE_BODY 32768
#define REPLY_LIMIT (4u << 20) /* what the commands take */

bool admin_allowed(struct httpd_request *request)
{
	uid_t uid;
	pid_t pid;

	if (httpd_peer_ids(request, &uid, &pid) == 0 && (uid == 0 || uid == geteuid()))
		return true;
	httpd_reply_error(request, 403, "not_permitted", NULL, "only root and the service's own user may use the control socket");
	return false;
}

void admin_reply(struct httpd_request *request, struct buf *body)
{
	if (buf_ok(body))
		httpd_reply(request, 200, body->data, body->len);
	else
		httpd_reply_error(request, 500, "too_big", NULL, "the answer is too long for one message");
}

void admin_reply_failed(struct httpd_request *request, int code, const char *field, const struct err *err)
{
	static const struct {
		int code, status;
		const char *word;
	} map[] = {
		{-PTA_EINVAL, 400, "invalid"},
		{-PTA_EPROTO, 400, "invalid"},
		{-PTA_EPERM, 409, "refused"},
		{-PTA_ENOENT, 404, "not_found"},
		{-PTA_EEXIST, 409, "exists"},
		{-PTA_EBUSY, 503, "busy"},
		{-PTA_ECLOSED, 503, "closing"},
	};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(map); i++) {
		if (map[i].code != code)
			continue;
		httpd_reply_error(request, map[i].status, map[i].word, field && *field ? field : NULL, "%s", err->text);
		return;
	}
	httpd_reply_error(request, 500, "failed", NULL, "%s", err->text);
}

void admin_put_time(struct json_writer *w, const char *key, uint64_t wall_ms)
{
	char text[CLOCK_RFC3339_LEN + 1];

	if (wall_ms)
		clock_rfc3339(wall_ms, text);
	json_put_string(w, key, wall_ms ? text : NULL);
}

static void domain_list(struct httpd_request *request, void *arg)
{
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(REPLY_LIMIT);
	const struct registry_snapshot *s = service_snapshot(arg);
	struct json_writer w = JSON_WRITER(&body);
	const struct registry_domain *domain;

	if (!admin_allowed(request))
		return;
	json_put_object(&w, NULL);
	json_put_array(&w, "items");
	for (size_t i = 0; (domain = registry_domain_at(s, i)); i++) {
		json_put_object(&w, NULL);
		json_put_string(&w, "name", domain->name);
		json_put_string(&w, "tenant", domain->tenant);
		json_put_string(&w, "group", domain->group);
		json_put_string(&w, "netbios", domain->netbios[0] ? domain->netbios : NULL);
		json_put_array(&w, "suffixes");
		for (size_t k = 0; k < domain->nsuffixes; k++)
			json_put_string(&w, NULL, domain->suffixes[k]);
		json_end_array(&w);
		json_put_bool(&w, "enabled", domain->enabled);
		admin_put_time(&w, "created", domain->created_ms);
		json_end_object(&w);
	}
	json_end_array(&w);
	json_end_object(&w);
	admin_reply(request, &body);
}

static void app_list(struct httpd_request *request, void *arg)
{
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(REPLY_LIMIT);
	const struct registry_snapshot *s = service_snapshot(arg);
	struct json_writer w = JSON_WRITER(&body);
	const struct registry_app *app;

	if (!admin_allowed(request))
		return;
	json_put_object(&w, NULL);
	json_put_array(&w, "items");
	for (size_t i = 0; (app = registry_app_at(s, i)); i++) {
		json_put_object(&w, NULL);
		json_put_string(&w, "id", app->id);
		json_put_string(&w, "name", app->name);
		json_put_string(&w, "tenant", app->tenant);
		json_put_bool(&w, "details", app->details);
		json_put_bool(&w, "revoked", app->revoked);
		admin_put_time(&w, "created", app->created_ms);
		json_end_object(&w);
	}
	json_end_array(&w);
	json_end_object(&w);
	admin_reply(request, &body);
}

static void put_registry(struct json_writer *w, const struct registry_snapshot *s)
{
	const struct registry_agent *agent;
	size_t domains = 0, apps = 0, agents = 0;

	while (registry_domain_at(s, domains))
		domains++;
	for (size_t i = 0; registry_app_at(s, i); i++)
		apps += !registry_app_at(s, i)->revoked;
	for (size_t i = 0; (agent = registry_agent_at(s, i)); i++)
		agents += agent->state != AGENT_REVOKED;
	json_put_uint(w, "domains", domains);
	json_put_uint(w, "apps", apps);
	json_put_uint(w, "agents", agents);
}

static void put_certificates(struct json_writer *w, const struct certificates *certificates)
{
	char expiring[128] = "";

	json_put_object(w, "certificates_until");
	for (int i = 0; i < CERTIFICATE_KINDS; i++) {
		size_t len = strlen(expiring);

		admin_put_time(w, certificate_names[i], certificates->of[i].until_ms);
		if (certificates->of[i].stage != EXPIRY_FAR)
			snprintf(expiring + len, sizeof(expiring) - len, "%s%s", len ? ", " : "", certificate_names[i]);
	}
	json_end_object(w);
	json_put_string(w, "certificates_expiring", expiring[0] ? expiring : NULL);
}

static void status(struct httpd_request *request, void *arg)
{
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(REPLY_LIMIT);
	struct service_thread *thread = arg;
	struct service *service = thread->service;
	struct json_writer w = JSON_WRITER(&body);
	struct dispatch_counts counts;

	if (!admin_allowed(request))
		return;
	dispatch_count(service->dispatch, &counts);
	json_put_object(&w, NULL);
	json_put_string(&w, "version", PACKAGE_VERSION);
	json_put_int(&w, "pid", getpid());
	admin_put_time(&w, "started", service->started_ms);
	json_put_bool(&w, "draining", service->draining);
	json_put_string(&w, "log_level", log_level_name(log_level()));
	json_put_uint(&w, "threads", service->nthreads);
	json_put_string(&w, "signin_listen", thread->conf->signin_listen);
	json_put_string(&w, "agent_listen", thread->conf->agent_listen);
	json_put_string(&w, "agent_url", thread->conf->agent_url);
	put_registry(&w, service_snapshot(thread));
	json_put_uint(&w, "agents_online", counts.agents_online);
	json_put_uint(&w, "polls", counts.polls);
	json_put_uint(&w, "waiting", counts.waiting);
	json_put_uint(&w, "handed", counts.handed);
	json_put_uint(&w, "submitted", counts.submitted);
	json_put_uint(&w, "handouts", counts.handouts);
	json_put_uint(&w, "rehandouts", counts.rehandouts);
	json_put_uint(&w, "lost", counts.lost);
	json_put_uint(&w, "secret_bytes", secret_arena_used());
	service_look_at_certificates(service);
	put_certificates(&w, &service->certificates);
	json_end_object(&w);
	admin_reply(request, &body);
}

static void signin(struct httpd_request *request, void *arg)
{
	if (admin_allowed(request))
		signin_handle_control(request, arg);
}

static void set_log_level(struct httpd_request *request, void *arg)
{
	(void)arg;
	if (admin_allowed(request))
		log_route_set_level(request);
}

static void metrics(struct httpd_request *request, void *arg)
{
	if (admin_allowed(request))
		route_metrics(request, arg);
}

const struct httpd_route admin_routes[] = {
	{.method = "GET", .path = "/metrics", .handler = metrics},
	{.method = "GET", .path = "/v1/status", .handler = status},
	{.method = "POST", .path = LOG_ROUTE_PATH, .handler = set_log_level, .max_body = LOG_ROUTE_BODY},
	{.method = "GET", .path = "/v1/domains", .handler = domain_list},
	{.method = "POST", .path = "/v1/domains", .handler = admin_domain_add, .max_body = CHANGE_BODY},
	{.method = "POST", .path = "/v1/domains/enable", .handler = admin_domain_enable, .max_body = CHANGE_BODY},
	{.method = "POST", .path = "/v1/domains/disable", .handler = admin_domain_disable, .max_body = CHANGE_BODY},
	{.method = "POST", .path = "/v1/domains/remove", .handler = admin_domain_remove, .max_body = CHANGE_BODY},
	{.method = "POST", .path = "/v1/tokens", .handler = admin_token_create, .max_body = CHANGE_BODY},
	{.method = "GET", .path = "/v1/apps", .handler = app_list},
	{.method = "POST", .path = "/v1/apps", .handler = admin_app_create, .max_body = CHANGE_BODY},
	{.method = "POST", .path = "/v1/apps/revoke", .handler = admin_app_revoke, .max_body = CHANGE_BODY},
	{.method = "GET", .path = "/v1/agents", .handler = admin_agent_list},
	{.method = "GET", .path = "/v1/agents/show", .handler = admin_agent_show},
	{.method = "POST", .path = "/v1/agents/enable", .handler = admin_agent_enable, .max_body = CHANGE_BODY},
	{.method = "POST", .path = "/v1/agents/disable", .handler = admin_agent_disable, .max_body = CHANGE_BODY},
	{.method = "POST", .path = "/v1/agents/revoke", .handler = admin_agent_revoke, .max_body = CHANGE_BODY},
	{.method = "POST", .path = "/v1/signin", .handler = signin, .max_body = LIMIT_SIGNIN_BODY},
	{.method = NULL},
};
