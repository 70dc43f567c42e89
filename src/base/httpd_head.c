#include "base/httpd_head.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A part of the head; not terminated. */
struct piece {
	const char *data;
	size_t len;
};

/* What may come once only: two of them are read differently by different software on the way. */
enum single { CONTENT_LENGTH, HOST, AUTHORIZATION, CONTENT_TYPE, TRANSFER_ENCODING, EXPECT, SINGLES };

static const char *const single_names[SINGLES] = {
	[CONTENT_LENGTH] = "Content-Length",
	[HOST] = "Host",
	[AUTHORIZATION] = "Authorization",
	[CONTENT_TYPE] = "Content-Type",
	[TRANSFER_ENCODING] = "Transfer-Encoding",
	[EXPECT] = "Expect",
};

static enum httpd_head_result refuse(struct httpd_head *out, int status, const char *code, const char *field, const char *message)
{
	out->status = status;
	out->code = code;
	out->field = field;
	out->message = message;
	return HTTPD_HEAD_REFUSED;
}

static enum httpd_head_result bad(struct httpd_head *out, const char *field, const char *message)
{
	return refuse(out, 400, "bad_request", field, message);
}

static bool is_token(char c)
{
	/* RFC 9110 5.6.2 */
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool piece_is(struct piece p, const char *text)
{
	return strlen(text) == p.len && !memcmp(p.data, text, p.len);
}

static bool piece_is_nocase(struct piece p, const char *text)
{
	return strlen(text) == p.len && !strncasecmp(p.data, text, p.len);
}

/* "METHOD SP /path[?query] SP HTTP/1.x", each divided by exactly one blank. */
static enum httpd_head_result parse_line(struct piece line, struct piece *method, struct piece *path, bool *http10, struct httpd_head *out)
{
	const char *end = line.data + line.len, *blank = memchr(line.data, ' ', line.len), *target, *query;
	struct piece version;

	if (!blank)
		return bad(out, NULL, "the request line is malformed");
	*method = (struct piece){line.data, (size_t)(blank - line.data)};
	target = blank + 1;
	blank = memchr(target, ' ', (size_t)(end - target));
	if (!blank)
		return bad(out, NULL, "the request line is malformed");
	version = (struct piece){blank + 1, (size_t)(end - blank - 1)};
	*http10 = piece_is(version, "HTTP/1.0");
	if (!*http10 && !piece_is(version, "HTTP/1.1"))
		return refuse(out, 505, "bad_version", NULL, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	for (size_t i = 0; i < method->len; i++)
		if (!is_token(method->data[i]))
			return bad(out, NULL, "the method is malformed");
	*path = (struct piece){target, (size_t)(blank - target)};
	/* Only paths: no absolute URL, and nothing that evhttp would take for an authority or a fragment. */
	if (!method->len || path->len < 1 || path->data[0] != '/' || (path->len > 1 && path->data[1] == '/'))
		return bad(out, NULL, "the request target must be a path");
	for (size_t i = 0; i < path->len; i++)
		if (path->data[i] <= ' ' || path->data[i] > '~' || path->data[i] == '#')
			return bad(out, NULL, "the request target has a character that must be percent-encoded");
	query = memchr(path->data, '?', path->len);
	if (query)
		path->len = (size_t)(query - path->data);
	return HTTPD_HEAD_OK;
}

static enum httpd_head_result parse_header(struct piece line, struct piece singles[SINGLES], struct httpd_head *out)
{
	const char *colon = memchr(line.data, ':', line.len);
	struct piece name, value;

	if (!colon)
		return bad(out, NULL, "a header line has no colon");
	name = (struct piece){line.data, (size_t)(colon - line.data)};
	/* Refuses "Host :" and folded lines too: neither begins with a token up to its colon. */
	for (size_t i = 0; i < name.len; i++)
		if (!is_token(name.data[i]))
			return bad(out, NULL, "a header's name is malformed");
	if (!name.len)
		return bad(out, NULL, "a header's name is empty");
	value = (struct piece){colon + 1, line.len - name.len - 1};
	for (size_t i = 0; i < value.len; i++)
		if (((unsigned char)value.data[i] < ' ' && value.data[i] != '\t') || value.data[i] == 0x7f)
			return bad(out, NULL, "a header's value has a control character");
	while (value.len && is_blank(value.data[0]))
		value = (struct piece){value.data + 1, value.len - 1};
	while (value.len && is_blank(value.data[value.len - 1]))
		value.len--;
	for (unsigned i = 0; i < SINGLES; i++) {
		if (!piece_is_nocase(name, single_names[i]))
			continue;
		if (singles[i].data)
			return bad(out, single_names[i], "this header came more than once");
		singles[i] = value;
		break;
	}
	return HTTPD_HEAD_OK;
}

static enum httpd_head_result find_route(const struct httpd_route *routes, struct piece method, struct piece path, struct httpd_head *out)
{
	bool known = false;

	for (const struct httpd_route *route = routes; route->method; route++) {
		if (!piece_is(path, route->path))
			continue;
		if (piece_is(method, route->method)) {
			out->route = route;
			return HTTPD_HEAD_OK;
		}
		snprintf(out->allow + strlen(out->allow), sizeof(out->allow) - strlen(out->allow), "%s%s", known ? ", " : "", route->method);
		known = true;
	}
	if (known)
		return refuse(out, 405, "bad_method", NULL, "this path does not take that method");
	return refuse(out, 404, "not_found", NULL, "there is nothing at this path");
}

static enum httpd_head_result check_length(struct piece method, const struct piece singles[SINGLES], struct httpd_head *out)
{
	struct piece length = singles[CONTENT_LENGTH];
	uint64_t n = 0;

	if (singles[TRANSFER_ENCODING].data)
		return refuse(out, 411, "length_required", "Transfer-Encoding", "send the body with a Content-Length");
	if (!length.data)
		return HTTPD_HEAD_OK;
	for (size_t i = 0; i < length.len; i++) {
		if (length.data[i] < '0' || length.data[i] > '9' || length.len > 15)
			return bad(out, single_names[CONTENT_LENGTH], "this is not a length");
		n = n * 10 + (uint64_t)(length.data[i] - '0');
	}
	if (!length.len)
		return bad(out, single_names[CONTENT_LENGTH], "this is not a length");
	if (n && piece_is(method, "GET"))
		return bad(out, single_names[CONTENT_LENGTH], "a GET has no body");
	if (n > out->route->max_body)
		return refuse(out, 413, "too_large", NULL, "the body is larger than this path takes");
	out->body = n;
	return HTTPD_HEAD_OK;
}

#define JSON "application/json"

static bool is_type(struct piece type, const char *wanted)
{
	size_t len = strlen(wanted);

	/* Parameters (charset) are let through: RFC 8259 gives them no meaning. */
	return type.len >= len && !strncasecmp(type.data, wanted, len) && (type.len == len || type.data[len] == ';' || is_blank(type.data[len]));
}

static enum httpd_head_result check_type(struct piece type, struct httpd_head *out)
{
	const char *wanted = out->route->body_type;

	if (!out->body || is_type(type, wanted ? wanted : JSON))
		return HTTPD_HEAD_OK;
	return refuse(out, 415, "bad_content_type", single_names[CONTENT_TYPE], wanted ? "the body is of a type that this path does not take" : "the body must be " JSON);
}

/* Checks that need the whole head, the plainest first. */
static enum httpd_head_result judge(
	const struct httpd_route *routes, struct piece method, struct piece path, bool http10, const struct piece singles[SINGLES], struct httpd_head *out)
{
	enum httpd_head_result r;

	if (!singles[HOST].data && !http10)
		return bad(out, single_names[HOST], "this header is missing");
	if (singles[TRANSFER_ENCODING].data && singles[CONTENT_LENGTH].data)
		return bad(out, single_names[TRANSFER_ENCODING], "this header may not come together with Content-Length");
	r = find_route(routes, method, path, out);
	if (r != HTTPD_HEAD_OK)
		return r;
	r = check_length(method, singles, out);
	if (r != HTTPD_HEAD_OK)
		return r;
	r = check_type(singles[CONTENT_TYPE], out);
	if (r != HTTPD_HEAD_OK)
		return r;
	if (singles[EXPECT].data && !piece_is_nocase(singles[EXPECT], "100-continue"))
		return refuse(out, 417, "bad_expectation", single_names[EXPECT], "only 100-continue can be expected");
	out->expect_continue = singles[EXPECT].data && out->body && !http10;
	return HTTPD_HEAD_OK;
}

enum httpd_head_result httpd_head_check(const struct httpd_route *routes, const char *data, size_t len, struct httpd_head *out)
{
	struct piece method = {0}, path = {0}, singles[SINGLES] = {0};
	bool http10 = false;
	size_t pos = 0;

	*out = (struct httpd_head){0};
	/* Not HTTP at all (a TLS client on a plain port): do not wait for more of it. */
	if (len && (data[0] < 'A' || data[0] > 'Z'))
		return bad(out, NULL, "this is no HTTP request");
	for (unsigned lines = 0;; lines++) {
		const char *end = memchr(data + pos, '\n', (len < HTTPD_MAX_HEAD ? len : HTTPD_MAX_HEAD) - pos);
		enum httpd_head_result r;
		struct piece line;

		if (!end)
			return len < HTTPD_MAX_HEAD ? HTTPD_HEAD_MORE : refuse(out, 431, "head_too_large", NULL, "the headers are too large");
		line = (struct piece){data + pos, (size_t)(end - data) - pos};
		if (!line.len || line.data[line.len - 1] != '\r')
			return bad(out, NULL, "lines must end with CR LF");
		line.len--;
		pos = (size_t)(end - data) + 1;
		if (lines && !line.len)
			break;
		if (lines > HTTPD_MAX_HEADERS)
			return refuse(out, 431, "head_too_large", NULL, "there are too many headers");
		r = lines ? parse_header(line, singles, out) : parse_line(line, &method, &path, &http10, out);
		if (r != HTTPD_HEAD_OK)
			return r;
	}
	out->len = pos;
	return judge(routes, method, path, http10, singles, out);
}
