#include "base/ini_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/suggest.h"

#define LIST_BLANKS " \t,"

static void *field(const struct conf_row *row, void *instance)
{
	return (char *)instance + row->offset;
}

static const void *const_field(const struct conf_row *row, const void *instance)
{
	return (const char *)instance + row->offset;
}

static const struct {
	const char *name;
	unsigned ms;
} units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

/* Decimal digits only; the rest of the text follows in *end. */
static bool parse_digits(const char *text, unsigned long long *out, char **end)
{
	if (*text < '0' || *text > '9' || strspn(text, "0123456789") > 10)
		return false;
	*out = strtoull(text, end, 10);
	return true;
}

static int set_uint(const struct conf_row *row, unsigned *out, const char *text, struct err *err)
{
	unsigned long long value;
	char *end;

	if (!parse_digits(text, &value, &end) || *end)
		return err_set(err, -PTA_EINVAL, "'%s' is not a number", text);
	if (value < row->min || value > row->max)
		return err_set(err, -PTA_EINVAL, "%s is outside %u to %u", text, row->min, row->max);
	*out = (unsigned)value;
	return 0;
}

static void put_ms(struct buf *out, unsigned ms)
{
	size_t i = 0;

	while (i < PTA_ARRAY_SIZE(units) - 1 && (!ms || ms % units[i].ms))
		i++;
	buf_printf(out, "%u%s", ms / units[i].ms, units[i].name);
}

static int set_ms(const struct conf_row *row, unsigned *out, const char *text, struct err *err)
{
	unsigned long long value, unit = 0;
	struct buf range = BUF_INIT(64);
	char *end;

	if (!parse_digits(text, &value, &end))
		return err_set(err, -PTA_EINVAL, "'%s' is not a time (500ms, 10s, 5m, 1h)", text);
	if (!*end)
		unit = 1000;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(units); i++)
		if (!strcmp(end, units[i].name))
			unit = units[i].ms;
	if (!unit)
		return err_set(err, -PTA_EINVAL, "'%s' is not a time (500ms, 10s, 5m, 1h)", text);
	if (value < (row->min + unit - 1) / unit || value > row->max / unit) {
		put_ms(&range, row->min);
		buf_puts(&range, " to ");
		put_ms(&range, row->max);
		err_set(err, -PTA_EINVAL, "%s is outside %s", text, buf_ok(&range) ? (const char *)range.data : "its range");
		buf_done(&range);
		return -PTA_EINVAL;
	}
	*out = (unsigned)(value * unit);
	return 0;
}

static int set_bool(bool *out, const char *text, struct err *err)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(words); i++) {
		if (!strcasecmp(text, words[i])) {
			*out = i % 2;
			return 0;
		}
	}
	return err_set(err, -PTA_EINVAL, "'%s' is neither yes nor no", text);
}

static int set_enum(const struct conf_row *row, int *out, const char *text, struct err *err)
{
	struct suggestion near = SUGGESTION(text);
	char all[256] = "";
	size_t used = 0;

	for (int i = 0; row->choices[i]; i++) {
		if (!strcmp(text, row->choices[i])) {
			*out = i;
			return 0;
		}
		suggest_offer(&near, row->choices[i]);
		if (used < sizeof(all))
			used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", row->choices[i]);
	}
	return err_set(err, -PTA_EINVAL, "'%s' is none of: %s%s%s%s", text, all, near.best ? " (did you mean '" : "", near.best ? near.best : "",
		near.best ? "'?)" : "");
}

static int set_string(const struct conf_row *row, char **out, const char *text, struct err *err)
{
	size_t len = strlen(text);
	char *copy;

	if (len < row->min)
		return err_set(err, -PTA_EINVAL, len ? "is shorter than %u bytes" : "has no value (at least %u byte)", row->min);
	if (len > row->max)
		return err_set(err, -PTA_EINVAL, "is longer than %u bytes", row->max);
	copy = strdup(text);
	if (!copy)
		return err_set(err, -PTA_ENOMEM, "out of memory");
	free(*out);
	*out = copy;
	return 0;
}

