#include "kdc_double.h"

#include <arpa/inet.h>
#include <krb5.h>
#include <lber.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PEERS 64
#define MAX_OFFERS 8
#define MAX_MESSAGE 65536
#define PREAUTH_REQUIRED 25
#define WRONG_REALM 68
#define ETYPE_AES256 18

struct peer {
	struct kdc_double *d;
	pthread_t thread;
	int fd;
};

struct kdc_double {
	int fd;
	unsigned port;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	enum kdc_act act;
	int code, ahead_s;
	unsigned char e_data[1024];
	size_t e_len;
	int32_t offers[MAX_OFFERS];
	size_t noffers;
	uint32_t iterations;
	bool stopping;
	unsigned requests, proofs, npeers;
	struct peer peers[MAX_PEERS];
};

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

static size_t flatten(BerElement *ber, unsigned char *out, size_t cap)
{
	struct berval flat;

	must(ber_flatten2(ber, &flat, 0) == 0 && flat.bv_len <= cap, "DER");
	memcpy(out, flat.bv_val, flat.bv_len);
	ber_free(ber, 1);
	return flat.bv_len;
}

size_t kdc_e_data(enum kdc_e_data form, uint32_t nt_status, unsigned char out[64])
{
	char value[12] = {(char)nt_status, (char)(nt_status >> 8), (char)(nt_status >> 16), (char)(nt_status >> 24), [8] = 1};
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	ber_tag_t first = form == KDC_TYPED_DATA ? 0xa0 : 0xa1;
	const char *format = form == KDC_ERROR_DATA ? "{t{i}t{o}}" : "{{t{i}t{o}}}";

	must(ber && ber_printf(ber, format, first, 3, first + 1, value, (ber_len_t)sizeof(value)) >= 0, "e-data");
	return flatten(ber, out, 64);
}

/* METHOD-DATA: ETYPE-INFO2 with the salt of no use, and an empty item for each type offered. */
static size_t make_offer(const struct kdc_double *d, unsigned char *out, size_t cap)
{
	char count[4] = {(char)(d->iterations >> 24), (char)(d->iterations >> 16), (char)(d->iterations >> 8), (char)d->iterations};
	BerElement *ber = ber_alloc_t(LBER_USE_DER), *info = ber_alloc_t(LBER_USE_DER);
	unsigned char entry[128];
	size_t len;

	must(info && ber_printf(info, "{{t{i}t{ts}t{o}}}", (ber_tag_t)0xa0, ETYPE_AES256, (ber_tag_t)0xa1, (ber_tag_t)0x1b, "EXAMPLE.COMalice", (ber_tag_t)0xa2,
			     count, (ber_len_t)sizeof(count)) >= 0,
		"ETYPE-INFO2");
	len = flatten(info, entry, sizeof(entry));
	must(ber && ber_printf(ber, "{{t{i}t{o}}", (ber_tag_t)0xa1, 19, (ber_tag_t)0xa2, (char *)entry, (ber_len_t)len) >= 0, "METHOD-DATA");
	for (size_t i = 0; i < d->noffers; i++)
		must(ber_printf(ber, "{t{i}t{o}}", (ber_tag_t)0xa1, (int)d->offers[i], (ber_tag_t)0xa2, "", (ber_len_t)0) >= 0, "METHOD-DATA");
	must(ber_printf(ber, "}") >= 0, "METHOD-DATA");
	return flatten(ber, out, cap);
}

/* Called with the lock. */
static size_t make_error(const struct kdc_double *d, int code, unsigned char *out, size_t cap)
{
	unsigned char e_data[1024];
	krb5_principal client = NULL, server = NULL;
	krb5_context context = NULL;
	krb5_data encoded = {0};
	krb5_error error = {.error = (krb5_ui_4)code, .stime = (krb5_timestamp)(time(NULL) + d->ahead_s)};
	const char *realm = code == WRONG_REALM ? "ELSEWHERE.COM" : "EXAMPLE.COM";
	size_t len;

	if (code == PREAUTH_REQUIRED) {
		error.e_data = (krb5_data){.data = (char *)e_data, .length = (unsigned)make_offer(d, e_data, sizeof(e_data))};
	} else {
		memcpy(e_data, d->e_data, d->e_len);
		error.e_data = (krb5_data){.data = (char *)e_data, .length = (unsigned)d->e_len};
	}
	must(krb5_init_context(&context) == 0, "krb5_init_context");
	must(krb5_build_principal(context, &client, (unsigned)strlen(realm), realm, "alice", NULL) == 0 &&
			krb5_build_principal(context, &server, 11, "EXAMPLE.COM", "krbtgt", "EXAMPLE.COM", NULL) == 0,
		"principals");
	error.client = client;
	error.server = server;
	must(krb5_mk_error(context, &error, &encoded) == 0 && encoded.length <= cap, "krb5_mk_error");
	len = encoded.length;
	memcpy(out, encoded.data, len);
	krb5_free_data_contents(context, &encoded);
	krb5_free_principal(context, client);
	krb5_free_principal(context, server);
	krb5_free_context(context);
	return len;
}

