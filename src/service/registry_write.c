/* Changes that an administrator makes: tenants, groups, domains, apps, tokens, agents' states. */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/secret.h"
#include "service/registry_impl.h"

#define NETBIOS_MAX 15
#define APP_KEY_PREFIX "pta_"
#define APP_KEY_BYTES 32
#define APP_KEY_LEN (sizeof(APP_KEY_PREFIX) - 1 + BASE64URL_LEN(APP_KEY_BYTES))
/* How long an expired token is kept, so that its use is told from that of an unknown one. */
#define TOKEN_KEEP_MS UINT64_C(86400000)

static bool alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

int registry_name_check(const char *what, const char *name, size_t max, struct err *err)
{
	size_t len = strlen(name);

	if (len == 0)
		return err_set(err, -PTA_EINVAL, "the %s must not be empty", what);
	if (len > max)
		return err_set(err, -PTA_EINVAL, "the %s is longer than %zu bytes", what, max);
	for (size_t i = 0; i < len; i++) {
		bool inside = i > 0 && i + 1 < len;

		if (!alphanumeric(name[i]) && !(inside && strchr("._-", name[i])))
			return err_set(err, -PTA_EINVAL, "the %s may have a-z and 0-9, and inside also '.', '_' and '-'", what);
	}
	return 0;
}

void registry_short_id(char out[LIMIT_ID + 1], const char *kind)
{
	char id[RANDOM_ID_LEN + 1];

	random_id(id);
	snprintf(out, LIMIT_ID + 1, "%s-%.12s", kind, id);
}

