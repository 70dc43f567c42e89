#include "wire/verdict.h"

#include <stddef.h>
#include <string.h>

/* Everything that is told of a code in one row. A row's meaning must not depend on its order but by the enum. */
static const struct {
	const char *name;
	unsigned entra;
	bool may_be_told_unproved; /* not a state of the account: it can be shown without proof of the password */
	bool leads_to_session;
} codes[VERDICT_CODES] = {
	[VERDICT_UNAVAILABLE] = {"unavailable", 0, true, false}, /* Entra's code depends on the reason */
	[VERDICT_SUCCESS] = {"success", 0, false, true},
	[VERDICT_INVALID_CREDENTIALS] = {"invalid_credentials", 50126, true, false},
	[VERDICT_PASSWORD_EXPIRED] = {"password_expired", 50055, false, true},
	[VERDICT_PASSWORD_MUST_CHANGE] = {"password_must_change", 50055, false, true},
	[VERDICT_ACCOUNT_DISABLED] = {"account_disabled", 50057, false, false},
	[VERDICT_ACCOUNT_EXPIRED] = {"account_expired", 0, false, false},
	[VERDICT_ACCOUNT_LOCKED] = {"account_locked", 50053, false, false},
	[VERDICT_LOGON_HOURS] = {"logon_hours", 80012, false, false},
	[VERDICT_LOGON_RESTRICTED] = {"logon_restricted", 0, false, false},
	[VERDICT_ACCOUNT_RESTRICTED] = {"account_restricted", 0, false, false},
	[VERDICT_THROTTLED] = {"throttled", 50053, true, false},
	[VERDICT_INVALID_REQUEST] = {"invalid_request", 50056, true, false},
};

static const struct {
	const char *name;
	unsigned entra;
} reasons[REASON_CODES] = {
	[REASON_AGENT_ERROR] = {"agent_error", 80005},
	[REASON_NO_AGENT] = {"no_agent", 80001},
	[REASON_AGENT_LOST] = {"agent_lost", 80005},
	[REASON_DIRECTORY_UNREACHABLE] = {"directory_unreachable", 80001},
	[REASON_TIMEOUT] = {"timeout", 80002},
	[REASON_DECRYPT_FAILED] = {"decrypt_failed", 80010},
	[REASON_CLOCK_SKEW] = {"clock_skew", 80013},
	[REASON_OVERLOADED] = {"overloaded", 0},
	[REASON_NOT_CONFIGURED] = {"not_configured", 0},
};

/* What is out of range (a bug, or a peer's number) is unavailable/agent_error. */
static enum verdict_code code_checked(enum verdict_code code)
{
	return (unsigned)code < VERDICT_CODES ? code : VERDICT_UNAVAILABLE;
}

static enum verdict_reason reason_checked(enum verdict_reason reason)
{
	return (unsigned)reason < REASON_CODES ? reason : REASON_AGENT_ERROR;
}

const char *verdict_name(enum verdict_code code)
{
	return codes[code_checked(code)].name;
}

const char *verdict_reason_name(enum verdict_reason reason)
{
	return reasons[reason_checked(reason)].name;
}

const char *verdict_reason_text(const struct verdict *v)
{
	return code_checked(v->code) == VERDICT_UNAVAILABLE ? verdict_reason_name(v->reason) : "";
}

int verdict_parse(const char *name, enum verdict_code *out)
{
	for (size_t i = 0; i < PTA_ARRAY_SIZE(codes); i++) {
		if (strcmp(codes[i].name, name) == 0) {
			*out = (enum verdict_code)i;
			return 0;
		}
	}
	return -PTA_EINVAL;
}

struct verdict verdict_make(enum verdict_code code)
{
	return (struct verdict){.code = code, .password_proved = code == VERDICT_SUCCESS};
}

struct verdict verdict_unavailable(enum verdict_reason reason, bool password_sent)
{
	return (struct verdict){.code = VERDICT_UNAVAILABLE, .reason = reason, .password_sent = password_sent};
}

enum verdict_code verdict_shown(const struct verdict *v)
{
	enum verdict_code code = code_checked(v->code);

	return v->password_proved || codes[code].may_be_told_unproved ? code : VERDICT_INVALID_CREDENTIALS;
}

bool verdict_may_lead_to_session(const struct verdict *v)
{
	return v->password_proved && codes[code_checked(v->code)].leads_to_session;
}

int verdict_http_status(const struct verdict *v)
{
	switch (code_checked(v->code)) {
	case VERDICT_UNAVAILABLE:
		return v->password_sent ? 504 : 503;
	case VERDICT_INVALID_REQUEST:
		return 400;
	default:
		return 200;
	}
}

unsigned verdict_entra_code(const struct verdict *v)
{
	enum verdict_code code = code_checked(v->code);

	return code == VERDICT_UNAVAILABLE ? reasons[reason_checked(v->reason)].entra : codes[code].entra;
}
