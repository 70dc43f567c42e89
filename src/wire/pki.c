#include "wire/pki_internal.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/encode.h"

#define PEM_MAX (64 * 1024)
#define CHAIN_MAX 16

void pki_openssl_error(char *out, size_t cap)
{
	const char *data = NULL, *reason;
	int flags = 0;
	unsigned long code = ERR_peek_last_error_data(&data, &flags);

	reason = ERR_reason_error_string(code);
	if (!reason)
		reason = code ? "unknown error" : "no error was given";
	if (data && (flags & ERR_TXT_STRING) && *data)
		snprintf(out, cap, "%s (%s)", reason, data);
	else
		snprintf(out, cap, "%s", reason);
	ERR_clear_error();
}

int pki_fail(struct err *err, const char *what)
{
	char text[256];

	pki_openssl_error(text, sizeof(text));
	return err_set(err, -PTA_ECRYPTO, "%s: %s", what, text);
}

void pki_key_freep(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
	*key = NULL;
}

void pki_cert_freep(X509 **cert)
{
	X509_free(*cert);
	*cert = NULL;
}

void pki_bio_freep(BIO **bio)
{
	BIO_free(*bio);
	*bio = NULL;
}

/* OpenSSL's own would ask on the terminal, for any PEM block whose header says that it is encrypted. */
int pki_no_password(char *out, int size, int rwflag, void *arg)
{
	(void)out;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

BIO *pki_pem_reader(const void *pem, size_t len, struct err *err)
{
	BIO *bio;

	if (len == 0 || len > PEM_MAX) {
		err_set(err, -PTA_EINVAL, "PEM text: %s", len ? "more than 64 KiB" : "empty");
		return NULL;
	}
	bio = BIO_new_mem_buf(pem, (int)len);
	if (!bio)
		err_set(err, -PTA_ENOMEM, "PEM text: out of memory");
	return bio;
}

int pki_pem_append(BIO *bio, struct buf *out)
{
	char *text;
	long len = BIO_get_mem_data(bio, &text);

	if (len <= 0)
		return -PTA_ENOMEM;
	buf_put(out, text, (size_t)len);
	return buf_ok(out) ? 0 : -PTA_ENOMEM;
}

bool pki_is_p256(EVP_PKEY *key)
{
	char group[32] = "";
	int explicit_parameters = 1;

	/* A curve written out parameter by parameter is refused even when it is this one: nobody else would take it. */
	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) && strcmp(group, "prime256v1") == 0 &&
	       EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit_parameters) && !explicit_parameters;
}

int pki_key_new(EVP_PKEY **out, struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	if (!key)
		return pki_fail(err, "making a P-256 key");
	*out = key;
	return 0;
}

int pki_key_to_pem(EVP_PKEY *key, struct buf *out, struct err *err)
{
	BIO *bio PTA_CLEANUP(pki_bio_freep) = BIO_new(BIO_s_secmem());

	if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return pki_fail(err, "writing a private key as PEM");
	if (pki_pem_append(bio, out) < 0)
		return err_set(err, -PTA_ENOMEM, "writing a private key as PEM: out of memory");
	return 0;
}

int pki_key_from_pem(const void *pem, size_t len, EVP_PKEY **out, struct err *err)
{
	BIO *bio PTA_CLEANUP(pki_bio_freep) = pki_pem_reader(pem, len, err);
	EVP_PKEY *key;

	if (!bio)
		return -PTA_EINVAL;
	key = PEM_read_bio_PrivateKey(bio, NULL, pki_no_password, NULL);
	if (!key)
		return pki_fail(err, "reading a private key (PEM, not encrypted)");
	*out = key;
	return 0;
}

int pki_cert_to_pem(X509 *cert, struct buf *out)
{
	BIO *bio PTA_CLEANUP(pki_bio_freep) = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509(bio, cert)) {
		ERR_clear_error();
		return -PTA_ENOMEM;
	}
	return pki_pem_append(bio, out);
}

static void chain_freep(STACK_OF(X509) * *chain)
{
	sk_X509_pop_free(*chain, X509_free);
	*chain = NULL;
}

