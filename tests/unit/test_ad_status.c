#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ldap.h>
#include <string.h>

#include "directory/ad_status.h"

struct row {
	int result;
	const char *diagnostic;
	enum verdict_code code;
	enum verdict_reason reason;
	bool proved;
	enum ad_status_health health;
};

#define AD(data) "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data " data ", v4563"
#define UNAVAILABLE(reason, health) VERDICT_UNAVAILABLE, reason, false, health
#define VERDICT(code, proved) code, 0, proved, AD_STATUS_WELL

static const struct row rows[] = {
	{LDAP_SUCCESS, "", VERDICT(VERDICT_SUCCESS, true)},
	{LDAP_SUCCESS, NULL, VERDICT(VERDICT_SUCCESS, true)},
	{LDAP_SUCCESS, "data 52e", VERDICT(VERDICT_SUCCESS, true)},
	/* AD's sub-codes, each of them */
	{49, AD("525"), VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	{49, AD("52e"), VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	{49, AD("52f"), VERDICT(VERDICT_ACCOUNT_RESTRICTED, false)},
	{49, AD("530"), VERDICT(VERDICT_LOGON_HOURS, true)},
	{49, AD("531"), VERDICT(VERDICT_LOGON_RESTRICTED, true)},
	{49, AD("532"), VERDICT(VERDICT_PASSWORD_EXPIRED, true)},
	{49, AD("533"), VERDICT(VERDICT_ACCOUNT_DISABLED, true)},
	{49, AD("569"), VERDICT(VERDICT_LOGON_RESTRICTED, true)},
	{49, AD("701"), VERDICT(VERDICT_ACCOUNT_EXPIRED, true)},
	{49, AD("773"), VERDICT(VERDICT_PASSWORD_MUST_CHANGE, true)},
	{49, AD("775"), VERDICT(VERDICT_ACCOUNT_LOCKED, false)},
	{49, AD("57"), UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{49, "80090346: LdapErr: DSID-0C0906B0, comment: AcceptSecurityContext error, data 80090346, v4563", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	/* sub-codes that nobody knows */
	{49, AD("999"), UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{49, AD("0"), UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{49, AD("52e52e52e"), UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{49, AD(""), UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{49, AD("-52e"), UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{49, "80090308: LdapErr: DSID-0C090439, comment: cut off", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	/* spelling */
	{49, AD("52E"), VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	{49, AD("0000052e"), VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	{49, "data 775", VERDICT(VERDICT_ACCOUNT_LOCKED, false)},
	{49, "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 532, v1db1", VERDICT(VERDICT_PASSWORD_EXPIRED, true)},
	/* directories other than AD */
	{49, "", VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	{49, NULL, VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	{49, "invalid credentials", VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	{49, "no data found for the user", VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	{49, "metadata 775", VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	{49, "data ", VERDICT(VERDICT_INVALID_CREDENTIALS, false)},
	/* everything else is an outage, never a denial */
	{LDAP_BUSY, "busy", UNAVAILABLE(REASON_DIRECTORY_UNREACHABLE, AD_STATUS_BUSY)},
	{LDAP_UNAVAILABLE, "", UNAVAILABLE(REASON_DIRECTORY_UNREACHABLE, AD_STATUS_BUSY)},
	{LDAP_TIMELIMIT_EXCEEDED, "", UNAVAILABLE(REASON_TIMEOUT, AD_STATUS_BUSY)},
	{LDAP_UNWILLING_TO_PERFORM, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_STRONG_AUTH_REQUIRED, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_CONFIDENTIALITY_REQUIRED, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_OPERATIONS_ERROR, AD("52e"), UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_REFERRAL, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_SASL_BIND_IN_PROGRESS, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_NO_SUCH_OBJECT, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_INVALID_DN_SYNTAX, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_INAPPROPRIATE_AUTH, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_INSUFFICIENT_ACCESS, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{LDAP_OTHER, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{-1, "", UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
	{123456, AD("773"), UNAVAILABLE(REASON_AGENT_ERROR, AD_STATUS_FAULT)},
};

static void every_row_of_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct verdict verdict = {.dc = "dc1", .directory_us = 7};
		enum ad_status_health health;

		health = ad_status_bind(row->result, row->diagnostic, row->diagnostic ? strlen(row->diagnostic) : 0, &verdict);
		if (verdict.code != row->code || verdict.reason != row->reason || verdict.password_proved != row->proved || health != row->health)
			fail_msg("row %zu (%d, %s): code %d reason %d proved %d health %d", i, row->result, row->diagnostic ? row->diagnostic : "NULL",
				verdict.code, verdict.reason, verdict.password_proved, health);
		assert_true(verdict.password_sent);
		assert_string_equal(verdict.dc, "dc1");
		assert_int_equal(verdict.directory_us, 7);
	}
}

static void nothing_but_result_0_is_success(void **state)
{
	(void)state;
	for (int result = -300; result < 5000; result++) {
		struct verdict verdict = {0};

		ad_status_bind(result, NULL, 0, &verdict);
		assert_int_equal(verdict.code == VERDICT_SUCCESS, result == 0);
		assert_int_equal(verdict.code == VERDICT_INVALID_CREDENTIALS, result == 49);
	}
}

static void an_old_verdict_leaves_no_trace(void **state)
{
	struct verdict verdict = {.code = VERDICT_SUCCESS, .password_proved = true, .detail = "old"};

	(void)state;
	ad_status_bind(LDAP_BUSY, NULL, 0, &verdict);
	assert_int_equal(verdict.code, VERDICT_UNAVAILABLE);
	assert_false(verdict.password_proved);
	assert_string_equal(verdict.detail, "51");
}

static void detail_is_printable_and_bounded(void **state)
{
	char text[1000];
	struct verdict verdict = {0};

	(void)state;
	ad_status_bind(49, "data 52e\n\0\0", 11, &verdict);
	assert_string_equal(verdict.detail, "49: data 52e");
	ad_status_bind(53, "a\0b\033[31m\x7f\xc3\xbc", 11, &verdict);
	assert_string_equal(verdict.detail, "53: a?b?[31m???");
	memset(text, 'x', sizeof(text));
	ad_status_bind(53, text, sizeof(text), &verdict);
	assert_int_equal(strlen(verdict.detail), LIMIT_DETAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_of_the_table),
		cmocka_unit_test(nothing_but_result_0_is_success),
		cmocka_unit_test(an_old_verdict_leaves_no_trace),
		cmocka_unit_test(detail_is_printable_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
