/* Many HTTPS connections of a load generator on one epoll: one request in flight on each, kept open. Non-blocking but for the look-up
 * of the name. Belongs to one thread. What goes wrong below HTTP ends the program with a message: a measurement with a lost connection
 * is none. */
#ifndef PTA_BENCH_TLS_LINK_H
#define PTA_BENCH_TLS_LINK_H

#include <netdb.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct tls_loop {
	int epoll; /* data.ptr is a link; the owner may add descriptors with NULL */
	SSL_CTX *tls;
};

struct tls_target {
	struct addrinfo *address;
	char host[256], port[8];
};

struct tls_link {
	struct tls_loop *loop;
	const struct tls_target *target;
	const char *headers; /* further header lines, each with its end; lives as long as the link */
	SSL *ssl;	     /* NULL: closed */
	int fd;
	bool connected;
	struct buf out, in;
	/* The answer's status and body, which are valid within the call; it may post the next request or close the link. */
	void (*answered)(struct tls_link *link, int status, const uint8_t *body, size_t len);
};

void tls_loop_init(struct tls_loop *loop, const char *ca_file);
void tls_loop_done(struct tls_loop *loop);
/* url: https://host:port */
void tls_target_init(struct tls_target *target, const char *option, const char *url);
void tls_target_done(struct tls_target *target);

/* Begins to connect; cert and key (NULL: none) are what it shows. Set `answered` and `headers` before. */
void tls_link_open(struct tls_link *link, struct tls_loop *loop, const struct tls_target *target, X509 *cert, EVP_PKEY *key);
/* Sends as soon as it is connected. */
void tls_link_post(struct tls_link *link, const char *path, const char *type, const void *body, size_t len);
void tls_link_close(struct tls_link *link);
/* Waits for at most timeout_ms and moves the links; true: a descriptor that the owner added is readable. */
bool tls_loop_turn(struct tls_loop *loop, int timeout_ms);

#endif
