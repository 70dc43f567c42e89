#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"

static void close_fdp(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static int open_regular(const char *path, size_t limit, int *out, struct stat *st, struct err *err)
{
	/* Without O_NONBLOCK a FIFO in a file's place would hang us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0) {
		int code = errno == ENOENT ? -PTA_ENOENT : errno == EACCES ? -PTA_EPERM : -PTA_EIO;

		return err_set_errno(err, code, errno, "opening %s", path);
	}
	*out = fd; /* the caller closes it, whatever follows */
	if (fstat(fd, st))
		return err_set_errno(err, -PTA_EIO, errno, "looking at %s", path);
	if (!S_ISREG(st->st_mode))
		return err_set(err, -PTA_EINVAL, "%s is not a regular file", path);
	if ((uintmax_t)st->st_size > limit)
		return err_set(err, -PTA_ETOOBIG, "%s has %jd bytes, at most %zu are taken", path, (intmax_t)st->st_size, limit);
	return 0;
}

/* Reads what the file had when it was opened, or less when it became shorter; more than that is an error. */
static int read_whole(int fd, const char *path, uint8_t *to, size_t size, size_t *len, struct err *err)
{
	uint8_t beyond;
	ssize_t n = 1;

	*len = 0;
	while (n) {
		n = *len < size ? read(fd, to + *len, size - *len) : read(fd, &beyond, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, -PTA_EIO, errno, "reading %s", path);
		if (n && *len == size) {
			secret_wipe(&beyond, 1);
			return err_set(err, -PTA_EBUSY, "%s grew while it was read: try again", path);
		}
		*len += (size_t)n;
	}
	return 0;
}

int file_read(const char *path, size_t limit, struct buf *out, struct err *err)
{
	int fd PTA_CLEANUP(close_fdp) = -1;
	struct stat st;
	size_t len;
	int r;

	r = open_regular(path, limit, &fd, &st, err);
	if (r < 0)
		return r;
	buf_reserve(out, (size_t)st.st_size);
	if (!buf_ok(out))
		return err_set(err, -PTA_ENOMEM, "no room for %s of %jd bytes", path, (intmax_t)st.st_size);
	r = read_whole(fd, path, out->data + out->len, (size_t)st.st_size, &len, err);
	if (r == 0)
		out->len += len;
	out->data[out->len] = '\0';
	return r;
}

int file_read_secret(const char *path, size_t limit, bool allow_shared, struct secret **out, struct err *err)
{
	struct secret *secret PTA_CLEANUP(secret_freep) = NULL;
	int fd PTA_CLEANUP(close_fdp) = -1;
	struct stat st;
	size_t len;
	int r;

	r = open_regular(path, limit, &fd, &st, err);
	if (r < 0)
		return r;
	if (!allow_shared && (st.st_mode & (S_IRWXG | S_IRWXO)))
		return err_set(err, -PTA_EPERM, "%s holds a secret, but its mode is %04o: chmod 600 %s", path, (unsigned)(st.st_mode & 07777), path);
	secret = secret_new((size_t)st.st_size);
	if (!secret)
		return err_set(err, -PTA_ENOMEM, "no room in the memory for secrets for %s of %jd bytes", path, (intmax_t)st.st_size);
	r = read_whole(fd, path, secret_data(secret), (size_t)st.st_size, &len, err);
	if (r < 0)
		return r;
	if (len && secret_bytes(secret)[len - 1] == '\n')
		len--;
	secret_truncate(secret, len);
	*out = secret;
	secret = NULL;
	return 0;
}

static int write_all(int fd, const char *path, const uint8_t *data, size_t len, struct err *err)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, -PTA_EIO, errno, "writing %s", path);
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The folder of a path: what is before its last slash. */
static int sync_folder(const char *path, struct err *err)
{
	char dir[PATH_MAX] = ".";
	const char *slash = strrchr(path, '/');
	int fd PTA_CLEANUP(close_fdp) = -1;

	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		return err_set_errno(err, -PTA_EIO, errno, "syncing the folder %s", dir);
	return 0;
}

static int fill(int fd, const char *path, const void *data, size_t len, mode_t mode, uid_t uid, gid_t gid, struct err *err)
{
	int r;

	if (uid != (uid_t)-1 && geteuid() == 0 && fchown(fd, uid, gid))
		return err_set_errno(err, -PTA_EIO, errno, "giving %s to user %u", path, (unsigned)uid);
	if (fchmod(fd, mode)) /* the umask does not matter */
		return err_set_errno(err, -PTA_EIO, errno, "setting the mode of %s", path);
	r = write_all(fd, path, data, len, err);
	if (r < 0)
		return r;
	return fsync(fd) ? err_set_errno(err, -PTA_EIO, errno, "syncing %s", path) : 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, uid_t uid, gid_t gid, struct err *err)
{
	char temporary[PATH_MAX], id[RANDOM_ID_LEN + 1];
	int fd PTA_CLEANUP(close_fdp) = -1;
	int r;

	random_id(id);
	if (snprintf(temporary, sizeof(temporary), "%s.tmp-%s", path, id) >= (int)sizeof(temporary))
		return err_set(err, -PTA_ETOOBIG, "the path %s is too long", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return err_set_errno(err, errno == EACCES ? -PTA_EPERM : -PTA_EIO, errno, "creating %s", temporary);
	r = fill(fd, temporary, data, len, mode, uid, gid, err);
	if (!r && rename(temporary, path))
		r = err_set_errno(err, -PTA_EIO, errno, "renaming %s to %s", temporary, path);
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	return sync_folder(path, err);
}

int file_ensure_dir(const char *path, uid_t uid, gid_t gid, struct err *err)
{
	struct stat st;

	if (mkdir(path, S_IRWXU) == 0) {
		if (uid != (uid_t)-1 && geteuid() == 0 && chown(path, uid, gid))
			return err_set_errno(err, -PTA_EIO, errno, "giving %s to user %u", path, (unsigned)uid);
		return 0;
	}
	if (errno != EEXIST)
		return err_set_errno(err, errno == EACCES ? -PTA_EPERM : -PTA_EIO, errno, "making the folder %s", path);
	if (stat(path, &st))
		return err_set_errno(err, -PTA_EIO, errno, "looking at %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -PTA_EEXIST, "%s is there, but is not a folder", path);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, -PTA_EPERM, "others may write to %s: chmod 700 %s", path, path);
	return 0;
}

int file_path(char *out, size_t cap, const char *dir, const char *name)
{
	int n = snprintf(out, cap, "%s/%s", dir, name);

	return n < 0 || (size_t)n >= cap ? -PTA_ETOOBIG : 0;
}

int file_user_ids(const char *user, uid_t *uid, gid_t *gid, struct err *err)
{
	char *buffer;
	struct passwd entry, *found = NULL;
	size_t size = 1024;
	int r;

	/* An entry may be of any size: getpwnam_r() says when its buffer is too small. */
	do {
		buffer = malloc(size);
		if (!buffer)
			return err_set(err, -PTA_ENOMEM, "no memory to look up user %s", user);
		r = getpwnam_r(user, &entry, buffer, size, &found);
		free(buffer);
		size *= 2;
	} while (r == ERANGE && size <= 1u << 20);
	if (r)
		return err_set_errno(err, -PTA_EIO, r, "looking up user %s", user);
	if (!found)
		return err_set(err, -PTA_ENOENT, "there is no user %s: make it with 'useradd --system %s', or name another in the configuration", user, user);
	*uid = entry.pw_uid;
	*gid = entry.pw_gid;
	return 0;
}
