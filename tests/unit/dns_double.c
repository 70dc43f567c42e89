#include "dns_double.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"

#define MAX_RECORDS 1024
#define MAX_QUESTIONS 64
#define UDP_SIZE 512
#define TTL 120

struct record {
	char name[256];
	unsigned type; /* 0: rcode */
	unsigned rcode;
	uint8_t data[300];
	size_t len;
};

struct dns_double {
	int udp, tcp, stop;
	pthread_t thread;
	char servers[32];
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t asked;
	struct record records[MAX_RECORDS];
	size_t n;
	struct {
		char name[256];
		unsigned count;
	} questions[MAX_QUESTIONS];
	size_t nquestions;
	unsigned over_tcp;
};

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

size_t dns_double_name(const char *text, uint8_t *out)
{
	size_t used = 0;

	while (*text && strcmp(text, ".") != 0) {
		size_t len = strcspn(text, ".");

		out[used++] = (uint8_t)len;
		memcpy(out + used, text, len);
		used += len;
		text += len + (text[len] == '.');
	}
	out[used++] = 0;
	return used;
}

static bool read_question(const uint8_t *query, size_t len, char name[256], unsigned *type, size_t *end)
{
	size_t pos = 12, used = 0;

	while (pos < len && query[pos] != 0) {
		size_t label = query[pos++];

		if (label > 63 || pos + label >= len || used + label + 2 > 256)
			return false;
		if (used)
			name[used++] = '.';
		memcpy(name + used, query + pos, label);
		used += label;
		pos += label;
	}
	if (pos + 5 > len)
		return false;
	name[used] = '\0';
	*type = (unsigned)query[pos + 1] << 8 | query[pos + 2];
	*end = pos + 5;
	return true;
}

static void count(struct dns_double *d, const char *name, unsigned type)
{
	size_t i;

	if (type != ns_t_srv)
		return;
	for (i = 0; i < d->nquestions; i++)
		if (strcasecmp(d->questions[i].name, name) == 0)
			break;
	if (i == d->nquestions) {
		must(d->nquestions < MAX_QUESTIONS, "dns_double: too many names");
		snprintf(d->questions[d->nquestions++].name, sizeof(d->questions[i].name), "%s", name);
	}
	d->questions[i].count++;
	pthread_cond_broadcast(&d->asked);
}

/* False: nothing is sent. */
static bool answer(struct dns_double *d, const uint8_t *query, size_t len, bool tcp, struct buf *out)
{
	unsigned type, rcode = ns_r_nxdomain, answers = 0;
	struct buf records PTA_CLEANUP(buf_done) = BUF_INIT(65535);
	const char *owner;
	char name[256];
	size_t end;
	bool cut;

	if (len < 17 || !read_question(query, len, name, &type, &end))
		return false;
	if (tcp)
		d->over_tcp++;
	else
		count(d, name, type);
	owner = name;
	for (size_t i = 0; i < d->n; i++) {
		const struct record *record = &d->records[i];
		uint8_t wire[256];

		if (strcasecmp(record->name, owner) != 0)
			continue;
		rcode = record->rcode;
		if (record->type != type && record->type != ns_t_cname)
			continue;
		buf_put(&records, wire, dns_double_name(owner, wire));
		buf_put_u16(&records, (uint16_t)record->type);
		buf_put_u16(&records, ns_c_in);
		buf_put_u32(&records, TTL);
		buf_put_lp(&records, record->data, record->len);
		answers++;
		if (record->type == ns_t_cname) {
			static char next[256];
			size_t used = 0;

			for (const uint8_t *p = record->data; *p; p += *p + 1)
				used += (size_t)snprintf(next + used, sizeof(next) - used, "%s%.*s", used ? "." : "", *p, (const char *)p + 1);
			owner = next;
		}
	}
	if (rcode == DNS_DOUBLE_SILENT)
		return false;
	cut = !tcp && end + records.len > UDP_SIZE;
	buf_put(out, query, 2);
	buf_put_u16(out, (uint16_t)(0x8180 | (cut ? 0x200 : 0) | rcode));
	buf_put_u16(out, 1);
	buf_put_u16(out, cut ? 0 : (uint16_t)answers);
	buf_put_u32(out, 0);
	buf_put(out, query + 12, end - 12);
	if (!cut)
		buf_put(out, records.data, records.len);
	return buf_ok(out) && buf_ok(&records);
}

static void serve_udp(struct dns_double *d)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(65535);
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	uint8_t query[1500];
	ssize_t n = recvfrom(d->udp, query, sizeof(query), 0, (struct sockaddr *)&from, &from_len);
	bool send;

	if (n <= 0)
		return;
	pthread_mutex_lock(&d->lock);
	send = answer(d, query, (size_t)n, false, &out);
	pthread_mutex_unlock(&d->lock);
	if (send)
		sendto(d->udp, out.data, out.len, 0, (struct sockaddr *)&from, from_len);
}

static void serve_tcp(struct dns_double *d)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(65535), framed PTA_CLEANUP(buf_done) = BUF_INIT(65537);
	const struct timeval patience = {.tv_sec = 5};
	int fd = accept(d->tcp, NULL, NULL);
	uint8_t query[1500];
	size_t len;
	bool send_it = false;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (recv(fd, query, 2, MSG_WAITALL) == 2) {
		len = (size_t)query[0] << 8 | query[1];
		if (len <= sizeof(query) && recv(fd, query, len, MSG_WAITALL) == (ssize_t)len) {
			pthread_mutex_lock(&d->lock);
			send_it = answer(d, query, len, true, &out);
			pthread_mutex_unlock(&d->lock);
		}
	}
	if (send_it) {
		buf_put_lp(&framed, out.data, out.len);
		send(fd, framed.data, framed.len, MSG_NOSIGNAL);
	}
	close(fd);
}

