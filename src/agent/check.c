/* `pta-agent check`: configuration, files, certificate and service; directories are in check_directory.c. */
#include "agent/check.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/commands.h"
#include "agent/service_http.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/secret.h"

#define DAY_MS 86400000ull
#define CERTIFICATE_WARN_MS (3 * DAY_MS)
#define SERVICE_TIMEOUT_MS 10000
#define CLOCK_WARN_MS 60000 /* logs and certificates suffer; sign-ins do not, they go by the service's clock */

static int print_json(const struct findings *findings)
{
	struct buf out = BUF_INIT(4u << 20);
	int r = findings_exit(findings);

	findings_json(findings, &out);
	if (!buf_ok(&out))
		r = cli_fail(PROGRAM, CLI_FAILED, "out of memory");
	else
		printf("%.*s\n", (int)out.len, (const char *)out.data);
	buf_done(&out);
	return r;
}

/* ---- what is looked at ---- */

/* Each error of the file is a finding of its own. */
static int check_conf(const char *path, struct findings *findings, struct agent_conf **out)
{
	struct conf_errors errors;
	char *line, *next;
	int r;

	conf_errors_init(&errors);
	r = agent_conf_load(path, out, &errors);
	if (r == 0)
		findings_good(findings, "configuration", "%s, %zu %s", path, (*out)->ndirectories, (*out)->ndirectories == 1 ? "directory" : "directories");
	else if (!buf_ok(&errors.text) || errors.text.len == 0)
		findings_bad(findings, "configuration", "", "%s: %s", path, pta_error_name(r));
	else
		for (line = (char *)errors.text.data; *line; line = next) {
			next = line + strcspn(line, "\n");
			if (*next)
				*next++ = '\0';
			findings_bad(findings, "configuration", "mend that line; pta-agent.conf(5) explains each key", "%s", line);
		}
	conf_errors_done(&errors);
	return r;
}

static void check_file(const struct identity_dir *dir, const char *name, mode_t type, struct findings *findings)
{
	char path[PATH_MAX], mend[300];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s%s", dir->path, name[0] ? "/" : "", name);
	if (stat(path, &st) < 0) {
		struct err err;

		err_set_errno(&err, 0, errno, "%s", path);
		findings_bad(findings, "files", "run 'pta-agent register', as root", "%s", err.text);
		return;
	}
	if ((st.st_mode & S_IFMT) != type) {
		findings_bad(findings, "files", "move it away and run 'pta-agent register'", "%s is not a %s", path, type == S_IFDIR ? "folder" : "file");
		return;
	}
	if (st.st_mode & 077) {
		snprintf(mend, sizeof(mend), "chmod %s %.200s", type == S_IFDIR ? "0700" : "0600", path);
		findings_bad(findings, "files", mend, "%s has mode %04o: others than its owner may look at it", path, (unsigned)st.st_mode & 07777);
		return;
	}
	if (dir->uid != (uid_t)-1 && st.st_uid != dir->uid) {
		snprintf(mend, sizeof(mend), "chown %lu %.200s", (unsigned long)dir->uid, path);
		findings_bad(
			findings, "files", mend, "%s belongs to user %lu, the agent runs as user %lu", path, (unsigned long)st.st_uid, (unsigned long)dir->uid);
	}
}

static int check_files(const struct agent_conf *conf, struct identity_dir *dir, struct findings *findings)
{
	static const char *const files[] = {"key.pem", "cert.pem", "ca.pem", "identity"};
	size_t before = findings->n;
	struct err err;
	int r;

	dir->path = conf->agent.state_dir;
	r = agent_conf_owner(conf, &dir->uid, &dir->gid, &err);
	if (r < 0) {
		findings_bad(findings, "files", "make that user, or change user in [agent]", "%s", err.text);
		return r;
	}
	check_file(dir, "", S_IFDIR, findings);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(files) && findings->n == before; i++)
		check_file(dir, files[i], S_IFREG, findings);
	if (findings->n > before)
		return -PTA_EPERM;
	findings_good(findings, "files", "%s, readable by their owner only", dir->path);
	return 0;
}

