#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "agent/verdict_text.h"

static const char not_proved[] = "not told";

static void assert_sentences(const struct verdict *v)
{
	struct buf text PTA_CLEANUP(buf_done) = BUF_INIT(1024);

	verdict_text(v, &text);
	assert_true(buf_ok(&text));
	assert_true(text.len > 20);
	assert_true(text.data[0] >= 'A' && text.data[0] <= 'Z');
	assert_int_equal(text.data[text.len - 1], '.');
	assert_null(strstr((const char *)text.data, "  "));
	assert_null(strstr((const char *)text.data, ". ."));
}

static bool says(const struct verdict *v, const char *words)
{
	struct buf text PTA_CLEANUP(buf_done) = BUF_INIT(1024);

	verdict_text(v, &text);
	return strstr((const char *)text.data, words) != NULL;
}

static void every_verdict_has_sentences(void **state)
{
	(void)state;
	for (int code = 0; code < VERDICT_CODES; code++)
		for (int proved = 0; proved < 2; proved++) {
			struct verdict v = {.code = (enum verdict_code)code, .password_proved = proved};

			assert_sentences(&v);
		}
}

static void every_reason_has_sentences(void **state)
{
	(void)state;
	for (int reason = 0; reason < REASON_CODES; reason++)
		for (int sent = 0; sent < 2; sent++) {
			struct verdict v = verdict_unavailable((enum verdict_reason)reason, sent);

			assert_sentences(&v);
			assert_true(says(&v, sent ? "may have reached" : "sent to no controller"));
		}
}

static void no_two_have_the_same(void **state)
{
	struct buf texts[VERDICT_CODES + REASON_CODES];
	size_t n = 0;

	(void)state;
	for (int code = VERDICT_UNAVAILABLE + 1; code < VERDICT_CODES; code++) {
		struct verdict v = {.code = (enum verdict_code)code};

		texts[n] = BUF_INIT(1024);
		verdict_text(&v, &texts[n++]);
	}
	for (int reason = 0; reason < REASON_CODES; reason++) {
		struct verdict v = verdict_unavailable((enum verdict_reason)reason, false);

		texts[n] = BUF_INIT(1024);
		verdict_text(&v, &texts[n++]);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal((const char *)texts[i].data, (const char *)texts[k].data);
	for (size_t i = 0; i < n; i++)
		buf_done(&texts[i]);
}

static void a_state_says_whether_the_password_was_proved(void **state)
{
	static const enum verdict_code states[] = {
		VERDICT_ACCOUNT_DISABLED, VERDICT_ACCOUNT_EXPIRED, VERDICT_LOGON_HOURS, VERDICT_LOGON_RESTRICTED, VERDICT_ACCOUNT_RESTRICTED};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(states); i++) {
		struct verdict v = {.code = states[i]};

		assert_true(says(&v, not_proved));
		v.password_proved = true;
		assert_true(says(&v, "The password is right."));
		assert_false(says(&v, not_proved));
	}
}

static void a_lock_out_says_that_the_password_was_not_looked_at(void **state)
{
	struct verdict v = {.code = VERDICT_ACCOUNT_LOCKED};

	(void)state;
	assert_true(says(&v, "locked out"));
	assert_true(says(&v, "The password was not looked at."));
}

static void what_nobody_knows_is_the_agents_error(void **state)
{
	struct verdict v = {.code = (enum verdict_code)99, .reason = (enum verdict_reason)99};

	(void)state;
	assert_sentences(&v);
	assert_true(says(&v, "not set up right"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verdict_has_sentences),
		cmocka_unit_test(every_reason_has_sentences),
		cmocka_unit_test(no_two_have_the_same),
		cmocka_unit_test(a_state_says_whether_the_password_was_proved),
		cmocka_unit_test(a_lock_out_says_that_the_password_was_not_looked_at),
		cmocka_unit_test(what_nobody_knows_is_the_agents_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
