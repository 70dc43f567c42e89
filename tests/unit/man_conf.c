#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "man_conf.h"

#define MAX_TEXT 65536

/* A text file's lines, read one by one. */
struct lines {
	struct buf text;
	char *rest;
};

static void lines_open(struct lines *lines, const char *path)
{
	struct err err;

	*lines = (struct lines){.text = BUF_INIT(MAX_TEXT)};
	if (file_read(path, MAX_TEXT, &lines->text, &err) < 0)
		fail_msg("%s: %s", path, err.text);
	lines->rest = (char *)lines->text.data;
}

static char *lines_next(struct lines *lines)
{
	return strsep(&lines->rest, "\n");
}

/* "[agent]" and "[directory NAME]" */
static const struct conf_section *find_section(const struct conf_section *sections, const char *heading)
{
	size_t len = strcspn(heading + 1, " ]");

	for (; sections->name; sections++)
		if (strlen(sections->name) == len && !strncmp(sections->name, heading + 1, len))
			return sections;
	fail_msg("%s is no section of the file", heading);
	return NULL;
}

static const struct conf_row *find_row(const struct conf_section *section, const char *key, size_t len)
{
	for (const struct conf_row *row = section->rows; row->key; row++)
		if (strlen(row->key) == len && !strncmp(row->key, key, len))
			return row;
	fail_msg("[%s] has no key %.*s", section->name, (int)len, key);
	return NULL;
}

/* ---- the page ---- */

/* ".Li VALUE", perhaps with a mark behind it as mdoc writes it: ".Li VALUE ." */
static void page_value(struct lines *lines, const char *key, const char *what, const char *value)
{
	const char *line = lines_next(lines), *behind;
	size_t len = strlen(value);

	if (!line || strncmp(line, ".Li ", 4) != 0 || strncmp(line + 4, value, len) != 0)
		fail_msg("%s: %s is %s, the page has '%s'", key, what, value, line ? line : "");
	behind = line + 4 + len;
	if (*behind && strcmp(behind, " .") != 0 && strcmp(behind, " ,") != 0)
		fail_msg("%s: %s is %s, the page has '%s'", key, what, value, line);
}

static void put_ms(char *out, size_t cap, unsigned ms)
{
	if (ms && ms % 3600000 == 0)
		snprintf(out, cap, "%uh", ms / 3600000);
	else if (ms && ms % 60000 == 0)
		snprintf(out, cap, "%um", ms / 60000);
	else if (ms && ms % 1000 == 0)
		snprintf(out, cap, "%us", ms / 1000);
	else
		snprintf(out, cap, "%ums", ms);
}

static void page_bound(struct lines *lines, const struct conf_row *row, const char *what, unsigned bound)
{
	char text[32];

	if (row->type == CONF_T_MS)
		put_ms(text, sizeof(text), bound);
	else
		snprintf(text, sizeof(text), "%u", bound);
	page_value(lines, row->key, what, text);
}

/* What an item must say, ticked off as its lines come. */
struct item {
	const struct conf_row *row;
	bool def, range, choices;
};

static void item_end(const struct item *item)
{
	const struct conf_row *row = item->row;

	if (!row)
		return;
	if (!item->def)
		fail_msg("%s: the page has neither 'Default:' nor 'Required.' nor 'No default'", row->key);
	if (!item->range && (row->type == CONF_T_UINT || row->type == CONF_T_MS))
		fail_msg("%s: the page does not tell its range", row->key);
	if (!item->choices && row->type == CONF_T_ENUM)
		fail_msg("%s: the page does not tell its choices", row->key);
}

static void item_line(struct item *item, const char *line, struct lines *lines)
{
	const struct conf_row *row = item->row;
	char most[32];

	if (!strcmp(line, "Default:")) {
		if (!row->def)
			fail_msg("%s has no default, but the page tells one", row->key);
		page_value(lines, row->key, "the default", row->def);
		item->def = true;
	} else if (!strcmp(line, "Required.")) {
		assert_true(row->required);
		item->def = true;
	} else if (!strncmp(line, "No default", 10)) {
		if (row->def || row->required)
			fail_msg("%s has a default or must be given, the page says 'No default'", row->key);
		item->def = true;
	} else if (!strcmp(line, "From")) {
		page_bound(lines, row, "the least", row->min);
		assert_string_equal(lines_next(lines), "to");
		page_bound(lines, row, "the most", row->max);
		item->range = true;
	} else if (!strcmp(line, "One of:")) {
		assert_int_equal(row->type, CONF_T_ENUM);
		for (size_t i = 0; row->choices[i]; i++)
			page_value(lines, row->key, "a choice", row->choices[i]);
		item->choices = true;
	} else if (!strncmp(line, "At most ", 8)) {
		snprintf(most, sizeof(most), "At most %u.", row->max);
		assert_int_equal(row->type, CONF_T_LIST);
		assert_string_equal(line, most);
	}
}

