#include "service/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "service/ca.h"
#include "service/registry_impl.h"
#include "wire/pki.h"

#define APPLICATION_ID 0x50544142 /* "PTAB": what file(1) and backup_write() know a backup by */
#define APPLICATION_ID_AT 68	  /* in an SQLite file's head, big endian */
#define BUSY_TIMEOUT_MS 5000

struct backup {
	struct registry_db db; /* in memory; without the table `backup` until it is written */
	struct secret *key;    /* PEM, as in ca.key */
	struct buf cert;       /* and in ca.crt */
	struct backup_summary summary;
};

void backup_free(struct backup *backup)
{
	if (!backup)
		return;
	sqlite3_close(backup->db.sql);
	secret_free(backup->key);
	buf_done(&backup->cert);
	free(backup);
}

void backup_freep(struct backup **backup)
{
	backup_free(*backup);
}

const struct backup_summary *backup_summary(const struct backup *backup)
{
	return &backup->summary;
}

/* ---- into memory ---- */

static int copy_all(struct registry_db *to, struct registry_db *from, struct err *err)
{
	sqlite3_backup *copy = sqlite3_backup_init(to->sql, "main", from->sql, "main");
	int step, r;

	if (!copy)
		return db_error(to, "copying", err);
	/* All pages in one step: under one lock, so that they are of one moment. In WAL mode that holds up no writer. */
	step = sqlite3_backup_step(copy, -1);
	r = sqlite3_backup_finish(copy);
	if (step == SQLITE_DONE && r == SQLITE_OK)
		return 0;
	return err_set(err, step == SQLITE_BUSY || step == SQLITE_LOCKED ? -PTA_EBUSY : -PTA_EIO, "copying %s: %s", from->path,
		sqlite3_errstr(r == SQLITE_OK ? step : r));
}

