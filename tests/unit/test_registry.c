#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "service/registry_impl.h"

#define NOW_MS INT64_C(1800000000000)

static char dir[64], path[PATH_MAX];

static int set_up(void **state)
{
	struct registry_db *db;
	struct err err;
	int r;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_registry.XXXXXX");
	if (!mkdtemp(dir) || file_path(path, sizeof(path), dir, "registry.db") < 0 || registry_db_create(path, &err) < 0 ||
		registry_db_open(path, &db, &err) < 0)
		return -1;
	r = registry_tenant_add(db, "default", &err);
	registry_db_close(db);
	return r;
}

static int tear_down(void **state)
{
	char extra[PATH_MAX + 8];

	(void)state;
	clock_fake(-1, -1);
	unlink(path);
	snprintf(extra, sizeof(extra), "%s-wal", path);
	unlink(extra);
	snprintf(extra, sizeof(extra), "%s-shm", path);
	unlink(extra);
	return rmdir(dir);
}

static struct registry_db *open_db(void)
{
	struct registry_db *db = NULL;
	struct err err;

	assert_int_equal(registry_db_open(path, &db, &err), 0);
	return db;
}

static struct registry *open_registry(void)
{
	struct registry *registry = NULL;
	struct err err;

	assert_int_equal(registry_open(path, &registry, &err), 0);
	return registry;
}

static struct registry_domain a_domain(const char *name, const char *netbios, char (*suffixes)[LIMIT_DOMAIN + 1], size_t n)
{
	struct registry_domain domain = {.tenant = "default", .group = "hq", .suffixes = suffixes, .nsuffixes = n, .enabled = true};

	snprintf(domain.name, sizeof(domain.name), "%s", name);
	snprintf(domain.netbios, sizeof(domain.netbios), "%s", netbios);
	return domain;
}

/* ---- the database ---- */

static void database_is_private_and_made_once(void **state)
{
	struct err err;
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(registry_db_create(path, &err), -PTA_EEXIST);
}

static void sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void newer_schema_is_refused_with_its_number(void **state)
{
	struct registry_db *db;
	struct registry *registry;
	struct err err;

	(void)state;
	sql("PRAGMA user_version = 4711");
	assert_int_equal(registry_db_open(path, &db, &err), -PTA_EINVAL);
	assert_non_null(strstr(err.text, "4711"));
	assert_int_equal(registry_open(path, &registry, &err), -PTA_EINVAL);
}

static void what_is_no_registry_is_refused(void **state)
{
	struct registry_db *db;
	struct err err;

	(void)state;
	sql("PRAGMA user_version = 0");
	assert_int_equal(registry_db_open(path, &db, &err), -PTA_EINVAL);
	assert_int_equal(file_write_atomic(path, "this is a text file, and a long one at that", 43, 0600, (uid_t)-1, (gid_t)-1, &err), 0);
	assert_int_equal(registry_db_open(path, &db, &err), -PTA_EIO);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(registry_db_open(path, &db, &err), -PTA_ENOENT);
	assert_non_null(strstr(err.text, "init"));
}

/* ---- upgrades ---- */

