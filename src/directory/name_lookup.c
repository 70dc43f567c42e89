#include "directory/name_lookup.h"

#include <stdlib.h>
#include <string.h>

#include "directory/identity_bind.h"
#include "directory/ldap_conn_internal.h"
#include "directory/ldap_search.h"
#include "directory/ldap_tls.h"
#include "directory/name_filter.h"

/* MS-ADTS 3.1.1.3.1.10: the catalog's ports are fixed. */
#define CATALOG_PORT_LDAPS 3269
#define CATALOG_PORT 3268

struct name_lookup {
	const struct directory_conf *conf;
	struct directory_conf connect; /* the same, to connect with */
	struct ldap_tls *tls;
	struct identity_bind *identity;
};

int name_lookup_new(const struct directory_conf *conf, struct name_lookup **out, struct err *err)
{
	struct name_lookup *lookup = calloc(1, sizeof(*lookup));
	int r;

	if (!lookup)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	lookup->conf = conf;
	lookup->connect = *conf;
	/* Fast bind, which connections of `simple` begin with, would leave this one anonymous for good. */
	if (conf->method == DIRECTORY_SIMPLE)
		lookup->connect.method = DIRECTORY_GSSAPI;
	r = ldap_tls_new(conf, &lookup->tls, err);
	if (r == 0)
		r = identity_bind_new(conf, &lookup->identity, err);
	if (r < 0) {
		name_lookup_free(lookup);
		return r;
	}
	*out = lookup;
	return 0;
}

void name_lookup_free(struct name_lookup *lookup)
{
	if (!lookup)
		return;
	identity_bind_free(lookup->identity);
	ldap_tls_free(lookup->tls);
	free(lookup);
}

int name_lookup_paused(struct name_lookup *lookup, struct err *err)
{
	return identity_bind_paused(lookup->identity, err);
}

static int open_link(struct name_lookup *lookup, struct name_link *link, uint64_t connect_until_us, uint64_t deadline_us, bool *connected, struct err *err)
{
	int r;

	r = name_lookup_paused(lookup, err);
	if (r < 0)
		return r;
	r = ldap_conn_open(&lookup->connect, &link->server, lookup->tls, connect_until_us, &link->conn, err);
	/* No TLS beyond loopback: nothing that the identity has to do with. */
	if (r == -PTA_EPERM)
		r = -PTA_EINVAL;
	if (r < 0)
		return r;
	*connected = true;
	r = identity_bind_connection(lookup->identity, link->conn, &link->server, deadline_us, err);
	if (r < 0)
		return r;
	r = ldap_conn_root_dse(link->conn, deadline_us, &link->root, err);
	return r < 0 ? err_prefix(err, r, "%s port %u: ", link->server.host, link->server.port) : 0;
}

int name_link_open(struct name_lookup *lookup, const struct directory_server *server, uint64_t connect_until_us, uint64_t deadline_us, struct name_link **out,
	bool *connected, struct err *err)
{
	struct name_link *link = calloc(1, sizeof(*link));
	int r;

	*connected = false;
	if (!link)
		return err_set(err, -PTA_ENOMEM, "connecting to %s: out of memory", server->host);
	link->server = *server;
	if (lookup->conf->global_catalog)
		link->server.port = lookup->conf->tls == DIRECTORY_LDAPS ? CATALOG_PORT_LDAPS : CATALOG_PORT;
	r = open_link(lookup, link, connect_until_us, deadline_us, connected, err);
	if (r < 0) {
		name_link_close(link);
		return r;
	}
	*out = link;
	return 0;
}

void name_link_close(struct name_link *link)
{
	if (!link)
		return;
	ldap_conn_close(link->conn);
	free(link);
}

bool name_link_alive(const struct name_link *link)
{
	return !link->conn->dead && !ldap_conn_has_input(link->conn);
}

static int base_of(const struct directory_conf *conf, const struct name_link *link, const char **out, struct err *err)
{
	size_t len = strlen(link->root.naming_context);

	*out = conf->search_base;
	if (*out)
		return 0;
	*out = conf->global_catalog ? "" : link->root.naming_context;
	/* What was cut to fit would be another base. */
	if (!conf->global_catalog && (len == 0 || len >= sizeof(link->root.naming_context) - 1))
		return err_set(err, -PTA_EINVAL, "%s port %u tells no default naming context, or a very long one: set search_base", link->server.host,
			link->server.port);
	return 0;
}

struct look {
	const struct name_lookup *lookup;
	struct name_link *link;
	const struct credential *credential;
	struct ldap_query query;
	uint64_t deadline_us;
};

typedef int (*make_filter)(const struct directory_conf *conf, const struct credential *credential, bool active_directory, struct buf *out);

/* *n stays 0 when the name has no such meaning. */
static int search(struct look *look, make_filter make, struct ldap_hit *hit, unsigned *n, struct err *err)
{
	struct buf filter PTA_CLEANUP(buf_done) = BUF_INIT(NAME_FILTER_MAX);
	const struct directory_server *server = &look->link->server;
	int r;

	*n = 0;
	r = make(look->lookup->conf, look->credential, look->link->root.active_directory, &filter);
	if (r == -PTA_ENOENT)
		return 0;
	if (r < 0)
		return err_set(err, r, "the name makes too long a filter");
	look->query.filter = (const char *)filter.data;
	r = ldap_search_accounts(look->link->conn, &look->query, look->deadline_us, hit, n, err);
	return r < 0 ? err_prefix(err, r, "%s port %u: ", server->host, server->port) : 0;
}

/* An explicit name goes before an implicit one of another entry when it is a userPrincipalName, as in AD itself. An attribute
 * does not: users may be able to write their own mail, and nobody shall take another's name by that. */
static int look_up(struct look *look, struct name_found *out, struct err *err)
{
	const struct directory_conf *conf = look->lookup->conf;
	struct ldap_hit by_name = {0}, by_account = {0};
	unsigned names = 0, accounts = 0;
	int r;

	r = search(look, name_filter_explicit, &by_name, &names, err);
	if (r < 0)
		return r;
	if (names > 1)
		return -PTA_EEXIST;
	if (names == 0 || (name_filter_has_attributes(conf) && !credential_domain_equal(by_name.upn, look->credential->name))) {
		look->query.domain = conf->global_catalog ? conf->name : NULL;
		r = search(look, name_filter_account, &by_account, &accounts, err);
		if (r < 0)
			return r;
	}
	if (names + accounts == 0)
		return -PTA_ENOENT;
	if (accounts > 1 || (names && accounts && strcmp(by_name.found.dn, by_account.found.dn) != 0))
		return -PTA_EEXIST;
	*out = names ? by_name.found : by_account.found;
	return 0;
}

int name_link_look(const struct name_lookup *lookup, struct name_link *link, const struct credential *credential, uint64_t deadline_us, struct name_found *out,
	struct err *err)
{
	struct look look = {.lookup = lookup, .link = link, .credential = credential, .deadline_us = deadline_us};
	int r;

	r = base_of(lookup->conf, link, &look.query.base, err);
	if (r < 0)
		return r;
	r = look_up(&look, out, err);
	if (r == -PTA_ENOENT)
		return err_set(err, r, "%s port %u has no entry for the name below '%s'", link->server.host, link->server.port, look.query.base);
	if (r == -PTA_EEXIST)
		return err_set(err, r, "%s port %u has more than one entry for the name below '%s'", link->server.host, link->server.port, look.query.base);
	return r;
}
