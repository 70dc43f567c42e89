#include "service/ca_server.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "wire/pki.h"

#define RETRY_MS 60000

struct server {
	X509 *ca;
	EVP_PKEY *ca_key;
	char **names;	      /* NULL-terminated */
	pthread_mutex_t lock; /* guards the rest */
	EVP_PKEY *key;
	X509 *cert;
	uint64_t renew_ms;
};

static void server_free(struct server *server)
{
	if (!server)
		return;
	for (char **name = server->names; name && *name; name++)
		free(*name);
	free(server->names);
	pki_cert_freep(&server->ca);
	pki_key_freep(&server->ca_key);
	pki_cert_freep(&server->cert);
	pki_key_freep(&server->key);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

static void server_freep(struct server **server)
{
	server_free(*server);
}

static int copy_names(struct server *server, const struct conf_list *names)
{
	server->names = calloc(names->n + 1, sizeof(*server->names));
	if (!server->names)
		return -PTA_ENOMEM;
	for (size_t i = 0; i < names->n; i++) {
		server->names[i] = strdup(names->items[i]);
		if (!server->names[i])
			return -PTA_ENOMEM;
	}
	return 0;
}

/* A new key and certificate instead of those it has. */
static int issue(struct server *server, struct err *err)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	uint64_t from, until;
	int r;

	r = pki_key_new(&key, err);
	if (r < 0)
		return r;
	r = pki_issue_server(server->ca, server->ca_key, key, (const char *const *)server->names, CA_SERVER_DAYS, &cert, err);
	if (r < 0)
		return r;
	pki_validity(cert, &from, &until);
	pki_key_freep(&server->key);
	pki_cert_freep(&server->cert);
	server->key = key;
	server->cert = cert;
	key = NULL;
	cert = NULL;
	server->renew_ms = until - (until - from) / 3;
	return 0;
}

static void renew(struct server *server)
{
	char until[CLOCK_RFC3339_LEN + 1];
	uint64_t from_ms, until_ms;
	struct err err;

	if (issue(server, &err) < 0) {
		/* The old one goes on for as long as it lasts. */
		server->renew_ms = clock_wall_ms() + RETRY_MS;
		log_event(LOG_ERR, "ca.server_renew_failed", F_STR("name", server->names[0]), F_STR("error", err.text));
		return;
	}
	pki_validity(server->cert, &from_ms, &until_ms);
	clock_rfc3339(until_ms, until);
	log_event(LOG_NOTICE, "ca.server_renewed", F_STR("name", server->names[0]), F_STR("until", until));
}

/* Each handshake gets the newest certificate; 0 ends the handshake. */
static int choose(SSL *ssl, void *arg)
{
	struct server *server = arg;
	int ok;

	pthread_mutex_lock(&server->lock);
	if (clock_wall_ms() >= server->renew_ms)
		renew(server);
	ok = SSL_use_cert_and_key(ssl, server->cert, server->key, NULL, 1);
	pthread_mutex_unlock(&server->lock);
	return ok;
}

/* The context owns its server: it goes when the context goes. */
static void free_with_ctx(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	(void)parent;
	(void)ad;
	(void)index;
	(void)argl;
	(void)argp;
	server_free(ptr);
}

static int ex_index = -1;

static void make_index(void)
{
	ex_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_with_ctx);
}

void ca_server_validity(SSL_CTX *ctx, uint64_t *from_ms, uint64_t *until_ms)
{
	struct server *server = ex_index < 0 ? NULL : SSL_CTX_get_ex_data(ctx, ex_index);

	if (!server) {
		pki_validity(SSL_CTX_get0_certificate(ctx), from_ms, until_ms);
		return;
	}
	pthread_mutex_lock(&server->lock);
	if (clock_wall_ms() >= server->renew_ms)
		renew(server);
	pki_validity(server->cert, from_ms, until_ms);
	pthread_mutex_unlock(&server->lock);
}

int ca_server_ctx(X509 *ca, EVP_PKEY *ca_key, const struct conf_list *names, X509 *client_ca, SSL_CTX **out, struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct server *server PTA_CLEANUP(server_freep) = calloc(1, sizeof(*server));
	SSL_CTX *ctx;
	int r;

	pthread_once(&once, make_index);
	if (!server)
		return err_set(err, -PTA_ENOMEM, "no memory for a server certificate");
	pthread_mutex_init(&server->lock, NULL);
	X509_up_ref(ca);
	server->ca = ca;
	EVP_PKEY_up_ref(ca_key);
	server->ca_key = ca_key;
	if (copy_names(server, names) < 0)
		return err_set(err, -PTA_ENOMEM, "no memory for a server certificate");
	r = issue(server, err);
	if (r < 0)
		return r;
	r = pki_server_ctx(server->cert, NULL, server->key, client_ca, &ctx, err);
	if (r < 0)
		return r;
	if (ex_index < 0 || !SSL_CTX_set_ex_data(ctx, ex_index, server)) {
		SSL_CTX_free(ctx);
		return err_set(err, -PTA_ENOMEM, "no memory for a TLS context");
	}
	SSL_CTX_set_cert_cb(ctx, choose, server);
	server = NULL;
	*out = ctx;
	return 0;
}
