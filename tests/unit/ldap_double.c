#include "ldap_double.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lber.h>
#include <ldap.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PEERS 256

struct peer {
	struct ldap_double *d;
	pthread_t thread;
	int fd;
	SSL *ssl;
	/* Binds of a connection in fast bind that wait for the others: */
	int held[64];
	bool held_right[64];
	unsigned nheld;
};

struct ldap_double {
	enum double_tls tls;
	SSL_CTX *ctx;
	int fd;
	unsigned port;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	enum double_act act;
	int result;
	char diagnostic[512], referral[128];
	bool released, stopping, fast_offered, fast_refused;
	unsigned reverse, begun_fast;
	unsigned binds, npeers;
	char name[2048], password[2048];
	struct peer peers[MAX_PEERS];
};

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

static enum double_act act_of(struct ldap_double *d)
{
	enum double_act act;

	pthread_mutex_lock(&d->lock);
	act = d->act;
	pthread_mutex_unlock(&d->lock);
	return act;
}

static int get(struct peer *p, void *data, int len)
{
	return p->ssl ? SSL_read(p->ssl, data, len) : (int)recv(p->fd, data, (size_t)len, 0);
}

static void put(struct peer *p, const void *data, size_t len)
{
	if (p->ssl)
		(void)SSL_write(p->ssl, data, (int)len);
	else
		(void)!send(p->fd, data, len, MSG_NOSIGNAL);
}

static bool get_all(struct peer *p, unsigned char *data, size_t len)
{
	for (size_t had = 0; had < len;) {
		int n = get(p, data + had, (int)(len - had));

		if (n <= 0)
			return false;
		had += (size_t)n;
	}
	return true;
}

/* One LDAP message with its header; lengths of at most two bytes. 0: the peer is gone. */
static size_t get_message(struct peer *p, unsigned char *data)
{
	size_t len, head = 2;

	if (!get_all(p, data, 2))
		return 0;
	len = data[1];
	if (len & 0x80) {
		head += len & 0x7f;
		if (head > 4 || !get_all(p, data + 2, head - 2))
			return 0;
		len = head == 3 ? data[2] : (size_t)data[2] << 8 | data[3];
	}
	return len <= 8192 && get_all(p, data + head, len) ? head + len : 0;
}

static size_t make_answer(unsigned char *out, int id, ber_tag_t tag, int result, const char *diagnostic)
{
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	struct berval flat;
	size_t len;

	must(ber_printf(ber, "{it{ess}}", id, tag, result, "", diagnostic) >= 0 && ber_flatten2(ber, &flat, 0) == 0, "encode");
	len = flat.bv_len;
	memcpy(out, flat.bv_val, len);
	ber_free(ber, 1);
	return len;
}

/* RFC 4511 4.1.10 */
static size_t make_referral(unsigned char *out, int id, const char *url)
{
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	struct berval flat;
	size_t len;

	must(ber_printf(ber, "{it{esst{s}}}", id, LDAP_RES_BIND, LDAP_REFERRAL, "", "", LDAP_TAG_REFERRAL, url) >= 0 && ber_flatten2(ber, &flat, 0) == 0,
		"encode");
	len = flat.bv_len;
	memcpy(out, flat.bv_val, len);
	ber_free(ber, 1);
	return len;
}

