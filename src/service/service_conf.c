#include "service/service_conf.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "wire/limits.h"

static const struct conf_row service_rows[] = {
	CONF_STRING(struct service_conf, state_dir, PTA_STATEDIR "/pta-service", "folder of the registry and of the CA"),
	CONF_STRING(struct service_conf, user, "pta-service", "user to become when started as root"),
	CONF_UINT(struct service_conf, threads, 0, 256, 0, "event threads; 0: one for each CPU"),
	CONF_STRING(struct service_conf, signin_listen, ":8443", "address for sign-in clients: host:port, [v6]:port or :port"),
	CONF_STRING(struct service_conf, agent_listen, ":8444", "address for agents"),
	CONF_STRING(struct service_conf, agent_url, NULL,
		"URL that registration tokens give to agents; default: https:// and the first name, with the port of agent_listen"),
	CONF_LIST_REQUIRED(struct service_conf, names, 32, "host names and addresses that the certificates of the service CA are for"),
	CONF_STRING(struct service_conf, tls_cert, NULL, "certificate (with chain) of one's own for the sign-in listener; default: one of the service CA"),
	CONF_STRING(struct service_conf, tls_key, NULL, "its private key"),
	CONF_STRING(struct service_conf, control_socket, PTA_RUNDIR "/pta-service/control.sock", "unix socket for pta-service's commands"),
	CONF_STRING(struct service_conf, metrics_listen, NULL, "loopback address for /metrics in plain HTTP, such as 127.0.0.1:9443; default: none"),
	CONF_MS(struct service_conf, deadline, 1000, 60000, "10s", "time from a sign-in to its answer"),
	CONF_UINT(struct service_conf, queue_limit, 1, 1000000, 4096, "sign-ins of one group that may wait for an agent; more are refused as overloaded"),
	CONF_UINT(struct service_conf, max_connections, 16, 1000000, 10000, "connections to one listener"),
	CONF_UINT(struct service_conf, max_connections_per_address, 1, 1000000, 1000, "connections to one listener from one address"),
	{0},
};

static int root_instance(void *root, const char *label, void **out, struct err *err)
{
	(void)label;
	(void)err;
	*out = root;
	return 0;
}

static int log_instance(void *root, const char *label, void **out, struct err *err)
{
	(void)label;
	(void)err;
	*out = &((struct service_conf *)root)->log;
	return 0;
}

const struct conf_section service_conf_sections[] = {
	{.name = "service", .rows = service_rows, .help = "the daemon", .instance = root_instance},
	{.name = "log", .rows = log_conf_rows, .help = "what is logged", .instance = log_instance},
	{0},
};

static const char *port_of(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon ? colon + 1 : "";
}

static bool address_valid(const char *address)
{
	const char *port = port_of(address);
	char *end;
	unsigned long n = strtoul(port, &end, 10);

	return port[0] >= '0' && port[0] <= '9' && !*end && n <= 65535;
}

