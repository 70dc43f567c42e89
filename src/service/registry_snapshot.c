/* The immutable copy of the registry that requests are judged by. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/idmap.h"
#include "service/registry_impl.h"

struct tenant_entry {
	char name[LIMIT_TENANT + 1];
	struct idmap_node node;
};

struct app_entry {
	struct registry_app app;
	char hex[65]; /* of the key's hash */
	struct idmap_node node;
};

struct agent_entry {
	struct registry_agent agent;
	char fingerprints[2][65];
	uint64_t not_after_ms[2];
	struct idmap_node node;
};

/* "tenant@suffix" or "tenant\netbios": neither sign can be in a tenant's name. */
#define NAME_KEY_LEN (LIMIT_TENANT + 1 + LIMIT_DOMAIN)

struct name_entry {
	char key[NAME_KEY_LEN + 1];
	size_t domain;
	struct idmap_node node;
};

struct registry_snapshot {
	atomic_uint references;
	struct tenant_entry *tenants;
	struct app_entry *apps;
	struct registry_domain *domains;
	struct agent_entry *agents;
	char (*suffixes)[LIMIT_DOMAIN + 1];
	struct name_entry *names;
	size_t ntenants, napps, ndomains, nagents, nsuffixes, nnames;
	struct idmap by_tenant, by_key, by_name, by_agent;
};

static void snapshot_free(struct registry_snapshot *s)
{
	idmap_done(&s->by_tenant);
	idmap_done(&s->by_key);
	idmap_done(&s->by_name);
	idmap_done(&s->by_agent);
	free(s->tenants);
	free(s->apps);
	free(s->domains);
	free(s->agents);
	free(s->suffixes);
	free(s->names);
	free(s);
}

/* Room for what the query counts; *n starts at 0 and goes up as rows are read. */
static int array_for(struct registry_db *db, const char *count, size_t size, void **out, size_t *room, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r;

	r = db_prepare(db, count, NULL, &stmt, err);
	if (r < 0)
		return r;
	r = db_step(db, stmt, err);
	if (r < 0)
		return r;
	*room = (size_t)sqlite3_column_int64(stmt, 0);
	*out = calloc(*room ? *room : 1, size);
	return *out ? 0 : err_set(err, -PTA_ENOMEM, "no memory for a copy of the registry");
}

/* One table: counts it, then reads each row. Nothing changes in between: one transaction or one thread is around it. */
struct table {
	const char *count, *select;
	size_t size; /* of an element */
	int (*row)(struct registry_snapshot *s, struct registry_db *db, sqlite3_stmt *stmt, struct err *err);
};

static int table_load(struct registry_snapshot *s, struct registry_db *db, const struct table *table, void **array, size_t *n, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	size_t room;
	int r;

	r = array_for(db, table->count, table->size, array, &room, err);
	if (r < 0)
		return r;
	r = db_prepare(db, table->select, NULL, &stmt, err);
	if (r < 0)
		return r;
	while ((r = db_step(db, stmt, err)) > 0) {
		if (*n == room)
			return err_set(err, -PTA_EBUSY, "registry %s changed while it was read", db->path);
		r = table->row(s, db, stmt, err);
		if (r < 0)
			return r;
		++*n;
	}
	return r;
}

static int tenant_row(struct registry_snapshot *s, struct registry_db *db, sqlite3_stmt *stmt, struct err *err)
{
	struct tenant_entry *entry = &s->tenants[s->ntenants];
	int r;

	r = db_column_text(db, stmt, 0, entry->name, sizeof(entry->name), err);
	if (r == 0)
		idmap_put(&s->by_tenant, entry->name, &entry->node);
	return r;
}

