#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/log_conf.h"
#include "base/log_journal.h"

/* The ids are promised never to change. */
#define AUTH_VERDICT_ID "a68052bce2327683314f599f53f924c1"

static char last[16384];
static size_t last_len;

static void keep(void *arg, const char *line, size_t len)
{
	(void)arg;
	assert_true(len < sizeof(last));
	memcpy(last, line, len);
	last[len] = '\0';
	last_len = len;
}

static int start_capture(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	clock_fake(0, 1769903999123);
	log_init("pta-test", LOG_INFO);
	log_capture(keep, NULL);
	last[0] = '\0';
	return 0;
}

static int end_capture(void **state)
{
	const struct log_conf plain = {.level = 3};

	(void)state;
	log_open(&plain);
	log_capture(NULL, NULL);
	clock_fake(-1, -1);
	return 0;
}

static void a_line_has_time_level_event_and_fields(void **state)
{
	(void)state;
	log_event(LOG_WARNING, "dc.down", F_STR("host", "dc1.example.com"), F_INT("code", -7), F_UINT("binds", UINT64_MAX), F_MS("took", 1234567),
		F_STR("absent", NULL), F_STRN("part", "abcdef", 3));
	assert_string_equal(last, "time=2026-01-31T23:59:59.123Z level=warning program=pta-test event=dc.down host=dc1.example.com code=-7 "
				  "binds=18446744073709551615 took=1234.567 part=abc\n");
	log_event(LOG_INFO, "bare");
	assert_non_null(strstr(last, " event=bare\n"));
}

static void numbers_are_written_whole(void **state)
{
	(void)state;
	log_event(LOG_INFO, "numbers", F_INT("least", INT64_MIN), F_INT("minus", -1), F_INT("zero", 0), F_INT("most", INT64_MAX), F_UINT("none", 0));
	assert_non_null(strstr(last, "event=numbers least=-9223372036854775808 minus=-1 zero=0 most=9223372036854775807 none=0\n"));
	log_event(LOG_INFO, "times", F_MS("a", 0), F_MS("b", 9), F_MS("c", 90), F_MS("d", 999), F_MS("e", 1000), F_MS("f", 60000001), F_MS("g", UINT64_MAX));
	assert_non_null(strstr(last, "event=times a=0.000 b=0.009 c=0.090 d=0.999 e=1.000 f=60000.001 g=18446744073709551.615\n"));
}

static void a_command_that_has_not_set_a_name_has_its_own(void **state)
{
	(void)state;
	log_init(NULL, LOG_INFO);
	log_event(LOG_INFO, "bare");
	assert_non_null(strstr(last, "program=test_log event=bare\n"));
}

static void what_is_below_the_level_is_not_written(void **state)
{
	(void)state;
	log_event(LOG_DEBUG, "hidden");
	assert_string_equal(last, "");
	log_set_level(LOG_DEBUG);
	log_event(LOG_DEBUG, "shown");
	assert_non_null(strstr(last, "level=debug"));
	log_set_level(LOG_ERR);
	assert_false(log_enabled(LOG_WARNING));
}

