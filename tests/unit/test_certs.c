#include "test_certs.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "wire/pki.h"

static void must(int r, const struct err *err)
{
	if (r < 0) {
		fprintf(stderr, "certificates for the test: %s\n", err->text);
		abort();
	}
}

static void write_pem(const char *path, const struct buf *pem)
{
	struct err err = {""};

	must(file_write_atomic(path, pem->data, pem->len, 0600, (uid_t)-1, (gid_t)-1, &err), &err);
}

void test_certs_init(struct test_certs *certs, const char *const *names)
{
	struct buf ca_pem PTA_CLEANUP(buf_done) = BUF_INIT(65536), cert_pem PTA_CLEANUP(buf_done) = BUF_INIT(65536),
			  key_pem PTA_CLEANUP(buf_done) = BUF_INIT(65536);
	EVP_PKEY *ca_key = NULL, *key = NULL;
	X509 *ca = NULL, *cert = NULL;
	struct err err = {"?"};

	snprintf(certs->dir, sizeof(certs->dir), "/tmp/pta-test-XXXXXX");
	if (!mkdtemp(certs->dir))
		abort();
	snprintf(certs->ca_file, sizeof(certs->ca_file), "%s/ca.pem", certs->dir);
	snprintf(certs->cert_file, sizeof(certs->cert_file), "%s/cert.pem", certs->dir);
	snprintf(certs->key_file, sizeof(certs->key_file), "%s/key.pem", certs->dir);
	must(pki_key_new(&ca_key, &err), &err);
	must(pki_key_new(&key, &err), &err);
	must(pki_ca_new(ca_key, "test CA", &ca, &err), &err);
	must(pki_issue_server(ca, ca_key, key, names, 2, &cert, &err), &err);
	must(pki_cert_to_pem(ca, &ca_pem), &err);
	must(pki_cert_to_pem(cert, &cert_pem), &err);
	must(pki_key_to_pem(key, &key_pem, &err), &err);
	write_pem(certs->ca_file, &ca_pem);
	write_pem(certs->cert_file, &cert_pem);
	write_pem(certs->key_file, &key_pem);
	certs->server = SSL_CTX_new(TLS_server_method());
	if (!certs->server || SSL_CTX_use_certificate(certs->server, cert) != 1 || SSL_CTX_use_PrivateKey(certs->server, key) != 1)
		abort();
	X509_free(ca);
	X509_free(cert);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

void test_certs_done(struct test_certs *certs)
{
	SSL_CTX_free(certs->server);
	unlink(certs->ca_file);
	unlink(certs->cert_file);
	unlink(certs->key_file);
	rmdir(certs->dir);
}
