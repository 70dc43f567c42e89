/* `pta-service status` and `pta-service signin`. */
#include "service/commands.h"

#include <string.h>

#include "base/log_route.h"
#include "wire/limits.h"
#include "wire/verdict.h"

/* Longer than any deadline that the configuration takes. */
#define SIGNIN_TIMEOUT_MS 70000

static int set_log_level(const struct status_options *o)
{
	struct json *answer PTA_CLEANUP(json_freep) = NULL;
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(LOG_ROUTE_BODY);
	struct err err;

	if (log_route_body(&body, o->log_level, &err) < 0)
		return cli_fail(PROGRAM, CLI_USAGE, "%s", err.text);
	return command_ask(o->common.config, "POST", LOG_ROUTE_PATH, &body, &answer);
}

int command_status(void *options, char **args, int nargs)
{
	const struct status_options *o = options;
	struct json *answer PTA_CLEANUP(json_freep) = NULL;
	int r;

	(void)args;
	(void)nargs;
	r = o->log_level ? set_log_level(o) : CLI_OK;
	if (r == CLI_OK)
		r = command_ask(o->common.config, "GET", "/v1/status", NULL, &answer);
	if (r != CLI_OK)
		return r;
	if (o->common.json)
		command_print_json(json_root(answer));
	else
		command_print_fields(json_root(answer));
	return CLI_OK;
}

int command_signin(void *options, char **args, int nargs)
{
	const struct common_options *o = options;
	struct secret *password PTA_CLEANUP(secret_freep) = NULL;
	struct json *answer PTA_CLEANUP(json_freep) = NULL;
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT_WIPED(LIMIT_SIGNIN_BODY);
	struct json_writer w = JSON_WRITER(&body);
	struct err err;
	int status, r;

	(void)nargs;
	if (secret_arena_init(SECRET_ARENA_BYTES, &err) < 0)
		return cli_fail(PROGRAM, CLI_FAILED, "%s", err.text);
	if (cli_ask_secret("password: ", LIMIT_PASSWORD, &password, &err) < 0)
		return cli_fail(PROGRAM, CLI_FAILED, "%s", err.text);
	json_put_object(&w, NULL);
	json_put_string(&w, "tenant", command_tenant(o));
	json_put_string(&w, "username", args[0]);
	json_put_stringn(&w, "password", (const char *)secret_bytes(password), secret_len(password));
	json_end_object(&w);
	secret_freep(&password);
	r = command_call(o->config, "POST", "/v1/signin", &body, SIGNIN_TIMEOUT_MS, &status, &answer);
	if (r != CLI_OK)
		return r;
	if (!command_member(json_root(answer), "verdict"))
		return cli_fail(PROGRAM, status == 403 ? CLI_PERMISSION : CLI_FAILED, "%s", command_text(json_root(answer), "message"));
	if (o->json)
		command_print_json(json_root(answer));
	else
		command_print_fields(json_root(answer));
	return strcmp(command_text(json_root(answer), "verdict"), verdict_name(VERDICT_SUCCESS)) == 0 ? CLI_OK : CLI_FAILED;
}
