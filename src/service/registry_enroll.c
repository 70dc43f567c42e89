/* Enrolment: the one use of a token, and the certificates that agents hold. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "service/registry_impl.h"

#define KEPT_CERTIFICATES 2 /* the newest and the one before it */

/* A row of the token table. */
struct token_row {
	char tenant[LIMIT_TENANT + 1], group[LIMIT_ID + 1], agent[LIMIT_ID + 1];
	uint8_t secret_hash[32], key_hash[32];
	bool used;
	uint64_t expires_ms;
};

static int hash_column(struct registry_db *db, sqlite3_stmt *stmt, int column, uint8_t out[32], struct err *err)
{
	if (sqlite3_column_bytes(stmt, column) != 32)
		return err_set(err, -PTA_EINVAL, "registry %s: column %s is no hash: was it changed by hand?", db->path, sqlite3_column_name(stmt, column));
	memcpy(out, sqlite3_column_blob(stmt, column), 32);
	return 0;
}

static int token_load(struct registry_db *db, const char *id, struct token_row *out, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r;

	r = db_prepare(
		db, "SELECT tenant, agent_group, secret_hash, expires_ms, key_hash, agent FROM token WHERE id = ?", DB_VALUES(DB_V_TEXT(id)), &stmt, err);
	if (r < 0)
		return r;
	r = db_step(db, stmt, err);
	if (r <= 0)
		return r < 0 ? r : -PTA_ENOENT;
	r = db_column_text(db, stmt, 0, out->tenant, sizeof(out->tenant), err);
	if (r == 0)
		r = db_column_text(db, stmt, 1, out->group, sizeof(out->group), err);
	if (r == 0)
		r = hash_column(db, stmt, 2, out->secret_hash, err);
	if (r == 0)
		r = db_column_text(db, stmt, 5, out->agent, sizeof(out->agent), err);
	if (r < 0)
		return r;
	out->expires_ms = (uint64_t)sqlite3_column_int64(stmt, 3);
	out->used = sqlite3_column_type(stmt, 4) != SQLITE_NULL;
	return out->used ? hash_column(db, stmt, 4, out->key_hash, err) : 0;
}

static bool secret_matches(const char *text, const uint8_t hash[32])
{
	uint8_t secret[TOKEN_SECRET_LEN], have[32];
	size_t len;
	bool same = false;

	if (decode_base64url(text, strlen(text), secret, sizeof(secret), &len) == 0 && len == sizeof(secret)) {
		token_hash(secret, have);
		same = CRYPTO_memcmp(have, hash, sizeof(have)) == 0;
	}
	secret_wipe(secret, sizeof(secret));
	return same;
}

static int agent_load(struct registry_db *db, const char *id, struct registry_agent *out, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r;

	r = db_prepare(db, "SELECT id, tenant, agent_group, host, version, state, created_ms FROM agent WHERE id = ?", DB_VALUES(DB_V_TEXT(id)), &stmt, err);
	if (r < 0)
		return r;
	r = db_step(db, stmt, err);
	if (r <= 0)
		return r < 0 ? r : -PTA_ENOENT;
	*out = (struct registry_agent){.state = (enum registry_agent_state)sqlite3_column_int(stmt, 5), .created_ms = (uint64_t)sqlite3_column_int64(stmt, 6)};
	r = db_column_text(db, stmt, 0, out->id, sizeof(out->id), err);
	if (r == 0)
		r = db_column_text(db, stmt, 1, out->tenant, sizeof(out->tenant), err);
	if (r == 0)
		r = db_column_text(db, stmt, 2, out->group, sizeof(out->group), err);
	if (r == 0)
		r = db_column_text(db, stmt, 3, out->host, sizeof(out->host), err);
	if (r == 0)
		r = db_column_text(db, stmt, 4, out->version, sizeof(out->version), err);
	return r;
}

/* The certificate that the token brought, when it can still be used. */
static int given_certificate(struct registry_db *db, const char *token_id, char certificate[LIMIT_CERTIFICATE + 1], struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r;

	r = db_prepare(db, "SELECT pem FROM certificate WHERE token = ? ORDER BY number DESC LIMIT 1", DB_VALUES(DB_V_TEXT(token_id)), &stmt, err);
	if (r < 0)
		return r;
	r = db_step(db, stmt, err);
	if (r <= 0)
		return r < 0 ? r : err_set(err, -PTA_EPERM, "the token is spent, and its certificate was renewed since");
	return db_column_text(db, stmt, 0, certificate, LIMIT_CERTIFICATE + 1, err);
}

/* The agent that registers: the known one, refreshed, or a new one. A revoked identity never comes back. */
static int agent_for(struct registry_db *db, const struct token_row *token, const char *known, const char *host, const char *version,
	struct registry_agent *out, struct err *err)
{
	struct registry_agent agent = {.state = AGENT_ENABLED, .created_ms = clock_wall_ms()};
	int r = known ? agent_load(db, known, &agent, err) : -PTA_ENOENT;

