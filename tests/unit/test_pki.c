#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/clock.h"
#include "wire/pki.h"

#define DAY_MS (UINT64_C(86400) * 1000)

struct fixture {
	EVP_PKEY *ca_key, *key;
	X509 *ca;
};

static int setup(void **state)
{
	static struct fixture f;

	if (pki_key_new(&f.ca_key, NULL) < 0 || pki_key_new(&f.key, NULL) < 0 || pki_ca_new(f.ca_key, "Example CA", &f.ca, NULL) < 0)
		return -1;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pki_key_freep(&f->ca_key);
	pki_key_freep(&f->key);
	pki_cert_freep(&f->ca);
	return 0;
}

static X509 *issue_agent(struct fixture *f, const char *agent)
{
	X509 *cert = NULL;
	struct err err = {""};

	if (pki_issue_agent(f->ca, f->ca_key, f->key, agent, "acme", "berlin", 30, &cert, &err) < 0)
		fail_msg("%s", err.text);
	return cert;
}

static X509 *issue_server(struct fixture *f)
{
	static const char *const names[] = {"pta.example.com", "127.0.0.1", "::1", NULL};
	X509 *cert = NULL;
	struct err err = {""};

	if (pki_issue_server(f->ca, f->ca_key, f->key, names, 365, &cert, &err) < 0)
		fail_msg("%s", err.text);
	return cert;
}

static void keys_and_certificates_survive_pem(void **state)
{
	struct fixture *f = *state;
	struct buf key_pem = BUF_INIT_WIPED(4096), cert_pem = BUF_INIT(65536);
	STACK_OF(X509) *chain = NULL;
	EVP_PKEY *key;
	X509 *cert;

	assert_int_equal(pki_key_to_pem(f->ca_key, &key_pem, NULL), 0);
	assert_memory_equal(key_pem.data, "-----BEGIN PRIVATE KEY-----", 27);
	assert_int_equal(pki_key_from_pem(key_pem.data, key_pem.len, &key, NULL), 0);
	assert_int_equal(EVP_PKEY_eq(key, f->ca_key), 1);

	assert_int_equal(pki_cert_to_pem(f->ca, &cert_pem), 0);
	assert_int_equal(pki_cert_from_pem(cert_pem.data, cert_pem.len, &cert, &chain, NULL), 0);
	assert_null(chain);
	assert_int_equal(X509_cmp(cert, f->ca), 0);
	assert_true(pki_pair(cert, key));
	assert_false(pki_pair(cert, f->key));
	pki_cert_freep(&cert);

	assert_int_equal(pki_cert_to_pem(f->ca, &cert_pem), 0);
	assert_int_equal(pki_cert_to_pem(f->ca, &cert_pem), 0);
	assert_int_equal(pki_cert_from_pem(cert_pem.data, cert_pem.len, &cert, &chain, NULL), 0);
	assert_int_equal(sk_X509_num(chain), 2);
	sk_X509_pop_free(chain, X509_free);
	pki_cert_freep(&cert);
	/* Without a place for the chain the rest is not looked at. */
	assert_int_equal(pki_cert_from_pem(cert_pem.data, cert_pem.len, &cert, NULL, NULL), 0);
	pki_cert_freep(&cert);
	pki_key_freep(&key);
	buf_done(&key_pem);
	buf_done(&cert_pem);
	assert_int_equal(ERR_peek_error(), 0);
}

