/* The agent's configuration file, /etc/pta-agent.conf. A loaded value is immutable and counted: the running daemon, and
 * each job, holds the one that it started with. Loading blocks on disk; references are thread-safe. */
#ifndef PTA_AGENT_AGENT_CONF_H
#define PTA_AGENT_AGENT_CONF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/ini_conf.h"
#include "base/log_conf.h"
#include "base/secret.h"
#include "directory/directory_conf.h"

#define AGENT_CONF_PATH PTA_SYSCONFDIR "/pta-agent.conf"
#define AGENT_CONF_MAX_DIRECTORIES 64

/* [agent] */
struct agent_conf_agent {
	char *service;	 /* "https://host:port" of the agent listener; NULL: the one of the registration */
	char *state_dir;
	char *user;	 /* NULL: whoever starts it */
	char *control_socket;	 /* path of the control socket */
	char *metrics_listen;	 /* loopback "address:port"; NULL: none */
};

/* [proxy]. What is set here wins over the environment (https_proxy, no_proxy); what is not comes from there. */
struct agent_conf_proxy {
	char *url;
	char *user;
	char *password_file;
	struct conf_list no_proxy;
	struct secret *password; /* the file's content, read at load; NULL without a file */
};

struct agent_conf {
	struct agent_conf_agent agent;
	struct agent_conf_proxy proxy;
	struct log_conf log;
	struct directory_conf *directories[AGENT_CONF_MAX_DIRECTORIES];
	size_t ndirectories;
	atomic_uint refs;
};

/* The table of all sections, for the man page's test. */
extern const struct conf_section agent_conf_sections[];

/* Loads and checks the whole file. On 0 *out has one reference. On error `errors` has every line of it. */
PTA_MUST_CHECK int agent_conf_load(const char *path, struct agent_conf **out, struct conf_errors *errors);
/* The same from memory; need_directory false takes a file without any [directory …] (registration comes before). */
PTA_MUST_CHECK int agent_conf_load_text(const char *name, const char *text, size_t len, bool need_directory, struct agent_conf **out, struct conf_errors *errors);

struct agent_conf *agent_conf_ref(struct agent_conf *conf);
void agent_conf_unref(struct agent_conf *conf); /* NULL is allowed */
void agent_conf_unrefp(struct agent_conf **conf);

/* Every section with its effective values. */
void agent_conf_dump(const struct agent_conf *conf, struct buf *out);

/* "https://host[:port]" with nothing behind it. */
PTA_MUST_CHECK int agent_conf_check_url(const char *url, struct err *err);

/* Whether `next` may replace `now` in a running daemon; the text says which key needs a restart. */
PTA_MUST_CHECK int agent_conf_check_reload(const struct agent_conf *now, const struct agent_conf *next, struct err *err);

/* Who owns the agent's files: the configured user, else the owner of the state folder, when run as root; (uid_t)-1 else. */
PTA_MUST_CHECK int agent_conf_owner(const struct agent_conf *conf, uid_t *uid, gid_t *gid, struct err *err);

#endif