static bool get_all(int fd, unsigned char *data, size_t len)
{
	for (size_t had = 0; had < len;) {
		ssize_t n = recv(fd, data + had, len - had, 0);

		if (n <= 0)
			return false;
		had += (size_t)n;
	}
	return true;
}

static void put(int fd, const void *data, size_t len)
{
	(void)!send(fd, data, len, MSG_NOSIGNAL);
}

static void put_frame(int fd, const unsigned char *data, size_t len, size_t cut, size_t extra)
{
	unsigned char frame[4 + 2048] = {(unsigned char)(len >> 24), (unsigned char)(len >> 16), (unsigned char)(len >> 8), (unsigned char)len};

	memcpy(frame + 4, data, len);
	put(fd, frame, 4 + len - cut + extra);
}

/* One of the padata types that come from a password: [1] INTEGER, in front of [2]. */
static bool is_proof(const unsigned char *data, size_t len)
{
	static const unsigned char timestamp[] = {0xa1, 3, 2, 1, 2, 0xa2}, challenge[] = {0xa1, 4, 2, 2, 0, 138, 0xa2}, spake[] = {0xa1, 4, 2, 2, 0, 151, 0xa2};

	return memmem(data, len, timestamp, sizeof(timestamp)) || memmem(data, len, challenge, sizeof(challenge)) || memmem(data, len, spake, sizeof(spake));
}

/* False ends the connection. */
static bool answer(struct peer *p, bool proof)
{
	static const unsigned char huge[] = {0x40, 0, 0, 0}, high[] = {0x80, 0, 0, 40}, empty[] = {0, 0, 0, 0};
	static const unsigned char garbage[] = "HTTP/1.1 400 Bad Request", broken_error[] = {0x7e, 4, 0x30, 2, 5, 0}, broken_rep[] = {0x6b, 4, 0x30, 2, 5, 0},
				   wrong_kind[] = {0x6d, 4, 0x30, 2, 5, 0};
	struct kdc_double *d = p->d;
	unsigned char message[2048];
	enum kdc_act act;
	size_t len;

	pthread_mutex_lock(&d->lock);
	act = d->act;
	if (act == KDC_REFERRAL)
		len = make_error(d, WRONG_REALM, message, sizeof(message));
	else
		len = make_error(d, act == KDC_ERROR || (proof && act != KDC_PREAUTH_AGAIN) ? d->code : PREAUTH_REQUIRED, message, sizeof(message));
	pthread_mutex_unlock(&d->lock);
	switch (act) {
	case KDC_SILENT:
		return true;
	case KDC_SILENT_PROOF:
		if (proof)
			return true;
		break;
	case KDC_CUT:
		return false;
	case KDC_CUT_PROOF:
		if (proof)
			return false;
		break;
	case KDC_HALF_FRAME:
		put(p->fd, huge, 2);
		return false;
	case KDC_HALF_ANSWER:
	case KDC_HALF_SILENT:
		put_frame(p->fd, message, len, len / 2, 0);
		return act == KDC_HALF_SILENT;
	case KDC_EMPTY:
		put(p->fd, empty, sizeof(empty));
		return true;
	case KDC_HUGE:
		put(p->fd, huge, sizeof(huge));
		return true;
	case KDC_HIGH_BIT:
		put(p->fd, high, sizeof(high));
		return true;
	case KDC_GARBAGE:
		put_frame(p->fd, garbage, sizeof(garbage) - 1, 0, 0);
		return true;
	case KDC_BROKEN_ERROR:
		put_frame(p->fd, broken_error, sizeof(broken_error), 0, 0);
		return true;
	case KDC_BROKEN_REP:
		put_frame(p->fd, broken_rep, sizeof(broken_rep), 0, 0);
		return true;
	case KDC_WRONG_KIND:
		put_frame(p->fd, wrong_kind, sizeof(wrong_kind), 0, 0);
		return true;
	case KDC_EXTRA:
		put_frame(p->fd, message, len, 0, 8);
		return true;
	case KDC_PREAUTH:
	case KDC_ERROR:
	case KDC_PREAUTH_AGAIN:
	case KDC_CLOSING:
	case KDC_REFERRAL:
		break;
	}
	put_frame(p->fd, message, len, 0, 0);
	return act != KDC_CLOSING;
}

