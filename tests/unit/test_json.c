#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static int parse(const char *text, struct json **doc, struct err *err)
{
	/* Exact size, so that a sanitizer sees one byte too far. */
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, text, len);
	r = json_parse(copy, len, doc, err);
	free(copy);
	return r;
}

static void what_rfc8259_allows_is_taken(void **state)
{
	static const char *const good[] = {
		"{}", " \t\r\n{ \"a\" : [ ] } \n", "{\"a\":\"\",\"b\":null,\"c\":true,\"d\":false}", "{\"a\":[0,-0,1,-1,10,1.5,1e3,1E+3,-1.25e-3]}",
		"{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\"}", "{\"a\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"}",
		"{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":2}]}", "{\"a:b\":\"x:\\\":y\"}", "{\"a\":[[[[[[[]]]]]]]}", /* eight deep */
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(good); i++) {
		struct json *doc = NULL;

		if (parse(good[i], &doc, &err) < 0)
			fail_msg("%s: %s", good[i], err.text);
		json_free(doc);
	}
}

static void what_rfc8259_forbids_is_refused(void **state)
{
	static const char *const bad[] = {
		"", " ", "{", "}", "{}}", "{}x", "{} {}", "[]", "1", "\"a\"", "null", "{a:1}", "{'a':1}", "{\"a\":'b'}", "{\"a\" 1}", "{\"a\":}", "{\"a\":1,}",
		"{,\"a\":1}", "{\"a\":1 \"b\":2}", "{\"a\":[1,]}", "{\"a\":[,1]}", "{\"a\":[1 2]}", "{\"a\":[1}", "{\"a\"::1}", "{1:2}", "{\"a\":NaN}",
		"{\"a\":-NaN}", "{\"a\":Infinity}", "{\"a\":-Infinity}", "{\"a\":TRUE}", "{\"a\":True}", "{\"a\":NULL}", "{\"a\":tru}", "{\"a\":truex}",
		"{\"a\":nulltrue}", "{\"a\":01}", "{\"a\":-01}", "{\"a\":+1}", "{\"a\":-}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":1e}", "{\"a\":1e+}",
		"{\"a\":1.5.5}", "{\"a\":1-1}", "{\"a\":0x1}", "{\"a\":1 1}", "{\"a\":99999999999999999999}", "{\"a\":-99999999999999999999}", "{\"a\":\"\n\"}",
		"{\"a\":\"\x1f\"}", "{\"a\":\"b}", "{\"a\":\"\\x\"}", "{\"a\":\"\\'\"}", "{\"a\":\"\\", "{\"a\":\"\\u", "{\"a\":\"\\u12\"}",
		"{\"a\":\"\\u12g4\"}", "{\"a\":\"\\u0000\"}", "{\"a\\u0000b\":1}", "{\"a\":\"\\ud83d\"}", "{\"a\":\"\\ud83dx\"}", "{\"a\":\"\\ud83d\\n\"}",
		"{\"a\":\"\\ud83d\\u0041\"}", "{\"a\":\"\\ude00\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\xc0\xaf\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"\xc3\":1}",
		"{\"a\":\xc3\xa4}", "\xef\xbb\xbf{}", "{/* */}", "{} // x", "\v{}", "{\f}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}",
		"{\"x\":{\"a\":1,\"b\":2,\"a\":1}}", "{\"x\":[{\"a\":1,\"a\":{\"b\":1}}]}", "{\"a\":[[[[[[[[]]]]]]]]}", /* nine deep */
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(bad); i++) {
		struct json *doc = NULL;

		err.text[0] = '\0';
		if (parse(bad[i], &doc, &err) != -PTA_EPROTO || doc || !err.text[0])
			fail_msg("%s was taken", bad[i]);
	}
}

static void nul_bytes_are_refused_everywhere(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} bad[] = {{"{}\0", 3}, {"\0{}", 3}, {"{\0}", 3}, {"{\"a\":\"\0\"}", 9}, {"{\"a\0\":1}", 8}, {"{\"a\":1\0}", 8}, {"{\"a\":\"\\\0\"}", 10}};
	struct json *doc;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(bad); i++)
		assert_int_equal(json_parse(bad[i].text, bad[i].len, &doc, NULL), -PTA_EPROTO);
}

