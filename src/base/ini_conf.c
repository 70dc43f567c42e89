#include "base/ini_conf.h"

#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/ini_value.h"
#include "base/suggest.h"

#define SECTION_MAX 49 /* libinih cuts longer ones silently */
#define BLANKS " \t"

/* A section that the file has, to find its second appearance. */
struct seen_section {
	const struct conf_section *section;
	char *label;
	unsigned line;
};

/* One load. libinih knows neither where a section begins nor which line it is at, so the reader, which hands it the
 * lines one by one, keeps both. */
struct load {
	const char *name;
	const char *next, *end; /* the text not read yet */
	const struct conf_section *sections;
	void *root;
	struct conf_errors *errors;
	unsigned line;
	bool outside;  /* no section has begun */
	bool awaiting; /* libinih got a "key = value" and has not handed it over */

	const struct conf_section *section; /* NULL: one that is not known or refused; its keys are passed over */
	void *instance;
	unsigned section_line;
	unsigned given[CONF_MAX_ROWS]; /* the line that gave a row, 0: none */

	struct seen_section seen[CONF_MAX_SECTIONS];
	size_t n_seen;
};

void conf_errors_init(struct conf_errors *errors)
{
	*errors = (struct conf_errors){.text = BUF_INIT(128u << 10)};
}

void conf_errors_done(struct conf_errors *errors)
{
	buf_done(&errors->text);
}

void conf_errors_add(struct conf_errors *errors, const char *path, unsigned line, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	errors->count++;
	if (errors->count > CONF_MAX_ERRORS + 1)
		return;
	if (errors->count == CONF_MAX_ERRORS + 1) {
		buf_printf(&errors->text, "%s: more errors are not shown\n", path);
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_puts(&errors->text, path);
	if (line)
		buf_printf(&errors->text, ":%u", line);
	buf_printf(&errors->text, ": %s\n", text);
}

#define REFUSE(load, ...) conf_errors_add((load)->errors, (load)->name, (load)->line, __VA_ARGS__)

/* ---- sections ---- */

/* Defaults for what the section left out, and complaints about what it must have. */
static void end_section(struct load *load)
{
	const struct conf_section *section = load->section;
	struct err err = {.text = ""};

	if (!section)
		return;
	for (size_t i = 0; section->rows[i].key; i++) {
		const struct conf_row *row = &section->rows[i];

		if (load->given[i])
			continue;
		if (row->required)
			conf_errors_add(load->errors, load->name, load->section_line, "[%s] needs the key '%s': %s", section->name, row->key, row->help);
		else if (row->def && ini_value_set(row, load->instance, row->def, &err) < 0)
			conf_errors_add(load->errors, load->name, load->section_line, "default of '%s': %s", row->key, err.text);
	}
	load->section = NULL;
}

static void begin_section(struct load *load, const struct conf_section *section, const char *label)
{
	struct seen_section *seen = &load->seen[load->n_seen];
	struct err err = {.text = ""};

	for (size_t i = 0; i < load->n_seen; i++) {
		if (load->seen[i].section == section && (!label || !strcasecmp(load->seen[i].label, label))) {
			REFUSE(load, "[%s%s%s] is there already, in line %u", section->name, label ? " " : "", label ? label : "", load->seen[i].line);
			return;
		}
	}
	if (load->n_seen == CONF_MAX_SECTIONS) {
		REFUSE(load, "more than %u sections", CONF_MAX_SECTIONS);
		return;
	}
	*seen = (struct seen_section){.section = section, .line = load->line, .label = label ? strdup(label) : NULL};
	if (label && !seen->label) {
		REFUSE(load, "out of memory");
		return;
	}
	load->n_seen++;
	if (section->instance(load->root, label, &load->instance, &err) < 0) {
		REFUSE(load, "[%s%s%s]: %s", section->name, label ? " " : "", label ? label : "", err.text);
		return;
	}
	memset(load->given, 0, sizeof(load->given));
	load->section = section;
	load->section_line = load->line;
}

/* "[name]" or "[name label]": the brackets are at both ends. line is changed. */
static void read_section(struct load *load, char *line, size_t len)
{
	char *name = line + 1, *label, *bad;
	struct suggestion near;

	end_section(load);
	load->outside = false;
	if (len < 3 || line[len - 1] != ']' || strcspn(line, "]") != len - 1 || strchr(name, '[')) {
		REFUSE(load, "a section is written [name], and nothing follows on its line");
		return;
	}
	if (len - 2 > SECTION_MAX) {
		REFUSE(load, "the section's name is longer than %u bytes", SECTION_MAX);
		return;
	}
	line[len - 1] = '\0';
	label = name + strcspn(name, BLANKS);
	if (*label) {
		*label++ = '\0';
		label += strspn(label, BLANKS);
	}
	bad = label + strcspn(label, BLANKS);
	near = SUGGESTION(name);
	for (const struct conf_section *section = load->sections; section->name; section++) {
		suggest_offer(&near, section->name);
		if (strcmp(section->name, name) != 0)
			continue;
		if (*bad)
			REFUSE(load, "a section is written [%s%s], without further blanks", name, section->labelled ? " NAME" : "");
		else if (section->labelled && !*label)
			REFUSE(load, "[%s] needs a name: [%s NAME]", name, name);
		else if (!section->labelled && *label)
			REFUSE(load, "[%s] takes no name behind it", name);
		else
			begin_section(load, section, section->labelled ? label : NULL);
		return;
	}
	if (near.best)
		REFUSE(load, "unknown section [%s]; did you mean [%s]?", name, near.best);
	else
		REFUSE(load, "unknown section [%s]", name);
}

/* ---- lines ---- */

/* Whether "key = value" means the same to libinih as it says. */
static bool vet_assignment(struct load *load, const char *line)
{
	size_t key = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	const char *equals = line + key + strspn(line + key, BLANKS);

	if (load->outside) {
		REFUSE(load, "stands before the first [section]");
		return false;
	}
	if (!key || *equals != '=') {
		REFUSE(load, "neither [section] nor 'key = value' nor a comment (keys are in lower case)");
		return false;
	}
	for (const char *c = equals + 1; *c; c++) {
		if (strchr(";#", *c) && strchr(BLANKS, c[-1])) {
			REFUSE(load, "'%c' behind a blank: a comment stands on a line of its own, and a value cannot hold this", *c);
			return false;
		}
	}
	return true;
}

static bool vet_bytes(struct load *load, const char *line, size_t len, size_t max)
{
	if (len > max) {
		REFUSE(load, "longer than %zu bytes; a list may be continued with the same key on the next line", max);
		return false;
	}
	if (!utf8_valid(line, len)) {
		REFUSE(load, memchr(line, '\0', len) ? "a NUL byte" : "not UTF-8");
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f) {
			REFUSE(load, "a control character");
			return false;
		}
	}
	return true;
}