/* What follows the first certificate, to the end of the text; NULL when nothing does. */
static int read_chain(BIO *bio, STACK_OF(X509) * *out, struct err *err)
{
	STACK_OF(X509) * chain PTA_CLEANUP(chain_freep) = NULL;
	X509 *cert;

	while ((cert = PEM_read_bio_X509(bio, NULL, pki_no_password, NULL))) {
		if (!chain)
			chain = sk_X509_new_null();
		if (!chain || sk_X509_num(chain) >= CHAIN_MAX || !sk_X509_push(chain, cert)) {
			X509_free(cert);
			return err_set(err, -PTA_ETOOBIG, "certificate chain: more than %d certificates", CHAIN_MAX);
		}
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return pki_fail(err, "reading a certificate chain");
	ERR_clear_error();
	*out = chain;
	chain = NULL;
	return 0;
}

int pki_cert_from_pem(const void *pem, size_t len, X509 **out, STACK_OF(X509) * *chain, struct err *err)
{
	BIO *bio PTA_CLEANUP(pki_bio_freep) = pki_pem_reader(pem, len, err);
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	int r;

	if (!bio)
		return -PTA_EINVAL;
	cert = PEM_read_bio_X509(bio, NULL, pki_no_password, NULL);
	if (!cert)
		return pki_fail(err, "reading a certificate (PEM)");
	if (chain) {
		r = read_chain(bio, chain, err);
		if (r < 0)
			return r;
	}
	*out = cert;
	cert = NULL;
	return 0;
}

int pki_cert_from_der(const void *der, size_t len, X509 **out, struct err *err)
{
	const unsigned char *p = der, *end = p + len;
	X509 *cert;

	if (len == 0 || len > LIMIT_CERTIFICATE)
		return err_set(err, -PTA_EINVAL, "certificate: %s", len ? "too long" : "empty");
	cert = d2i_X509(NULL, &p, (long)len);
	if (!cert)
		return pki_fail(err, "reading a certificate (DER)");
	if (p != end) {
		X509_free(cert);
		return err_set(err, -PTA_EINVAL, "certificate: something follows it");
	}
	*out = cert;
	return 0;
}

bool pki_pair(X509 *cert, EVP_PKEY *key)
{
	bool pair = X509_check_private_key(cert, key) == 1;

	ERR_clear_error();
	return pair;
}

void pki_serial(X509 *cert, char out[65])
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);

	/* Ours have 16 bytes. What is longer than any CA may issue (RFC 5280 4.1.2.2: 20 bytes) is nobody's serial number. */
	out[0] = '\0';
	if (ASN1_STRING_type(serial) == V_ASN1_INTEGER && ASN1_STRING_length(serial) <= 32)
		encode_hex(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial), out);
}

void pki_fingerprint(X509 *cert, char out[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	out[0] = '\0';
	if (X509_digest(cert, EVP_sha256(), digest, &len))
		encode_hex(digest, len, out);
}

void pki_key_fingerprint(EVP_PKEY *key, uint8_t out[32])
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	memset(out, 0, 32);
	if (len > 0)
		digest(der, (size_t)len, out);
	OPENSSL_free(der);
}

static bool time_ms(const ASN1_TIME *time, uint64_t *out)
{
	struct tm tm;
	time_t seconds;

	if (!time || !ASN1_TIME_to_tm(time, &tm))
		return false;
	seconds = timegm(&tm);
	*out = seconds > 0 ? (uint64_t)seconds * 1000 : 0;
	return true;
}

void pki_validity(X509 *cert, uint64_t *not_before_ms, uint64_t *not_after_ms)
{
	if (!time_ms(X509_get0_notBefore(cert), not_before_ms) || !time_ms(X509_get0_notAfter(cert), not_after_ms)) {
		ERR_clear_error();
		*not_before_ms = UINT64_MAX; /* a time that cannot be read: never valid */
		*not_after_ms = 0;
	}
}

static int name_entry(const X509_NAME *name, int nid, char out[LIMIT_ID + 1])
{
	int at = X509_NAME_get_index_by_NID(name, nid, -1), len;
	const ASN1_STRING *value;

	if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0)
		return -PTA_EINVAL;
	value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	len = ASN1_STRING_length(value);
	if (len <= 0 || len > LIMIT_ID || !ascii_printable((const char *)ASN1_STRING_get0_data(value), (size_t)len))
		return -PTA_EINVAL;
	memcpy(out, ASN1_STRING_get0_data(value), (size_t)len);
	out[len] = '\0';
	return 0;
}

int pki_agent_subject(X509 *cert, char agent[LIMIT_ID + 1], char tenant[LIMIT_ID + 1], char group[LIMIT_ID + 1])
{
	const X509_NAME *name = X509_get_subject_name(cert);

	if (name_entry(name, NID_commonName, agent) < 0 || name_entry(name, NID_organizationName, tenant) < 0 ||
		name_entry(name, NID_organizationalUnitName, group) < 0) {
		agent[0] = tenant[0] = group[0] = '\0';
		return -PTA_EINVAL;
	}
	return 0;
}

static void digest_ctx_freep(EVP_MD_CTX **ctx)
{
	EVP_MD_CTX_free(*ctx);
	*ctx = NULL;
}

int pki_sign(EVP_PKEY *key, const void *data, size_t len, uint8_t *sig, size_t *sig_len)
{
	EVP_MD_CTX *ctx PTA_CLEANUP(digest_ctx_freep) = EVP_MD_CTX_new();

	*sig_len = 256;
	if (!ctx || !pki_is_p256(key) || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) <= 0 || EVP_DigestSign(ctx, sig, sig_len, data, len) <= 0) {
		ERR_clear_error();
		*sig_len = 0;
		return -PTA_ECRYPTO;
	}
	return 0;
}

int pki_verify(EVP_PKEY *key, const void *data, size_t len, const uint8_t *sig, size_t sig_len)
{
	EVP_MD_CTX *ctx PTA_CLEANUP(digest_ctx_freep) = EVP_MD_CTX_new();

	if (!ctx || !pki_is_p256(key) || EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) <= 0 || EVP_DigestVerify(ctx, sig, sig_len, data, len) != 1) {
		ERR_clear_error();
		return -PTA_ECRYPTO;
	}
	return 0;
}
