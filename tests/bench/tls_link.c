#include "tests/bench/tls_link.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "wire/pki.h"

#define EVENTS 256
#define READ_SIZE 4096
#define MESSAGE_LIMIT (1u << 20)

static _Noreturn void fail(const struct tls_link *link, const char *what)
{
	int number = errno;
	char reason[256];

	pki_openssl_error(reason, sizeof(reason));
	fprintf(stderr, "%s:%s: %s: %s%s%s\n", link->target->host, link->target->port, what, reason, number ? ", " : "", number ? strerrordesc_np(number) : "");
	exit(1);
}

void tls_loop_init(struct tls_loop *loop, const char *ca_file)
{
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->tls = SSL_CTX_new(TLS_client_method());
	if (loop->epoll < 0 || !loop->tls || !SSL_CTX_set_min_proto_version(loop->tls, TLS1_3_VERSION) ||
		SSL_CTX_load_verify_locations(loop->tls, ca_file, NULL) != 1) {
		fprintf(stderr, "--ca %s: cannot be read as certificates\n", ca_file);
		exit(2);
	}
	SSL_CTX_set_verify(loop->tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(loop->tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(loop->tls, SSL_MODE_RELEASE_BUFFERS);
}

void tls_loop_done(struct tls_loop *loop)
{
	SSL_CTX_free(loop->tls);
	close(loop->epoll);
}

void tls_target_init(struct tls_target *target, const char *option, const char *url)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};

	if (sscanf(url, "https://%255[^:/]:%7[0-9]", target->host, target->port) != 2 || getaddrinfo(target->host, target->port, &hints, &target->address)) {
		fprintf(stderr, "%s %s: want https://host:port, and a host that is known\n", option, url);
		exit(2);
	}
}

void tls_target_done(struct tls_target *target)
{
	freeaddrinfo(target->address);
}

static bool verify_name(SSL *ssl, const char *host)
{
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host))
		return true;
	ERR_clear_error();
	return SSL_set1_host(ssl, host) && SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)host);
}

void tls_link_open(struct tls_link *link, struct tls_loop *loop, const struct tls_target *target, X509 *cert, EVP_PKEY *key)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = link};
	const struct addrinfo *ai = target->address;
	int one = 1;

	link->loop = loop;
	link->target = target;
	link->connected = false;
	link->in = BUF_INIT(MESSAGE_LIMIT);
	link->out = BUF_INIT_WIPED(MESSAGE_LIMIT);
	link->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (link->fd < 0 || setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		fail(link, "socket");
	if (connect(link->fd, ai->ai_addr, ai->ai_addrlen) && errno != EINPROGRESS)
		fail(link, "connect");
	link->ssl = SSL_new(loop->tls);
	if (!link->ssl || !SSL_set_fd(link->ssl, link->fd) || !verify_name(link->ssl, target->host))
		fail(link, "TLS");
	if (cert && (SSL_use_certificate(link->ssl, cert) != 1 || SSL_use_PrivateKey(link->ssl, key) != 1))
		fail(link, "the client certificate");
	SSL_set_connect_state(link->ssl);
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, link->fd, &event))
		fail(link, "epoll");
}

void tls_link_close(struct tls_link *link)
{
	if (!link->ssl)
		return;
	SSL_free(link->ssl);
	link->ssl = NULL;
	close(link->fd);
	buf_done(&link->in);
	buf_done(&link->out);
}

/* True: go on; false: the socket must become ready first. */
static bool went(struct tls_link *link, int r, const char *what)
{
	int why;

	if (r > 0)
		return true;
	why = SSL_get_error(link->ssl, r);
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return false;
	fail(link, why == SSL_ERROR_ZERO_RETURN ? "the server closed the connection" : what);
}

static void send_out(struct tls_link *link)
{
	if (!link->connected || !link->out.len)
		return;
	errno = 0;
	if (went(link, SSL_write(link->ssl, link->out.data, (int)link->out.len), "write"))
		buf_reset(&link->out);
}

void tls_link_post(struct tls_link *link, const char *path, const char *type, const void *body, size_t len)
{
	buf_printf(&link->out, "POST %s HTTP/1.1\r\nHost: %s:%s\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", path, link->target->host,
		link->target->port, link->headers ? link->headers : "", type, len);
	buf_put(&link->out, body, len);
	if (!buf_ok(&link->out))
		fail(link, "no memory for a request");
	send_out(link);
}

/* A whole answer in the buffer goes to its owner. */
static void take_answer(struct tls_link *link)
{
	const char *text = (const char *)link->in.data, *end = strstr(text, "\r\n\r\n"), *length;
	size_t head, body = 0;

	if (!end)
		return;
	head = (size_t)(end - text) + 4;
	length = strcasestr(text, "\r\ncontent-length:");
	if (length && length < end)
		body = strtoul(length + 17, NULL, 10);
	if (link->in.len < head + body)
		return;
	if (link->in.len > head + body || strncmp(text, "HTTP/1.1 ", 9) != 0)
		fail(link, "an answer that is not HTTP/1.1, or more than one");
	link->answered(link, atoi(text + 9), link->in.data + head, body);
	if (link->ssl)
		buf_reset(&link->in);
}

static void move(struct tls_link *link)
{
	char piece[READ_SIZE];
	int n;

	errno = 0;
	if (!link->connected) {
		if (!went(link, SSL_do_handshake(link->ssl), "TLS handshake"))
			return;
		link->connected = true;
	}
	send_out(link);
	while (link->ssl) {
		errno = 0;
		n = SSL_read(link->ssl, piece, sizeof(piece));
		if (!went(link, n, "read"))
			return;
		buf_put(&link->in, piece, (size_t)n);
		if (!buf_ok(&link->in))
			fail(link, "no memory for an answer");
		take_answer(link);
	}
}

bool tls_loop_turn(struct tls_loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(loop->epoll, events, EVENTS, timeout_ms);
	bool owner = false;

	for (int i = 0; i < n; i++) {
		struct tls_link *link = events[i].data.ptr;

		if (!link)
			owner = true;
		else if (link->ssl)
			move(link);
	}
	return owner;
}