/* Takes the next line into out. True: libinih is to see it. */
static bool read_line(struct load *load, char *out, size_t max)
{
	const char *line = load->next, *eol = memchr(line, '\n', (size_t)(load->end - line));
	size_t len = (size_t)((eol ? eol : load->end) - line), indent;

	load->next = eol ? eol + 1 : load->end;
	load->line++;
	if (load->line == 1 && len >= 3 && !memcmp(line, "\xef\xbb\xbf", 3)) {
		REFUSE(load, "starts with a byte order mark; save the file as UTF-8 without it");
		line += 3;
		len -= 3;
	}
	if (len && line[len - 1] == '\r')
		len--;
	if (!vet_bytes(load, line, len, max)) {
		/* If it was to begin a section, what follows is not of the one before. */
		if (len && line[0] == '[') {
			end_section(load);
			load->outside = false;
		}
		return false;
	}
	memcpy(out, line, len);
	out[len] = '\0';
	while (len && strchr(BLANKS, out[len - 1]))
		out[--len] = '\0';
	indent = strspn(out, BLANKS);
	if (!out[indent] || strchr(";#", out[indent]))
		return false;
	if (indent) {
		REFUSE(load, "starts with a blank; a value is not continued on the next line");
		return false;
	}
	if (out[0] == '[') {
		read_section(load, out, len);
		return false;
	}
	return vet_assignment(load, out);
}

