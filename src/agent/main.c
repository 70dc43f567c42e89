/* pta-agent: the table of commands. Options without a command belong to run, so that `pta-agent --check-config` works. */
#include <curl/curl.h>

#include "agent/commands.h"
#include "directory/krb5_profile.h"

#define CONFIG_ROW(options)                                                                                                                  \
	{                                                                                                                                   \
		.name = "config", .letter = 'c', .type = CLI_TEXT, .offset = offsetof(options, config), .metavar = "FILE", .help = config_help \
	}

static const char config_help[] = "configuration file (" AGENT_CONF_PATH ")";

static const struct cli_option run_rows[] = {
	CONFIG_ROW(struct run_options),
	{.name = "check-config", .type = CLI_FLAG, .offset = offsetof(struct run_options, check_config), .help = "check the configuration and exit"},
	{.name = "dump-config", .type = CLI_FLAG, .offset = offsetof(struct run_options, dump_config), .help = "print every key with its effective value and exit"},
	{.name = NULL},
};

static const struct cli_option register_rows[] = {
	CONFIG_ROW(struct register_options),
	{.name = "service",
		.letter = 's',
		.type = CLI_TEXT,
		.offset = offsetof(struct register_options, service),
		.metavar = "URL",
		.help = "agent listener of the service, https://host:port (the one in the configuration or the token)"},
	{.name = "token-file",
		.letter = 't',
		.type = CLI_TEXT,
		.offset = offsetof(struct register_options, token_file),
		.metavar = "FILE",
		.required = true,
		.help = "file with the registration token, - for standard input"},
	{.name = NULL},
};

static const struct cli_option plain_rows[] = {
	CONFIG_ROW(struct common_options),
	{.name = NULL},
};

static const struct cli_option json_rows[] = {
	CONFIG_ROW(struct common_options),
	{.name = "json", .type = CLI_FLAG, .offset = offsetof(struct common_options, json), .help = "print JSON"},
	{.name = NULL},
};

static const struct cli_option status_rows[] = {
	CONFIG_ROW(struct status_options),
	{.name = "json", .type = CLI_FLAG, .offset = offsetof(struct status_options, json), .help = "print JSON"},
	{.name = "log-level",
		.type = CLI_TEXT,
		.offset = offsetof(struct status_options, log_level),
		.metavar = "LEVEL",
		.help = "log from this level on (error, warning, notice, info, debug) until the configuration is read again"},
	{.name = NULL},
};

static const struct cli_command commands[] = {
	{.name = "run", .arguments = "", .options = run_rows, .options_size = sizeof(struct run_options), .run = command_run,
		.help = "run the agent in the foreground",
		.details = "Logs to standard error. SIGTERM finishes what is being validated and ends; SIGHUP reads the configuration again, whole or not at all."},
	{.name = "register", .arguments = "", .options = register_rows, .options_size = sizeof(struct register_options), .run = command_register,
		.help = "register this agent with the service by a one-time token",
		.details = "The key is made here and never leaves this machine. After a lost connection the same token may be used again. With a new token a registered agent keeps its name."},
	{.name = "renew", .arguments = "", .options = plain_rows, .options_size = sizeof(struct common_options), .run = command_renew,
		.help = "renew the agent's certificate now", .details = "A running agent does this by itself at two thirds of the certificate's life."},
	{.name = "check", .arguments = "", .options = json_rows, .options_size = sizeof(struct common_options), .run = command_check,
		.help = "tell whether the agent will work here",
		.details = "Looks at configuration, files, certificate, service, and every domain controller: DNS, ports, TLS, clocks, Kerberos, searches; without any user's password. "
			   "Exits 0 when all is well, 4 when it works but there are warnings (!), 1 when it will not work as configured (✗)."},
	{.name = "test", .arguments = "USER", .min_args = 1, .max_args = 1, .options = json_rows, .options_size = sizeof(struct common_options), .run = command_test,
		.help = "validate one password on the domain, without the service",
		.details = "Asks for the password, and shows each step and the verdict. A wrong one counts against the user's lockout, as any sign-in does. Exits 0 only on success."},
	{.name = "status", .arguments = "", .options = status_rows, .options_size = sizeof(struct status_options), .run = command_status, .help = "show the running agent"},
	{.name = NULL},
};

static const struct cli_program program = {
	.name = PROGRAM,
	.version = PACKAGE_VERSION,
	.purpose = "Validates passwords of cloud sign-ins on this network's domain controllers.",
	.commands = commands,
	.bare = "run",
};

int main(int argc, char **argv)
{
	struct err err;

	cli_stdio();
	/* Before any thread, and for the URL parser of the configuration. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return cli_fail(PROGRAM, CLI_FAILED, "libcurl does not start");
	if (krb5_profile_init(&err) < 0)
		return cli_fail(PROGRAM, CLI_FAILED, "%s", err.text);
	return cli_main(&program, argc, argv);
}
