/* One call of krb5_exchange: what libkrb5 made goes out by our rules, and what comes back is looked at before libkrb5 sees it.
 * Nobody else includes it. */
#ifndef PTA_DIRECTORY_KRB5_DIALOGUE_H
#define PTA_DIRECTORY_KRB5_DIALOGUE_H

#include "base/buf.h"
#include "directory/krb5_exchange.h"
#include "directory/krb5_message.h"

/* The errors of RFC 4120 7.5.9 that are treated, not only reported. */
#define KDC_ERR_PREAUTH_REQUIRED 25
#define KDC_ERR_SVC_UNAVAILABLE 29
#define KRB_AP_ERR_SKEW 37
#define KDC_ERR_WRONG_REALM 68

struct krb5_dialogue {
	struct krb5_exchange *x;
	const krb5_data *realm; /* the only one whose messages this KDC gets */
	bool proved;		/* the last request carried the proof */
	bool answered;		/* the last reply was no KRB-ERROR */
	struct buf reply;
};

/* Forgets the last KRB-ERROR. */
void krb5_dialogue_clear(struct krb5_exchange *x);
/* Sends the message, an AS-REQ or TGS-REQ as kind says, and lays the answer into d->reply. Refuses, before anything is sent, another
 * realm than d->realm, a second proof, and proofs other than the encrypted timestamp; behind the answer, a demand for a proof that
 * must not be met (clock, iterations). A KRB-ERROR is noted in d->x and returns 0: libkrb5 decides what it means. Errors as
 * krb5_exchange_initial(). */
PTA_MUST_CHECK int krb5_dialogue_ask(struct krb5_dialogue *d, const krb5_data *message, const krb5_data *realm, enum krb5_message_kind kind, struct err *err);
/* libkrb5 gave up with this code: which of the errors of krb5_exchange_initial() that is. */
int krb5_dialogue_give_up(struct krb5_dialogue *d, krb5_error_code code, const char *what, struct err *err);

/* "KDC host port 88: the text"; each returns r, or -PTA_EPERM for the KRB-ERROR that x holds. */
PTA_PRINTF(4, 5) int krb5_dialogue_err(const struct krb5_exchange *x, struct err *err, int r, const char *fmt, ...);
int krb5_dialogue_library_err(const struct krb5_exchange *x, struct err *err, int r, krb5_error_code code, const char *what);
int krb5_dialogue_answer_err(const struct krb5_exchange *x, struct err *err);

#endif