	if (r < 0 && r != -PTA_ENOENT)
		return r;
	if (r == 0 && agent.state != AGENT_REVOKED && !strcmp(agent.tenant, token->tenant) && !strcmp(agent.group, token->group)) {
		snprintf(agent.host, sizeof(agent.host), "%s", host);
		snprintf(agent.version, sizeof(agent.version), "%s", version);
		*out = agent;
		return db_exec(db, "UPDATE agent SET host = ?, version = ? WHERE id = ?",
			DB_VALUES(DB_V_TEXT(agent.host), DB_V_TEXT(agent.version), DB_V_TEXT(agent.id)), NULL, err);
	}
	agent = (struct registry_agent){.state = AGENT_ENABLED, .created_ms = clock_wall_ms()};
	registry_short_id(agent.id, "agent");
	snprintf(agent.tenant, sizeof(agent.tenant), "%s", token->tenant);
	snprintf(agent.group, sizeof(agent.group), "%s", token->group);
	snprintf(agent.host, sizeof(agent.host), "%s", host);
	snprintf(agent.version, sizeof(agent.version), "%s", version);
	*out = agent;
	return db_exec(db, "INSERT INTO agent (id, tenant, agent_group, host, version, state, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
		DB_VALUES(DB_V_TEXT(agent.id), DB_V_TEXT(agent.tenant), DB_V_TEXT(agent.group), DB_V_TEXT(agent.host), DB_V_TEXT(agent.version),
			DB_V_INT(agent.state), DB_V_INT(agent.created_ms)),
		NULL, err);
}

int registry_token_use(struct registry_db *db, const char *token_id, const char *token_secret, const uint8_t key_hash[32], const char *known_agent,
	const char *host, const char *version, struct registry_agent *out, bool *again, char certificate[LIMIT_CERTIFICATE + 1], struct err *err)
{
	struct token_row token = {0};
	struct registry_agent agent;
	int r;

	*again = false;
	r = token_load(db, token_id, &token, err);
	/* One answer for both: whoever lacks the secret learns nothing. */
	if (r == -PTA_ENOENT || (r == 0 && !secret_matches(token_secret, token.secret_hash)))
		return err_set(err, -PTA_EPERM, "the token is unknown: make one with 'pta-service token create'");
	if (r < 0)
		return r;
	if (clock_wall_ms() >= token.expires_ms)
		return err_set(err, -PTA_EPERM, "the token has expired: make a new one with 'pta-service token create'");
	if (token.used) {
		if (CRYPTO_memcmp(token.key_hash, key_hash, 32) != 0)
			return err_set(err, -PTA_EPERM, "the token is spent: make a new one with 'pta-service token create'");
		r = agent_load(db, token.agent, &agent, err);
		if (r < 0)
			return r == -PTA_ENOENT ? err_set(err, r, "the token's agent is gone") : r;
		if (agent.state == AGENT_REVOKED)
			return err_set(err, -PTA_EPERM, "the token is spent, and its agent %s was revoked", agent.id);
		r = given_certificate(db, token_id, certificate, err);
		if (r < 0)
			return r;
		*out = agent;
		*again = true;
		return 0;
	}
	r = agent_for(db, &token, known_agent, host, version, &agent, err);
	if (r < 0)
		return r;
	r = db_exec(db, "UPDATE token SET key_hash = ?, agent = ? WHERE id = ?", DB_VALUES(DB_V_BLOB(key_hash, 32), DB_V_TEXT(agent.id), DB_V_TEXT(token_id)),
		NULL, err);
	if (r == 0)
		*out = agent;
	return r;
}

int registry_certificate_add(struct registry_db *db, const char *agent, const char *token_id, const char *fingerprint, const char *serial,
	uint64_t not_after_ms, const char *pem, struct err *err)
{
	struct registry_agent holder;
	int r;

	r = agent_load(db, agent, &holder, err);
	if (r < 0)
		return r == -PTA_ENOENT ? err_set(err, r, "there is no agent %s", agent) : r;
	if (holder.state == AGENT_REVOKED) /* perhaps only since its request came in */
		return err_set(err, -PTA_EPERM, "the agent %s was revoked", agent);
	r = db_exec(db, "INSERT INTO certificate (agent, token, fingerprint, serial, not_after_ms, pem) VALUES (?, ?, ?, ?, ?, ?)",
		DB_VALUES(DB_V_TEXT(agent), DB_V_TEXT(token_id), DB_V_TEXT(fingerprint), DB_V_TEXT(serial), DB_V_INT(not_after_ms), DB_V_TEXT(pem)), NULL, err);
	if (r < 0)
		return r;
	return db_exec(db,
		"DELETE FROM certificate WHERE agent = ? AND number NOT IN (SELECT number FROM certificate WHERE agent = ? ORDER BY number DESC LIMIT ?)",
		DB_VALUES(DB_V_TEXT(agent), DB_V_TEXT(agent), DB_V_INT(KEPT_CERTIFICATES)), NULL, err);
}
