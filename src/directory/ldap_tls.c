#include "directory/ldap_tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Exported by libldap for slapd. LDAP_OPT_X_TLS_CTX adds a reference at each get and set; nothing public drops one. */
void ldap_pvt_tls_ctx_free(void *ctx);

struct ldap_tls {
	void *ctx; /* NULL with tls = none */
};

static const char *system_bundle(void)
{
	static const char *const bundles[] = {
		"/etc/ssl/certs/ca-certificates.crt", /* Debian, Arch, Alpine */
		"/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
		"/etc/ssl/ca-bundle.pem",	      /* SUSE */
	};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(bundles); i++)
		if (access(bundles[i], R_OK) == 0)
			return bundles[i];
	return NULL;
}

/* Per handle, since global options come from ldap.conf, ~/.ldaprc and LDAPTLS_*, which must not weaken anything. */
static int demand(LDAP *ld)
{
	const int hard = LDAP_OPT_X_TLS_DEMAND;

	if (ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &hard) != LDAP_OPT_SUCCESS ||
		ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_SAN, &hard) != LDAP_OPT_SUCCESS ||
		ldap_set_option(ld, LDAP_OPT_X_TLS_PEERKEY_HASH, "") != LDAP_OPT_SUCCESS)
		return -PTA_ETLS;
	return 0;
}

/* GnuTLS takes a file without certificates for an empty list and says nothing. */
static bool has_certificate(const char *ca_file)
{
	BIO *bio = BIO_new_file(ca_file, "r");
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	bool found = cert != NULL;

	X509_free(cert);
	BIO_free(bio);
	ERR_clear_error();
	return found;
}

static int load(LDAP *ld, const char *ca_file, void **ctx)
{
	const int client = 0, min = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;

	/* GnuTLS builds of libldap ignore the lowest version: ldap_tls_verify() looks again. */
	if (demand(ld) < 0 || ldap_set_option(ld, LDAP_OPT_X_TLS_PROTOCOL_MIN, &min) != LDAP_OPT_SUCCESS ||
		ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, ca_file) != LDAP_OPT_SUCCESS ||
		ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &client) != LDAP_OPT_SUCCESS || ldap_get_option(ld, LDAP_OPT_X_TLS_CTX, ctx) != LDAP_OPT_SUCCESS ||
		!*ctx)
		return -PTA_ETLS;
	return 0;
}

int ldap_tls_new(const struct directory_conf *conf, struct ldap_tls **out, struct err *err)
{
	struct ldap_tls *tls = calloc(1, sizeof(*tls));
	const char *ca_file = conf->ca_file;
	LDAP *ld = NULL;
	int r = 0;

	if (!tls)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	if (conf->tls == DIRECTORY_TLS_NONE) {
		*out = tls;
		return 0;
	}
	if (ca_file && strcmp(ca_file, "system") == 0)
		ca_file = system_bundle();
	if (!ca_file)
		r = err_set(err, -PTA_ETLS, "[directory %s] ca_file: this system has no CA bundle where it is looked for: name a PEM file", conf->name);
	else if (ldap_initialize(&ld, NULL) != LDAP_SUCCESS)
		r = err_set(err, -PTA_ENOMEM, "[directory %s] libldap gives no handle", conf->name);
	else if (!has_certificate(ca_file) || load(ld, ca_file, &tls->ctx) < 0)
		r = err_set(err, -PTA_ETLS, "[directory %s] ca_file: no CA certificates can be loaded from '%s'", conf->name, ca_file);
	if (ld)
		ldap_unbind_ext(ld, NULL, NULL);
	if (r < 0) {
		ldap_tls_free(tls);
		return r;
	}
	*out = tls;
	return 0;
}

void ldap_tls_free(struct ldap_tls *tls)
{
	if (!tls)
		return;
	if (tls->ctx)
		ldap_pvt_tls_ctx_free(tls->ctx);
	free(tls);
}

int ldap_tls_apply(const struct ldap_tls *tls, LDAP *ld)
{
	if (!tls->ctx || demand(ld) < 0 || ldap_set_option(ld, LDAP_OPT_X_TLS_CTX, tls->ctx) != LDAP_OPT_SUCCESS)
		return -PTA_ETLS;
	return 0;
}

int ldap_tls_verify(LDAP *ld, char version[16], struct err *err)
{
	char *name = NULL;
	int r = 0;

	version[0] = '\0';
	if (ldap_tls_inplace(ld) && ldap_get_option(ld, LDAP_OPT_X_TLS_VERSION, &name) == LDAP_OPT_SUCCESS && name)
		snprintf(version, 16, "%s", name);
	/* "TLS1.3" of GnuTLS, "TLSv1.3" of OpenSSL. */
	if (strncmp(version, "TLS", 3) != 0 || (!strstr(version, "1.2") && !strstr(version, "1.3")))
		r = err_set(err, -PTA_ETLS, "speaks %s; TLS 1.2 or 1.3 is needed", version[0] ? version : "no TLS");
	ldap_memfree(name);
	return r;
}