static void values_are_escaped(void **state)
{
	static const struct {
		const char *value, *written;
	} cases[] = {
		{"plain", "v=plain\n"},
		{"", "v=\"\"\n"},
		{"two words", "v=\"two words\"\n"},
		{"a=b", "v=\"a=b\"\n"},
		{"say \"hi\"", "v=\"say \\\"hi\\\"\"\n"},
		{"CORP\\anna", "v=\"CORP\\\\anna\"\n"},
		{"a\nlevel=error", "v=\"a\\nlevel=error\"\n"},
		{"\x1b[31m\r\t\x7f", "v=\"\\x1b[31m\\x0d\\x09\\x7f\"\n"},
		{"jürgen@例.com", "v=\"jürgen@例.com\"\n"},
		{"bad \xff\xc3", "v=\"bad \\xff\\xc3\"\n"},
		{"over\xc0\xaf", "v=\"over\\xc0\\xaf\"\n"},
		{"c1 \xc2\x9b", "v=\"c1 \\xc2\\x9b\"\n"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		log_event(LOG_INFO, "e", F_STR("v", cases[i].value));
		assert_string_equal(strstr(last, " v=") + 1, cases[i].written);
	}
	log_event(LOG_INFO, "e", F_STRN("v", "a\0b", 3));
	assert_string_equal(strstr(last, " v=") + 1, "v=\"a\\x00b\"\n");
}

static void long_values_are_cut_with_a_mark(void **state)
{
	char text[5000];
	const char *value;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_event(LOG_INFO, "e", F_STR("v", text), F_STR("next", "whole"));
	value = strstr(last, " v=\"");
	assert_non_null(value);
	assert_non_null(strstr(value, "xxx…\" next=whole\n"));
	assert_true(strlen(value) < 1060);
}

static void a_cut_never_splits_a_character(void **state)
{
	char text[2400];

	(void)state;
	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "ü", 3);
	text[0] = text[1] = 'x';
	for (size_t skip = 0; skip < 2; skip++) {
		log_event(LOG_INFO, "e", F_STRN("v", text + skip, 2000));
		assert_null(strstr(last, "\\x"));
		assert_non_null(strstr(last, "ü…\"\n"));
	}
}

static void too_many_long_values_end_in_a_mark_on_one_line(void **state)
{
	struct log_field fields[20];
	char text[1001];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t i = 0; i < PTA_ARRAY_SIZE(fields) - 1; i++)
		fields[i] = (struct log_field)F_STR("field", text);
	fields[PTA_ARRAY_SIZE(fields) - 1] = (struct log_field){.type = LOG_F_END};
	log_fields(LOG_INFO, "e", fields);
	assert_true(last_len <= 8192);
	assert_string_equal(last + last_len - 9, " cut=yes\n");
	assert_ptr_equal(strchr(last, '\n'), last + last_len - 1);
}

static void a_json_line_is_one_object(void **state)
{
	static const struct {
		const char *value, *written;
	} cases[] = {
		{"plain", "plain"},
		{"", ""},
		{"two words = 2", "two words = 2"},
		{"say \"hi\" \\", "say \\\"hi\\\" \\\\"},
		{"a\nb\x1b\x7f", "a\\nb\\u001b\\u007f"},
		{"jürgen@例.com", "jürgen@例.com"},
		{"bad \xff", "bad \xef\xbf\xbd"},
	};
	const struct log_conf conf = {.level = 3, .format = LOG_FORMAT_JSON};
	char want[256];

	(void)state;
	log_configure(&conf);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		log_event(LOG_INFO, "e", F_STR("v", cases[i].value), F_STR("absent", NULL), F_INT("i", -7), F_MS("took", 1234567));
		snprintf(want, sizeof(want),
			"{\"time\":\"2026-01-31T23:59:59.123Z\",\"level\":\"info\",\"program\":\"pta-test\",\"event\":\"e\",\"v\":\"%s\",\"i\":-7,\"took\":1234.567}\n",
			cases[i].written);
		assert_string_equal(last, want);
	}
}

static void a_json_line_that_is_cut_is_still_an_object(void **state)
{
	const struct log_conf conf = {.level = 3, .format = LOG_FORMAT_JSON};
	struct log_field fields[20];
	char text[1001];

	(void)state;
	memset(text, '\\', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t i = 0; i < PTA_ARRAY_SIZE(fields) - 1; i++)
		fields[i] = (struct log_field)F_STR("field", text);
	fields[PTA_ARRAY_SIZE(fields) - 1] = (struct log_field){.type = LOG_F_END};
	log_configure(&conf);
	log_fields(LOG_INFO, "e", fields);
	assert_true(last_len <= 8192);
	assert_string_equal(last + last_len - 14, "\",\"cut\":true}\n");
}

/* ---- the rate limit ---- */

