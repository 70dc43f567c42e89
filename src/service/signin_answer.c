#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "service/service_metrics.h"
#include "service/signin_impl.h"

#define ANSWER_MAX 8192
#define RETRY_AFTER_S "1"

static void put_details(struct json_writer *w, const struct signin *s, uint64_t took_us)
{
	const struct verdict *v = &s->request.verdict;

	json_put_object(w, "details");
	json_put_string(w, "verdict", verdict_name(v->code));
	json_put_bool(w, "password_proved", v->password_proved);
	if (s->domain[0])
		json_put_string(w, "domain", s->domain);
	if (s->request.agent[0])
		json_put_string(w, "agent", s->request.agent);
	if (v->dc[0])
		json_put_string(w, "dc", v->dc);
	if (v->detail[0])
		json_put_string(w, "detail", v->detail);
	json_put_uint(w, "took_us", took_us);
	json_end_object(w);
}

void signin_answer_encode(struct buf *out, const struct signin *s, int status, uint64_t took_us)
{
	struct verdict shown = s->request.verdict;
	struct json_writer w = JSON_WRITER(out);

	shown.code = verdict_shown(&s->request.verdict);
	json_put_object(&w, NULL);
	json_put_string(&w, "request_id", s->request.id);
	if (s->input.correlation_id[0])
		json_put_string(&w, "correlation_id", s->input.correlation_id);
	json_put_string(&w, "verdict", verdict_name(shown.code));
	if (shown.code == VERDICT_UNAVAILABLE) {
		json_put_string(&w, "reason", verdict_reason_name(shown.reason));
		json_put_bool(&w, "retry_safe", status == 503);
	}
	if (shown.code == VERDICT_INVALID_REQUEST) {
		json_put_string(&w, "error", verdict_name(shown.code));
		json_put_string(&w, "message", s->err.text);
		if (s->field && s->field[0])
			json_put_string(&w, "field", s->field);
	}
	if (verdict_entra_code(&shown))
		json_put_uint(&w, "entra_code", verdict_entra_code(&shown));
	if (s->details)
		put_details(&w, s, took_us);
	json_end_object(&w);
}

static void reply(struct signin *s, uint64_t took_us)
{
	int status = verdict_http_status(&s->request.verdict);
	struct buf out = BUF_INIT(ANSWER_MAX);

	buf_reserve(&out, 512);
	signin_answer_encode(&out, s, status, took_us);
	if (!buf_ok(&out)) {
		httpd_reply_error(s->http, 500, "no_memory", NULL, "there was no memory for the answer to request %s", s->request.id);
	} else {
		if (status == 503)
			httpd_reply_header(s->http, "Retry-After", RETRY_AFTER_S);
		httpd_reply(s->http, status, out.data, out.len);
	}
	buf_done(&out);
}

/* NULL leaves the field out of a log line. */
static const char *text_or_none(const char *text)
{
	return text && text[0] ? text : NULL;
}

static void audit(const struct signin *s, uint64_t took_us)
{
	const struct verdict *v = &s->request.verdict;

	log_event(LOG_INFO, "signin.verdict", F_STR("request", s->request.id), F_STR("correlation", text_or_none(s->input.correlation_id)),
		F_STR("verdict", verdict_name(v->code)), F_STR("reason", text_or_none(verdict_reason_text(v))),
		F_STR("proved", v->password_proved ? "yes" : "no"), F_STR("user", text_or_none(s->input.username)),
		F_STR("tenant", text_or_none(s->request.tenant)), F_STR("domain", text_or_none(s->domain)), F_STR("app", s->app),
		F_STR("client", text_or_none(s->input.client_ip)), F_STR("peer", s->peer), F_STR("agent", text_or_none(s->request.agent)),
		F_STR("dc", text_or_none(v->dc)), F_STR("detail", text_or_none(v->code == VERDICT_INVALID_REQUEST ? s->err.text : v->detail)),
		F_UINT("handouts", s->request.handouts), F_MS("waited", s->request.waited_us), F_MS("directory", v->directory_us), F_MS("took", took_us),
		F_STR("told", s->http ? "yes" : "no"));
}

void signin_end(struct signin *s)
{
	uint64_t took_us = clock_mono_us() - s->started_us;

	audit(s, took_us);
	service_metrics_verdict(&s->request.verdict, took_us);
	if (s->request.handouts)
		service_metrics_waited(s->request.waited_us);
	if (s->http)
		reply(s, took_us);
	signin_input_done(&s->input);
	free(s);
}
