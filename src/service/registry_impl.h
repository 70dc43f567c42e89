/* What the registry's own files share: the database handle with its statement helpers, and building snapshots. Only one
 * thread at a time uses a registry_db. */
#ifndef PTA_SERVICE_REGISTRY_IMPL_H
#define PTA_SERVICE_REGISTRY_IMPL_H

#include <limits.h>
#include <sqlite3.h>

#include "service/registry.h"

struct registry_db {
	sqlite3 *sql;
	char path[PATH_MAX];
};

/* One value for a statement's next "?". */
struct db_value {
	enum { DB_END, DB_TEXT, DB_INT, DB_BLOB } type;
	const void *data;
	size_t len;
	int64_t num;
};

#define DB_V_TEXT(text) {.type = DB_TEXT, .data = (text)} /* a NULL pointer is NULL */
#define DB_V_INT(value) {.type = DB_INT, .num = (int64_t)(value)}
#define DB_V_BLOB(bytes, size) {.type = DB_BLOB, .data = (bytes), .len = (size)}
#define DB_VALUES(...) ((const struct db_value[]){__VA_ARGS__, {.type = DB_END}})

/* The text and code of SQLite's last error. Constraint violations: -PTA_EEXIST (unique), -PTA_ENOENT (foreign key). */
int db_error(struct registry_db *db, const char *doing, struct err *err);
/* values may be NULL. Texts and blobs must live until the statement is finalized. */
PTA_MUST_CHECK int db_prepare(struct registry_db *db, const char *sql, const struct db_value *values, sqlite3_stmt **out, struct err *err);
/* 1: a row, 0: no more, or an error. */
PTA_MUST_CHECK int db_step(struct registry_db *db, sqlite3_stmt *stmt, struct err *err);
void db_finalizep(sqlite3_stmt **stmt);
/* A statement without rows; *changed (may be NULL) gets how many it changed. */
PTA_MUST_CHECK int db_exec(struct registry_db *db, const char *sql, const struct db_value *values, int *changed, struct err *err);
/* A text column; longer than it fits (only another program can have written it) is -PTA_ETOOBIG. NULL is "". */
PTA_MUST_CHECK int db_column_text(struct registry_db *db, sqlite3_stmt *stmt, int column, char *out, size_t cap, struct err *err);

/* -PTA_EINVAL with a text unless the schema's version is one that this program knows: 1 to the newest. version may be NULL. */
PTA_MUST_CHECK int registry_db_version(struct registry_db *db, int *version, struct err *err);
/* Checks that, and leads to the newest in one transaction. */
PTA_MUST_CHECK int registry_db_upgrade(struct registry_db *db, struct err *err);
/* steps[n] leads from version n to n + 1: from one to the other all in one transaction, or nothing is changed. */
PTA_MUST_CHECK int registry_db_migrate(struct registry_db *db, const char *const *steps, int from, int to, struct err *err);

/* Checks that may not be skipped, shared by the writing functions. */
PTA_MUST_CHECK int registry_name_check(const char *what, const char *name, size_t max, struct err *err);
/* "app-0123456789ab": short enough to be typed. */
void registry_short_id(char out[LIMIT_ID + 1], const char *kind);
PTA_MUST_CHECK int registry_group_ensure(struct registry_db *db, const char *tenant, const char *group, struct err *err);

/* Reads everything; the snapshot has one reference, given back with registry_release(). */
PTA_MUST_CHECK int registry_snapshot_load(struct registry_db *db, struct registry_snapshot **out, struct err *err);
void registry_snapshot_ref(struct registry_snapshot *snapshot);

#endif
