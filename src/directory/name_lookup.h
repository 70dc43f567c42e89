/* One look for a name over one connection, and the connection: opened, bound as the identity, and told by its rootDSE what
 * server it is. What name_resolver's threads do, and `check` step by step. Blocks until deadlines. A name_lookup is
 * thread-safe; a link belongs to one thread at a time. */
#ifndef PTA_DIRECTORY_NAME_LOOKUP_H
#define PTA_DIRECTORY_NAME_LOOKUP_H

#include "directory/root_dse.h"
#include "directory/validator.h"

struct name_lookup;

/* Loads the CA file and the identity's password. conf has an identity, and must outlive it. */
PTA_MUST_CHECK int name_lookup_new(const struct directory_conf *conf, struct name_lookup **out, struct err *err);
void name_lookup_free(struct name_lookup *lookup); /* NULL is allowed */
/* -PTA_EPERM: the identity was refused and is not tried again yet, so no link can be opened. */
PTA_MUST_CHECK int name_lookup_paused(struct name_lookup *lookup, struct err *err);

struct name_link {
	struct ldap_conn *conn;
	struct ldap_root_dse root;
	struct directory_server server; /* with the port that is connected to */
	size_t dc;			/* the owner's */
	uint64_t used_us;		/* the owner's */
};

/* server: of the pool; with global_catalog its catalog is connected to, on the same host. *connected: TCP and TLS came up, so
 * that a failure is not one of the connection. -PTA_EPERM: the identity is refused, or paused. Else the codes of
 * ldap_conn_open() and of identity_bind_connection(). */
PTA_MUST_CHECK int name_link_open(struct name_lookup *lookup, const struct directory_server *server, uint64_t connect_until_us, uint64_t deadline_us,
	struct name_link **out, bool *connected, struct err *err);
void name_link_close(struct name_link *link); /* NULL is allowed */
/* It may be used again: not broken, and the server has not said goodbye. */
bool name_link_alive(const struct name_link *link);

/* 0: *out is the one entry. -PTA_ENOENT: there is none. -PTA_EEXIST: there are several. Else as ldap_search_accounts(). */
PTA_MUST_CHECK int name_link_look(const struct name_lookup *lookup, struct name_link *link, const struct credential *credential, uint64_t deadline_us,
	struct name_found *out, struct err *err);

#endif