static void broken_pem_is_refused(void **state)
{
	static const char encrypted[] = "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
					"AAAAAAAAAAAAAAAAAAAAAA==\n-----END CERTIFICATE-----\n";
	static const char *const texts[] = {
		"", "hello", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", encrypted};
	struct fixture *f = *state;
	STACK_OF(X509) *chain = NULL;
	struct buf pem = BUF_INIT(1 << 20);
	struct err err = {""};
	EVP_PKEY *key;
	X509 *cert;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(texts); i++) {
		err.text[0] = '\0';
		assert_true(pki_cert_from_pem(texts[i], strlen(texts[i]), &cert, &chain, &err) < 0);
		assert_true(err.text[0]);
		assert_true(pki_key_from_pem(texts[i], strlen(texts[i]), &key, &err) < 0);
		assert_true(pki_csr_key(texts[i], strlen(texts[i]), &key, &err) < 0);
		assert_true(pki_cert_from_der(texts[i], strlen(texts[i]), &cert, &err) < 0);
	}
	/* A good certificate with a broken one behind it. */
	assert_int_equal(pki_cert_to_pem(f->ca, &pem), 0);
	buf_puts(&pem, texts[3]);
	assert_true(pki_cert_from_pem(pem.data, pem.len, &cert, &chain, &err) < 0);
	/* More than a chain's bound. */
	buf_reset(&pem);
	for (int i = 0; i < 18; i++)
		assert_int_equal(pki_cert_to_pem(f->ca, &pem), 0);
	assert_int_equal(pki_cert_from_pem(pem.data, pem.len, &cert, &chain, &err), -PTA_ETOOBIG);
	/* More than 64 KiB. */
	while (pem.len <= 65536)
		buf_puts(&pem, "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n");
	assert_int_equal(pki_cert_from_pem(pem.data, pem.len, &cert, &chain, &err), -PTA_EINVAL);
	assert_int_equal(pki_csr_key((const char *)pem.data, LIMIT_CSR + 1, &key, &err), -PTA_ETOOBIG);
	buf_done(&pem);
	assert_int_equal(ERR_peek_error(), 0);
}

static void der_takes_exactly_one_certificate(void **state)
{
	struct fixture *f = *state;
	unsigned char der[4096], *p = der;
	int len = i2d_X509(f->ca, &p);
	X509 *cert;

	assert_in_range(len, 1, sizeof(der) - 1);
	assert_int_equal(pki_cert_from_der(der, (size_t)len, &cert, NULL), 0);
	assert_int_equal(X509_cmp(cert, f->ca), 0);
	pki_cert_freep(&cert);
	assert_true(pki_cert_from_der(der, (size_t)len - 1, &cert, NULL) < 0);
	assert_true(pki_cert_from_der(der, (size_t)len + 1, &cert, NULL) < 0);
}

static void ca_may_sign_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	uint64_t before, after;

	assert_int_equal(X509_get_extension_flags(f->ca) & (EXFLAG_CA | EXFLAG_SS), EXFLAG_CA | EXFLAG_SS);
	assert_int_equal(X509_get_pathlen(f->ca), 0);
	assert_int_equal(X509_get_key_usage(f->ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_int_equal(X509_verify(f->ca, f->ca_key), 1);
	pki_validity(f->ca, &before, &after);
	assert_int_equal(after - before, 3650 * DAY_MS + 5 * 60 * 1000);
}

static void agent_gets_client_auth_and_the_given_name(void **state)
{
	struct fixture *f = *state;
	X509 *cert = issue_agent(f, "agent-1"), *other = issue_agent(f, "agent-1");
	char agent[LIMIT_ID + 1], tenant[LIMIT_ID + 1], group[LIMIT_ID + 1], serial[65], serial2[65], fingerprint[65];
	uint64_t before, after, now = clock_wall_ms();

	assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_CLIENT);
	assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extension_flags(cert) & EXFLAG_CA, 0);
	assert_int_equal(X509_verify(cert, f->ca_key), 1);
	assert_int_equal(X509_check_issued(f->ca, cert), X509_V_OK);
	assert_int_equal(pki_agent_subject(cert, agent, tenant, group), 0);
	assert_string_equal(agent, "agent-1");
	assert_string_equal(tenant, "acme");
	assert_string_equal(group, "berlin");
	pki_validity(cert, &before, &after);
	assert_true(before <= now - 5 * 60 * 1000 + 1000 && before > now - 6 * 60 * 1000);
	assert_int_equal(after - before, 30 * DAY_MS + 5 * 60 * 1000);
	pki_serial(cert, serial);
	pki_serial(other, serial2);
	assert_int_equal(strlen(serial), 32);
	assert_string_not_equal(serial, serial2);
	assert_int_equal(strspn(serial, "0123456789abcdef"), 32);
	pki_fingerprint(cert, fingerprint);
	assert_int_equal(strlen(fingerprint), 64);
	pki_cert_freep(&cert);
	pki_cert_freep(&other);
}

