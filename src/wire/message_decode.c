/* Reading the messages. */
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

static void take_poll(struct json_fields *f, void *arg)
{
	struct message_poll *m = arg;

	take_id(f, "instance", m->instance);
	m->number = json_uint(f, "number", 1, UINT64_MAX);
	m->credit = (uint32_t)json_uint(f, "credit", 1, LIMIT_CREDIT);
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
	return decode(json, len, LIMIT_POLL_BODY, take_key, out, sizeof(*out), field, err);
}

int message_decode_poll(const void *json, size_t len, struct message_poll *out, const char **field, struct err *err)
{
	return decode(json, len, LIMIT_POLL_BODY, take_poll, out, sizeof(*out), field, err);
}

/* Bytes that were base64url in the text, one after the other in memory that was sized by the text. */
struct storage {
	uint8_t *data;
	size_t cap, used;
};

static int storage_new(struct storage *s, size_t text_len, struct err *err)
{
	s->used = 0;
	s->cap = text_len / 4 * 3 + 3;
	s->data = malloc(s->cap);
	return s->data ? 0 : err_set(err, -PTA_ENOMEM, "no memory for a message of %zu bytes", text_len);
}

static const uint8_t *take_bytes(struct json_fields *f, const char *key, size_t max, struct storage *s, size_t *len)
{
	uint8_t *at = s->data + s->used;
	size_t room = s->cap - s->used;

	json_bytes(f, key, at, 1, room < max ? room : max, len);
	s->used += *len;
	return at;
}

static int take_request(struct json_object *object, struct message_request *m, struct storage *storage, const char **field, struct err *err)
{
	struct json_fields f;
	size_t len;
	int r;

	json_fields_begin(&f, object, err);
	take_id(&f, "id", m->head.request_id);
	m->head.attempt = (uint32_t)json_uint(&f, "attempt", 1, UINT32_MAX);
	m->head.expires_ms = json_uint(&f, "expires_ms", 1, LIMIT_WALL_MS);
	take_id(&f, "key_id", m->head.key_id);
	json_bytes(&f, "enc", m->enc, sizeof(m->enc), sizeof(m->enc), &len);
	m->seq = json_uint(&f, "seq", 0, UINT64_MAX - 1);
	m->sealed = take_bytes(&f, "sealed", LIMIT_SEALED, storage, &m->sealed_len);
	r = json_fields_end(&f);
	*field = f.field;
	return r;
}

static void take_answer_or_decline(struct json_fields *f, struct message_result *m, struct storage *storage)
{
	const char *declined = json_string_opt(f, "declined", 1, 64, NULL);

	if (!declined) {
		m->answer = take_bytes(f, "answer", LIMIT_ANSWER, storage, &m->answer_len);
		return;
	}
	m->declined = true;
	if (verdict_reason_parse(declined, &m->decline_reason) < 0)
		json_field_bad(f, "declined", "is not a reason");
}

static int take_result(struct json_object *object, struct message_result *m, struct storage *storage, const char **field, struct err *err)
{
	struct json_fields f;
	int r;

	json_fields_begin(&f, object, err);
	take_id(&f, "id", m->request_id);
	m->attempt = (uint32_t)json_uint(&f, "attempt", 1, UINT32_MAX);
	take_answer_or_decline(&f, m, storage); /* one of them: the other is then an unknown field */
	r = json_fields_end(&f);
	*field = f.field;
	return r;
}

static int take_requests(struct json *doc, size_t len, struct message_batch *out, const char **field, struct err *err)
{
	struct storage storage;
	struct json_object *list;
	struct json_fields f;
	size_t n;
	int r;

	json_fields_begin(&f, json_root(doc), err);
	list = json_array(&f, "requests", LIMIT_CREDIT, &n);
	r = json_fields_end(&f);
	*field = f.field;
	if (r < 0)
		return r;
	r = storage_new(&storage, len, err);
	if (r < 0)
		return r;
	out->storage = storage.data;
	out->requests = calloc(n + 1, sizeof(*out->requests));
	if (!out->requests)
		return err_set(err, -PTA_ENOMEM, "no memory for %zu requests", n);
	for (out->n = 0; out->n < n; out->n++) {
		r = take_request(json_array_at(list, out->n), &out->requests[out->n], &storage, field, err);
		if (r < 0)
			return err_prefix(err, r, "request %zu: ", out->n);
	}
	return 0;
}

int message_decode_batch(const void *json, size_t len, struct message_batch *out, const char **field, struct err *err)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	const char *bad = "";
	int r;

	*out = (struct message_batch){0};
	r = len > LIMIT_BATCH_BODY ? err_set(err, -PTA_EPROTO, "message: more than %u bytes", LIMIT_BATCH_BODY) : json_parse(json, len, &doc, err);
	if (r == 0)
		r = take_requests(doc, len, out, &bad, err);
	if (r < 0)
		message_batch_done(out);
	if (field)
		*field = bad;
	return r;
}

static int take_results(struct json *doc, size_t len, struct message_results *out, const char **field, struct err *err)
{
	struct storage storage;
	struct json_object *list;
	struct json_fields f;
	size_t n;
	int r;

	json_fields_begin(&f, json_root(doc), err);
	take_id(&f, "instance", out->instance);
	list = json_array(&f, "results", LIMIT_RESULTS, &n);
	r = json_fields_end(&f);
	*field = f.field;
	if (r < 0)
		return r;
	r = storage_new(&storage, len, err);
	if (r < 0)
		return r;
	out->storage = storage.data;
	out->results = calloc(n + 1, sizeof(*out->results));
	if (!out->results)
		return err_set(err, -PTA_ENOMEM, "no memory for %zu results", n);
	for (out->n = 0; out->n < n; out->n++) {
		r = take_result(json_array_at(list, out->n), &out->results[out->n], &storage, field, err);
		if (r < 0)
			return err_prefix(err, r, "result %zu: ", out->n);
	}
	return 0;
}

int message_decode_results(const void *json, size_t len, struct message_results *out, const char **field, struct err *err)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	const char *bad = "";
	int r;

	*out = (struct message_results){0};
	r = len > LIMIT_RESULTS_BODY ? err_set(err, -PTA_EPROTO, "message: more than %u bytes", LIMIT_RESULTS_BODY) : json_parse(json, len, &doc, err);
	if (r == 0)
		r = take_results(doc, len, out, &bad, err);
	if (r < 0)
		message_results_done(out);
	if (field)
		*field = bad;
	return r;
}

void message_batch_done(struct message_batch *batch)
{
	free(batch->requests);
	free(batch->storage);
	*batch = (struct message_batch){0};
}

void message_results_done(struct message_results *results)
{
	free(results->results);
	free(results->storage);
	*results = (struct message_results){0};
}
