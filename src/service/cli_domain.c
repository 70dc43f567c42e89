/* `pta-service domain …` */
#include "service/commands.h"

int command_domain_add(void *options, char **args, int nargs)
{
	const struct domain_options *o = options;
	struct json *answer PTA_CLEANUP(json_freep) = NULL;
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(32768);
	struct json_writer w = JSON_WRITER(&body);
	int r;

	(void)nargs;
	json_put_object(&w, NULL);
	json_put_string(&w, "tenant", command_tenant(&o->common));
	json_put_string(&w, "name", args[0]);
	json_put_string(&w, "group", o->group);
	if (o->netbios)
		json_put_string(&w, "netbios", o->netbios);
	json_put_array(&w, "suffixes");
	for (size_t i = 0; i < o->suffixes.n; i++)
		json_put_string(&w, NULL, o->suffixes.items[i]);
	json_end_array(&w);
	json_end_object(&w);
	r = command_ask(o->common.config, "POST", "/v1/domains", &body, &answer);
	if (r == CLI_OK)
		printf("%s is served by the agents of group %s\n", args[0], o->group);
	return r;
}

int command_domain_list(void *options, char **args, int nargs)
{
	static const char *const heads[] = {"domain", "tenant", "group", "netbios", "suffixes", "enabled"};
	static const char *const keys[] = {"name", "tenant", "group", "netbios", "suffixes", "enabled"};

	(void)args;
	(void)nargs;
	return command_list(options, "/v1/domains", heads, keys, PTA_ARRAY_SIZE(heads), "There is no domain yet: 'pta-service domain add' adds one.");
}

int command_domain_enable(void *options, char **args, int nargs)
{
	(void)nargs;
	return command_change(options, "/v1/domains/enable", command_tenant(options), "name", args[0], "is enabled");
}

int command_domain_disable(void *options, char **args, int nargs)
{
	(void)nargs;
	return command_change(
		options, "/v1/domains/disable", command_tenant(options), "name", args[0], "is disabled: its sign-ins are answered unavailable/not_configured");
}

int command_domain_remove(void *options, char **args, int nargs)
{
	(void)nargs;
	return command_change(options, "/v1/domains/remove", command_tenant(options), "name", args[0], "is removed");
}
