#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "wire/verdict.h"

static void zeroed_memory_is_unavailable_agent_error(void **state)
{
	struct verdict v;

	(void)state;
	memset(&v, 0, sizeof(v));
	assert_string_equal(verdict_name(v.code), "unavailable");
	assert_string_equal(verdict_reason_text(&v), "agent_error");
	assert_int_equal(verdict_http_status(&v), 503);
	assert_false(verdict_may_lead_to_session(&v));
	assert_int_equal(verdict_shown(&v), VERDICT_UNAVAILABLE);
}

/* The table of the architecture: name, Entra's code, status, what a client is shown when the password was not proved. */
static const struct {
	enum verdict_code code;
	const char *name;
	unsigned entra;
	int status;
	enum verdict_code shown_unproved;
	bool session;
} rows[] = {
	{VERDICT_SUCCESS, "success", 0, 200, VERDICT_INVALID_CREDENTIALS, true},
	{VERDICT_INVALID_CREDENTIALS, "invalid_credentials", 50126, 200, VERDICT_INVALID_CREDENTIALS, false},
	{VERDICT_PASSWORD_EXPIRED, "password_expired", 50055, 200, VERDICT_INVALID_CREDENTIALS, true},
	{VERDICT_PASSWORD_MUST_CHANGE, "password_must_change", 50055, 200, VERDICT_INVALID_CREDENTIALS, true},
	{VERDICT_ACCOUNT_DISABLED, "account_disabled", 50057, 200, VERDICT_INVALID_CREDENTIALS, false},
	{VERDICT_ACCOUNT_EXPIRED, "account_expired", 0, 200, VERDICT_INVALID_CREDENTIALS, false},
	{VERDICT_ACCOUNT_LOCKED, "account_locked", 50053, 200, VERDICT_INVALID_CREDENTIALS, false},
	{VERDICT_LOGON_HOURS, "logon_hours", 80012, 200, VERDICT_INVALID_CREDENTIALS, false},
	{VERDICT_LOGON_RESTRICTED, "logon_restricted", 0, 200, VERDICT_INVALID_CREDENTIALS, false},
	{VERDICT_ACCOUNT_RESTRICTED, "account_restricted", 0, 200, VERDICT_INVALID_CREDENTIALS, false},
	{VERDICT_THROTTLED, "throttled", 50053, 200, VERDICT_THROTTLED, false},
	{VERDICT_UNAVAILABLE, "unavailable", 80005, 503, VERDICT_UNAVAILABLE, false},
	{VERDICT_INVALID_REQUEST, "invalid_request", 50056, 400, VERDICT_INVALID_REQUEST, false},
};

static void every_verdict_has_its_row(void **state)
{
	(void)state;
	assert_int_equal(PTA_ARRAY_SIZE(rows), VERDICT_CODES);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct verdict v = verdict_make(rows[i].code);
		enum verdict_code parsed = VERDICT_CODES;

		assert_string_equal(verdict_name(v.code), rows[i].name);
		assert_int_equal(verdict_parse(rows[i].name, &parsed), 0);
		assert_int_equal(parsed, rows[i].code);
		assert_int_equal(verdict_entra_code(&v), rows[i].entra);
		assert_int_equal(verdict_http_status(&v), rows[i].status);
		assert_int_equal(v.password_proved, rows[i].code == VERDICT_SUCCESS);
		v.password_proved = true;
		assert_int_equal(verdict_shown(&v), rows[i].code);
		assert_int_equal(verdict_may_lead_to_session(&v), rows[i].session);
		v.password_proved = false;
		assert_int_equal(verdict_shown(&v), rows[i].shown_unproved);
		assert_false(verdict_may_lead_to_session(&v));
		if (rows[i].code != VERDICT_UNAVAILABLE)
			assert_string_equal(verdict_reason_text(&v), "");
	}
}

static void every_reason_has_its_code(void **state)
{
	static const struct {
		enum verdict_reason reason;
		const char *name;
		unsigned entra;
	} table[] = {
		{REASON_NO_AGENT, "no_agent", 80001},
		{REASON_AGENT_LOST, "agent_lost", 80005},
		{REASON_DIRECTORY_UNREACHABLE, "directory_unreachable", 80001},
		{REASON_TIMEOUT, "timeout", 80002},
		{REASON_AGENT_ERROR, "agent_error", 80005},
		{REASON_DECRYPT_FAILED, "decrypt_failed", 80010},
		{REASON_CLOCK_SKEW, "clock_skew", 80013},
		{REASON_OVERLOADED, "overloaded", 0},
		{REASON_NOT_CONFIGURED, "not_configured", 0},
	};

	(void)state;
	assert_int_equal(PTA_ARRAY_SIZE(table), REASON_CODES);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(table); i++) {
		struct verdict v = verdict_unavailable(table[i].reason, false);

		assert_string_equal(verdict_reason_text(&v), table[i].name);
		assert_int_equal(verdict_entra_code(&v), table[i].entra);
		assert_int_equal(verdict_http_status(&v), 503);
		v.password_sent = true;
		assert_int_equal(verdict_http_status(&v), 504);
	}
}

static void out_of_range_is_unavailable(void **state)
{
	struct verdict v = {.code = (enum verdict_code)77, .reason = (enum verdict_reason)99, .password_proved = true};
	enum verdict_code code;

	(void)state;
	assert_string_equal(verdict_name(v.code), "unavailable");
	assert_string_equal(verdict_name((enum verdict_code) - 1), "unavailable");
	assert_string_equal(verdict_reason_text(&v), "agent_error");
	assert_string_equal(verdict_reason_name((enum verdict_reason) - 1), "agent_error");
	assert_int_equal(verdict_shown(&v), VERDICT_UNAVAILABLE);
	assert_int_equal(verdict_http_status(&v), 503);
	assert_int_equal(verdict_entra_code(&v), 80005);
	assert_false(verdict_may_lead_to_session(&v));
	assert_int_equal(verdict_parse("SUCCESS", &code), -PTA_EINVAL);
	assert_int_equal(verdict_parse("", &code), -PTA_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zeroed_memory_is_unavailable_agent_error),
		cmocka_unit_test(every_verdict_has_its_row),
		cmocka_unit_test(every_reason_has_its_code),
		cmocka_unit_test(out_of_range_is_unavailable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
