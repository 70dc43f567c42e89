/* `pta-service token create` and `pta-service app …`: what lets agents and sign-in clients in. */
#include "service/commands.h"

int command_token_create(void *options, char **args, int nargs)
{
	const struct token_options *o = options;
	struct json *answer PTA_CLEANUP(json_freep) = NULL;
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(4096);
	struct json_writer w = JSON_WRITER(&body);
	int r;

	(void)args;
	(void)nargs;
	json_put_object(&w, NULL);
	json_put_string(&w, "tenant", command_tenant(&o->common));
	json_put_string(&w, "group", o->group);
	json_end_object(&w);
	r = command_ask(o->common.config, "POST", "/v1/tokens", &body, &answer);
	if (r != CLI_OK)
		return r;
	if (o->common.json) {
		command_print_json(json_root(answer));
		return CLI_OK;
	}
	/* The token alone on stdout, so that it can go to a file. */
	puts(command_text(json_root(answer), "token"));
	fprintf(stderr, "This token registers one agent of group %s until %s and is shown only now: pta-agent register --token-file FILE\n", o->group,
		command_text(json_root(answer), "expires"));
	return CLI_OK;
}

int command_app_create(void *options, char **args, int nargs)
{
	const struct app_options *o = options;
	struct json *answer PTA_CLEANUP(json_freep) = NULL;
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(4096);
	struct json_writer w = JSON_WRITER(&body);
	int r;

	(void)nargs;
	json_put_object(&w, NULL);
	json_put_string(&w, "tenant", command_tenant(&o->common));
	json_put_string(&w, "name", args[0]);
	json_put_bool(&w, "details", o->details);
	json_end_object(&w);
	r = command_ask(o->common.config, "POST", "/v1/apps", &body, &answer);
	if (r != CLI_OK)
		return r;
	if (o->common.json) {
		command_print_json(json_root(answer));
		return CLI_OK;
	}
	puts(command_text(json_root(answer), "key"));
	fprintf(stderr, "This is the key of %s (%s), shown only now. Sign-in clients send it as 'Authorization: Bearer KEY'.\n", args[0],
		command_text(json_root(answer), "id"));
	return CLI_OK;
}

int command_app_list(void *options, char **args, int nargs)
{
	static const char *const heads[] = {"app", "name", "tenant", "details", "revoked", "created"};
	static const char *const keys[] = {"id", "name", "tenant", "details", "revoked", "created"};

	(void)args;
	(void)nargs;
	return command_list(options, "/v1/apps", heads, keys, PTA_ARRAY_SIZE(heads), "There is no app yet: 'pta-service app create' makes one.");
}

int command_app_revoke(void *options, char **args, int nargs)
{
	(void)nargs;
	return command_change(options, "/v1/apps/revoke", NULL, "app", args[0], "is revoked");
}
