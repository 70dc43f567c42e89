#include "base/log_route.h"

#include "base/json.h"
#include "base/log.h"

#define LEVELS "write error, warning, notice, info or debug"

void log_route_set_level(struct httpd_request *request)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct json_fields f;
	const char *name = "";
	struct err err = {0};
	size_t len;
	const uint8_t *body = httpd_body(request, &len);
	int level = -1, r = json_parse(body, len, &doc, &err);
	uid_t uid = (uid_t)-1;
	pid_t pid;

	if (r == 0) {
		json_fields_begin(&f, json_root(doc), &err);
		name = json_string(&f, "level", 1, 16, NULL);
		r = json_fields_end(&f);
	}
	if (r == 0)
		level = log_level_parse(name);
	if (level < 0) {
		httpd_reply_error(request, 400, "invalid", "level", "%s", r < 0 ? err.text : LEVELS);
		return;
	}
	/* Told at either level. */
	log_set_level(level < LOG_NOTICE ? LOG_NOTICE : level);
	if (httpd_peer_ids(request, &uid, &pid) == 0)
		log_event(LOG_NOTICE, "log.level", F_STR("now", log_level_name(level)), F_UINT("uid", uid));
	log_set_level(level);
	httpd_reply(request, 200, "{}", 2);
}

int log_route_body(struct buf *body, const char *level, struct err *err)
{
	struct json_writer w = JSON_WRITER(body);

	if (log_level_parse(level) < 0)
		return err_set(err, -PTA_EINVAL, "the log has no level \"%s\": " LEVELS, level);
	json_put_object(&w, NULL);
	json_put_string(&w, "level", level);
	json_end_object(&w);
	return buf_ok(body) ? 0 : err_set(err, -PTA_ENOMEM, "out of memory");
}
