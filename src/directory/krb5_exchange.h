/* Kerberos exchanges with one KDC over a TCP connection of our own (RFC 4120 7.2.2), within a deadline: MIT's libraries make
 * and read the messages, but never touch the network, so that they ask no second KDC and no password is tried twice. Blocks:
 * call from worker threads. An exchange belongs to one thread; a krb5_context is per thread. Wants krb5_profile_init(). */
#ifndef PTA_DIRECTORY_KRB5_EXCHANGE_H
#define PTA_DIRECTORY_KRB5_EXCHANGE_H

#include <krb5.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "directory/ad_status.h"
#include "directory/directory_conf.h"
#include "wire/verdict.h"

/* One password's exchange with one KDC. Read it, but let the functions below write it. */
struct krb5_exchange {
	krb5_context context;
	const struct directory_server *server;
	uint64_t deadline_us;	      /* of the whole */
	unsigned reply_timeout_ms;    /* for each answer, and for the connect */
	uint64_t connect_deadline_us; /* may be set after krb5_exchange_init(): all that comes before a proof ends by then; 0: no such limit */
	int fd;			      /* -1: not connected */
	bool proved_asked;	      /* an AS-REQ with password-derived preauthentication was sent: never another */
	bool sent;		      /* that one may have reached the KDC */
	bool no_preauth;	      /* the KDC answered with a ticket without asking for preauthentication: no password left this host */
	unsigned asked;		      /* messages sent so far */
	uint64_t connect_us;	      /* what connecting took */
	/* The KRB-ERROR that ended the last exchange: */
	bool has_error;
	int kdc_error;		 /* RFC 4120 7.5.9; 37 as well where its time, or that in its reply, is too far from ours */
	uint32_t nt_status;	 /* of its e-data (MS-KILE 2.2.1); 0: none */
	bool error_before_proof; /* it answered a request without preauthentication */
	/* Of any KRB-ERROR so far: */
	bool clock_told;
	int64_t ahead_s; /* the KDC's clock, of this host's */
};

/* server and context must outlive the exchange. */
void krb5_exchange_init(struct krb5_exchange *x, krb5_context context, const struct directory_server *server, uint64_t deadline_us, unsigned reply_timeout_ms);
void krb5_exchange_done(struct krb5_exchange *x); /* closes the connection */

/* The TGT (or a ticket for `service` in the initial exchange, such as kadmin/changepw; NULL: the TGT) of the client with this
 * password. An enterprise principal (KRB5_PRINCIPAL_PARSE_ENTERPRISE) may be canonicalized; creds->client tells to what, and
 * the caller judges its realm. The ticket is short-lived and of no use elsewhere (not forwardable). It proves nothing before
 * it was verified. May be called again on the same exchange as long as !x->proved_asked, such as for kadmin/changepw behind a
 * KEY_EXPIRED that came before the proof.
 * 0: *creds is filled (krb5_free_cred_contents()). Errors:
 * -PTA_EPERM: a KRB-ERROR, see x and krb5_exchange_verdict(). -PTA_ECRYPTO: the reply does not open with this password; with
 * x->no_preauth that is a wrong password. -PTA_EREPLAY: the proof was sent before, and was not sent again. -PTA_ENOENT: a
 * referral to another realm, which this KDC cannot serve. -PTA_EINVAL: an empty password or one with a NUL. -PTA_ENET,
 * -PTA_ETIMEDOUT, -PTA_EPROTO, -PTA_ENOMEM else. x->sent tells whether the proof may be at the KDC. */
PTA_MUST_CHECK int krb5_exchange_initial(
	struct krb5_exchange *x, krb5_principal client, struct secret *password, const char *service, krb5_creds *creds, struct err *err);
/* The TGT of the agent's own account, with the client's key in the keytab. Errors as above; -PTA_ECRYPTO also where the keytab has no key of that
 * client. */
PTA_MUST_CHECK int krb5_exchange_initial_keytab(struct krb5_exchange *x, krb5_principal client, krb5_keytab keytab, krb5_creds *creds, struct err *err);
/* A ticket for the service with the TGT in ccache; it is stored there too. Errors as above; -PTA_ECRYPTO: the reply does not
 * open with the TGT's key. */
PTA_MUST_CHECK int krb5_exchange_ticket(
	struct krb5_exchange *x, krb5_ccache ccache, krb5_principal client, krb5_principal service, krb5_creds *creds, struct err *err);
/* Asks for a TGT of krbtgt itself without preauthentication: any answer shows a KDC that lives. For probes. -PTA_EPERM: it
 * lives, but does not serve this realm, or nobody now. */
PTA_MUST_CHECK int krb5_exchange_probe(struct krb5_exchange *x, const char *realm, struct err *err);

/* What the failure r of krb5_exchange_initial() says of user and KDC: ad_status_kdc() for a KRB-ERROR, invalid_credentials for a reply without
 * preauthentication that does not open, unavailable for everything else. Sets all but dc and directory_us. */
enum ad_status_health krb5_exchange_verdict(const struct krb5_exchange *x, int r, struct verdict *out);

#endif
