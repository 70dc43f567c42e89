#include "service/commands.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/control_client.h"

#define ANSWER_LIMIT (4u << 20)

int command_conf(const char *path, struct service_conf **out)
{
	struct conf_errors errors;
	int r;

	conf_errors_init(&errors);
	r = service_conf_load(path ? path : SERVICE_CONF_PATH, out, &errors);
	if (r < 0)
		fputs(errors.count ? (const char *)errors.text.data : PROGRAM ": no memory for the configuration\n", stderr);
	conf_errors_done(&errors);
	return r < 0 ? CLI_CONFIG : CLI_OK;
}

int command_call(const char *config, const char *method, const char *path, struct buf *body, unsigned timeout_ms, int *status, struct json **out)
{
	struct service_conf *conf PTA_CLEANUP(service_conf_unrefp) = NULL;
	struct buf answer PTA_CLEANUP(buf_done) = BUF_INIT_WIPED(ANSWER_LIMIT); /* keys and tokens come this way */
	struct err err;
	int r;

	r = command_conf(config, &conf);
	if (r != CLI_OK)
		return r;
	if (body && !buf_ok(body))
		return cli_fail(PROGRAM, CLI_FAILED, "what was given is too long for one message");
	r = control_call(conf->control_socket, method, path, body ? body->data : NULL, body ? body->len : 0, timeout_ms, status, &answer, &err);
	if (body)
		buf_done(body);
	if (r < 0)
		return cli_fail(PROGRAM,
			r == -PTA_EPERM				? CLI_PERMISSION
			: r == -PTA_ENET || r == -PTA_ETIMEDOUT ? CLI_UNREACHABLE
								: CLI_FAILED,
			"%s", err.text);
	if (json_parse(answer.data, answer.len, out, &err) < 0)
		return cli_fail(PROGRAM, CLI_FAILED, "the daemon's answer (HTTP %d) cannot be read: %s", *status, err.text);
	return CLI_OK;
}

int command_ask(const char *config, const char *method, const char *path, struct buf *body, struct json **out)
{
	int status, r;

	r = command_call(config, method, path, body, COMMAND_TIMEOUT_MS, &status, out);
	if (r != CLI_OK || status == 200)
		return r;
	r = cli_fail(PROGRAM, status == 403 ? CLI_PERMISSION : CLI_FAILED, "%s", command_text(json_root(*out), "message"));
	json_freep(out);
	return r;
}

const char *command_tenant(const struct common_options *o)
{
	return o->tenant ? o->tenant : DEFAULT_TENANT;
}

int command_change(const struct common_options *o, const char *path, const char *tenant, const char *key, const char *value, const char *done)
{
	struct json *answer PTA_CLEANUP(json_freep) = NULL;
	struct buf body = BUF_INIT(65536);
	struct json_writer w = JSON_WRITER(&body);
	int r;

	json_put_object(&w, NULL);
	if (tenant)
		json_put_string(&w, "tenant", tenant);
	json_put_string(&w, key, value);
	json_end_object(&w);
	r = command_ask(o->config, "POST", path, &body, &answer);
	buf_done(&body);
	if (r == CLI_OK)
		printf("%s %s\n", value, done);
	return r;
}

struct json_object *command_member(struct json_object *object, const char *key)
{
	struct json_object *member = NULL;

	return json_object_object_get_ex(object, key, &member) ? member : NULL;
}

static const char *text_of(struct json_object *value)
{
	const char *text;

	if (json_object_is_type(value, json_type_boolean))
		return json_object_get_boolean(value) ? "yes" : "no";
	text = json_object_get_string(value);
	return text && *text ? text : "-";
}

const char *command_text(struct json_object *object, const char *key)
{
	return text_of(command_member(object, key));
}

void command_print_json(struct json_object *value)
{
	puts(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void print_value(struct json_object *value)
{
	if (!json_object_is_type(value, json_type_array)) {
		puts(text_of(value));
		return;
	}
	for (size_t i = 0; i < json_object_array_length(value); i++)
		printf("%s%s", i ? " " : "", text_of(json_object_array_get_idx(value, i)));
	puts(json_object_array_length(value) ? "" : "-");
}

/* What an object holds stands indented below its name. */
static void print_fields(struct json_object *object, int indent)
{
	json_object_object_foreach (object, key, value) {
		int width = indent + (int)strlen(key);

		printf("%*s", indent, "");
		for (const char *c = key; *c; c++)
			putchar(*c == '_' ? ' ' : *c);
		if (json_object_is_type(value, json_type_object)) {
			putchar('\n');
			print_fields(value, indent + 2);
			continue;
		}
		printf("%*s", width < 20 ? 20 - width : 1, "");
		print_value(value);
	}
}

void command_print_fields(struct json_object *object)
{
	print_fields(object, 0);
}

/* A cell of its own memory: lists are joined. */
static char *cell_of(struct json_object *object, const char *key)
{
	struct json_object *value = command_member(object, key);
	struct buf text = BUF_INIT(ANSWER_LIMIT);

	if (!json_object_is_type(value, json_type_array))
		return strdup(text_of(value));
	buf_puts(&text, json_object_array_length(value) ? "" : "-");
	for (size_t i = 0; i < json_object_array_length(value); i++)
		buf_printf(&text, "%s%s", i ? " " : "", text_of(json_object_array_get_idx(value, i)));
	if (!buf_ok(&text)) {
		buf_done(&text);
		return NULL;
	}
	return (char *)text.data;
}

static int print_items(struct json *answer, const char *const *heads, const char *const *keys, size_t columns, const char *none)
{
	struct json_object *items = command_member(json_root(answer), "items");
	size_t rows = json_object_is_type(items, json_type_array) ? json_object_array_length(items) : 0, made = 0;
	char **cells;

	if (!rows) {
		puts(none);
		return CLI_OK;
	}
	cells = calloc(rows * columns, sizeof(*cells));
	while (cells && made < rows * columns && (cells[made] = cell_of(json_object_array_get_idx(items, made / columns), keys[made % columns])))
		made++;
	if (made == rows * columns)
		cli_table(stdout, heads, columns, (const char *const *)cells, rows);
	for (size_t i = 0; i < made; i++)
		free(cells[i]);
	free(cells);
	return made == rows * columns ? CLI_OK : cli_fail(PROGRAM, CLI_FAILED, "no memory for the list");
}

int command_list(const struct common_options *options, const char *path, const char *const *heads, const char *const *keys, size_t columns, const char *none)
{
	struct json *answer PTA_CLEANUP(json_freep) = NULL;
	int r = command_ask(options->config, "GET", path, NULL, &answer);

	if (r != CLI_OK)
		return r;
	if (!options->json)
		return print_items(answer, heads, keys, columns, none);
	command_print_json(command_member(json_root(answer), "items"));
	return CLI_OK;
}
