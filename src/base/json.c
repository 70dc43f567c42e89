#include "base/json.h"

#include <json-c/json.h>
#include <json-c/printbuf.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

struct json {
	struct json_object *root;
};

/* json-c hands out const pointers to bytes that it owns and that nothing else reads any more. */
static void wipe_const(const char *data, size_t len)
{
	secret_wipe((void *)(uintptr_t)data, len);
}

/* Recursion is bounded by JSON_MAX_DEPTH, here and below. */
static void wipe_strings(struct json_object *node)
{
	switch (json_object_get_type(node)) {
	case json_type_string:
		wipe_const(json_object_get_string(node), (size_t)json_object_get_string_len(node));
		break;
	case json_type_array:
		for (size_t i = 0; i < json_object_array_length(node); i++)
			wipe_strings(json_object_array_get_idx(node, i));
		break;
	case json_type_object: {
		json_object_object_foreach(node, key, value)
		{
			(void)key;
			wipe_strings(value);
		}
		break;
	}
	default:
		break;
	}
}

/* The lexical rules of RFC 8259. json-c, even when strict, takes NaN and Infinity, leading zeros, control characters in
 * strings and lone surrogates, and it forgets the first of two members with one name: hence this pass over the text, which
 * also counts members and depth. The structure is json-c's. */
struct scan {
	const char *text;
	size_t len, pos;
	size_t members;
	long depth;
};

static unsigned hex4(const struct scan *s, size_t at)
{
	unsigned v = 0;

	for (size_t i = at; i < at + 4; i++) {
		char c = i < s->len ? s->text[i] : '\0';

		if (c >= '0' && c <= '9')
			v = v << 4 | (unsigned)(c - '0');
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			v = v << 4 | ((unsigned)(c & 7) + 9);
		else
			return 0; /* no number: as little allowed as NUL */
	}
	return v;
}

/* At a backslash. */
static const char *scan_escape(struct scan *s)
{
	char c = s->pos + 1 < s->len ? s->text[s->pos + 1] : '\0';
	unsigned unit;

	if (c != 'u') {
		if (!c || !strchr("\"\\/bfnrt", c))
			return "unknown escape";
		s->pos += 2;
		return NULL;
	}
	unit = hex4(s, s->pos + 2);
	if (!unit)
		return "\\u without four hex digits, or a NUL character";
	s->pos += 6;
	if (unit < 0xd800 || unit > 0xdfff)
		return NULL;
	if (unit > 0xdbff || s->len - s->pos < 6 || memcmp(s->text + s->pos, "\\u", 2) != 0)
		return "surrogate without its pair";
	unit = hex4(s, s->pos + 2);
	if (unit < 0xdc00 || unit > 0xdfff)
		return "surrogate without its pair";
	s->pos += 6;
	return NULL;
}

/* At the opening quote. */
static const char *scan_string(struct scan *s)
{
	size_t start = ++s->pos;
	const char *what;

	while (s->pos < s->len && s->text[s->pos] != '"') {
		if ((unsigned char)s->text[s->pos] < 0x20)
			return "control character in a string";
		if (s->text[s->pos] != '\\') {
			s->pos++;
			continue;
		}
		what = scan_escape(s);
		if (what)
			return what;
	}
	if (s->pos >= s->len)
		return "string without an end";
	if (!utf8_valid(s->text + start, s->pos - start)) {
		s->pos = start;
		return "string is not UTF-8";
	}
	s->pos++;
	return NULL;
}

static bool scan_digits(struct scan *s)
{
	size_t start = s->pos;

	while (s->pos < s->len && s->text[s->pos] >= '0' && s->text[s->pos] <= '9')
		s->pos++;
	return s->pos > start;
}

static bool scan_take(struct scan *s, const char *any)
{
	if (s->pos >= s->len || !s->text[s->pos] || !strchr(any, s->text[s->pos]))
		return false;
	s->pos++;
	return true;
}

static const char *scan_number(struct scan *s)
{
	static const char most[] = "18446744073709551615"; /* beyond it json-c quietly makes this of an integer */
	size_t start, digits;

	scan_take(s, "-");
	start = s->pos;
	if (!scan_take(s, "0") && !scan_digits(s))
		return "minus sign without a number";
	digits = s->pos - start;
	if (digits >= sizeof(most) || (digits == sizeof(most) - 1 && memcmp(s->text + start, most, digits) > 0))
		return "number too big";
	if (scan_take(s, ".") && !scan_digits(s))
		return "number without digits behind its point";
	if (scan_take(s, "eE")) {
		scan_take(s, "+-");
		if (!scan_digits(s))
			return "number without digits in its exponent";
	}
	/* "01", "0x1": else json-c would see a number here */
	return s->pos < s->len && !strchr(" \t\n\r,]}", s->text[s->pos]) ? "malformed number" : NULL;
}