static int app_row(struct registry_snapshot *s, struct registry_db *db, sqlite3_stmt *stmt, struct err *err)
{
	struct app_entry *entry = &s->apps[s->napps];
	struct registry_app *app = &entry->app;
	int r;

	r = db_column_text(db, stmt, 0, app->id, sizeof(app->id), err);
	if (r == 0)
		r = db_column_text(db, stmt, 1, app->tenant, sizeof(app->tenant), err);
	if (r == 0)
		r = db_column_text(db, stmt, 2, app->name, sizeof(app->name), err);
	if (r < 0)
		return r;
	if (sqlite3_column_bytes(stmt, 3) != sizeof(app->key_hash))
		return err_set(err, -PTA_EINVAL, "registry %s: the app %s has no key's hash: was it changed by hand?", db->path, app->id);
	memcpy(app->key_hash, sqlite3_column_blob(stmt, 3), sizeof(app->key_hash));
	app->details = sqlite3_column_int(stmt, 4);
	app->revoked = sqlite3_column_int(stmt, 5);
	app->created_ms = (uint64_t)sqlite3_column_int64(stmt, 6);
	encode_hex(app->key_hash, sizeof(app->key_hash), entry->hex);
	idmap_put(&s->by_key, entry->hex, &entry->node);
	return 0;
}

static int domain_row(struct registry_snapshot *s, struct registry_db *db, sqlite3_stmt *stmt, struct err *err)
{
	struct registry_domain *domain = &s->domains[s->ndomains];
	int r;

	r = db_column_text(db, stmt, 0, domain->name, sizeof(domain->name), err);
	if (r == 0)
		r = db_column_text(db, stmt, 1, domain->tenant, sizeof(domain->tenant), err);
	if (r == 0)
		r = db_column_text(db, stmt, 2, domain->group, sizeof(domain->group), err);
	if (r == 0)
		r = db_column_text(db, stmt, 3, domain->netbios, sizeof(domain->netbios), err);
	domain->enabled = sqlite3_column_int(stmt, 4);
	domain->created_ms = (uint64_t)sqlite3_column_int64(stmt, 5);
	return r;
}

static int agent_row(struct registry_snapshot *s, struct registry_db *db, sqlite3_stmt *stmt, struct err *err)
{
	struct agent_entry *entry = &s->agents[s->nagents];
	struct registry_agent *agent = &entry->agent;
	int r;

	r = db_column_text(db, stmt, 0, agent->id, sizeof(agent->id), err);
	if (r == 0)
		r = db_column_text(db, stmt, 1, agent->tenant, sizeof(agent->tenant), err);
	if (r == 0)
		r = db_column_text(db, stmt, 2, agent->group, sizeof(agent->group), err);
	if (r == 0)
		r = db_column_text(db, stmt, 3, agent->host, sizeof(agent->host), err);
	if (r == 0)
		r = db_column_text(db, stmt, 4, agent->version, sizeof(agent->version), err);
	if (r < 0)
		return r;
	agent->state = (enum registry_agent_state)sqlite3_column_int(stmt, 5);
	agent->created_ms = (uint64_t)sqlite3_column_int64(stmt, 6);
	agent->fingerprints = entry->fingerprints;
	idmap_put(&s->by_agent, agent->id, &entry->node);
	return 0;
}

/* Ordered as the domains are, so that each domain's suffixes lie together. */
static int suffix_row(struct registry_snapshot *s, struct registry_db *db, sqlite3_stmt *stmt, struct err *err)
{
	return db_column_text(db, stmt, 0, s->suffixes[s->nsuffixes], sizeof(s->suffixes[0]), err);
}

static const struct table tenant_table = {
	"SELECT count(*) FROM tenant",
	"SELECT name FROM tenant ORDER BY name",
	sizeof(struct tenant_entry),
	tenant_row,
};
static const struct table app_table = {
	"SELECT count(*) FROM app",
	"SELECT id, tenant, name, key_hash, details, revoked, created_ms FROM app ORDER BY tenant, name, created_ms",
	sizeof(struct app_entry),
	app_row,
};
static const struct table domain_table = {
	"SELECT count(*) FROM domain",
	"SELECT name, tenant, agent_group, netbios, enabled, created_ms FROM domain ORDER BY tenant, name",
	sizeof(struct registry_domain),
	domain_row,
};
static const struct table agent_table = {
	"SELECT count(*) FROM agent",
	"SELECT id, tenant, agent_group, host, version, state, created_ms FROM agent ORDER BY tenant, agent_group, created_ms, id",
	sizeof(struct agent_entry),
	agent_row,
};
static const struct table suffix_table = {
	"SELECT count(*) FROM suffix WHERE name <> domain",
	"SELECT name FROM suffix WHERE name <> domain ORDER BY tenant, domain, name",
	LIMIT_DOMAIN + 1,
	suffix_row,
};

