#include "base/cli.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cli_text.h"
#include "base/suggest.h"

#define MAX_OPTIONS 32
#define HELP_VALUE 256 /* what getopt_long() gives for --help; the options follow it */
#define NAME_COLUMN 2  /* where help texts begin: commands and options, */
#define TEXT_COLUMN 26 /* and what they mean */

int cli_fail(const char *program, int code, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

/* ---- help ---- */

/* A name in the left column and its meaning, wrapped, in the right one. */
static void print_entry(FILE *out, const char *name, const char *help)
{
	size_t width = NAME_COLUMN + cli_width(name);

	fprintf(out, "%*s%s", NAME_COLUMN, "", name);
	if (width >= TEXT_COLUMN) {
		fputc('\n', out);
		width = 0;
	}
	cli_wrap(out, width, TEXT_COLUMN, help);
}

static void print_commands(FILE *out, const struct cli_program *program, const char *group)
{
	size_t len = group ? strlen(group) : 0;

	for (const struct cli_command *command = program->commands; command->name; command++)
		if (!group || (!strncmp(command->name, group, len) && command->name[len] == ' '))
			print_entry(out, command->name, command->help);
}

static void print_program_help(FILE *out, const struct cli_program *program)
{
	fprintf(out, "usage: %s COMMAND [OPTION...] [ARGUMENT...]\n\n", program->name);
	cli_wrap(out, 0, 0, program->purpose);
	fputs("\ncommands:\n", out);
	print_commands(out, program, NULL);
	fputs("\noptions:\n", out);
	print_entry(out, "-V, --version", "tell the version");
	print_entry(out, "-h, --help", "show this");
	fprintf(out, "\n'%s COMMAND --help' explains a command.\n", program->name);
}

static void print_command_help(FILE *out, const struct cli_program *program, const struct cli_command *command)
{
	const struct cli_option *options = command->options;
	char name[80];

	fprintf(out, "usage: %s %s", program->name, command->name);
	for (size_t i = 0; options && options[i].name; i++)
		if (options[i].required)
			fprintf(out, " --%s %s", options[i].name, options[i].metavar);
	fprintf(out, " [OPTION...]%s%s\n\n", *command->arguments ? " " : "", command->arguments);
	cli_wrap(out, 0, 0, command->help);
	if (command->details) {
		fputc('\n', out);
		cli_wrap(out, 0, 0, command->details);
	}
	fputs("\noptions:\n", out);
	for (size_t i = 0; options && options[i].name; i++) {
		if (options[i].letter)
			snprintf(name, sizeof(name), "-%c, --%s", options[i].letter, options[i].name);
		else
			snprintf(name, sizeof(name), "    --%s", options[i].name);
		if (options[i].type != CLI_FLAG) {
			strncat(name, " ", sizeof(name) - strlen(name) - 1);
			strncat(name, options[i].metavar, sizeof(name) - strlen(name) - 1);
		}
		print_entry(out, name, options[i].help);
	}
	print_entry(out, "-h, --help", "show this");
}

/* ---- options ---- */

/* What a parse works on. */
struct parse {
	const struct cli_program *program;
	const struct cli_command *command;
	void *values;
	bool given[MAX_OPTIONS];
};

PTA_PRINTF(3, 4) static int bad_usage(const struct cli_program *program, const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s%s%s: ", program->name, command ? " " : "", command ? command : "");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nsee '%s%s%s --help'\n", program->name, command ? " " : "", command ? command : "");
	return CLI_USAGE;
}

static size_t count_options(const struct cli_command *command)
{
	size_t n = 0;

	while (command->options && command->options[n].name)
		n++;
	return n;
}

static int set_number(unsigned *out, const char *text)
{
	unsigned long long value;
	char *end;

	if (*text < '0' || *text > '9' || strlen(text) > 10)
		return -PTA_EINVAL;
	value = strtoull(text, &end, 10);
	if (*end || value > UINT_MAX)
		return -PTA_EINVAL;
	*out = (unsigned)value;
	return 0;
}