/* Makes a registry of a release; each has one of its own here. */
static void load_release(const char *release)
{
	struct buf text = BUF_INIT(1 << 20);
	char file[PATH_MAX];
	struct err err;

	snprintf(file, sizeof(file), "%s/tests/unit/registry-%s.sql", getenv("srcdir") ? getenv("srcdir") : ".", release);
	if (file_read(file, text.limit, &text, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(unlink(path), 0);
	sql((const char *)text.data);
	buf_done(&text);
}

static void registries_of_every_release_are_taken_over(void **state)
{
	static const char *const releases[] = {"0.1"};
	const struct registry_agent *agent;
	struct registry_snapshot *s;
	struct registry *registry;
	struct registry_db *db;
	struct err err;
	int version;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(releases); i++) {
		load_release(releases[i]);
		registry = open_registry();
		s = registry_acquire(registry);
		assert_non_null(registry_find_domain(s, "default", CREDENTIAL_UPN, "example.com"));
		assert_true(registry_find_domain(s, "default", CREDENTIAL_NETBIOS, "corp")->enabled);
		assert_false(registry_find_domain(s, "default", CREDENTIAL_UPN, "old.example.com")->enabled);
		assert_true(registry_app_at(s, 0)->revoked); /* "old", then "web" */
		assert_true(registry_app_at(s, 1)->details);
		agent = registry_find_agent(s, "agent-0123456789ab");
		assert_string_equal(agent->host, "agent1.example.com");
		assert_int_equal(agent->nfingerprints, 2);
		assert_int_equal(registry_find_agent(s, "agent-ba9876543210")->state, AGENT_REVOKED);
		registry_release(s);
		registry_close(registry);
		/* It is the newest now, and takes changes. */
		db = open_db();
		assert_int_equal(registry_db_version(db, &version, &err), 0);
		assert_int_equal(registry_db_migrate(db, NULL, version, version, &err), 0);
		assert_int_equal(registry_tenant_add(db, "another", &err), 0);
		registry_db_close(db);
	}
}

static void an_upgrade_is_made_whole_or_not_at_all(void **state)
{
	static const char *const good[] = {NULL, "CREATE TABLE one (a)", "ALTER TABLE one ADD COLUMN b; INSERT INTO one VALUES (1, 2)"};
	static const char *const bad[] = {NULL, "CREATE TABLE one (a)", "CREATE TABLE two (a); INSERT INTO nowhere VALUES (1)"};
	struct registry_db *db = open_db();
	struct err err;
	int changed, version;

	(void)state;
	assert_int_equal(registry_db_migrate(db, bad, 1, 3, &err), -PTA_EIO);
	assert_non_null(strstr(err.text, "nowhere"));
	assert_int_equal(db_exec(db, "INSERT INTO one VALUES (1)", NULL, NULL, &err), -PTA_EIO);
	assert_int_equal(registry_db_version(db, &version, &err), 0);
	assert_int_equal(version, 1);
	assert_int_equal(registry_db_migrate(db, good, 1, 3, &err), 0);
	assert_int_equal(db_exec(db, "UPDATE one SET b = 3", NULL, &changed, &err), 0);
	assert_int_equal(changed, 1);
	assert_int_equal(registry_db_version(db, &version, &err), -PTA_EINVAL); /* 3: newer than what is known */
	registry_db_close(db);
}

/* ---- names ---- */

static void names_are_held_to_their_alphabet(void **state)
{
	static const char *const bad[] = {"", "A", "a b", "-a", "a-", ".a", "a.", "a/b", "a@b", "a\\b", "\xc3\xa4", "a'b", "a\nb"};
	static const char *const good[] = {"a", "0", "a-b.c_d", "1a"};
	struct registry_db *db = open_db();
	struct err err;
	char name[LIMIT_TENANT + 2];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(bad); i++)
		assert_int_equal(registry_tenant_add(db, bad[i], &err), -PTA_EINVAL);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(good); i++)
		assert_int_equal(registry_tenant_add(db, good[i], &err), 0);
	assert_int_equal(registry_tenant_add(db, "default", &err), -PTA_EEXIST);
	memset(name, 'a', sizeof(name));
	name[LIMIT_TENANT + 1] = '\0';
	assert_int_equal(registry_tenant_add(db, name, &err), -PTA_EINVAL);
	name[LIMIT_TENANT] = '\0';
	assert_int_equal(registry_tenant_add(db, name, &err), 0);
	registry_db_close(db);
}

/* ---- domains ---- */

