/* One sign-in from its HTTP request to its verdict: parse, whose domain, seal, wait, answer, audit line. Each belongs to
 * one event thread. Never blocks. */
#ifndef PTA_SERVICE_SIGNIN_H
#define PTA_SERVICE_SIGNIN_H

#include "base/httpd.h"
#include "base/secret.h"
#include "service/dispatch.h"

struct service_thread;

/* POST /v1/signin of the sign-in listener: an API key as bearer, {username, password, client_ip?, correlation_id?}. */
void signin_handle(struct httpd_request *request, void *arg);
/* POST /v1/signin of the control socket: {tenant, username, password}; the answer has all details. */
void signin_handle_control(struct httpd_request *request, void *arg);

/* For the thread's dispatch port. */
void signin_finished(struct dispatch_request *request, void *arg);

/* What a sign-in client sent, checked. */
struct signin_input {
	char username[LIMIT_USERNAME + 1];
	struct secret *password;       /* owned */
	char tenant[LIMIT_TENANT + 1]; /* control socket only */
	char client_ip[LIMIT_CLIENT_IP + 1];
	char correlation_id[LIMIT_CORRELATION_ID + 1];
};
/* -PTA_EINVAL or -PTA_ENOMEM (the secret arena is exhausted) with a text and the field's name ("" for none). */
PTA_MUST_CHECK int signin_parse(const uint8_t *body, size_t len, bool control, struct signin_input *out, const char **field, struct err *err);
void signin_input_done(struct signin_input *input);

#endif
