/* Text for terminals: width and wrapping. The inner part of cli. Main thread only. */
#ifndef PTA_BASE_CLI_TEXT_H
#define PTA_BASE_CLI_TEXT_H

#include <stddef.h>
#include <stdio.h>

#define CLI_COLUMNS 80

/* UTF-8 characters. */
size_t cli_width(const char *text);
/* Prints text wrapped at CLI_COLUMNS with every line indented; `at` is the column that the cursor is in already. A newline in the
 * text begins a new line; one is put behind the text. */
void cli_wrap(FILE *out, size_t at, size_t indent, const char *text);

#endif
