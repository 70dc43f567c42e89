#include "agent/identity.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "wire/pki.h"

#define KEY_FILE "key.pem"
#define PENDING_FILE "pending.key"
#define CERT_FILE "cert.pem"
#define CA_FILE "ca.pem"
#define NAMES_FILE "identity"
#define KEY_LIMIT 4096
#define NAMES_LIMIT 4096

static int path_of(char path[PATH_MAX], const struct identity_dir *dir, const char *name, struct err *err)
{
	int r = file_path(path, PATH_MAX, dir->path, name);

	return r < 0 ? err_set(err, r, "%s/%s: the path is too long", dir->path, name) : 0;
}

static int read_one(const struct identity_dir *dir, const char *name, size_t limit, struct buf *out, struct err *err)
{
	char path[PATH_MAX];
	int r = path_of(path, dir, name, err);

	return r < 0 ? r : file_read(path, limit, out, err);
}

static int write_one(const struct identity_dir *dir, const char *name, const void *data, size_t len, struct err *err)
{
	char path[PATH_MAX];
	int r = path_of(path, dir, name, err);

	return r < 0 ? r : file_write_atomic(path, data, len, 0600, dir->uid, dir->gid, err);
}

static int read_key(const struct identity_dir *dir, const char *name, struct buf *pem, EVP_PKEY **out, struct err *err)
{
	int r = read_one(dir, name, KEY_LIMIT, pem, err);

	if (r < 0)
		return r;
	r = pki_key_from_pem(pem->data, pem->len, out, err);
	return r < 0 ? err_prefix(err, r, "%s/%s: ", dir->path, name) : 0;
}

static int read_names(const struct identity_dir *dir, struct identity *identity, struct err *err)
{
	struct buf text = BUF_INIT(NAMES_LIMIT);
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct json_fields f;
	int r = read_one(dir, NAMES_FILE, NAMES_LIMIT, &text, err);

	if (r == 0)
		r = json_parse(text.data, text.len, &doc, err);
	if (r == 0) {
		json_fields_begin(&f, json_root(doc), err);
		snprintf(identity->agent, sizeof(identity->agent), "%s", json_string(&f, "agent", 1, LIMIT_ID, NULL));
		snprintf(identity->tenant, sizeof(identity->tenant), "%s", json_string(&f, "tenant", 1, LIMIT_TENANT, NULL));
		snprintf(identity->group, sizeof(identity->group), "%s", json_string(&f, "group", 1, LIMIT_ID, NULL));
		snprintf(identity->service, sizeof(identity->service), "%s", json_string(&f, "service", 1, LIMIT_DOMAIN, NULL));
		r = json_fields_end(&f);
	}
	buf_done(&text);
	return r < 0 ? err_prefix(err, r, "%s/%s: ", dir->path, NAMES_FILE) : 0;
}

static int read_cert(const struct identity_dir *dir, const char *name, struct buf *pem, X509 **out, struct err *err)
{
	int r = read_one(dir, name, LIMIT_CERTIFICATE, pem, err);

	if (r < 0)
		return r;
	r = pki_cert_from_pem(pem->data, pem->len, out, NULL, err);
	return r < 0 ? err_prefix(err, r, "%s/%s: ", dir->path, name) : 0;
}

static int promote_pending(const struct identity_dir *dir, struct err *err)
{
	char from[PATH_MAX], to[PATH_MAX];
	int r = path_of(from, dir, PENDING_FILE, err);

	if (r == 0)
		r = path_of(to, dir, KEY_FILE, err);
	if (r == 0 && rename(from, to) < 0)
		r = err_set_errno(err, -PTA_EIO, errno, "rename %s to %s", from, to);
	return r;
}

/* The key of cert.pem: key.pem, or pending.key when a crash came between the two renames. */
static int load_key(const struct identity_dir *dir, struct identity *identity, struct err *err)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	struct err first;
	int r = read_key(dir, KEY_FILE, &identity->key_pem, &key, &first);

	if (r < 0 || !pki_pair(identity->cert, key)) {
		if (r == 0)
			err_set(&first, -PTA_EINVAL, "%s: %s and %s do not belong together; register again with a new token", dir->path, KEY_FILE, CERT_FILE);
		buf_reset(&identity->key_pem);
		pki_key_freep(&key);
		key = NULL;
		if (read_key(dir, PENDING_FILE, &identity->key_pem, &key, NULL) < 0 || !pki_pair(identity->cert, key))
			return err_set(err, r < 0 ? r : -PTA_EINVAL, "%s", first.text);
		r = promote_pending(dir, err);
		if (r < 0)
			return r;
	}
	identity->key = key;
	key = NULL;
	return 0;
}

