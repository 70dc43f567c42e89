#include "service/signin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/service.h"
#include "service/service_metrics.h"
#include "service/signin_impl.h"

static void hung_up(void *arg)
{
	struct signin *s = arg;

	/* The password may be on its way to a DC: the request runs on, and only the audit line hears of it. */
	s->http = NULL;
}

void signin_finished(struct dispatch_request *request, void *arg)
{
	(void)arg;
	signin_end((struct signin *)request);
}

static void unavailable(struct signin *s, enum verdict_reason reason)
{
	s->request.verdict = verdict_unavailable(reason, false);
	signin_end(s);
}

static void invalid(struct signin *s, const char *field)
{
	s->field = field;
	s->request.verdict = verdict_make(VERDICT_INVALID_REQUEST);
	signin_end(s);
}

/* The domain's configured name and its group go into the request. */
static bool route(struct signin *s, const struct registry_snapshot *snapshot, const struct credential *credential)
{
	const struct registry_domain *domain = registry_find_domain(snapshot, s->request.tenant, credential->form, credential->domain);

	if (!domain || !domain->enabled)
		return false;
	memcpy(s->domain, domain->name, sizeof(s->domain));
	memcpy(s->request.group, domain->group, sizeof(s->request.group));
	return true;
}

static int seal(struct signin *s, const struct dispatch_candidate *candidates, size_t n)
{
	struct envelope_request plain = {.operation = ENVELOPE_VALIDATE, .password = s->input.password};
	int r;

	memcpy(plain.username, s->input.username, sizeof(plain.username));
	memcpy(plain.domain, s->domain, sizeof(plain.domain));
	r = sealer_seal(s->thread->sealer, &plain, candidates, n, &s->request);
	envelope_request_done(&plain);
	s->input.password = NULL;
	return r;
}

/* From a parsed sign-in of a known tenant to the queue. */
static void go(struct signin *s)
{
	struct service_thread *thread = s->thread;
	struct dispatch *dispatch = thread->service->dispatch;
	struct dispatch_candidate candidates[DISPATCH_COPIES];
	uint64_t deadline_us = s->started_us + thread->conf->deadline * 1000ull;
	struct credential credential;
	size_t n;
	int r;

	if (credential_parse(s->input.username, strlen(s->input.username), &credential, &s->err) < 0) {
		invalid(s, "username");
		return;
	}
	if (!route(s, service_snapshot(thread), &credential)) {
		unavailable(s, REASON_NOT_CONFIGURED);
		return;
	}
	r = dispatch_candidates(dispatch, s->request.tenant, s->request.group, candidates, &n);
	if (r < 0) {
		unavailable(s, r == -PTA_ENOENT ? REASON_NO_AGENT : REASON_OVERLOADED);
		return;
	}
	s->request.username = s->input.username;
	s->request.deadline_us = deadline_us;
	s->request.expires_ms = clock_wall_ms() + thread->conf->deadline;
	r = seal(s, candidates, n);
	if (r < 0) {
		log_event(LOG_ERR, "signin.seal_failed", F_STR("request", s->request.id), F_STR("error", pta_error_name(r)));
		unavailable(s, r == -PTA_ENOMEM ? REASON_OVERLOADED : REASON_AGENT_ERROR);
		return;
	}
	httpd_on_close(s->http, hung_up, s);
	dispatch_submit(thread->port, &s->request);
	service_due(thread, deadline_us);
}

/* Reads the body and wipes it. app NULL: the control socket's. NULL: it is answered already. */
static struct signin *begin(struct httpd_request *http, struct service_thread *thread, const struct registry_app *app)
{
	struct signin *s = calloc(1, sizeof(*s));
	const uint8_t *body;
	const char *field;
	size_t len;
	int r;

	if (!s) {
		httpd_body_wipe(http);
		httpd_reply_header(http, "Retry-After", "1");
		httpd_reply_error(http, 503, "no_memory", NULL, "there is no memory for another sign-in now");
		return NULL;
	}
	s->thread = thread;
	s->http = http;
	s->started_us = clock_mono_us();
	random_id(s->request.id);
	snprintf(s->peer, sizeof(s->peer), "%s", httpd_peer(http));
	snprintf(s->app, sizeof(s->app), "%s", app ? app->id : "control");
	snprintf(s->request.tenant, sizeof(s->request.tenant), "%s", app ? app->tenant : "");
	s->details = !app || app->details;
	body = httpd_body(http, &len);
	r = signin_parse(body, len, !app, &s->input, &field, &s->err);
	httpd_body_wipe(http);
	if (r == -PTA_ENOMEM) {
		unavailable(s, REASON_OVERLOADED);
		return NULL;
	}
	if (r < 0) {
		invalid(s, field);
		return NULL;
	}
	return s;
}

/* The app of the bearer key, NULL when there is none. */
static const struct registry_app *authenticate(struct httpd_request *http, struct service_thread *thread)
{
	const char *header = httpd_header(http, "Authorization");
	const struct registry_app *app;
	uint8_t hash[32];

	if (!header || strncasecmp(header, "Bearer ", 7) != 0 || registry_app_key_hash(header + 7, strlen(header + 7), hash) < 0)
		return NULL;
	app = registry_find_app(service_snapshot(thread), hash);
	return app && !app->revoked ? app : NULL;
}

void signin_handle(struct httpd_request *http, void *arg)
{
	struct service_thread *thread = arg;
	const struct registry_app *app = authenticate(http, thread);
	struct signin *s;

	if (!app) {
		httpd_body_wipe(http);
		service_metrics_unauthorized();
		log_event(LOG_NOTICE, "signin.unauthorized", F_STR("peer", httpd_peer(http)));
		httpd_reply_header(http, "WWW-Authenticate", "Bearer");
		httpd_reply_error(http, 401, "unauthorized", NULL, "a valid API key is needed: Authorization: Bearer KEY");
		return;
	}
	s = begin(http, thread, app);
	if (s)
		go(s);
}

void signin_handle_control(struct httpd_request *http, void *arg)
{
	struct service_thread *thread = arg;
	struct signin *s = begin(http, thread, NULL);

	if (!s)
		return;
	if (!registry_has_tenant(service_snapshot(thread), s->input.tenant)) {
		(void)err_set(&s->err, -PTA_ENOENT, "there is no tenant \"%s\"", s->input.tenant);
		invalid(s, "tenant");
		return;
	}
	memcpy(s->request.tenant, s->input.tenant, sizeof(s->request.tenant));
	go(s);
}
