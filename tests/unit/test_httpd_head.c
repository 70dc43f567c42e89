#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/httpd_head.h"

static const struct httpd_route routes[] = {
	{.method = "GET", .path = "/live"},
	{.method = "GET", .path = "/item"},
	{.method = "POST", .path = "/item", .max_body = 100},
	{.method = "POST", .path = "/act"},
	{0},
};

#define H "Host: x\r\n"
#define J "Content-Type: application/json\r\n"

static void each_fault_gets_its_status(void **state)
{
	static const struct {
		const char *text;
		int status; /* 0: more is needed, 200: passes */
		const char *field;
	} cases[] = {
		{"", 0},
		{"G", 0},
		{"GET /live HTTP/1.1\r\nHost: x\r\n", 0},
		{"GET /live HTTP/1.1\r\n" H "\r\n", 200},
		{"GET /live?a=b&c=%20 HTTP/1.1\r\n" H "\r\n", 200},
		{"GET /live HTTP/1.0\r\n\r\n", 200},
		{"GET /live HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 200},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: 100\r\n\r\n", 200},
		{"POST /item HTTP/1.1\r\n" H "content-type:application/JSON; charset=utf-8\r\ncontent-length:\t100 \r\n\r\n", 200},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n", 200},
		{"POST /act HTTP/1.1\r\n" H "\r\n", 200},
		{"\r\nGET /live HTTP/1.1\r\n" H "\r\n", 400},
		{"\x16\x03\x01", 400},
		{"get /live HTTP/1.1\r\n" H "\r\n", 400},
		{"GET /live HTTP/1.1\n" H "\r\n", 400},
		{"GET /live HTTP/1.1\r\nHost: x\n\r\n", 400},
		{"GET\r\n", 400},
		{"GET /live\r\n", 400},
		{"GET  /live HTTP/1.1\r\n" H "\r\n", 505},
		{"GET /live  HTTP/1.1\r\n" H "\r\n", 505},
		{"GET /live HTTP/1.1 \r\n" H "\r\n", 505},
		{"GET /live HTTP/2.0\r\n" H "\r\n", 505},
		{"GET /live http/1.1\r\n" H "\r\n", 505},
		{"G(T /live HTTP/1.1\r\n" H "\r\n", 400},
		{"GET http://x/live HTTP/1.1\r\n" H "\r\n", 400},
		{"GET //x/live HTTP/1.1\r\n" H "\r\n", 400},
		{"GET * HTTP/1.1\r\n" H "\r\n", 400},
		{"GET /live#a HTTP/1.1\r\n" H "\r\n", 400},
		{"GET /l\x7fve HTTP/1.1\r\n" H "\r\n", 400},
		{"GET /l\xc3\xa4ve HTTP/1.1\r\n" H "\r\n", 400},
		{"GET /live HTTP/1.1\r\nAccept: x\r\n\r\n", 400, "Host"},
		{"GET /live HTTP/1.1\r\nHost : x\r\n\r\n", 400},
		{"GET /live HTTP/1.1\r\n" H "nothing\r\n\r\n", 400},
		{"GET /live HTTP/1.1\r\n" H ": x\r\n\r\n", 400},
		{"GET /live HTTP/1.1\r\n" H " folded\r\n\r\n", 400},
		{"GET /live HTTP/1.1\r\n" H "\tfolded: x\r\n\r\n", 400},
		{"GET /live HTTP/1.1\r\n" H "A: b\x01\r\n\r\n", 400},
		{"GET /live HTTP/1.1\r\n" H "A: b\rc\r\n\r\n", 400},
		{"GET /live HTTP/1.1\r\n" H "host: y\r\n\r\n", 400, "Host"},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, "Content-Length"},
		{"POST /item HTTP/1.1\r\n" H J J "Content-Length: 1\r\n\r\n", 400, "Content-Type"},
		{"GET /live HTTP/1.1\r\n" H "Authorization: a\r\nauthorization: b\r\n\r\n", 400, "Authorization"},
		{"POST /item HTTP/1.1\r\n" H J "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400, "Transfer-Encoding"},
		{"POST /item HTTP/1.1\r\n" H J "Transfer-Encoding: chunked\r\n\r\n", 411, "Transfer-Encoding"},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: +1\r\n\r\n", 400, "Content-Length"},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: 1x\r\n\r\n", 400, "Content-Length"},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: 1,1\r\n\r\n", 400, "Content-Length"},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: -1\r\n\r\n", 400, "Content-Length"},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length:\r\n\r\n", 400, "Content-Length"},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: 99999999999999999999\r\n\r\n", 400, "Content-Length"},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: 101\r\n\r\n", 413},
		{"POST /act HTTP/1.1\r\n" H J "Content-Length: 1\r\n\r\n", 413},
		{"GET /live HTTP/1.1\r\n" H J "Content-Length: 1\r\n\r\n", 400, "Content-Length"},
		{"GET /nothing HTTP/1.1\r\n" H "\r\n", 404},
		{"GET /live/ HTTP/1.1\r\n" H "\r\n", 404},
		{"GET /liv HTTP/1.1\r\n" H "\r\n", 404},
		{"GET /%6cive HTTP/1.1\r\n" H "\r\n", 404},
		{"POST /live HTTP/1.1\r\n" H "\r\n", 405},
		{"HEAD /live HTTP/1.1\r\n" H "\r\n", 405},
		{"POST /item HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n", 415, "Content-Type"},
		{"POST /item HTTP/1.1\r\n" H "Content-Type: text/plain\r\nContent-Length: 1\r\n\r\n", 415, "Content-Type"},
		{"POST /item HTTP/1.1\r\n" H "Content-Type: application/jsonx\r\nContent-Length: 1\r\n\r\n", 415, "Content-Type"},
		{"POST /item HTTP/1.1\r\n" H J "Content-Length: 1\r\nExpect: much\r\n\r\n", 417, "Expect"},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].text);
		char *exact = malloc(len + 1); /* one byte too far is seen by a sanitizer */
		struct httpd_head head;
		enum httpd_head_result r;
		int status;

		assert_non_null(exact);
		memcpy(exact, cases[i].text, len);
		r = httpd_head_check(routes, exact, len, &head);
		status = r == HTTPD_HEAD_MORE ? 0 : r == HTTPD_HEAD_OK ? 200 : head.status;
		if (status != cases[i].status)
			fail_msg("%d, not %d: %s", status, cases[i].status, cases[i].text);
		if (r == HTTPD_HEAD_REFUSED) {
			assert_non_null(head.code);
			assert_non_null(head.message);
			if (cases[i].field)
				assert_string_equal(head.field, cases[i].field);
		}
		free(exact);
	}
}

