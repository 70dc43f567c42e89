#include "agent/agent_conf.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "wire/credential.h"
#include "wire/limits.h"

#define MAX_PROXY_PASSWORD 256

static const struct conf_row agent_rows[] = {
	CONF_STRING(struct agent_conf_agent, service, NULL,
		"URL of the service's agent listener, https://host:port; when unset, the one that the agent was registered with"),
	CONF_STRING(struct agent_conf_agent, state_dir, PTA_STATEDIR "/pta-agent", "folder of key and certificate"),
	CONF_STRING(struct agent_conf_agent, user, NULL, "system user to become when started as root, and owner of the agent's files"),
	CONF_STRING(struct agent_conf_agent, control_socket, PTA_RUNDIR "/pta-agent/control.sock", "unix socket for status, renew and metrics"),
	CONF_STRING(struct agent_conf_agent, metrics_listen, NULL, "loopback address:port for /metrics, /live and /ready; unset: only on the control socket"),
	{.key = NULL},
};

static const struct conf_row proxy_rows[] = {
	CONF_STRING(struct agent_conf_proxy, url, NULL, "proxy to reach the service through, http://host:port; when unset, https_proxy of the environment"),
	CONF_STRING(struct agent_conf_proxy, user, NULL, "user name at the proxy"),
	CONF_STRING(struct agent_conf_proxy, password_file, NULL, "file with the password at the proxy, readable by its owner only"),
	CONF_LIST(struct agent_conf_proxy, no_proxy, 32, NULL, "hosts and domains reached without a proxy, or *; when unset, no_proxy of the environment"),
	{.key = NULL},
};

static int agent_instance(void *root, const char *label, void **out, struct err *err)
{
	(void)label;
	(void)err;
	*out = &((struct agent_conf *)root)->agent;
	return 0;
}

static int proxy_instance(void *root, const char *label, void **out, struct err *err)
{
	(void)label;
	(void)err;
	*out = &((struct agent_conf *)root)->proxy;
	return 0;
}

static int log_instance(void *root, const char *label, void **out, struct err *err)
{
	(void)label;
	(void)err;
	*out = &((struct agent_conf *)root)->log;
	return 0;
}

static int directory_instance(void *root, const char *label, void **out, struct err *err)
{
	struct agent_conf *conf = root;
	struct directory_conf *directory;

	for (size_t i = 0; i < conf->ndirectories; i++)
		if (strcasecmp(conf->directories[i]->name, label) == 0)
			return err_set(err, -PTA_EEXIST, "[directory %s] is there already", label);
	if (conf->ndirectories == AGENT_CONF_MAX_DIRECTORIES)
		return err_set(err, -PTA_ETOOBIG, "more than %d [directory …] sections", AGENT_CONF_MAX_DIRECTORIES);
	directory = calloc(1, sizeof(*directory));
	if (directory)
		directory->name = strdup(label);
	if (!directory || !directory->name) {
		free(directory);
		return err_set(err, -PTA_ENOMEM, "out of memory");
	}
	for (char *c = directory->name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	conf->directories[conf->ndirectories++] = directory;
	*out = directory;
	return 0;
}

const struct conf_section agent_conf_sections[] = {
	{.name = "agent", .rows = agent_rows, .instance = agent_instance, .help = "the daemon"},
	{.name = "proxy", .rows = proxy_rows, .instance = proxy_instance, .help = "the way to the service"},
	{.name = "log", .rows = log_conf_rows, .instance = log_instance, .help = "logging"},
	{.name = "directory", .labelled = true, .rows = directory_conf_rows, .instance = directory_instance, .help = "one domain that this agent validates passwords of"},
	{.name = NULL},
};

int agent_conf_check_url(const char *url, struct err *err)
{
	char *scheme = NULL, *path = NULL, *user = NULL, *query = NULL;
	CURLU *parsed = curl_url();
	bool good = false;

	if (!parsed)
		return err_set(err, -PTA_ENOMEM, "out of memory");
	if (curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK && curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_PATH, &path, 0) == CURLUE_OK)
		good = strcmp(scheme, "https") == 0 && strcmp(path, "/") == 0 && url[strlen(url) - 1] != '/' &&
		       curl_url_get(parsed, CURLUPART_USER, &user, 0) != CURLUE_OK && curl_url_get(parsed, CURLUPART_QUERY, &query, 0) != CURLUE_OK;
	curl_free(scheme);
	curl_free(path);
	curl_free(user);
	curl_free(query);
	curl_url_cleanup(parsed);
	if (!good)
		return err_set(err, -PTA_EINVAL, "\"%s\" is not a service URL: write https://host:port and nothing behind it", url);
	return 0;
}

