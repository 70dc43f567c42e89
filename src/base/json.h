/* Strict JSON over json-c: one value, valid UTF-8, no duplicate keys, bounded depth, nothing behind it; typed
 * getters that know which keys are allowed; a writer into struct buf. Not thread-safe per document. */
#ifndef PTA_BASE_JSON_H
#define PTA_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

#define JSON_MAX_DEPTH 8

struct json;	   /* a parsed document */
struct json_object; /* json-c's own type, used as an opaque node */

/* Parses. The text is not changed; the caller wipes it. All memory that json-c made for string values is wiped by
 * json_free() (tokener buffer included). On error the text says what and at which byte. */
PTA_MUST_CHECK int json_parse(const void *text, size_t len, struct json **out, struct err *err);
void json_free(struct json *doc);
void json_freep(struct json **doc);
struct json_object *json_root(struct json *doc);

/* One object's fields, read one after the other; the first problem stays in err and field, later reads give empty
 * values. json_fields_end() also refuses unknown keys. Strings point into the document. */
struct json_fields {
	struct json_object *object;
	struct err *err;
	const char *field; /* the field that was wrong, a constant; "" when none */
	int status;	   /* 0 or the first -PTA_E* */
	unsigned seen;
	const char *known[24];
};

void json_fields_begin(struct json_fields *f, struct json_object *object, struct err *err);
/* Required string of min..max bytes; NUL bytes refused. Returns "" on a problem. *len may be NULL. */
const char *json_string(struct json_fields *f, const char *key, size_t min, size_t max, size_t *len);
/* Optional: NULL when absent. */
const char *json_string_opt(struct json_fields *f, const char *key, size_t min, size_t max, size_t *len);
uint64_t json_uint(struct json_fields *f, const char *key, uint64_t min, uint64_t max);
uint64_t json_uint_opt(struct json_fields *f, const char *key, uint64_t min, uint64_t max, uint64_t absent);
bool json_bool_opt(struct json_fields *f, const char *key, bool absent);
/* Required array of at most max elements; NULL on a problem. *n its length. */
struct json_object *json_array(struct json_fields *f, const char *key, size_t max, size_t *n);
struct json_object *json_array_opt(struct json_fields *f, const char *key, size_t max, size_t *n);
struct json_object *json_array_at(struct json_object *array, size_t i);
/* An array's element as a string, NULL when it is none. *len may be NULL. */
const char *json_text(struct json_object *node, size_t *len);
struct json_object *json_object_opt(struct json_fields *f, const char *key);
/* base64url of at most cap bytes. */
void json_bytes(struct json_fields *f, const char *key, uint8_t *out, size_t min, size_t cap, size_t *len);
/* A password: copied into a new secret, the document's copy wiped at once. NULL on a problem. */
struct secret *json_secret(struct json_fields *f, const char *key, size_t max);
/* Marks a problem of the caller's own ("unknown verdict") on a field; returns the status. */
int json_field_bad(struct json_fields *f, const char *key, const char *what);
PTA_MUST_CHECK int json_fields_end(struct json_fields *f);

/* Writing: straight into a buffer, commas kept by the writer, strings escaped (RFC 8259). */
struct json_writer {
	struct buf *out;
	bool comma;
};

#define JSON_WRITER(buffer) ((struct json_writer){.out = (buffer)})

/* key NULL inside arrays and at the top. */
void json_put_object(struct json_writer *w, const char *key);
void json_end_object(struct json_writer *w);
void json_put_array(struct json_writer *w, const char *key);
void json_end_array(struct json_writer *w);
void json_put_string(struct json_writer *w, const char *key, const char *value); /* NULL value: null */
void json_put_stringn(struct json_writer *w, const char *key, const char *value, size_t len);
void json_put_uint(struct json_writer *w, const char *key, uint64_t value);
void json_put_int(struct json_writer *w, const char *key, int64_t value);
void json_put_double(struct json_writer *w, const char *key, double value);
void json_put_bool(struct json_writer *w, const char *key, bool value);
void json_put_base64url(struct json_writer *w, const char *key, const void *data, size_t len);

#endif