static void a_head_that_passes_is_described(void **state)
{
	static const char text[] = "POST /item?x=1 HTTP/1.1\r\n" H J "Content-Length: 7\r\nExpect: 100-continue\r\n\r\n{\"a\":1}and more";
	struct httpd_head head;

	(void)state;
	assert_int_equal(httpd_head_check(routes, text, sizeof(text) - 1, &head), HTTPD_HEAD_OK);
	assert_ptr_equal(head.route, &routes[2]);
	assert_int_equal(head.len, strstr(text, "{") - text);
	assert_int_equal(head.body, 7);
	assert_true(head.expect_continue);
	/* Every cut of it needs more. */
	for (size_t len = 0; len < head.len; len++) {
		struct httpd_head part;

		assert_int_equal(httpd_head_check(routes, text, len, &part), HTTPD_HEAD_MORE);
	}
}

static void wrong_method_lists_the_right_ones(void **state)
{
	static const char text[] = "DELETE /item HTTP/1.1\r\n" H "\r\n";
	struct httpd_head head;

	(void)state;
	assert_int_equal(httpd_head_check(routes, text, sizeof(text) - 1, &head), HTTPD_HEAD_REFUSED);
	assert_int_equal(head.status, 405);
	assert_string_equal(head.allow, "GET, POST");
}

static void large_heads_are_refused(void **state)
{
	static char text[3 * HTTPD_MAX_HEAD];
	struct httpd_head head;
	size_t len;

	(void)state;
	/* One endless line, and one byte before it is too long. */
	memset(text, 'A', sizeof(text));
	assert_int_equal(httpd_head_check(routes, text, HTTPD_MAX_HEAD - 1, &head), HTTPD_HEAD_MORE);
	assert_int_equal(httpd_head_check(routes, text, sizeof(text), &head), HTTPD_HEAD_REFUSED);
	assert_int_equal(head.status, 431);
	/* The head just fits, the rest is body. */
	len = (size_t)snprintf(text, sizeof(text), "GET /live HTTP/1.1\r\n" H "A: ");
	memset(text + len, 'a', sizeof(text) - len);
	memcpy(text + HTTPD_MAX_HEAD - 4, "\r\n\r\n", 4);
	assert_int_equal(httpd_head_check(routes, text, sizeof(text), &head), HTTPD_HEAD_OK);
	assert_int_equal(head.len, HTTPD_MAX_HEAD);
	/* Too many lines. */
	len = (size_t)snprintf(text, sizeof(text), "GET /live HTTP/1.1\r\n" H);
	for (unsigned i = 1; i <= HTTPD_MAX_HEADERS; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "A: b\r\n");
	snprintf(text + len, sizeof(text) - len, "\r\n");
	assert_int_equal(httpd_head_check(routes, text, len + 2, &head), HTTPD_HEAD_REFUSED);
	assert_int_equal(head.status, 431);
	memcpy(text + len - strlen("A: b\r\n"), "\r\n", 2);
	assert_int_equal(httpd_head_check(routes, text, len, &head), HTTPD_HEAD_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_fault_gets_its_status),
		cmocka_unit_test(a_head_that_passes_is_described),
		cmocka_unit_test(wrong_method_lists_the_right_ones),
		cmocka_unit_test(large_heads_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
