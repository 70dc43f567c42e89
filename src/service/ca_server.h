/* A TLS server context whose certificate the CA issues, and issues again when less than a third of its life is left: at the
 * next handshake, without a restart. Thread-safe. */
#ifndef PTA_SERVICE_CA_SERVER_H
#define PTA_SERVICE_CA_SERVER_H

#include <openssl/ssl.h>

#include "base/err.h"
#include "base/ini_conf.h"

#define CA_SERVER_DAYS 90

/* ca and ca_key are referenced, names copied. client_ca as in pki_server_ctx(). */
PTA_MUST_CHECK int ca_server_ctx(X509 *ca, EVP_PKEY *ca_key, const struct conf_list *names, X509 *client_ca, SSL_CTX **out, struct err *err);

#endif