/* A literal loopback address and a port: a name could come to mean something else. */
static bool loopback_listen(const char *text)
{
	char host[INET6_ADDRSTRLEN];
	struct in6_addr v6;
	struct in_addr v4;
	const char *colon = strrchr(text, ':');
	size_t len;

	if (!colon || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 5 || strtoul(colon + 1, NULL, 10) > 65535)
		return false;
	len = (size_t)(colon - text);
	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(host))
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static void check_proxy(struct agent_conf_proxy *proxy, const char *name, struct conf_errors *errors)
{
	struct err err;

	if (proxy->url && strncasecmp(proxy->url, "http://", 7) != 0 && strncasecmp(proxy->url, "https://", 8) != 0 && strncasecmp(proxy->url, "socks5h://", 10) != 0)
		conf_errors_add(errors, name, 0, "[proxy] url: \"%s\" must start with http://, https:// or socks5h://", proxy->url);
	if (proxy->url && strchr(proxy->url, '@'))
		conf_errors_add(errors, name, 0, "[proxy] url: put user name and password into user and password_file");
	if (!proxy->url && (proxy->user || proxy->password_file))
		conf_errors_add(errors, name, 0, "[proxy] user and password_file need url");
	if (!proxy->user != !proxy->password_file)
		conf_errors_add(errors, name, 0, "[proxy] user and password_file come together");
	if (proxy->password_file && file_read_secret(proxy->password_file, MAX_PROXY_PASSWORD, false, &proxy->password, &err) < 0)
		conf_errors_add(errors, name, 0, "[proxy] password_file: %s", err.text);
}

/* Two sections must not both claim a name: which of them gets a password would be chance. */
static void check_overlap(const struct agent_conf *conf, const char *name, struct conf_errors *errors)
{
	for (size_t i = 0; i < conf->ndirectories; i++) {
		const struct directory_conf *a = conf->directories[i];

		for (size_t j = 0; j < conf->ndirectories; j++) {
			const struct directory_conf *b = conf->directories[j];

			if (i == j)
				continue;
			for (size_t k = 0; k < a->suffixes.n; k++)
				if (directory_conf_serves(b, CREDENTIAL_UPN, a->suffixes.items[k]) && (i < j || strcasecmp(a->suffixes.items[k], b->name) == 0))
					conf_errors_add(errors, name, 0, "[directory %s] and [directory %s] both serve the suffix %s", a->name, b->name, a->suffixes.items[k]);
			if (i < j && a->netbios && directory_conf_serves(b, CREDENTIAL_NETBIOS, a->netbios))
				conf_errors_add(errors, name, 0, "[directory %s] and [directory %s] both have netbios %s", a->name, b->name, a->netbios);
		}
	}
}

static void check(struct agent_conf *conf, const char *name, bool need_directory, struct conf_errors *errors)
{
	struct err err;

	if (conf->agent.service && agent_conf_check_url(conf->agent.service, &err) < 0)
		conf_errors_add(errors, name, 0, "[agent] service: %s", err.text);
	if (conf->agent.state_dir && conf->agent.state_dir[0] != '/')
		conf_errors_add(errors, name, 0, "[agent] state_dir: \"%s\" must be an absolute path", conf->agent.state_dir);
	/* sun_path has 108 bytes with its NUL. */
	if (conf->agent.control_socket && (conf->agent.control_socket[0] != '/' || strlen(conf->agent.control_socket) > 107))
		conf_errors_add(errors, name, 0, "[agent] control_socket: \"%s\" must be an absolute path of at most 107 bytes", conf->agent.control_socket);
	if (conf->agent.metrics_listen && !loopback_listen(conf->agent.metrics_listen))
		conf_errors_add(errors, name, 0, "[agent] metrics_listen: \"%s\" must be a loopback address and port, as 127.0.0.1:9464 or [::1]:9464", conf->agent.metrics_listen);
	check_proxy(&conf->proxy, name, errors);
	log_conf_check(&conf->log, name, errors);
	for (size_t i = 0; i < conf->ndirectories; i++)
		directory_conf_check(conf->directories[i], name, errors);
	check_overlap(conf, name, errors);
	if (need_directory && conf->ndirectories == 0)
		conf_errors_add(errors, name, 0, "no [directory …] section: add one for each domain, as [directory corp.example.com]");
}