/* Domain names compare without case: they are kept in lower case. */
static int domain_name(const char *what, const char *name, size_t max, char *out, struct err *err)
{
	size_t len = strlen(name);

	if (len > max)
		return err_set(err, -PTA_EINVAL, "the %s is longer than %zu bytes", what, max);
	for (size_t i = 0; i <= len; i++)
		out[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
	return registry_name_check(what, out, max, err);
}

static int tenant_check(struct registry_db *db, const char *tenant, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r;

	r = db_prepare(db, "SELECT 1 FROM tenant WHERE name = ?", DB_VALUES(DB_V_TEXT(tenant)), &stmt, err);
	if (r < 0)
		return r;
	r = db_step(db, stmt, err);
	if (r < 0)
		return r;
	return r ? 0 : err_set(err, -PTA_ENOENT, "there is no tenant '%s'", tenant);
}

int registry_group_ensure(struct registry_db *db, const char *tenant, const char *group, struct err *err)
{
	int r;

	r = registry_name_check("group", group, LIMIT_ID, err);
	if (r < 0)
		return r;
	r = tenant_check(db, tenant, err);
	if (r < 0)
		return r;
	return db_exec(db, "INSERT INTO agent_group (tenant, name, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		DB_VALUES(DB_V_TEXT(tenant), DB_V_TEXT(group), DB_V_INT(clock_wall_ms())), NULL, err);
}

int registry_tenant_add(struct registry_db *db, const char *tenant, struct err *err)
{
	int r;

	r = registry_name_check("tenant", tenant, LIMIT_TENANT, err);
	if (r < 0)
		return r;
	r = db_exec(db, "INSERT INTO tenant (name, created_ms) VALUES (?, ?)", DB_VALUES(DB_V_TEXT(tenant), DB_V_INT(clock_wall_ms())), NULL, err);
	return r == -PTA_EEXIST ? err_set(err, r, "the tenant '%s' exists already", tenant) : r;
}

/* Whose it is already, or -PTA_ENOENT. */
static int taken_by(struct registry_db *db, const char *sql, const char *tenant, const char *name, char owner[LIMIT_DOMAIN + 1], struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r;

	r = db_prepare(db, sql, DB_VALUES(DB_V_TEXT(tenant), DB_V_TEXT(name)), &stmt, err);
	if (r < 0)
		return r;
	r = db_step(db, stmt, err);
	if (r <= 0)
		return r < 0 ? r : -PTA_ENOENT;
	return db_column_text(db, stmt, 0, owner, LIMIT_DOMAIN + 1, err);
}

static int suffix_add(struct registry_db *db, const char *tenant, const char *domain, const char *suffix, struct err *err)
{
	char name[LIMIT_DOMAIN + 1], owner[LIMIT_DOMAIN + 1];
	int r;

	r = domain_name("suffix", suffix, LIMIT_DOMAIN, name, err);
	if (r < 0)
		return r;
	r = taken_by(db, "SELECT domain FROM suffix WHERE tenant = ? AND name = ?", tenant, name, owner, err);
	if (r == 0)
		return err_set(err, -PTA_EEXIST, "the suffix %s belongs to the domain %s already", name, owner);
	if (r != -PTA_ENOENT)
		return r;
	return db_exec(
		db, "INSERT INTO suffix (tenant, name, domain) VALUES (?, ?, ?)", DB_VALUES(DB_V_TEXT(tenant), DB_V_TEXT(name), DB_V_TEXT(domain)), NULL, err);
}

static int netbios_check(struct registry_db *db, const char *tenant, const char *netbios, char out[LIMIT_DOMAIN + 1], struct err *err)
{
	char owner[LIMIT_DOMAIN + 1];
	int r;

	r = domain_name("NetBIOS name", netbios, NETBIOS_MAX, out, err);
	if (r < 0)
		return r;
	r = taken_by(db, "SELECT name FROM domain WHERE tenant = ? AND netbios = ?", tenant, out, owner, err);
	if (r == 0)
		return err_set(err, -PTA_EEXIST, "the NetBIOS name %s belongs to the domain %s already", out, owner);
	return r == -PTA_ENOENT ? 0 : r;
}

int registry_domain_add(struct registry_db *db, const struct registry_domain *domain, struct err *err)
{
	char name[LIMIT_DOMAIN + 1], netbios[LIMIT_DOMAIN + 1] = "";
	int r;

	r = domain_name("domain", domain->name, LIMIT_DOMAIN, name, err);
	if (r < 0)
		return r;
	r = registry_group_ensure(db, domain->tenant, domain->group, err);
	if (r < 0)
		return r;
	if (domain->netbios[0]) {
		r = netbios_check(db, domain->tenant, domain->netbios, netbios, err);
		if (r < 0)
			return r;
	}
	r = db_exec(db, "INSERT INTO domain (tenant, name, agent_group, netbios, enabled, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
		DB_VALUES(DB_V_TEXT(domain->tenant), DB_V_TEXT(name), DB_V_TEXT(domain->group), DB_V_TEXT(netbios[0] ? netbios : NULL),
			DB_V_INT(domain->enabled), DB_V_INT(clock_wall_ms())),
		NULL, err);
	if (r == -PTA_EEXIST)
		return err_set(err, r, "the domain %s exists already", name);
	if (r < 0)
		return r;
	r = suffix_add(db, domain->tenant, name, name, err);
	for (size_t i = 0; i < domain->nsuffixes && r == 0; i++)
		r = suffix_add(db, domain->tenant, name, domain->suffixes[i], err);
	return r;
}

static int no_domain(const char *tenant, const char *name, struct err *err)
{
	return err_set(err, -PTA_ENOENT, "there is no domain %s in the tenant '%s'", name, tenant);
}

int registry_domain_enable(struct registry_db *db, const char *tenant, const char *domain, bool enabled, struct err *err)
{
	char name[LIMIT_DOMAIN + 1];
	int changed, r;

	r = domain_name("domain", domain, LIMIT_DOMAIN, name, err);
	if (r < 0)
		return r;
	r = db_exec(db, "UPDATE domain SET enabled = ? WHERE tenant = ? AND name = ?", DB_VALUES(DB_V_INT(enabled), DB_V_TEXT(tenant), DB_V_TEXT(name)),
		&changed, err);
	if (r < 0)
		return r;
	return changed ? 0 : no_domain(tenant, name, err);
}

int registry_domain_remove(struct registry_db *db, const char *tenant, const char *domain, struct err *err)
{
	char name[LIMIT_DOMAIN + 1];
	int changed, r;

	r = domain_name("domain", domain, LIMIT_DOMAIN, name, err);
	if (r < 0)
		return r;
	r = db_exec(db, "DELETE FROM domain WHERE tenant = ? AND name = ?", DB_VALUES(DB_V_TEXT(tenant), DB_V_TEXT(name)), &changed, err);
	if (r < 0)
		return r;
	return changed ? 0 : no_domain(tenant, name, err);
}

int registry_app_key_hash(const char *key, size_t len, uint8_t hash[32])
{
	uint8_t bytes[APP_KEY_BYTES];
	size_t n;
	int r;

	if (len != APP_KEY_LEN || memcmp(key, APP_KEY_PREFIX, sizeof(APP_KEY_PREFIX) - 1) != 0)
		return -PTA_EINVAL;
	r = decode_base64url(key + sizeof(APP_KEY_PREFIX) - 1, BASE64URL_LEN(APP_KEY_BYTES), bytes, sizeof(bytes), &n);
	if (r == 0)
		digest(bytes, n, hash);
	secret_wipe(bytes, sizeof(bytes));
	return r < 0 ? -PTA_EINVAL : 0;
}

/* A new key as text. */
static int app_key(char key[64], struct err *err)
{
	struct buf text = BUF_INIT_WIPED(64);
	uint8_t bytes[APP_KEY_BYTES];
	int r = 0;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return err_set(err, -PTA_ECRYPTO, "no random bytes for an API key");
	buf_puts(&text, APP_KEY_PREFIX);
	encode_base64url(&text, bytes, sizeof(bytes));
	if (buf_ok(&text))
		memcpy(key, text.data, text.len + 1);
	else
		r = err_set(err, -PTA_ENOMEM, "no memory for an API key");
	buf_done(&text);
	secret_wipe(bytes, sizeof(bytes));
	return r;
}

int registry_app_add(struct registry_db *db, const char *tenant, const char *name, bool details, char key[64], struct registry_app *out, struct err *err)
{
	struct registry_app app = {.details = details, .created_ms = clock_wall_ms()};
	int r;

	r = registry_name_check("app's name", name, LIMIT_ID, err);
	if (r < 0)
		return r;
	r = tenant_check(db, tenant, err);
	if (r < 0)
		return r;
	registry_short_id(app.id, "app");
	snprintf(app.tenant, sizeof(app.tenant), "%s", tenant);
	snprintf(app.name, sizeof(app.name), "%s", name);
	r = app_key(key, err);
	if (r < 0)
		return r;
	r = registry_app_key_hash(key, strlen(key), app.key_hash);
	if (r < 0)
		return err_set(err, r, "hashing an API key");
	r = db_exec(db, "INSERT INTO app (id, tenant, name, key_hash, details, revoked, created_ms) VALUES (?, ?, ?, ?, ?, 0, ?)",
		DB_VALUES(DB_V_TEXT(app.id), DB_V_TEXT(app.tenant), DB_V_TEXT(app.name), DB_V_BLOB(app.key_hash, sizeof(app.key_hash)), DB_V_INT(details),
			DB_V_INT(app.created_ms)),
		NULL, err);
	if (r < 0) {
		secret_wipe(key, 64);
		return r == -PTA_EEXIST ? err_set(err, r, "the tenant '%s' has an app '%s' already", tenant, name) : r;
	}
	*out = app;
	return 0;
}

int registry_app_revoke(struct registry_db *db, const char *app, struct err *err)
{
	int changed, r;

	r = db_exec(db, "UPDATE app SET revoked = 1 WHERE id = ?", DB_VALUES(DB_V_TEXT(app)), &changed, err);
	if (r < 0)
		return r;
	return changed ? 0 : err_set(err, -PTA_ENOENT, "there is no app with that id");
}

int registry_token_create(struct registry_db *db, const char *tenant, const char *group, uint64_t expires_ms, struct token *out, struct err *err)
{
	uint64_t now = clock_wall_ms();
	uint8_t hash[32];
	int r;

	r = registry_group_ensure(db, tenant, group, err);
	if (r < 0)
		return r;
	r = db_exec(db, "DELETE FROM token WHERE expires_ms < ?", DB_VALUES(DB_V_INT(now - TOKEN_KEEP_MS)), NULL, err);
	if (r < 0)
		return r;
	random_id(out->id);
	if (RAND_bytes(out->secret, sizeof(out->secret)) != 1)
		return err_set(err, -PTA_ECRYPTO, "no random bytes for a token");
	token_hash(out->secret, hash);
	return db_exec(db, "INSERT INTO token (id, secret_hash, tenant, agent_group, expires_ms) VALUES (?, ?, ?, ?, ?)",
		DB_VALUES(DB_V_TEXT(out->id), DB_V_BLOB(hash, sizeof(hash)), DB_V_TEXT(tenant), DB_V_TEXT(group), DB_V_INT(expires_ms)), NULL, err);
}

int registry_agent_state(struct registry_db *db, const char *agent, enum registry_agent_state state, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r;

	r = db_prepare(db, "SELECT state FROM agent WHERE id = ?", DB_VALUES(DB_V_TEXT(agent)), &stmt, err);
	if (r < 0)
		return r;
	r = db_step(db, stmt, err);
	if (r <= 0)
		return r < 0 ? r : err_set(err, -PTA_ENOENT, "there is no agent with that id");
	if (sqlite3_column_int(stmt, 0) == AGENT_REVOKED && state != AGENT_REVOKED)
		return err_set(err, -PTA_EPERM, "the agent %s was revoked, which is for good: register it again with a new token", agent);
	return db_exec(db, "UPDATE agent SET state = ? WHERE id = ?", DB_VALUES(DB_V_INT(state), DB_V_TEXT(agent)), NULL, err);
}
