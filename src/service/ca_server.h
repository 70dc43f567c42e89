/* A TLS server context whose certificate the CA issues, and issues again when less than a third of its life is left: at the
 * next handshake, without a restart. Thread-safe. */
#ifndef PTA_SERVICE_CA_SERVER_H
#define PTA_SERVICE_CA_SERVER_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ini_conf.h"

#define CA_SERVER_DAYS 90

/* ca and ca_key are referenced, names copied. client_ca as in pki_server_ctx(). */
PTA_MUST_CHECK int ca_server_ctx(X509 *ca, EVP_PKEY *ca_key, const struct conf_list *names, X509 *client_ca, SSL_CTX **out, struct err *err);

/* The certificate that the next handshake of a listener's context gets, of ca_server_ctx() or not: renewed first where that is due. Wall clock. */
void ca_server_validity(SSL_CTX *ctx, uint64_t *from_ms, uint64_t *until_ms);

#endif
