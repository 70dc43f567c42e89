/* A throw-away CA and a server certificate in a temporary folder, for tests that speak TLS. */
#ifndef PTA_TESTS_TEST_CERTS_H
#define PTA_TESTS_TEST_CERTS_H

#include <openssl/ssl.h>

struct test_certs {
	char dir[64];
	char ca_file[96], cert_file[96], key_file[96];
	SSL_CTX *server; /* cert and key loaded */
};

/* names: NULL-terminated DNS names and addresses. */
void test_certs_init(struct test_certs *certs, const char *const *names);
void test_certs_done(struct test_certs *certs); /* removes the folder */

#endif