static void errors_name_the_place(void **state)
{
	struct json *doc;
	struct err err;

	(void)state;
	assert_int_equal(parse("{\"a\":01}", &doc, &err), -PTA_EPROTO);
	assert_string_equal(err.text, "JSON: malformed number at byte 6");
	assert_int_equal(parse("{\"a\":1,}", &doc, &err), -PTA_EPROTO);
	assert_non_null(strstr(err.text, "at byte 7"));
}

static void all_kinds_of_fields_are_read(void **state)
{
	static const char text[] = "{\"name\":\"\\u00e4\",\"zero\":0,\"big\":18446744073709551615,\"flag\":true,\"list\":[\"a\",{\"b\":1}],"
				   "\"inner\":{\"x\":7},\"bytes\":\"Zm9v\",\"password\":\"s3cret\"}";
	struct json_object *list, *inner;
	struct json_fields f, g;
	uint8_t bytes[4];
	struct secret *secret;
	struct json *doc;
	struct err err;
	size_t n;

	(void)state;
	assert_int_equal(parse(text, &doc, &err), 0);
	json_fields_begin(&f, json_root(doc), &err);
	assert_string_equal(json_string(&f, "name", 1, 2, &n), "\xc3\xa4");
	assert_int_equal(n, 2);
	assert_null(json_string_opt(&f, "other", 1, 2, NULL));
	assert_int_equal(json_uint(&f, "zero", 0, 0), 0);
	assert_true(json_uint(&f, "big", 0, UINT64_MAX) == UINT64_MAX);
	assert_int_equal(json_uint_opt(&f, "none", 0, 10, 42), 42);
	assert_true(json_bool_opt(&f, "flag", false));
	assert_true(json_bool_opt(&f, "noflag", true));
	list = json_array(&f, "list", 2, &n);
	assert_int_equal(n, 2);
	assert_null(json_array_opt(&f, "nolist", 2, &n));
	assert_int_equal(n, 0);
	inner = json_object_opt(&f, "inner");
	assert_null(json_object_opt(&f, "noinner"));
	json_bytes(&f, "bytes", bytes, 3, sizeof(bytes), &n);
	assert_int_equal(n, 3);
	assert_memory_equal(bytes, "foo", 3);
	secret = json_secret(&f, "password", 6);
	assert_non_null(secret);
	assert_int_equal(secret_len(secret), 6);
	assert_memory_equal(secret_bytes(secret), "s3cret", 7);
	secret_free(secret);
	assert_int_equal(json_fields_end(&f), 0);
	assert_string_equal(f.field, "");

	json_fields_begin(&g, inner, &err);
	assert_int_equal(json_uint(&g, "x", 7, 7), 7);
	assert_int_equal(json_fields_end(&g), 0);
	json_fields_begin(&g, json_array_at(list, 0), &err);
	assert_string_equal(json_string(&g, "b", 0, 9, NULL), "");
	assert_int_equal(json_fields_end(&g), -PTA_EPROTO);
	json_fields_begin(&g, json_array_at(list, 1), &err);
	assert_int_equal(json_uint(&g, "b", 0, 9), 1);
	assert_int_equal(json_fields_end(&g), 0);
	json_free(doc);
	json_free(NULL);
}

enum kind { STRING, UINT, UINT_OPT, BOOL, ARRAY, OBJECT, BYTES, SECRET };

