/* Load on a running service: HTTPS clients post sign-ins, each on a connection that it keeps, one after the other. One thread on
 * an epoll, and little work for each: it shares the machine with what it measures.
 *
 *   signin_load --url https://localhost:8443 --ca ca.pem --key-file app.key --user 'user{n}@corp.example.com' --numbers 1-10000
 *               --password 'Password-{n}' --in-flight 32 --seconds 1 [--json]
 *
 * An answer with status 200 counts as its verdict, any other one as http_503_unavailable and the like. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "bench.h"

#define WHAT "signin_load"
#define ANSWER_MAX 8192
#define CONNECT_S 10

struct client {
	SSL *ssl;
	int fd;
	uint64_t started_ns;
	size_t got;
	char answer[ANSWER_MAX + 1];
};

struct load {
	struct bench bench;
	const char *url, *ca, *key_file;
	SSL_CTX *tls;
	struct addrinfo *address;
	char host[256];
	struct buf user, password, body, request;
	size_t head_len; /* of the request: what they all begin with, up to the length of the body */
	struct client *clients;
	int epoll;
};

/* ---- connections ---- */

__attribute__((noreturn)) static void die_tls(const struct load *load, const char *what)
{
	unsigned long error = ERR_peek_error();

	bench_die(WHAT, "%s: %s: %s", load->url, what, error ? ERR_reason_error_string(error) : strerrordesc_np(errno));
}

