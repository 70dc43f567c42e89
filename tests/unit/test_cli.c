#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/cli_text.h"

struct options {
	const char *service;
	struct cli_texts suffixes;
	unsigned count;
	bool json;
};

static struct options ran_with;
static char ran_args[256];
static const char *ran;

static int run_any(const char *name, void *options, char **args, int nargs)
{
	ran = name;
	if (options)
		ran_with = *(struct options *)options;
	ran_args[0] = '\0';
	for (int i = 0, used = 0; i < nargs; i++)
		used += snprintf(ran_args + used, sizeof(ran_args) - (size_t)used, "%s|", args[i]);
	return CLI_OK;
}

static int run_register(void *options, char **args, int nargs)
{
	return run_any("register", options, args, nargs);
}

static int run_agent_list(void *options, char **args, int nargs)
{
	(void)options;
	return run_any("agent list", NULL, args, nargs);
}

static int run_agent_show(void *options, char **args, int nargs)
{
	(void)options;
	run_any("agent show", NULL, args, nargs);
	return CLI_UNREACHABLE;
}

static const struct cli_option register_options[] = {
	{.name = "service",
		.letter = 's',
		.type = CLI_TEXT,
		.offset = offsetof(struct options, service),
		.metavar = "URL",
		.required = true,
		.help = "where the service is"},
	{.name = "suffix",
		.type = CLI_TEXTS,
		.offset = offsetof(struct options, suffixes),
		.metavar = "NAME",
		.help = "a further name; may be given more than once, and its "
			"explanation is longer than one line of a screen"},
	{.name = "count", .letter = 'n', .type = CLI_NUMBER, .offset = offsetof(struct options, count), .metavar = "N", .help = "how many"},
	{.name = "json", .type = CLI_FLAG, .offset = offsetof(struct options, json), .help = "write JSON"},
	{0},
};

static const struct cli_command commands[] = {
	{.name = "register",
		.arguments = "[USER]",
		.max_args = 1,
		.options = register_options,
		.options_size = sizeof(struct options),
		.run = run_register,
		.help = "registers",
		.details = "A paragraph about registering that is long enough to be wrapped at the eightieth column of the screen.\n\nAnother one."},
	{.name = "agent list", .arguments = "", .run = run_agent_list, .help = "lists agents"},
	{.name = "agent show", .arguments = "AGENT", .min_args = 1, .max_args = 1, .run = run_agent_show, .help = "shows one"},
	{0},
};

static struct cli_program program = {.name = "pta-test", .version = "1.2.3", .purpose = "tests command lines", .commands = commands};

/* Reads what is left in file from its start. */
static void slurp(FILE *file, char *out, size_t cap)
{
	size_t n;

	rewind(file);
	n = fread(out, 1, cap - 1, file);
	out[n] = '\0';
	fclose(file);
}

static char out_text[16384], err_text[4096];

/* Runs cli_main() on blank-separated words with stdout and stderr taken. */
static int run_line(const char *line)
{
	int saved_out = dup(STDOUT_FILENO), saved_err = dup(STDERR_FILENO), argc = 0, r;
	FILE *out = tmpfile(), *err = tmpfile();
	char *argv[80], *copy = strdup(line), *rest = copy, *word;

	assert_true(saved_out >= 0 && saved_err >= 0 && out && err && copy);
	while ((word = strsep(&rest, " ")))
		if (*word)
			argv[argc++] = word;
	argv[argc] = NULL;
	ran = NULL;
	ran_with = (struct options){0};
	fflush(stdout);
	dup2(fileno(out), STDOUT_FILENO);
	dup2(fileno(err), STDERR_FILENO);
	r = cli_main(&program, argc, argv);
	fflush(stdout);
	dup2(saved_out, STDOUT_FILENO);
	dup2(saved_err, STDERR_FILENO);
	close(saved_out);
	close(saved_err);
	slurp(out, out_text, sizeof(out_text));
	slurp(err, err_text, sizeof(err_text));
	/* what the command was given points into copy */
	if (ran_with.service)
		ran_with.service = strcmp(ran_with.service, "https://x") ? "another" : "https://x";
	for (size_t i = 0; i < ran_with.suffixes.n; i++)
		ran_with.suffixes.items[i] = strcmp(ran_with.suffixes.items[i], "b") ? "a" : "b";
	free(copy);
	return r;
}

