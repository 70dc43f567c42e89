#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "directory/ad_status.h"

struct row {
	int error;
	uint32_t status;
	enum verdict_code code;
	enum verdict_reason reason;
	enum ad_status_health health;
	const char *detail;
};

#define VERDICT(code) code, 0, AD_STATUS_WELL
#define UNAVAILABLE(reason, health) VERDICT_UNAVAILABLE, reason, health

static const struct row rows[] = {
	{6, 0, VERDICT(VERDICT_INVALID_CREDENTIALS), "KDC error 6"},
	{24, 0, VERDICT(VERDICT_INVALID_CREDENTIALS), "KDC error 24"},
	{24, 0xc000006a, VERDICT(VERDICT_INVALID_CREDENTIALS), "KDC error 24 (C000006A)"},
	{23, 0, VERDICT(VERDICT_PASSWORD_EXPIRED), "KDC error 23"},
	{23, 0xc0000071, VERDICT(VERDICT_PASSWORD_EXPIRED), "KDC error 23 (C0000071)"},
	{23, 0xc0000224, VERDICT(VERDICT_PASSWORD_MUST_CHANGE), "KDC error 23 (C0000224)"},
	{18, 0, VERDICT(VERDICT_ACCOUNT_RESTRICTED), "KDC error 18"},
	{18, 0xc0000072, VERDICT(VERDICT_ACCOUNT_DISABLED), "KDC error 18 (C0000072)"},
	{18, 0xc0000193, VERDICT(VERDICT_ACCOUNT_EXPIRED), "KDC error 18 (C0000193)"},
	{18, 0xc0000234, VERDICT(VERDICT_ACCOUNT_LOCKED), "KDC error 18 (C0000234)"},
	{18, 0xc000006f, VERDICT(VERDICT_LOGON_HOURS), "KDC error 18 (C000006F)"},
	{18, 0xc0000070, VERDICT(VERDICT_LOGON_RESTRICTED), "KDC error 18 (C0000070)"},
	{18, 0xc0000071, VERDICT(VERDICT_PASSWORD_EXPIRED), "KDC error 18 (C0000071)"},
	{18, 0xc0000224, VERDICT(VERDICT_PASSWORD_MUST_CHANGE), "KDC error 18 (C0000224)"},
	{18, 0xc0000413, VERDICT(VERDICT_LOGON_RESTRICTED), "KDC error 18 (C0000413)"},
	{18, 0xc000006e, VERDICT(VERDICT_ACCOUNT_RESTRICTED), "KDC error 18 (C000006E)"},
	{18, 0xc000015b, VERDICT(VERDICT_LOGON_RESTRICTED), "KDC error 18 (C000015B)"},
	{18, 0xc0000064, VERDICT(VERDICT_INVALID_CREDENTIALS), "KDC error 18 (C0000064)"},
	{18, 0xc000006d, VERDICT(VERDICT_INVALID_CREDENTIALS), "KDC error 18 (C000006D)"},
	/* a status that nobody knows says no more than its error */
	{18, 0xc0009999, VERDICT(VERDICT_ACCOUNT_RESTRICTED), "KDC error 18 (C0009999)"},
	{12, 0, VERDICT(VERDICT_ACCOUNT_RESTRICTED), "KDC error 12"},
	{12, 0xc0000070, VERDICT(VERDICT_LOGON_RESTRICTED), "KDC error 12 (C0000070)"},
	{12, 0xc000006f, VERDICT(VERDICT_LOGON_HOURS), "KDC error 12 (C000006F)"},
	{12, 0xc0000413, VERDICT(VERDICT_LOGON_RESTRICTED), "KDC error 12 (C0000413)"},
	{1, 0, VERDICT(VERDICT_ACCOUNT_EXPIRED), "KDC error 1"},
	/* everything else is an outage, never a denial, whatever its status */
	{37, 0, UNAVAILABLE(REASON_CLOCK_SKEW, AD_STATUS_FAULT), "KDC error 37"},
	{14, 0, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error 14"},
	{29, 0, UNAVAILABLE(REASON_DIRECTORY_UNREACHABLE, AD_STATUS_BUSY), "KDC error 29"},
	{0, 0, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error 0"},
	{7, 0, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error 7"},
	{25, 0, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error 25"},
	{31, 0, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error 31"},
	{52, 0, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error 52"},
	{60, 0xc0000234, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error 60 (C0000234)"},
	{68, 0, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error 68"},
	{-1, 0, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error -1"},
	{INT32_MAX, UINT32_MAX, UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT), "KDC error 2147483647 (FFFFFFFF)"},
};

static void every_row_of_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++)
		for (int sent = 0; sent < 2; sent++) {
			const struct row *row = &rows[i];
			/* An old verdict leaves no trace. */
			struct verdict verdict = {.code = VERDICT_SUCCESS, .password_proved = true, .dc = "dc1", .directory_us = 7, .detail = "old"};
			enum ad_status_health health = ad_status_kdc(row->error, row->status, sent, &verdict);

			if (verdict.code != row->code || verdict.reason != row->reason || health != row->health || strcmp(verdict.detail, row->detail) != 0)
				fail_msg("row %zu (%d, %08x): code %d reason %d health %d detail %s", i, row->error, row->status, verdict.code, verdict.reason,
					health, verdict.detail);
			assert_false(verdict.password_proved);
			assert_int_equal(verdict.password_sent, sent);
			assert_string_equal(verdict.dc, "dc1");
			assert_int_equal(verdict.directory_us, 7);
		}
}

static void no_error_is_success_or_leads_to_a_session(void **state)
{
	static const uint32_t statuses[] = {0, 0xc0000071, 0xc0000224, 0xc000006a, 0xc0000234};

	(void)state;
	for (int error = -300; error < 300; error++)
		for (size_t i = 0; i < PTA_ARRAY_SIZE(statuses); i++) {
			struct verdict verdict = {0};

			ad_status_kdc(error, statuses[i], true, &verdict);
			assert_int_not_equal(verdict.code, VERDICT_SUCCESS);
			assert_false(verdict_may_lead_to_session(&verdict));
			if (error != 1 && error != 6 && error != 12 && error != 18 && error != 23 && error != 24)
				assert_int_equal(verdict.code, VERDICT_UNAVAILABLE);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_of_the_table),
		cmocka_unit_test(no_error_is_success_or_leads_to_a_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