int identity_load(const struct identity_dir *dir, struct identity **out, struct err *err)
{
	struct identity *identity PTA_CLEANUP(identity_freep) = calloc(1, sizeof(*identity));
	int r;

	if (!identity)
		return err_set(err, -PTA_ENOMEM, "out of memory");
	identity->key_pem = BUF_INIT_WIPED(KEY_LIMIT);
	identity->cert_pem = BUF_INIT(LIMIT_CERTIFICATE);
	identity->ca_pem = BUF_INIT(LIMIT_CERTIFICATE);
	r = read_cert(dir, CERT_FILE, &identity->cert_pem, &identity->cert, err);
	if (r == -PTA_ENOENT)
		return err_set(err, r, "not registered yet (no %s in %s): get a token from the service and run 'pta-agent register --token-file FILE'", CERT_FILE, dir->path);
	if (r == 0)
		r = read_cert(dir, CA_FILE, &identity->ca_pem, &identity->ca, err);
	if (r == 0)
		r = read_names(dir, identity, err);
	if (r == 0)
		r = load_key(dir, identity, err);
	if (r < 0)
		return r == -PTA_ENOENT ? -PTA_EINVAL : r;
	pki_validity(identity->cert, &identity->not_before_ms, &identity->not_after_ms);
	*out = identity;
	identity = NULL;
	return 0;
}

void identity_free(struct identity *identity)
{
	if (!identity)
		return;
	pki_key_freep(&identity->key);
	pki_cert_freep(&identity->cert);
	pki_cert_freep(&identity->ca);
	buf_done(&identity->key_pem);
	buf_done(&identity->cert_pem);
	buf_done(&identity->ca_pem);
	free(identity);
}

void identity_freep(struct identity **identity)
{
	identity_free(*identity);
}

int identity_pending_key(const struct identity_dir *dir, EVP_PKEY **out, struct err *err)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	struct buf pem = BUF_INIT_WIPED(KEY_LIMIT);
	int r = read_key(dir, PENDING_FILE, &pem, &key, NULL);

	if (r < 0) { /* absent, or unreadable: then a new one is as good */
		buf_reset(&pem);
		r = pki_key_new(&key, err);
		if (r == 0)
			r = pki_key_to_pem(key, &pem, err);
		if (r == 0)
			r = write_one(dir, PENDING_FILE, pem.data, pem.len, err);
	}
	buf_done(&pem);
	if (r < 0)
		return r;
	*out = key;
	key = NULL;
	return 0;
}

static int write_names(const struct identity_dir *dir, const struct identity *names, struct err *err)
{
	struct buf text = BUF_INIT(NAMES_LIMIT);
	struct json_writer w = JSON_WRITER(&text);
	int r;

	json_put_object(&w, NULL);
	json_put_string(&w, "agent", names->agent);
	json_put_string(&w, "tenant", names->tenant);
	json_put_string(&w, "group", names->group);
	json_put_string(&w, "service", names->service);
	json_end_object(&w);
	buf_putc(&text, '\n');
	r = buf_ok(&text) ? write_one(dir, NAMES_FILE, text.data, text.len, err) : err_set(err, -PTA_ENOMEM, "out of memory");
	buf_done(&text);
	return r;
}

int identity_install(const struct identity_dir *dir, const struct identity *names, const struct buf *ca_pem, const char *cert_pem, struct err *err)
{
	int r = 0;

	if (ca_pem)
		r = write_one(dir, CA_FILE, ca_pem->data, ca_pem->len, err);
	if (r == 0)
		r = write_names(dir, names, err);
	if (r == 0)
		r = write_one(dir, CERT_FILE, cert_pem, strlen(cert_pem), err);
	if (r == 0)
		r = promote_pending(dir, err);
	return r;
}

uint64_t identity_renew_at_ms(const struct identity *identity)
{
	uint64_t life = identity->not_after_ms - identity->not_before_ms;
	char fingerprint[65], head[9];

	pki_fingerprint(identity->cert, fingerprint);
	memcpy(head, fingerprint, 8);
	head[8] = '\0';
	return identity->not_before_ms + life / 3 * 2 + life / 24 * (strtoul(head, NULL, 16) % 1000) / 1000;
}
