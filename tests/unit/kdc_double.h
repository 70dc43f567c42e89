/* A double of a KDC for what no real one does on demand: silence, cuts, frames and messages that are none, KRB-ERRORs with a
 * code and e-data of choice, preauthentication asked for again and again or by other mechanisms, a wrong clock. It holds no
 * keys and issues no ticket. It counts what reaches it. TCP on 127.0.0.1, one thread per connection. Everything else is
 * tested with krb5_bed. */
#ifndef PTA_TESTS_KDC_DOUBLE_H
#define PTA_TESTS_KDC_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directory/directory_conf.h"

enum kdc_act {
	KDC_PREAUTH,	   /* asks for preauthentication; answers a proof with the error as set */
	KDC_ERROR,	   /* answers everything with the error as set */
	KDC_PREAUTH_AGAIN, /* asks for preauthentication, also behind a proof */
	KDC_SILENT,	   /* takes the request, says nothing */
	KDC_SILENT_PROOF,  /* asks for preauthentication, says nothing to a proof */
	KDC_CUT,	   /* closes instead of answering */
	KDC_CUT_PROOF,	   /* asks for preauthentication, closes at a proof */
	KDC_CLOSING,	   /* as KDC_PREAUTH, but closes behind each answer */
	KDC_HALF_FRAME,	   /* two bytes of the length, then closes */
	KDC_HALF_ANSWER,   /* half an answer, then closes */
	KDC_HALF_SILENT,   /* half an answer, then says nothing */
	KDC_EMPTY,	   /* an answer of no bytes */
	KDC_HUGE,	   /* announces a gigabyte */
	KDC_HIGH_BIT,	   /* announces the reserved bit of RFC 4120 7.2.2 */
	KDC_GARBAGE,	   /* bytes that are not Kerberos */
	KDC_BROKEN_ERROR,  /* a KRB-ERROR's tag around bytes that are none */
	KDC_BROKEN_REP,	   /* an AS-REP's tag around bytes that are none */
	KDC_WRONG_KIND,	   /* a TGS-REP's tag */
	KDC_EXTRA,	   /* as KDC_PREAUTH, with more bytes behind each answer */
	KDC_REFERRAL,	   /* KDC_ERR_WRONG_REALM with ELSEWHERE.COM */
};

struct kdc_double;

struct kdc_double *kdc_double_new(enum kdc_act act);
void kdc_double_free(struct kdc_double *d);
struct directory_server kdc_double_server(const struct kdc_double *d);
void kdc_double_act(struct kdc_double *d, enum kdc_act act);
void kdc_double_error(struct kdc_double *d, int code, const void *e_data, size_t len);
/* What a demand for preauthentication offers; the start is {2} with 4096 iterations. */
void kdc_double_offer(struct kdc_double *d, const int32_t *types, size_t n, uint32_t iterations);
void kdc_double_clock(struct kdc_double *d, int ahead_s);

unsigned kdc_double_connections(struct kdc_double *d);
unsigned kdc_double_requests(struct kdc_double *d);
/* AS-REQs with encrypted timestamp, encrypted challenge or SPAKE. */
unsigned kdc_double_proofs(struct kdc_double *d);

/* The ways to put an NTSTATUS into e-data. */
enum kdc_e_data { KDC_ERROR_DATA, KDC_METHOD_DATA, KDC_TYPED_DATA };
size_t kdc_e_data(enum kdc_e_data form, uint32_t nt_status, unsigned char out[64]);

#endif
