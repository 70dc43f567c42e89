/* A backup of the service's state in one file: an SQLite database, namely a copy of the registry with one table more, `backup` (name, content):
 * ca.key and ca.crt as they are, when it was made, and by which version. SQLite is what the registry is made of already, its tools read and check
 * the file, and its online backup takes a consistent copy of a database that a running service writes to.
 * Holds the CA's key: the file is 0600, the copy in memory is for short-lived commands. One thread; blocks on disk. */
#ifndef PTA_SERVICE_BACKUP_H
#define PTA_SERVICE_BACKUP_H

#include <stddef.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/err.h"

struct backup;

struct backup_summary {
	char created[CLOCK_RFC3339_LEN + 1], version[33];
	size_t domains, apps, agents; /* without the revoked ones */
};

/* Both give a backup that has been verified: the database whole and of a schema that this version knows, every row of it readable, key and
 * certificate of the CA a pair that has not expired. -PTA_EINVAL, -PTA_EIO, -PTA_ECRYPTO or -PTA_EEXPIRED with what is wrong. Give it back with backup_free().
 */

/* Of a state folder, with the service running or not. Neither file is changed. */
PTA_MUST_CHECK int backup_of_state(const char *state_dir, const char *registry_path, struct backup **out, struct err *err);
/* Of a file that backup_write() made; the schema is the newest then. */
PTA_MUST_CHECK int backup_of_file(const char *path, struct backup **out, struct err *err);
void backup_free(struct backup *backup);
void backup_freep(struct backup **backup);

const struct backup_summary *backup_summary(const struct backup *backup);

/* 0600, whole or not at all. -PTA_EEXIST for a file that is there and is no backup. Once. */
PTA_MUST_CHECK int backup_write(struct backup *backup, const char *path, struct err *err);
/* Makes the state folder's files, with this owner where running as root; all or none. -PTA_EEXIST when one of them is there. */
PTA_MUST_CHECK int backup_restore(struct backup *backup, const char *state_dir, const char *registry_path, uid_t uid, gid_t gid, struct err *err);

#endif
