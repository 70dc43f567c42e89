/* Changes asked for over the control socket: parse, hand to the registry's writer, answer and log when it is done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/admin_impl.h"

#define REPLY_LIMIT 65536
#define TOKEN_LIFE_MS UINT64_C(3600000)

/* One change on its way through the writer thread. The request may end before it does. */
struct change {
	struct service_call call;
	struct httpd_request *request; /* NULL: gone */
	const char *event;
	uid_t uid;
	/* what is asked for */
	char tenant[LIMIT_TENANT + 1], name[LIMIT_DOMAIN + 1];
	struct registry_domain domain;
	char suffixes[ADMIN_SUFFIXES][LIMIT_DOMAIN + 1];
	bool details, enabled;
	enum registry_agent_state state;
	/* what came of it */
	struct registry_app app;
	char key[64];
	struct token token;
	uint64_t expires_ms;
	void (*put)(const struct change *change, struct json_writer *w); /* NULL: {} */
};

static void change_free(struct change *change)
{
	secret_wipe(change, sizeof(*change)); /* keys and tokens */
	free(change);
}

static void request_gone(void *arg)
{
	((struct change *)arg)->request = NULL;
}

static void change_done(struct service_call *call)
{
	struct change *change = MAIL_CONTAINER(call, struct change, call);
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT_WIPED(REPLY_LIMIT);
	struct json_writer w = JSON_WRITER(&body);

	if (call->call.status == 0)
		log_event(LOG_NOTICE, change->event, F_STR("tenant", change->tenant[0] ? change->tenant : NULL), F_STR("name", change->name),
			F_UINT("uid", change->uid));
	if (change->request && call->call.status < 0) {
		admin_reply_failed(change->request, call->call.status, NULL, &call->call.err);
	} else if (change->request) {
		json_put_object(&w, NULL);
		if (change->put)
			change->put(change, &w);
		json_end_object(&w);
		admin_reply(change->request, &body);
	}
	change_free(change);
}

/* A change for an allowed request; NULL when the request was answered with an error. */
static struct change *change_new(struct httpd_request *request, const char *event, int (*run)(struct registry_call *call, struct registry_db *db))
{
	struct change *change;
	pid_t pid;

	if (!admin_allowed(request))
		return NULL;
	change = calloc(1, sizeof(*change));
	if (!change) {
		httpd_reply_error(request, 503, "overloaded", NULL, "no memory for a change");
		return NULL;
	}
	if (httpd_peer_ids(request, &change->uid, &pid) < 0)
		change->uid = (uid_t)-1;
	change->request = request;
	change->event = event;
	change->call.call.run = run;
	change->call.done = change_done;
	return change;
}

static void copy(char *out, size_t cap, const char *text)
{
	snprintf(out, cap, "%s", text); /* the reader of the field has held it to its length */
}

/* Reads the body with `read`, then submits. Takes the change. */
static void change_start(struct service_thread *thread, struct change *change, void (*read)(struct json_fields *f, struct change *change))
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct json_fields f = {.field = ""};
	const uint8_t *body;
	struct err err;
	size_t len;
	int r;

	body = httpd_body(change->request, &len);
	r = json_parse(body, len, &doc, &err);
	if (r == 0) {
		json_fields_begin(&f, json_root(doc), &err);
		read(&f, change);
		r = json_fields_end(&f);
	}
	if (r < 0) {
		admin_reply_failed(change->request, r, f.field, &err);
		change_free(change);
		return;
	}
	httpd_on_close(change->request, request_gone, change);
	service_call_submit(thread, &change->call);
}

static struct change *change_of(struct registry_call *call)
{
	return MAIL_CONTAINER(call, struct change, call.call);
}

static void read_tenant(struct json_fields *f, struct change *change)
{
	copy(change->tenant, sizeof(change->tenant), json_string(f, "tenant", 1, LIMIT_TENANT, NULL));
}

