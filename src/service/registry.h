/* The registry: tenants, groups, domains, agents, certificates, tokens, API keys, in SQLite (WAL, schema version).
 * Readers use an immutable snapshot, which never touches the database: any thread, never blocks. Writers use struct
 * registry_db, either alone (`init`) or on the one writer thread of a running service (registry_submit()). */
#ifndef PTA_SERVICE_REGISTRY_H
#define PTA_SERVICE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/encode.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "base/workpool.h"
#include "wire/credential.h"
#include "wire/limits.h"
#include "wire/token.h"

enum registry_agent_state { AGENT_ENABLED = 0, AGENT_DISABLED = 1, AGENT_REVOKED = 2 };

struct registry_app {
	char id[LIMIT_ID + 1], tenant[LIMIT_TENANT + 1], name[LIMIT_ID + 1];
	uint8_t key_hash[32]; /* SHA-256 of the 256-bit key */
	bool details;	      /* is told what was not proved as well */
	bool revoked;
	uint64_t created_ms;
};
struct registry_domain {
	char name[LIMIT_DOMAIN + 1], tenant[LIMIT_TENANT + 1], group[LIMIT_ID + 1], netbios[LIMIT_DOMAIN + 1];
	char (*suffixes)[LIMIT_DOMAIN + 1];
	size_t nsuffixes;
	bool enabled;
	uint64_t created_ms;
};
struct registry_agent {
	char id[LIMIT_ID + 1], tenant[LIMIT_TENANT + 1], group[LIMIT_ID + 1], host[LIMIT_DOMAIN + 1], version[33];
	enum registry_agent_state state;
	uint64_t created_ms;
	char (*fingerprints)[65]; /* of its certificates that may be used: the newest, and the one before it until it expires */
	uint64_t certificate_not_after_ms; /* of the newest */
	size_t nfingerprints;
};

/* ---- reading ---- */
struct registry;
struct registry_snapshot;

PTA_MUST_CHECK int registry_open(const char *path, struct registry **out, struct err *err); /* starts the writer thread */
void registry_close(struct registry *registry);

/* The newest snapshot, referenced: give it back. Pointers from it live as long as the reference. */
struct registry_snapshot *registry_acquire(struct registry *registry);
void registry_release(struct registry_snapshot *snapshot);
/* Changes with every new snapshot: a cheap way to see whether anything is new. Lock-free. */
uint64_t registry_generation(const struct registry *registry);

const struct registry_app *registry_find_app(const struct registry_snapshot *s, const uint8_t key_hash[32]); /* revoked ones too; compares hashes, so its time tells nothing of a key */
/* By suffix (or the domain's own name) or by NetBIOS name, within a tenant; disabled ones too. */
const struct registry_domain *registry_find_domain(const struct registry_snapshot *s, const char *tenant, enum credential_form form, const char *name);
const struct registry_agent *registry_find_agent(const struct registry_snapshot *s, const char *agent);
/* 0, or -PTA_EPERM with the reason for a 403: unknown agent, revoked, certificate expired or not (any more) the agent's. A disabled agent
 * passes: it drains. */
PTA_MUST_CHECK int registry_check_certificate(const struct registry_snapshot *s, const char *agent, const char *fingerprint, struct err *err);
bool registry_has_tenant(const struct registry_snapshot *s, const char *tenant);
/* For listings; i from 0, NULL behind the last. */
const struct registry_app *registry_app_at(const struct registry_snapshot *s, size_t i);
const struct registry_domain *registry_domain_at(const struct registry_snapshot *s, size_t i);
const struct registry_agent *registry_agent_at(const struct registry_snapshot *s, size_t i);

/* ---- writing ---- */
struct registry_db;

/* One piece of work for the writer thread. run() returns 0 or -PTA_E* (with call->err); a change is committed (or rolled
 * back on an error) and the new snapshot is published before the call is posted to `reply`, with its status set. */
struct registry_call {
	struct mail mail;
	int (*run)(struct registry_call *call, struct registry_db *db);
	struct mailbox *reply;
	int status; /* -PTA_EBUSY: too many wait already, nothing was tried */
	struct err err;
	/* the registry's */
	struct registry *registry;
	struct work work;
};
void registry_submit(struct registry *registry, struct registry_call *call);

/* Creates the database file (0600) with the schema; -PTA_EEXIST. */
PTA_MUST_CHECK int registry_db_create(const char *path, struct err *err);
/* Opens for direct use (no daemon running); upgrades older schemas; refuses newer ones with a text. */
PTA_MUST_CHECK int registry_db_open(const char *path, struct registry_db **out, struct err *err);
void registry_db_close(struct registry_db *db);

/* All of these: -PTA_EINVAL (a bad name, with the text), -PTA_EEXIST, -PTA_ENOENT. Names: [a-z0-9] and inside . _ - ; groups are made
 * with their first use. Suffixes and NetBIOS names are unique in the tenant. */
PTA_MUST_CHECK int registry_tenant_add(struct registry_db *db, const char *tenant, struct err *err);
PTA_MUST_CHECK int registry_domain_add(struct registry_db *db, const struct registry_domain *domain, struct err *err);
PTA_MUST_CHECK int registry_domain_enable(struct registry_db *db, const char *tenant, const char *domain, bool enabled, struct err *err);
PTA_MUST_CHECK int registry_domain_remove(struct registry_db *db, const char *tenant, const char *domain, struct err *err);
/* The hash of an API key's text, as registry_app_add() stored it; -PTA_EINVAL when the text cannot be a key. */
PTA_MUST_CHECK int registry_app_key_hash(const char *key, size_t len, uint8_t hash[32]);
/* A key of 256 random bits ("pta_" and base64url): shown once by the caller, who wipes it; only its hash is stored. */
PTA_MUST_CHECK int registry_app_add(struct registry_db *db, const char *tenant, const char *name, bool details, char key[64], struct registry_app *out, struct err *err);
PTA_MUST_CHECK int registry_app_revoke(struct registry_db *db, const char *app, struct err *err);
/* Fills id and secret of a one-time token for the group and stores the secret's hash. */
PTA_MUST_CHECK int registry_token_create(struct registry_db *db, const char *tenant, const char *group, uint64_t expires_ms, struct token *out, struct err *err);
/* The one use of a token: checks it, binds it to this key (SHA-256 of its SubjectPublicKeyInfo) and gives tenant, group and the agent's id: a new one, or
 * that of known_agent (re-registration; the agent of the client certificate, NULL: none) when it is of the same tenant and group. The same token with the same key again: 0, *again true and
 * the certificate (PEM) given then. With another key: -PTA_EPERM "spent". Expired or unknown: -PTA_EPERM. */
PTA_MUST_CHECK int registry_token_use(struct registry_db *db, const char *token_id, const char *token_secret, const uint8_t key_hash[32], const char *known_agent, const char *host,
				      const char *version, struct registry_agent *out, bool *again, char certificate[LIMIT_CERTIFICATE + 1], struct err *err);
/* Stores an issued certificate of the agent (PEM kept for lost replies); token_id NULL: a renewal. The one before stays valid until its own end
 * or the next renewal. -PTA_EPERM: revoked meanwhile. */
PTA_MUST_CHECK int registry_certificate_add(struct registry_db *db, const char *agent, const char *token_id, const char *fingerprint, const char *serial,
					    uint64_t not_after_ms, const char *pem, struct err *err);
/* Revoking is for good: -PTA_EPERM when a revoked agent shall come back. */
PTA_MUST_CHECK int registry_agent_state(struct registry_db *db, const char *agent, enum registry_agent_state state, struct err *err);

#endif
