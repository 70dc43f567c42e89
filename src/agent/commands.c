/* What several commands of pta-agent share, and the short ones: register and renew. */
#include "agent/commands.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/enroll.h"
#include "base/clock.h"
#include "base/control_client.h"
#include "base/file.h"
#include "base/json.h"

#define RENEW_WAIT_MS 30000
#define RENEW_LOOK_MS 100
#define STATUS_LIMIT (4u << 20)

int command_exit(int code)
{
	switch (code < 0 ? -code : code) {
	case 0:
		return CLI_OK;
	case PTA_ENET:
	case PTA_ETLS:
	case PTA_ETIMEDOUT:
		return CLI_UNREACHABLE;
	case PTA_EPERM:
		return CLI_PERMISSION;
	default:
		return CLI_FAILED;
	}
}

static int print_conf_errors(struct conf_errors *errors)
{
	if (buf_ok(&errors->text) && errors->text.len > 0)
		fwrite(errors->text.data, 1, errors->text.len, stderr);
	fprintf(stderr, PROGRAM ": %u %s in the configuration\n", errors->count, errors->count == 1 ? "error" : "errors");
	return CLI_CONFIG;
}

int command_load_conf(const char *path, struct agent_conf **out)
{
	struct conf_errors errors;
	int status = CLI_OK;

	conf_errors_init(&errors);
	if (agent_conf_load(path ? path : AGENT_CONF_PATH, out, &errors) < 0)
		status = print_conf_errors(&errors);
	conf_errors_done(&errors);
	return status;
}

/* Registering may come before the configuration is written: without a file at the usual place the defaults hold. */
static int load_conf_to_register(const char *path, struct agent_conf **out)
{
	struct conf_errors errors;
	int status = CLI_OK;

	if (path || access(AGENT_CONF_PATH, F_OK) == 0)
		return command_load_conf(path, out);
	conf_errors_init(&errors);
	if (agent_conf_load_text("defaults", "", 0, false, out, &errors) < 0)
		status = print_conf_errors(&errors);
	conf_errors_done(&errors);
	return status;
}

int command_load_identity(const struct agent_conf *conf, struct identity_dir *dir, struct identity **out, struct err *err)
{
	int r;

	dir->path = conf->agent.state_dir;
	r = agent_conf_owner(conf, &dir->uid, &dir->gid, err);
	return r < 0 ? r : identity_load(dir, out, err);
}

static int read_token(const char *path, struct token *token, struct err *err)
{
	struct buf text = BUF_INIT_WIPED(LIMIT_TOKEN);
	int r;

	r = file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, LIMIT_TOKEN, &text, err);
	if (r == 0)
		r = token_decode((const char *)text.data, text.len, token, err);
	if (r < 0)
		err_prefix(err, r, "token from %s: ", strcmp(path, "-") == 0 ? "standard input" : path);
	buf_done(&text);
	return r;
}

int command_register(void *options, char **args, int nargs)
{
	const struct register_options *o = options;
	struct agent_conf *conf PTA_CLEANUP(agent_conf_unrefp) = NULL;
	struct identity *identity PTA_CLEANUP(identity_freep) = NULL;
	char until[CLOCK_RFC3339_LEN + 1];
	struct token token;
	struct err err;
	int r = load_conf_to_register(o->config, &conf);

	(void)args;
	(void)nargs;
	if (r != CLI_OK)
		return r;
	r = read_token(o->token_file, &token, &err);
	if (r == 0)
		r = enroll_register(conf, &token, o->service ? o->service : conf->agent.service, &identity, &err);
	secret_wipe(&token, sizeof(token));
	if (r < 0)
		return cli_fail(PROGRAM, command_exit(r), "register: %s", err.text);
	clock_rfc3339(identity->not_after_ms, until);
	printf("registered as %s of %s, group %s, at %s\ncertificate until %s, renewed by itself while the agent runs; files in %s\n", identity->agent, identity->tenant, identity->group,
		identity->service, until, conf->agent.state_dir);
	return CLI_OK;
}