static bool documented(const char *page, const struct conf_section *section, const char *key)
{
	const struct conf_section *current = NULL;
	size_t len = strlen(key);
	struct lines lines;
	bool found = false;
	char *line;

	lines_open(&lines, page);
	while ((line = lines_next(&lines)) && !found) {
		if (!strncmp(line, ".Ss [", 5))
			current = strcspn(line + 5, " ]") == strlen(section->name) && !strncmp(line + 5, section->name, strlen(section->name)) ? section : NULL;
		else if (current && !strncmp(line, ".It Cm ", 7))
			found = !strncmp(line + 7, key, len) && line[7 + len] == ' ';
	}
	buf_done(&lines.text);
	return found;
}

void man_conf_check(const char *page, const struct conf_section *sections)
{
	const struct conf_section *section = NULL;
	struct item item = {0};
	struct lines lines;
	char *line;

	lines_open(&lines, page);
	while ((line = lines_next(&lines))) {
		if (!strncmp(line, ".It Cm ", 7) && section) {
			item_end(&item);
			item = (struct item){.row = find_row(section, line + 7, strcspn(line + 7, " "))};
		} else if (!strncmp(line, ".El", 3) || !strncmp(line, ".S", 2)) {
			item_end(&item);
			item.row = NULL;
			if (!strncmp(line, ".Ss [", 5))
				section = find_section(sections, line + 4);
		} else if (item.row) {
			item_line(&item, line, &lines);
		}
	}
	buf_done(&lines.text);
	for (section = sections; section->name; section++)
		for (const struct conf_row *row = section->rows; row->key; row++)
			if (!documented(page, section, row->key))
				fail_msg("%s: key %s of [%s] is missing", page, row->key, section->name);
}

/* ---- the example ---- */

#define MAX_ROWS 128

static void tick(const struct conf_row **ticked, size_t *n, const struct conf_row *row)
{
	assert_true(*n < MAX_ROWS);
	ticked[(*n)++] = row;
}

/* "key = value" or "#key = value"; a comment in prose has a blank behind its '#'. */
static void example_line(const struct conf_section *section, const char *line, const struct conf_row **ticked, size_t *n)
{
	bool active = *line != '#';
	const char *key = active ? line : line + 1;
	size_t len = strcspn(key, " ");
	const struct conf_row *row;

	assert_non_null(section);
	row = find_row(section, key, len);
	if (strncmp(key + len, " = ", 3) != 0)
		fail_msg("'%s' is not written 'key = value'", line);
	if (!active && row->def && strcmp(key + len + 3, row->def) != 0)
		fail_msg("the default of %s is %s, the example has '%s'", row->key, row->def, line);
	tick(ticked, n, row);
}

void man_conf_check_example(const char *example, const struct conf_section *sections)
{
	const struct conf_row *ticked[MAX_ROWS];
	const struct conf_section *section = NULL;
	struct lines lines;
	size_t n = 0;
	char *line;

	lines_open(&lines, example);
	while ((line = lines_next(&lines))) {
		if (*line == '[')
			section = find_section(sections, line);
		else if (*line && strncmp(line, "# ", 2) != 0 && strcmp(line, "#") != 0)
			example_line(section, line, ticked, &n);
	}
	buf_done(&lines.text);
	for (section = sections; section->name; section++) {
		for (const struct conf_row *row = section->rows; row->key; row++) {
			bool found = false;

			for (size_t i = 0; i < n; i++)
				found |= ticked[i] == row;
			if (!found)
				fail_msg("%s: key %s of [%s] is missing", example, row->key, section->name);
		}
	}
}
