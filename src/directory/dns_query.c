#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "directory/dns_srv.h"

/* One try at one server; c-ares doubles it in the second round. A dead first server costs that much, once. */
#define TRY_MS 1000
#define TRIES 2
/* What passes every network in one piece. A longer answer comes over TCP. */
#define EDNS_SIZE 1232

struct dns {
	ares_channel channel;
	int cancel_fd;
	struct buf servers;
};

static _Atomic(const char *) servers_for_tests;

void dns_srv_servers_for_tests(const char *csv)
{
	atomic_store(&servers_for_tests, csv);
}

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status;

/* Never undone: other users of the library in the process may come and go. */
static void library_init(void)
{
	library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

static void list_servers(struct dns *dns)
{
	struct ares_addr_port_node *list = NULL;
	char address[INET6_ADDRSTRLEN];

	if (ares_get_servers_ports(dns->channel, &list) != ARES_SUCCESS)
		return;
	for (const struct ares_addr_port_node *node = list; node; node = node->next) {
		bool v6 = node->family == AF_INET6, port = node->udp_port != 0 && node->udp_port != NS_DEFAULTPORT;

		if (!inet_ntop(node->family, &node->addr, address, sizeof(address)))
			continue;
		buf_printf(&dns->servers, "%s%s%s%s", dns->servers.len ? ", " : "", v6 && port ? "[" : "", address, v6 && port ? "]" : "");
		if (port)
			buf_printf(&dns->servers, ":%d", node->udp_port);
	}
	ares_free_data(list);
}

static int open_channel(ares_channel *out, int flags, struct err *err)
{
	/* No domains to complete names with: what is asked is meant. */
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_EDNS | flags, .timeout = TRY_MS, .tries = TRIES, .ednspsz = EDNS_SIZE, .domains = NULL, .ndomains = 0};
	const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_DOMAINS;
	const char *servers = atomic_load(&servers_for_tests);
	int status = ares_init_options(out, &options, mask);

	if (status != ARES_SUCCESS)
		return err_set(err, status == ARES_ENOMEM ? -PTA_ENOMEM : -PTA_EIO, "DNS: reading the configuration of the resolver (/etc/resolv.conf): %s",
			ares_strerror(status));
	status = servers ? ares_set_servers_ports_csv(*out, servers) : ARES_SUCCESS;
	if (status != ARES_SUCCESS) {
		ares_destroy(*out);
		return err_set(err, -PTA_EINVAL, "DNS: '%s': %s", servers, ares_strerror(status));
	}
	return 0;
}

int dns_open(int cancel_fd, struct dns **out, struct err *err)
{
	struct dns *dns;
	int r;

	pthread_once(&library_once, library_init);
	if (library_status != ARES_SUCCESS)
		return err_set(err, -PTA_EIO, "DNS: c-ares does not start: %s", ares_strerror(library_status));
	dns = calloc(1, sizeof(*dns));
	if (!dns)
		return err_set(err, -PTA_ENOMEM, "DNS: out of memory");
	r = open_channel(&dns->channel, 0, err);
	if (r < 0) {
		free(dns);
		return r;
	}
	dns->cancel_fd = cancel_fd;
	dns->servers = BUF_INIT(256);
	list_servers(dns);
	*out = dns;
	return 0;
}

void dns_close(struct dns *dns)
{
	if (!dns)
		return;
	ares_destroy(dns->channel);
	buf_done(&dns->servers);
	free(dns);
}

const char *dns_servers(const struct dns *dns)
{
	return dns->servers.len ? (const char *)dns->servers.data : "no server";
}

/* How long poll() may wait, in ms, rounded up: a wait of 0 ms would spin through the last one. */
static int wait_ms(struct dns *dns, uint64_t now_us, uint64_t deadline_us)
{
	struct timeval tv, *next = ares_timeout(dns->channel, NULL, &tv);
	uint64_t wait_us = deadline_us - now_us, next_us;

	if (next) {
		next_us = (uint64_t)next->tv_sec * 1000000 + (uint64_t)next->tv_usec;
		if (next_us < wait_us)
			wait_us = next_us;
	}
	return (int)(wait_us / 1000 + 1);
}