/* Answers one bind; false ends the connection. */
static bool answer_bind(struct peer *p, int id)
{
	static const unsigned char huge[] = {0x30, 0x84, 0x40, 0, 0, 0, 0x02, 0x01};
	struct ldap_double *d = p->d;
	unsigned char out[2048];
	enum double_act act = act_of(d);
	size_t len;

	if (act == ACT_RENEGOTIATE)
		must(SSL_renegotiate(p->ssl) == 1 && SSL_do_handshake(p->ssl) == 1, "SSL_renegotiate");
	pthread_mutex_lock(&d->lock);
	while ((act == ACT_SILENT_BIND || act == ACT_RENEGOTIATE || (act == ACT_HOLD_BIND && !d->released)) && !d->stopping)
		pthread_cond_wait(&d->changed, &d->lock);
	len = make_answer(out, id, LDAP_RES_BIND, d->result, d->diagnostic);
	pthread_mutex_unlock(&d->lock);
	switch (act) {
	case ACT_CUT_BIND:
		return false;
	case ACT_HALF_ANSWER:
		put(p, out, len / 2);
		return false;
	case ACT_WRONG_ID:
		len = make_answer(out, id + 1000, LDAP_RES_BIND, 0, "");
		break;
	case ACT_WRONG_TYPE:
		len = make_answer(out, id, LDAP_RES_SEARCH_RESULT, 0, "");
		break;
	case ACT_REFER:
		len = make_referral(out, id, d->referral);
		break;
	case ACT_BROKEN_ANSWER:
		memset(out, 0xff, len);
		break;
	case ACT_HUGE_ANSWER:
		put(p, huge, sizeof(huge));
		return true;
	case ACT_ANSWER_GOODBYE:
		len += make_answer(out + len, 0, LDAP_RES_EXTENDED, 52, "closing");
		put(p, out, len);
		return false;
	default:
		break;
	}
	put(p, out, len);
	return true;
}

