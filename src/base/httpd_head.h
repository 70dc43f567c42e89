/* The gate in front of evhttp: judges the head of a request from its raw bytes, before evhttp sees it. evhttp 2.1 has no
 * hook before the body is read, answers what is malformed in HTML, and takes repeated headers, "Host :", folded lines and
 * chunked bodies of any size. What passes here, evhttp parses; it never sees the rest. Pure; thread-safe. */
#ifndef PTA_BASE_HTTPD_HEAD_H
#define PTA_BASE_HTTPD_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/httpd.h"

#define HTTPD_MAX_HEAD 8192  /* request line and headers, bytes */
#define HTTPD_MAX_HEADERS 64 /* header lines */

enum httpd_head_result { HTTPD_HEAD_MORE, HTTPD_HEAD_OK, HTTPD_HEAD_REFUSED };

struct httpd_head {
	/* HTTPD_HEAD_OK */
	const struct httpd_route *route;
	size_t len;  /* of the head with its empty line */
	size_t body; /* bytes that follow, at most route->max_body */
	bool expect_continue;
	/* HTTPD_HEAD_REFUSED */
	int status;
	const char *code, *field, *message; /* constants; field may be NULL */
	char allow[16];			    /* with 405: the methods that the path takes */
};

/* data: what has come so far, from the first byte of the request; len may be more than the head. */
enum httpd_head_result httpd_head_check(const struct httpd_route *routes, const char *data, size_t len, struct httpd_head *out);

#endif
