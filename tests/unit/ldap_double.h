/* A double of a domain controller for what no real server does on demand: silence after accept, in the middle of the TLS
 * handshake or after a bind, answers that are cut, late, to another request or of another type, AD's own diagnostics,
 * "busy". It counts the binds that reach it. One thread per connection. Everything else is tested with slapd. */
#ifndef PTA_TESTS_LDAP_DOUBLE_H
#define PTA_TESTS_LDAP_DOUBLE_H

#include <openssl/ssl.h>
#include <stdbool.h>

enum double_act {
	ACT_ANSWER,	     /* result and diagnostic as set */
	ACT_SILENT_ACCEPT,   /* accepts TCP, says nothing */
	ACT_HALF_HANDSHAKE,  /* some bytes of a TLS record, then nothing */
	ACT_GARBAGE,	     /* no TLS at all */
	ACT_CLOSE_ACCEPT,    /* closes right after accept */
	ACT_SILENT_BIND,     /* takes the bind, never answers */
	ACT_HOLD_BIND,	     /* answers when released */
	ACT_CUT_BIND,	     /* closes instead of answering */
	ACT_HALF_ANSWER,     /* half an answer, then closes */
	ACT_WRONG_ID,	     /* success, for another request */
	ACT_WRONG_TYPE,	     /* success, of a search */
	ACT_BROKEN_ANSWER,   /* bytes that are not LDAP */
	ACT_HUGE_ANSWER,     /* announces a gigabyte */
	ACT_RENEGOTIATE,     /* TLS 1.2: asks for a new handshake instead of answering, and says no more */
	ACT_ANSWER_GOODBYE,  /* answers, then a notice of disconnection, and closes */
	ACT_REFER,	     /* ldap_double_refer() */
	ACT_REVERSE,	     /* ldap_double_reverse() */
	ACT_INJECT_STARTTLS, /* success for the bind to come, in the clear behind StartTLS's answer */
};

struct ldap_double;

enum double_tls { DOUBLE_PLAIN, DOUBLE_LDAPS, DOUBLE_STARTTLS };

/* ctx may be NULL with DOUBLE_PLAIN. The double listens on 127.0.0.1. */
struct ldap_double *ldap_double_new(enum double_tls tls, SSL_CTX *ctx, enum double_act act);
struct ldap_double *ldap_double_new6(enum double_tls tls, SSL_CTX *ctx, enum double_act act); /* on ::1 */
void ldap_double_free(struct ldap_double *d);
unsigned ldap_double_port(const struct ldap_double *d);
void ldap_double_act(struct ldap_double *d, enum double_act act);
void ldap_double_result(struct ldap_double *d, int result, const char *diagnostic);
void ldap_double_release(struct ldap_double *d); /* lets held binds, now and later, be answered */
/* Refers each bind to another server. */
void ldap_double_refer(struct ldap_double *d, const char *url);
/* AD's fast bind (MS-ADTS 5.1.1.3), which neither Samba nor slapd has: offered in the rootDSE; refuse: and then refused. */
void ldap_double_offer_fast_bind(struct ldap_double *d, bool refuse);
unsigned ldap_double_fast_connections(struct ldap_double *d);
/* Each connection answers its binds when n of them came, the last one first; the password "right" is right. */
void ldap_double_reverse(struct ldap_double *d, unsigned n);
void ldap_double_drop(struct ldap_double *d); /* closes every connection */
unsigned ldap_double_binds(struct ldap_double *d);
unsigned ldap_double_connections(struct ldap_double *d);	/* accepted so far */
void ldap_double_wait_binds(struct ldap_double *d, unsigned n); /* until at least n binds came */
/* Of the last bind. */
bool ldap_double_saw(struct ldap_double *d, const char *name, const char *password);

/* A listening socket whose queue is full: further connects get no answer. Returns the port; the fds must be closed. */
unsigned black_hole(int fds[4]);

#endif
