/* The outcome of an authentication. Zeroed memory means unavailable/agent_error, never success. Pure; thread-safe. */
#ifndef PTA_WIRE_VERDICT_H
#define PTA_WIRE_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/limits.h"

/* The numbers are on the wire: never renumber. */
enum verdict_code {
	VERDICT_UNAVAILABLE = 0,
	VERDICT_SUCCESS = 1,
	VERDICT_INVALID_CREDENTIALS = 2,
	VERDICT_PASSWORD_EXPIRED = 3,
	VERDICT_PASSWORD_MUST_CHANGE = 4,
	VERDICT_ACCOUNT_DISABLED = 5,
	VERDICT_ACCOUNT_EXPIRED = 6,
	VERDICT_ACCOUNT_LOCKED = 7,
	VERDICT_LOGON_HOURS = 8,
	VERDICT_LOGON_RESTRICTED = 9,
	VERDICT_ACCOUNT_RESTRICTED = 10,
	VERDICT_THROTTLED = 11,
	VERDICT_INVALID_REQUEST = 12,
	VERDICT_CODES
};

/* Only with VERDICT_UNAVAILABLE; else it is 0 and has no meaning. */
enum verdict_reason {
	REASON_AGENT_ERROR = 0,
	REASON_NO_AGENT = 1,
	REASON_AGENT_LOST = 2,
	REASON_DIRECTORY_UNREACHABLE = 3,
	REASON_TIMEOUT = 4,
	REASON_DECRYPT_FAILED = 5,
	REASON_CLOCK_SKEW = 6,
	REASON_OVERLOADED = 7,
	REASON_NOT_CONFIGURED = 8,
	REASON_CODES
};

struct verdict {
	enum verdict_code code;
	enum verdict_reason reason;
	bool password_proved; /* the directory answered so only because the password was right */
	bool password_sent;   /* the password may have reached a DC: not safe to try again */
	uint32_t directory_us; /* from the send to the DC's answer; 0: none was asked */
	char dc[LIMIT_DOMAIN + 1];	/* which DC answered or was tried last; "" for none */
	char detail[LIMIT_DETAIL + 1]; /* the directory's raw answer in printable form, for log and audit; "" for none */
};

/* The stable names ("invalid_credentials", "agent_lost"); out of range gives "unavailable" / "agent_error". */
const char *verdict_name(enum verdict_code code);
const char *verdict_reason_name(enum verdict_reason reason);
/* "" for every verdict but unavailable. */
const char *verdict_reason_text(const struct verdict *v);
PTA_MUST_CHECK int verdict_parse(const char *name, enum verdict_code *out);

/* A verdict with nothing else set. Success says itself that the password was proved; any other code needs
 * password_proved set where the directory's answer shows it. */
struct verdict verdict_make(enum verdict_code code);
struct verdict verdict_unavailable(enum verdict_reason reason, bool password_sent);

/* A state that AD tells only with the right password may be shown to the client; what was not proved is shown as
 * invalid_credentials. unavailable, throttled and invalid_request are shown as they are. */
enum verdict_code verdict_shown(const struct verdict *v);
/* success, password_expired and password_must_change only, and only with the password proved. */
bool verdict_may_lead_to_session(const struct verdict *v);
/* 200 for definite verdicts (throttled is one), 400 invalid_request, 503 unavailable and nothing sent, 504 unavailable and perhaps sent. */
int verdict_http_status(const struct verdict *v);
/* Entra's code for it (50126, 80002, …), 0 when there is none. */
unsigned verdict_entra_code(const struct verdict *v);

#endif