static void domains_are_found_by_name_suffix_and_netbios_within_their_tenant(void **state)
{
	char suffixes[2][LIMIT_DOMAIN + 1] = {"Example.COM", "example.org"};
	struct registry_domain domain = a_domain("Corp.Example.com", "CORP", suffixes, 2), plain = a_domain("plain.example.net", "", NULL, 0);
	struct registry_db *db = open_db();
	const struct registry_domain *found;
	struct registry_snapshot *s;
	struct registry *registry;
	struct err err;

	(void)state;
	assert_int_equal(registry_domain_add(db, &domain, &err), 0);
	assert_int_equal(registry_domain_add(db, &plain, &err), 0);
	assert_int_equal(registry_domain_enable(db, "default", "PLAIN.example.net", false, &err), 0);
	assert_int_equal(registry_tenant_add(db, "other", &err), 0);
	registry_db_close(db);

	registry = open_registry();
	s = registry_acquire(registry);
	assert_true(registry_has_tenant(s, "default"));
	assert_false(registry_has_tenant(s, "nobody"));
	found = registry_find_domain(s, "default", CREDENTIAL_UPN, "example.com");
	assert_non_null(found);
	assert_string_equal(found->name, "corp.example.com");
	assert_string_equal(found->group, "hq");
	assert_string_equal(found->netbios, "corp");
	assert_int_equal(found->nsuffixes, 2);
	assert_string_equal(found->suffixes[0], "example.com");
	assert_string_equal(found->suffixes[1], "example.org");
	assert_true(found->enabled);
	assert_ptr_equal(registry_find_domain(s, "default", CREDENTIAL_UPN, "corp.example.com"), found);
	assert_ptr_equal(registry_find_domain(s, "default", CREDENTIAL_UPN, "example.org"), found);
	assert_ptr_equal(registry_find_domain(s, "default", CREDENTIAL_NETBIOS, "corp"), found);
	assert_null(registry_find_domain(s, "default", CREDENTIAL_UPN, "corp"));
	assert_null(registry_find_domain(s, "default", CREDENTIAL_NETBIOS, "example.com"));
	assert_null(registry_find_domain(s, "other", CREDENTIAL_UPN, "example.com"));
	assert_null(registry_find_domain(s, "default", CREDENTIAL_UPN, "xexample.com"));
	found = registry_find_domain(s, "default", CREDENTIAL_UPN, "plain.example.net");
	assert_non_null(found);
	assert_false(found->enabled);
	assert_int_equal(found->nsuffixes, 0);
	assert_ptr_equal(registry_domain_at(s, 1), found);
	assert_null(registry_domain_at(s, 2));
	registry_release(s);
	registry_close(registry);
}

static void suffixes_and_netbios_names_are_unique_in_the_tenant(void **state)
{
	char suffixes[1][LIMIT_DOMAIN + 1] = {"example.com"}, own[1][LIMIT_DOMAIN + 1] = {"c.example.com"};
	struct registry_domain first = a_domain("a.example.com", "A", suffixes, 1), second = a_domain("b.example.com", "B", suffixes, 1),
			       named = a_domain("example.com", "", NULL, 0), netbios = a_domain("d.example.com", "a", NULL, 0),
			       itself = a_domain("c.example.com", "", own, 1), again = a_domain("a.example.com", "", NULL, 0);
	struct registry_db *db = open_db();
	struct err err;

	(void)state;
	assert_int_equal(registry_domain_add(db, &first, &err), 0);
	assert_int_equal(registry_domain_add(db, &second, &err), -PTA_EEXIST);
	assert_string_equal(err.text, "the suffix example.com belongs to the domain a.example.com already");
	assert_int_equal(registry_domain_add(db, &named, &err), -PTA_EEXIST);
	assert_int_equal(registry_domain_add(db, &netbios, &err), -PTA_EEXIST);
	assert_string_equal(err.text, "the NetBIOS name a belongs to the domain a.example.com already");
	assert_int_equal(registry_domain_add(db, &itself, &err), -PTA_EEXIST);
	assert_int_equal(registry_domain_add(db, &again, &err), -PTA_EEXIST);
	assert_string_equal(err.text, "the domain a.example.com exists already");
	/* Another tenant may have them. */
	assert_int_equal(registry_tenant_add(db, "other", &err), 0);
	snprintf(first.tenant, sizeof(first.tenant), "other");
	assert_int_equal(registry_domain_add(db, &first, &err), 0);
	/* A removed domain gives back its names. */
	assert_int_equal(registry_domain_remove(db, "default", "a.example.com", &err), 0);
	snprintf(first.tenant, sizeof(first.tenant), "default");
	assert_int_equal(registry_domain_add(db, &first, &err), 0);
	registry_db_close(db);
}