/* "127.0.0.1:9443" or "[::1]:9443" */
static bool address_is_loopback(const char *address)
{
	char host[INET6_ADDRSTRLEN + 2];
	size_t len = (size_t)(port_of(address) - address);
	struct in_addr v4;

	if (len < 2 || len > sizeof(host))
		return false;
	memcpy(host, address, len - 1);
	host[len - 1] = 0;
	if (!strcmp(host, "[::1]"))
		return true;
	return inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

static void check_address(const char *path, const char *key, const char *address, struct conf_errors *errors)
{
	if (!address_valid(address))
		conf_errors_add(errors, path, 0, "%s: \"%s\" has no port: write host:port, [v6]:port or :port", key, address);
}

static void check(const struct service_conf *conf, const char *path, struct conf_errors *errors)
{
	check_address(path, "signin_listen", conf->signin_listen, errors);
	check_address(path, "agent_listen", conf->agent_listen, errors);
	if (!strcmp(conf->signin_listen, conf->agent_listen) && strcmp(port_of(conf->signin_listen), "0") != 0)
		conf_errors_add(errors, path, 0, "signin_listen and agent_listen are the same address: they need one each");
	if (conf->metrics_listen && !(address_valid(conf->metrics_listen) && address_is_loopback(conf->metrics_listen)))
		conf_errors_add(errors, path, 0,
			"metrics_listen: \"%s\" is not a loopback address with a port (metrics go in plain HTTP): write 127.0.0.1:9443 or [::1]:9443",
			conf->metrics_listen);
	log_conf_check(&conf->log, path, errors);
	if (!conf->tls_cert != !conf->tls_key)
		conf_errors_add(errors, path, 0, "tls_cert and tls_key go together: give both, or neither for a certificate of the service CA");
	if (conf->state_dir[0] != '/')
		conf_errors_add(errors, path, 0, "state_dir: \"%s\" is not an absolute path", conf->state_dir);
	if (conf->control_socket[0] != '/' || strlen(conf->control_socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		conf_errors_add(
			errors, path, 0, "control_socket: an absolute path of at most %zu bytes is needed", sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	if (conf->agent_url && strncmp(conf->agent_url, "https://", 8) != 0)
		conf_errors_add(errors, path, 0, "agent_url: \"%s\" does not start with https://", conf->agent_url);
	if (conf->agent_url && strlen(conf->agent_url) > LIMIT_DOMAIN)
		conf_errors_add(errors, path, 0, "agent_url: at most %d bytes fit into a token", LIMIT_DOMAIN);
	for (size_t i = 0; i < conf->names.n; i++) {
		if (strlen(conf->names.items[i]) > LIMIT_DOMAIN || strchr(conf->names.items[i], '/'))
			conf_errors_add(errors, path, 0, "names: \"%s\" is not a host name or address", conf->names.items[i]);
	}
}

static int fill_in(struct service_conf *conf)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!conf->threads)
		conf->threads = cpus < 1 ? 1 : cpus > 256 ? 256 : (unsigned)cpus;
	if (!conf->agent_url) {
		bool v6 = strchr(conf->names.items[0], ':') != NULL;

		if (asprintf(&conf->agent_url, "https://%s%s%s:%s", v6 ? "[" : "", conf->names.items[0], v6 ? "]" : "", port_of(conf->agent_listen)) < 0) {
			conf->agent_url = NULL;
			return -PTA_ENOMEM;
		}
	}
	return 0;
}

int service_conf_load(const char *path, struct service_conf **out, struct conf_errors *errors)
{
	struct service_conf *conf PTA_CLEANUP(service_conf_unrefp) = calloc(1, sizeof(*conf));
	int r;

	if (!conf)
		return -PTA_ENOMEM;
	conf->references = 1;
	r = conf_load(path, service_conf_sections, conf, errors);
	if (r < 0)
		return r;
	check(conf, path, errors);
	if (errors->count)
		return -PTA_EINVAL;
	r = fill_in(conf);
	if (r < 0)
		return r;
	*out = conf;
	conf = NULL;
	return 0;
}

struct service_conf *service_conf_ref(struct service_conf *conf)
{
	atomic_fetch_add(&conf->references, 1);
	return conf;
}

void service_conf_unref(struct service_conf *conf)
{
	if (!conf || atomic_fetch_sub(&conf->references, 1) != 1)
		return;
	conf_free_rows(service_rows, conf);
	conf_free_rows(log_conf_rows, &conf->log);
	free(conf);
}

void service_conf_unrefp(struct service_conf **conf)
{
	service_conf_unref(*conf);
}

void service_conf_dump(const struct service_conf *conf, struct buf *out)
{
	conf_dump(out, "service", NULL, service_rows, conf);
	conf_dump(out, "log", NULL, log_conf_rows, &conf->log);
}

int service_conf_registry_path(const struct service_conf *conf, char path[4096], struct err *err)
{
	if (file_path(path, 4096, conf->state_dir, "registry.db") < 0)
		return err_set(err, -PTA_ETOOBIG, "state_dir \"%s\" is too long", conf->state_dir);
	return 0;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

int service_conf_may_follow(const struct service_conf *current, const struct service_conf *next, struct err *err)
{
	const struct {
		const char *key, *current, *next;
	} fixed[] = {
		{"state_dir", current->state_dir, next->state_dir},
		{"user", current->user, next->user},
		{"signin_listen", current->signin_listen, next->signin_listen},
		{"agent_listen", current->agent_listen, next->agent_listen},
		{"control_socket", current->control_socket, next->control_socket},
		{"metrics_listen", current->metrics_listen, next->metrics_listen},
	};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(fixed); i++) {
		if (!same(fixed[i].current, fixed[i].next))
			return err_set(err, -PTA_EINVAL, "%s cannot change in a running daemon: restart it", fixed[i].key);
	}
	if (current->threads != next->threads)
		return err_set(err, -PTA_EINVAL, "threads cannot change in a running daemon: restart it");
	if (current->max_connections != next->max_connections || current->max_connections_per_address != next->max_connections_per_address)
		return err_set(err, -PTA_EINVAL, "the limits of connections cannot change in a running daemon: restart it");
	return 0;
}