/* ---- domains ---- */

static void read_domain(struct json_fields *f, struct change *change)
{
	struct registry_domain *domain = &change->domain;
	struct json_object *suffixes;
	const char *netbios;
	size_t n;

	read_tenant(f, change);
	copy(change->name, sizeof(change->name), json_string(f, "name", 1, LIMIT_DOMAIN, NULL));
	copy(domain->group, sizeof(domain->group), json_string(f, "group", 1, LIMIT_ID, NULL));
	netbios = json_string_opt(f, "netbios", 1, LIMIT_DOMAIN, NULL);
	copy(domain->netbios, sizeof(domain->netbios), netbios ? netbios : "");
	suffixes = json_array_opt(f, "suffixes", ADMIN_SUFFIXES, &n);
	for (size_t i = 0; i < n; i++) {
		const char *suffix = json_text(json_array_at(suffixes, i), NULL);

		if (!suffix || strlen(suffix) > LIMIT_DOMAIN) {
			json_field_bad(f, "suffixes", "must have strings of at most 255 bytes");
			return;
		}
		copy(change->suffixes[i], sizeof(change->suffixes[i]), suffix);
	}
	memcpy(domain->tenant, change->tenant, sizeof(domain->tenant));
	memcpy(domain->name, change->name, sizeof(domain->name));
	domain->suffixes = change->suffixes;
	domain->nsuffixes = n;
	domain->enabled = true;
}

static int run_domain_add(struct registry_call *call, struct registry_db *db)
{
	return registry_domain_add(db, &change_of(call)->domain, &call->err);
}

void admin_domain_add(struct httpd_request *request, void *arg)
{
	struct change *change = change_new(request, "admin.domain_added", run_domain_add);

	if (change)
		change_start(arg, change, read_domain);
}

static void read_domain_name(struct json_fields *f, struct change *change)
{
	read_tenant(f, change);
	copy(change->name, sizeof(change->name), json_string(f, "name", 1, LIMIT_DOMAIN, NULL));
}

static int run_domain_enable(struct registry_call *call, struct registry_db *db)
{
	const struct change *change = change_of(call);

	return registry_domain_enable(db, change->tenant, change->name, change->enabled, &call->err);
}

static void set_domain(struct httpd_request *request, struct service_thread *thread, bool enabled)
{
	struct change *change = change_new(request, enabled ? "admin.domain_enabled" : "admin.domain_disabled", run_domain_enable);

	if (!change)
		return;
	change->enabled = enabled;
	change_start(thread, change, read_domain_name);
}

void admin_domain_enable(struct httpd_request *request, void *arg)
{
	set_domain(request, arg, true);
}

void admin_domain_disable(struct httpd_request *request, void *arg)
{
	set_domain(request, arg, false);
}

static int run_domain_remove(struct registry_call *call, struct registry_db *db)
{
	const struct change *change = change_of(call);

	return registry_domain_remove(db, change->tenant, change->name, &call->err);
}

void admin_domain_remove(struct httpd_request *request, void *arg)
{
	struct change *change = change_new(request, "admin.domain_removed", run_domain_remove);

	if (change)
		change_start(arg, change, read_domain_name);
}

/* ---- tokens ---- */

static void read_token(struct json_fields *f, struct change *change)
{
	read_tenant(f, change);
	copy(change->name, sizeof(change->name), json_string(f, "group", 1, LIMIT_ID, NULL));
}

static int run_token_create(struct registry_call *call, struct registry_db *db)
{
	struct change *change = change_of(call);

	change->expires_ms = clock_wall_ms() + TOKEN_LIFE_MS;
	return registry_token_create(db, change->tenant, change->name, change->expires_ms, &change->token, &call->err);
}

