/* A double of a DNS server for what no real one does on demand: hosts outside the domain, the target ".", broken answers,
 * truncation, SERVFAIL, silence. UDP and TCP on one port of 127.0.0.1, one thread. What is not set is NXDOMAIN. */
#ifndef PTA_TESTS_DNS_DOUBLE_H
#define PTA_TESTS_DNS_DOUBLE_H

#include <stddef.h>
#include <stdint.h>

#define DNS_DOUBLE_SILENT 0x100 /* as a rcode: no answer at all */

struct dns_double;

struct dns_double *dns_double_new(void);
void dns_double_free(struct dns_double *d);
/* "127.0.0.1:PORT", for dns_srv_servers_for_tests(). */
const char *dns_double_servers(const struct dns_double *d);
void dns_double_clear(struct dns_double *d); /* forgets all records, not the counts */
void dns_double_srv(struct dns_double *d, const char *name, unsigned priority, unsigned weight, unsigned port, const char *target);
void dns_double_address(struct dns_double *d, const char *name, const char *address); /* v4 or v6 */
void dns_double_cname(struct dns_double *d, const char *name, const char *target);
void dns_double_rcode(struct dns_double *d, const char *name, unsigned rcode);		    /* instead of records */
void dns_double_raw(struct dns_double *d, const char *name, const void *rdata, size_t len); /* an SRV record of these bytes */
/* How often SRV records of the name were asked for, by UDP; and over TCP. */
unsigned dns_double_asked(struct dns_double *d, const char *name);
unsigned dns_double_asked_tcp(struct dns_double *d);
/* Until that is at least n. */
void dns_double_wait(struct dns_double *d, const char *name, unsigned n);

/* A name in wire format, without compression; returns its length. */
size_t dns_double_name(const char *text, uint8_t *out);

#endif