static struct agent_conf *conf_new(struct conf_errors *errors, const char *name)
{
	struct agent_conf *conf = calloc(1, sizeof(*conf));

	if (conf)
		atomic_init(&conf->refs, 1);
	else
		conf_errors_add(errors, name, 0, "out of memory");
	return conf;
}

/* Cross checks only look at values that were read well: a file with errors gets those alone. */
static int conf_finish(struct agent_conf *conf, int status, const char *name, bool need_directory, struct agent_conf **out, struct conf_errors *errors)
{
	if (status == 0)
		check(conf, name, need_directory, errors);
	if (status < 0 || errors->count > 0) {
		agent_conf_unref(conf);
		return status < 0 ? status : -PTA_EINVAL;
	}
	*out = conf;
	return 0;
}

int agent_conf_load(const char *path, struct agent_conf **out, struct conf_errors *errors)
{
	struct agent_conf *conf = conf_new(errors, path);

	if (!conf)
		return -PTA_ENOMEM;
	return conf_finish(conf, conf_load(path, agent_conf_sections, conf, errors), path, true, out, errors);
}

int agent_conf_load_text(const char *name, const char *text, size_t len, bool need_directory, struct agent_conf **out, struct conf_errors *errors)
{
	struct agent_conf *conf = conf_new(errors, name);

	if (!conf)
		return -PTA_ENOMEM;
	return conf_finish(conf, conf_load_text(name, text, len, agent_conf_sections, conf, errors), name, need_directory, out, errors);
}

struct agent_conf *agent_conf_ref(struct agent_conf *conf)
{
	atomic_fetch_add_explicit(&conf->refs, 1, memory_order_relaxed);
	return conf;
}

void agent_conf_unref(struct agent_conf *conf)
{
	if (!conf || atomic_fetch_sub_explicit(&conf->refs, 1, memory_order_acq_rel) > 1)
		return;
	conf_free_rows(agent_rows, &conf->agent);
	conf_free_rows(proxy_rows, &conf->proxy);
	conf_free_rows(log_conf_rows, &conf->log);
	secret_free(conf->proxy.password);
	for (size_t i = 0; i < conf->ndirectories; i++)
		directory_conf_free(conf->directories[i]);
	free(conf);
}

void agent_conf_unrefp(struct agent_conf **conf)
{
	agent_conf_unref(*conf);
}

void agent_conf_dump(const struct agent_conf *conf, struct buf *out)
{
	conf_dump(out, "agent", NULL, agent_rows, &conf->agent);
	conf_dump(out, "proxy", NULL, proxy_rows, &conf->proxy);
	conf_dump(out, "log", NULL, log_conf_rows, &conf->log);
	for (size_t i = 0; i < conf->ndirectories; i++)
		conf_dump(out, "directory", conf->directories[i]->name, directory_conf_rows, conf->directories[i]);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

int agent_conf_check_reload(const struct agent_conf *now, const struct agent_conf *next, struct err *err)
{
	const struct {
		const char *key, *before, *after;
	} fixed[] = {
		{"service", now->agent.service, next->agent.service}, {"state_dir", now->agent.state_dir, next->agent.state_dir},
		{"user", now->agent.user, next->agent.user},	      {"control_socket", now->agent.control_socket, next->agent.control_socket},
		{"metrics_listen", now->agent.metrics_listen, next->agent.metrics_listen},
	};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(fixed); i++)
		if (!same(fixed[i].before, fixed[i].after))
			return err_set(err, -PTA_EPERM, "[agent] %s changed from \"%s\" to \"%s\": restart the agent for that", fixed[i].key,
				fixed[i].before ? fixed[i].before : "", fixed[i].after ? fixed[i].after : "");
	return 0;
}

int agent_conf_owner(const struct agent_conf *conf, uid_t *uid, gid_t *gid, struct err *err)
{
	struct stat st;

	*uid = (uid_t)-1;
	*gid = (gid_t)-1;
	if (geteuid() != 0)
		return 0;
	if (conf->agent.user)
		return file_user_ids(conf->agent.user, uid, gid, err);
	if (stat(conf->agent.state_dir, &st) == 0) {
		*uid = st.st_uid;
		*gid = st.st_gid;
	}
	return 0;
}
