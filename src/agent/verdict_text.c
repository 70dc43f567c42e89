#include "agent/verdict_text.h"

#include <stddef.h>

/* What the directory says; then, where that can be, what it says of the password when it was proved and when not. */
static const struct {
	const char *text, *proved, *unproved;
} codes[VERDICT_CODES] = {
	/* Its text depends on the reason. */
	[VERDICT_UNAVAILABLE] = {"", NULL, NULL},
	[VERDICT_SUCCESS] = {"The directory accepted the password.", NULL, NULL},
	[VERDICT_INVALID_CREDENTIALS] = {"The password is wrong, or nobody in the directory has this name, or more than one has.", NULL, NULL},
	[VERDICT_PASSWORD_EXPIRED] = {"The password has expired and must be changed.", "The password that was given is the right one.",
		"Whether the password that was given is the right one is not proved."},
	[VERDICT_PASSWORD_MUST_CHANGE] = {"The password must be changed at the next logon.", "The password that was given is the right one.",
		"Whether the password that was given is the right one is not proved."},
	[VERDICT_ACCOUNT_DISABLED] = {"The account is disabled.", "The password is right.", "Whether the password is right was not told."},
	[VERDICT_ACCOUNT_EXPIRED] = {"The account has expired.", "The password is right.", "Whether the password is right was not told."},
	[VERDICT_ACCOUNT_LOCKED] = {"The account is locked out: too many wrong passwords, or locked by an administrator.", "The password is right.",
		"The password was not looked at."},
	[VERDICT_LOGON_HOURS] = {"The account may not log on at this time: see its logon hours.", "The password is right.",
		"Whether the password is right was not told."},
	[VERDICT_LOGON_RESTRICTED] = {"The account may not log on here: see the computers and logon types that it is restricted to.", "The password is right.",
		"Whether the password is right was not told."},
	[VERDICT_ACCOUNT_RESTRICTED] = {"A restriction of the account forbids this logon: it is disabled, locked, of Protected Users, or needs a smart card.",
		"The password is right.", "Whether the password is right was not told."},
	[VERDICT_THROTTLED] = {"There were too many wrong passwords for this name; the service asks the directory again after a pause.", NULL, NULL},
	[VERDICT_INVALID_REQUEST] = {"Name or password cannot be anybody's: one is empty, too long, or has characters that are not allowed.", NULL, NULL},
};

static const char *const reasons[REASON_CODES] = {
	[REASON_AGENT_ERROR] = "The agent or the directory is not set up right, or answered what nobody knows: see the answer above, and 'pta-agent check'.",
	[REASON_NO_AGENT] = "No agent serves the domain now.",
	[REASON_AGENT_LOST] = "The agent that had the request was lost.",
	[REASON_DIRECTORY_UNREACHABLE] = "No domain controller that can serve was reached: see 'pta-agent check'.",
	[REASON_TIMEOUT] = "The directory did not answer in time.",
	[REASON_DECRYPT_FAILED] = "The request could not be opened with the agent's key.",
	[REASON_CLOCK_SKEW] = "The clocks of this host and of the domain controller differ too much for Kerberos: set them by NTP.",
	[REASON_OVERLOADED] = "Too many sign-ins are under way.",
	[REASON_NOT_CONFIGURED] = "The configuration does not serve this user's domain.",
};

void verdict_text(const struct verdict *v, struct buf *out)
{
	enum verdict_code code = (unsigned)v->code < VERDICT_CODES ? v->code : VERDICT_UNAVAILABLE;
	const char *more;

	if (code == VERDICT_UNAVAILABLE) {
		buf_puts(out, reasons[(unsigned)v->reason < REASON_CODES ? v->reason : REASON_AGENT_ERROR]);
		more = v->password_sent ? "Whether the password is right is not known; it may have reached a controller."
					: "The password was sent to no controller.";
	} else {
		buf_puts(out, codes[code].text);
		more = v->password_proved ? codes[code].proved : codes[code].unproved;
	}
	if (more)
		buf_printf(out, " %s", more);
}