/* Until all that is asked was answered: *pending is 0. At the deadline the rest is answered with ARES_ECANCELLED. */
static int run(struct dns *dns, const size_t *pending, uint64_t deadline_us, struct err *err)
{
	while (*pending > 0) {
		struct pollfd pfds[ARES_GETSOCK_MAXNUM + 1];
		ares_socket_t socks[ARES_GETSOCK_MAXNUM];
		unsigned bits = (unsigned)ares_getsock(dns->channel, socks, ARES_GETSOCK_MAXNUM), n = 0;
		uint64_t now = clock_mono_us();

		if (now >= deadline_us) {
			ares_cancel(dns->channel);
			break;
		}
		for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
			/* As ARES_GETSOCK_READABLE and _WRITABLE, which shift into the sign. */
			short events = (short)((bits >> i & 1 ? POLLIN : 0) | (bits >> (i + ARES_GETSOCK_MAXNUM) & 1 ? POLLOUT : 0));

			if (events)
				pfds[n++] = (struct pollfd){.fd = socks[i], .events = events};
		}
		pfds[n] = (struct pollfd){.fd = dns->cancel_fd, .events = POLLIN};
		if (poll(pfds, n + 1, wait_ms(dns, now, deadline_us)) < 0 && errno != EINTR) {
			int error = errno;

			ares_cancel(dns->channel);
			return err_set_errno(err, -PTA_EIO, error, "DNS: waiting for an answer");
		}
		if (pfds[n].revents) {
			ares_cancel(dns->channel);
			return err_set(err, -PTA_ECLOSED, "DNS: ended");
		}
		for (unsigned i = 0; i < n; i++)
			if (pfds[i].revents)
				ares_process_fd(dns->channel, pfds[i].revents & ~POLLOUT ? pfds[i].fd : ARES_SOCKET_BAD,
					pfds[i].revents & POLLOUT ? pfds[i].fd : ARES_SOCKET_BAD);
		/* Time-outs */
		ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	}
	return 0;
}

struct srv_question {
	size_t pending;
	int status; /* of c-ares */
	int timeouts;
	int r;
	struct dns_srv_list *out;
	struct err err;
};

static void srv_answered(void *arg, int status, int timeouts, unsigned char *answer, int len)
{
	struct srv_question *question = arg;

	question->pending = 0;
	question->status = status;
	question->timeouts = timeouts;
	if (status == ARES_SUCCESS)
		question->r = len < 0 ? -PTA_EPROTO : dns_srv_parse(answer, (size_t)len, question->out, &question->err);
}

static int code_of(int status)
{
	switch (status) {
	case ARES_ENODATA:
	case ARES_ENOTFOUND:
		return -PTA_ENOENT;
	case ARES_ETIMEOUT:
	case ARES_ECANCELLED: /* at the deadline */
		return -PTA_ETIMEDOUT;
	case ARES_ENOMEM:
		return -PTA_ENOMEM;
	case ARES_EBADRESP:
		return -PTA_EPROTO;
	case ARES_EBADNAME:
		return -PTA_EINVAL;
	default:
		return -PTA_ENET;
	}
}

static const char *text_of(int status)
{
	switch (status) {
	case ARES_ENODATA:
		return "no such records of that name (NODATA)";
	case ARES_ENOTFOUND:
		return "no such name (NXDOMAIN)";
	case ARES_ESERVFAIL:
		return "the server failed (SERVFAIL)";
	case ARES_EREFUSED:
		return "the server refuses to answer (REFUSED)";
	case ARES_ETIMEOUT:
	case ARES_ECANCELLED:
		return "no answer in time";
	default:
		return ares_strerror(status);
	}
}

static int ask(struct dns *dns, const char *name, uint64_t deadline_us, struct srv_question *question, struct err *err)
{
	question->pending = 1;
	question->status = ARES_ECANCELLED;
	ares_query(dns->channel, name, ns_c_in, ns_t_srv, srv_answered, question);
	return run(dns, &question->pending, deadline_us, err);
}

