#include "cldap_double.h"

#include <arpa/inet.h>
#include <lber.h>
#include <ldap.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "dns_double.h"

struct cldap_double {
	int fd, stop;
	unsigned port;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t pinged;
	enum cldap_act act;
	unsigned delay, pings;
	const char *domain, *dc_site, *client_site;
	uint32_t flags;
};

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static void put_name(struct buf *out, const char *name)
{
	uint8_t wire[256];

	buf_put(out, wire, dns_double_name(name, wire));
}

static void put_le32(struct buf *out, uint32_t v)
{
	buf_put_u32(out, __builtin_bswap32(v));
}

/* NETLOGON_SAM_LOGON_RESPONSE_EX (MS-ADTS 6.3.1.9) */
static void put_netlogon(const struct cldap_double *d, const char *domain, const char *client_site, struct buf *out)
{
	put_le32(out, 23);
	put_le32(out, d->flags);
	buf_put(out, "0123456789abcdef", 16);
	put_name(out, domain);
	put_name(out, domain);
	put_name(out, "host.example.com");
	put_name(out, "CORP");
	put_name(out, "DC");
	put_name(out, "");
	put_name(out, d->dc_site);
	put_name(out, client_site);
	put_le32(out, 5);
	put_le32(out, 0xffffffff);
}

static void respond(const struct cldap_double *d, int fd, const struct sockaddr *to, socklen_t to_len, int id, const char *domain, const char *client_site)
{
	struct buf value PTA_CLEANUP(buf_done) = BUF_INIT(4096);
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	struct berval octets, flat;

	put_netlogon(d, domain, client_site, &value);
	octets = (struct berval){.bv_val = (char *)value.data, .bv_len = value.len};
	must(ber && (d->act == CLDAP_ACT_EMPTY || ber_printf(ber, "{it{s{{s[O]}}}}", id, LDAP_RES_SEARCH_ENTRY, "", "netlogon", &octets) >= 0) &&
			ber_printf(ber, "{it{ess}}", id, LDAP_RES_SEARCH_RESULT, 0, "", "") >= 0 && ber_flatten2(ber, &flat, 0) >= 0,
		"cldap_double: encoding");
	sendto(fd, flat.bv_val, flat.bv_len, 0, to, to_len);
	ber_free(ber, 1);
}

static void act(struct cldap_double *d, const struct sockaddr *to, socklen_t to_len, int id)
{
	static const char junk[60000];
	int other;

	switch (d->act) {
	case CLDAP_ACT_SILENT:
		return;
	case CLDAP_ACT_LOSE_FIRST:
		if (d->pings < 2)
			return;
		break;
	case CLDAP_ACT_WRONG_ID:
	case CLDAP_ACT_ONLY_WRONG_ID:
		respond(d, d->fd, to, to_len, id ^ 1, d->domain, "Forged");
		if (d->act == CLDAP_ACT_ONLY_WRONG_ID)
			return;
		break;
	case CLDAP_ACT_ELSEWHERE:
		other = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		must(other >= 0, "cldap_double: socket");
		respond(d, other, to, to_len, id, d->domain, "Forged");
		close(other);
		return;
	case CLDAP_ACT_OTHER_DOMAIN:
		respond(d, d->fd, to, to_len, id, "other.example.org", d->client_site);
		return;
	case CLDAP_ACT_BROKEN:
		sendto(d->fd, "0\x84\xff\xff\xff\xff", 6, 0, to, to_len);
		sendto(d->fd, "", 0, 0, to, to_len);
		return;
	case CLDAP_ACT_HUGE:
		sendto(d->fd, junk, sizeof(junk), 0, to, to_len);
		break;
	case CLDAP_ACT_EMPTY:
	case CLDAP_ACT_ANSWER:
		break;
	}
	respond(d, d->fd, to, to_len, id, d->domain, d->client_site);
}