static void options_reach_the_command(void **state)
{
	static const char *const lines[] = {
		"pta-test register --service https://x --suffix a --suffix=b -n 5 --json anna",
		"pta-test register anna -s https://x --suffix a --suffix b -n5 --json",
		"pta-test register -shttps://x --json --suffix a --count=5 --suffix b -- anna",
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(lines); i++) {
		assert_int_equal(run_line(lines[i]), CLI_OK);
		assert_string_equal(err_text, "");
		assert_string_equal(ran, "register");
		assert_string_equal(ran_with.service, "https://x");
		assert_int_equal(ran_with.suffixes.n, 2);
		assert_string_equal(ran_with.suffixes.items[0], "a");
		assert_string_equal(ran_with.suffixes.items[1], "b");
		assert_int_equal(ran_with.count, 5);
		assert_true(ran_with.json);
		assert_string_equal(ran_args, "anna|");
	}
	assert_int_equal(run_line("pta-test register -s https://x -- --json"), CLI_OK);
	assert_false(ran_with.json);
	assert_string_equal(ran_args, "--json|");
}

static void options_without_a_command_belong_to_the_bare_one(void **state)
{
	(void)state;
	program.bare = "register";
	assert_int_equal(run_line("pta-test --json -s https://x"), CLI_OK);
	assert_string_equal(ran, "register");
	assert_true(ran_with.json);
	assert_string_equal(ran_with.service, "https://x");
	assert_int_equal(run_line("pta-test --version"), CLI_OK);
	assert_null(ran);
	assert_int_equal(run_line("pta-test agent list"), CLI_OK);
	assert_string_equal(ran, "agent list");
	assert_int_equal(run_line("pta-test --bogus"), CLI_USAGE);
	assert_null(ran);
	program.bare = NULL;
}

static void a_command_of_two_words_is_found_and_its_status_returned(void **state)
{
	(void)state;
	assert_int_equal(run_line("pta-test agent list"), CLI_OK);
	assert_string_equal(ran, "agent list");
	assert_int_equal(run_line("pta-test agent show a1"), CLI_UNREACHABLE);
	assert_string_equal(ran, "agent show");
	assert_string_equal(ran_args, "a1|");
}

static void bad_usage_is_named_and_nothing_runs(void **state)
{
	static const struct {
		const char *line, *first_line;
	} cases[] = {
		{"pta-test registr", "pta-test: unknown command 'registr'; did you mean 'register'?\n"},
		{"pta-test frobnicate", "pta-test: unknown command 'frobnicate'\n"},
		{"pta-test agent shw", "pta-test: unknown command 'agent shw'; did you mean 'agent show'?\n"},
		{"pta-test --json register", "pta-test: '--json' stands where a command is expected\n"},
		{"pta-test register", "pta-test register: --service URL is missing\n"},
		{"pta-test register --service", "pta-test register: --service has no value\n"},
		{"pta-test register -s", "pta-test register: --service has no value\n"},
		{"pta-test register --service=", "pta-test register: --service has no value\n"},
		{"pta-test register --servce=x", "pta-test register: unknown option '--servce'; did you mean '--service'?\n"},
		{"pta-test register --bogus", "pta-test register: unknown option '--bogus'\n"},
		{"pta-test register -x", "pta-test register: unknown option '-x'\n"},
		{"pta-test register --json=yes -s u", "pta-test register: --json=yes: this option takes no value\n"},
		{"pta-test register -s u -s v", "pta-test register: --service is given twice\n"},
		{"pta-test register -s u -n -5", "pta-test register: --count: '-5' is not a number\n"},
		{"pta-test register -s u -n 5x", "pta-test register: --count: '5x' is not a number\n"},
		{"pta-test register -s u -n 4294967296", "pta-test register: --count: '4294967296' is not a number\n"},
		{"pta-test register -s u a b", "pta-test register: too many arguments\n"},
		{"pta-test agent show", "pta-test agent show: an argument is missing: AGENT\n"},
		{"pta-test agent list x", "pta-test agent list: too many arguments\n"},
		{"pta-test help nothing", "pta-test: unknown command 'nothing'\n"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		assert_int_equal(run_line(cases[i].line), CLI_USAGE);
		assert_null(ran);
		assert_string_equal(out_text, "");
		assert_memory_equal(err_text, cases[i].first_line, strlen(cases[i].first_line));
		assert_memory_equal(err_text + strlen(cases[i].first_line), "see 'pta-test", 13);
	}
	assert_int_equal(run_line("pta-test"), CLI_USAGE);
	assert_memory_equal(err_text, "usage: pta-test COMMAND", 23);
	assert_int_equal(run_line("pta-test agent"), CLI_USAGE);
	assert_non_null(strstr(err_text, "agent list"));
	assert_null(strstr(err_text, "register"));
}

static void too_many_texts_are_refused(void **state)
{
	char line[1024] = "pta-test register -s u";

	(void)state;
	for (int i = 0; i < CLI_MAX_TEXTS + 1; i++)
		strncat(line, " --suffix a", sizeof(line) - strlen(line) - 1);
	assert_int_equal(run_line(line), CLI_USAGE);
	assert_memory_equal(err_text, "pta-test register: --suffix is given more than 32 times\n", 56);
}

static void help_and_version_go_to_standard_output(void **state)
{
	(void)state;
	assert_int_equal(run_line("pta-test --version"), CLI_OK);
	assert_string_equal(out_text, "pta-test 1.2.3\n");
	assert_int_equal(run_line("pta-test --help"), CLI_OK);
	assert_string_equal(err_text, "");
	for (const struct cli_command *command = commands; command->name; command++)
		assert_non_null(strstr(out_text, command->name));
	assert_int_equal(run_line("pta-test agent --help"), CLI_OK);
	assert_non_null(strstr(out_text, "agent show"));
}

static void help_of_a_command_has_its_options_and_fits_a_screen(void **state)
{
	static const char *const lines[] = {
		"pta-test register --help", "pta-test register -h", "pta-test help register", "pta-test register --json --help --bogus"};
	char *rest = out_text, *line;
	int n = 0;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(lines); i++) {
		assert_int_equal(run_line(lines[i]), CLI_OK);
		assert_null(ran);
		assert_memory_equal(out_text, "usage: pta-test register --service URL [OPTION...] [USER]\n", 57);
		assert_non_null(strstr(out_text, "  -s, --service URL       where the service is\n"));
		assert_non_null(strstr(out_text, "      --json              write JSON\n"));
	}
	while ((line = strsep(&rest, "\n"))) {
		assert_true(cli_width(line) <= CLI_COLUMNS);
		n++;
	}
	assert_true(n <= 24);
}

