/* `pta-service agent …` */
#include "service/commands.h"

#include <string.h>

#include "wire/limits.h"

int command_agent_list(void *options, char **args, int nargs)
{
	static const char *const heads[] = {"agent", "tenant", "group", "host", "state", "online", "in flight", "latency ms", "certificate until"};
	static const char *const keys[] = {"agent", "tenant", "group", "host", "state", "online", "in_flight", "latency_ms", "certificate_until"};

	(void)args;
	(void)nargs;
	return command_list(options, "/v1/agents", heads, keys, PTA_ARRAY_SIZE(heads), "There is no agent yet: 'pta-service token create' lets one register.");
}

int command_agent_show(void *options, char **args, int nargs)
{
	static const char id_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	const struct common_options *o = options;
	struct json *answer PTA_CLEANUP(json_freep) = NULL;
	char path[128];
	int r;

	(void)nargs;
	/* What an id consists of needs no escaping in a query. */
	if (strspn(args[0], id_letters) != strlen(args[0]) || strlen(args[0]) > LIMIT_ID)
		return cli_fail(PROGRAM, CLI_FAILED, "'%s' is not an agent's id: see 'pta-service agent list'", args[0]);
	snprintf(path, sizeof(path), "/v1/agents/show?agent=%s", args[0]);
	r = command_ask(o->config, "GET", path, NULL, &answer);
	if (r != CLI_OK)
		return r;
	if (o->json)
		command_print_json(json_root(answer));
	else
		command_print_fields(json_root(answer));
	return CLI_OK;
}

int command_agent_enable(void *options, char **args, int nargs)
{
	(void)nargs;
	return command_change(options, "/v1/agents/enable", NULL, "agent", args[0], "is enabled");
}

int command_agent_disable(void *options, char **args, int nargs)
{
	(void)nargs;
	return command_change(options, "/v1/agents/disable", NULL, "agent", args[0], "is disabled: it finishes what it has and gets nothing new");
}

int command_agent_revoke(void *options, char **args, int nargs)
{
	(void)nargs;
	return command_change(options, "/v1/agents/revoke", NULL, "agent", args[0], "is revoked");
}