static void bad_parameters_issue_nothing(void **state)
{
	static const char *const no_names[] = {NULL}, *const bad_names[] = {"good.example", "DNS:evil.example,IP:1.2.3.4", NULL}, *const star[] = {"*", NULL};
	struct fixture *f = *state;
	char longer[LIMIT_ID + 2];
	struct err err;
	X509 *cert;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_true(pki_issue_agent(f->ca, f->ca_key, f->key, longer, "acme", "g", 30, &cert, &err) < 0);
	assert_true(pki_issue_agent(f->ca, f->ca_key, f->key, "", "acme", "g", 30, &cert, &err) < 0);
	assert_true(pki_issue_agent(f->ca, f->ca_key, f->key, "a", "acme", "g", 0, &cert, &err) < 0);
	assert_true(pki_issue_agent(f->ca, f->ca_key, f->key, "a", "acme", "g", 4000, &cert, &err) < 0);
	assert_true(pki_issue_agent(f->ca, f->key, f->key, "a", "acme", "g", 30, &cert, &err) < 0);
	assert_true(pki_issue_server(f->ca, f->ca_key, f->key, no_names, 30, &cert, &err) < 0);
	assert_true(pki_issue_server(f->ca, f->ca_key, f->key, bad_names, 30, &cert, &err) < 0);
	assert_true(pki_issue_server(f->ca, f->ca_key, f->key, star, 30, &cert, &err) < 0);
	assert_int_equal(ERR_peek_error(), 0);
}

static void server_names_and_addresses_are_in_the_certificate(void **state)
{
	struct fixture *f = *state;
	X509 *cert = issue_server(f);

	assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_SERVER);
	assert_int_equal(X509_check_host(cert, "pta.example.com", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(cert, "other.example.com", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "127.0.0.2", 0), 0);
	pki_cert_freep(&cert);
}

static void a_server_name_longer_than_cn_is_only_an_alternative_name(void **state)
{
	static const char *const names[] = {"a-very-long-label-that-goes-on-and-on-and-on.and-another-one-of-that-kind.example.com", NULL};
	struct fixture *f = *state;
	X509 *cert;

	assert_int_equal(pki_issue_server(f->ca, f->ca_key, f->key, names, 30, &cert, NULL), 0);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(cert)), 0);
	assert_int_equal(X509_check_host(cert, names[0], 0, 0, NULL), 1);
	pki_cert_freep(&cert);
}

/* A CSR as an attacker would write it: a subject with three CNs, CA:TRUE and a server's name among the extensions. */
static void hostile_csr_gives_its_key_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	char agent[LIMIT_ID + 1], tenant[LIMIT_ID + 1], group[LIMIT_ID + 1];
	X509_REQ *request = X509_REQ_new();
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	BIO *bio = BIO_new(BIO_s_mem());
	EVP_PKEY *key;
	X509 *cert;
	char *pem;
	long len;

	for (int i = 0; i < 3; i++)
		assert_true(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8, (const unsigned char *)"root\n", -1, -1, 0));
	sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE"));
	sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:pta.example.com"));
	sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, "serverAuth"));
	assert_true(X509_REQ_add_extensions(request, extensions));
	assert_true(X509_REQ_set_pubkey(request, f->key));
	assert_true(X509_REQ_sign(request, f->key, EVP_sha256()) > 0);
	assert_true(PEM_write_bio_X509_REQ(bio, request));
	len = BIO_get_mem_data(bio, &pem);

	assert_int_equal(pki_csr_key(pem, (size_t)len, &key, NULL), 0);
	assert_int_equal(EVP_PKEY_eq(key, f->key), 1);
	assert_int_equal(pki_issue_agent(f->ca, f->ca_key, key, "agent-1", "acme", "berlin", 30, &cert, NULL), 0);
	assert_int_equal(X509_get_extension_flags(cert) & EXFLAG_CA, 0);
	assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_CLIENT);
	assert_int_equal(X509_get_ext_by_NID(cert, NID_subject_alt_name, -1), -1);
	assert_int_equal(pki_agent_subject(cert, agent, tenant, group), 0);
	assert_string_equal(agent, "agent-1");
	pki_cert_freep(&cert);
	pki_key_freep(&key);
	BIO_free(bio);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_free(request);
}

