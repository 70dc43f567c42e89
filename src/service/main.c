/* pta-service: the table of commands. Options without a command belong to run, so that `pta-service --check-config` works. */
#include <curl/curl.h>

#include "service/commands.h"

static const char config_help[] = "configuration file (" SERVICE_CONF_PATH ")";
static const char tenant_help[] = "tenant (" DEFAULT_TENANT ")";

#define CONFIG_ROW(options, member)                                                                                                                            \
	{                                                                                                                                                      \
		.name = "config", .letter = 'c', .type = CLI_TEXT, .offset = offsetof(options, member), .metavar = "FILE", .help = config_help                 \
	}
#define TENANT_ROW(options, member)                                                                                                                            \
	{                                                                                                                                                      \
		.name = "tenant", .type = CLI_TEXT, .offset = offsetof(options, member), .metavar = "NAME", .help = tenant_help                                \
	}
#define JSON_ROW(options, member)                                                                                                                              \
	{                                                                                                                                                      \
		.name = "json", .type = CLI_FLAG, .offset = offsetof(options, member), .help = "print JSON"                                                    \
	}

static const struct cli_option run_rows[] = {
	CONFIG_ROW(struct run_options, config),
	{.name = "check-config", .type = CLI_FLAG, .offset = offsetof(struct run_options, check_config), .help = "check the configuration and exit"},
	{.name = "dump-config",
		.type = CLI_FLAG,
		.offset = offsetof(struct run_options, dump_config),
		.help = "print every key with its effective value and exit"},
	{.name = NULL},
};

static const struct cli_option init_rows[] = {
	CONFIG_ROW(struct init_options, config),
	{.name = "name",
		.letter = 'n',
		.type = CLI_TEXTS,
		.offset = offsetof(struct init_options, names),
		.metavar = "HOST",
		.help = "name or address that clients and agents connect to; may be repeated (this host's name)"},
	{.name = "tls-cert",
		.type = CLI_TEXT,
		.offset = offsetof(struct init_options, tls_cert),
		.metavar = "FILE",
		.help = "certificate of one's own for the sign-in listener"},
	{.name = "tls-key", .type = CLI_TEXT, .offset = offsetof(struct init_options, tls_key), .metavar = "FILE", .help = "its private key"},
	{.name = NULL},
};

static const struct cli_option plain_rows[] = {
	CONFIG_ROW(struct common_options, config),
	{.name = NULL},
};

static const struct cli_option list_rows[] = {
	CONFIG_ROW(struct common_options, config),
	JSON_ROW(struct common_options, json),
	{.name = NULL},
};

static const struct cli_option status_rows[] = {
	CONFIG_ROW(struct status_options, common.config),
	JSON_ROW(struct status_options, common.json),
	{.name = "log-level",
		.type = CLI_TEXT,
		.offset = offsetof(struct status_options, log_level),
		.metavar = "LEVEL",
		.help = "log from this level on (error, warning, notice, info, debug) until the configuration is read again"},
	{.name = NULL},
};

static const struct cli_option tenant_rows[] = {
	CONFIG_ROW(struct common_options, config),
	TENANT_ROW(struct common_options, tenant),
	{.name = NULL},
};

static const struct cli_option signin_rows[] = {
	CONFIG_ROW(struct common_options, config),
	TENANT_ROW(struct common_options, tenant),
	JSON_ROW(struct common_options, json),
	{.name = NULL},
};

static const struct cli_option domain_rows[] = {
	CONFIG_ROW(struct domain_options, common.config),
	TENANT_ROW(struct domain_options, common.tenant),
	{.name = "group",
		.letter = 'g',
		.type = CLI_TEXT,
		.offset = offsetof(struct domain_options, group),
		.metavar = "NAME",
		.required = true,
		.help = "group of agents that serve the domain"},
	{.name = "suffix",
		.letter = 's',
		.type = CLI_TEXTS,
		.offset = offsetof(struct domain_options, suffixes),
		.metavar = "SUFFIX",
		.help = "further UPN suffix of its users; may be repeated"},
	{.name = "netbios",
		.type = CLI_TEXT,
		.offset = offsetof(struct domain_options, netbios),
		.metavar = "NAME",
		.help = "its NetBIOS name, for names like CORP\\anna"},
	{.name = NULL},
};

static const struct cli_option token_rows[] = {
	CONFIG_ROW(struct token_options, common.config),
	TENANT_ROW(struct token_options, common.tenant),
	JSON_ROW(struct token_options, common.json),
	{.name = "group",
		.letter = 'g',
		.type = CLI_TEXT,
		.offset = offsetof(struct token_options, group),
		.metavar = "NAME",
		.required = true,
		.help = "group that the agent will belong to"},
	{.name = NULL},
};