/* Until the handshake is done: before the window, and when a connection was cut, which is an error of the run in any case. */
static void dial(struct load *load, struct client *client)
{
	const struct timeval patience = {.tv_sec = CONNECT_S};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
	const int on = 1;

	ERR_clear_error();
	client->fd = socket(load->address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 || setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
		setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
		setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
		connect(client->fd, load->address->ai_addr, load->address->ai_addrlen) < 0)
		die_tls(load, "connect");
	client->ssl = SSL_new(load->tls);
	if (!client->ssl || SSL_set_fd(client->ssl, client->fd) != 1)
		die_tls(load, "TLS");
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(client->ssl), load->host) != 1 &&
		(SSL_set1_host(client->ssl, load->host) != 1 || SSL_set_tlsext_host_name(client->ssl, load->host) != 1))
		die_tls(load, "host name");
	/* An address is no host name: not an error. */
	ERR_clear_error();
	if (SSL_connect(client->ssl) != 1)
		die_tls(load, "TLS handshake");
	if (fcntl(client->fd, F_SETFL, O_NONBLOCK) < 0 || epoll_ctl(load->epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
		die_tls(load, "socket");
}

static void hang_up(struct client *client)
{
	SSL_free(client->ssl);
	close(client->fd);
}

/* ---- requests ---- */

static void start_one(struct load *load, struct client *client)
{
	struct json_writer w = JSON_WRITER(&load->body);

	bench_login(&load->bench, &load->user, &load->password);
	buf_reset(&load->body);
	json_put_object(&w, NULL);
	json_put_stringn(&w, "username", (const char *)load->user.data, load->user.len);
	json_put_stringn(&w, "password", (const char *)load->password.data, load->password.len);
	json_end_object(&w);
	load->request.len = load->head_len;
	buf_printf(&load->request, "%zu\r\n\r\n", load->body.len);
	buf_put(&load->request, load->body.data, load->body.len);
	if (!buf_ok(&load->body) || !buf_ok(&load->request))
		bench_die(WHAT, "no memory for a request");
	client->got = 0;
	client->started_ns = bench_start(&load->bench);
	ERR_clear_error();
	/* Nothing else is under way on the connection, and a request is small: it is taken whole, or the connection is lost, and then
	 * reading it tells. */
	if (SSL_write(client->ssl, load->request.data, (int)load->request.len) <= 0)
		(void)shutdown(client->fd, SHUT_RDWR);
}

/* verdict NULL: cut, or no answer of HTTP. A new connection takes the place of that one. */
static void finish(struct load *load, struct client *client, const char *verdict, size_t len)
{
	bool more = bench_end(&load->bench, client->started_ns, verdict, len);

	if (!verdict) {
		hang_up(client);
		dial(load, client);
	}
	if (more)
		start_one(load, client);
}

static void judge(struct load *load, struct client *client, const char *body, size_t len)
{
	static const char mark[] = "\"verdict\":\"";
	const char *status = client->answer + strlen("HTTP/1.1 "), *verdict = memmem(body, len, mark, sizeof(mark) - 1);
	char other[64];

	verdict = verdict ? verdict + sizeof(mark) - 1 : "none";
	len = strcspn(verdict, "\"");
	if (memcmp(status, "200 ", 4) != 0) {
		snprintf(other, sizeof(other), "http_%.3s_%.*s", status, (int)len, verdict);
		verdict = other;
		len = strlen(other);
	}
	finish(load, client, verdict, len);
}

/* What there is of an answer. False: it goes on. */
static bool take_answer(struct load *load, struct client *client)
{
	static const char length[] = "\r\nContent-Length: ";
	const char *body, *at;
	size_t want, have;

	client->answer[client->got] = '\0';
	body = memmem(client->answer, client->got, "\r\n\r\n", 4);
	if (!body)
		return false;
	at = memmem(client->answer, (size_t)(body - client->answer), length, sizeof(length) - 1);
	body += 4;
	have = client->got - (size_t)(body - client->answer);
	want = at ? strtoul(at + sizeof(length) - 1, NULL, 10) : 0;
	if (at && have < want)
		return false;
	if (at && have == want && strncmp(client->answer, "HTTP/1.1 ", 9) == 0)
		judge(load, client, body, have);
	else
		finish(load, client, NULL, 0);
	return true;
}

static void readable(struct load *load, struct client *client)
{
	int n;

	ERR_clear_error();
	/* With read-ahead, one read() of the socket brings all there is. */
	while ((n = SSL_read(client->ssl, client->answer + client->got, (int)(ANSWER_MAX - client->got))) > 0) {
		client->got += (size_t)n;
		if (take_answer(load, client))
			return;
		if (client->got == ANSWER_MAX)
			break;
	}
	if (n > 0 || SSL_get_error(client->ssl, n) != SSL_ERROR_WANT_READ)
		finish(load, client, NULL, 0);
}

/* ---- */

static void prepare(struct load *load)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct buf key = BUF_INIT(256);
	char port[8] = "443";
	const char *at, *colon;
	struct err err;
	int r;

	if (strncmp(load->url, "https://", 8) != 0)
		bench_die(WHAT, "--url %s: want https://host:port", load->url);
	at = load->url + 8;
	colon = strrchr(at, ':');
	snprintf(load->host, sizeof(load->host), "%.*s", (int)(colon ? (size_t)(colon - at) : strlen(at)), at);
	if (colon)
		snprintf(port, sizeof(port), "%s", colon + 1);
	r = getaddrinfo(load->host, port, &hints, &load->address);
	if (r)
		bench_die(WHAT, "--url %s: %s", load->url, gai_strerror(r));
	if (file_read(load->key_file, 256, &key, &err) < 0)
		bench_die(WHAT, "%s", err.text);
	buf_printf(&load->request,
		"POST /v1/signin HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %.*s\r\nContent-Type: application/json\r\nContent-Length: ", load->host,
		(int)strcspn((const char *)key.data, "\r\n"), (const char *)key.data);
	load->head_len = load->request.len;
	buf_done(&key);
	load->tls = SSL_CTX_new(TLS_client_method());
	if (!load->tls || SSL_CTX_load_verify_locations(load->tls, load->ca, NULL) != 1)
		bench_die(WHAT, "--ca %s: cannot be read as certificates", load->ca);
	SSL_CTX_set_verify(load->tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_read_ahead(load->tls, 1);
	load->clients = calloc(load->bench.in_flight, sizeof(*load->clients));
	if (!load->clients || load->epoll < 0)
		bench_die(WHAT, "no memory");
}

int main(int argc, char **argv)
{
	struct load load = {
		.user = BUF_INIT(1024), .password = BUF_INIT(1024), .body = BUF_INIT(16384), .request = BUF_INIT(32768), .epoll = epoll_create1(EPOLL_CLOEXEC)};
	const struct bench_option options[] = {
		{"url", &load.url, true},
		{"ca", &load.ca, true},
		{"key-file", &load.key_file, true},
		{NULL},
	};
	struct epoll_event events[64];
	int n;

	signal(SIGPIPE, SIG_IGN);
	bench_init(&load.bench, WHAT, argc, argv, options);
	prepare(&load);
	for (unsigned long i = 0; i < load.bench.in_flight; i++)
		dial(&load, &load.clients[i]);
	bench_go(&load.bench);
	for (unsigned long i = 0; i < load.bench.in_flight; i++)
		start_one(&load, &load.clients[i]);
	while ((n = bench_wait(&load.bench, load.epoll, events, PTA_ARRAY_SIZE(events))) >= 0)
		for (int i = 0; i < n; i++)
			readable(&load, events[i].data.ptr);
	n = bench_report(&load.bench);
	for (unsigned long i = 0; i < load.bench.in_flight; i++)
		hang_up(&load.clients[i]);
	SSL_CTX_free(load.tls);
	freeaddrinfo(load.address);
	close(load.epoll);
	free(load.clients);
	buf_done(&load.user);
	buf_done(&load.password);
	buf_done(&load.body);
	buf_done(&load.request);
	return n;
}
