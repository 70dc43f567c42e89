/* The subcommands of pta-agent: each one's options and its run function, which returns an enum cli_exit. main.c has the
 * table of them. */
#ifndef PTA_AGENT_COMMANDS_H
#define PTA_AGENT_COMMANDS_H

#include <stdbool.h>

#include "agent/agent_conf.h"
#include "agent/identity.h"
#include "base/cli.h"

#define PROGRAM "pta-agent"

struct common_options {
	const char *config; /* NULL: AGENT_CONF_PATH */
	bool json;
};

struct status_options {
	const char *config;
	bool json;
	const char *log_level; /* NULL: only show */
};

struct run_options {
	const char *config;
	bool check_config, dump_config;
};

struct register_options {
	const char *config;
	const char *service;
	const char *token_file;
};

int command_run(void *options, char **args, int nargs);	     /* struct run_options */
int command_register(void *options, char **args, int nargs); /* struct register_options */
int command_renew(void *options, char **args, int nargs);    /* the others: struct common_options */
int command_check(void *options, char **args, int nargs);
int command_test(void *options, char **args, int nargs);
int command_status(void *options, char **args, int nargs); /* struct status_options */

/* Loads the file or prints every error of it. On CLI_OK *out is referenced. */
int command_load_conf(const char *path, struct agent_conf **out);
/* The identity in the configured state folder. */
PTA_MUST_CHECK int command_load_identity(const struct agent_conf *conf, struct identity_dir *dir, struct identity **out, struct err *err);
/* The exit status that fits an error code. */
int command_exit(int code);

#endif