static void an_event_that_repeats_is_left_out_and_told(void **state)
{
	unsigned lines = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		last[0] = '\0';
		log_event(LOG_WARNING, "service.lost", F_STR("error", "x"));
		lines += last[0] != '\0';
	}
	assert_int_equal(lines, 10);
	/* Others are not concerned, nor is what the table does not limit. */
	log_event(LOG_WARNING, "results.retry", F_STR("error", "x"));
	assert_non_null(strstr(last, "results.retry"));
	clock_fake(59999999, 1769903999123);
	last[0] = '\0';
	log_event(LOG_WARNING, "service.lost", F_STR("error", "x"));
	assert_string_equal(last, "");
	clock_fake(60000000, 1769903999123);
	log_event(LOG_WARNING, "service.lost", F_STR("error", "y"));
	assert_non_null(strstr(last, "event=service.lost error=y suppressed=991\n"));
	/* Still one a minute. */
	for (int i = 0; i < 20; i++) {
		last[0] = '\0';
		log_event(LOG_WARNING, "service.lost", F_STR("error", "x"));
		assert_string_equal(last, "");
	}
	clock_fake(120000000, 1769903999123);
	log_event(LOG_WARNING, "service.lost", F_STR("error", "z"));
	assert_non_null(strstr(last, "suppressed=20\n"));
	/* Calm again. */
	clock_fake(180000000, 1769903999123);
	log_event(LOG_WARNING, "service.lost", F_STR("error", "z"));
	assert_non_null(strstr(last, "error=z\n"));
	log_event(LOG_WARNING, "service.lost", F_STR("error", "zz"));
	assert_non_null(strstr(last, "error=zz\n"));
}

static void what_was_left_out_of_an_event_that_has_ended_is_told(void **state)
{
	(void)state;
	clock_fake(1000000000, 1769903999123);
	for (int i = 0; i < 13; i++)
		log_event(LOG_NOTICE, "signin.unauthorized", F_STR("peer", "192.0.2.1"));
	last[0] = '\0';
	log_tick();
	clock_fake(1064999999, 1769903999123);
	log_tick();
	assert_string_equal(last, "");
	clock_fake(1065000000, 1769903999123);
	log_tick();
	assert_non_null(strstr(last, "level=warning program=pta-test event=log.suppressed name=signin.unauthorized suppressed=3\n"));
	last[0] = '\0';
	log_tick();
	assert_string_equal(last, "");
}

static void audit_events_are_never_left_out(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		last[0] = '\0';
		log_event(LOG_INFO, "auth.verdict", F_STR("request", "r"));
		assert_string_not_equal(last, "");
	}
}

/* ---- the audit stream ---- */

static char audit_dir[64], audit_path[128], moved_path[128];

static int make_audit(void **state)
{
	snprintf(audit_dir, sizeof(audit_dir), "/tmp/pta-test-log-XXXXXX");
	assert_non_null(mkdtemp(audit_dir));
	snprintf(audit_path, sizeof(audit_path), "%s/audit.log", audit_dir);
	snprintf(moved_path, sizeof(moved_path), "%s/audit.log.1", audit_dir);
	return start_capture(state);
}

static int remove_audit(void **state)
{
	end_capture(state);
	unlink(audit_path);
	unlink(moved_path);
	return rmdir(audit_dir);
}

static void assert_content(const char *path, const char *want)
{
	char text[4096] = "";
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	assert_string_equal(text, want);
}

#define VERDICT_LINE(id) "time=2026-01-31T23:59:59.123Z level=info program=pta-test event=signin.verdict request=" id "\n"

