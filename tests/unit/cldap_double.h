/* A double of a controller's netlogon ping for what no real one does on demand: silence, loss, answers to another request,
 * from another port, about another domain, broken, late; and sites as a test wants them. UDP, one thread. */
#ifndef PTA_TESTS_CLDAP_DOUBLE_H
#define PTA_TESTS_CLDAP_DOUBLE_H

#include <stdbool.h>
#include <stdint.h>

enum cldap_act {
	CLDAP_ACT_ANSWER,
	CLDAP_ACT_SILENT,
	CLDAP_ACT_LOSE_FIRST, /* answers the second request */
	CLDAP_ACT_WRONG_ID,   /* the answer under another id, then the right one with another site */
	CLDAP_ACT_ONLY_WRONG_ID,
	CLDAP_ACT_ELSEWHERE, /* the right answer from another port */
	CLDAP_ACT_OTHER_DOMAIN,
	CLDAP_ACT_EMPTY,  /* a result without an entry */
	CLDAP_ACT_BROKEN, /* bytes that are not LDAP, then nothing */
	CLDAP_ACT_HUGE,	  /* a datagram of 60 KB, then the right one */
};

struct cldap_double;

/* port 0: any. NULL: the address cannot be had. */
struct cldap_double *cldap_double_new(const char *address, unsigned port);
void cldap_double_free(struct cldap_double *d);
unsigned cldap_double_port(const struct cldap_double *d);
void cldap_double_act(struct cldap_double *d, enum cldap_act act);
void cldap_double_delay(struct cldap_double *d, unsigned ms); /* before the answer */
/* Strings are not copied. */
void cldap_double_says(struct cldap_double *d, const char *domain, const char *dc_site, const char *client_site, uint32_t flags);
unsigned cldap_double_pings(struct cldap_double *d);
void cldap_double_wait(struct cldap_double *d, unsigned n); /* until so many came */

#endif