static void put_token(const struct change *change, struct json_writer *w)
{
	struct buf text PTA_CLEANUP(buf_done) = BUF_INIT_WIPED(LIMIT_TOKEN);

	token_encode(&text, &change->token);
	w->out->failed |= !buf_ok(&text);
	json_put_stringn(w, "token", (const char *)text.data, text.len);
	json_put_string(w, "id", change->token.id);
	json_put_string(w, "tenant", change->tenant);
	json_put_string(w, "group", change->name);
	admin_put_time(w, "expires", change->expires_ms);
}

void admin_token_create(struct httpd_request *request, void *arg)
{
	struct change *change = change_new(request, "admin.token_created", run_token_create);
	struct service_thread *thread = arg;
	const uint8_t *der;
	size_t len;

	if (!change)
		return;
	der = ca_der(thread->service->ca, &len);
	if (len > sizeof(change->token.ca_der)) {
		httpd_reply_error(request, 500, "failed", NULL, "the CA certificate of %zu bytes does not fit into a token", len);
		change_free(change);
		return;
	}
	memcpy(change->token.ca_der, der, len);
	change->token.ca_der_len = len;
	copy(change->token.service, sizeof(change->token.service), thread->conf->agent_url);
	change->put = put_token;
	change_start(thread, change, read_token);
}

/* ---- apps ---- */

static void read_app(struct json_fields *f, struct change *change)
{
	read_tenant(f, change);
	copy(change->name, sizeof(change->name), json_string(f, "name", 1, LIMIT_ID, NULL));
	change->details = json_bool_opt(f, "details", false);
}

static int run_app_create(struct registry_call *call, struct registry_db *db)
{
	struct change *change = change_of(call);

	return registry_app_add(db, change->tenant, change->name, change->details, change->key, &change->app, &call->err);
}

static void put_app(const struct change *change, struct json_writer *w)
{
	json_put_string(w, "id", change->app.id);
	json_put_string(w, "name", change->app.name);
	json_put_string(w, "tenant", change->app.tenant);
	json_put_bool(w, "details", change->app.details);
	json_put_string(w, "key", change->key);
}

void admin_app_create(struct httpd_request *request, void *arg)
{
	struct change *change = change_new(request, "admin.app_created", run_app_create);

	if (!change)
		return;
	change->put = put_app;
	change_start(arg, change, read_app);
}

static void read_app_id(struct json_fields *f, struct change *change)
{
	copy(change->name, sizeof(change->name), json_string(f, "app", 1, LIMIT_ID, NULL));
}

static int run_app_revoke(struct registry_call *call, struct registry_db *db)
{
	return registry_app_revoke(db, change_of(call)->name, &call->err);
}

void admin_app_revoke(struct httpd_request *request, void *arg)
{
	struct change *change = change_new(request, "admin.app_revoked", run_app_revoke);

	if (change)
		change_start(arg, change, read_app_id);
}

/* ---- agents ---- */

static void read_agent(struct json_fields *f, struct change *change)
{
	copy(change->name, sizeof(change->name), json_string(f, "agent", 1, LIMIT_ID, NULL));
}

static int run_agent_state(struct registry_call *call, struct registry_db *db)
{
	const struct change *change = change_of(call);

	return registry_agent_state(db, change->name, change->state, &call->err);
}

static void set_agent(struct httpd_request *request, struct service_thread *thread, enum registry_agent_state state, const char *event)
{
	struct change *change = change_new(request, event, run_agent_state);

	if (!change)
		return;
	change->state = state;
	change_start(thread, change, read_agent);
}

void admin_agent_enable(struct httpd_request *request, void *arg)
{
	set_agent(request, arg, AGENT_ENABLED, "admin.agent_enabled");
}

void admin_agent_disable(struct httpd_request *request, void *arg)
{
	set_agent(request, arg, AGENT_DISABLED, "admin.agent_disabled");
}

void admin_agent_revoke(struct httpd_request *request, void *arg)
{
	set_agent(request, arg, AGENT_REVOKED, "admin.agent_revoked");
}