static void csr_of_our_own_is_taken_and_a_broken_signature_is_not(void **state)
{
	struct fixture *f = *state;
	struct buf pem = BUF_INIT(LIMIT_CSR);
	EVP_PKEY *key;
	struct err err;

	assert_int_equal(pki_csr_new(f->key, "host.example.com", &pem, NULL), 0);
	assert_int_equal(pki_csr_key((const char *)pem.data, pem.len, &key, NULL), 0);
	assert_int_equal(EVP_PKEY_eq(key, f->key), 1);
	pki_key_freep(&key);
	/* A character of the subject's, at the front of what is signed. */
	pem.data[60] = pem.data[60] == 'A' ? 'B' : 'A';
	assert_true(pki_csr_key((const char *)pem.data, pem.len, &key, &err) < 0);
	buf_done(&pem);
}

static void csr_with_another_kind_of_key_is_refused(void **state)
{
	EVP_PKEY *keys[4] = {EVP_EC_gen("P-384"), EVP_RSA_gen(2048), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), EVP_EC_gen("P-256")};

	(void)state;
	/* The right curve, but spelled out. */
	assert_true(EVP_PKEY_set_utf8_string_param(keys[3], OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_EXPLICIT));
	for (size_t i = 0; i < PTA_ARRAY_SIZE(keys); i++) {
		X509_REQ *request = X509_REQ_new();
		BIO *bio = BIO_new(BIO_s_mem());
		struct err err = {""};
		EVP_PKEY *key;
		char *pem;
		long len;

		assert_true(X509_REQ_set_pubkey(request, keys[i]));
		assert_true(X509_REQ_sign(request, keys[i], i == 2 ? NULL : EVP_sha256()) > 0);
		assert_true(PEM_write_bio_X509_REQ(bio, request));
		len = BIO_get_mem_data(bio, &pem);
		assert_int_equal(pki_csr_key(pem, (size_t)len, &key, &err), -PTA_EINVAL);
		assert_non_null(strstr(err.text, "P-256"));
		BIO_free(bio);
		X509_REQ_free(request);
		EVP_PKEY_free(keys[i]);
	}
}

static void subject_with_a_missing_or_second_name_is_refused(void **state)
{
	struct fixture *f = *state;
	char agent[LIMIT_ID + 1], tenant[LIMIT_ID + 1], group[LIMIT_ID + 1];
	X509 *cert = issue_agent(f, "agent-1");

	assert_int_equal(pki_agent_subject(f->ca, agent, tenant, group), -PTA_EINVAL);
	assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)"agent-2", -1, -1, 0));
	assert_int_equal(pki_agent_subject(cert, agent, tenant, group), -PTA_EINVAL);
	assert_string_equal(agent, "");
	pki_cert_freep(&cert);
}

static void signatures_are_checked(void **state)
{
	struct fixture *f = *state;
	uint8_t sig[256], print[32], print2[32];
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	size_t len;

	assert_int_equal(pki_sign(f->key, "text", 4, sig, &len), 0);
	assert_in_range(len, 8, 80);
	assert_int_equal(pki_verify(f->key, "text", 4, sig, len), 0);
	assert_int_equal(pki_verify(f->key, "texu", 4, sig, len), -PTA_ECRYPTO);
	assert_int_equal(pki_verify(f->key, "text", 4, sig, len - 1), -PTA_ECRYPTO);
	assert_int_equal(pki_verify(f->key, "text", 4, sig, 0), -PTA_ECRYPTO);
	assert_int_equal(pki_verify(f->ca_key, "text", 4, sig, len), -PTA_ECRYPTO);
	assert_int_equal(pki_sign(rsa, "text", 4, sig, &len), -PTA_ECRYPTO);
	assert_int_equal(len, 0);
	EVP_PKEY_free(rsa);
	pki_key_fingerprint(f->key, print);
	pki_key_fingerprint(f->ca_key, print2);
	assert_memory_not_equal(print, print2, 32);
	assert_int_equal(ERR_peek_error(), 0);
}

/* One handshake in memory. Gives the server's end, done; NULL when it failed. */
struct ends {
	SSL *client, *server;
	bool done;
};