static int set_option(struct parse *parse, size_t i, const char *value)
{
	const struct cli_option *option = &parse->command->options[i];
	void *field = (char *)parse->values + option->offset;
	const char *command = parse->command->name;
	struct cli_texts *texts = field;

	if (parse->given[i] && option->type != CLI_TEXTS)
		return bad_usage(parse->program, command, "--%s is given twice", option->name);
	parse->given[i] = true;
	if (option->type != CLI_FLAG && !*value)
		return bad_usage(parse->program, command, "--%s has no value", option->name);
	switch (option->type) {
	case CLI_FLAG:
		*(bool *)field = true;
		break;
	case CLI_TEXT:
		*(const char **)field = value;
		break;
	case CLI_TEXTS:
		if (texts->n == CLI_MAX_TEXTS)
			return bad_usage(parse->program, command, "--%s is given more than %d times", option->name, CLI_MAX_TEXTS);
		texts->items[texts->n++] = value;
		break;
	case CLI_NUMBER:
		if (set_number(field, value) < 0)
			return bad_usage(parse->program, command, "--%s: '%s' is not a number", option->name, value);
		break;
	}
	return CLI_OK;
}

static int unknown_option(const struct parse *parse, const char *text)
{
	char name[64];
	struct suggestion near = SUGGESTION(name);

	text += strspn(text, "-") > 1 ? 2 : 0;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, "="), text);
	for (size_t i = 0; i < count_options(parse->command); i++)
		suggest_offer(&near, parse->command->options[i].name);
	if (near.best)
		return bad_usage(
			parse->program, parse->command->name, "unknown option '%s%s'; did you mean '--%s'?", *text == '-' ? "" : "--", name, near.best);
	return bad_usage(parse->program, parse->command->name, "unknown option '%s%s'", *text == '-' ? "" : "--", name);
}

static int check_given(const struct parse *parse, int nargs)
{
	const struct cli_command *command = parse->command;

	for (size_t i = 0; i < count_options(command); i++)
		if (command->options[i].required && !parse->given[i])
			return bad_usage(parse->program, command->name, "--%s %s is missing", command->options[i].name, command->options[i].metavar);
	if ((unsigned)nargs < command->min_args)
		return bad_usage(parse->program, command->name, "an argument is missing: %s", command->arguments);
	if ((unsigned)nargs > command->max_args)
		return bad_usage(parse->program, command->name, "too many arguments");
	return CLI_OK;
}

/* getopt_long()'s tables from the command's. */
static void fill_tables(const struct cli_command *command, struct option *longs, char *letters)
{
	size_t n = count_options(command);

	*letters++ = ':'; /* no messages of its own, and ':' for a missing value */
	*letters++ = 'h';
	longs[0] = (struct option){"help", no_argument, NULL, HELP_VALUE};
	for (size_t i = 0; i < n; i++) {
		const struct cli_option *option = &command->options[i];

		longs[i + 1] = (struct option){option->name, option->type == CLI_FLAG ? no_argument : required_argument, NULL, HELP_VALUE + 1 + (int)i};
		if (!option->letter)
			continue;
		*letters++ = option->letter;
		if (option->type != CLI_FLAG)
			*letters++ = ':';
	}
	longs[n + 1] = (struct option){0};
	*letters = '\0';
}

/* The option that getopt_long()'s value or letter stands for. */
static size_t option_index(const struct cli_command *command, int value)
{
	size_t i = 0;

	if (value > HELP_VALUE)
		return (size_t)(value - HELP_VALUE - 1);
	while (command->options[i].letter != value)
		i++;
	return i;
}

static int run_command(const struct cli_program *program, const struct cli_command *command, int argc, char **argv)
{
	struct parse parse = {.program = program, .command = command};
	char letters[2 * MAX_OPTIONS + 3], letter[3] = "-";
	struct option longs[MAX_OPTIONS + 2];
	int value, r = CLI_OK;

	if (count_options(command) > MAX_OPTIONS)
		return cli_fail(program->name, CLI_FAILED, "%s: more than %d options in its table", command->name, MAX_OPTIONS);
	fill_tables(command, longs, letters);
	parse.values = calloc(1, command->options_size ? command->options_size : 1);
	if (!parse.values)
		return cli_fail(program->name, CLI_FAILED, "out of memory");
	optind = 0; /* glibc: start anew */
	while (r == CLI_OK && (value = getopt_long(argc, argv, letters, longs, NULL)) >= 0) {
		letter[1] = (char)optopt;
		if (value == 'h' || value == HELP_VALUE) {
			print_command_help(stdout, program, command);
			goto out;
		}
		if (value == ':')
			r = bad_usage(program, command->name, "--%s has no value", command->options[option_index(command, optopt)].name);
		else if (value == '?' && optopt >= HELP_VALUE)
			r = bad_usage(program, command->name, "%s: this option takes no value", argv[optind - 1]);
		else if (value == '?')
			r = unknown_option(&parse, optopt ? letter : argv[optind - 1]);
		else
			r = set_option(&parse, option_index(command, value), optarg);
	}
	if (r == CLI_OK)
		r = check_given(&parse, argc - optind);
	if (r == CLI_OK)
		r = command->run(parse.values, argv + optind, argc - optind);
out:
	free(parse.values);
	return r;
}

