/* /etc/pta-service.conf. A loaded value is immutable and shared by reference. Blocks on disk while loading. */
#ifndef PTA_SERVICE_SERVICE_CONF_H
#define PTA_SERVICE_SERVICE_CONF_H

#include "base/ini_conf.h"
#include "base/log_conf.h"

#define SERVICE_CONF_PATH PTA_SYSCONFDIR "/pta-service.conf"

struct service_conf {
	char *state_dir;
	char *user;
	unsigned threads; /* never 0 once loaded */
	char *signin_listen, *agent_listen;
	char *agent_url; /* what tokens tell agents to connect to */
	struct conf_list names;
	char *tls_cert, *tls_key; /* both or neither */
	char *control_socket;
	char *metrics_listen;
	unsigned deadline; /* ms */
	unsigned queue_limit;
	unsigned max_connections, max_connections_per_address;
	struct log_conf log;
	_Atomic unsigned references;
};

extern const struct conf_section service_conf_sections[];

/* Reads and checks everything. On an error *out is untouched and errors tells all of them. */
PTA_MUST_CHECK int service_conf_load(const char *path, struct service_conf **out, struct conf_errors *errors);
struct service_conf *service_conf_ref(struct service_conf *conf);
void service_conf_unref(struct service_conf *conf);
void service_conf_unrefp(struct service_conf **conf);

/* What --dump-config prints. */
void service_conf_dump(const struct service_conf *conf, struct buf *out);
/* The state folder's registry file; path has PATH_MAX bytes. */
PTA_MUST_CHECK int service_conf_registry_path(const struct service_conf *conf, char path[4096], struct err *err);
/* -PTA_EINVAL with the key's name when next changes what a running daemon cannot (listen addresses, state_dir, user, …). */
PTA_MUST_CHECK int service_conf_may_follow(const struct service_conf *current, const struct service_conf *next, struct err *err);

#endif