static void verdicts_go_to_their_own_file_at_any_level(void **state)
{
	const struct log_conf conf = {.level = 0, .audit = audit_path};
	mode_t mask = umask(077);
	struct stat st;

	(void)state;
	log_open(&conf);
	umask(mask);
	log_event(LOG_INFO, "signin.verdict", F_STR("request", "a"));
	log_event(LOG_INFO, "dc.up", F_STR("dc", "x"));
	assert_string_equal(last, "");
	log_event(LOG_ERR, "service.failed", F_STR("error", "x"));
	assert_non_null(strstr(last, "service.failed"));
	assert_content(audit_path, VERDICT_LINE("a"));
	assert_int_equal(stat(audit_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(log_level(), LOG_ERR);
}

static void a_rotated_file_is_opened_again(void **state)
{
	const struct log_conf conf = {.level = 3, .audit = audit_path};

	(void)state;
	log_open(&conf);
	log_event(LOG_INFO, "signin.verdict", F_STR("request", "a"));
	assert_int_equal(rename(audit_path, moved_path), 0);
	log_event(LOG_INFO, "signin.verdict", F_STR("request", "b"));
	log_open(&conf);
	log_event(LOG_INFO, "signin.verdict", F_STR("request", "c"));
	assert_content(moved_path, VERDICT_LINE("a") VERDICT_LINE("b"));
	assert_content(audit_path, VERDICT_LINE("c"));
}

static void a_file_that_cannot_be_opened_is_told_and_its_lines_are_not_lost(void **state)
{
	const struct log_conf conf = {.level = 1, .audit = (char *)(uintptr_t)"/nonexistent/audit.log"};

	(void)state;
	log_open(&conf);
	assert_non_null(strstr(last, "level=error program=pta-test event=log.audit_failed file=/nonexistent/audit.log error=\"open /nonexistent/audit.log: No such"));
	log_event(LOG_INFO, "signin.verdict", F_STR("request", "a"));
	assert_string_equal(last, VERDICT_LINE("a"));
}

static void a_full_disk_is_told_and_its_lines_are_not_lost(void **state)
{
	const struct log_conf conf = {.level = 3, .audit = (char *)(uintptr_t)"/dev/full"};

	(void)state;
	clock_fake(2000000000, 1769903999123);
	log_open(&conf);
	assert_string_equal(last, "");
	log_event(LOG_INFO, "signin.verdict", F_STR("request", "a"));
	assert_string_equal(last, VERDICT_LINE("a"));
}

enum { AUDIT_THREADS = 4, AUDIT_LINES = 200 };

static void *write_verdicts(void *arg)
{
	for (int i = 0; i < AUDIT_LINES; i++)
		log_event(LOG_INFO, "signin.verdict", F_STR("request", arg));
	return NULL;
}

static unsigned captured;

static void count(void *arg, const char *line, size_t len)
{
	(void)arg;
	(void)len;
	/* A line that comes while a stream ends is in the log, and nothing is told of it. */
	assert_non_null(strstr(line, "signin.verdict"));
	__atomic_fetch_add(&captured, 1, __ATOMIC_RELAXED);
}

static unsigned lines_in(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[512];
	unsigned n = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		assert_string_equal(line, VERDICT_LINE("id"));
		n++;
	}
	fclose(file);
	return n;
}

static void no_verdict_is_lost_while_the_stream_changes(void **state)
{
	const struct log_conf own = {.level = 3, .audit = audit_path}, none = {.level = 3};
	pthread_t threads[AUDIT_THREADS];
	static char id[] = "id";

	(void)state;
	captured = 0;
	log_capture(count, NULL);
	log_open(&own);
	for (int i = 0; i < AUDIT_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_verdicts, id), 0);
	for (int i = 0; i < 50; i++)
		log_open(i % 2 ? &own : &none);
	for (int i = 0; i < AUDIT_THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(captured + lines_in(audit_path), AUDIT_THREADS * AUDIT_LINES);
}

static void conf_check_names_what_is_no_stream(void **state)
{
	static const struct {
		const char *audit, *want;
	} cases[] = {
		{NULL, NULL},
		{"/var/log/pta-audit.log", NULL},
		{"syslog:authpriv", NULL},
		{"syslog:local7", NULL},
		{"audit.log", "must be an absolute path"},
		{"syslog:", "no facility"},
		{"syslog:kern", "no facility"},
		{"syslog", "must be an absolute path"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		struct log_conf conf = {.audit = (char *)(uintptr_t)cases[i].audit};
		struct conf_errors errors;

		conf_errors_init(&errors);
		log_conf_check(&conf, "t", &errors);
		assert_int_equal(errors.count, cases[i].want ? 1 : 0);
		if (cases[i].want)
			assert_non_null(strstr((const char *)errors.text.data, cases[i].want));
		conf_errors_done(&errors);
	}
}

static void level_names_are_those_of_the_configuration(void **state)
{
	(void)state;
	assert_int_equal(log_level_parse("error"), LOG_ERR);
	assert_int_equal(log_level_parse("debug"), LOG_DEBUG);
	assert_int_equal(log_level_parse("loud"), -1);
	for (int i = 0; log_level_names[i]; i++)
		assert_int_equal(log_level_parse(log_level_names[i]), log_level_from_index(i));
}

/* Runs write_lines() with stderr replaced by fd. */
static void with_stderr(int fd, void (*write_lines)(void))
{
	int saved = dup(STDERR_FILENO);

	assert_true(saved >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	write_lines();
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	close(saved);
}

/* In place of the host's journal. */
static bool takes_fields;

bool __wrap_log_journal_takes_fields(void);
bool __wrap_log_journal_takes_fields(void)
{
	return takes_fields;
}

static void write_one(void)
{
	log_init("pta-test", LOG_INFO);
	log_event(LOG_ERR, "one", F_STR("v", "x"));
}

static void the_journal_gets_a_priority_instead_of_time_and_level(void **state)
{
	char stream[64], text[256];
	struct stat st;
	ssize_t n;
	int fds[2];

	(void)state;
	log_capture(NULL, NULL);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fstat(fds[1], &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	with_stderr(fds[1], write_one);
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, "<3>event=one v=x\n");
	/* the variable of another stream, inherited by mistake */
	setenv("JOURNAL_STREAM", "1:2", 1);
	with_stderr(fds[1], write_one);
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	assert_memory_equal(text, "time=", 5);
	unsetenv("JOURNAL_STREAM");
	close(fds[0]);
	close(fds[1]);
}

#ifdef HAVE_LIBSYSTEMD

static char sent[16384]; /* the fields of the last message, one a line */
static int send_result;

int __wrap_sd_journal_sendv(const struct iovec *pieces, int n);
int __wrap_sd_journal_sendv(const struct iovec *pieces, int n)
{
	size_t used = 0;

	for (int i = 0; i < n; i++) {
		assert_true(used + pieces[i].iov_len + 2 < sizeof(sent));
		memcpy(sent + used, pieces[i].iov_base, pieces[i].iov_len);
		used += pieces[i].iov_len;
		sent[used++] = '\n';
	}
	sent[used] = '\0';
	return send_result;
}

static void write_fields(void)
{
	char text[1500];

	memset(text, 'x', sizeof(text) - 1);
	memcpy(text + 1022, "üx", 3);
	text[sizeof(text) - 1] = '\0';
	log_init("pta-test", LOG_INFO);
	log_event(LOG_INFO, "auth.verdict", F_STR("request", "0a1b"), F_STR("user", "CORP\\anna b"), F_STR("dc", NULL), F_INT("code", -7), F_MS("took", 1234567),
		F_STR("detail", ""));
	assert_string_equal(sent, "PRIORITY=6\nMESSAGE_ID=" AUTH_VERDICT_ID "\nEVENT=auth.verdict\nSYSLOG_IDENTIFIER=pta-test\n"
				  "MESSAGE=event=auth.verdict request=0a1b user=\"CORP\\\\anna b\" code=-7 took=1234.567 detail=\"\"\n"
				  "REQUEST_ID=0a1b\nUSER=CORP\\anna b\nCODE=-7\nTOOK=1234.567\nDETAIL=\n");
	/* What a table does not have is sent as well; a long value is cut at a character. */
	log_event(LOG_ERR, "e", F_STR("v", text), F_UINT("n", 1));
	assert_null(strstr(sent, "MESSAGE_ID="));
	assert_non_null(strstr(sent, "xü\nN=1\n"));
	/* More than a message takes: the line is whole, the fields are as many as there is room for. */
	log_fields(LOG_ERR, "e", (const struct log_field[]){F_STR("a", text), F_STR("b", text), F_STR("c", text), F_STR("d", text), F_STR("e", text),
							F_STR("f", text), F_STR("g", text), F_STR("h", text), F_STR("i", text), {.type = LOG_F_END}});
	assert_non_null(strstr(sent, " cut=yes\n"));
	send_result = -EAGAIN;
	log_event(LOG_ERR, "gone");
	send_result = 0;
	log_event(LOG_ERR, "back");
	assert_non_null(strstr(sent, "MESSAGE=event=back lost_lines=1\nLOST_LINES=1\n"));
}

static void the_journal_gets_fields_where_it_takes_them(void **state)
{
	int null = open("/dev/zero", O_WRONLY | O_CLOEXEC);
	char stream[64];
	struct stat st;

	(void)state;
	log_capture(NULL, NULL);
	assert_true(null >= 0);
	assert_int_equal(fstat(null, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	takes_fields = true;
	with_stderr(null, write_fields);
	takes_fields = false;
	unsetenv("JOURNAL_STREAM");
	close(null);
}

#endif

static void write_three(void)
{
	for (int i = 0; i < 3; i++)
		log_event(LOG_INFO, "gone");
}

static void lines_that_could_not_be_written_are_told_by_the_next(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	log_capture(NULL, NULL);
	with_stderr(full, write_three);
	close(full);
	log_capture(keep, NULL);
	log_event(LOG_INFO, "back");
	assert_non_null(strstr(last, " event=back lost_lines=3\n"));
	log_event(LOG_INFO, "on");
	assert_null(strstr(last, "lost_lines"));
}

enum { THREADS = 4, LINES = 50 };

static void *write_many(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_event(LOG_INFO, "threads", F_STR("v", arg));
	return NULL;
}

static void run_threads(void)
{
	static char value[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, value), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void lines_of_threads_do_not_mix(void **state)
{
	FILE *file = tmpfile();
	char line[512];
	int n = 0;

	(void)state;
	assert_non_null(file);
	assert_int_equal(fcntl(fileno(file), F_SETFL, O_APPEND), 0);
	log_capture(NULL, NULL);
	with_stderr(fileno(file), run_threads);
	rewind(file);
	while (fgets(line, sizeof(line), file)) {
		assert_memory_equal(line, "time=", 5);
		assert_string_equal(strrchr(line, ' '), " v=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n");
		n++;
	}
	assert_int_equal(n, THREADS * LINES);
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_has_time_level_event_and_fields, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(numbers_are_written_whole, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(a_command_that_has_not_set_a_name_has_its_own, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(what_is_below_the_level_is_not_written, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(values_are_escaped, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(long_values_are_cut_with_a_mark, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(a_cut_never_splits_a_character, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(too_many_long_values_end_in_a_mark_on_one_line, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(a_json_line_is_one_object, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(a_json_line_that_is_cut_is_still_an_object, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(an_event_that_repeats_is_left_out_and_told, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(what_was_left_out_of_an_event_that_has_ended_is_told, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(audit_events_are_never_left_out, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(verdicts_go_to_their_own_file_at_any_level, make_audit, remove_audit),
		cmocka_unit_test_setup_teardown(a_rotated_file_is_opened_again, make_audit, remove_audit),
		cmocka_unit_test_setup_teardown(a_file_that_cannot_be_opened_is_told_and_its_lines_are_not_lost, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(a_full_disk_is_told_and_its_lines_are_not_lost, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(no_verdict_is_lost_while_the_stream_changes, make_audit, remove_audit),
		cmocka_unit_test(conf_check_names_what_is_no_stream),
		cmocka_unit_test_setup_teardown(level_names_are_those_of_the_configuration, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(the_journal_gets_a_priority_instead_of_time_and_level, start_capture, end_capture),
#ifdef HAVE_LIBSYSTEMD
		cmocka_unit_test_setup_teardown(the_journal_gets_fields_where_it_takes_them, start_capture, end_capture),
#endif
		cmocka_unit_test_setup_teardown(lines_that_could_not_be_written_are_told_by_the_next, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, start_capture, end_capture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