static int check_certificate(const struct identity_dir *dir, struct findings *findings, struct identity **out)
{
	uint64_t now = clock_wall_ms();
	char until[CLOCK_RFC3339_LEN + 1];
	struct err err;
	int r = identity_load(dir, out, &err);

	if (r < 0) {
		findings_bad(findings, "certificate", "get a token from the service and run 'pta-agent register --token-file FILE'", "%s", err.text);
		return r;
	}
	clock_rfc3339((*out)->not_after_ms, until);
	if (now >= (*out)->not_after_ms)
		findings_bad(findings, "certificate", "register again with a new token", "agent %s: it ended at %s", (*out)->agent, until);
	else if (now < (*out)->not_before_ms)
		findings_bad(findings, "certificate", "set this machine's clock", "agent %s: it is not valid yet", (*out)->agent);
	else if (now + CERTIFICATE_WARN_MS >= (*out)->not_after_ms)
		findings_warn(findings, "certificate", "see why the running agent does not renew it: 'pta-agent status', or run 'pta-agent renew'",
			"agent %s: it ends at %s", (*out)->agent, until);
	else
		findings_good(findings, "certificate", "agent %s of %s, group %s, until %s", (*out)->agent, (*out)->tenant, (*out)->group, until);
	return 0;
}

static const char *service_mend(int code)
{
	switch (code) {
	case -PTA_ETLS:
		return "the service's certificate must be of the CA that came with the token, for the host in the URL: see [agent] service, and whether "
		       "something opens TLS on the way";
	case -PTA_ETIMEDOUT:
		return "is there a firewall or a proxy on the way? See [proxy] in the configuration";
	default:
		return "see [agent] service, DNS, the firewall, and [proxy] in the configuration";
	}
}

static void check_clock(const struct service_call *call, struct findings *findings)
{
	int64_t offset = (int64_t)call->service_ms - (int64_t)clock_wall_ms();

	if (!call->service_ms)
		findings_bad(findings, "clock", "is that URL the agent listener of pta-service?", "the service's answer tells no time");
	else if (llabs(offset) > CLOCK_WARN_MS)
		findings_warn(
			findings, "clock", "set this machine's clock, best by NTP", "%+.1f s between the service's clock and ours", (double)offset / 1000);
	else
		findings_good(findings, "clock", "%+.3f s between the service's clock and ours", (double)offset / 1000);
}

/* An empty publication of a key changes nothing: a service that takes our certificate finds fault with it (400), one that
 * does not says why (403). */
static void check_service(const struct agent_conf *conf, const struct identity *identity, struct findings *findings)
{
	struct service_link link = {.conf = conf,
		.url = conf->agent.service ? conf->agent.service : identity->service,
		.ca_pem = &identity->ca_pem,
		.cert_pem = &identity->cert_pem,
		.key_pem = &identity->key_pem};
	uint64_t began_us = clock_mono_us();
	struct service_call call;
	char text[500];
	struct err err;
	int status, r = service_call_init(&call, &link, "/v1/agent/keys", SERVICE_JSON, 64, 65536, SERVICE_TIMEOUT_MS, &err);

	if (r < 0) {
		findings_bad(findings, "service", "", "%s", err.text);
		return;
	}
	buf_puts(&call.request, "{}");
	r = service_call_perform(&call, &status, &err);
	if (r < 0) {
		findings_bad(findings, "service", service_mend(r), "%s", err.text);
	} else if (status == 400) {
		findings_good(findings, "service", "%s takes our certificate, %.1f ms for connection and answer", link.url,
			(double)(clock_mono_us() - began_us) / 1000);
		check_clock(&call, findings);
	} else {
		service_error_text(&call, status, text, sizeof(text), NULL);
		findings_bad(findings, "service", status == 403 ? "register again with a new token" : "is that URL the agent listener of pta-service?",
			"%s: %s", link.url, text);
		if (call.service_ms)
			check_clock(&call, findings);
	}
	service_call_done(&call);
}

/* The daemon locks memory for passwords at start. */
static void check_memory(struct findings *findings)
{
	struct err err;

	if (secret_arena_init(SECRET_ARENA_BYTES, &err) < 0)
		findings_bad(findings, "memory", "raise LimitMEMLOCK of the unit, or ulimit -l", "%s", err.text);
	else
		findings_good(findings, "memory", "%u MiB locked for passwords", SECRET_ARENA_BYTES >> 20);
}

int command_check(void *options, char **args, int nargs)
{
	const struct common_options *o = options;
	struct agent_conf *conf PTA_CLEANUP(agent_conf_unrefp) = NULL;
	struct identity *identity PTA_CLEANUP(identity_freep) = NULL;
	struct findings findings = {.shown = o->json ? NULL : findings_show};
	struct identity_dir dir;
	int r;

	(void)args;
	(void)nargs;
	check_memory(&findings); /* first: the configuration may hold a proxy's password */
	if (check_conf(o->config ? o->config : AGENT_CONF_PATH, &findings, &conf) == 0) {
		if (check_files(conf, &dir, &findings) == 0 && check_certificate(&dir, &findings, &identity) == 0)
			check_service(conf, identity, &findings);
		check_directories(conf, &findings);
	}
	r = o->json ? print_json(&findings) : findings_exit(&findings);
	findings_done(&findings);
	return r;
}
