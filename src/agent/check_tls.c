/* `pta-agent check`: why a controller's certificate is refused. libldap says only that it is; so the certificate is looked
 * at once more, over a connection of its own on which nothing is sent. What is found decides nothing but the advice. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/check_impl.h"
#include "base/clock.h"
#include "directory/dial.h"
#include "wire/pki.h"

#define MAX_NAMES 4

static bool prepare(SSL_CTX *ctx, SSL *ssl, const struct directory_conf *conf, const struct directory_server *server, int fd)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	bool system = strcmp(conf->ca_file, "system") == 0;
	char host[sizeof(server->host)]; /* the macro takes no const name */

	memcpy(host, server->host, sizeof(host));
	if ((system ? SSL_CTX_set_default_verify_paths(ctx) : SSL_CTX_load_verify_file(ctx, conf->ca_file)) != 1)
		return false;
	/* The handshake goes on whatever the certificate is; the reason is read afterwards. */
	SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	if (X509_VERIFY_PARAM_set1_ip_asc(param, server->host) != 1 &&
		(X509_VERIFY_PARAM_set1_host(param, server->host, 0) != 1 || SSL_set_tlsext_host_name(ssl, host) != 1))
		return false;
	return SSL_set_fd(ssl, fd) == 1;
}

static bool handshake(SSL *ssl, int fd, uint64_t deadline_us)
{
	for (;;) {
		int n = SSL_connect(ssl), wanted;

		if (n == 1)
			return true;
		wanted = SSL_get_error(ssl, n);
		if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE)
			return false;
		if (dial_wait(fd, wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline_us) < 0)
			return false;
	}
}

/* The DNS names and addresses of the certificate, "" when there are none. */
static void list_names(X509 *cert, char *out, size_t cap)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	size_t used = 0;

	out[0] = '\0';
	for (int i = 0, shown = 0; names && i < sk_GENERAL_NAME_num(names) && shown < MAX_NAMES; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const unsigned char *data = name->type == GEN_DNS ? ASN1_STRING_get0_data(name->d.dNSName) : NULL;
		int n;

		if (!data || used >= cap)
			continue;
		n = snprintf(out + used, cap - used, "%s%.*s", used ? ", " : "",
			ASN1_STRING_length(name->d.dNSName) < 100 ? ASN1_STRING_length(name->d.dNSName) : 100, (const char *)data);
		used += n > 0 ? (size_t)n : 0;
		shown++;
	}
	GENERAL_NAMES_free(names);
}

static void describe(X509 *cert, long result, const struct directory_server *server, struct check_tls_reason *out)
{
	char names[450], issuer[200], until[CLOCK_RFC3339_LEN + 1], from[CLOCK_RFC3339_LEN + 1];
	uint64_t not_before_ms, not_after_ms;

	list_names(cert, names, sizeof(names));
	X509_NAME_oneline(X509_get_issuer_name(cert), issuer, sizeof(issuer));
	pki_validity(cert, &not_before_ms, &not_after_ms);
	clock_rfc3339(not_after_ms, until);
	clock_rfc3339(not_before_ms == UINT64_MAX ? 0 : not_before_ms, from);
	switch (result) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		snprintf(out->text, sizeof(out->text), "its certificate, or that of its CA, has expired: it was valid until %s", until);
		snprintf(out->mend, sizeof(out->mend), "renew the controller's certificate");
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		snprintf(out->text, sizeof(out->text), "its certificate is not valid before %s", from);
		snprintf(out->mend, sizeof(out->mend), "set the clock of this host by NTP, or wait");
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		snprintf(out->text, sizeof(out->text), "its certificate is not for %s; it names %s", server->host, names[0] ? names : "no host");
		snprintf(out->mend, sizeof(out->mend), "write into servers a name that the certificate has, or give the controller one that names %.200s",
			server->host);
		break;
	default:
		snprintf(out->text, sizeof(out->text), "its certificate, issued by %s, is refused: %s", issuer, X509_verify_cert_error_string(result));
		snprintf(out->mend, sizeof(out->mend), "put the certificate of the CA %.200s into ca_file, if that is the organisation's CA", issuer);
		break;
	}
}

static bool look(const struct dc_check *dc, SSL_CTX *ctx, int fd, uint64_t deadline_us, struct check_tls_reason *out)
{
	SSL *ssl = SSL_new(ctx);
	X509 *cert = NULL;
	long result = X509_V_OK;

	if (ssl && prepare(ctx, ssl, dc->d->conf, dc->server, fd) && handshake(ssl, fd, deadline_us)) {
		cert = SSL_get1_peer_certificate(ssl);
		result = SSL_get_verify_result(ssl);
	}
	if (cert && result != X509_V_OK)
		describe(cert, result, dc->server, out);
	X509_free(cert);
	SSL_free(ssl);
	ERR_clear_error();
	return cert && result != X509_V_OK;
}

bool check_tls(const struct dc_check *dc, struct check_tls_reason *out)
{
	uint64_t deadline_us = clock_mono_us() + dc->d->conf->connect_timeout * 1000ull;
	SSL_CTX *ctx;
	bool found = false;
	struct err err;
	int fd;

	/* Behind StartTLS the same certificate would be found, but for more of LDAP. */
	if (dc->d->conf->tls != DIRECTORY_LDAPS || dial(dc->server, false, deadline_us, 0, &fd, &err) < 0)
		return false;
	ctx = SSL_CTX_new(TLS_client_method());
	if (ctx)
		found = look(dc, ctx, fd, deadline_us, out);
	SSL_CTX_free(ctx);
	close(fd);
	return found;
}