static void wrong_fields_are_named_and_stay_wrong(void **state)
{
	static const struct {
		const char *text;
		enum kind kind;
		const char *error;
	} cases[] = {
		{"{}", STRING, "field 'v' is missing"},
		{"{}", UINT, "field 'v' is missing"},
		{"{}", ARRAY, "field 'v' is missing"},
		{"{}", BYTES, "field 'v' is missing"},
		{"{}", SECRET, "field 'v' is missing"},
		{"{\"v\":null}", STRING, "field 'v' must be a string"},
		{"{\"v\":1}", STRING, "field 'v' must be a string"},
		{"{\"v\":\"\"}", STRING, "field 'v' must not be empty"},
		{"{\"v\":\"abcde\"}", STRING, "field 'v' must have 1 to 4 bytes"},
		{"{\"v\":\"1\"}", UINT, "field 'v' must be a whole number"},
		{"{\"v\":1.0}", UINT, "field 'v' must be a whole number"},
		{"{\"v\":1e0}", UINT, "field 'v' must be a whole number"},
		{"{\"v\":-1}", UINT, "field 'v' must be from 2 to 4"},
		{"{\"v\":1}", UINT, "field 'v' must be from 2 to 4"},
		{"{\"v\":5}", UINT, "field 'v' must be from 2 to 4"},
		{"{\"v\":18446744073709551615}", UINT_OPT, "field 'v' must be from 2 to 4"},
		{"{\"v\":null}", UINT_OPT, "field 'v' must be a whole number"},
		{"{\"v\":0}", BOOL, "field 'v' must be true or false"},
		{"{\"v\":\"true\"}", BOOL, "field 'v' must be true or false"},
		{"{\"v\":{}}", ARRAY, "field 'v' must be an array"},
		{"{\"v\":[1,2,3,4,5]}", ARRAY, "field 'v' may have at most 4 elements"},
		{"{\"v\":[]}", OBJECT, "field 'v' must be an object"},
		{"{\"v\":\"Z\"}", BYTES, "field 'v' must be base64url without padding"},
		{"{\"v\":\"Zg\"}", BYTES, "field 'v' is too short"},
		{"{\"v\":\"Zm9vYmE\"}", BYTES, "field 'v' must have 0 to 6 bytes"},
		{"{\"v\":[\"x\"]}", SECRET, "field 'v' must be a string"},
		{"{\"v\":\"abcde\"}", SECRET, "field 'v' must have 0 to 4 bytes"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		struct json_fields f;
		uint8_t bytes[4];
		struct json *doc;
		struct err err;
		size_t n;

		assert_int_equal(parse(cases[i].text, &doc, &err), 0);
		json_fields_begin(&f, json_root(doc), &err);
		switch (cases[i].kind) {
		case STRING:
			assert_string_equal(json_string(&f, "v", 1, 4, &n), "");
			break;
		case UINT:
			assert_int_equal(json_uint(&f, "v", 2, 4), 0);
			break;
		case UINT_OPT:
			assert_int_equal(json_uint_opt(&f, "v", 2, 4, 3), 0);
			break;
		case BOOL:
			assert_false(json_bool_opt(&f, "v", true));
			break;
		case ARRAY:
			assert_null(json_array(&f, "v", 4, &n));
			break;
		case OBJECT:
			assert_null(json_object_opt(&f, "v"));
			break;
		case BYTES:
			json_bytes(&f, "v", bytes, 2, sizeof(bytes), &n);
			assert_int_equal(n, 0);
			break;
		case SECRET:
			assert_null(json_secret(&f, "v", 4));
			break;
		}
		assert_string_equal(err.text, cases[i].error);
		assert_string_equal(f.field, "v");
		/* The first problem stays. */
		assert_string_equal(json_string(&f, "w", 1, 4, NULL), "");
		assert_int_equal(json_uint_opt(&f, "x", 0, 9, 7), 0);
		assert_int_equal(json_field_bad(&f, "y", "is bad"), -PTA_EPROTO);
		assert_int_equal(json_fields_end(&f), -PTA_EPROTO);
		assert_string_equal(err.text, cases[i].error);
		json_free(doc);
	}
}

static void unknown_fields_are_refused_and_repeated_only_when_harmless(void **state)
{
	struct json_fields f;
	struct json *doc;
	struct err err;

	(void)state;
	assert_int_equal(parse("{\"a\":1,\"pasword\":\"x\"}", &doc, &err), 0);
	json_fields_begin(&f, json_root(doc), &err);
	assert_int_equal(json_uint(&f, "a", 0, 9), 1);
	assert_int_equal(json_fields_end(&f), -PTA_EPROTO);
	assert_string_equal(err.text, "unknown field 'pasword'");
	json_free(doc);
	assert_int_equal(parse("{\"\\u001b[31m\":1}", &doc, &err), 0);
	json_fields_begin(&f, json_root(doc), &err);
	assert_int_equal(json_fields_end(&f), -PTA_EPROTO);
	assert_string_equal(err.text, "unknown field");
	json_free(doc);
}

static void a_problem_of_the_callers_own_is_named(void **state)
{
	struct json_fields f;
	struct json *doc;
	struct err err;

	(void)state;
	assert_int_equal(parse("{\"v\":\"maybe\"}", &doc, &err), 0);
	json_fields_begin(&f, json_root(doc), &err);
	json_string(&f, "v", 1, 9, NULL);
	assert_int_equal(json_field_bad(&f, "v", "is no verdict"), -PTA_EPROTO);
	assert_string_equal(err.text, "field 'v' is no verdict");
	assert_int_equal(json_fields_end(&f), -PTA_EPROTO);
	json_free(doc);
}

static void a_password_is_wiped_in_the_document_when_it_is_taken(void **state)
{
	struct json_fields f;
	struct secret *secret;
	const char *before;
	struct json *doc;
	struct err err;

	(void)state;
	assert_int_equal(parse("{\"password\":\"correct horse battery staple, and a longer one than fits inline\"}", &doc, &err), 0);
	json_fields_begin(&f, json_root(doc), &err);
	before = json_string(&f, "password", 1, 100, NULL);
	assert_int_equal(before[0], 'c');
	json_fields_begin(&f, json_root(doc), &err);
	secret = json_secret(&f, "password", 100);
	assert_int_equal(secret_bytes(secret)[0], 'c');
	for (size_t i = 0; i < secret_len(secret); i++)
		assert_int_equal(before[i], 0);
	secret_free(secret);
	json_free(doc);
}

static void writer_keeps_commas_and_escapes(void **state)
{
	struct buf out = BUF_INIT(1000);
	struct json_writer w = JSON_WRITER(&out);
	struct json *doc;
	struct err err;

	(void)state;
	json_put_object(&w, NULL);
	json_put_string(&w, "s", "a\"b\\c\n\x01\x7f\xc3\xa4");
	json_put_string(&w, "null", NULL);
	json_put_stringn(&w, "nul", "a\0b", 3);
	json_put_string(&w, "latin1", "\xe4x");
	json_put_array(&w, "l");
	json_put_uint(&w, NULL, UINT64_MAX);
	json_put_int(&w, NULL, INT64_MIN);
	json_put_array(&w, NULL);
	json_end_array(&w);
	json_put_object(&w, NULL);
	json_end_object(&w);
	json_end_array(&w);
	json_put_double(&w, "d", 1.5);
	json_put_double(&w, "nan", NAN);
	json_put_bool(&w, "b", true);
	json_put_base64url(&w, "x", "\xfb\xff\xfe", 3);
	json_put_object(&w, "o");
	json_put_bool(&w, "b", false);
	json_end_object(&w);
	json_end_object(&w);
	assert_true(buf_ok(&out));
	assert_string_equal((char *)out.data, "{\"s\":\"a\\\"b\\\\c\\n\\u0001\x7f\xc3\xa4\",\"null\":null,\"nul\":\"a\\u0000b\",\"latin1\":\"\\ufffdx\","
					      "\"l\":[18446744073709551615,-9223372036854775808,[],{}],\"d\":1.5,\"nan\":null,\"b\":true,\"x\":\"-__-\","
					      "\"o\":{\"b\":false}}");
	buf_reset(&out);
	w = JSON_WRITER(&out);
	json_put_object(&w, NULL);
	json_put_string(&w, "s", "a\"b\\c\n\x01\x7f\xc3\xa4\xe2\x82\xac");
	json_end_object(&w);
	assert_int_equal(json_parse(out.data, out.len, &doc, &err), 0);
	json_free(doc);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_rfc8259_allows_is_taken),
		cmocka_unit_test(what_rfc8259_forbids_is_refused),
		cmocka_unit_test(nul_bytes_are_refused_everywhere),
		cmocka_unit_test(errors_name_the_place),
		cmocka_unit_test(all_kinds_of_fields_are_read),
		cmocka_unit_test(wrong_fields_are_named_and_stay_wrong),
		cmocka_unit_test(unknown_fields_are_refused_and_repeated_only_when_harmless),
		cmocka_unit_test(a_problem_of_the_callers_own_is_named),
		cmocka_unit_test(a_password_is_wiped_in_the_document_when_it_is_taken),
		cmocka_unit_test(writer_keeps_commas_and_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
