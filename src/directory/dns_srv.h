/* DNS for finding domain controllers: SRV records (RFC 2782) and addresses, through c-ares with the name servers of the host's
 * resolv.conf, read afresh by each dns_open(). Nothing is cached, nothing is completed by search domains. What comes from DNS is
 * hostile: the caller decides which names it may name. Blocks until a deadline; a struct dns belongs to one thread. */
#ifndef PTA_DIRECTORY_DNS_SRV_H
#define PTA_DIRECTORY_DNS_SRV_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/limits.h"

#define DNS_SRV_MAX 512	    /* records taken of one answer */
#define DNS_ADDRESSES_MAX 4 /* addresses taken of one host */

struct dns_srv {
	char target[LIMIT_DOMAIN + 1]; /* as sent, without the dot at its end */
	uint16_t priority, weight, port;
};

struct dns_srv_list {
	struct dns_srv *records; /* in the order of the answer */
	size_t n;
	size_t left_out; /* beyond DNS_SRV_MAX */
	uint32_t ttl_s;	 /* the shortest of the records'; at least 1 */
};

void dns_srv_list_done(struct dns_srv_list *list);

/* Takes an answer apart. The records are those of the name that was asked, or of the one that CNAMEs make of it. Duplicates
 * stay. -PTA_ENOENT: no such record, or just the target "." ("decidedly not available"); -PTA_EPROTO: broken; -PTA_ENOMEM.
 * *out is touched on success only; free it with dns_srv_list_done(). */
PTA_MUST_CHECK int dns_srv_parse(const uint8_t *answer, size_t len, struct dns_srv_list *out, struct err *err);

/* The choice among records of one priority that RFC 2782 prescribes: the index of the one to try next. n: at least 1. */
size_t dns_srv_choose(const uint16_t *weights, size_t n);
/* The same with the random number given: 0 to the sum of the weights. */
size_t dns_srv_choose_at(const uint16_t *weights, size_t n, uint32_t random);

struct dns;

/* cancel_fd: readable ends every wait with -PTA_ECLOSED; -1: none. -PTA_ENOMEM, -PTA_EIO. */
PTA_MUST_CHECK int dns_open(int cancel_fd, struct dns **out, struct err *err);
void dns_close(struct dns *dns);
/* The name servers, "192.0.2.1, [2001:db8::1]:5353". */
const char *dns_servers(const struct dns *dns);

/* Asks for the SRV records of a name. -PTA_ENOENT: there are none, or no such name; -PTA_ENET, -PTA_EPROTO, -PTA_ETIMEDOUT: the
 * text says what was asked, of whom and what came back. */
PTA_MUST_CHECK int dns_srv_query(struct dns *dns, const char *name, uint64_t deadline_us, struct dns_srv_list *out, struct err *err);

union dns_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct dns_host {
	const char *name;
	union dns_address addresses[DNS_ADDRESSES_MAX]; /* without port */
	size_t naddresses;				/* 0: DNS has none, or did not answer in time */
};

/* Asks for the addresses (A, AAAA, and the hosts file before them) of all hosts at a time. What is known at the deadline is
 * there. -PTA_ECLOSED, -PTA_EIO. */
PTA_MUST_CHECK int dns_addresses(struct dns *dns, struct dns_host *hosts, size_t n, uint64_t deadline_us, struct err *err);

/* For tests: the name servers of every dns_open() from now on, "127.0.0.1:5353"; not copied. NULL ends it. */
void dns_srv_servers_for_tests(const char *csv);

#endif