static void note_bind(struct ldap_double *d, const char *name, const struct berval *password)
{
	pthread_mutex_lock(&d->lock);
	d->binds++;
	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(d->password, sizeof(d->password), "%.*s", (int)password->bv_len, password->bv_val);
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

/* Gathers binds until there are as many as the test wants, then answers the last one first. The right password is "right". */
static bool answer_reversed(struct peer *p, int id, const struct berval *password)
{
	unsigned char out[512];
	unsigned wanted;

	pthread_mutex_lock(&p->d->lock);
	wanted = p->d->reverse;
	pthread_mutex_unlock(&p->d->lock);
	must(p->nheld < 64, "too many binds for the double");
	p->held[p->nheld] = id;
	p->held_right[p->nheld++] = password->bv_len == 5 && memcmp(password->bv_val, "right", 5) == 0;
	if (p->nheld < wanted)
		return true;
	while (p->nheld > 0) {
		bool right = p->held_right[--p->nheld];

		put(p, out,
			make_answer(out, p->held[p->nheld], LDAP_RES_BIND, right ? 0 : 49,
				right ? "" : "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563"));
	}
	return true;
}

/* The rootDSE, as far as anybody asks. */
static bool answer_search(struct peer *p, int id)
{
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	struct berval flat;
	unsigned char done[64];
	bool fast;

	pthread_mutex_lock(&p->d->lock);
	fast = p->d->fast_offered;
	pthread_mutex_unlock(&p->d->lock);
	must(ber_printf(ber, "{it{s{{s[s]}}}}", id, LDAP_RES_SEARCH_ENTRY, "", "supportedExtension",
		     fast ? "1.2.840.113556.1.4.1781" : "1.3.6.1.4.1.1466.20037") >= 0 &&
			ber_flatten2(ber, &flat, 0) == 0,
		"encode");
	put(p, flat.bv_val, flat.bv_len);
	ber_free(ber, 1);
	put(p, done, make_answer(done, id, LDAP_RES_SEARCH_RESULT, 0, ""));
	return true;
}

static bool answer_fast(struct peer *p, int id)
{
	unsigned char out[512];
	bool refused;

	pthread_mutex_lock(&p->d->lock);
	refused = p->d->fast_refused;
	p->d->begun_fast += !refused;
	pthread_mutex_unlock(&p->d->lock);
	put(p, out, make_answer(out, id, LDAP_RES_EXTENDED, refused ? 53 : 0, refused ? "not now" : ""));
	return true;
}

static bool answer_extended(struct peer *p, int id)
{
	unsigned char out[512];
	size_t len = make_answer(out, id, LDAP_RES_EXTENDED, 0, "");

	if (act_of(p->d) == ACT_INJECT_STARTTLS)
		len += make_answer(out + len, id + 1, LDAP_RES_BIND, 0, "");
	put(p, out, len);
	p->ssl = SSL_new(p->d->ctx);
	must(p->ssl && SSL_set_fd(p->ssl, p->fd), "SSL");
	return SSL_accept(p->ssl) == 1;
}

static bool serve_message(struct peer *p)
{
	unsigned char data[8200];
	struct berval raw = {.bv_val = (char *)data}, password = {0}, name = {0};
	BerElement *ber;
	ber_int_t id = 0, version = 0;
	ber_tag_t op = 0, auth = 0;
	char text[2048];
	bool goes_on = false;

	raw.bv_len = get_message(p, data);
	if (raw.bv_len == 0)
		return false;
	ber = ber_init(&raw);
	must(ber && ber_scanf(ber, "{it", &id, &op) != LBER_ERROR, "decode");
	if (op == LDAP_REQ_BIND) {
		must(ber_scanf(ber, "{imtm", &version, &name, &auth, &password) != LBER_ERROR && (auth == LDAP_AUTH_SIMPLE || auth == LDAP_AUTH_SASL),
			"decode bind");
		snprintf(text, sizeof(text), "%.*s", (int)name.bv_len, name.bv_val);
		note_bind(p->d, text, &password);
		goes_on = act_of(p->d) == ACT_REVERSE ? answer_reversed(p, id, &password) : answer_bind(p, id);
	} else if (op == LDAP_REQ_SEARCH) {
		goes_on = answer_search(p, id);
	} else if (op == LDAP_REQ_EXTENDED) {
		must(ber_scanf(ber, "{m", &name) != LBER_ERROR, "decode extended");
		goes_on = name.bv_len == 23 && memcmp(name.bv_val, "1.2.840.113556.1.4.1781", 23) == 0 ? answer_fast(p, id) : answer_extended(p, id);
	}
	ber_free(ber, 1);
	return goes_on;
}

static void *serve(void *arg)
{
	static const unsigned char half[] = {0x16, 0x03, 0x03, 0x00, 0x7a, 0x02, 0x00};
	struct peer *p = arg;
	struct ldap_double *d = p->d;
	char byte;

	switch (act_of(d)) {
	case ACT_CLOSE_ACCEPT:
		goto end;
	case ACT_HALF_HANDSHAKE:
		put(p, half, sizeof(half));
		__attribute__((fallthrough));
	case ACT_SILENT_ACCEPT:
		while (recv(p->fd, &byte, 1, 0) > 0)
			;
		goto end;
	case ACT_GARBAGE:
		put(p, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
		goto end;
	default:
		break;
	}
	if (d->tls == DOUBLE_LDAPS) {
		p->ssl = SSL_new(d->ctx);
		must(p->ssl && SSL_set_fd(p->ssl, p->fd), "SSL");
		if (SSL_accept(p->ssl) != 1)
			goto end;
	}
	while (serve_message(p))
		;
	if (p->ssl)
		SSL_shutdown(p->ssl);
end:
	SSL_free(p->ssl);
	/* The number stays taken until ldap_double_free(), which may still shut it down. */
	shutdown(p->fd, SHUT_RDWR);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct ldap_double *d = arg;

	for (;;) {
		int fd = accept(d->fd, NULL, NULL);
		struct peer *p;

		if (fd < 0)
			return NULL;
		pthread_mutex_lock(&d->lock);
		must(d->npeers < MAX_PEERS, "too many connections for the double");
		p = &d->peers[d->npeers++];
		*p = (struct peer){.d = d, .fd = fd};
		must(pthread_create(&p->thread, NULL, serve, p) == 0, "pthread_create");
		pthread_cond_broadcast(&d->changed);
		pthread_mutex_unlock(&d->lock);
	}
}

static int listen_loopback(int backlog, unsigned *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, backlog) == 0, "listen");
	must(getsockname(fd, (struct sockaddr *)&address, &len) == 0, "getsockname");
	*port = ntohs(address.sin_port);
	return fd;
}

static int listen_loopback6(int backlog, unsigned *port)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, backlog) == 0, "listen on ::1");
	must(getsockname(fd, (struct sockaddr *)&address, &len) == 0, "getsockname");
	*port = ntohs(address.sin6_port);
	return fd;
}

static struct ldap_double *make(enum double_tls tls, SSL_CTX *ctx, enum double_act act, int (*listen_on)(int backlog, unsigned *port))
{
	struct ldap_double *d = calloc(1, sizeof(*d));

	must(d != NULL, "calloc");
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	d->tls = tls;
	d->ctx = ctx;
	d->act = act;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
	d->fd = listen_on(64, &d->port);
	must(pthread_create(&d->thread, NULL, accept_all, d) == 0, "pthread_create");
	return d;
}

