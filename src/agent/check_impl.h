/* What the parts of `check` that look at one [directory …] section share. Main thread; blocks. Nobody else includes it. */
#ifndef PTA_AGENT_CHECK_IMPL_H
#define PTA_AGENT_CHECK_IMPL_H

#include "agent/check.h"
#include "directory/dc_pool.h"
#include "directory/krb5_login.h"
#include "directory/ldap_tls.h"
#include "directory/name_lookup.h"
#include "directory/root_dse.h"

/* What is known of the agent's own account: what was refused once is not tried at the next controller, which would count it
 * again. */
enum account_state { ACCOUNT_UNTRIED, ACCOUNT_GOOD, ACCOUNT_BAD };

/* One section. */
struct directory_check {
	const struct agent_conf *agent;
	const struct directory_conf *conf;
	struct findings *findings;
	char label[FINDING_WHAT]; /* "directory corp.example.com" */
	struct directory_server servers[DC_POOL_MAX];
	size_t n;
	struct ldap_tls *tls; /* NULL: the section speaks no LDAP */
	/* check_keytab.c */
	char *service;	   /* the keytab's principal that tickets are asked for, NULL: none */
	char *client;	   /* the keytab's principal that can log on, NULL: none */
	bool service_only; /* client is the name of a service, which need not be able to log on */
	enum account_state keytab;
	/* check_names.c */
	struct name_lookup *lookup;
	enum account_state identity;
	bool schema_seen; /* it is the same on every controller */
};

/* One controller. */
struct dc_check {
	struct directory_check *d;
	const struct directory_server *server;
	/* Open ports. */
	bool ldap, plain_ldap, kdc, catalog;
	/* After check_ldap(). */
	bool dse_known;
	struct ldap_root_dse dse;
};

/* "host:port step" */
const char *check_label(const struct directory_server *server, unsigned port, const char *step, char out[FINDING_WHAT]);

static inline bool check_wants_kerberos(const struct directory_conf *conf)
{
	return conf->method != DIRECTORY_SIMPLE || (conf->identity && !conf->identity_password_file);
}

/* The agent's account is that of the keytab. */
static inline bool check_identity_in_keytab(const struct directory_conf *conf)
{
	return conf->identity && !conf->identity_password_file;
}

/* What is wrong with the keytab. Where nothing needs it, sign-ins work all the same. */
static inline enum severity check_keytab_severity(const struct directory_conf *conf)
{
	return conf->method == DIRECTORY_KERBEROS || check_identity_in_keytab(conf) ? SEVERITY_ERROR : SEVERITY_WARNING;
}

static inline bool check_wants_ldap(const struct directory_conf *conf)
{
	return conf->method != DIRECTORY_KERBEROS || directory_conf_resolves(conf);
}

#define CATALOG_PORT 3268
#define CATALOG_PORT_LDAPS 3269
static inline unsigned check_catalog_port(const struct directory_conf *conf)
{
	return conf->tls == DIRECTORY_LDAPS ? CATALOG_PORT_LDAPS : CATALOG_PORT;
}

/* Fills servers: those of the list, or those that DNS names. */
void check_servers(struct directory_check *d);
/* All of one controller. */
void check_dc(struct directory_check *d, const struct directory_server *server);
/* Its TCP ports, all at a time. */
void check_ports(struct dc_check *dc);
/* TLS and rootDSE, and what the controller demands of binds. */
void check_ldap(struct dc_check *dc);
/* Why its certificate is refused. False: not found out. */
struct check_tls_reason {
	char text[900], mend[300];
};
bool check_tls(const struct dc_check *dc, struct check_tls_reason *out);
/* A file with a secret of the agent's. False: it cannot be looked at. */
bool check_secret_file(const struct directory_check *d, enum severity severity, const char *what, const char *path);
/* The keytab's file and its keys; sets service and client. */
void check_keytab(struct directory_check *d);
/* The KDC, the keytab's key there, and a GSSAPI bind with it. */
void check_kerberos(struct dc_check *dc);
/* Its clock, `ahead_s` of ours, as told by `who`. */
void check_clock_of(const struct dc_check *dc, unsigned port, const char *who, int64_t ahead_s);
/* The identity's bind and search, the attributes of `login`. */
void check_names(struct dc_check *dc);

#endif