/* flags: of SQLite's open. Nothing of the database is changed, nor upgraded: a running service, perhaps of an older version, works with it. */
static int copy_file(struct backup *backup, const char *path, int flags, struct err *err)
{
	struct registry_db file = {0};
	int r = 0;

	if (access(path, R_OK))
		return err_set_errno(err, errno == ENOENT ? -PTA_ENOENT : errno == EACCES ? -PTA_EPERM : -PTA_EIO, errno, "reading %s", path);
	if (snprintf(file.path, sizeof(file.path), "%s", path) >= (int)sizeof(file.path))
		return err_set(err, -PTA_ETOOBIG, "the path %s is too long", path);
	memcpy(backup->db.path, file.path, sizeof(file.path));
	if (sqlite3_open_v2(path, &file.sql, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
		sqlite3_open_v2(":memory:", &backup->db.sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		r = err_set(err, -PTA_EIO, "opening %s: %s", path, file.sql ? sqlite3_errmsg(file.sql) : "no memory");
	if (r == 0) {
		sqlite3_extended_result_codes(backup->db.sql, 1);
		sqlite3_busy_timeout(file.sql, BUSY_TIMEOUT_MS);
		r = copy_all(&backup->db, &file, err);
	}
	sqlite3_close(file.sql);
	/* The file may be anybody's. */
	if (r == 0)
		r = db_exec(&backup->db, "PRAGMA trusted_schema = OFF", NULL, NULL, err);
	/* What was deleted stays behind, and so does WAL mode, in which a file cannot be read without writing beside it. */
	return r < 0 ? r : db_exec(&backup->db, "VACUUM", NULL, NULL, err);
}

static int whole(struct registry_db *db, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	char told[128];
	int r = db_prepare(db, "PRAGMA integrity_check(1)", NULL, &stmt, err);

	if (r == 0)
		r = db_step(db, stmt, err);
	if (r < 0)
		return r;
	snprintf(told, sizeof(told), "%s", r ? (const char *)sqlite3_column_text(stmt, 0) : "no answer");
	return strcmp(told, "ok") == 0 ? 0 : err_set(err, -PTA_EIO, "the database in %s is damaged: %s", db->path, told);
}

/* Reads every row, as the service does at its start. */
static int count(struct backup *backup, struct err *err)
{
	struct backup_summary *s = &backup->summary;
	struct registry_snapshot *snapshot;
	int r = registry_snapshot_load(&backup->db, &snapshot, err);

	if (r < 0)
		return r;
	while (registry_domain_at(snapshot, s->domains))
		s->domains++;
	for (size_t i = 0; registry_app_at(snapshot, i); i++)
		s->apps += !registry_app_at(snapshot, i)->revoked;
	for (size_t i = 0; registry_agent_at(snapshot, i); i++)
		s->agents += registry_agent_at(snapshot, i)->state != AGENT_REVOKED;
	registry_release(snapshot);
	return 0;
}

static int verify_ca(const struct backup *backup, struct err *err)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	uint64_t from_ms, until_ms;
	int r = pki_key_from_pem(secret_bytes(backup->key), secret_len(backup->key), &key, err);

	if (r < 0)
		return err_prefix(err, r, "the CA's key: ");
	r = pki_cert_from_pem(backup->cert.data, backup->cert.len, &cert, NULL, err);
	if (r < 0)
		return err_prefix(err, r, "the CA's certificate: ");
	if (!pki_pair(cert, key))
		return err_set(err, -PTA_ECRYPTO, "key and certificate of the CA do not belong together");
	pki_validity(cert, &from_ms, &until_ms);
	return clock_wall_ms() < until_ms ? 0
					  : err_set(err, -PTA_EEXPIRED, "the CA's certificate has expired: set the service up anew with 'pta-service init'");
}

/* ---- of the state ---- */

/* With the newline at its end, which file_read_secret() leaves out. */
static int read_key(const char *path, struct secret **out, struct err *err)
{
	struct secret *text PTA_CLEANUP(secret_freep) = NULL;
	int r = file_read_secret(path, CA_KEY_LIMIT - 1, false, &text, err);

	if (r < 0)
		return r;
	*out = secret_new(secret_len(text) + 1);
	if (!*out)
		return err_set(err, -PTA_ENOMEM, "no memory for the CA's key");
	memcpy(secret_data(*out), secret_bytes(text), secret_len(text));
	secret_data(*out)[secret_len(text)] = '\n';
	return 0;
}

static int read_ca(struct backup *backup, const char *state_dir, struct err *err)
{
	char key[PATH_MAX], cert[PATH_MAX];
	int r;

	if (file_path(key, sizeof(key), state_dir, CA_KEY_FILE) < 0 || file_path(cert, sizeof(cert), state_dir, CA_CERTIFICATE_FILE) < 0)
		return err_set(err, -PTA_ETOOBIG, "the path %s is too long", state_dir);
	r = read_key(key, &backup->key, err);
	return r < 0 ? r : file_read(cert, LIMIT_CERTIFICATE, &backup->cert, err);
}

static int allocate(struct backup **out, struct err *err)
{
	struct backup *backup = calloc(1, sizeof(*backup));

	if (!backup)
		return err_set(err, -PTA_ENOMEM, "no memory for a backup");
	backup->cert = BUF_INIT(LIMIT_CERTIFICATE);
	*out = backup;
	return 0;
}

int backup_of_state(const char *state_dir, const char *registry_path, struct backup **out, struct err *err)
{
	struct backup *backup PTA_CLEANUP(backup_freep) = NULL;
	int r = allocate(&backup, err);

	if (r == 0)
		r = copy_file(backup, registry_path, SQLITE_OPEN_READWRITE, err);
	if (r == 0)
		r = whole(&backup->db, err);
	if (r == 0)
		r = registry_db_version(&backup->db, NULL, err);
	if (r == 0)
		r = count(backup, err);
	if (r == 0)
		r = read_ca(backup, state_dir, err);
	if (r == 0)
		r = verify_ca(backup, err);
	if (r < 0)
		return r;
	clock_rfc3339(clock_wall_ms(), backup->summary.created);
	snprintf(backup->summary.version, sizeof(backup->summary.version), "%s", PACKAGE_VERSION);
	*out = backup;
	backup = NULL;
	return 0;
}

/* ---- of a file ---- */

static int one_row(struct backup *backup, const char *name, sqlite3_stmt **out, struct err *err)
{
	int r = db_prepare(&backup->db, "SELECT content FROM backup WHERE name = ?", DB_VALUES(DB_V_TEXT(name)), out, err);

	if (r == 0)
		r = db_step(&backup->db, *out, err);
	return r == 0 ? err_set(err, -PTA_EINVAL, "%s has no %s", backup->db.path, name) : r < 0 ? r : 0;
}

static int text_row(struct backup *backup, const char *name, char *out, size_t cap, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r = one_row(backup, name, &stmt, err);

	return r < 0 ? r : db_column_text(&backup->db, stmt, 0, out, cap, err);
}

static int ca_rows(struct backup *backup, struct err *err)
{
	sqlite3_stmt *key PTA_CLEANUP(db_finalizep) = NULL, *cert PTA_CLEANUP(db_finalizep) = NULL;
	size_t key_len, cert_len;
	int r = one_row(backup, CA_KEY_FILE, &key, err);

	if (r == 0)
		r = one_row(backup, CA_CERTIFICATE_FILE, &cert, err);
	if (r < 0)
		return r;
	key_len = (size_t)sqlite3_column_bytes(key, 0);
	cert_len = (size_t)sqlite3_column_bytes(cert, 0);
	if (!key_len || key_len > CA_KEY_LIMIT || !cert_len || cert_len > LIMIT_CERTIFICATE)
		return err_set(err, -PTA_EINVAL, "%s: no CA has a key of %zu bytes and a certificate of %zu", backup->db.path, key_len, cert_len);
	backup->key = secret_dup(sqlite3_column_blob(key, 0), key_len);
	buf_put(&backup->cert, sqlite3_column_blob(cert, 0), cert_len);
	return backup->key && buf_ok(&backup->cert) ? 0 : err_set(err, -PTA_ENOMEM, "no memory for the CA");
}

static int is_backup(struct registry_db *db, struct err *err)
{
	sqlite3_stmt *stmt PTA_CLEANUP(db_finalizep) = NULL;
	int r = db_prepare(db, "PRAGMA application_id", NULL, &stmt, err);

	if (r == 0)
		r = db_step(db, stmt, err);
	if (r < 0)
		return r;
	return sqlite3_column_int(stmt, 0) == APPLICATION_ID ? 0 : err_set(err, -PTA_EINVAL, "%s is no backup of pta-service", db->path);
}

/* What is left is the registry; nothing of the key stays on a free page. */
static int strip(struct registry_db *db, struct err *err)
{
	static const char *const statements[] = {"DROP TABLE backup", "PRAGMA application_id = 0", "VACUUM"};
	int r = 0;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(statements) && r == 0; i++)
		r = db_exec(db, statements[i], NULL, NULL, err);
	return r;
}

int backup_of_file(const char *path, struct backup **out, struct err *err)
{
	struct backup *backup PTA_CLEANUP(backup_freep) = NULL;
	int r = allocate(&backup, err);

	if (r == 0)
		r = copy_file(backup, path, SQLITE_OPEN_READONLY, err);
	if (r == 0)
		r = is_backup(&backup->db, err);
	if (r == 0)
		r = whole(&backup->db, err);
	if (r == 0)
		r = text_row(backup, "created", backup->summary.created, sizeof(backup->summary.created), err);
	if (r == 0)
		r = text_row(backup, "version", backup->summary.version, sizeof(backup->summary.version), err);
	if (r == 0)
		r = ca_rows(backup, err);
	if (r == 0)
		r = verify_ca(backup, err);
	if (r == 0)
		r = strip(&backup->db, err);
	if (r == 0)
		r = registry_db_upgrade(&backup->db, err);
	if (r == 0)
		r = count(backup, err);
	if (r < 0)
		return r;
	*out = backup;
	backup = NULL;
	return 0;
}

/* ---- out of memory ---- */

static int write_database(struct registry_db *db, const char *path, uid_t uid, gid_t gid, struct err *err)
{
	sqlite3_int64 len = 0;
	unsigned char *image = sqlite3_serialize(db->sql, "main", &len, 0);
	int r;

	if (!image)
		return err_set(err, -PTA_ENOMEM, "no memory to write %s", path);
	r = file_write_atomic(path, image, (size_t)len, 0600, uid, gid, err);
	secret_wipe(image, (size_t)len);
	sqlite3_free(image);
	return r;
}

/* A slip of the hand must not put a backup in the place of the registry, or of anything else. */
static int may_replace(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint8_t id[4];
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_set_errno(err, errno == EACCES ? -PTA_EPERM : -PTA_EIO, errno, "looking at %s", path);
	n = pread(fd, id, sizeof(id), APPLICATION_ID_AT);
	close(fd);
	if (n == sizeof(id) && ((uint32_t)id[0] << 24 | id[1] << 16 | id[2] << 8 | id[3]) == APPLICATION_ID)
		return 0;
	return err_set(err, -PTA_EEXIST, "%s is there and is no backup of pta-service: name another file", path);
}

static int put_row(struct registry_db *db, const char *name, const struct db_value content, struct err *err)
{
	return db_exec(db, "INSERT INTO backup VALUES (?, ?)", DB_VALUES(DB_V_TEXT(name), content), NULL, err);
}

static int put_rows(struct backup *backup, struct err *err)
{
	struct registry_db *db = &backup->db;
	char id[64];
	int r;

	snprintf(id, sizeof(id), "PRAGMA application_id = %d", APPLICATION_ID);
	r = db_exec(db, "CREATE TABLE backup (name TEXT PRIMARY KEY, content ANY NOT NULL) STRICT, WITHOUT ROWID", NULL, NULL, err);
	if (r == 0)
		r = db_exec(db, id, NULL, NULL, err);
	if (r == 0)
		r = put_row(db, "created", (struct db_value)DB_V_TEXT(backup->summary.created), err);
	if (r == 0)
		r = put_row(db, "version", (struct db_value)DB_V_TEXT(backup->summary.version), err);
	if (r == 0)
		r = put_row(db, CA_KEY_FILE, (struct db_value)DB_V_BLOB(secret_bytes(backup->key), secret_len(backup->key)), err);
	if (r == 0)
		r = put_row(db, CA_CERTIFICATE_FILE, (struct db_value)DB_V_BLOB(backup->cert.data, backup->cert.len), err);
	return r;
}

int backup_write(struct backup *backup, const char *path, struct err *err)
{
	int r = may_replace(path, err);

	if (r == 0)
		r = put_rows(backup, err);
	return r < 0 ? r : write_database(&backup->db, path, (uid_t)-1, (gid_t)-1, err);
}

/* A journal that was left beside a registry would be played into the new one. */
static int nothing_there(const char *key, const char *cert, const char *registry, struct err *err)
{
	static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
	char path[PATH_MAX + 16];
	struct stat st;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(ends) + 2; i++) {
		if (i < PTA_ARRAY_SIZE(ends))
			snprintf(path, sizeof(path), "%s%s", registry, ends[i]);
		else
			snprintf(path, sizeof(path), "%s", i == PTA_ARRAY_SIZE(ends) ? key : cert);
		if (lstat(path, &st) == 0)
			return err_set(err, -PTA_EEXIST, "there is a %s already: move it away first, with all that is in its folder", path);
		if (errno != ENOENT)
			return err_set_errno(err, errno == EACCES ? -PTA_EPERM : -PTA_EIO, errno, "looking at %s", path);
	}
	return 0;
}

int backup_restore(struct backup *backup, const char *state_dir, const char *registry_path, uid_t uid, gid_t gid, struct err *err)
{
	char key[PATH_MAX], cert[PATH_MAX];
	int r = file_ensure_dir(state_dir, uid, gid, err);

	if (r < 0)
		return r;
	if (file_path(key, sizeof(key), state_dir, CA_KEY_FILE) < 0 || file_path(cert, sizeof(cert), state_dir, CA_CERTIFICATE_FILE) < 0)
		return err_set(err, -PTA_ETOOBIG, "the path %s is too long", state_dir);
	r = nothing_there(key, cert, registry_path, err);
	if (r < 0)
		return r;
	r = file_write_atomic(key, secret_bytes(backup->key), secret_len(backup->key), 0600, uid, gid, err);
	if (r == 0)
		r = file_write_atomic(cert, backup->cert.data, backup->cert.len, 0644, uid, gid, err);
	if (r == 0)
		r = write_database(&backup->db, registry_path, uid, gid, err);
	if (r == 0)
		return 0;
	unlink(key);
	unlink(cert);
	unlink(registry_path);
	return r;
}
