/* CSRs and the certificates that the service's CA issues. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/clock.h"
#include "wire/pki_internal.h"

#define BACKDATE_S (5 * 60) /* for agents whose clock is a little behind */
#define CA_DAYS 3650
#define SERIAL_LEN 16

static void request_freep(X509_REQ **request)
{
	X509_REQ_free(*request);
	*request = NULL;
}

/* No character set but UTF-8, the length checked by OpenSSL against the attribute's bound (64 for CN, O and OU). */
static bool name_add(X509_NAME *name, const char *type, const char *value)
{
	return *value && X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0);
}

int pki_csr_new(EVP_PKEY *key, const char *common_name, struct buf *pem, struct err *err)
{
	X509_REQ *request PTA_CLEANUP(request_freep) = X509_REQ_new();
	BIO *bio PTA_CLEANUP(pki_bio_freep) = BIO_new(BIO_s_mem());

	if (!request || !bio || !X509_REQ_set_version(request, X509_REQ_VERSION_1) || !name_add(X509_REQ_get_subject_name(request), "CN", common_name) ||
		!X509_REQ_set_pubkey(request, key) || X509_REQ_sign(request, key, EVP_sha256()) <= 0 || !PEM_write_bio_X509_REQ(bio, request))
		return pki_fail(err, "making a certificate request");
	if (pki_pem_append(bio, pem) < 0)
		return err_set(err, -PTA_ENOMEM, "making a certificate request: out of memory");
	return 0;
}

int pki_csr_key(const char *pem, size_t len, EVP_PKEY **out, struct err *err)
{
	BIO *bio PTA_CLEANUP(pki_bio_freep) = NULL;
	X509_REQ *request PTA_CLEANUP(request_freep) = NULL;
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;

	if (len > LIMIT_CSR)
		return err_set(err, -PTA_ETOOBIG, "certificate request: more than %d bytes", LIMIT_CSR);
	bio = pki_pem_reader(pem, len, err);
	if (!bio)
		return -PTA_EINVAL;
	request = PEM_read_bio_X509_REQ(bio, NULL, pki_no_password, NULL);
	if (!request)
		return pki_fail(err, "reading a certificate request (PEM)");
	key = X509_REQ_get_pubkey(request);
	if (!key)
		return pki_fail(err, "reading a certificate request's key");
	if (!pki_is_p256(key))
		return err_set(err, -PTA_EINVAL, "certificate request: its key is not a P-256 key");
	if (X509_REQ_verify(request, key) != 1)
		return pki_fail(err, "certificate request: its own signature is wrong");
	*out = key;
	key = NULL;
	return 0;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX ctx;
	bool added;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	added = extension && X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
	return added;
}

static bool set_random_serial(X509 *cert)
{
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	unsigned char bytes[SERIAL_LEN];
	bool set = false;

	if (serial && RAND_bytes(bytes, sizeof(bytes)) == 1) {
		bytes[0] = (bytes[0] & 0x3f) | 0x40; /* positive, and always of the same length */
		set = ASN1_STRING_set(serial, bytes, sizeof(bytes)) && X509_set_serialNumber(cert, serial);
	}
	ASN1_INTEGER_free(serial);
	return set;
}

/* Everything but subject and extensions. issuer NULL: self-signed. */
static X509 *certificate_new(X509 *issuer, EVP_PKEY *subject, unsigned days)
{
	time_t now = (time_t)(clock_wall_ms() / 1000);
	X509 *cert = X509_new();

	if (cert && X509_set_version(cert, X509_VERSION_3) && set_random_serial(cert) && X509_time_adj_ex(X509_getm_notBefore(cert), 0, -BACKDATE_S, &now) &&
		X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, &now) && X509_set_pubkey(cert, subject) &&
		(!issuer || X509_set_issuer_name(cert, X509_get_subject_name(issuer))))
		return cert;
	X509_free(cert);
	return NULL;
}

int pki_ca_new(EVP_PKEY *key, const char *name, X509 **out, struct err *err)
{
	X509 *cert PTA_CLEANUP(pki_cert_freep) = certificate_new(NULL, key, CA_DAYS);

	if (!cert || !name_add(X509_get_subject_name(cert), "CN", name) || !X509_set_issuer_name(cert, X509_get_subject_name(cert)) ||
		!add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
		!add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") || !add_extension(cert, cert, NID_subject_key_identifier, "hash") ||
		!X509_sign(cert, key, EVP_sha256()))
		return pki_fail(err, "making a CA certificate");
	*out = cert;
	cert = NULL;
	return 0;
}