/* fgets() for libinih: hands over assignments only, each whole and unambiguous. */
static char *next_assignment(char *out, int size, void *stream)
{
	struct load *load = stream;

	if (load->awaiting) {
		load->awaiting = false;
		REFUSE(load, "libinih did not take this line");
	}
	while (load->next < load->end) {
		if (read_line(load, out, (size_t)size - 3)) {
			load->awaiting = true;
			return out;
		}
	}
	return NULL;
}

/* libinih's handler. Its own idea of the section is not needed. */
static int take(void *user, const char *section, const char *key, const char *value)
{
	struct load *load = user;
	const struct conf_row *rows;
	struct suggestion near = SUGGESTION(key);
	struct err err = {.text = ""};

	(void)section;
	load->awaiting = false;
	if (!load->section)
		return 1;
	rows = load->section->rows;
	for (size_t i = 0; rows[i].key; i++) {
		suggest_offer(&near, rows[i].key);
		if (strcmp(rows[i].key, key) != 0)
			continue;
		if (load->given[i] && rows[i].type != CONF_T_LIST) {
			REFUSE(load, "'%s' is given already, in line %u", key, load->given[i]);
			return 1;
		}
		load->given[i] = load->line;
		if (ini_value_set(&rows[i], load->instance, value, &err) < 0)
			REFUSE(load, "'%s': %s", key, err.text);
		return 1;
	}
	if (near.best)
		REFUSE(load, "unknown key '%s' in [%s]; did you mean '%s'?", key, load->section->name, near.best);
	else
		REFUSE(load, "unknown key '%s' in [%s]", key, load->section->name);
	return 1;
}

/* ---- whole files ---- */

/* Plain sections that the file leaves out have their defaults, and their required keys are missing. */
static void add_absent(struct load *load)
{
	load->line = 0;
	for (const struct conf_section *section = load->sections; section->name; section++) {
		bool there = section->labelled;

		for (size_t i = 0; i < load->n_seen && !there; i++)
			there = load->seen[i].section == section;
		if (there)
			continue;
		begin_section(load, section, NULL);
		end_section(load);
	}
}

int conf_load_text(const char *name, const char *text, size_t len, const struct conf_section *sections, void *root, struct conf_errors *errors)
{
	struct load *load;
	int r;

	if (len > CONF_MAX_FILE) {
		conf_errors_add(errors, name, 0, "larger than %u KiB", CONF_MAX_FILE >> 10);
		return -PTA_EINVAL;
	}
	load = calloc(1, sizeof(*load));
	if (!load) {
		conf_errors_add(errors, name, 0, "out of memory");
		return -PTA_ENOMEM;
	}
	*load = (struct load){.name = name, .next = text, .end = text + len, .sections = sections, .root = root, .errors = errors, .outside = true};
	r = ini_parse_stream(next_assignment, load, take, load);
	if (r)
		conf_errors_add(errors, name, 0, r == -2 ? "out of memory" : "libinih refuses the file");
	end_section(load);
	add_absent(load);
	for (size_t i = 0; i < load->n_seen; i++)
		free(load->seen[i].label);
	free(load);
	return errors->count ? -PTA_EINVAL : 0;
}

int conf_load(const char *path, const struct conf_section *sections, void *root, struct conf_errors *errors)
{
	struct buf text = BUF_INIT(CONF_MAX_FILE);
	struct err err = {.text = ""};
	int r;

	r = file_read(path, CONF_MAX_FILE, &text, &err);
	if (r < 0)
		conf_errors_add(errors, path, 0, "%s", err.text);
	else
		r = conf_load_text(path, text.len ? (const char *)text.data : "", text.len, sections, root, errors);
	buf_done(&text);
	return r < 0 ? -PTA_EINVAL : 0;
}

void conf_free_rows(const struct conf_row *rows, void *instance)
{
	for (; rows->key; rows++)
		ini_value_free(rows, instance);
}

void conf_dump(struct buf *out, const char *name, const char *label, const struct conf_row *rows, const void *instance)
{
	buf_printf(out, "[%s%s%s]\n", name, label ? " " : "", label ? label : "");
	for (; rows->key; rows++)
		ini_value_dump(out, rows, instance);
}