struct ldap_double *ldap_double_new(enum double_tls tls, SSL_CTX *ctx, enum double_act act)
{
	return make(tls, ctx, act, listen_loopback);
}

struct ldap_double *ldap_double_new6(enum double_tls tls, SSL_CTX *ctx, enum double_act act)
{
	return make(tls, ctx, act, listen_loopback6);
}

void ldap_double_refer(struct ldap_double *d, const char *url)
{
	pthread_mutex_lock(&d->lock);
	snprintf(d->referral, sizeof(d->referral), "%s", url);
	d->act = ACT_REFER;
	pthread_mutex_unlock(&d->lock);
}

void ldap_double_free(struct ldap_double *d)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	shutdown(d->fd, SHUT_RDWR);
	pthread_join(d->thread, NULL);
	ldap_double_drop(d);
	for (unsigned i = 0; i < d->npeers; i++) {
		pthread_join(d->peers[i].thread, NULL);
		close(d->peers[i].fd);
	}
	close(d->fd);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

unsigned ldap_double_port(const struct ldap_double *d)
{
	return d->port;
}

void ldap_double_act(struct ldap_double *d, enum double_act act)
{
	pthread_mutex_lock(&d->lock);
	d->act = act;
	d->released = false;
	pthread_mutex_unlock(&d->lock);
}

void ldap_double_result(struct ldap_double *d, int result, const char *diagnostic)
{
	pthread_mutex_lock(&d->lock);
	d->result = result;
	snprintf(d->diagnostic, sizeof(d->diagnostic), "%s", diagnostic);
	pthread_mutex_unlock(&d->lock);
}

void ldap_double_offer_fast_bind(struct ldap_double *d, bool refuse)
{
	pthread_mutex_lock(&d->lock);
	d->fast_offered = true;
	d->fast_refused = refuse;
	pthread_mutex_unlock(&d->lock);
}

unsigned ldap_double_fast_connections(struct ldap_double *d)
{
	unsigned n;

	pthread_mutex_lock(&d->lock);
	n = d->begun_fast;
	pthread_mutex_unlock(&d->lock);
	return n;
}

void ldap_double_reverse(struct ldap_double *d, unsigned n)
{
	pthread_mutex_lock(&d->lock);
	d->act = ACT_REVERSE;
	d->reverse = n;
	pthread_mutex_unlock(&d->lock);
}

void ldap_double_release(struct ldap_double *d)
{
	pthread_mutex_lock(&d->lock);
	d->released = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

void ldap_double_drop(struct ldap_double *d)
{
	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < d->npeers; i++)
		shutdown(d->peers[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&d->lock);
}

unsigned ldap_double_binds(struct ldap_double *d)
{
	unsigned n;

	pthread_mutex_lock(&d->lock);
	n = d->binds;
	pthread_mutex_unlock(&d->lock);
	return n;
}

unsigned ldap_double_connections(struct ldap_double *d)
{
	unsigned n;

	pthread_mutex_lock(&d->lock);
	n = d->npeers;
	pthread_mutex_unlock(&d->lock);
	return n;
}

void ldap_double_wait_binds(struct ldap_double *d, unsigned n)
{
	pthread_mutex_lock(&d->lock);
	while (d->binds < n)
		pthread_cond_wait(&d->changed, &d->lock);
	pthread_mutex_unlock(&d->lock);
}

bool ldap_double_saw(struct ldap_double *d, const char *name, const char *password)
{
	bool same;

	pthread_mutex_lock(&d->lock);
	same = strcmp(d->name, name) == 0 && strcmp(d->password, password) == 0;
	pthread_mutex_unlock(&d->lock);
	return same;
}

unsigned black_hole(int fds[4])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	unsigned port;

	fds[0] = listen_loopback(0, &port);
	address.sin_port = htons((uint16_t)port);
	for (int i = 1; i < 4; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		must(fds[i] >= 0, "socket");
		if (connect(fds[i], (struct sockaddr *)&address, sizeof(address)) < 0)
			must(errno == EINPROGRESS, "connect");
	}
	return port;
}