static void a_full_disk_is_a_failure(void **state)
{
	int saved = dup(STDOUT_FILENO), r;
	char name[] = "pta-test", help[] = "--help", *argv[] = {name, help, NULL};

	(void)state;
	fflush(stdout);
	assert_non_null(freopen("/dev/full", "w", stdout));
	r = cli_main(&program, 2, argv);
	dup2(saved, STDOUT_FILENO);
	clearerr(stdout);
	close(saved);
	assert_int_equal(r, CLI_FAILED);
}

static void tables_are_aligned_by_characters_and_harmless(void **state)
{
	static const char *const heads[] = {"USER", "VERDICT", "TIME"};
	static const char *const cells[] = {"jürgen", "success", "1 ms", "x\x1b[2Jy\xff\xc2\x9bz", "invalid_credentials", "12 ms"};
	FILE *file = tmpfile();
	char text[512];

	(void)state;
	assert_non_null(file);
	cli_table(file, heads, 3, cells, 2);
	slurp(file, text, sizeof(text));
	assert_string_equal(text, "USER       VERDICT              TIME\n"
				  "jürgen     success              1 ms\n"
				  "x?[2Jy??z  invalid_credentials  12 ms\n");
}

static void text_is_wrapped_and_indented(void **state)
{
	FILE *file = tmpfile();
	char text[512];

	(void)state;
	assert_non_null(file);
	cli_wrap(file, 4, 6, "one two\nthree");
	cli_wrap(file, 0, 40, "0123456789012345678901234567890123456789 x 01234567890123456789012345678901234567890123456789");
	slurp(file, text, sizeof(text));
	assert_string_equal(text, "  one two\n      three\n"
				  "                                        0123456789012345678901234567890123456789\n"
				  "                                        x\n"
				  "                                        01234567890123456789012345678901234567890123456789\n");
}

static void colours_want_a_terminal(void **state)
{
	int saved = dup(STDOUT_FILENO);
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	fflush(stdout);
	dup2(fileno(file), STDOUT_FILENO);
	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	assert_false(cli_colour());
	dup2(saved, STDOUT_FILENO);
	close(saved);
	fclose(file);
}

static void closed_standard_streams_become_the_null_device(void **state)
{
	struct stat null, st;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(stat("/dev/null", &null), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		bool good = true;

		close(STDIN_FILENO);
		close(STDERR_FILENO);
		cli_stdio();
		for (int fd = 0; fd <= STDERR_FILENO; fd += STDERR_FILENO)
			good = good && fstat(fd, &st) == 0 && st.st_rdev == null.st_rdev && fcntl(fd, F_GETFL) >= 0;
		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_reach_the_command),
		cmocka_unit_test(options_without_a_command_belong_to_the_bare_one),
		cmocka_unit_test(a_command_of_two_words_is_found_and_its_status_returned),
		cmocka_unit_test(bad_usage_is_named_and_nothing_runs),
		cmocka_unit_test(too_many_texts_are_refused),
		cmocka_unit_test(help_and_version_go_to_standard_output),
		cmocka_unit_test(help_of_a_command_has_its_options_and_fits_a_screen),
		cmocka_unit_test(tables_are_aligned_by_characters_and_harmless),
		cmocka_unit_test(text_is_wrapped_and_indented),
		cmocka_unit_test(colours_want_a_terminal),
		cmocka_unit_test(a_full_disk_is_a_failure),
		cmocka_unit_test(closed_standard_streams_become_the_null_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
