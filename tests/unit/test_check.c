#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "agent/check_impl.h"
#include "base/cli.h"

static void assert_json(const struct findings *findings, const char *want)
{
	struct buf out PTA_CLEANUP(buf_done) = BUF_INIT(65536);

	findings_json(findings, &out);
	assert_true(buf_ok(&out));
	assert_string_equal((const char *)out.data, want);
}

static void nothing_found_is_well(void **state)
{
	struct findings findings = {.shown = NULL};

	(void)state;
	assert_int_equal(findings_exit(&findings), CLI_OK);
	assert_json(&findings, "{\"ok\":true,\"severity\":\"ok\",\"checks\":[]}");
}

static void the_worst_decides(void **state)
{
	struct findings findings = {.shown = NULL};

	(void)state;
	findings_good(&findings, "a", "all %s", "well");
	assert_int_equal(findings_exit(&findings), CLI_OK);
	findings_warn(&findings, "b", "renew it", "ends in %d days", 3);
	assert_int_equal(findings_exit(&findings), CHECK_WARNINGS);
	assert_json(&findings,
		"{\"ok\":true,\"severity\":\"warning\",\"checks\":[{\"check\":\"a\",\"ok\":true,\"severity\":\"ok\",\"text\":\"all well\",\"mend\":\"\"},"
		"{\"check\":\"b\",\"ok\":true,\"severity\":\"warning\",\"text\":\"ends in 3 days\",\"mend\":\"renew it\"}]}");
	findings_bad(&findings, "c", "start it", "down");
	findings_warn(&findings, "d", "", "a warning behind it");
	findings_good(&findings, "e", "well again");
	assert_int_equal(findings_exit(&findings), CLI_FAILED);
	assert_int_equal(findings.n, 5);
	findings_done(&findings);
	assert_int_equal(findings.n, 0);
}

static void what_a_terminal_would_obey_is_shown_as_a_question_mark(void **state)
{
	struct findings findings = {.shown = NULL};

	(void)state;
	findings_bad(&findings, "\033[2Jhost", "do\nit", "a\r\nb \xff \xc3\xb6");
	assert_string_equal(findings.items[0].what, "?[2Jhost");
	assert_string_equal(findings.items[0].mend, "do?it");
	assert_string_equal(findings.items[0].text, "a??b ? \xc3\xb6");
	findings_done(&findings);
}

static void a_character_that_was_cut_in_two_is_marked(void **state)
{
	struct findings findings = {.shown = NULL};
	char text[4096];

	(void)state;
	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xb6", 3);
	findings_good(&findings, "x", "%s", text);
	assert_int_equal(strlen(findings.items[0].text), sizeof(findings.items[0].text) - 1);
	assert_int_equal(findings.items[0].text[sizeof(findings.items[0].text) - 2], '?');
	findings_done(&findings);
}

static unsigned shown;

static void count(const struct finding *finding)
{
	(void)finding;
	shown++;
}

static void each_is_shown_at_once(void **state)
{
	struct findings findings = {.shown = count};

	(void)state;
	for (unsigned i = 1; i <= 100; i++) {
		findings_good(&findings, "x", "%u", i);
		assert_int_equal(shown, i);
	}
	assert_string_equal(findings.items[99].text, "100");
	findings_done(&findings);
}

/* The clock of a controller, as seconds ahead of ours. */
static void assert_clock(int method, char *identity, int64_t ahead_s, enum severity want)
{
	struct findings findings = {.shown = NULL};
	const struct directory_conf conf = {.name = (char[]){"corp.example.com"}, .method = method, .identity = identity};
	struct directory_check d = {.conf = &conf, .findings = &findings};
	const struct directory_server server = {.host = "dc1.corp.example.com", .port = 636};
	const struct dc_check dc = {.d = &d, .server = &server};

	check_clock_of(&dc, 636, "the controller", ahead_s);
	assert_int_equal(findings.n, 1);
	assert_string_equal(findings.items[0].what, "dc1.corp.example.com:636 clock");
	if (findings.items[0].severity != want)
		fail_msg("%lld s: %d: %s", (long long)ahead_s, (int)findings.items[0].severity, findings.items[0].text);
	findings_done(&findings);
}

static void clocks_may_differ_by_so_much(void **state)
{
	static const struct {
		int64_t ahead_s;
		enum severity simple, kerberos;
	} cases[] = {
		{0, SEVERITY_OK, SEVERITY_OK},
		{-1, SEVERITY_OK, SEVERITY_OK},
		{30, SEVERITY_OK, SEVERITY_OK},
		{31, SEVERITY_WARNING, SEVERITY_WARNING},
		{-31, SEVERITY_WARNING, SEVERITY_WARNING},
		{240, SEVERITY_WARNING, SEVERITY_WARNING},
		{241, SEVERITY_WARNING, SEVERITY_ERROR},
		{-241, SEVERITY_WARNING, SEVERITY_ERROR},
		{86400, SEVERITY_WARNING, SEVERITY_ERROR},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		assert_clock(DIRECTORY_SIMPLE, NULL, cases[i].ahead_s, cases[i].simple);
		assert_clock(DIRECTORY_GSSAPI, NULL, cases[i].ahead_s, cases[i].kerberos);
		assert_clock(DIRECTORY_KERBEROS, NULL, cases[i].ahead_s, cases[i].kerberos);
		/* An identity without a password is in the keytab. */
		assert_clock(DIRECTORY_SIMPLE, (char[]){"AGENT1$"}, cases[i].ahead_s, cases[i].kerberos);
	}
}

static void addresses_of_ipv6_are_in_brackets(void **state)
{
	const struct directory_server v6 = {.host = "2001:db8::1", .literal_v6 = true}, name = {.host = "dc1"};
	char what[FINDING_WHAT];

	(void)state;
	assert_string_equal(check_label(&v6, 636, "TLS", what), "[2001:db8::1]:636 TLS");
	assert_string_equal(check_label(&name, 88, "KDC", what), "dc1:88 KDC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_found_is_well),
		cmocka_unit_test(the_worst_decides),
		cmocka_unit_test(what_a_terminal_would_obey_is_shown_as_a_question_mark),
		cmocka_unit_test(a_character_that_was_cut_in_two_is_marked),
		cmocka_unit_test(each_is_shown_at_once),
		cmocka_unit_test(clocks_may_differ_by_so_much),
		cmocka_unit_test(addresses_of_ipv6_are_in_brackets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
