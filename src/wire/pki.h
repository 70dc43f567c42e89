/* Keys and certificates: P-256 keys, CSRs, the service's CA, signatures, TLS contexts. X.509 profile of RFC 5280.
 * Thread-safe as OpenSSL objects are. Never blocks but for key files' disk. */
#ifndef PTA_WIRE_PKI_H
#define PTA_WIRE_PKI_H

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/limits.h"

void pki_key_freep(EVP_PKEY **key);
void pki_cert_freep(X509 **cert);

PTA_MUST_CHECK int pki_key_new(EVP_PKEY **out, struct err *err); /* P-256 */
PTA_MUST_CHECK int pki_key_to_pem(EVP_PKEY *key, struct buf *out, struct err *err); /* PKCS#8; use a wiped buf */
PTA_MUST_CHECK int pki_key_from_pem(const void *pem, size_t len, EVP_PKEY **out, struct err *err);
PTA_MUST_CHECK int pki_cert_to_pem(X509 *cert, struct buf *out);
/* The first certificate; more (a chain) may follow and go to *chain when it is not NULL (NULL again when none does).
 * Nothing here ever asks for a password: encrypted PEM is an error. */
PTA_MUST_CHECK int pki_cert_from_pem(const void *pem, size_t len, X509 **out, STACK_OF(X509) **chain, struct err *err);
PTA_MUST_CHECK int pki_cert_from_der(const void *der, size_t len, X509 **out, struct err *err);
/* Certificate and key belong together. */
bool pki_pair(X509 *cert, EVP_PKEY *key);

/* The agent's CSR: its subject is only decoration, the CA takes nothing but the key. */
PTA_MUST_CHECK int pki_csr_new(EVP_PKEY *key, const char *common_name, struct buf *pem, struct err *err);
/* Checks the CSR's own signature and that its key is P-256; gives the key. */
PTA_MUST_CHECK int pki_csr_key(const char *pem, size_t len, EVP_PKEY **out, struct err *err);

/* A self-signed CA (10 years, pathlen 0, keyCertSign|cRLSign), subject CN=name. */
PTA_MUST_CHECK int pki_ca_new(EVP_PKEY *key, const char *name, X509 **out, struct err *err);
/* A client certificate for an agent: clientAuth only, CN=agent, O=tenant, OU=group; not before now - 5 min. */
PTA_MUST_CHECK int pki_issue_agent(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *subject, const char *agent, const char *tenant, const char *group, unsigned days, X509 **out,
				   struct err *err);
/* A server certificate for these names (DNS names and IP addresses, NULL-terminated). */
PTA_MUST_CHECK int pki_issue_server(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *subject, const char *const *names, unsigned days, X509 **out, struct err *err);

/* Lower-case hex of the serial number ("" for one of more than 32 bytes or below zero) / of SHA-256 over the DER. */
void pki_serial(X509 *cert, char out[65]);
void pki_fingerprint(X509 *cert, char out[65]);
void pki_key_fingerprint(EVP_PKEY *key, uint8_t out[32]); /* SHA-256 over the SubjectPublicKeyInfo */
/* Wall ms of notBefore and notAfter; a certificate whose times cannot be read is never valid (UINT64_MAX, 0). */
void pki_validity(X509 *cert, uint64_t *not_before_ms, uint64_t *not_after_ms);
/* The subject's CN, O, OU into buffers of LIMIT_ID + 1; -PTA_EINVAL when one is missing, repeated or longer. */
PTA_MUST_CHECK int pki_agent_subject(X509 *cert, char agent[LIMIT_ID + 1], char tenant[LIMIT_ID + 1], char group[LIMIT_ID + 1]);

/* ECDSA P-256 with SHA-256, DER; no other key. sig has 256 bytes. */
PTA_MUST_CHECK int pki_sign(EVP_PKEY *key, const void *data, size_t len, uint8_t *sig, size_t *sig_len);
PTA_MUST_CHECK int pki_verify(EVP_PKEY *key, const void *data, size_t len, const uint8_t *sig, size_t sig_len);

/* A server context: TLS 1.2 and up, session id context, SSL_MODE_RELEASE_BUFFERS, SSL_OP_CLEANSE_PLAINTEXT, no compression,
 * no renegotiation. client_ca not NULL: asks for a client certificate of that CA, optional in TLS; an expired one passes
 * the handshake (the route refuses it with 403 and the reason). */
PTA_MUST_CHECK int pki_server_ctx(X509 *cert, STACK_OF(X509) *chain, EVP_PKEY *key, X509 *client_ca, SSL_CTX **out, struct err *err);

/* The newest OpenSSL error as text, and clears the queue. */
void pki_openssl_error(char *out, size_t cap);

#endif
