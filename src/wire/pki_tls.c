/* TLS server contexts. */
#include <openssl/err.h>
#include <string.h>

#include "wire/pki_internal.h"

/* An agent whose certificate has run out must hear so from the route (403 and the reason), not by an alert. Everything
 * else that is wrong with a client's certificate ends the handshake. */
static int verify_client(int ok, X509_STORE_CTX *ctx)
{
	if (!ok && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_CERT_HAS_EXPIRED && X509_STORE_CTX_get_error_depth(ctx) == 0)
		return 1;
	return ok;
}

static bool ask_for_client_certificate(SSL_CTX *ctx, X509 *client_ca)
{
	if (!X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), client_ca) || !SSL_CTX_add_client_CA(ctx, client_ca))
		return false;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, verify_client);
	SSL_CTX_set_verify_depth(ctx, 0); /* no intermediate CAs */
	return true;
}

static bool configure(SSL_CTX *ctx, X509 *cert, STACK_OF(X509) * chain, EVP_PKEY *key, X509 *client_ca)
{
	char fingerprint[65];

	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CLEANSE_PLAINTEXT);
	/* No auto chain: it would send the client CA along, which agents have already. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	/* Sessions are resumed by tickets alone: a cache on this side is memory that a peer can make grow. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	pki_fingerprint(cert, fingerprint);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) && SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") &&
	       SSL_CTX_set_num_tickets(ctx, 1) && SSL_CTX_set_session_id_context(ctx, (const unsigned char *)fingerprint, SSL_MAX_SID_CTX_LENGTH) &&
	       SSL_CTX_use_certificate(ctx, cert) && (!chain || SSL_CTX_set1_chain(ctx, chain)) && SSL_CTX_use_PrivateKey(ctx, key) &&
	       SSL_CTX_check_private_key(ctx) && (!client_ca || ask_for_client_certificate(ctx, client_ca));
}

int pki_server_ctx(X509 *cert, STACK_OF(X509) * chain, EVP_PKEY *key, X509 *client_ca, SSL_CTX **out, struct err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx || !configure(ctx, cert, chain, key, client_ca)) {
		SSL_CTX_free(ctx);
		return pki_fail(err, "setting up TLS with the server's certificate and key");
	}
	*out = ctx;
	return 0;
}