static int list_add(struct conf_list *list, const char *word, size_t len)
{
	char **items = reallocarray(list->items, list->n + 1, sizeof(*items));

	if (!items)
		return -PTA_ENOMEM;
	list->items = items;
	items[list->n] = strndup(word, len);
	if (!items[list->n])
		return -PTA_ENOMEM;
	list->n++;
	return 0;
}

static int set_list(const struct conf_row *row, struct conf_list *list, const char *text, struct err *err)
{
	const char *word = text + strspn(text, LIST_BLANKS);
	size_t len;

	for (; *word; word += len + strspn(word + len, LIST_BLANKS)) {
		len = strcspn(word, LIST_BLANKS);
		if (list->n >= row->max)
			return err_set(err, -PTA_EINVAL, "has more than %u items", row->max);
		if (list_add(list, word, len) < 0)
			return err_set(err, -PTA_ENOMEM, "out of memory");
	}
	if (list->n < row->min)
		return err_set(err, -PTA_EINVAL, list->n ? "has fewer than %u items" : "has no value (at least %u item)", row->min);
	return 0;
}

int ini_value_set(const struct conf_row *row, void *instance, const char *text, struct err *err)
{
	switch (row->type) {
	case CONF_T_STRING:
		return set_string(row, field(row, instance), text, err);
	case CONF_T_UINT:
		return set_uint(row, field(row, instance), text, err);
	case CONF_T_MS:
		return set_ms(row, field(row, instance), text, err);
	case CONF_T_BOOL:
		return set_bool(field(row, instance), text, err);
	case CONF_T_ENUM:
		return set_enum(row, field(row, instance), text, err);
	case CONF_T_LIST:
		return set_list(row, field(row, instance), text, err);
	}
	return err_set(err, -PTA_EINVAL, "has no known type");
}

void ini_value_free(const struct conf_row *row, void *instance)
{
	struct conf_list *list;
	char **string;

	if (row->type == CONF_T_STRING) {
		string = field(row, instance);
		free(*string);
		*string = NULL;
	} else if (row->type == CONF_T_LIST) {
		list = field(row, instance);
		for (size_t i = 0; i < list->n; i++)
			free(list->items[i]);
		free(list->items);
		*list = (struct conf_list){0};
	}
}

/* Begins a new line of the same key where the next item would not fit. */
static void dump_list(struct buf *out, const char *key, const struct conf_list *list)
{
	size_t used = 0, len;

	for (size_t i = 0; i < list->n; i++) {
		len = strlen(list->items[i]);
		if (used && used + 2 + len <= INI_LINE_MAX) {
			buf_printf(out, ", %s", list->items[i]);
			used += 2 + len;
			continue;
		}
		buf_printf(out, "%s%s = %s", i ? "\n" : "", key, list->items[i]);
		used = strlen(key) + 3 + len;
	}
	buf_putc(out, '\n');
}

void ini_value_dump(struct buf *out, const struct conf_row *row, const void *instance)
{
	const void *value = const_field(row, instance);
	const char *const *string = value;
	const struct conf_list *list = value;

	if ((row->type == CONF_T_STRING && !*string) || (row->type == CONF_T_LIST && !list->n)) {
		buf_printf(out, "# %s is not set\n", row->key);
		return;
	}
	if (row->type == CONF_T_LIST) {
		dump_list(out, row->key, list);
		return;
	}
	buf_printf(out, "%s = ", row->key);
	if (row->type == CONF_T_STRING)
		buf_puts(out, *string);
	else if (row->type == CONF_T_UINT)
		buf_printf(out, "%u", *(const unsigned *)value);
	else if (row->type == CONF_T_MS)
		put_ms(out, *(const unsigned *)value);
	else if (row->type == CONF_T_BOOL)
		buf_puts(out, *(const bool *)value ? "yes" : "no");
	else
		buf_puts(out, row->choices[*(const int *)value]);
	buf_putc(out, '\n');
}