/* ---- renew ---- */

/* The running daemon's counts of renewals, and the text of a failed one. */
struct renewals {
	uint64_t tried, done;
	char error[512];
};

static int read_renewals(const char *socket, struct renewals *out, struct err *err)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct buf body = BUF_INIT(STATUS_LIMIT);
	struct json_object *certificate;
	struct json_fields f;
	int status, r;

	r = control_call(socket, "GET", "/v1/status", NULL, 0, 5000, &status, &body, err);
	if (r == 0 && status != 200)
		r = err_set(err, -PTA_EPERM, "the running agent answered with status %d", status);
	if (r == 0)
		r = json_parse(body.data, body.len, &doc, err);
	buf_done(&body);
	if (r < 0)
		return r;
	json_fields_begin(&f, json_root(doc), err);
	certificate = json_object_opt(&f, "certificate");
	if (!certificate)
		return err_set(err, -PTA_EPROTO, "the running agent's status has no certificate");
	json_fields_begin(&f, certificate, err);
	out->tried = json_uint(&f, "renewals_tried", 0, UINT64_MAX / 2);
	out->done = json_uint(&f, "renewals_done", 0, UINT64_MAX / 2);
	snprintf(out->error, sizeof(out->error), "%s", json_string(&f, "renewal_error", 0, 511, NULL));
	return f.status;
}

static int renew_by_daemon(const char *socket, struct err *err)
{
	const struct timespec look = {.tv_nsec = RENEW_LOOK_MS * 1000000L};
	uint64_t until_ms = clock_mono_ms() + RENEW_WAIT_MS;
	struct buf body = BUF_INIT(STATUS_LIMIT);
	struct renewals before, now;
	int status, r = read_renewals(socket, &before, err);

	if (r < 0)
		return r;
	r = control_call(socket, "POST", "/v1/renew", "{}", 2, 5000, &status, &body, err);
	buf_done(&body);
	if (r < 0)
		return r;
	if (status != 202)
		return err_set(err, -PTA_EPERM, "the running agent answered with status %d", status);
	do {
		nanosleep(&look, NULL);
		r = read_renewals(socket, &now, err);
		if (r < 0)
			return r;
		if (now.tried > before.tried)
			return now.done > before.done ? 0 : err_set(err, -PTA_EPERM, "%s", now.error);
	} while (clock_mono_ms() < until_ms);
	return err_set(err, -PTA_ETIMEDOUT, "the running agent has not renewed within %d s: see its log", RENEW_WAIT_MS / 1000);
}

static int renew_directly(const struct agent_conf *conf, struct err *err)
{
	struct identity *now PTA_CLEANUP(identity_freep) = NULL;
	struct identity *next PTA_CLEANUP(identity_freep) = NULL;
	struct identity_dir dir;
	int r = command_load_identity(conf, &dir, &now, err);

	return r < 0 ? r : enroll_renew(conf, now, conf->agent.service ? conf->agent.service : now->service, &next, err);
}

int command_renew(void *options, char **args, int nargs)
{
	const struct common_options *o = options;
	struct agent_conf *conf PTA_CLEANUP(agent_conf_unrefp) = NULL;
	struct identity *identity PTA_CLEANUP(identity_freep) = NULL;
	char until[CLOCK_RFC3339_LEN + 1];
	struct identity_dir dir;
	struct err err;
	int r = command_load_conf(o->config, &conf);

	(void)args;
	(void)nargs;
	if (r != CLI_OK)
		return r;
	r = renew_by_daemon(conf->agent.control_socket, &err);
	if (r == -PTA_ENET) /* no daemon runs */
		r = renew_directly(conf, &err);
	if (r == 0)
		r = command_load_identity(conf, &dir, &identity, &err);
	if (r < 0)
		return cli_fail(PROGRAM, command_exit(r), "renew: %s", err.text);
	clock_rfc3339(identity->not_after_ms, until);
	printf("renewed: the certificate of %s is good until %s\n", identity->agent, until);
	return CLI_OK;
}