static struct ends handshake(SSL_CTX *server_ctx, SSL_CTX *client_ctx, SSL_SESSION *session)
{
	struct ends e = {SSL_new(client_ctx), SSL_new(server_ctx), false};
	BIO *a, *b;
	char byte;

	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(e.client, a, a);
	SSL_set_bio(e.server, b, b);
	SSL_set_connect_state(e.client);
	SSL_set_accept_state(e.server);
	if (session)
		assert_true(SSL_set_session(e.client, session));
	for (int i = 0; i < 20; i++) {
		int client = SSL_do_handshake(e.client), server = SSL_do_handshake(e.server);

		if (server < 0 && SSL_get_error(e.server, server) == SSL_ERROR_SSL)
			break;
		if (client == 1 && server == 1) {
			e.done = true;
			break;
		}
	}
	SSL_read(e.client, &byte, 1); /* takes the ticket in */
	ERR_clear_error();
	return e;
}

static void ends_free(struct ends *e)
{
	/* A session of a connection that was not shut down cannot be resumed. */
	SSL_shutdown(e->client);
	SSL_free(e->client);
	SSL_free(e->server);
	ERR_clear_error();
}

static SSL_CTX *client_ctx(struct fixture *f, X509 *cert, EVP_PKEY *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), f->ca);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
	if (cert) {
		assert_true(SSL_CTX_use_certificate(ctx, cert));
		assert_true(SSL_CTX_use_PrivateKey(ctx, key));
	}
	return ctx;
}

static void tls_takes_valid_expired_and_no_certificates_but_no_foreign_ones(void **state)
{
	struct fixture *f = *state;
	X509 *server_cert = issue_server(f), *good = issue_agent(f, "good"), *expired, *future, *foreign_ca, *foreign, *self_signed;
	EVP_PKEY *foreign_key;
	SSL_CTX *server;

	clock_fake(-1, (int64_t)(clock_wall_ms() - 60 * DAY_MS));
	expired = issue_agent(f, "expired");
	clock_fake(-1, -1);
	clock_fake(-1, (int64_t)(clock_wall_ms() + DAY_MS));
	future = issue_agent(f, "future");
	clock_fake(-1, -1);
	assert_int_equal(pki_key_new(&foreign_key, NULL), 0);
	/* Of the same name, so that only the signature tells them apart. */
	assert_int_equal(pki_ca_new(foreign_key, "Example CA", &foreign_ca, NULL), 0);
	assert_int_equal(pki_issue_agent(foreign_ca, foreign_key, f->key, "good", "acme", "berlin", 30, &foreign, NULL), 0);
	assert_int_equal(pki_ca_new(f->key, "good", &self_signed, NULL), 0);
	assert_int_equal(pki_server_ctx(server_cert, NULL, f->key, f->ca, &server, NULL), 0);

	struct {
		const char *what;
		X509 *cert;
		bool passes;
		long verified;
	} rows[] = {
		{"valid", good, true, X509_V_OK},
		{"none", NULL, true, X509_V_OK},
		{"expired", expired, true, X509_V_ERR_CERT_HAS_EXPIRED},
		{"not yet valid", future, false, 0},
		{"of another CA", foreign, false, 0},
		{"self-signed", self_signed, false, 0},
		{"a server's", server_cert, false, 0},
	};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		SSL_CTX *client = client_ctx(f, rows[i].cert, f->key);
		struct ends e = handshake(server, client, NULL);

		if (e.done != rows[i].passes)
			fail_msg("%s: %s", rows[i].what, e.done ? "passed" : "refused");
		if (e.done) {
			X509 *peer = SSL_get0_peer_certificate(e.server);

			assert_int_equal(SSL_version(e.server), TLS1_3_VERSION);
			assert_int_equal(SSL_get_verify_result(e.server), rows[i].verified);
			assert_int_equal(peer != NULL, rows[i].cert != NULL);
			if (peer)
				assert_int_equal(X509_cmp(peer, rows[i].cert), 0);
			/* The CA itself is not sent along. */
			assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(e.client)), 1);
		}
		ends_free(&e);
		SSL_CTX_free(client);
	}
	SSL_CTX_free(server);
	pki_cert_freep(&server_cert);
	pki_cert_freep(&good);
	pki_cert_freep(&expired);
	pki_cert_freep(&future);
	pki_cert_freep(&foreign_ca);
	pki_cert_freep(&foreign);
	pki_cert_freep(&self_signed);
	pki_key_freep(&foreign_key);
}