static void bad_domains_are_refused_with_the_reason(void **state)
{
	struct registry_domain domain = a_domain("corp example", "", NULL, 0);
	struct registry_db *db = open_db();
	struct err err;

	(void)state;
	assert_int_equal(registry_domain_add(db, &domain, &err), -PTA_EINVAL);
	domain = a_domain("corp.example.com", "SIXTEENLETTERSXX", NULL, 0);
	assert_int_equal(registry_domain_add(db, &domain, &err), -PTA_EINVAL);
	assert_string_equal(err.text, "the NetBIOS name is longer than 15 bytes");
	domain = a_domain("corp.example.com", "", NULL, 0);
	snprintf(domain.tenant, sizeof(domain.tenant), "nobody");
	assert_int_equal(registry_domain_add(db, &domain, &err), -PTA_ENOENT);
	assert_string_equal(err.text, "there is no tenant 'nobody'");
	assert_int_equal(registry_domain_enable(db, "default", "corp.example.com", true, &err), -PTA_ENOENT);
	assert_int_equal(registry_domain_remove(db, "default", "corp.example.com", &err), -PTA_ENOENT);
	registry_db_close(db);
}

/* ---- apps ---- */

static void api_keys_are_found_by_their_hash_also_when_revoked(void **state)
{
	struct registry_db *db = open_db();
	struct registry_app web, vpn;
	struct registry_snapshot *s;
	struct registry *registry;
	char key[64], other[64];
	uint8_t hash[32];
	struct err err;

	(void)state;
	assert_int_equal(registry_app_add(db, "default", "web", false, key, &web, &err), 0);
	assert_int_equal(registry_app_add(db, "default", "vpn", true, other, &vpn, &err), 0);
	assert_string_not_equal(key, other);
	assert_int_equal(registry_app_add(db, "default", "web", false, other, &vpn, &err), -PTA_EEXIST);
	assert_int_equal(registry_app_revoke(db, web.id, &err), 0);
	assert_int_equal(registry_app_revoke(db, "app-none", &err), -PTA_ENOENT);
	/* The name of a revoked one is free again. */
	assert_int_equal(registry_app_add(db, "default", "web", false, other, &vpn, &err), 0);
	assert_int_equal(registry_app_add(db, "nobody", "web", false, other, &vpn, &err), -PTA_ENOENT);
	registry_db_close(db);

	registry = open_registry();
	s = registry_acquire(registry);
	assert_int_equal(registry_app_key_hash(key, strlen(key), hash), 0);
	assert_non_null(registry_find_app(s, hash));
	assert_string_equal(registry_find_app(s, hash)->id, web.id);
	assert_true(registry_find_app(s, hash)->revoked);
	hash[31] ^= 1;
	assert_null(registry_find_app(s, hash));
	assert_string_equal(registry_app_at(s, 0)->name, "vpn");
	assert_true(registry_app_at(s, 0)->details);
	assert_non_null(registry_app_at(s, 2));
	assert_null(registry_app_at(s, 3));
	registry_release(s);
	registry_close(registry);
}

