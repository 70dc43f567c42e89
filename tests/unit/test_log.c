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
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

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
	(void)state;
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
		cmocka_unit_test_setup_teardown(level_names_are_those_of_the_configuration, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(the_journal_gets_a_priority_instead_of_time_and_level, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(lines_that_could_not_be_written_are_told_by_the_next, start_capture, end_capture),
		cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, start_capture, end_capture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
