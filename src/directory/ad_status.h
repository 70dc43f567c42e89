/* The one map from what a directory answered, to a simple bind or as a KDC, to a verdict. Pure; thread-safe. */
#ifndef PTA_DIRECTORY_AD_STATUS_H
#define PTA_DIRECTORY_AD_STATUS_H

#include <stddef.h>

#include "wire/verdict.h"

/* What the answer says about the server, beside the verdict about the user. */
enum ad_status_health {
	AD_STATUS_WELL,	 /* it does its work */
	AD_STATUS_BUSY,	 /* it says it cannot serve now: counts against this server */
	AD_STATUS_FAULT, /* configuration of it or of the agent, or an answer nobody knows: for the administrator */
};

/* result: the LDAP result code of the answer (RFC 4511 4.1.9); diagnostic: its text, any bytes, NULL with 0 is allowed.
 * Sets code, reason, password_proved, password_sent (always true: it was answered) and detail of *out; the other fields
 * stay as they are. */
enum ad_status_health ad_status_bind(int result, const char *diagnostic, size_t len, struct verdict *out);

/* kdc_error: the code of a KRB-ERROR (RFC 4120 7.5.9) that ended an AS exchange; nt_status: of its e-data (MS-KILE 2.2.1), 0: none;
 * password_sent: preauthentication made from the password was sent. Nothing is proved by any of them: nobody signs a KRB-ERROR,
 * and AD looks at the account before it looks at the password. Sets code, reason, password_proved (false), password_sent and
 * detail of *out; the other fields stay as they are. */
enum ad_status_health ad_status_kdc(int kdc_error, uint32_t nt_status, bool password_sent, struct verdict *out);

#endif
