#include "base/json.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

static int bad(struct json_fields *f, int code, const char *key, const char *what)
{
	if (f->status)
		return f->status;
	f->field = key;
	f->status = *key ? err_set(f->err, code, "field '%s' %s", key, what) : err_set(f->err, code, "%s", what);
	return f->status;
}

void json_fields_begin(struct json_fields *f, struct json_object *object, struct err *err)
{
	*f = (struct json_fields){.object = object, .err = err, .field = ""};
	if (!json_object_is_type(object, json_type_object))
		bad(f, -PTA_EPROTO, "", "an object is needed");
}

/* The member's value, NULL when it is absent or a problem came before; with a type it must be of that one. */
static struct json_object *get(struct json_fields *f, const char *key, enum json_type type, bool required, const char *what)
{
	struct json_object *value;

	if (f->status)
		return NULL;
	if (f->seen == PTA_ARRAY_SIZE(f->known)) { /* the table is too small for this message: a fault of the program, not of the peer */
		bad(f, -PTA_EINVAL, key, "is one more than json_fields can take");
		return NULL;
	}
	f->known[f->seen++] = key;
	if (!json_object_object_get_ex(f->object, key, &value)) {
		if (required)
			bad(f, -PTA_EPROTO, key, "is missing");
		return NULL;
	}
	if (!json_object_is_type(value, type)) {
		bad(f, -PTA_EPROTO, key, what);
		return NULL;
	}
	return value;
}

static const char *string(struct json_fields *f, const char *key, size_t min, size_t max, size_t *len, bool required)
{
	struct json_object *value = get(f, key, json_type_string, required, "must be a string");
	size_t n;

	if (len)
		*len = 0;
	if (!value)
		return NULL;
	n = (size_t)json_object_get_string_len(value);
	if (n < min || n > max) {
		if (!f->status) {
			f->field = key;
			f->status = n ? err_set(f->err, -PTA_EPROTO, "field '%s' must have %zu to %zu bytes", key, min, max)
				      : err_set(f->err, -PTA_EPROTO, "field '%s' must not be empty", key);
		}
		return NULL;
	}
	if (len)
		*len = n;
	return json_object_get_string(value);
}

const char *json_string(struct json_fields *f, const char *key, size_t min, size_t max, size_t *len)
{
	const char *value = string(f, key, min, max, len, true);

	return value ? value : "";
}

const char *json_string_opt(struct json_fields *f, const char *key, size_t min, size_t max, size_t *len)
{
	return string(f, key, min, max, len, false);
}

/* json-c keeps integers as int64 or uint64 and refuses what is outside of both. */
static uint64_t number(struct json_fields *f, struct json_object *value, const char *key, uint64_t min, uint64_t max)
{
	uint64_t v = json_object_get_uint64(value);

	if (json_object_get_int64(value) >= 0 && v >= min && v <= max)
		return v;
	f->field = key;
	f->status = err_set(f->err, -PTA_EPROTO, "field '%s' must be from %" PRIu64 " to %" PRIu64, key, min, max);
	return 0;
}

uint64_t json_uint(struct json_fields *f, const char *key, uint64_t min, uint64_t max)
{
	struct json_object *value = get(f, key, json_type_int, true, "must be a whole number");

	return value ? number(f, value, key, min, max) : 0;
}

uint64_t json_uint_opt(struct json_fields *f, const char *key, uint64_t min, uint64_t max, uint64_t absent)
{
	struct json_object *value = get(f, key, json_type_int, false, "must be a whole number");

	if (value)
		return number(f, value, key, min, max);
	return f->status ? 0 : absent;
}

bool json_bool_opt(struct json_fields *f, const char *key, bool absent)
{
	struct json_object *value = get(f, key, json_type_boolean, false, "must be true or false");

	if (value)
		return json_object_get_boolean(value);
	return !f->status && absent;
}

static struct json_object *array(struct json_fields *f, const char *key, size_t max, size_t *n, bool required)
{
	struct json_object *value = get(f, key, json_type_array, required, "must be an array");

	*n = 0;
	if (!value)
		return NULL;
	if (json_object_array_length(value) > max) {
		f->field = key;
		f->status = err_set(f->err, -PTA_EPROTO, "field '%s' may have at most %zu elements", key, max);
		return NULL;
	}
	*n = json_object_array_length(value);
	return value;
}

struct json_object *json_array(struct json_fields *f, const char *key, size_t max, size_t *n)
{
	return array(f, key, max, n, true);
}

struct json_object *json_array_opt(struct json_fields *f, const char *key, size_t max, size_t *n)
{
	return array(f, key, max, n, false);
}

struct json_object *json_array_at(struct json_object *list, size_t i)
{
	return json_object_array_get_idx(list, i);
}

const char *json_text(struct json_object *node, size_t *len)
{
	if (!json_object_is_type(node, json_type_string))
		return NULL;
	if (len)
		*len = (size_t)json_object_get_string_len(node);
	return json_object_get_string(node);
}

struct json_object *json_object_opt(struct json_fields *f, const char *key)
{
	return get(f, key, json_type_object, false, "must be an object");
}

void json_bytes(struct json_fields *f, const char *key, uint8_t *out, size_t min, size_t cap, size_t *len)
{
	size_t n;
	const char *text = string(f, key, 0, BASE64URL_LEN(cap), &n, true);

	*len = 0;
	if (!text)
		return;
	if (decode_base64url(text, n, out, cap, len) < 0) {
		*len = 0;
		bad(f, -PTA_EPROTO, key, "must be base64url without padding");
	} else if (*len < min) {
		*len = 0;
		bad(f, -PTA_EPROTO, key, "is too short");
	}
}

struct secret *json_secret(struct json_fields *f, const char *key, size_t max)
{
	size_t n;
	const char *text = string(f, key, 0, max, &n, true);
	struct secret *secret;

	if (!text)
		return NULL;
	secret = secret_dup(text, n);
	secret_wipe((void *)(uintptr_t)text, n);
	if (!secret)
		bad(f, -PTA_ENOMEM, key, "found no room in the memory for secrets");
	return secret;
}

int json_field_bad(struct json_fields *f, const char *key, const char *what)
{
	return bad(f, -PTA_EPROTO, key, what);
}

int json_fields_end(struct json_fields *f)
{
	if (f->status)
		return f->status;
	json_object_object_foreach (f->object, key, value) {
		unsigned i = 0;

		(void)value;
		while (i < f->seen && strcmp(f->known[i], key) != 0)
			i++;
		if (i < f->seen)
			continue;
		/* The name is the peer's: only a harmless one is repeated. */
		if (strlen(key) <= 64 && ascii_printable(key, strlen(key)))
			f->status = err_set(f->err, -PTA_EPROTO, "unknown field '%s'", key);
		else
			f->status = err_set(f->err, -PTA_EPROTO, "unknown field");
		return f->status;
	}
	return 0;
}
