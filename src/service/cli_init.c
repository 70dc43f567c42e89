/* `pta-service init`: what a first start needs, without the daemon. Whatever is there already is left alone. */
#include "service/commands.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "service/ca.h"
#include "service/registry.h"

struct owner {
	uid_t uid;
	gid_t gid;
};

/* ---- the configuration ---- */

static void put_row(struct buf *out, const struct conf_row *row, const char *value)
{
	buf_printf(out, "# %s\n", row->help);
	if (value)
		buf_printf(out, "%s = %s\n", row->key, value);
	else
		buf_printf(out, "#%s =%s%s\n", row->key, row->def ? " " : "", row->def ? row->def : "");
}

/* Every key with its meaning and default, made of the same tables that read it. */
static void put_configuration(struct buf *out, const char *names, const struct init_options *o)
{
	buf_puts(out, "# Configuration of pta-service: see pta-service.conf(5). What is commented out is the default.\n");
	for (const struct conf_section *section = service_conf_sections; section->name; section++) {
		buf_printf(out, "\n[%s]\n", section->name);
		for (const struct conf_row *row = section->rows; row->key; row++) {
			if (!strcmp(row->key, "names"))
				put_row(out, row, names);
			else if (!strcmp(row->key, "tls_cert"))
				put_row(out, row, o->tls_cert);
			else if (!strcmp(row->key, "tls_key"))
				put_row(out, row, o->tls_key);
			else
				put_row(out, row, NULL);
		}
	}
}

static int write_configuration(const char *path, const struct init_options *o)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(1u << 20), names PTA_CLEANUP(buf_done) = BUF_INIT(16384);
	char host[HOST_NAME_MAX + 1];
	struct err err;

	for (size_t i = 0; i < o->names.n; i++)
		buf_printf(&names, "%s%s", i ? " " : "", o->names.items[i]);
	if (!o->names.n) {
		if (gethostname(host, sizeof(host)))
			return cli_fail(PROGRAM, CLI_FAILED, "this host's name cannot be read: give it by --name");
		buf_puts(&names, host);
	}
	if (buf_ok(&names))
		put_configuration(&out, (const char *)names.data, o);
	if (!buf_ok(&names) || !buf_ok(&out))
		return cli_fail(PROGRAM, CLI_FAILED, "the configuration would be too long");
	if (file_write_atomic(path, out.data, out.len, 0644, (uid_t)-1, (gid_t)-1, &err) < 0)
		return cli_fail(PROGRAM, CLI_FAILED, "%s", err.text);
	printf("configuration  %s, for %s\n", path, (const char *)names.data);
	return CLI_OK;
}

static int configuration(const struct init_options *o, struct service_conf **out)
{
	const char *path = o->config ? o->config : SERVICE_CONF_PATH;
	int r;

	if (!o->tls_cert != !o->tls_key)
		return cli_fail(PROGRAM, CLI_USAGE, "--tls-cert and --tls-key go together");
	if (access(path, F_OK) == 0) {
		if (o->names.n || o->tls_cert)
			return cli_fail(PROGRAM, CLI_USAGE,
				"%s is there already: set names, tls_cert and tls_key in it, and leave out --name, --tls-cert and --tls-key", path);
	} else {
		r = write_configuration(path, o);
		if (r != CLI_OK)
			return r;
	}
	return command_conf(path, out);
}

/* ---- the state ---- */

static int make_registry(const char *path, const struct owner *owner, struct err *err)
{
	struct registry_db *db;
	int r;

	r = registry_db_create(path, err);
	if (r < 0)
		return r;
	r = registry_db_open(path, &db, err);
	if (r == 0) {
		r = registry_tenant_add(db, DEFAULT_TENANT, err);
		registry_db_close(db);
	}
	if (r == 0 && owner->uid != (uid_t)-1 && chown(path, owner->uid, owner->gid))
		r = err_set_errno(err, -PTA_EIO, errno, "giving %s to user %u", path, (unsigned)owner->uid);
	if (r < 0)
		unlink(path);
	return r;
}

static void remove_ca(const char *state_dir)
{
	char path[PATH_MAX];

	if (file_path(path, sizeof(path), state_dir, "ca.key") == 0)
		unlink(path);
	if (file_path(path, sizeof(path), state_dir, "ca.crt") == 0)
		unlink(path);
}

/* Certificates are made at each start: here it only shows that they can be. */
static int try_certificates(const struct service_conf *conf, struct err *err)
{
	SSL_CTX *tls = NULL;
	struct ca *ca;
	int r;

	r = ca_open(conf->state_dir, &ca, err);
	if (r < 0)
		return r;
	r = ca_agent_tls(ca, &conf->names, &tls, err);
	SSL_CTX_free(tls);
	tls = NULL;
	if (r == 0)
		r = ca_signin_tls(ca, &conf->names, conf->tls_cert, conf->tls_key, &tls, err);
	SSL_CTX_free(tls);
	ca_free(ca);
	return r;
}

/* All of it or, after an error, nothing of it. */
static int make_state(const struct service_conf *conf, const char *registry_path, const struct owner *owner, struct err *err)
{
	int r;

	r = file_ensure_dir(conf->state_dir, owner->uid, owner->gid, err);
	if (r < 0)
		return r;
	if (access(registry_path, F_OK) == 0)
		return err_set(err, -PTA_EEXIST, "there is a registry %s already: this service was set up before", registry_path);
	r = ca_create(conf->state_dir, owner->uid, owner->gid, err);
	if (r < 0)
		return r;
	r = try_certificates(conf, err);
	if (r == 0)
		r = make_registry(registry_path, owner, err);
	if (r < 0)
		remove_ca(conf->state_dir);
	return r;
}

int command_init(void *options, char **args, int nargs)
{
	struct service_conf *conf PTA_CLEANUP(service_conf_unrefp) = NULL;
	struct owner owner = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	char registry_path[PATH_MAX];
	struct err err;
	int r;

	(void)args;
	(void)nargs;
	r = configuration(options, &conf);
	if (r != CLI_OK)
		return r;
	r = service_conf_registry_path(conf, registry_path, &err);
	if (r == 0 && geteuid() == 0)
		r = file_user_ids(conf->user, &owner.uid, &owner.gid, &err);
	if (r == 0)
		r = make_state(conf, registry_path, &owner, &err);
	if (r < 0)
		return cli_fail(PROGRAM, r == -PTA_EPERM ? CLI_PERMISSION : CLI_FAILED, "%s", err.text);
	printf("CA             %s/ca.crt, its key in %s/ca.key\n", conf->state_dir, conf->state_dir);
	printf("registry       %s, with the tenant '%s'\n", registry_path, DEFAULT_TENANT);
	puts("\nNext: start the daemon (systemctl enable --now pta-service), then\n"
	     "  pta-service domain add corp.example.com --group main --netbios CORP\n"
	     "  pta-service token create --group main    registers an agent\n"
	     "  pta-service app create portal            a key for a sign-in client");
	return CLI_OK;
}
