#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/registry_impl.h"

#define BUSY_TIMEOUT_MS 5000

/* migrations[n] leads from schema version n to n + 1. Never change one that was released: add another. A domain's own name
 * is among its suffixes, so that one key holds all of them apart. A group is there as soon as something names it. */
static const char *const migrations[] = {
	"CREATE TABLE tenant ("
	"  name TEXT PRIMARY KEY,"
	"  created_ms INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE agent_group ("
	"  tenant TEXT NOT NULL REFERENCES tenant,"
	"  name TEXT NOT NULL,"
	"  created_ms INTEGER NOT NULL,"
	"  PRIMARY KEY (tenant, name)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE domain ("
	"  tenant TEXT NOT NULL,"
	"  name TEXT NOT NULL,"
	"  agent_group TEXT NOT NULL,"
	"  netbios TEXT,"
	"  enabled INTEGER NOT NULL,"
	"  created_ms INTEGER NOT NULL,"
	"  PRIMARY KEY (tenant, name),"
	"  UNIQUE (tenant, netbios),"
	"  FOREIGN KEY (tenant, agent_group) REFERENCES agent_group (tenant, name)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE suffix ("
	"  tenant TEXT NOT NULL,"
	"  name TEXT NOT NULL,"
	"  domain TEXT NOT NULL,"
	"  PRIMARY KEY (tenant, name),"
	"  FOREIGN KEY (tenant, domain) REFERENCES domain (tenant, name) ON DELETE CASCADE"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX suffix_domain ON suffix (tenant, domain);"
	"CREATE TABLE app ("
	"  id TEXT PRIMARY KEY,"
	"  tenant TEXT NOT NULL REFERENCES tenant,"
	"  name TEXT NOT NULL,"
	"  key_hash BLOB NOT NULL UNIQUE,"
	"  details INTEGER NOT NULL,"
	"  revoked INTEGER NOT NULL,"
	"  created_ms INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE UNIQUE INDEX app_name ON app (tenant, name) WHERE NOT revoked;"
	"CREATE TABLE agent ("
	"  id TEXT PRIMARY KEY,"
	"  tenant TEXT NOT NULL,"
	"  agent_group TEXT NOT NULL,"
	"  host TEXT NOT NULL,"
	"  version TEXT NOT NULL,"
	"  state INTEGER NOT NULL,"
	"  created_ms INTEGER NOT NULL,"
	"  FOREIGN KEY (tenant, agent_group) REFERENCES agent_group (tenant, name)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE token ("
	"  id TEXT PRIMARY KEY,"
	"  secret_hash BLOB NOT NULL,"
	"  tenant TEXT NOT NULL,"
	"  agent_group TEXT NOT NULL,"
	"  expires_ms INTEGER NOT NULL,"
	"  key_hash BLOB," /* of the key that it was used with; NULL: not used */
	"  agent TEXT REFERENCES agent,"
	"  FOREIGN KEY (tenant, agent_group) REFERENCES agent_group (tenant, name)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE certificate ("
	"  number INTEGER PRIMARY KEY AUTOINCREMENT," /* the greatest is the newest */
	"  agent TEXT NOT NULL REFERENCES agent,"
	"  token TEXT REFERENCES token ON DELETE SET NULL," /* NULL: a renewal */
	"  fingerprint TEXT NOT NULL UNIQUE,"
	"  serial TEXT NOT NULL,"
	"  not_after_ms INTEGER NOT NULL,"
	"  pem TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX certificate_agent ON certificate (agent);"
	"CREATE INDEX certificate_token ON certificate (token);",
};

#define SCHEMA_VERSION ((int)PTA_ARRAY_SIZE(migrations))

int db_error(struct registry_db *db, const char *doing, struct err *err)
{
	int code;

	switch (sqlite3_extended_errcode(db->sql)) {
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_UNIQUE:
		code = -PTA_EEXIST;
		break;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		code = -PTA_ENOENT;
		break;
	case SQLITE_NOMEM:
		code = -PTA_ENOMEM;
		break;
	case SQLITE_BUSY:
		code = -PTA_EBUSY;
		break;
	default:
		code = -PTA_EIO;
		break;
	}
	return err_set(err, code, "registry %s: %s: %s", db->path, doing, sqlite3_errmsg(db->sql));
}

static int bind_value(sqlite3_stmt *stmt, int index, const struct db_value *value)
{
	switch (value->type) {
	case DB_TEXT:
		return sqlite3_bind_text(stmt, index, value->data, -1, SQLITE_STATIC);
	case DB_INT:
		return sqlite3_bind_int64(stmt, index, value->num);
	default:
		return sqlite3_bind_blob(stmt, index, value->data, (int)value->len, SQLITE_STATIC);
	}
}

int db_prepare(struct registry_db *db, const char *sql, const struct db_value *values, sqlite3_stmt **out, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;

	if (sqlite3_prepare_v2(db->sql, sql, -1, &stmt, NULL) != SQLITE_OK)
		return db_error(db, sql, err);
	for (int i = 0; values && values[i].type != DB_END; i++)
		if (bind_value(stmt, i + 1, &values[i]) != SQLITE_OK)
			return db_error(db, sql, err);
	*out = stmt;
	stmt = NULL;
	return 0;
}

