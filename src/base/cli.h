/* Command lines: subcommands, options from tables, --help made of the same tables, exit codes, colours.
 * Main thread only. */
#ifndef PTA_BASE_CLI_H
#define PTA_BASE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"
#include "base/secret.h"

/* Exit codes of both programs, documented in their man pages. */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,	     /* it was tried and did not work (also: check found a fault, signin was refused) */
	CLI_USAGE = 2,	     /* the command line */
	CLI_CONFIG = 3,	     /* the configuration file */
	CLI_UNREACHABLE = 4, /* the daemon, or what the command must reach, does not answer */
	CLI_PERMISSION = 5,
};

enum cli_option_type { CLI_FLAG, CLI_TEXT, CLI_TEXTS, CLI_NUMBER };

#define CLI_MAX_TEXTS 32

struct cli_texts {
	const char *items[CLI_MAX_TEXTS];
	size_t n;
};

struct cli_option {
	const char *name; /* without "--"; NULL ends a table */
	char letter;	  /* 0: none */
	enum cli_option_type type;
	size_t offset;	     /* in the command's own options struct: bool, const char *, struct cli_texts, unsigned */
	const char *metavar; /* "FILE" */
	bool required;
	const char *help;
};

struct cli_command {
	const char *name;      /* "register", or "agent list" for two words; NULL ends a table */
	const char *arguments; /* "USER" or "" for the usage line */
	unsigned min_args, max_args;
	const struct cli_option *options; /* may be NULL */
	size_t options_size;		  /* of the options struct, zeroed before parsing */
	/* Returns an enum cli_exit. args points into argv. */
	int (*run)(void *options, char **args, int nargs);
	const char *help;    /* one line */
	const char *details; /* further paragraphs for --help, or NULL */
};

struct cli_program {
	const char *name, *version, *purpose;
	const struct cli_command *commands;
	const char *bare; /* the command that options without a command belong to; NULL: none */
};

/* First in main(): standard streams that are closed become /dev/null. Else what a program opens next would be its stderr, and an error
 * message would be written into it. Ends the program where that is not possible. */
void cli_stdio(void);

/* --help and --version go to stdout with 0; bad usage to stderr with CLI_USAGE and "see 'pta-agent register --help'".
 * --help of one command fits a screen. */
int cli_main(const struct cli_program *program, int argc, char **argv);

/* "pta-agent: text" on stderr; returns code. */
PTA_PRINTF(3, 4) int cli_fail(const char *program, int code, const char *fmt, ...);

/* Asks on the terminal (/dev/tty) without echo, or, where stdin is not a terminal, takes one line of stdin without a prompt. The newline
 * does not belong to the secret, which may be empty. -PTA_ETOOBIG over max bytes, -PTA_EINVAL at the end of the input. Echo is restored when
 * SIGINT, SIGTERM, SIGHUP, SIGQUIT or SIGTSTP come, then they take their course; after SIGTSTP it asks again. */
PTA_MUST_CHECK int cli_ask_secret(const char *prompt, size_t max, struct secret **out, struct err *err);

/* stdout is a terminal, NO_COLOR is unset and TERM is not dumb. */
bool cli_colour(void);

#define CLI_MAX_COLUMNS 16

/* Text tables: columns (at most CLI_MAX_COLUMNS) padded to the widest cell by UTF-8 characters. rows: n·columns cells.
 * What a terminal would obey (control characters) is shown as '?'. */
void cli_table(FILE *out, const char *const *heads, size_t columns, const char *const *cells, size_t rows);

#endif
