#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "service/ca.h"
#include "service/ca_server.h"
#include "wire/pki.h"

#define SAME_OWNER (uid_t) - 1, (gid_t)-1
#define DAY_MS UINT64_C(86400000)

static char dir[64];
static char first_name[] = "pta.example.com", second_name[] = "192.0.2.1";
static char *name_items[] = {first_name, second_name};
static const struct conf_list names = {.items = name_items, .n = 2};

static void in_dir(const char *name, char out[PATH_MAX])
{
	assert_int_equal(file_path(out, PATH_MAX, dir, name), 0);
}

static int set_up(void **state)
{
	struct err err;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_ca.XXXXXX");
	return mkdtemp(dir) ? ca_create(dir, SAME_OWNER, &err) : -1;
}

static int tear_down(void **state)
{
	static const char *const files[] = {"ca.key", "ca.crt", "own.key", "own.crt"};
	char path[PATH_MAX];

	(void)state;
	clock_fake(-1, -1);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(files); i++) {
		in_dir(files[i], path);
		unlink(path);
	}
	return rmdir(dir);
}

static struct ca *open_ca(void)
{
	struct ca *ca = NULL;
	struct err err;

	assert_int_equal(ca_open(dir, &ca, &err), 0);
	return ca;
}

static void ca_is_made_once_with_a_private_key_file(void **state)
{
	char path[PATH_MAX];
	struct err err;
	struct stat st;

	(void)state;
	in_dir("ca.key", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(ca_create(dir, SAME_OWNER, &err), -PTA_EEXIST);
}

static void opening_refuses_what_is_missing_shared_or_mixed(void **state)
{
	char path[PATH_MAX];
	EVP_PKEY *other = NULL;
	struct buf pem = BUF_INIT_WIPED(16384);
	struct ca *ca;
	struct err err;

	(void)state;
	in_dir("ca.key", path);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(ca_open(dir, &ca, &err), -PTA_EPERM);
	assert_int_equal(pki_key_new(&other, &err), 0);
	assert_int_equal(pki_key_to_pem(other, &pem, &err), 0);
	assert_int_equal(file_write_atomic(path, pem.data, pem.len, 0600, SAME_OWNER, &err), 0);
	assert_int_equal(ca_open(dir, &ca, &err), -PTA_ECRYPTO);
	assert_non_null(strstr(err.text, "do not belong together"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ca_open(dir, &ca, &err), -PTA_ENOENT);
	assert_non_null(strstr(err.text, "init"));
	pki_key_freep(&other);
	buf_done(&pem);
}

static void make_csr(EVP_PKEY **key, struct buf *csr)
{
	struct err err;

	assert_int_equal(pki_key_new(key, &err), 0);
	assert_int_equal(pki_csr_new(*key, "i-am-root", csr, &err), 0);
}

static void agents_get_the_services_names_and_their_own_key(void **state)
{
	char agent[LIMIT_ID + 1], tenant[LIMIT_ID + 1], group[LIMIT_ID + 1], fingerprint[65];
	struct buf csr = BUF_INIT(LIMIT_CSR);
	uint8_t hash[32], own[32];
	static struct ca_issued issued;
	EVP_PKEY *key = NULL;
	X509 *cert = NULL, *root = NULL;
	const uint8_t *der;
	struct ca *ca = open_ca();
	struct err err;
	size_t len;

	(void)state;
	make_csr(&key, &csr);
	assert_int_equal(ca_issue_agent(ca, (char *)csr.data, csr.len, "agent-1", "default", "hq", &issued, &err), 0);
	assert_int_equal(pki_cert_from_pem(issued.pem, strlen(issued.pem), &cert, NULL, &err), 0);
	assert_int_equal(pki_agent_subject(cert, agent, tenant, group), 0);
	assert_string_equal(agent, "agent-1");
	assert_string_equal(tenant, "default");
	assert_string_equal(group, "hq");
	assert_true(pki_pair(cert, key));
	pki_fingerprint(cert, fingerprint);
	assert_string_equal(issued.fingerprint, fingerprint);
	assert_true(issued.not_after_ms > clock_wall_ms() + (CERTIFICATE_DAYS - 1) * DAY_MS);
	der = ca_der(ca, &len);
	assert_int_equal(pki_cert_from_der(der, len, &root, &err), 0);
	assert_int_equal(X509_verify(cert, X509_get0_pubkey(root)), 1);
	assert_int_equal(ca_csr_key_hash((char *)csr.data, csr.len, hash, &err), 0);
	pki_key_fingerprint(key, own);
	assert_memory_equal(hash, own, 32);
	csr.data[csr.len / 2] ^= 1;
	assert_int_equal(ca_issue_agent(ca, (char *)csr.data, csr.len, "agent-1", "default", "hq", &issued, &err), -PTA_EINVAL);
	assert_int_equal(ca_csr_key_hash((char *)csr.data, csr.len, hash, &err), -PTA_EINVAL);
	pki_cert_freep(&cert);
	pki_cert_freep(&root);
	pki_key_freep(&key);
	buf_done(&csr);
	ca_free(ca);
}

/* The certificate that a client is shown. */
static X509 *shake(SSL_CTX *server_ctx)
{
	SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
	SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
	BIO *a, *b;
	X509 *cert;

	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(server, a, a);
	SSL_set_bio(client, b, b);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	for (unsigned i = 0; i < 20 && !(SSL_is_init_finished(server) && SSL_is_init_finished(client)); i++) {
		SSL_do_handshake(client);
		SSL_do_handshake(server);
	}
	assert_true(SSL_is_init_finished(client));
	cert = SSL_get1_peer_certificate(client);
	assert_non_null(cert);
	SSL_free(server);
	SSL_free(client);
	SSL_CTX_free(client_ctx);
	return cert;
}

static void listeners_show_certificates_of_the_ca_for_their_names(void **state)
{
	struct ca *ca = open_ca();
	SSL_CTX *agent, *signin;
	X509 *cert, *root;
	const uint8_t *der;
	struct err err;
	size_t len;

	(void)state;
	assert_int_equal(ca_agent_tls(ca, &names, &agent, &err), 0);
	assert_int_equal(ca_signin_tls(ca, &names, NULL, NULL, &signin, &err), 0);
	assert_int_equal(SSL_CTX_get_verify_mode(agent) & SSL_VERIFY_PEER, SSL_VERIFY_PEER);
	assert_int_equal(SSL_CTX_get_verify_mode(signin), SSL_VERIFY_NONE);
	der = ca_der(ca, &len);
	assert_int_equal(pki_cert_from_der(der, len, &root, &err), 0);
	cert = shake(agent);
	assert_int_equal(X509_verify(cert, X509_get0_pubkey(root)), 1);
	assert_int_equal(X509_check_host(cert, "pta.example.com", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(cert, "192.0.2.1", 0), 1);
	assert_int_equal(X509_check_host(cert, "other.example.com", 0, 0, NULL), 0);
	pki_cert_freep(&cert);
	cert = shake(signin);
	assert_int_equal(X509_check_host(cert, "pta.example.com", 0, 0, NULL), 1);
	pki_cert_freep(&cert);
	pki_cert_freep(&root);
	SSL_CTX_free(agent);
	SSL_CTX_free(signin);
	ca_free(ca);
}

static void a_certificate_near_its_end_is_replaced_at_the_next_handshake(void **state)
{
	struct ca *ca = open_ca();
	X509 *first, *same, *next;
	SSL_CTX *ctx;
	struct err err;

	(void)state;
	assert_int_equal(ca_agent_tls(ca, &names, &ctx, &err), 0);
	first = shake(ctx);
	same = shake(ctx);
	assert_int_equal(X509_cmp(first, same), 0);
	clock_fake(-1, (int64_t)(clock_wall_ms() + (CA_SERVER_DAYS * 2 / 3 + 1) * DAY_MS));
	next = shake(ctx);
	assert_int_not_equal(X509_cmp(first, next), 0);
	assert_int_equal(X509_check_host(next, "pta.example.com", 0, 0, NULL), 1);
	pki_cert_freep(&first);
	pki_cert_freep(&same);
	pki_cert_freep(&next);
	SSL_CTX_free(ctx);
	ca_free(ca);
}

static void a_certificate_of_ones_own_is_taken_from_its_files(void **state)
{
	struct buf pem = BUF_INIT_WIPED(16384);
	char key_path[PATH_MAX], cert_path[PATH_MAX];
	EVP_PKEY *key = NULL;
	X509 *cert = NULL, *shown;
	struct ca *ca = open_ca();
	SSL_CTX *ctx;
	struct err err;

	(void)state;
	in_dir("own.key", key_path);
	in_dir("own.crt", cert_path);
	assert_int_equal(pki_key_new(&key, &err), 0);
	assert_int_equal(pki_ca_new(key, "one's own", &cert, &err), 0);
	assert_int_equal(pki_key_to_pem(key, &pem, &err), 0);
	assert_int_equal(file_write_atomic(key_path, pem.data, pem.len, 0640, SAME_OWNER, &err), 0);
	assert_int_equal(ca_signin_tls(ca, &names, cert_path, key_path, &ctx, &err), -PTA_ENOENT);
	buf_reset(&pem);
	assert_int_equal(pki_cert_to_pem(cert, &pem), 0);
	assert_int_equal(file_write_atomic(cert_path, pem.data, pem.len, 0644, SAME_OWNER, &err), 0);
	assert_int_equal(ca_signin_tls(ca, &names, cert_path, key_path, &ctx, &err), 0);
	shown = shake(ctx);
	assert_int_equal(X509_cmp(shown, cert), 0);
	SSL_CTX_free(ctx);
	pki_cert_freep(&shown);
	/* The CA's key does not go with it. */
	in_dir("ca.key", key_path);
	assert_int_equal(ca_signin_tls(ca, &names, cert_path, key_path, &ctx, &err), -PTA_ETLS);
	clock_fake(-1, (int64_t)(clock_wall_ms() + 4000 * DAY_MS));
	in_dir("own.key", key_path);
	assert_int_equal(ca_signin_tls(ca, &names, cert_path, key_path, &ctx, &err), -PTA_EEXPIRED);
	pki_key_freep(&key);
	pki_cert_freep(&cert);
	buf_done(&pem);
	ca_free(ca);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(ca_is_made_once_with_a_private_key_file),
		TEST(opening_refuses_what_is_missing_shared_or_mixed),
		TEST(agents_get_the_services_names_and_their_own_key),
		TEST(listeners_show_certificates_of_the_ca_for_their_names),
		TEST(a_certificate_near_its_end_is_replaced_at_the_next_handshake),
		TEST(a_certificate_of_ones_own_is_taken_from_its_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
