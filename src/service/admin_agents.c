/* Agents as the registry knows them, and what the dispatcher sees of them now. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/admin_impl.h"

#define REPLY_LIMIT (4u << 20)

struct reports {
	struct dispatch_agent_report *list; /* by agent */
	size_t n;
};

static int by_agent(const void *a, const void *b)
{
	return strcmp(((const struct dispatch_agent_report *)a)->agent, ((const struct dispatch_agent_report *)b)->agent);
}

static int reports_read(struct dispatch *d, struct reports *out)
{
	size_t room = dispatch_report(d, NULL, 0);

	*out = (struct reports){0};
	if (!room)
		return 0;
	out->list = calloc(room, sizeof(*out->list));
	if (!out->list)
		return -PTA_ENOMEM;
	out->n = dispatch_report(d, out->list, room);
	if (out->n > room) /* more came meanwhile: they are in the next listing */
		out->n = room;
	qsort(out->list, out->n, sizeof(*out->list), by_agent);
	return 0;
}

static void reports_done(struct reports *reports)
{
	free(reports->list);
}

/* Zeros for one that was not seen since the start. */
static struct dispatch_agent_report report_of(const struct reports *reports, const char *agent)
{
	struct dispatch_agent_report key = {0};
	const struct dispatch_agent_report *found = NULL;

	memcpy(key.agent, agent, strlen(agent) + 1);
	if (reports->n)
		found = bsearch(&key, reports->list, reports->n, sizeof(key), by_agent);
	return found ? *found : key;
}

static const char *state_name(enum registry_agent_state state)
{
	static const char *const names[] = {[AGENT_ENABLED] = "enabled", [AGENT_DISABLED] = "disabled", [AGENT_REVOKED] = "revoked"};

	return (size_t)state < PTA_ARRAY_SIZE(names) ? names[state] : "unknown";
}

static void put_agent(struct json_writer *w, const struct registry_agent *agent, const struct dispatch_agent_report *now)
{
	json_put_string(w, "agent", agent->id);
	json_put_string(w, "tenant", agent->tenant);
	json_put_string(w, "group", agent->group);
	json_put_string(w, "host", agent->host);
	json_put_string(w, "version", agent->version);
	json_put_string(w, "state", state_name(agent->state));
	json_put_bool(w, "online", now->online);
	admin_put_time(w, "seen", now->seen_ms);
	json_put_uint(w, "connections", now->connections);
	json_put_uint(w, "polls", now->polls);
	json_put_uint(w, "room", now->room);
	json_put_uint(w, "in_flight", now->in_flight);
	json_put_double(w, "latency_ms", now->latency_us / 1000.0);
	admin_put_time(w, "certificate_until", agent->certificate_not_after_ms);
	admin_put_time(w, "created", agent->created_ms);
}

void admin_agent_list(struct httpd_request *request, void *arg)
{
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(REPLY_LIMIT);
	struct reports reports PTA_CLEANUP(reports_done) = {0};
	struct service_thread *thread = arg;
	const struct registry_snapshot *s = service_snapshot(thread);
	struct json_writer w = JSON_WRITER(&body);
	const struct registry_agent *agent;

	if (!admin_allowed(request))
		return;
	if (reports_read(thread->service->dispatch, &reports) < 0) {
		httpd_reply_error(request, 503, "overloaded", NULL, "no memory to list the agents");
		return;
	}
	json_put_object(&w, NULL);
	json_put_array(&w, "items");
	for (size_t i = 0; (agent = registry_agent_at(s, i)); i++) {
		const struct dispatch_agent_report now = report_of(&reports, agent->id);

		json_put_object(&w, NULL);
		put_agent(&w, agent, &now);
		json_end_object(&w);
	}
	json_end_array(&w);
	json_end_object(&w);
	admin_reply(request, &body);
}

void admin_agent_show(struct httpd_request *request, void *arg)
{
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(REPLY_LIMIT);
	struct reports reports PTA_CLEANUP(reports_done) = {0};
	struct service_thread *thread = arg;
	struct json_writer w = JSON_WRITER(&body);
	const char *id = httpd_query(request, "agent");
	const struct registry_agent *agent;
	struct dispatch_agent_report now;

	if (!admin_allowed(request))
		return;
	agent = id ? registry_find_agent(service_snapshot(thread), id) : NULL;
	if (!agent) {
		httpd_reply_error(request, 404, "not_found", "agent", "there is no agent with that id");
		return;
	}
	if (reports_read(thread->service->dispatch, &reports) < 0) {
		httpd_reply_error(request, 503, "overloaded", NULL, "no memory to show the agent");
		return;
	}
	now = report_of(&reports, agent->id);
	json_put_object(&w, NULL);
	put_agent(&w, agent, &now);
	json_put_string(&w, "instance", now.instance[0] ? now.instance : NULL);
	admin_put_time(&w, "key_until", now.key_not_after_ms);
	json_put_uint(&w, "waiting", now.waiting);
	json_put_uint(&w, "handed", now.handed);
	json_put_uint(&w, "answered", now.answered);
	json_put_uint(&w, "declined", now.declined);
	json_put_array(&w, "fingerprints");
	for (size_t i = 0; i < agent->nfingerprints; i++)
		json_put_string(&w, NULL, agent->fingerprints[i]);
	json_end_array(&w);
	json_end_object(&w);
	admin_reply(request, &body);
}
