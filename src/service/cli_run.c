/* `pta-service run` */
#include "service/commands.h"

#include "service/service.h"

static int dump(const struct service_conf *conf)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(1u << 20);

	service_conf_dump(conf, &out);
	if (!buf_ok(&out) || fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		return cli_fail(PROGRAM, CLI_FAILED, "the configuration could not be written");
	return CLI_OK;
}

int command_run(void *options, char **args, int nargs)
{
	const struct run_options *o = options;
	struct service_conf *conf PTA_CLEANUP(service_conf_unrefp) = NULL;
	int r;

	(void)args;
	(void)nargs;
	if (!o->check_config && !o->dump_config)
		return service_run(o->config ? o->config : SERVICE_CONF_PATH);
	r = command_conf(o->config, &conf);
	if (r == CLI_OK && o->dump_config)
		r = dump(conf);
	return r;
}
