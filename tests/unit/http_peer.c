#include "http_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define GIVE_UP_MS 10000

static void die(const char *what)
{
	fprintf(stderr, "http_peer: %s\n", what);
	abort();
}

void turn(struct event_base *base)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

void turn_until(struct event_base *base, const bool *flag)
{
	uint64_t end = clock_mono_ms() + GIVE_UP_MS;

	while (!*flag) {
		/* A timer keeps the loop from waiting for ever when the server has nothing to wait for. */
		event_base_loopexit(base, &(struct timeval){.tv_usec = 2000});
		event_base_dispatch(base);
		if (clock_mono_ms() > end)
			die("what was waited for did not happen");
	}
}

static void wait_fd(struct peer *peer, short events, uint64_t end)
{
	struct pollfd pfd = {.fd = peer->fd, .events = events};

	turn(peer->base);
	poll(&pfd, 1, 1);
	if (clock_mono_ms() > end)
		die("the server does nothing");
}

static void connect_to(struct peer *peer, struct event_base *base, const struct sockaddr *source, const struct sockaddr *sa, socklen_t len, SSL_CTX *tls)
{
	memset(peer, 0, sizeof(*peer));
	peer->base = base;
	peer->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (peer->fd < 0 || (source && bind(peer->fd, source, len) < 0) || (connect(peer->fd, sa, len) < 0 && errno != EINPROGRESS))
		die("cannot connect");
	if (!tls)
		return;
	peer->ssl = SSL_new(tls);
	if (!peer->ssl || SSL_set_fd(peer->ssl, peer->fd) != 1)
		die("cannot make an SSL");
	SSL_set_connect_state(peer->ssl);
}

void peer_connect(struct peer *peer, struct event_base *base, const char *host, unsigned port, SSL_CTX *tls)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
		connect_to(peer, base, NULL, (struct sockaddr *)&in, sizeof(in), tls);
	else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
		connect_to(peer, base, NULL, (struct sockaddr *)&in6, sizeof(in6), tls);
	else
		die("not an address");
}

void peer_connect_from(struct peer *peer, struct event_base *base, const char *source, unsigned port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from = in;

	from.sin_port = 0;
	if (inet_pton(AF_INET, source, &from.sin_addr) != 1)
		die("not an address");
	connect_to(peer, base, (struct sockaddr *)&from, (struct sockaddr *)&in, sizeof(in), NULL);
}

void peer_connect_unix(struct peer *peer, struct event_base *base, const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	connect_to(peer, base, NULL, (struct sockaddr *)&sun, sizeof(sun), NULL);
}

void peer_close(struct peer *peer)
{
	if (peer->ssl)
		SSL_free(peer->ssl);
	if (peer->fd >= 0)
		close(peer->fd);
	peer->ssl = NULL;
	peer->fd = -1;
}

void peer_reset(struct peer *peer)
{
	const struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	peer_close(peer);
}

/* Result of one read or write: bytes, 0 to try again, -1 at the end. */
static int judge(struct peer *peer, long n, short *events)
{
	if (n > 0)
		return (int)n;
	*events = POLLIN;
	if (peer->ssl) {
		int error = SSL_get_error(peer->ssl, (int)n);

		ERR_clear_error();
		if (error == SSL_ERROR_WANT_WRITE)
			*events = POLLOUT;
		return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
	}
	return n < 0 && (errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS) ? 0 : -1;
}

bool peer_send(struct peer *peer, const char *text, size_t len)
{
	uint64_t end = clock_mono_ms() + GIVE_UP_MS;
	short events = POLLOUT;

	while (len) {
		long n = peer->ssl ? SSL_write(peer->ssl, text, (int)len) : send(peer->fd, text, len, MSG_NOSIGNAL);
		int done = judge(peer, n, &events);

		if (done < 0) {
			peer->eof = true;
			return false;
		}
		text += done;
		len -= (size_t)done;
		if (!done)
			wait_fd(peer, peer->ssl ? events : POLLOUT, end);
	}
	return true;
}

bool peer_say(struct peer *peer, const char *text)
{
	return peer_send(peer, text, strlen(text));
}

/* Reads what there is, or waits for some. */
static void receive(struct peer *peer, uint64_t end)
{
	size_t room = sizeof(peer->data) - 1 - peer->len;
	short events = POLLIN;
	long n;
	int done;

	if (!room)
		die("the response is too large for this test");
	n = peer->ssl ? SSL_read(peer->ssl, peer->data + peer->len, (int)room) : recv(peer->fd, peer->data + peer->len, room, 0);
	done = judge(peer, n, &events);
	if (done < 0)
		peer->eof = true;
	else if (done)
		peer->len += (size_t)done;
	else
		wait_fd(peer, events, end);
	peer->data[peer->len] = '\0';
}

int peer_response(struct peer *peer, const char **body)
{
	uint64_t end = clock_mono_ms() + GIVE_UP_MS;
	char *blank, *header;
	size_t want = 0;

	peer->len = 0;
	while (!(blank = peer->len ? strstr(peer->data, "\r\n\r\n") : NULL)) {
		if (peer->eof)
			return 0;
		receive(peer, end);
	}
	header = strcasestr(peer->data, "\r\nContent-Length: ");
	if (header && header < blank)
		want = strtoul(header + strlen("\r\nContent-Length: "), NULL, 10);
	blank += 4;
	while ((size_t)(peer->data + peer->len - blank) < want && !peer->eof)
		receive(peer, end);
	if (body)
		*body = blank;
	return (size_t)(peer->data + peer->len - blank) < want ? 0 : (int)strtol(peer->data + strlen("HTTP/1.1 "), NULL, 10);
}

const char *peer_head(const struct peer *peer)
{
	return peer->data;
}

void peer_wait_eof(struct peer *peer)
{
	uint64_t end = clock_mono_ms() + GIVE_UP_MS;

	while (!peer->eof) {
		peer->len = 0;
		receive(peer, end);
	}
}

static void make_pair(X509 **cert, EVP_PKEY **key)
{
	static X509 *made;
	static EVP_PKEY *made_key;
	X509_NAME *name;

	if (!made) {
		made_key = EVP_EC_gen("P-256");
		made = X509_new();
		if (!made || !made_key)
			die("no certificate");
		X509_set_version(made, X509_VERSION_3);
		ASN1_INTEGER_set(X509_get_serialNumber(made), 7);
		X509_gmtime_adj(X509_getm_notBefore(made), -60);
		X509_gmtime_adj(X509_getm_notAfter(made), 3600);
		X509_set_pubkey(made, made_key);
		name = X509_get_subject_name(made);
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
		X509_set_issuer_name(made, name);
		if (!X509_sign(made, made_key, EVP_sha256()))
			die("cannot sign");
	}
	*cert = made;
	*key = made_key;
}

SSL_CTX *test_server_ctx(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key;
	X509 *cert;

	make_pair(&cert, &key);
	if (!ctx || SSL_CTX_use_certificate(ctx, cert) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1 ||
		X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) != 1 || SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"t", 1) != 1)
		die("no server context");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	return ctx;
}

SSL_CTX *test_client_ctx(bool with_certificate)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	EVP_PKEY *key;
	X509 *cert;

	make_pair(&cert, &key);
	if (!ctx || X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) != 1)
		die("no client context");
	if (with_certificate && (SSL_CTX_use_certificate(ctx, cert) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1))
		die("no client certificate");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return ctx;
}
