/* Configuration files: whatever loads cleanly must dump to a text that loads to the same dump. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ini_conf.h"

struct part {
	char *string;
	unsigned number, time;
	bool flag;
	int choice;
	struct conf_list list;
};

struct root {
	struct part plain, labelled[4];
	char *labels[4];
	size_t n;
};

static const char *const choices[] = {"one", "two", NULL};

static const struct conf_row rows[] = {
	CONF_STRING(struct part, string, "text", "h"),
	CONF_UINT(struct part, number, 0, 4294967295, 7, "h"),
	CONF_MS(struct part, time, 0, 4294967295, "1s", "h"),
	CONF_BOOL(struct part, flag, "no", "h"),
	CONF_ENUM(struct part, choice, choices, "one", "h"),
	CONF_LIST(struct part, list, 16, NULL, "h"),
	{0},
};

static int plain(void *root, const char *label, void **out, struct err *err)
{
	(void)label;
	(void)err;
	*out = &((struct root *)root)->plain;
	return 0;
}

static int labelled(void *root, const char *label, void **out, struct err *err)
{
	struct root *r = root;

	if (r->n == 4)
		return err_set(err, -PTA_ETOOBIG, "too many");
	r->labels[r->n] = strdup(label);
	if (!r->labels[r->n])
		abort();
	*out = &r->labelled[r->n++];
	return 0;
}

static const struct conf_section sections[] = {
	{.name = "plain", .rows = rows, .instance = plain},
	{.name = "more", .labelled = true, .rows = rows, .instance = labelled},
	{0},
};

/* Appends the dump of the text to out; false when the text is refused. */
static bool load_and_dump(const void *text, size_t len, struct buf *out)
{
	struct conf_errors errors;
	struct root root = {0};
	bool good;

	conf_errors_init(&errors);
	good = conf_load_text("fuzz", text, len, sections, &root, &errors) == 0;
	if (good != (errors.count == 0))
		abort();
	if (good) {
		conf_dump(out, "plain", NULL, rows, &root.plain);
		for (size_t i = 0; i < root.n; i++)
			conf_dump(out, "more", root.labels[i], rows, &root.labelled[i]);
	}
	conf_free_rows(rows, &root.plain);
	for (size_t i = 0; i < root.n; i++) {
		conf_free_rows(rows, &root.labelled[i]);
		free(root.labels[i]);
	}
	conf_errors_done(&errors);
	return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf first = BUF_INIT(1u << 20), second = BUF_INIT(1u << 20);

	if (load_and_dump(data, size, &first)) {
		if (!buf_ok(&first) || !load_and_dump(first.data, first.len, &second) || second.len != first.len ||
			memcmp(first.data, second.data, first.len) != 0)
			abort();
	}
	buf_done(&first);
	buf_done(&second);
	return 0;
}
