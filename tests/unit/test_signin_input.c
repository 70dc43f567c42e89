#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "service/signin.h"

static int parse(const char *body, bool control, struct signin_input *out, const char **field)
{
	struct err err = {0};
	int r = signin_parse((const uint8_t *)body, strlen(body), control, out, field, &err);

	if (r < 0 && !err.text[0])
		fail_msg("no text for: %s", body);
	return r;
}

static void a_whole_sign_in_is_read(void **state)
{
	struct signin_input in;
	const char *field;

	(void)state;
	assert_int_equal(parse("{\"username\":\"jörg@corp.example.com\",\"password\":\"a\\\"ß\",\"client_ip\":\"2001:db8::1\",\"correlation_id\":\"x 1\"}",
				 false, &in, &field),
		0);
	assert_string_equal(in.username, "jörg@corp.example.com");
	assert_int_equal(secret_len(in.password), 4);
	assert_memory_equal(secret_bytes(in.password), "a\"ß", 4);
	assert_string_equal(in.client_ip, "2001:db8::1");
	assert_string_equal(in.correlation_id, "x 1");
	signin_input_done(&in);
	assert_int_equal(parse("{\"tenant\":\"main\",\"username\":\"u\",\"password\":\"p\"}", true, &in, &field), 0);
	assert_string_equal(in.tenant, "main");
	assert_string_equal(in.client_ip, "");
	signin_input_done(&in);
}

static void each_fault_names_its_field(void **state)
{
	static const struct {
		const char *body, *field;
		bool control;
	} rows[] = {
		{"", ""},
		{"[]", ""},
		{"{", ""},
		{"null", ""},
		{"{\"username\":\"u\",\"password\":\"p\"} ,", ""},
		{"{\"password\":\"p\"}", "username"},
		{"{\"username\":\"\",\"password\":\"p\"}", "username"},
		{"{\"username\":1,\"password\":\"p\"}", "username"},
		{"{\"username\":\"u\"}", "password"},
		{"{\"username\":\"u\",\"password\":\"\"}", "password"},
		{"{\"username\":\"u\",\"password\":null}", "password"},
		{"{\"username\":\"u\",\"password\":[\"p\"]}", "password"},
		{"{\"username\":\"u\",\"password\":\"p\",\"client_ip\":\"localhost\"}", "client_ip"},
		{"{\"username\":\"u\",\"password\":\"p\",\"client_ip\":\"1.2.3.4.5\"}", "client_ip"},
		{"{\"username\":\"u\",\"password\":\"p\",\"correlation_id\":\"ä\"}", "correlation_id"},
		{"{\"username\":\"u\",\"password\":\"p\",\"correlation_id\":\"\"}", "correlation_id"},
		{"{\"username\":\"u\",\"password\":\"p\",\"tenant\":\"main\"}", ""},
		{"{\"username\":\"u\",\"password\":\"p\"}", "tenant", true},
		{"{\"username\":\"u\",\"password\":\"p\",\"otp\":\"1\"}", ""},
		{"{\"username\":\"u\",\"username\":\"v\",\"password\":\"p\"}", NULL},
		{"{\"username\":\"u\\u0000v\",\"password\":\"p\"}", NULL},
		{"{\"username\":\"u\",\"password\":\"p\\u0000q\"}", NULL},
		{"{\"username\":\"u\",\"password\":\"\xff\"}", NULL},
		{"{\"username\":\"u\",\"password\":\"p\",\"x\":[[[[[[[[[[]]]]]]]]]]}", NULL},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct signin_input in;
		const char *field;

		if (parse(rows[i].body, rows[i].control, &in, &field) != -PTA_EINVAL)
			fail_msg("accepted: %s", rows[i].body);
		if (rows[i].field && strcmp(field, rows[i].field) != 0)
			fail_msg("\"%s\" instead of \"%s\" for %s", field, rows[i].field, rows[i].body);
		assert_null(in.password);
	}
}

static void lengths_are_bounded(void **state)
{
	static const struct {
		size_t name, password;
		int result;
	} rows[] = {
		{LIMIT_USERNAME, LIMIT_PASSWORD, 0},
		{LIMIT_USERNAME + 1, 1, -PTA_EINVAL},
		{1, LIMIT_PASSWORD + 1, -PTA_EINVAL},
	};
	char body[4096], name[LIMIT_USERNAME + 2], password[LIMIT_PASSWORD + 2];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct signin_input in;
		const char *field;

		memset(name, 'n', rows[i].name);
		name[rows[i].name] = 0;
		memset(password, 'p', rows[i].password);
		password[rows[i].password] = 0;
		snprintf(body, sizeof(body), "{\"username\":\"%s\",\"password\":\"%s\"}", name, password);
		assert_int_equal(parse(body, false, &in, &field), rows[i].result);
		signin_input_done(&in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_sign_in_is_read),
		cmocka_unit_test(each_fault_names_its_field),
		cmocka_unit_test(lengths_are_bounded),
	};
	struct err err;

	if (secret_arena_init(1 << 20, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
