/* The service's CA and the server certificates it issues for its listeners. Lives in state_dir: ca.key and ca.crt
 * (0600, 0644). Immutable once opened; thread-safe. Blocks on disk in create, open and ca_signin_tls() only. */
#ifndef PTA_SERVICE_CA_H
#define PTA_SERVICE_CA_H

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/ini_conf.h"
#include "wire/limits.h"

/* In state_dir; the key is PEM of at most so many bytes. */
#define CA_KEY_FILE "ca.key"
#define CA_CERTIFICATE_FILE "ca.crt"
#define CA_KEY_LIMIT 16384

struct ca;

/* For `init`: -PTA_EEXIST when there is one. */
PTA_MUST_CHECK int ca_create(const char *state_dir, uid_t uid, gid_t gid, struct err *err);
PTA_MUST_CHECK int ca_open(const char *state_dir, struct ca **out, struct err *err);
void ca_free(struct ca *ca);
/* The CA's own certificate; wall clock. */
void ca_validity(const struct ca *ca, uint64_t *from_ms, uint64_t *until_ms);
/* The CA's certificate in DER, for tokens; borrowed. */
const uint8_t *ca_der(const struct ca *ca, size_t *len);

struct ca_issued {
	char pem[LIMIT_CERTIFICATE + 1];
	char fingerprint[65], serial[65];
	uint64_t not_after_ms;
};

/* A client certificate for the CSR's key; nothing else of the CSR is used. -PTA_EINVAL when the CSR is bad. */
PTA_MUST_CHECK int ca_issue_agent(const struct ca *ca, const char *csr, size_t csr_len, const char *agent, const char *tenant, const char *group, struct ca_issued *out,
				  struct err *err);
/* SHA-256 over the SubjectPublicKeyInfo of the CSR's key, for registry_token_use(). -PTA_EINVAL when the CSR is bad. */
PTA_MUST_CHECK int ca_csr_key_hash(const char *csr, size_t csr_len, uint8_t hash[32], struct err *err);

/* TLS of the agent listener: a fresh certificate of the CA for these names, renewed by itself (ca_server.h), client certificates asked for. */
PTA_MUST_CHECK int ca_agent_tls(const struct ca *ca, const struct conf_list *names, SSL_CTX **out, struct err *err);
/* TLS of the sign-in listener: the certificate (with chain) and key of these files (-PTA_EEXPIRED, -PTA_ETLS when they do not go
 * together), or of the CA's when both are NULL. */
PTA_MUST_CHECK int ca_signin_tls(const struct ca *ca, const struct conf_list *names, const char *cert_file, const char *key_file, SSL_CTX **out, struct err *err);

#endif
