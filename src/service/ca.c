#include "service/ca.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "service/ca_server.h"
#include "wire/pki.h"

#define CHAIN_LIMIT 131072

struct ca {
	EVP_PKEY *key;
	X509 *cert;
	uint8_t *der;
	size_t der_len;
};

static int paths(const char *state_dir, char key[PATH_MAX], char cert[PATH_MAX], struct err *err)
{
	if (file_path(key, PATH_MAX, state_dir, CA_KEY_FILE) < 0 || file_path(cert, PATH_MAX, state_dir, CA_CERTIFICATE_FILE) < 0)
		return err_set(err, -PTA_ETOOBIG, "the path %s is too long", state_dir);
	return 0;
}

static int make(EVP_PKEY **key, X509 **cert, struct buf *key_pem, struct buf *cert_pem, struct err *err)
{
	char id[RANDOM_ID_LEN + 1], name[64];
	int r;

	r = pki_key_new(key, err);
	if (r < 0)
		return r;
	/* Two services' CAs must not look the same to whoever trusts both. */
	random_id(id);
	snprintf(name, sizeof(name), "pta-service CA %.8s", id);
	r = pki_ca_new(*key, name, cert, err);
	if (r < 0)
		return r;
	r = pki_key_to_pem(*key, key_pem, err);
	if (r < 0)
		return r;
	r = pki_cert_to_pem(*cert, cert_pem);
	return r < 0 ? err_set(err, r, "writing the CA certificate as PEM") : 0;
}

int ca_create(const char *state_dir, uid_t uid, gid_t gid, struct err *err)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	struct buf key_pem PTA_CLEANUP(buf_done) = BUF_INIT_WIPED(CA_KEY_LIMIT), cert_pem PTA_CLEANUP(buf_done) = BUF_INIT(LIMIT_CERTIFICATE);
	char key_path[PATH_MAX], cert_path[PATH_MAX];
	int r;

	r = paths(state_dir, key_path, cert_path, err);
	if (r < 0)
		return r;
	if (access(key_path, F_OK) == 0 || access(cert_path, F_OK) == 0)
		return err_set(err, -PTA_EEXIST, "there is a CA in %s already", state_dir);
	r = make(&key, &cert, &key_pem, &cert_pem, err);
	if (r < 0)
		return r;
	r = file_write_atomic(key_path, key_pem.data, key_pem.len, 0600, uid, gid, err);
	if (r < 0)
		return r;
	/* Public, and needed by whoever verifies the listeners; the folder decides who can reach it. */
	r = file_write_atomic(cert_path, cert_pem.data, cert_pem.len, 0644, uid, gid, err);
	if (r < 0)
		unlink(key_path);
	return r;
}

static int key_load(const char *path, EVP_PKEY **out, bool allow_shared, struct err *err)
{
	struct secret *pem PTA_CLEANUP(secret_freep) = NULL;
	int r;

	r = file_read_secret(path, CA_KEY_LIMIT, allow_shared, &pem, err);
	if (r < 0)
		return r;
	r = pki_key_from_pem(secret_bytes(pem), secret_len(pem), out, err);
	return r < 0 ? err_prefix(err, r, "%s: ", path) : 0;
}

static int cert_load(const char *path, X509 **out, STACK_OF(X509) * *chain, struct err *err)
{
	struct buf pem PTA_CLEANUP(buf_done) = BUF_INIT(CHAIN_LIMIT);
	uint64_t from, until;
	int r;

	r = file_read(path, CHAIN_LIMIT, &pem, err);
	if (r < 0)
		return r;
	r = pki_cert_from_pem(pem.data, pem.len, out, chain, err);
	if (r < 0)
		return err_prefix(err, r, "%s: ", path);
	pki_validity(*out, &from, &until);
	if (clock_wall_ms() < until)
		return 0;
	return err_set(err, -PTA_EEXPIRED, "the certificate %s has expired", path);
}

static int der(struct ca *ca, struct err *err)
{
	int len = i2d_X509(ca->cert, &ca->der);

	if (len < 0)
		return err_set(err, -PTA_ECRYPTO, "writing the CA certificate as DER");
	ca->der_len = (size_t)len;
	return 0;
}

