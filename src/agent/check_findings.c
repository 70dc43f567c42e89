/* The list of findings of `pta-agent check`, and how it is shown. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/check.h"
#include "base/cli.h"
#include "base/encode.h"
#include "base/json.h"

static const struct {
	const char *name, *mark, *colour;
	int exit;
} severities[] = {
	[SEVERITY_OK] = {"ok", "✓", "\033[32m", CLI_OK},
	[SEVERITY_WARNING] = {"warning", "!", "\033[33m", CHECK_WARNINGS},
	[SEVERITY_ERROR] = {"error", "✗", "\033[31m", CLI_FAILED},
};

/* What peers say ends up in these texts. */
static void make_printable(char *text)
{
	size_t left = strlen(text), n;

	for (; left > 0; text += n, left -= n) {
		n = utf8_printable(text, left);
		if (n > 0)
			continue;
		*text = '?';
		n = 1;
	}
}

static void add(struct findings *findings, enum severity severity, const char *what, const char *mend, const char *fmt, va_list ap)
{
	struct finding *item;

	if (severity > findings->worst)
		findings->worst = severity;
	if (findings->n == findings->cap) {
		size_t cap = findings->cap ? findings->cap * 2 : 32;
		struct finding *grown = realloc(findings->items, cap * sizeof(*grown));

		if (!grown) {
			findings->worst = SEVERITY_ERROR;
			return;
		}
		findings->items = grown;
		findings->cap = cap;
	}
	item = &findings->items[findings->n++];
	item->severity = severity;
	snprintf(item->what, sizeof(item->what), "%s", what);
	snprintf(item->mend, sizeof(item->mend), "%s", mend);
	vsnprintf(item->text, sizeof(item->text), fmt, ap);
	make_printable(item->what);
	make_printable(item->mend);
	make_printable(item->text);
	if (findings->shown)
		findings->shown(item);
}

void findings_good(struct findings *findings, const char *what, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(findings, SEVERITY_OK, what, "", fmt, ap);
	va_end(ap);
}

void findings_warn(struct findings *findings, const char *what, const char *mend, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(findings, SEVERITY_WARNING, what, mend, fmt, ap);
	va_end(ap);
}

void findings_bad(struct findings *findings, const char *what, const char *mend, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(findings, SEVERITY_ERROR, what, mend, fmt, ap);
	va_end(ap);
}

void findings_fault(struct findings *findings, enum severity severity, const char *what, const char *mend, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(findings, severity, what, mend, fmt, ap);
	va_end(ap);
}

void findings_done(struct findings *findings)
{
	free(findings->items);
	*findings = (struct findings){0};
}

void findings_show(const struct finding *finding)
{
	bool colour = cli_colour();

	printf("%s%s%s %s: %s\n", colour ? severities[finding->severity].colour : "", severities[finding->severity].mark, colour ? "\033[0m" : "",
		finding->what, finding->text);
	if (finding->mend[0])
		printf("  → %s\n", finding->mend);
	fflush(stdout);
}

void findings_json(const struct findings *findings, struct buf *out)
{
	struct json_writer w = JSON_WRITER(out);

	json_put_object(&w, NULL);
	json_put_bool(&w, "ok", findings->worst != SEVERITY_ERROR);
	json_put_string(&w, "severity", severities[findings->worst].name);
	json_put_array(&w, "checks");
	for (size_t i = 0; i < findings->n; i++) {
		const struct finding *item = &findings->items[i];

		json_put_object(&w, NULL);
		json_put_string(&w, "check", item->what);
		json_put_bool(&w, "ok", item->severity != SEVERITY_ERROR);
		json_put_string(&w, "severity", severities[item->severity].name);
		json_put_string(&w, "text", item->text);
		json_put_string(&w, "mend", item->mend);
		json_end_object(&w);
	}
	json_end_array(&w);
	json_end_object(&w);
}

int findings_exit(const struct findings *findings)
{
	return severities[findings->worst].exit;
}
