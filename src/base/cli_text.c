#include "base/cli_text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/encode.h"

/* One character of a cell as it is shown: what a terminal would obey, or is not UTF-8, becomes '?'. */
static size_t shown(const char *text, size_t left, const char **out, size_t *out_len)
{
	size_t n = utf8_printable(text, left);

	*out = n ? text : "?";
	*out_len = n ? n : 1;
	if (n)
		return n;
	/* A C1 control character is one character of two bytes. */
	return left > 1 && utf8_valid(text, 2) && (unsigned char)text[0] >= 0xc2 ? 2 : 1;
}

size_t cli_width(const char *text)
{
	size_t left = strlen(text), width = 0, len, n;
	const char *piece;

	for (; left; left -= n, text += n, width++)
		n = shown(text, left, &piece, &len);
	return width;
}

static void put_shown(FILE *out, const char *text)
{
	size_t left = strlen(text), len, n;
	const char *piece;

	for (; left; left -= n, text += n) {
		n = shown(text, left, &piece, &len);
		fwrite(piece, 1, len, out);
	}
}

void cli_wrap(FILE *out, size_t at, size_t indent, const char *text)
{
	char word[256];

	while (*text) {
		size_t len = strcspn(text, " \n");

		if (*text == '\n') {
			fputc('\n', out);
			at = 0;
			text++;
			continue;
		}
		if (!len) {
			text++;
			continue;
		}
		snprintf(word, sizeof(word), "%.*s", (int)len, text);
		if (at > indent && at + 1 + cli_width(word) > CLI_COLUMNS) {
			fputc('\n', out);
			at = 0;
		}
		if (at < indent) {
			fprintf(out, "%*s", (int)(indent - at), "");
			at = indent;
		} else if (at > indent) {
			fputc(' ', out);
			at++;
		}
		fputs(word, out);
		at += cli_width(word);
		text += len;
	}
	fputc('\n', out);
}

bool cli_colour(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

static void widen(size_t *widths, const char *const *line, size_t columns)
{
	for (size_t column = 0; column < columns; column++) {
		size_t width = cli_width(line[column]);

		if (width > widths[column])
			widths[column] = width;
	}
}

/* The last column has no blanks behind it. */
static void print_line(FILE *out, const size_t *widths, const char *const *line, size_t columns)
{
	for (size_t column = 0; column < columns; column++) {
		put_shown(out, line[column]);
		if (column + 1 < columns)
			fprintf(out, "%*s", (int)(widths[column] + 2 - cli_width(line[column])), "");
	}
	fputc('\n', out);
}

void cli_table(FILE *out, const char *const *heads, size_t columns, const char *const *cells, size_t rows)
{
	size_t widths[CLI_MAX_COLUMNS] = {0};

	if (columns > CLI_MAX_COLUMNS)
		abort(); /* a table in the source, not anything from outside */
	widen(widths, heads, columns);
	for (size_t row = 0; row < rows; row++)
		widen(widths, cells + row * columns, columns);
	print_line(out, widths, heads, columns);
	for (size_t row = 0; row < rows; row++)
		print_line(out, widths, cells + row * columns, columns);
}