/* The servers that did not answer go behind the others: c-ares would begin with them in every question. None is in flight. */
static void put_behind(struct dns *dns, int silent)
{
	struct ares_addr_port_node *list = NULL, *last;

	if (ares_get_servers_ports(dns->channel, &list) != ARES_SUCCESS)
		return;
	for (last = list; last && last->next;)
		last = last->next;
	for (; silent > 0 && list != last; silent--) {
		struct ares_addr_port_node *first = list;

		list = first->next;
		first->next = NULL;
		last->next = first;
		last = first;
	}
	/* Where that fails, the order stays. */
	(void)ares_set_servers_ports(dns->channel, list);
	ares_free_data(list);
}

/* c-ares says "connection refused" as well when every server has answered that it failed or refuses. This asks the first
 * that answers, whatever it answers. */
static int ask_plainly(const struct dns *dns, const char *name, uint64_t deadline_us, struct srv_question *question, struct err *err)
{
	struct dns plain = {.cancel_fd = dns->cancel_fd};
	int r = open_channel(&plain.channel, ARES_FLAG_NOCHECKRESP, err);

	if (r < 0)
		return r;
	r = ask(&plain, name, deadline_us, question, err);
	ares_destroy(plain.channel);
	return r;
}

int dns_srv_query(struct dns *dns, const char *name, uint64_t deadline_us, struct dns_srv_list *out, struct err *err)
{
	struct srv_question question = {.out = out};
	int r = ask(dns, name, deadline_us, &question, err);

	if (r == 0 && question.status == ARES_ECONNREFUSED)
		r = ask_plainly(dns, name, deadline_us, &question, err);
	if (r < 0)
		return r;
	if (question.timeouts > 0)
		put_behind(dns, question.timeouts);
	if (question.status != ARES_SUCCESS)
		return err_set(err, code_of(question.status), "SRV records of %s, asked of %s: %s", name, dns_servers(dns), text_of(question.status));
	if (question.r < 0)
		return err_set(err, question.r, "SRV records of %s, asked of %s: %s", name, dns_servers(dns), question.err.text);
	return 0;
}

struct address_question {
	struct dns_host *host;
	size_t *pending;
};

static void addresses_found(void *arg, int status, int timeouts, struct ares_addrinfo *result)
{
	struct address_question *question = arg;
	struct dns_host *host = question->host;

	(void)timeouts;
	--*question->pending;
	if (status != ARES_SUCCESS)
		return;
	for (const struct ares_addrinfo_node *node = result->nodes; node && host->naddresses < DNS_ADDRESSES_MAX; node = node->ai_next) {
		union dns_address *address = &host->addresses[host->naddresses];

		if (node->ai_family == AF_INET && node->ai_addrlen >= sizeof(address->v4))
			memcpy(&address->v4, node->ai_addr, sizeof(address->v4));
		else if (node->ai_family == AF_INET6 && node->ai_addrlen >= sizeof(address->v6))
			memcpy(&address->v6, node->ai_addr, sizeof(address->v6));
		else
			continue;
		host->naddresses++;
	}
	ares_freeaddrinfo(result);
}

int dns_addresses(struct dns *dns, struct dns_host *hosts, size_t n, uint64_t deadline_us, struct err *err)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = ARES_AI_NOSORT};
	struct address_question *questions;
	size_t pending = n;
	int r;

	if (n == 0)
		return 0;
	questions = calloc(n, sizeof(questions[0]));
	if (!questions)
		return err_set(err, -PTA_ENOMEM, "DNS: out of memory");
	for (size_t i = 0; i < n; i++) {
		hosts[i].naddresses = 0;
		questions[i] = (struct address_question){.host = &hosts[i], .pending = &pending};
		ares_getaddrinfo(dns->channel, hosts[i].name, NULL, &hints, addresses_found, &questions[i]);
	}
	r = run(dns, &pending, deadline_us, err);
	free(questions);
	return r;
}