/* Gives each domain its suffixes out of the array that has all of them in the domains' order. */
static int deal_suffixes(struct registry_snapshot *s, struct registry_db *db, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	size_t domain = 0, suffix = 0;
	int r;

	r = db_prepare(db,
		"SELECT count(s.name) FROM domain d LEFT JOIN suffix s ON s.tenant = d.tenant AND s.domain = d.name AND s.name <> d.name"
		" GROUP BY d.tenant, d.name ORDER BY d.tenant, d.name",
		NULL, &stmt, err);
	if (r < 0)
		return r;
	while ((r = db_step(db, stmt, err)) > 0 && domain < s->ndomains) {
		s->domains[domain].suffixes = s->suffixes + suffix;
		s->domains[domain].nsuffixes = (size_t)sqlite3_column_int64(stmt, 0);
		suffix += s->domains[domain++].nsuffixes;
	}
	if (r == 0 && (domain != s->ndomains || suffix != s->nsuffixes))
		return err_set(err, -PTA_EINVAL, "registry %s: domains and suffixes do not agree: was it changed by hand?", db->path);
	return r;
}

/* The newest certificate of each agent, and the one before it. */
static int load_certificates(struct registry_snapshot *s, struct registry_db *db, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	char id[LIMIT_ID + 1];
	int r;

	r = db_prepare(db, "SELECT agent, fingerprint, not_after_ms FROM certificate ORDER BY number DESC", NULL, &stmt, err);
	if (r < 0)
		return r;
	while ((r = db_step(db, stmt, err)) > 0) {
		struct idmap_node *node;
		struct agent_entry *entry;
		size_t n;

		r = db_column_text(db, stmt, 0, id, sizeof(id), err);
		if (r < 0)
			return r;
		node = idmap_find(&s->by_agent, id);
		entry = node ? IDMAP_CONTAINER(node, struct agent_entry, node) : NULL;
		if (!entry || entry->agent.nfingerprints == PTA_ARRAY_SIZE(entry->fingerprints))
			continue;
		n = entry->agent.nfingerprints;
		r = db_column_text(db, stmt, 1, entry->fingerprints[n], sizeof(entry->fingerprints[n]), err);
		if (r < 0)
			return r;
		entry->not_after_ms[n] = (uint64_t)sqlite3_column_int64(stmt, 2);
		entry->agent.nfingerprints++;
		entry->agent.certificate_not_after_ms = entry->not_after_ms[0];
	}
	return r;
}

static void name_key(char out[NAME_KEY_LEN + 1], const char *tenant, char sign, const char *name)
{
	snprintf(out, NAME_KEY_LEN + 1, "%.*s%c%.*s", LIMIT_TENANT, tenant, sign, LIMIT_DOMAIN, name);
}

static void name_put(struct registry_snapshot *s, size_t domain, char sign, const char *name)
{
	struct name_entry *entry = &s->names[s->nnames++];

	name_key(entry->key, s->domains[domain].tenant, sign, name);
	entry->domain = domain;
	idmap_put(&s->by_name, entry->key, &entry->node);
}

static int index_names(struct registry_snapshot *s, struct err *err)
{
	s->names = calloc(2 * s->ndomains + s->nsuffixes + 1, sizeof(*s->names));
	if (!s->names)
		return err_set(err, -PTA_ENOMEM, "no memory for a copy of the registry");
	for (size_t i = 0; i < s->ndomains; i++) {
		const struct registry_domain *domain = &s->domains[i];

		name_put(s, i, '@', domain->name);
		for (size_t k = 0; k < domain->nsuffixes; k++)
			name_put(s, i, '@', domain->suffixes[k]);
		if (domain->netbios[0])
			name_put(s, i, '\\', domain->netbios);
	}
	return 0;
}