static void serve(struct cldap_double *d)
{
	struct sockaddr_in6 from;
	socklen_t from_len = sizeof(from);
	char request[1500];
	ssize_t n = recvfrom(d->fd, request, sizeof(request), 0, (struct sockaddr *)&from, &from_len);
	struct berval bytes = {.bv_val = request, .bv_len = n > 0 ? (size_t)n : 0};
	BerElement *ber = ber_init(&bytes);
	struct pollfd stop = {.fd = d->stop, .events = POLLIN};
	unsigned delay;
	int id = 0;

	must(ber && ber_scanf(ber, "{i", &id) != LBER_ERROR, "cldap_double: no request");
	ber_free(ber, 1);
	pthread_mutex_lock(&d->lock);
	d->pings++;
	pthread_cond_broadcast(&d->pinged);
	delay = d->delay;
	pthread_mutex_unlock(&d->lock);
	if (delay && poll(&stop, 1, (int)delay) != 0)
		return;
	pthread_mutex_lock(&d->lock);
	act(d, (const struct sockaddr *)&from, from_len, id);
	pthread_mutex_unlock(&d->lock);
}

static void *run(void *arg)
{
	struct cldap_double *d = arg;

	for (;;) {
		struct pollfd pfds[] = {{.fd = d->fd, .events = POLLIN}, {.fd = d->stop, .events = POLLIN}};

		must(poll(pfds, 2, -1) > 0, "cldap_double: poll");
		if (pfds[1].revents)
			return NULL;
		if (pfds[0].revents)
			serve(d);
	}
}

struct cldap_double *cldap_double_new(const char *address, unsigned port)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	bool is_v6 = inet_pton(AF_INET6, address, &v6.sin6_addr) == 1;
	struct cldap_double *d = calloc(1, sizeof(*d));
	socklen_t len = is_v6 ? sizeof(v6) : sizeof(v4);
	void *bound = is_v6 ? (void *)&v6 : (void *)&v4;

	must(d && (is_v6 || inet_pton(AF_INET, address, &v4.sin_addr) == 1), address);
	d->fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (d->fd < 0 || bind(d->fd, bound, len) < 0 || getsockname(d->fd, bound, &len) < 0) {
		if (d->fd >= 0)
			close(d->fd);
		free(d);
		return NULL;
	}
	d->port = ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
	d->stop = eventfd(0, EFD_CLOEXEC);
	d->domain = d->dc_site = d->client_site = "";
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->pinged, NULL);
	must(pthread_create(&d->thread, NULL, run, d) == 0, "cldap_double: thread");
	return d;
}

void cldap_double_free(struct cldap_double *d)
{
	if (!d)
		return;
	eventfd_write(d->stop, 1);
	pthread_join(d->thread, NULL);
	close(d->fd);
	close(d->stop);
	pthread_cond_destroy(&d->pinged);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

unsigned cldap_double_port(const struct cldap_double *d)
{
	return d->port;
}

void cldap_double_act(struct cldap_double *d, enum cldap_act what)
{
	pthread_mutex_lock(&d->lock);
	d->act = what;
	d->pings = 0;
	pthread_mutex_unlock(&d->lock);
}

void cldap_double_delay(struct cldap_double *d, unsigned ms)
{
	pthread_mutex_lock(&d->lock);
	d->delay = ms;
	pthread_mutex_unlock(&d->lock);
}

void cldap_double_says(struct cldap_double *d, const char *domain, const char *dc_site, const char *client_site, uint32_t flags)
{
	pthread_mutex_lock(&d->lock);
	d->domain = domain;
	d->dc_site = dc_site;
	d->client_site = client_site;
	d->flags = flags;
	pthread_mutex_unlock(&d->lock);
}

unsigned cldap_double_pings(struct cldap_double *d)
{
	unsigned n;

	pthread_mutex_lock(&d->lock);
	n = d->pings;
	pthread_mutex_unlock(&d->lock);
	return n;
}

void cldap_double_wait(struct cldap_double *d, unsigned n)
{
	pthread_mutex_lock(&d->lock);
	while (d->pings < n)
		pthread_cond_wait(&d->pinged, &d->lock);
	pthread_mutex_unlock(&d->lock);
}