static void texts_that_cannot_be_a_key_have_no_hash(void **state)
{
	static const char *const bad[] = {"", "pta_", "pta_x", "PTA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"pta_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"pta_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "pta_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"};
	uint8_t hash[32];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(bad); i++)
		assert_int_equal(registry_app_key_hash(bad[i], strlen(bad[i]), hash), -PTA_EINVAL);
	assert_int_equal(registry_app_key_hash("pta_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 47, hash), 0);
}

/* ---- tokens, agents, certificates ---- */

struct enrolled {
	struct token token;
	char secret[64];
	struct registry_agent agent;
};

static void make_token(struct registry_db *db, const char *group, struct enrolled *out)
{
	struct buf text = BUF_INIT(64);
	struct err err;

	*out = (struct enrolled){0};
	assert_int_equal(registry_token_create(db, "default", group, NOW_MS + 3600000, &out->token, &err), 0);
	encode_base64url(&text, out->token.secret, sizeof(out->token.secret));
	memcpy(out->secret, text.data, text.len + 1);
	buf_done(&text);
}

static int use(struct registry_db *db, struct enrolled *e, uint8_t key, const char *known, bool *again, char pem[LIMIT_CERTIFICATE + 1], struct err *err)
{
	uint8_t key_hash[32];

	memset(key_hash, key, sizeof(key_hash));
	return registry_token_use(db, e->token.id, e->secret, key_hash, known, "host1", "0.1.0", &e->agent, again, pem, err);
}

static void enrol(struct registry_db *db, const char *group, uint8_t key, struct enrolled *e)
{
	char pem[LIMIT_CERTIFICATE + 1], fingerprint[65];
	struct err err;
	bool again;

	make_token(db, group, e);
	assert_int_equal(use(db, e, key, NULL, &again, pem, &err), 0);
	assert_false(again);
	memset(fingerprint, 'a' + key, 64);
	fingerprint[64] = '\0';
	assert_int_equal(registry_certificate_add(db, e->agent.id, e->token.id, fingerprint, "01", NOW_MS + 86400000, "PEM of the first", &err), 0);
}

static void the_same_token_and_key_get_the_same_certificate_again(void **state)
{
	struct registry_db *db = open_db();
	char pem[LIMIT_CERTIFICATE + 1], id[LIMIT_ID + 1];
	struct enrolled e;
	struct err err;
	bool again;

	(void)state;
	clock_fake(-1, NOW_MS);
	enrol(db, "hq", 1, &e);
	snprintf(id, sizeof(id), "%s", e.agent.id);
	assert_int_equal(use(db, &e, 1, NULL, &again, pem, &err), 0);
	assert_true(again);
	assert_string_equal(pem, "PEM of the first");
	assert_string_equal(e.agent.id, id);
	assert_int_equal(use(db, &e, 2, NULL, &again, pem, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "spent"));
	assert_false(again);
	/* Not for a revoked agent. */
	assert_int_equal(registry_agent_state(db, id, AGENT_REVOKED, &err), 0);
	assert_int_equal(use(db, &e, 1, NULL, &again, pem, &err), -PTA_EPERM);
	registry_db_close(db);
}

static void unknown_wrong_and_expired_tokens_are_refused(void **state)
{
	struct registry_db *db = open_db();
	char pem[LIMIT_CERTIFICATE + 1];
	struct enrolled e;
	struct err err;
	bool again;

	(void)state;
	clock_fake(-1, NOW_MS);
	make_token(db, "hq", &e);
	e.secret[0] = e.secret[0] == 'A' ? 'B' : 'A';
	assert_int_equal(use(db, &e, 1, NULL, &again, pem, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "unknown"));
	e.secret[5] = '\0';
	assert_int_equal(use(db, &e, 1, NULL, &again, pem, &err), -PTA_EPERM);
	make_token(db, "hq", &e);
	e.token.id[0] = e.token.id[0] == '0' ? '1' : '0';
	assert_int_equal(use(db, &e, 1, NULL, &again, pem, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "unknown"));
	make_token(db, "hq", &e);
	clock_fake(-1, NOW_MS + 3600000);
	assert_int_equal(use(db, &e, 1, NULL, &again, pem, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "expired"));
	clock_fake(-1, NOW_MS + 3599999);
	assert_int_equal(use(db, &e, 1, NULL, &again, pem, &err), 0);
	registry_db_close(db);
}

static void registering_again_keeps_the_identity_in_the_same_group_only(void **state)
{
	struct registry_db *db = open_db();
	char pem[LIMIT_CERTIFICATE + 1];
	struct enrolled e, next;
	struct err err;
	bool again;

	(void)state;
	clock_fake(-1, NOW_MS);
	enrol(db, "hq", 1, &e);
	make_token(db, "hq", &next);
	assert_int_equal(use(db, &next, 2, e.agent.id, &again, pem, &err), 0);
	assert_string_equal(next.agent.id, e.agent.id);
	make_token(db, "branch", &next);
	assert_int_equal(use(db, &next, 3, e.agent.id, &again, pem, &err), 0);
	assert_string_not_equal(next.agent.id, e.agent.id);
	assert_string_equal(next.agent.group, "branch");
	make_token(db, "hq", &next);
	assert_int_equal(use(db, &next, 4, "agent-unknown", &again, pem, &err), 0);
	assert_string_not_equal(next.agent.id, e.agent.id);
	assert_int_equal(registry_agent_state(db, e.agent.id, AGENT_REVOKED, &err), 0);
	make_token(db, "hq", &next);
	assert_int_equal(use(db, &next, 5, e.agent.id, &again, pem, &err), 0);
	assert_string_not_equal(next.agent.id, e.agent.id);
	registry_db_close(db);
}

static int check(const char *agent, char letter, struct err *err)
{
	struct registry *registry = open_registry();
	struct registry_snapshot *s = registry_acquire(registry);
	char fingerprint[65];
	int r;

	memset(fingerprint, letter, 64);
	fingerprint[64] = '\0';
	r = registry_check_certificate(s, agent, fingerprint, err);
	registry_release(s);
	registry_close(registry);
	return r;
}

static void renew(const char *agent, char letter, uint64_t not_after_ms)
{
	struct registry_db *db = open_db();
	char fingerprint[65];
	struct err err;

	memset(fingerprint, letter, 64);
	fingerprint[64] = '\0';
	assert_int_equal(registry_certificate_add(db, agent, NULL, fingerprint, "02", not_after_ms, "PEM", &err), 0);
	registry_db_close(db);
}

static void the_newest_certificate_and_the_one_before_are_valid_until_they_expire(void **state)
{
	struct registry_db *db = open_db();
	char pem[LIMIT_CERTIFICATE + 1];
	struct enrolled e;
	struct err err;
	bool again;

	(void)state;
	clock_fake(-1, NOW_MS);
	enrol(db, "hq", 0, &e);
	registry_db_close(db);
	assert_int_equal(check(e.agent.id, 'a', &err), 0);
	assert_int_equal(check(e.agent.id, 'b', &err), -PTA_EPERM);
	assert_int_equal(check("agent-none", 'a', &err), -PTA_EPERM);
	renew(e.agent.id, 'x', NOW_MS + 2 * INT64_C(86400000));
	assert_int_equal(check(e.agent.id, 'a', &err), 0);
	assert_int_equal(check(e.agent.id, 'x', &err), 0);
	clock_fake(-1, NOW_MS + 86400000);
	assert_int_equal(check(e.agent.id, 'a', &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "expired"));
	assert_int_equal(check(e.agent.id, 'x', &err), 0);
	clock_fake(-1, NOW_MS);
	renew(e.agent.id, 'y', NOW_MS + 2 * INT64_C(86400000));
	assert_int_equal(check(e.agent.id, 'a', &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "no longer"));
	assert_int_equal(check(e.agent.id, 'x', &err), 0);
	assert_int_equal(check(e.agent.id, 'y', &err), 0);
	/* And the token of the first, lost by two renewals, gives nothing any more. */
	db = open_db();
	assert_int_equal(use(db, &e, 0, NULL, &again, pem, &err), -PTA_EPERM);
	registry_db_close(db);
}

static void disabled_agents_pass_and_revoked_ones_never_come_back(void **state)
{
	struct registry_db *db = open_db();
	struct enrolled e;
	struct err err;

	(void)state;
	clock_fake(-1, NOW_MS);
	enrol(db, "hq", 0, &e);
	assert_int_equal(registry_agent_state(db, "agent-none", AGENT_DISABLED, &err), -PTA_ENOENT);
	assert_int_equal(registry_agent_state(db, e.agent.id, AGENT_DISABLED, &err), 0);
	assert_int_equal(check(e.agent.id, 'a', &err), 0);
	assert_int_equal(registry_agent_state(db, e.agent.id, AGENT_ENABLED, &err), 0);
	assert_int_equal(registry_agent_state(db, e.agent.id, AGENT_REVOKED, &err), 0);
	assert_int_equal(check(e.agent.id, 'a', &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "revoked"));
	assert_int_equal(registry_agent_state(db, e.agent.id, AGENT_ENABLED, &err), -PTA_EPERM);
	assert_int_equal(registry_agent_state(db, e.agent.id, AGENT_REVOKED, &err), 0);
	assert_int_equal(registry_certificate_add(db, e.agent.id, NULL, "f", "03", NOW_MS, "PEM", &err), -PTA_EPERM);
	assert_int_equal(registry_certificate_add(db, "agent-none", NULL, "f", "03", NOW_MS, "PEM", &err), -PTA_ENOENT);
	registry_db_close(db);
}

static void old_tokens_are_swept(void **state)
{
	struct registry_db *db = open_db();
	char pem[LIMIT_CERTIFICATE + 1];
	struct enrolled old, next;
	struct err err;
	bool again;

	(void)state;
	clock_fake(-1, NOW_MS);
	enrol(db, "hq", 0, &old);
	clock_fake(-1, NOW_MS + 2 * INT64_C(86400000));
	make_token(db, "hq", &next); /* sweeps, although the old one's certificate refers to it */
	assert_int_equal(use(db, &old, 0, NULL, &again, pem, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "unknown"));
	registry_db_close(db);
}

/* ---- the writer thread and its readers ---- */

struct add_call {
	struct registry_call call;
	unsigned number;
	bool fail;
};

static int add_domain(struct registry_call *call, struct registry_db *db)
{
	struct add_call *add = MAIL_CONTAINER(call, struct add_call, call);
	struct registry_domain domain;
	char name[64];
	int r;

	snprintf(name, sizeof(name), "d%u.example.com", add->number);
	domain = a_domain(name, "", NULL, 0);
	r = registry_domain_add(db, &domain, &call->err);
	return add->fail ? err_set(&call->err, -PTA_EPROTO, "changed its mind") : r;
}

static struct registry_call *wait_for(struct mailbox *box)
{
	struct pollfd fd = {.fd = mailbox_fd(box), .events = POLLIN};
	struct mail *mail;

	do {
		assert_int_equal(poll(&fd, 1, -1), 1);
		mail = mailbox_take(box);
	} while (!mail);
	assert_null(mail->next);
	return MAIL_CONTAINER(mail, struct registry_call, mail);
}

static void a_change_is_published_before_its_reply_and_a_failed_one_leaves_nothing(void **state)
{
	struct add_call good = {.call.run = add_domain, .number = 1}, bad = {.call.run = add_domain, .number = 2, .fail = true}, twice = good;
	struct registry *registry = open_registry();
	struct registry_snapshot *before = registry_acquire(registry), *s;
	uint64_t generation = registry_generation(registry);
	struct mailbox *box;

	(void)state;
	assert_int_equal(mailbox_new(&box), 0);
	good.call.reply = bad.call.reply = twice.call.reply = box;
	registry_submit(registry, &good.call);
	assert_ptr_equal(wait_for(box), &good.call);
	assert_int_equal(good.call.status, 0);
	assert_int_equal(registry_generation(registry), generation + 1);
	s = registry_acquire(registry);
	assert_non_null(registry_find_domain(s, "default", CREDENTIAL_UPN, "d1.example.com"));
	assert_null(registry_find_domain(before, "default", CREDENTIAL_UPN, "d1.example.com"));
	registry_release(s);
	registry_release(before);

	registry_submit(registry, &bad.call);
	assert_ptr_equal(wait_for(box), &bad.call);
	assert_int_equal(bad.call.status, -PTA_EPROTO);
	assert_string_equal(bad.call.err.text, "changed its mind");
	assert_int_equal(registry_generation(registry), generation + 1);
	registry_submit(registry, &twice.call);
	wait_for(box);
	assert_int_equal(twice.call.status, -PTA_EEXIST);
	registry_close(registry);

	registry = open_registry();
	s = registry_acquire(registry);
	assert_non_null(registry_find_domain(s, "default", CREDENTIAL_UPN, "d1.example.com"));
	assert_null(registry_find_domain(s, "default", CREDENTIAL_UPN, "d2.example.com"));
	registry_release(s);
	registry_close(registry);
	mailbox_free(box);
}

#define READERS 3
#define CHANGES 40

struct reader_thread {
	pthread_t id;
	struct registry *registry;
	atomic_bool *stop;
};

/* Domain k is there only when all before it are: a snapshot is one state of the database, never a mixture. */
static void *read_on(void *arg)
{
	struct reader_thread *thread = arg;
	uint64_t generation = 0;
	unsigned seen = 0;

	while (!atomic_load(thread->stop)) {
		uint64_t now = registry_generation(thread->registry);
		struct registry_snapshot *s;
		unsigned n = 0;
		char name[64];

		if (now == generation)
			continue;
		generation = now;
		s = registry_acquire(thread->registry);
		for (; n < CHANGES; n++) {
			snprintf(name, sizeof(name), "d%u.example.com", n);
			if (!registry_find_domain(s, "default", CREDENTIAL_UPN, name))
				break;
		}
		if (registry_domain_at(s, n) || n < seen)
			abort();
		seen = n;
		registry_release(s);
	}
	return NULL;
}

static void readers_see_whole_states_while_the_writer_works(void **state)
{
	static struct add_call calls[CHANGES];
	struct registry *registry = open_registry();
	struct reader_thread threads[READERS];
	atomic_bool stop = false;
	struct mailbox *box;

	(void)state;
	assert_int_equal(mailbox_new(&box), 0);
	for (unsigned i = 0; i < READERS; i++) {
		threads[i] = (struct reader_thread){.registry = registry, .stop = &stop};
		assert_int_equal(pthread_create(&threads[i].id, NULL, read_on, &threads[i]), 0);
	}
	for (unsigned i = 0; i < CHANGES; i++) {
		calls[i] = (struct add_call){.call.run = add_domain, .call.reply = box, .number = i};
		registry_submit(registry, &calls[i].call);
	}
	for (unsigned got = 0; got < CHANGES;) {
		struct pollfd fd = {.fd = mailbox_fd(box), .events = POLLIN};

		assert_int_equal(poll(&fd, 1, -1), 1);
		for (struct mail *mail = mailbox_take(box); mail; mail = mail->next, got++)
			assert_int_equal(MAIL_CONTAINER(mail, struct registry_call, mail)->status, 0);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(threads[i].id, NULL);
	registry_close(registry);
	mailbox_free(box);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(database_is_private_and_made_once),
		TEST(newer_schema_is_refused_with_its_number),
		TEST(what_is_no_registry_is_refused),
		TEST(registries_of_every_release_are_taken_over),
		TEST(an_upgrade_is_made_whole_or_not_at_all),
		TEST(names_are_held_to_their_alphabet),
		TEST(domains_are_found_by_name_suffix_and_netbios_within_their_tenant),
		TEST(suffixes_and_netbios_names_are_unique_in_the_tenant),
		TEST(bad_domains_are_refused_with_the_reason),
		TEST(api_keys_are_found_by_their_hash_also_when_revoked),
		TEST(texts_that_cannot_be_a_key_have_no_hash),
		TEST(the_same_token_and_key_get_the_same_certificate_again),
		TEST(unknown_wrong_and_expired_tokens_are_refused),
		TEST(registering_again_keeps_the_identity_in_the_same_group_only),
		TEST(the_newest_certificate_and_the_one_before_are_valid_until_they_expire),
		TEST(disabled_agents_pass_and_revoked_ones_never_come_back),
		TEST(old_tokens_are_swept),
		TEST(a_change_is_published_before_its_reply_and_a_failed_one_leaves_nothing),
		TEST(readers_see_whole_states_while_the_writer_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
