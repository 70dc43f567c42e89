/* What json_parse() takes, the writer can write, and is then taken again with the same members. */
#include <json-c/json.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_value(struct json_writer *w, const char *key, struct json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_null:
		json_put_string(w, key, NULL);
		break;
	case json_type_boolean:
		json_put_bool(w, key, json_object_get_boolean(value));
		break;
	case json_type_int:
		if (json_object_get_int64(value) < 0)
			json_put_int(w, key, json_object_get_int64(value));
		else
			json_put_uint(w, key, json_object_get_uint64(value));
		break;
	case json_type_double:
		json_put_double(w, key, json_object_get_double(value));
		break;
	case json_type_string:
		json_put_stringn(w, key, json_object_get_string(value), (size_t)json_object_get_string_len(value));
		break;
	case json_type_array:
		json_put_array(w, key);
		for (size_t i = 0; i < json_object_array_length(value); i++)
			write_value(w, NULL, json_object_array_get_idx(value, i));
		json_end_array(w);
		break;
	case json_type_object: {
		json_put_object(w, key);
		json_object_object_foreach(value, name, member)
		{
			write_value(w, name, member);
		}
		json_end_object(w);
		break;
	}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = BUF_INIT(8 * size + 64);
	struct json_writer w = JSON_WRITER(&out);
	struct json *doc = NULL, *again = NULL;
	struct json_fields f;
	struct err err;

	if (json_parse(data, size, &doc, &err) < 0)
		return 0;
	write_value(&w, NULL, json_root(doc));
	if (!buf_ok(&out) || json_parse(out.data, out.len, &again, &err) < 0)
		abort();
	if (json_object_object_length(json_root(doc)) != json_object_object_length(json_root(again)))
		abort();
	json_fields_begin(&f, json_root(again), &err);
	json_string(&f, "username", 1, 1024, NULL);
	json_uint_opt(&f, "number", 0, UINT32_MAX, 0);
	secret_free(json_secret(&f, "password", 1024));
	if (json_fields_end(&f) == 0 && f.seen != 3)
		abort();
	json_free(again);
	json_free(doc);
	buf_done(&out);
	return 0;
}
