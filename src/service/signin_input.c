#include <arpa/inet.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "service/signin.h"

static void copy_text(char *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	out[len] = 0;
}

static void read_client_ip(struct json_fields *f, struct signin_input *out)
{
	size_t len;
	const char *text = json_string_opt(f, "client_ip", 1, LIMIT_CLIENT_IP, &len);
	uint8_t address[sizeof(struct in6_addr)];

	if (!text)
		return;
	if (inet_pton(AF_INET, text, address) != 1 && inet_pton(AF_INET6, text, address) != 1) {
		json_field_bad(f, "client_ip", "must be an IPv4 or IPv6 address");
		return;
	}
	copy_text(out->client_ip, text, len);
}

static void read_correlation_id(struct json_fields *f, struct signin_input *out)
{
	size_t len;
	const char *text = json_string_opt(f, "correlation_id", 1, LIMIT_CORRELATION_ID, &len);

	if (!text)
		return;
	if (!ascii_printable(text, len)) {
		json_field_bad(f, "correlation_id", "must be printable ASCII");
		return;
	}
	copy_text(out->correlation_id, text, len);
}

static void read_tenant(struct json_fields *f, struct signin_input *out)
{
	size_t len;
	const char *text = json_string(f, "tenant", 1, LIMIT_TENANT, &len);

	copy_text(out->tenant, text, len);
}

static int read_fields(struct json_fields *f, bool control, struct signin_input *out)
{
	const char *text;
	size_t len;

	if (control)
		read_tenant(f, out);
	text = json_string(f, "username", 1, LIMIT_USERNAME, &len);
	copy_text(out->username, text, len);
	out->password = json_secret(f, "password", LIMIT_PASSWORD);
	if (out->password && !secret_len(out->password))
		json_field_bad(f, "password", "must not be empty");
	read_client_ip(f, out);
	read_correlation_id(f, out);
	return json_fields_end(f);
}

int signin_parse(const uint8_t *body, size_t len, bool control, struct signin_input *out, const char **field, struct err *err)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct json_fields f;
	int r;

	*out = (struct signin_input){0};
	*field = "";
	r = json_parse(body, len, &doc, err);
	if (r < 0)
		return r == -PTA_ENOMEM ? r : -PTA_EINVAL;
	json_fields_begin(&f, json_root(doc), err);
	r = read_fields(&f, control, out);
	if (r < 0) {
		*field = f.field;
		signin_input_done(out);
		return r == -PTA_ENOMEM ? r : -PTA_EINVAL;
	}
	return 0;
}

void signin_input_done(struct signin_input *input)
{
	secret_free(input->password);
	input->password = NULL;
}
