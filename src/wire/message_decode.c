/* Reading the JSON messages. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/secret.h"
#include "wire/message.h"

#define SECRET_TEXT_LEN BASE64URL_LEN(32) /* a token's secret */

/* Strings of min..max bytes; out has max + 1. */
static void take_string(struct json_fields *f, const char *key, size_t min, size_t max, char *out)
{
	size_t len;
	const char *text = json_string(f, key, min, max, &len);

	memcpy(out, text, len);
	out[len] = '\0';
}

/* One line for logs and tables. */
static void take_line(struct json_fields *f, const char *key, size_t max, char *out)
{
	take_string(f, key, 1, max, out);
	if (!ascii_printable(out, strlen(out)))
		json_field_bad(f, key, "must be printable ASCII");
}

static void take_id(struct json_fields *f, const char *key, char out[RANDOM_ID_LEN + 1])
{
	take_string(f, key, RANDOM_ID_LEN, RANDOM_ID_LEN, out);
	if (!random_id_valid(out, strlen(out)))
		json_field_bad(f, key, "must be 32 lower-case hex digits");
}

/* A name of LIMIT_ID's alphabet. */
static void take_label(struct json_fields *f, const char *key, char out[LIMIT_ID + 1])
{
	take_string(f, key, 1, LIMIT_ID, out);
	if (out[strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789._-")] != '\0')
		json_field_bad(f, key, "must consist of a-z, 0-9, '.', '_' and '-'");
}

static void take_register(struct json_fields *f, void *arg)
{
	struct message_register *m = arg;
	uint8_t secret[32];
	size_t len;

	take_id(f, "token_id", m->token_id);
	take_string(f, "token", SECRET_TEXT_LEN, SECRET_TEXT_LEN, m->token_secret);
	if (decode_base64url(m->token_secret, strlen(m->token_secret), secret, sizeof(secret), &len) < 0)
		json_field_bad(f, "token", "must be base64url of 32 bytes");
	secret_wipe(secret, sizeof(secret));
	take_string(f, "csr", 1, LIMIT_CSR, m->csr);
	take_line(f, "host", LIMIT_DOMAIN, m->host);
	take_line(f, "version", sizeof(m->version) - 1, m->version);
}

static void take_certificate(struct json_fields *f, void *arg)
{
	struct message_certificate *m = arg;

	take_label(f, "agent", m->agent);
	take_label(f, "tenant", m->tenant);
	take_label(f, "group", m->group);
	take_string(f, "certificate", 1, LIMIT_CERTIFICATE, m->certificate);
}

static void take_renew(struct json_fields *f, void *arg)
{
	struct message_renew *m = arg;

	take_string(f, "csr", 1, LIMIT_CSR, m->csr);
}

static void take_key(struct json_fields *f, void *arg)
{
	struct message_key *m = arg;
	size_t len;

	take_id(f, "instance", m->instance);
	take_id(f, "key_id", m->key_id);
	json_bytes(f, "public", m->public_key, sizeof(m->public_key), sizeof(m->public_key), &len);
	m->not_after_ms = json_uint(f, "not_after_ms", 1, LIMIT_WALL_MS);
	json_bytes(f, "signature", m->signature, 1, sizeof(m->signature), &m->signature_len);
}

/* Parses and hands the fields to take. On an error *out is wiped. */
static int decode(const void *json, size_t len, size_t limit, void (*take)(struct json_fields *f, void *arg), void *out, size_t out_size, const char **field,
	struct err *err)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct json_fields f;
	int r;

	memset(out, 0, out_size);
	if (field)
		*field = "";
	if (len > limit)
		return err_set(err, -PTA_EPROTO, "message: more than %zu bytes", limit);
	r = json_parse(json, len, &doc, err);
	if (r < 0)
		return r;
	json_fields_begin(&f, json_root(doc), err);
	take(&f, out);
	r = json_fields_end(&f);
	if (r < 0) {
		secret_wipe(out, out_size);
		if (field)
			*field = f.field;
	}
	return r;
}

int message_decode_register(const void *json, size_t len, struct message_register *out, const char **field, struct err *err)
{
	return decode(json, len, LIMIT_REGISTER_BODY, take_register, out, sizeof(*out), field, err);
}

int message_decode_certificate(const void *json, size_t len, struct message_certificate *out, const char **field, struct err *err)
{
	return decode(json, len, LIMIT_CERTIFICATE_BODY, take_certificate, out, sizeof(*out), field, err);
}

int message_decode_renew(const void *json, size_t len, struct message_renew *out, const char **field, struct err *err)
{
	return decode(json, len, LIMIT_REGISTER_BODY, take_renew, out, sizeof(*out), field, err);
}

int message_decode_key(const void *json, size_t len, struct message_key *out, const char **field, struct err *err)
{
	return decode(json, len, LIMIT_KEY_BODY, take_key, out, sizeof(*out), field, err);
}
