/* One value of a configuration file: text to field and back, after a row of its table. The inner half of ini_conf.
 * Pure; thread-safe. */
#ifndef PTA_BASE_INI_VALUE_H
#define PTA_BASE_INI_VALUE_H

#include "base/ini_conf.h"

/* Sets the row's field of instance; a list is added to. On -PTA_EINVAL the text says what was expected, and the field is
 * as it was (a list may have grown). */
PTA_MUST_CHECK int ini_value_set(const struct conf_row *row, void *instance, const char *text, struct err *err);
/* Appends "key = value" in lines that libinih can take. */
void ini_value_dump(struct buf *out, const struct conf_row *row, const void *instance);
void ini_value_free(const struct conf_row *row, void *instance);

/* libinih's default INI_MAX_LINE (200) less carriage return, newline and NUL. */
#define INI_LINE_MAX 197

#endif
