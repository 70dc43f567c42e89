/* The other end of an httpd under test: one thread runs both, so nothing here waits for luck. Every wait turns the server's
 * event base until what was waited for is there, and fails the test after ten seconds. */
#ifndef PTA_TESTS_HTTP_PEER_H
#define PTA_TESTS_HTTP_PEER_H

#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/httpd.h"

struct peer {
	struct event_base *base;
	int fd;
	SSL *ssl;
	char data[1 << 16];
	size_t len;
	bool eof; /* the server closed or reset */
};

/* Connects to 127.0.0.1 (or what host says: a numeric address) without waiting for the server; tls may be NULL. */
void peer_connect(struct peer *peer, struct event_base *base, const char *host, unsigned port, SSL_CTX *tls);
void peer_connect_from(struct peer *peer, struct event_base *base, const char *source, unsigned port);
void peer_connect_unix(struct peer *peer, struct event_base *base, const char *path);
void peer_close(struct peer *peer);
void peer_reset(struct peer *peer); /* closes with a RST */

/* Sends everything. False when the server closed meanwhile. */
bool peer_send(struct peer *peer, const char *text, size_t len);
bool peer_say(struct peer *peer, const char *text);
/* One whole response: returns its status and puts its body (terminated) at *body; 0 when the connection ended first. */
int peer_response(struct peer *peer, const char **body);
/* The last response's head. */
const char *peer_head(const struct peer *peer);
/* Waits until the server has closed. */
void peer_wait_eof(struct peer *peer);
/* Turns the base until *flag. */
void turn_until(struct event_base *base, const bool *flag);
void turn(struct event_base *base); /* what is ready right now */

/* A self-signed P-256 certificate for localhost, and contexts with it; the client's shows it and trusts it. */
SSL_CTX *test_server_ctx(void);
SSL_CTX *test_client_ctx(bool with_certificate);

#endif
