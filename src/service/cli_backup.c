/* `pta-service backup` and `pta-service restore`: on the files themselves, so that they work with the service up or down. */
#include "service/commands.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/control_client.h"
#include "base/file.h"
#include "service/backup.h"

static int exit_of(int code)
{
	return code == -PTA_EPERM ? CLI_PERMISSION : CLI_FAILED;
}

static int prepare(const struct common_options *o, struct service_conf **conf, char registry[4096], struct err *err)
{
	int r = command_conf(o->config, conf);

	if (r != CLI_OK)
		return r;
	r = secret_arena_init(SECRET_ARENA_BYTES, err);
	if (r == 0)
		r = service_conf_registry_path(*conf, registry, err);
	return r < 0 ? cli_fail(PROGRAM, exit_of(r), "%s", err->text) : CLI_OK;
}

/* The state folder is the service's user's: root reads in it with that user's rights, so that it follows no link where that user could not, and
 * SQLite's own files beside the registry are not root's. What is read is written with the caller's rights again. */
static int read_state(const struct service_conf *conf, const char *registry, struct backup **out, struct err *err)
{
	bool root = geteuid() == 0;
	gid_t caller_gid = getegid();
	uid_t uid = 0;
	gid_t gid = 0;
	int r;

	if (root) {
		r = file_user_ids(conf->user, &uid, &gid, err);
		if (r < 0)
			return r;
		if (setegid(gid) || seteuid(uid))
			return err_set_errno(err, -PTA_EPERM, errno, "become user %s", conf->user);
	}
	r = backup_of_state(conf->state_dir, registry, out, err);
	if (root && (seteuid(0) || setegid(caller_gid)))
		return err_set_errno(err, -PTA_EPERM, errno, "become root again");
	return r;
}

static void print_summary(const struct backup *backup)
{
	const struct backup_summary *s = backup_summary(backup);

	printf("holds     %zu domains, %zu apps, %zu agents, and the CA with its key\n", s->domains, s->apps, s->agents);
}

int command_backup(void *options, char **args, int nargs)
{
	struct service_conf *conf PTA_CLEANUP(service_conf_unrefp) = NULL;
	struct backup *backup PTA_CLEANUP(backup_freep) = NULL;
	char registry[4096];
	struct err err;
	int r = prepare(options, &conf, registry, &err);

	(void)nargs;
	if (r != CLI_OK)
		return r;
	r = read_state(conf, registry, &backup, &err);
	if (r == 0)
		r = backup_write(backup, args[0], &err);
	if (r < 0)
		return cli_fail(PROGRAM, exit_of(r), "%s", err.text);
	printf("backup    %s\n", args[0]);
	print_summary(backup);
	puts("Who has this file can pass for this service: keep it as safe as the service's host.");
	return CLI_OK;
}

int command_restore(void *options, char **args, int nargs)
{
	struct service_conf *conf PTA_CLEANUP(service_conf_unrefp) = NULL;
	struct backup *backup PTA_CLEANUP(backup_freep) = NULL;
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;
	char registry[4096];
	struct err err;
	int r = prepare(options, &conf, registry, &err);

	(void)nargs;
	if (r != CLI_OK)
		return r;
	/* One without its files goes on with what it has open, and would write them again. */
	if (control_listens(conf->control_socket))
		return cli_fail(PROGRAM, CLI_FAILED, "the service is running (%s): stop it first", conf->control_socket);
	r = backup_of_file(args[0], &backup, &err);
	if (r == 0 && geteuid() == 0)
		r = file_user_ids(conf->user, &uid, &gid, &err);
	if (r == 0)
		r = backup_restore(backup, conf->state_dir, registry, uid, gid, &err);
	if (r < 0)
		return cli_fail(PROGRAM, exit_of(r), "%s", err.text);
	printf("restored  %s, made %s by version %s\n", conf->state_dir, backup_summary(backup)->created, backup_summary(backup)->version);
	print_summary(backup);
	puts("\nWhat was done after that backup is undone. Next:\n"
	     "  start the service (systemctl start pta-service), look at pta-service agent list\n"
	     "  and app list, and revoke again what had been revoked since. Agents that have\n"
	     "  registered or renewed their certificate since are refused: register them again\n"
	     "  (pta-service token create, pta-agent register).");
	return CLI_OK;
}