static const struct cli_option app_rows[] = {
	CONFIG_ROW(struct app_options, common.config),
	TENANT_ROW(struct app_options, common.tenant),
	JSON_ROW(struct app_options, common.json),
	{.name = "details",
		.type = CLI_FLAG,
		.offset = offsetof(struct app_options, details),
		.help = "tell this client also what the password did not prove, and which agent and DC"},
	{.name = NULL},
};

#define LIST(words, function, text)                                                                                                                            \
	{                                                                                                                                                      \
		.name = words, .arguments = "", .options = list_rows, .options_size = sizeof(struct common_options), .run = function, .help = text             \
	}
#define CHANGE(words, argument, rows, function, text)                                                                                                          \
	{                                                                                                                                                      \
		.name = words, .arguments = argument, .min_args = 1, .max_args = 1, .options = rows, .options_size = sizeof(struct common_options),            \
		.run = function, .help = text                                                                                                                  \
	}

static const struct cli_command commands[] = {
	{.name = "run",
		.arguments = "",
		.options = run_rows,
		.options_size = sizeof(struct run_options),
		.run = command_run,
		.help = "run the service in the foreground",
		.details = "Logs to standard error. SIGTERM finishes the open sign-ins and ends; SIGHUP reads the configuration again, whole or not at all."},
	{.name = "init",
		.arguments = "",
		.options = init_rows,
		.options_size = sizeof(struct init_options),
		.run = command_init,
		.help = "make the CA, the registry with its first tenant, and a configuration where there is none",
		.details = "Needs no running daemon. It refuses to touch a CA or registry that is there already."},
	CHANGE("backup", "FILE", plain_rows, command_backup, "copy the registry and the CA to one file; the service may run"),
	{.name = "restore",
		.arguments = "FILE",
		.min_args = 1,
		.max_args = 1,
		.options = plain_rows,
		.options_size = sizeof(struct common_options),
		.run = command_restore,
		.help = "make the registry and the CA from a backup",
		.details = "Needs a service that is stopped and a state folder without registry and CA. Verifies the backup before it writes."},
	{.name = "status",
		.arguments = "",
		.options = status_rows,
		.options_size = sizeof(struct status_options),
		.run = command_status,
		.help = "show the running service"},
	{.name = "signin",
		.arguments = "USER",
		.min_args = 1,
		.max_args = 1,
		.options = signin_rows,
		.options_size = sizeof(struct common_options),
		.run = command_signin,
		.help = "sign a user in through the running service and tell everything about it",
		.details = "Asks for the password. A wrong one counts against the user's lockout, as any sign-in does. Exits 0 only on success."},
	{.name = "domain add",
		.arguments = "NAME",
		.min_args = 1,
		.max_args = 1,
		.options = domain_rows,
		.options_size = sizeof(struct domain_options),
		.run = command_domain_add,
		.help = "let the agents of a group serve a domain"},
	LIST("domain list", command_domain_list, "list the domains"),
	CHANGE("domain enable", "NAME", tenant_rows, command_domain_enable, "take sign-ins of a domain again"),
	CHANGE("domain disable", "NAME", tenant_rows, command_domain_disable, "take no sign-ins of a domain"),
	CHANGE("domain remove", "NAME", tenant_rows, command_domain_remove, "forget a domain"),
	{.name = "token create",
		.arguments = "",
		.options = token_rows,
		.options_size = sizeof(struct token_options),
		.run = command_token_create,
		.help = "make a token that registers one agent within 60 minutes",
		.details = "The token carries the CA's certificate and is printed once. Give it to 'pta-agent register --token-file'."},
	{.name = "app create",
		.arguments = "NAME",
		.min_args = 1,
		.max_args = 1,
		.options = app_rows,
		.options_size = sizeof(struct app_options),
		.run = command_app_create,
		.help = "make an API key for a sign-in client",
		.details = "The key is printed once; only its hash is kept."},
	LIST("app list", command_app_list, "list the sign-in clients"),
	CHANGE("app revoke", "APP", plain_rows, command_app_revoke, "refuse a client's key from now on"),
	LIST("agent list", command_agent_list, "list the agents"),
	CHANGE("agent show", "AGENT", list_rows, command_agent_show, "show one agent with its certificate, polls and latency"),
	CHANGE("agent enable", "AGENT", plain_rows, command_agent_enable, "give an agent requests again"),
	CHANGE("agent disable", "AGENT", plain_rows, command_agent_disable, "let an agent finish what it has and give it nothing new"),
	CHANGE("agent revoke", "AGENT", plain_rows, command_agent_revoke, "cut an agent off for good"),
	{.name = NULL},
};

static const struct cli_program program = {
	.name = PROGRAM,
	.version = PACKAGE_VERSION,
	.purpose = "Takes sign-ins over HTTPS, hands them to agents inside the organisation's network, and answers with their verdicts.",
	.commands = commands,
	.bare = "run",
};

int main(int argc, char **argv)
{
	cli_stdio();
	/* before any thread */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return cli_fail(PROGRAM, CLI_FAILED, "libcurl does not start");
	return cli_main(&program, argc, argv);
}