static void resumed_session_still_knows_the_certificate(void **state)
{
	static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
	struct fixture *f = *state;
	X509 *server_cert = issue_server(f), *good = issue_agent(f, "good");
	SSL_CTX *server, *other;

	assert_int_equal(pki_server_ctx(server_cert, NULL, f->key, f->ca, &server, NULL), 0);
	assert_int_equal(pki_server_ctx(server_cert, NULL, f->key, f->ca, &other, NULL), 0);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(versions); i++) {
		SSL_CTX *client = client_ctx(f, good, f->key);
		SSL_SESSION *session;
		struct ends e;

		SSL_CTX_set_max_proto_version(client, versions[i]);
		e = handshake(server, client, NULL);
		assert_true(e.done);
		session = SSL_get1_session(e.client);
		assert_true(SSL_SESSION_is_resumable(session));
		ends_free(&e);

		e = handshake(server, client, session);
		assert_true(e.done);
		assert_true(SSL_session_reused(e.server));
		assert_int_equal(X509_cmp(SSL_get0_peer_certificate(e.server), good), 0);
		ends_free(&e);

		/* Another context has other ticket keys: a full handshake, no failure. */
		e = handshake(other, client, session);
		assert_true(e.done);
		assert_false(SSL_session_reused(e.server));
		ends_free(&e);
		SSL_SESSION_free(session);
		SSL_CTX_free(client);
	}
	SSL_CTX_free(server);
	SSL_CTX_free(other);
	pki_cert_freep(&server_cert);
	pki_cert_freep(&good);
}

static void tls_below_1_2_is_refused(void **state)
{
	struct fixture *f = *state;
	X509 *server_cert = issue_server(f);
	SSL_CTX *server, *client = client_ctx(f, NULL, NULL);
	struct ends e;

	assert_int_equal(pki_server_ctx(server_cert, NULL, f->key, NULL, &server, NULL), 0);
	SSL_CTX_set_min_proto_version(client, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(client, TLS1_1_VERSION);
	SSL_CTX_set_security_level(client, 0);
	e = handshake(server, client, NULL);
	assert_false(e.done);
	ends_free(&e);
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	pki_cert_freep(&server_cert);
}

static void mismatched_pair_makes_no_context(void **state)
{
	struct fixture *f = *state;
	X509 *server_cert = issue_server(f);
	struct err err = {""};
	SSL_CTX *ctx;

	assert_int_equal(pki_server_ctx(server_cert, NULL, f->ca_key, NULL, &ctx, &err), -PTA_ECRYPTO);
	assert_non_null(strstr(err.text, "certificate and key"));
	assert_int_equal(ERR_peek_error(), 0);
	pki_cert_freep(&server_cert);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_and_certificates_survive_pem),
		cmocka_unit_test(broken_pem_is_refused),
		cmocka_unit_test(der_takes_exactly_one_certificate),
		cmocka_unit_test(ca_may_sign_and_nothing_else),
		cmocka_unit_test(agent_gets_client_auth_and_the_given_name),
		cmocka_unit_test(bad_parameters_issue_nothing),
		cmocka_unit_test(server_names_and_addresses_are_in_the_certificate),
		cmocka_unit_test(a_server_name_longer_than_cn_is_only_an_alternative_name),
		cmocka_unit_test(hostile_csr_gives_its_key_and_nothing_else),
		cmocka_unit_test(csr_of_our_own_is_taken_and_a_broken_signature_is_not),
		cmocka_unit_test(csr_with_another_kind_of_key_is_refused),
		cmocka_unit_test(subject_with_a_missing_or_second_name_is_refused),
		cmocka_unit_test(signatures_are_checked),
		cmocka_unit_test(tls_takes_valid_expired_and_no_certificates_but_no_foreign_ones),
		cmocka_unit_test(resumed_session_still_knows_the_certificate),
		cmocka_unit_test(tls_below_1_2_is_refused),
		cmocka_unit_test(mismatched_pair_makes_no_context),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
