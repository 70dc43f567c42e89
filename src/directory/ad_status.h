/* The one map from what a directory answered to a simple bind, to a verdict. Pure; thread-safe. */
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

#endif
