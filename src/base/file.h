/* Small files: read whole with a limit, written atomically with mode and owner. Blocks on disk. Thread-safe. */
#ifndef PTA_BASE_FILE_H
#define PTA_BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

/* Appends the file's content; more than limit bytes is -PTA_ETOOBIG, absence -PTA_ENOENT. */
PTA_MUST_CHECK int file_read(const char *path, size_t limit, struct buf *out, struct err *err);
/* The same into a secret (never through stdio); one trailing newline is dropped.
 * Refuses a file that others than its owner can read (-PTA_EPERM) unless allow_shared. */
PTA_MUST_CHECK int file_read_secret(const char *path, size_t limit, bool allow_shared, struct secret **out, struct err *err);

/* Writes path.tmp-RANDOM beside it, sets mode (and owner where running as root and uid is not (uid_t)-1), fsyncs file and folder, renames over. */
PTA_MUST_CHECK int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, uid_t uid, gid_t gid, struct err *err);

/* Makes the folder (mode 0700, owner as above; parents must exist) or checks that it is one, not writable by others. */
PTA_MUST_CHECK int file_ensure_dir(const char *path, uid_t uid, gid_t gid, struct err *err);

/* "dir/name" in a fixed buffer; -PTA_ETOOBIG when it does not fit. */
PTA_MUST_CHECK int file_path(char *out, size_t cap, const char *dir, const char *name);

/* uid and gid of a system user; -PTA_ENOENT with what to do. */
PTA_MUST_CHECK int file_user_ids(const char *user, uid_t *uid, gid_t *gid, struct err *err);

#endif