/* ---- commands ---- */

/* The command whose name is the first words of argv; *words: how many. */
static const struct cli_command *find_command(const struct cli_program *program, int argc, char **argv, int *words)
{
	for (const struct cli_command *command = program->commands; command->name; command++) {
		size_t first = strcspn(command->name, " ");

		if (strlen(argv[0]) != first || strncmp(argv[0], command->name, first) != 0)
			continue;
		*words = command->name[first] ? 2 : 1;
		if (*words == 1 || (argc > 1 && !strcmp(argv[1], command->name + first + 1)))
			return command;
	}
	return NULL;
}

static bool is_group(const struct cli_program *program, const char *word)
{
	size_t len = strlen(word);

	for (const struct cli_command *command = program->commands; command->name; command++)
		if (!strncmp(command->name, word, len) && command->name[len] == ' ')
			return true;
	return false;
}

static bool asks_for_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help");
}

static int unknown_command(const struct cli_program *program, int argc, char **argv)
{
	bool group = is_group(program, argv[0]);
	char words[128];
	struct suggestion near = SUGGESTION(words);

	if (group && (argc == 1 || asks_for_help(argv[1]))) {
		FILE *out = argc == 1 ? stderr : stdout;

		fprintf(out, "usage: %s %s COMMAND [OPTION...] [ARGUMENT...]\n\ncommands:\n", program->name, argv[0]);
		print_commands(out, program, argv[0]);
		return argc == 1 ? CLI_USAGE : CLI_OK;
	}
	if (argv[0][0] == '-')
		return bad_usage(program, NULL, "'%s' stands where a command is expected", argv[0]);
	snprintf(words, sizeof(words), "%s%s%s", argv[0], group ? " " : "", group ? argv[1] : "");
	for (const struct cli_command *command = program->commands; command->name; command++)
		suggest_offer(&near, command->name);
	if (near.best)
		return bad_usage(program, NULL, "unknown command '%s'; did you mean '%s'?", words, near.best);
	return bad_usage(program, NULL, "unknown command '%s'", words);
}

static int dispatch(const struct cli_program *program, int argc, char **argv)
{
	const struct cli_command *command;
	int words;

	if (!argc) {
		print_program_help(stderr, program);
		return CLI_USAGE;
	}
	if (!strcmp(argv[0], "--version") || !strcmp(argv[0], "-V")) {
		printf("%s %s\n", program->name, program->version);
		return CLI_OK;
	}
	if (asks_for_help(argv[0]) && argc == 1) {
		print_program_help(stdout, program);
		return CLI_OK;
	}
	if (asks_for_help(argv[0])) {
		command = find_command(program, argc - 1, argv + 1, &words);
		if (!command)
			return unknown_command(program, argc - 1, argv + 1);
		print_command_help(stdout, program, command);
		return CLI_OK;
	}
	command = find_command(program, argc, argv, &words);
	if (!command && argv[0][0] == '-' && program->bare) {
		char *bare[] = {(char *)(uintptr_t)program->bare};

		command = find_command(program, 1, bare, &words);
		words = 0; /* none of them is in argv, which has the program's name before it */
	}
	if (!command)
		return unknown_command(program, argc, argv);
	return run_command(program, command, argc - words + 1, argv + words - 1);
}

void cli_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		_exit(CLI_FAILED);
	close(fd);
}

int cli_main(const struct cli_program *program, int argc, char **argv)
{
	int r = dispatch(program, argc > 0 ? argc - 1 : 0, argv + 1);

	/* A full disk behind "> file" is a failure as well. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && r == CLI_OK)
		return cli_fail(program->name, CLI_FAILED, "cannot write to standard output");
	return r;
}
