/* What the files of the control socket's routes share. Everything runs on thread 0. */
#ifndef PTA_SERVICE_ADMIN_IMPL_H
#define PTA_SERVICE_ADMIN_IMPL_H

#include "base/json.h"
#include "service/admin.h"
#include "service/service.h"

#define ADMIN_SUFFIXES 64 /* of one domain */

/* Root and the service's own user only: else it answers 403 and returns false. */
bool admin_allowed(struct httpd_request *request);
/* The answer made with a writer over a wiped buffer. */
void admin_reply(struct httpd_request *request, struct buf *body);
/* An error of the registry as HTTP: 400, 404, 409, 503, 500. */
void admin_reply_failed(struct httpd_request *request, int code, const char *field, const struct err *err);

/* "2026-01-31T23:59:59.123Z"; null for 0. */
void admin_put_time(struct json_writer *w, const char *key, uint64_t wall_ms);

/* ---- admin_agents.c ---- */
void admin_agent_list(struct httpd_request *request, void *arg);
void admin_agent_show(struct httpd_request *request, void *arg);

/* ---- admin_change.c ---- */
void admin_domain_add(struct httpd_request *request, void *arg);
void admin_domain_enable(struct httpd_request *request, void *arg);
void admin_domain_disable(struct httpd_request *request, void *arg);
void admin_domain_remove(struct httpd_request *request, void *arg);
void admin_token_create(struct httpd_request *request, void *arg);
void admin_app_create(struct httpd_request *request, void *arg);
void admin_app_revoke(struct httpd_request *request, void *arg);
void admin_agent_enable(struct httpd_request *request, void *arg);
void admin_agent_disable(struct httpd_request *request, void *arg);
void admin_agent_revoke(struct httpd_request *request, void *arg);

#endif
