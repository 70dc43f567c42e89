#include "directory/ad_status.h"

#include <inttypes.h>
#include <stdio.h>

/* What AD and Samba put behind the errors of kdc_errors that ask for it (MS-KILE 2.2.1, MS-ERREF 2.3.1). */
static const struct {
	uint32_t status;
	enum verdict_code code;
} nt_statuses[] = {
	{0xc0000064, VERDICT_INVALID_CREDENTIALS},  /* STATUS_NO_SUCH_USER */
	{0xc000006a, VERDICT_INVALID_CREDENTIALS},  /* STATUS_WRONG_PASSWORD */
	{0xc000006d, VERDICT_INVALID_CREDENTIALS},  /* STATUS_LOGON_FAILURE */
	{0xc000006e, VERDICT_ACCOUNT_RESTRICTED},   /* STATUS_ACCOUNT_RESTRICTION */
	{0xc000006f, VERDICT_LOGON_HOURS},	    /* STATUS_INVALID_LOGON_HOURS */
	{0xc0000070, VERDICT_LOGON_RESTRICTED},	    /* STATUS_INVALID_WORKSTATION */
	{0xc0000071, VERDICT_PASSWORD_EXPIRED},	    /* STATUS_PASSWORD_EXPIRED */
	{0xc0000072, VERDICT_ACCOUNT_DISABLED},	    /* STATUS_ACCOUNT_DISABLED */
	{0xc000015b, VERDICT_LOGON_RESTRICTED},	    /* STATUS_LOGON_TYPE_NOT_GRANTED */
	{0xc0000193, VERDICT_ACCOUNT_EXPIRED},	    /* STATUS_ACCOUNT_EXPIRED */
	{0xc0000224, VERDICT_PASSWORD_MUST_CHANGE}, /* STATUS_PASSWORD_MUST_CHANGE */
	{0xc0000234, VERDICT_ACCOUNT_LOCKED},	    /* STATUS_ACCOUNT_LOCKED_OUT */
	{0xc0000413, VERDICT_LOGON_RESTRICTED},	    /* STATUS_AUTHENTICATION_FIREWALL_FAILED */
};

/* What is not listed is an outage that the administrator must see. `by_status`: an NTSTATUS says more. */
static const struct {
	int error;
	enum verdict_code code;
	enum verdict_reason reason;
	bool by_status;
	enum ad_status_health health;
} kdc_errors[] = {
	{1, VERDICT_ACCOUNT_EXPIRED, 0, true, AD_STATUS_WELL},				/* KDC_ERR_NAME_EXP: MIT's word for it */
	{6, VERDICT_INVALID_CREDENTIALS, 0, false, AD_STATUS_WELL},			/* KDC_ERR_C_PRINCIPAL_UNKNOWN */
	{12, VERDICT_ACCOUNT_RESTRICTED, 0, true, AD_STATUS_WELL},			/* KDC_ERR_POLICY */
	{14, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR, false, AD_STATUS_FAULT},		/* KDC_ERR_ETYPE_NOSUPP: both sides' configuration */
	{18, VERDICT_ACCOUNT_RESTRICTED, 0, true, AD_STATUS_WELL},			/* KDC_ERR_CLIENT_REVOKED */
	{23, VERDICT_PASSWORD_EXPIRED, 0, true, AD_STATUS_WELL},			/* KDC_ERR_KEY_EXPIRED */
	{24, VERDICT_INVALID_CREDENTIALS, 0, false, AD_STATUS_WELL},			/* KDC_ERR_PREAUTH_FAILED */
	{29, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE, false, AD_STATUS_BUSY}, /* KDC_ERR_SVC_UNAVAILABLE */
	{37, VERDICT_UNAVAILABLE, REASON_CLOCK_SKEW, false, AD_STATUS_FAULT},		/* KRB_AP_ERR_SKEW */
};

static enum verdict_code status_code(uint32_t nt_status, enum verdict_code otherwise)
{
	for (size_t i = 0; i < PTA_ARRAY_SIZE(nt_statuses); i++)
		if (nt_statuses[i].status == nt_status)
			return nt_statuses[i].code;
	return otherwise;
}

enum ad_status_health ad_status_kdc(int kdc_error, uint32_t nt_status, bool password_sent, struct verdict *out)
{
	out->code = VERDICT_UNAVAILABLE;
	out->reason = REASON_AGENT_ERROR;
	out->password_proved = false;
	out->password_sent = password_sent;
	if (nt_status)
		snprintf(out->detail, sizeof(out->detail), "KDC error %d (%08" PRIX32 ")", kdc_error, nt_status);
	else
		snprintf(out->detail, sizeof(out->detail), "KDC error %d", kdc_error);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(kdc_errors); i++) {
		if (kdc_errors[i].error != kdc_error)
			continue;
		out->code = kdc_errors[i].by_status ? status_code(nt_status, kdc_errors[i].code) : kdc_errors[i].code;
		out->reason = kdc_errors[i].reason;
		return kdc_errors[i].health;
	}
	return AD_STATUS_FAULT;
}
