/* What the transport must know of raw Kerberos messages (RFC 4120, DER), before libkrb5 sees an answer and behind its back
 * when it has made a request. Bounded; takes any bytes. Pure; thread-safe. */
#ifndef PTA_DIRECTORY_KRB5_MESSAGE_H
#define PTA_DIRECTORY_KRB5_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* No answer of a KDC is longer, not even with the largest PAC. */
#define KRB5_MESSAGE_MAX 65536

/* The application tags of RFC 4120 5.10. */
enum krb5_message_kind {
	KRB5_MESSAGE_OTHER = 0, /* another, or its length is not that of the bytes */
	KRB5_MESSAGE_AS_REQ = 10,
	KRB5_MESSAGE_AS_REP = 11,
	KRB5_MESSAGE_TGS_REQ = 12,
	KRB5_MESSAGE_TGS_REP = 13,
	KRB5_MESSAGE_ERROR = 30,
};

enum krb5_message_kind krb5_message_kind(const void *data, size_t len);

/* What preauthentication an AS-REQ carries (RFC 4120 5.4.1). */
enum krb5_message_proof {
	KRB5_PROOF_NONE,      /* nothing that came from a password: empty, or only of the harmless types */
	KRB5_PROOF_TIMESTAMP, /* PA-ENC-TIMESTAMP, beside harmless types only */
	KRB5_PROOF_OTHER,     /* any other type, *type, known or not */
};

/* -PTA_EPROTO: not an AS-REQ that can be read whole. */
PTA_MUST_CHECK int krb5_message_proof(const void *data, size_t len, enum krb5_message_proof *out, int32_t *type);

/* The NTSTATUS in the e-data of a KRB-ERROR (MS-KILE 2.2.1 KERB-EXT-ERROR), in a KERB-ERROR-DATA (2.2.2), a METHOD-DATA or a
 * TYPED-DATA (RFC 4120 5.9.1), whichever the KDC makes. 0: there is none. */
uint32_t krb5_message_nt_status(const void *e_data, size_t len);

/* The string-to-key iterations that a METHOD-DATA (e-data) asks for in PA-ETYPE-INFO2 (RFC 4120 5.2.7.5, RFC 3962 4), the
 * least and the most of them; both 0: it names none. -PTA_EPROTO: an ETYPE-INFO2 that cannot be read. */
PTA_MUST_CHECK int krb5_message_iterations(const void *e_data, size_t len, uint32_t *least, uint32_t *most);
/* The same of an AS-REP. */
PTA_MUST_CHECK int krb5_message_reply_iterations(const void *data, size_t len, uint32_t *least, uint32_t *most);

#endif