int db_step(struct registry_db *db, sqlite3_stmt *stmt, struct err *err)
{
	switch (sqlite3_step(stmt)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return db_error(db, sqlite3_sql(stmt), err);
	}
}

void db_finalizep(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt); /* repeats the error of a step, which was told already */
	*stmt = NULL;
}

int db_exec(struct registry_db *db, const char *sql, const struct db_value *values, int *changed, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r;

	r = db_prepare(db, sql, values, &stmt, err);
	if (r < 0)
		return r;
	r = db_step(db, stmt, err);
	if (r < 0)
		return r;
	if (changed)
		*changed = sqlite3_changes(db->sql);
	return 0;
}

int db_column_text(struct registry_db *db, sqlite3_stmt *stmt, int column, char *out, size_t cap, struct err *err)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);
	size_t len = (size_t)sqlite3_column_bytes(stmt, column);

	if (len >= cap || (text && strlen(text) != len))
		return err_set(err, -PTA_ETOOBIG, "registry %s: column %s of %zu bytes does not fit: was it changed by hand?", db->path,
			sqlite3_column_name(stmt, column), len);
	memcpy(out, text ? text : "", len + 1);
	return 0;
}

int registry_db_version(struct registry_db *db, int *version, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r, found;

	r = db_prepare(db, "PRAGMA user_version", NULL, &stmt, err);
	if (r < 0)
		return r;
	r = db_step(db, stmt, err);
	if (r < 0)
		return r;
	found = sqlite3_column_int(stmt, 0);
	if (found < 1)
		return err_set(err, -PTA_EINVAL, "%s is no registry of pta-service", db->path);
	if (found > SCHEMA_VERSION)
		return err_set(err, -PTA_EINVAL, "the registry %s has schema version %d, this pta-service knows up to %d: install the newer version again", db->path,
			found, SCHEMA_VERSION);
	if (version)
		*version = found;
	return 0;
}

static int script(struct registry_db *db, const char *sql, struct err *err)
{
	return sqlite3_exec(db->sql, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(db, "running a script", err);
}

int registry_db_migrate(struct registry_db *db, const char *const *steps, int from, int to, struct err *err)
{
	char set[64];
	int r;

	if (from >= to)
		return 0;
	r = script(db, "BEGIN IMMEDIATE", err);
	if (r < 0)
		return r;
	for (int i = from; i < to && r == 0; i++)
		r = script(db, steps[i], err);
	snprintf(set, sizeof(set), "PRAGMA user_version = %d", to);
	if (r == 0)
		r = script(db, set, err);
	if (r == 0)
		r = script(db, "COMMIT", err);
	if (r < 0 && !sqlite3_get_autocommit(db->sql))
		sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

int registry_db_upgrade(struct registry_db *db, struct err *err)
{
	int version, r = registry_db_version(db, &version, err);

	return r < 0 ? r : registry_db_migrate(db, migrations, version, SCHEMA_VERSION, err);
}

static int open_file(const char *path, struct registry_db **out, struct err *err)
{
	struct registry_db *db = calloc(1, sizeof(*db));
	int r;

	if (!db)
		return err_set(err, -PTA_ENOMEM, "no memory to open the registry");
	if (snprintf(db->path, sizeof(db->path), "%s", path) >= (int)sizeof(db->path)) {
		free(db);
		return err_set(err, -PTA_ETOOBIG, "the path %s is too long", path);
	}
	if (sqlite3_open_v2(path, &db->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		r = db->sql ? db_error(db, "opening", err) : err_set(err, -PTA_ENOMEM, "no memory to open the registry");
		registry_db_close(db);
		return r;
	}
	sqlite3_extended_result_codes(db->sql, 1);
	sqlite3_busy_timeout(db->sql, BUSY_TIMEOUT_MS);
	/* FULL: what was answered, a spent token above all, must survive a power cut. */
	r = script(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF", err);
	if (r < 0) {
		registry_db_close(db);
		return r;
	}
	*out = db;
	return 0;
}

int registry_db_create(const char *path, struct err *err)
{
	/* SQLite would make it with the umask's mode; its -wal and -shm files take over this one's. */
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct registry_db *db;
	int r;

	if (fd < 0) {
		int code = errno == EEXIST ? -PTA_EEXIST : errno == EACCES ? -PTA_EPERM : -PTA_EIO;

		return err_set_errno(err, code, errno, "creating the registry %s", path);
	}
	close(fd);
	r = open_file(path, &db, err);
	if (r == 0) {
		r = registry_db_migrate(db, migrations, 0, SCHEMA_VERSION, err);
		registry_db_close(db);
	}
	if (r < 0)
		unlink(path);
	return r;
}

int registry_db_open(const char *path, struct registry_db **out, struct err *err)
{
	struct registry_db *db;
	int r;

	if (access(path, F_OK) && errno == ENOENT)
		return err_set(err, -PTA_ENOENT, "there is no registry %s: make one with 'pta-service init'", path);
	r = open_file(path, &db, err);
	if (r < 0)
		return r;
	r = registry_db_upgrade(db, err);
	if (r < 0) {
		registry_db_close(db);
		return r;
	}
	*out = db;
	return 0;
}

void registry_db_close(struct registry_db *db)
{
	if (!db)
		return;
	sqlite3_close(db->sql);
	free(db);
}
