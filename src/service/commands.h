/* The commands of pta-service: one function each, called by cli_main(), and what they share. Main thread only. */
#ifndef PTA_SERVICE_COMMANDS_H
#define PTA_SERVICE_COMMANDS_H

#include "base/cli.h"
#include "base/json.h"
#include "service/service_conf.h"

#define PROGRAM "pta-service"
#define DEFAULT_TENANT "default"
#define COMMAND_TIMEOUT_MS 10000

/* Options of most commands. */
struct common_options {
	const char *config, *tenant;
	bool json;
};

struct run_options {
	const char *config;
	bool check_config, dump_config;
};

struct init_options {
	const char *config;
	const char *tls_cert, *tls_key;
	struct cli_texts names;
};

struct domain_options {
	struct common_options common;
	const char *group, *netbios;
	struct cli_texts suffixes;
};

struct status_options {
	struct common_options common;
	const char *log_level; /* NULL: only show */
};

struct token_options {
	struct common_options common;
	const char *group;
};

struct app_options {
	struct common_options common;
	bool details;
};

int command_run(void *options, char **args, int nargs);
int command_init(void *options, char **args, int nargs);
int command_backup(void *options, char **args, int nargs);
int command_restore(void *options, char **args, int nargs);
int command_status(void *options, char **args, int nargs);
int command_signin(void *options, char **args, int nargs);
int command_domain_add(void *options, char **args, int nargs);
int command_domain_list(void *options, char **args, int nargs);
int command_domain_enable(void *options, char **args, int nargs);
int command_domain_disable(void *options, char **args, int nargs);
int command_domain_remove(void *options, char **args, int nargs);
int command_token_create(void *options, char **args, int nargs);
int command_app_create(void *options, char **args, int nargs);
int command_app_list(void *options, char **args, int nargs);
int command_app_revoke(void *options, char **args, int nargs);
int command_agent_list(void *options, char **args, int nargs);
int command_agent_show(void *options, char **args, int nargs);
int command_agent_enable(void *options, char **args, int nargs);
int command_agent_disable(void *options, char **args, int nargs);
int command_agent_revoke(void *options, char **args, int nargs);

/* The configuration; CLI_OK, or CLI_CONFIG after telling all of its errors. */
PTA_MUST_CHECK int command_conf(const char *path, struct service_conf **out);

/* One call of the running daemon. body may be NULL for a GET; it is wiped. CLI_OK: *status is the HTTP status and *out the answer; else an
 * exit code after telling why. */
PTA_MUST_CHECK int command_call(
	const char *config, const char *method, const char *path, struct buf *body, unsigned timeout_ms, int *status, struct json **out);
/* The same, where only 200 will do: an error's message is told. */
PTA_MUST_CHECK int command_ask(const char *config, const char *method, const char *path, struct buf *body, struct json **out);
/* A change of one thing that answers nothing of interest: {"tenant" (NULL: none), key: value}; prints `done` with the value. */
PTA_MUST_CHECK int command_change(const struct common_options *o, const char *path, const char *tenant, const char *key, const char *value, const char *done);
const char *command_tenant(const struct common_options *o);

/* A member as text, "-" when it is absent, null or empty. Valid as long as the document. */
const char *command_text(struct json_object *object, const char *key);
/* A member itself; NULL when absent. */
struct json_object *command_member(struct json_object *object, const char *key);
/* The value, indented, on stdout. */
void command_print_json(struct json_object *value);
/* "name  value" lines of an object: names as they are with spaces for '_', lists joined; what an inner object holds stands indented below its name. */
void command_print_fields(struct json_object *object);
/* Asks for a list at this path and prints it: JSON, or a table with a column for each key (yes and no for booleans); `none` where it is
 * empty. Returns an enum cli_exit. */
int command_list(const struct common_options *options, const char *path, const char *const *heads, const char *const *keys, size_t columns, const char *none);

#endif