static int load(struct registry_snapshot *s, struct registry_db *db, struct err *err)
{
	int r;

	if (idmap_init(&s->by_tenant) < 0 || idmap_init(&s->by_key) < 0 || idmap_init(&s->by_name) < 0 || idmap_init(&s->by_agent) < 0)
		return err_set(err, -PTA_ENOMEM, "no memory for a copy of the registry");
	r = table_load(s, db, &tenant_table, (void **)&s->tenants, &s->ntenants, err);
	if (r == 0)
		r = table_load(s, db, &app_table, (void **)&s->apps, &s->napps, err);
	if (r == 0)
		r = table_load(s, db, &domain_table, (void **)&s->domains, &s->ndomains, err);
	if (r == 0)
		r = table_load(s, db, &suffix_table, (void **)&s->suffixes, &s->nsuffixes, err);
	if (r == 0)
		r = deal_suffixes(s, db, err);
	if (r == 0)
		r = index_names(s, err);
	if (r == 0)
		r = table_load(s, db, &agent_table, (void **)&s->agents, &s->nagents, err);
	if (r == 0)
		r = load_certificates(s, db, err);
	return r;
}

int registry_snapshot_load(struct registry_db *db, struct registry_snapshot **out, struct err *err)
{
	struct registry_snapshot *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(err, -PTA_ENOMEM, "no memory for a copy of the registry");
	atomic_init(&s->references, 1);
	r = load(s, db, err);
	if (r < 0) {
		snapshot_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void registry_snapshot_ref(struct registry_snapshot *s)
{
	atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
}

void registry_release(struct registry_snapshot *s)
{
	if (s && atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) == 1)
		snapshot_free(s);
}

const struct registry_app *registry_find_app(const struct registry_snapshot *s, const uint8_t key_hash[32])
{
	struct idmap_node *node;
	char hex[65];

	encode_hex(key_hash, 32, hex);
	node = idmap_find(&s->by_key, hex);
	return node ? &IDMAP_CONTAINER(node, struct app_entry, node)->app : NULL;
}

const struct registry_domain *registry_find_domain(const struct registry_snapshot *s, const char *tenant, enum credential_form form, const char *name)
{
	struct idmap_node *node;
	char key[NAME_KEY_LEN + 1];

	name_key(key, tenant, form == CREDENTIAL_NETBIOS ? '\\' : '@', name);
	node = idmap_find(&s->by_name, key);
	return node ? &s->domains[IDMAP_CONTAINER(node, struct name_entry, node)->domain] : NULL;
}

const struct registry_agent *registry_find_agent(const struct registry_snapshot *s, const char *agent)
{
	struct idmap_node *node = idmap_find(&s->by_agent, agent);

	return node ? &IDMAP_CONTAINER(node, struct agent_entry, node)->agent : NULL;
}

int registry_check_certificate(const struct registry_snapshot *s, const char *agent, const char *fingerprint, struct err *err)
{
	struct idmap_node *node = idmap_find(&s->by_agent, agent);
	const struct agent_entry *entry = node ? IDMAP_CONTAINER(node, struct agent_entry, node) : NULL;

	if (!entry)
		return err_set(err, -PTA_EPERM, "the agent is not known here: register it with a new token");
	if (entry->agent.state == AGENT_REVOKED)
		return err_set(err, -PTA_EPERM, "the agent %s was revoked", entry->agent.id);
	for (size_t i = 0; i < entry->agent.nfingerprints; i++) {
		if (strcmp(entry->fingerprints[i], fingerprint) != 0)
			continue;
		if (clock_wall_ms() >= entry->not_after_ms[i])
			return err_set(err, -PTA_EPERM, "the certificate of the agent %s has expired: register it again with a new token", entry->agent.id);
		return 0;
	}
	return err_set(
		err, -PTA_EPERM, "the certificate is no longer that of the agent %s: it was renewed since, or a copy of the agent is running", entry->agent.id);
}

bool registry_has_tenant(const struct registry_snapshot *s, const char *tenant)
{
	return idmap_find(&s->by_tenant, tenant) != NULL;
}

const struct registry_app *registry_app_at(const struct registry_snapshot *s, size_t i)
{
	return i < s->napps ? &s->apps[i].app : NULL;
}

const struct registry_domain *registry_domain_at(const struct registry_snapshot *s, size_t i)
{
	return i < s->ndomains ? &s->domains[i] : NULL;
}

const struct registry_agent *registry_agent_at(const struct registry_snapshot *s, size_t i)
{
	return i < s->nagents ? &s->agents[i].agent : NULL;
}
