/* Configuration files: INI over libinih, driven by tables. One row feeds the parser, the default, --dump-config and
 * the man page's test. All errors of a file in one pass, each with file:line. Unknown sections and keys, duplicates,
 * lines over libinih's limit (197 bytes) and section names over 49 bytes are errors. Only a list may be given in several
 * lines of the same key, because of that limit. Comments only at the start of a line (# or ;); what libinih would take for a
 * comment behind a value, or for the continuation of the line before, is an error.
 * Blocks on disk. Not thread-safe per value; a loaded value is immutable. */
#ifndef PTA_BASE_INI_CONF_H
#define PTA_BASE_INI_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define CONF_MAX_FILE (256u << 10)
#define CONF_MAX_ROWS 64      /* of one table */
#define CONF_MAX_SECTIONS 256 /* in one file */
#define CONF_MAX_ERRORS 100   /* that are written out; more are counted */

enum conf_type {
	CONF_T_STRING, /* char *; NULL when there is no default */
	CONF_T_UINT,   /* unsigned; min..max */
	CONF_T_MS,     /* unsigned milliseconds; written "500ms", "10s", "5m", "1h" (a number alone is seconds) */
	CONF_T_BOOL,   /* bool; yes/no/true/false/on/off */
	CONF_T_ENUM,   /* int: index into choices */
	CONF_T_LIST,   /* struct conf_list: words divided by blanks or commas */
};

struct conf_list {
	char **items;
	size_t n;
};

struct conf_row {
	const char *key; /* NULL ends a table */
	enum conf_type type;
	size_t offset;
	unsigned min, max;	    /* UINT, MS in ms; STRING: bytes; LIST: items */
	const char *const *choices; /* ENUM; NULL-terminated */
	const char *def;	    /* in the file's own syntax; NULL: none (required says whether one must be given) */
	bool required;
	const char *help;
};

#define CONF_STRING(owner, field, defval, text) \
	{.key = #field, .type = CONF_T_STRING, .offset = offsetof(owner, field), .min = 1, .max = 1024, .def = defval, .help = text}
#define CONF_STRING_REQUIRED(owner, field, text) \
	{.key = #field, .type = CONF_T_STRING, .offset = offsetof(owner, field), .min = 1, .max = 1024, .required = true, .help = text}
#define CONF_UINT(owner, field, low, high, defval, text) \
	{.key = #field, .type = CONF_T_UINT, .offset = offsetof(owner, field), .min = low, .max = high, .def = #defval, .help = text}
#define CONF_MS(owner, field, low, high, defval, text) \
	{.key = #field, .type = CONF_T_MS, .offset = offsetof(owner, field), .min = low, .max = high, .def = defval, .help = text}
#define CONF_BOOL(owner, field, defval, text) \
	{.key = #field, .type = CONF_T_BOOL, .offset = offsetof(owner, field), .def = defval, .help = text}
#define CONF_ENUM(owner, field, names, defval, text) \
	{.key = #field, .type = CONF_T_ENUM, .offset = offsetof(owner, field), .choices = names, .def = defval, .help = text}
#define CONF_LIST(owner, field, most, defval, text) \
	{.key = #field, .type = CONF_T_LIST, .offset = offsetof(owner, field), .min = 1, .max = most, .def = defval, .help = text}
#define CONF_LIST_REQUIRED(owner, field, most, text) \
	{.key = #field, .type = CONF_T_LIST, .offset = offsetof(owner, field), .min = 1, .max = most, .required = true, .help = text}

/* A kind of section. Plain ([agent]) ones exist once, with defaults when the file leaves them out. Labelled
 * ([directory corp.example.com]) ones as often as the file has them. */
struct conf_section {
	const char *name; /* NULL ends the table */
	bool labelled;
	const struct conf_row *rows;
	const char *help;
	/* The instance that the rows' offsets are in: inside root for plain ones; a new one added to root for labelled
	 * ones (-PTA_E* with a text when the label is refused). label is NULL for plain ones. Labels that differ only in case are
	 * duplicates. *out is used until the next section begins. */
	int (*instance)(void *root, const char *label, void **out, struct err *err);
};

/* Errors of one load, each "file:line: text". */
struct conf_errors {
	struct buf text; /* one line each */
	unsigned count;
};

void conf_errors_init(struct conf_errors *errors);
void conf_errors_done(struct conf_errors *errors);
/* For checks that go across keys, made by the owner after loading. line 0: none. */
PTA_PRINTF(4, 5) void conf_errors_add(struct conf_errors *errors, const char *path, unsigned line, const char *fmt, ...);

/* Fills root (zeroed by the caller, who frees it in either case). 0 only when errors->count is 0, else -PTA_EINVAL. A missing
 * file is one error. */
PTA_MUST_CHECK int conf_load(const char *path, const struct conf_section *sections, void *root, struct conf_errors *errors);
/* The same from memory, for tests and the fuzzer. */
PTA_MUST_CHECK int conf_load_text(const char *name, const char *text, size_t len, const struct conf_section *sections, void *root, struct conf_errors *errors);

/* Frees what the rows own inside one instance (not the instance). */
void conf_free_rows(const struct conf_row *rows, void *instance);
/* Appends "[name label]" and "key = value" lines with the effective values, which can be loaded again; a key without a value
 * is a comment. */
void conf_dump(struct buf *out, const char *name, const char *label, const struct conf_row *rows, const void *instance);

#endif