static void *run(void *arg)
{
	struct dns_double *d = arg;

	for (;;) {
		struct pollfd pfds[] = {{.fd = d->udp, .events = POLLIN}, {.fd = d->tcp, .events = POLLIN}, {.fd = d->stop, .events = POLLIN}};

		must(poll(pfds, 3, -1) > 0, "dns_double: poll");
		if (pfds[2].revents)
			return NULL;
		if (pfds[0].revents)
			serve_udp(d);
		if (pfds[1].revents)
			serve_tcp(d);
	}
}

struct dns_double *dns_double_new(void)
{
	struct dns_double *d = calloc(1, sizeof(*d));
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	bool bound = false;

	must(d, "dns_double");
	/* A port that is free for both. */
	for (int i = 0; i < 100 && !bound; i++) {
		address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		d->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		d->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		must(d->udp >= 0 && d->tcp >= 0 && bind(d->udp, (struct sockaddr *)&address, len) == 0, "dns_double: bind");
		must(getsockname(d->udp, (struct sockaddr *)&address, &len) == 0, "dns_double: getsockname");
		bound = bind(d->tcp, (struct sockaddr *)&address, len) == 0 && listen(d->tcp, 16) == 0;
		if (!bound) {
			close(d->udp);
			close(d->tcp);
		}
	}
	must(bound, "dns_double: no port");
	snprintf(d->servers, sizeof(d->servers), "127.0.0.1:%u", ntohs(address.sin_port));
	d->stop = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->asked, NULL);
	must(pthread_create(&d->thread, NULL, run, d) == 0, "dns_double: thread");
	return d;
}

void dns_double_free(struct dns_double *d)
{
	eventfd_write(d->stop, 1);
	pthread_join(d->thread, NULL);
	close(d->udp);
	close(d->tcp);
	close(d->stop);
	pthread_cond_destroy(&d->asked);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

const char *dns_double_servers(const struct dns_double *d)
{
	return d->servers;
}

void dns_double_clear(struct dns_double *d)
{
	pthread_mutex_lock(&d->lock);
	d->n = 0;
	pthread_mutex_unlock(&d->lock);
}

static void add(struct dns_double *d, const char *name, unsigned type, unsigned rcode, const void *data, size_t len)
{
	struct record *record;

	pthread_mutex_lock(&d->lock);
	must(d->n < MAX_RECORDS && len <= sizeof(record->data), "dns_double: too much");
	record = &d->records[d->n++];
	*record = (struct record){.type = type, .rcode = rcode, .len = len};
	snprintf(record->name, sizeof(record->name), "%s", name);
	if (len)
		memcpy(record->data, data, len);
	pthread_mutex_unlock(&d->lock);
}

void dns_double_srv(struct dns_double *d, const char *name, unsigned priority, unsigned weight, unsigned port, const char *target)
{
	uint8_t data[300] = {(uint8_t)(priority >> 8), (uint8_t)priority, (uint8_t)(weight >> 8), (uint8_t)weight, (uint8_t)(port >> 8), (uint8_t)port};

	add(d, name, ns_t_srv, 0, data, 6 + dns_double_name(target, data + 6));
}

void dns_double_address(struct dns_double *d, const char *name, const char *address)
{
	uint8_t data[16];

	if (inet_pton(AF_INET, address, data) == 1) {
		add(d, name, ns_t_a, 0, data, 4);
		return;
	}
	must(inet_pton(AF_INET6, address, data) == 1, address);
	add(d, name, ns_t_aaaa, 0, data, 16);
}

void dns_double_cname(struct dns_double *d, const char *name, const char *target)
{
	uint8_t data[256];

	add(d, name, ns_t_cname, 0, data, dns_double_name(target, data));
}

void dns_double_rcode(struct dns_double *d, const char *name, unsigned rcode)
{
	add(d, name, 0, rcode, NULL, 0);
}

void dns_double_raw(struct dns_double *d, const char *name, const void *rdata, size_t len)
{
	add(d, name, ns_t_srv, 0, rdata, len);
}

static unsigned asked(const struct dns_double *d, const char *name)
{
	for (size_t i = 0; i < d->nquestions; i++)
		if (strcasecmp(d->questions[i].name, name) == 0)
			return d->questions[i].count;
	return 0;
}

unsigned dns_double_asked(struct dns_double *d, const char *name)
{
	unsigned n;

	pthread_mutex_lock(&d->lock);
	n = asked(d, name);
	pthread_mutex_unlock(&d->lock);
	return n;
}

unsigned dns_double_asked_tcp(struct dns_double *d)
{
	unsigned n;

	pthread_mutex_lock(&d->lock);
	n = d->over_tcp;
	pthread_mutex_unlock(&d->lock);
	return n;
}

void dns_double_wait(struct dns_double *d, const char *name, unsigned n)
{
	pthread_mutex_lock(&d->lock);
	while (asked(d, name) < n)
		pthread_cond_wait(&d->asked, &d->lock);
	pthread_mutex_unlock(&d->lock);
}