static const char *scan_literal(struct scan *s)
{
	static const char *const literals[] = {"true", "false", "null"};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(literals); i++) {
		size_t n = strlen(literals[i]);

		if (s->len - s->pos >= n && memcmp(s->text + s->pos, literals[i], n) == 0) {
			s->pos += n;
			return NULL;
		}
	}
	return "unexpected character";
}

static const char *scan_text(struct scan *s)
{
	const char *what = NULL;

	while (!what && s->pos < s->len) {
		char c = s->text[s->pos];

		if (c == '"') {
			what = scan_string(s);
		} else if (c == '-' || (c >= '0' && c <= '9')) {
			what = scan_number(s);
		} else if (c && strchr(" \t\n\r{}[]:,", c)) {
			s->members += c == ':';
			s->depth += (c == '{' || c == '[') - (c == '}' || c == ']');
			if (s->depth > JSON_MAX_DEPTH)
				return "nested too deeply";
			s->pos++;
		} else {
			what = scan_literal(s);
		}
	}
	return what;
}

static size_t count_members(struct json_object *node)
{
	size_t n = 0;

	if (json_object_is_type(node, json_type_object)) {
		n = (size_t)json_object_object_length(node);
		json_object_object_foreach(node, key, value)
		{
			(void)key;
			n += count_members(value);
		}
	} else if (json_object_is_type(node, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(node); i++)
			n += count_members(json_object_array_get_idx(node, i));
	}
	return n;
}

/* Wipes what the tokener held: its buffer, and on a failure the half-built values. */
static void tokener_free(struct json_tokener *tok)
{
	for (int i = 0; i <= tok->depth; i++)
		wipe_strings(tok->stack[i].current);
	secret_wipe(tok->pb->buf, (size_t)tok->pb->size);
	json_tokener_free(tok);
}

static int tree(const char *text, size_t len, struct json_object **out, struct err *err)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH + 1); /* the innermost values are a level as well */
	int r = 0;

	if (!tok)
		return err_set(err, -PTA_ENOMEM, "no memory for a JSON document");
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	/* Its buffer grows by realloc(), which leaves copies of passwords behind: make it big enough for any string in it now. */
	if (printbuf_memset(tok->pb, 0, 0, (int)len + 2) < 0) {
		json_tokener_free(tok);
		return err_set(err, -PTA_ENOMEM, "no memory for a JSON document of %zu bytes", len);
	}
	printbuf_reset(tok->pb);
	*out = json_tokener_parse_ex(tok, text, (int)len);
	if (json_tokener_get_error(tok) == json_tokener_continue)
		r = err_set(err, -PTA_EPROTO, "JSON ends too early, at byte %zu", len);
	else if (json_tokener_get_error(tok) != json_tokener_success)
		r = err_set(err, -PTA_EPROTO, "JSON: %s at byte %zu", json_tokener_error_desc(json_tokener_get_error(tok)), json_tokener_get_parse_end(tok));
	tokener_free(tok);
	return r;
}

int json_parse(const void *text, size_t len, struct json **out, struct err *err)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct scan scan = {.text = text, .len = len};
	const char *what;
	int r;

	if (len > INT32_MAX / 2)
		return err_set(err, -PTA_ETOOBIG, "JSON of %zu bytes is too long", len);
	what = scan_text(&scan);
	if (what)
		return err_set(err, -PTA_EPROTO, "JSON: %s at byte %zu", what, scan.pos);
	doc = calloc(1, sizeof(*doc));
	if (!doc)
		return err_set(err, -PTA_ENOMEM, "no memory for a JSON document");
	r = tree(text, len, &doc->root, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(doc->root, json_type_object))
		return err_set(err, -PTA_EPROTO, "JSON: an object is needed");
	if (count_members(doc->root) != scan.members)
		return err_set(err, -PTA_EPROTO, "JSON: a name is there twice in one object");
	*out = doc;
	doc = NULL;
	return 0;
}

void json_free(struct json *doc)
{
	if (!doc)
		return;
	wipe_strings(doc->root);
	json_object_put(doc->root);
	free(doc);
}

void json_freep(struct json **doc)
{
	json_free(*doc);
	*doc = NULL;
}

struct json_object *json_root(struct json *doc)
{
	return doc->root;
}