static void *serve(void *arg)
{
	struct peer *p = arg;
	struct kdc_double *d = p->d;
	unsigned char frame[4], *message = malloc(MAX_MESSAGE);

	must(message != NULL, "malloc");
	while (get_all(p->fd, frame, sizeof(frame))) {
		size_t len = (size_t)frame[0] << 24 | (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3];
		bool proof;

		if (len > MAX_MESSAGE || !get_all(p->fd, message, len))
			break;
		proof = is_proof(message, len);
		pthread_mutex_lock(&d->lock);
		d->requests++;
		d->proofs += proof;
		pthread_mutex_unlock(&d->lock);
		if (!answer(p, proof))
			break;
	}
	free(message);
	/* The number stays taken until the double is freed. */
	shutdown(p->fd, SHUT_RDWR);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct kdc_double *d = arg;

	for (;;) {
		int fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC);
		struct peer *p;

		pthread_mutex_lock(&d->lock);
		if (fd < 0 || d->stopping) {
			pthread_mutex_unlock(&d->lock);
			if (fd >= 0)
				close(fd);
			return NULL;
		}
		must(d->npeers < MAX_PEERS, "too many connections");
		p = &d->peers[d->npeers++];
		*p = (struct peer){.d = d, .fd = fd};
		must(pthread_create(&p->thread, NULL, serve, p) == 0, "pthread_create");
		pthread_mutex_unlock(&d->lock);
	}
}

struct kdc_double *kdc_double_new(enum kdc_act act)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	struct kdc_double *d = calloc(1, sizeof(*d));

	must(d != NULL, "calloc");
	d->act = act;
	d->code = 24;
	d->offers[0] = 2;
	d->noffers = 1;
	d->iterations = 4096;
	pthread_mutex_init(&d->lock, NULL);
	d->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(d->fd >= 0 && bind(d->fd, (struct sockaddr *)&address, len) == 0 && listen(d->fd, 64) == 0 &&
			getsockname(d->fd, (struct sockaddr *)&address, &len) == 0,
		"listen");
	d->port = ntohs(address.sin_port);
	must(pthread_create(&d->thread, NULL, accept_all, d) == 0, "pthread_create");
	return d;
}

void kdc_double_free(struct kdc_double *d)
{
	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_mutex_unlock(&d->lock);
	shutdown(d->fd, SHUT_RDWR);
	pthread_join(d->thread, NULL);
	for (unsigned i = 0; i < d->npeers; i++) {
		shutdown(d->peers[i].fd, SHUT_RDWR);
		pthread_join(d->peers[i].thread, NULL);
		close(d->peers[i].fd);
	}
	close(d->fd);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

struct directory_server kdc_double_server(const struct kdc_double *d)
{
	return (struct directory_server){.host = "127.0.0.1", .port = 1, .kdc_port = d->port};
}

void kdc_double_act(struct kdc_double *d, enum kdc_act act)
{
	pthread_mutex_lock(&d->lock);
	d->act = act;
	pthread_mutex_unlock(&d->lock);
}

void kdc_double_error(struct kdc_double *d, int code, const void *e_data, size_t len)
{
	must(len <= sizeof(d->e_data), "e-data");
	pthread_mutex_lock(&d->lock);
	d->code = code;
	if (len)
		memcpy(d->e_data, e_data, len);
	d->e_len = len;
	pthread_mutex_unlock(&d->lock);
}

void kdc_double_offer(struct kdc_double *d, const int32_t *types, size_t n, uint32_t iterations)
{
	must(n <= MAX_OFFERS, "offers");
	pthread_mutex_lock(&d->lock);
	if (n)
		memcpy(d->offers, types, n * sizeof(*types));
	d->noffers = n;
	d->iterations = iterations;
	pthread_mutex_unlock(&d->lock);
}

void kdc_double_clock(struct kdc_double *d, int ahead_s)
{
	pthread_mutex_lock(&d->lock);
	d->ahead_s = ahead_s;
	pthread_mutex_unlock(&d->lock);
}

static unsigned count(struct kdc_double *d, const unsigned *what)
{
	unsigned n;

	pthread_mutex_lock(&d->lock);
	n = *what;
	pthread_mutex_unlock(&d->lock);
	return n;
}

unsigned kdc_double_connections(struct kdc_double *d)
{
	return count(d, &d->npeers);
}

unsigned kdc_double_requests(struct kdc_double *d)
{
	return count(d, &d->requests);
}

unsigned kdc_double_proofs(struct kdc_double *d)
{
	return count(d, &d->proofs);
}