/* The extensions of an end entity. */
static bool add_leaf_extensions(X509 *cert, X509 *ca, const char *extended_usage)
{
	return add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") && add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(cert, ca, NID_ext_key_usage, extended_usage) && add_extension(cert, ca, NID_subject_key_identifier, "hash") &&
	       add_extension(cert, ca, NID_authority_key_identifier, "keyid:always");
}

static int check_issue(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *subject, unsigned days, struct err *err)
{
	if (!pki_pair(ca, ca_key))
		return err_set(err, -PTA_EINVAL, "issuing a certificate: the CA's key is not the CA certificate's");
	if (!pki_is_p256(subject))
		return err_set(err, -PTA_EINVAL, "issuing a certificate: not a P-256 key");
	if (days == 0 || days > CA_DAYS)
		return err_set(err, -PTA_EINVAL, "issuing a certificate: %u days, but 1 to %d are possible", days, CA_DAYS);
	return 0;
}

int pki_issue_agent(
	X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *subject, const char *agent, const char *tenant, const char *group, unsigned days, X509 **out, struct err *err)
{
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	X509_NAME *name;
	int r = check_issue(ca, ca_key, subject, days, err);

	if (r < 0)
		return r;
	cert = certificate_new(ca, subject, days);
	if (!cert)
		return pki_fail(err, "issuing an agent's certificate");
	name = X509_get_subject_name(cert);
	if (!name_add(name, "O", tenant) || !name_add(name, "OU", group) || !name_add(name, "CN", agent) || !add_leaf_extensions(cert, ca, "clientAuth") ||
		!X509_sign(cert, ca_key, EVP_sha256()))
		return pki_fail(err, "issuing an agent's certificate");
	*out = cert;
	cert = NULL;
	return 0;
}

static bool plausible_dns_name(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= LIMIT_DOMAIN && name[0] != '.' && name[0] != '-' && !strstr(name, "..") && name[len - 1] != '.' &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")] == '\0';
}

/* Built by hand, not by OpenSSL's configuration syntax, in which a name could say more than a name. */
static bool push_alt_name(GENERAL_NAMES *names, const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	unsigned char address[16];
	ASN1_STRING *value = NULL;
	int type = GEN_IPADD;
	bool set;

	if (inet_pton(AF_INET, text, address) == 1) {
		value = ASN1_OCTET_STRING_new();
		set = value && ASN1_STRING_set(value, address, 4);
	} else if (inet_pton(AF_INET6, text, address) == 1) {
		value = ASN1_OCTET_STRING_new();
		set = value && ASN1_STRING_set(value, address, 16);
	} else {
		type = GEN_DNS;
		value = ASN1_IA5STRING_new();
		set = value && ASN1_STRING_set(value, text, -1);
	}
	if (!name || !set) {
		ASN1_STRING_free(value);
		GENERAL_NAME_free(name);
		return false;
	}
	GENERAL_NAME_set0_value(name, type, value);
	if (!sk_GENERAL_NAME_push(names, name)) {
		GENERAL_NAME_free(name);
		return false;
	}
	return true;
}

static bool add_alt_names(X509 *cert, const char *const *names)
{
	GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
	bool added = list != NULL;

	for (; added && *names; names++)
		added = push_alt_name(list, *names);
	added = added && X509_add1_ext_i2d(cert, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT) == 1;
	GENERAL_NAMES_free(list);
	return added;
}

int pki_issue_server(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *subject, const char *const *names, unsigned days, X509 **out, struct err *err)
{
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	unsigned char address[16];
	int r = check_issue(ca, ca_key, subject, days, err);

	if (r < 0)
		return r;
	if (!names[0])
		return err_set(err, -PTA_EINVAL, "issuing a server certificate: no name was given");
	for (size_t i = 0; names[i]; i++)
		if (inet_pton(AF_INET, names[i], address) != 1 && inet_pton(AF_INET6, names[i], address) != 1 && !plausible_dns_name(names[i]))
			return err_set(err, -PTA_EINVAL, "issuing a server certificate: '%s' is neither a DNS name nor an address", names[i]);
	cert = certificate_new(ca, subject, days);
	/* The subject is for people only; a name longer than CN's bound gets an empty one. */
	if (!cert || (strlen(names[0]) <= 64 && !name_add(X509_get_subject_name(cert), "CN", names[0])) || !add_leaf_extensions(cert, ca, "serverAuth") ||
		!add_alt_names(cert, names) || !X509_sign(cert, ca_key, EVP_sha256()))
		return pki_fail(err, "issuing a server certificate");
	*out = cert;
	cert = NULL;
	return 0;
}