int ca_open(const char *state_dir, struct ca **out, struct err *err)
{
	char key_path[PATH_MAX], cert_path[PATH_MAX];
	struct ca *ca;
	int r;

	r = paths(state_dir, key_path, cert_path, err);
	if (r < 0)
		return r;
	ca = calloc(1, sizeof(*ca));
	if (!ca)
		return err_set(err, -PTA_ENOMEM, "no memory for the CA");
	r = key_load(key_path, &ca->key, false, err);
	if (r == 0)
		r = cert_load(cert_path, &ca->cert, NULL, err);
	if (r == -PTA_ENOENT)
		r = err_set(err, r, "there is no CA in %s: make one with 'pta-service init'", state_dir);
	if (r == 0 && !pki_pair(ca->cert, ca->key))
		r = err_set(err, -PTA_ECRYPTO, "%s and %s do not belong together", cert_path, key_path);
	if (r == 0)
		r = der(ca, err);
	if (r < 0) {
		ca_free(ca);
		return r;
	}
	*out = ca;
	return 0;
}

void ca_free(struct ca *ca)
{
	if (!ca)
		return;
	pki_key_freep(&ca->key);
	pki_cert_freep(&ca->cert);
	OPENSSL_free(ca->der);
	free(ca);
}

void ca_validity(const struct ca *ca, uint64_t *from_ms, uint64_t *until_ms)
{
	pki_validity(ca->cert, from_ms, until_ms);
}

const uint8_t *ca_der(const struct ca *ca, size_t *len)
{
	*len = ca->der_len;
	return ca->der;
}

int ca_issue_agent(
	const struct ca *ca, const char *csr, size_t csr_len, const char *agent, const char *tenant, const char *group, struct ca_issued *out, struct err *err)
{
	struct buf pem PTA_CLEANUP(buf_done) = BUF_INIT(LIMIT_CERTIFICATE);
	EVP_PKEY *subject PTA_CLEANUP(pki_key_freep) = NULL;
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	uint64_t not_before_ms;
	int r;

	r = pki_csr_key(csr, csr_len, &subject, err);
	if (r < 0)
		return r == -PTA_ENOMEM ? r : -PTA_EINVAL;
	r = pki_issue_agent(ca->cert, ca->key, subject, agent, tenant, group, CERTIFICATE_DAYS, &cert, err);
	if (r < 0)
		return r;
	r = pki_cert_to_pem(cert, &pem);
	if (r < 0)
		return err_set(err, r, "writing a certificate as PEM");
	memcpy(out->pem, pem.data, pem.len + 1);
	pki_fingerprint(cert, out->fingerprint);
	pki_serial(cert, out->serial);
	pki_validity(cert, &not_before_ms, &out->not_after_ms);
	return 0;
}

int ca_csr_key_hash(const char *csr, size_t csr_len, uint8_t hash[32], struct err *err)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	int r;

	r = pki_csr_key(csr, csr_len, &key, err);
	if (r < 0)
		return r == -PTA_ENOMEM ? r : -PTA_EINVAL;
	pki_key_fingerprint(key, hash);
	return 0;
}

int ca_agent_tls(const struct ca *ca, const struct conf_list *names, SSL_CTX **out, struct err *err)
{
	return ca_server_ctx(ca->cert, ca->key, names, ca->cert, out, err);
}

int ca_signin_tls(const struct ca *ca, const struct conf_list *names, const char *cert_file, const char *key_file, SSL_CTX **out, struct err *err)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	STACK_OF(X509) *chain = NULL;
	int r;

	if (!cert_file)
		return ca_server_ctx(ca->cert, ca->key, names, NULL, out, err);
	/* Keys of public CAs are often shared with a group of services. */
	r = key_load(key_file, &key, true, err);
	if (r < 0)
		return r;
	r = cert_load(cert_file, &cert, &chain, err);
	if (r == 0 && !pki_pair(cert, key))
		r = err_set(err, -PTA_ETLS, "tls_cert %s and tls_key %s do not belong together", cert_file, key_file);
	if (r == 0)
		r = pki_server_ctx(cert, chain, key, NULL, out, err);
	sk_X509_pop_free(chain, X509_free);
	return r;
}
