/* Polls and batches: binary, since they carry every password's way in and out. */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "wire/message.h"

enum { RESULT_ANSWER = 0, RESULT_DECLINED = 1 };

/* ---- writing ---- */

void message_list_reset(struct message_list *list)
{
	buf_reset(&list->items);
	list->n = 0;
}

void message_list_done(struct message_list *list)
{
	buf_done(&list->items);
	list->n = 0;
}

/* Anything but an id of full length is a fault of the caller's. */
static void put_id(struct buf *out, const char *id)
{
	if (strlen(id) != RANDOM_ID_LEN)
		out->failed = true;
	else
		buf_put(out, id, RANDOM_ID_LEN);
}

void message_result_item(struct message_list *results, const struct message_result *m)
{
	struct buf *out = &results->items;

	put_id(out, m->request_id);
	buf_put_u32(out, m->attempt);
	buf_put_u8(out, m->declined ? RESULT_DECLINED : RESULT_ANSWER);
	if (m->declined)
		buf_put_u8(out, (uint8_t)m->decline_reason);
	else
		buf_put_lp(out, m->answer, m->answer_len);
	results->n++;
}

void message_request_item(struct message_list *requests, const struct message_request *m)
{
	struct buf *out = &requests->items;

	put_id(out, m->head.request_id);
	buf_put_u32(out, m->head.attempt);
	buf_put_u64(out, m->head.expires_ms);
	put_id(out, m->head.key_id);
	buf_put(out, m->enc, sizeof(m->enc));
	buf_put_u64(out, m->seq);
	buf_put_lp(out, m->sealed, m->sealed_len);
	requests->n++;
}

void message_refused_item(struct message_list *refused, const char *request_id, uint32_t attempt, const char *error)
{
	struct buf *out = &refused->items;

	put_id(out, request_id);
	buf_put_u32(out, attempt);
	buf_put_lp(out, error, strlen(error));
	refused->n++;
}

static void put_list(struct buf *out, const struct message_list *list)
{
	buf_put_u16(out, (uint16_t)list->n);
	buf_put(out, list->items.data, list->items.len);
	out->failed |= list->items.failed || list->n > UINT16_MAX;
}

void message_encode_poll(struct buf *out, const struct message_poll *m, const struct message_list *results)
{
	buf_put_u8(out, MESSAGE_POLL_VERSION);
	put_id(out, m->instance);
	buf_put_u64(out, m->number);
	buf_put_u16(out, (uint16_t)m->credit);
	put_list(out, results);
}

void message_encode_batch(struct buf *out, const struct message_list *requests, const struct message_list *refused)
{
	buf_put_u8(out, MESSAGE_POLL_VERSION);
	put_list(out, requests);
	put_list(out, refused);
}

/* ---- reading ---- */

/* What a message is read from; the first problem stays in err. */
struct input {
	struct reader r;
	const char *what; /* "poll" or "batch" */
	struct err *err;
	int status;
};

static void bad(struct input *in, const char *field, const char *why)
{
	if (!in->status)
		in->status = err_set(in->err, -PTA_EPROTO, "%s: %s %s", in->what, field, why);
}

/* After a read: whether it was there. */
static bool there(struct input *in, const char *field)
{
	if (in->r.failed)
		bad(in, field, "is cut off");
	return !in->status;
}

static void take_id(struct input *in, const char *field, char out[RANDOM_ID_LEN + 1])
{
	const uint8_t *id = reader_bytes(&in->r, RANDOM_ID_LEN);

	if (!there(in, field))
		return;
	if (!random_id_valid((const char *)id, RANDOM_ID_LEN)) {
		bad(in, field, "is not 32 lower-case hex digits");
		return;
	}
	memcpy(out, id, RANDOM_ID_LEN);
	out[RANDOM_ID_LEN] = '\0';
}

static uint64_t in_range(struct input *in, const char *field, uint64_t value, uint64_t min, uint64_t max)
{
	if (there(in, field) && (value < min || value > max))
		bad(in, field, "is out of range");
	return in->status ? 0 : value;
}

static const uint8_t *take_bytes(struct input *in, const char *field, size_t max, size_t *len)
{
	const uint8_t *bytes = reader_lp(&in->r, len);

	if (there(in, field) && (*len == 0 || *len > max))
		bad(in, field, "is empty or too long");
	return bytes;
}

/* The version that both kinds begin with. */
static bool begin(struct input *in, size_t len, size_t limit)
{
	if (len > limit)
		bad(in, "length", "is beyond the limit");
	else if (in_range(in, "version", reader_u8(&in->r), 0, UINT8_MAX) != MESSAGE_POLL_VERSION)
		bad(in, "version", "is not 1: update the older of agent and service");
	return !in->status;
}

/* How many items follow, and room for them: no more than can be there, so that a few bytes do not ask for megabytes. */
static size_t take_list(struct input *in, const char *field, size_t max, size_t least, size_t size, void *items)
{
	size_t n = (size_t)in_range(in, field, reader_u16(&in->r), 0, max);

	if (in->status || n == 0)
		return 0;
	if (n > (in->r.len - in->r.pos) / least) {
		bad(in, field, "is more than what follows");
		return 0;
	}
	*(void **)items = calloc(n, size);
	if (!*(void **)items) {
		in->status = err_set(in->err, -PTA_ENOMEM, "%s: no memory for %zu items", in->what, n);
		return 0;
	}
	return n;
}

static int end(struct input *in)
{
	if (!in->status && !reader_done(&in->r))
		bad(in, "end", "has bytes behind it");
	return in->status;
}

static void take_result(struct input *in, struct message_result *m)
{
	uint64_t kind;

	take_id(in, "request", m->request_id);
	m->attempt = (uint32_t)in_range(in, "attempt", reader_u32(&in->r), 1, UINT32_MAX);
	kind = in_range(in, "kind", reader_u8(&in->r), RESULT_ANSWER, RESULT_DECLINED);
	if (in->status)
		return;
	m->declined = kind == RESULT_DECLINED;
	if (m->declined)
		m->decline_reason = (enum verdict_reason)in_range(in, "reason", reader_u8(&in->r), 0, REASON_CODES - 1);
	else
		m->answer = take_bytes(in, "answer", LIMIT_ANSWER, &m->answer_len);
}

int message_decode_poll(const uint8_t *data, size_t len, struct message_poll *out, struct err *err)
{
	struct input in = {.r = READER(data, len), .what = "poll", .err = err};

	*out = (struct message_poll){0};
	if (begin(&in, len, LIMIT_POLL_BODY)) {
		take_id(&in, "instance", out->instance);
		out->number = in_range(&in, "number", reader_u64(&in.r), 1, UINT64_MAX);
		out->credit = (uint32_t)in_range(&in, "credit", reader_u16(&in.r), 0, LIMIT_CREDIT);
		out->n = take_list(&in, "number of results", LIMIT_RESULTS, RANDOM_ID_LEN + 6, sizeof(*out->results), &out->results);
	}
	for (size_t i = 0; i < out->n && !in.status; i++)
		take_result(&in, &out->results[i]);
	if (!out->credit && !out->n)
		bad(&in, "credit", "must be at least 1 where there are no results");
	if (end(&in) < 0)
		message_poll_done(out);
	return in.status;
}

static void take_request(struct input *in, struct message_request *m)
{
	const uint8_t *enc;

	take_id(in, "request", m->head.request_id);
	m->head.attempt = (uint32_t)in_range(in, "attempt", reader_u32(&in->r), 1, UINT32_MAX);
	m->head.expires_ms = in_range(in, "expires_ms", reader_u64(&in->r), 1, LIMIT_WALL_MS);
	take_id(in, "key", m->head.key_id);
	enc = reader_bytes(&in->r, sizeof(m->enc));
	if (there(in, "enc"))
		memcpy(m->enc, enc, sizeof(m->enc));
	m->seq = in_range(in, "seq", reader_u64(&in->r), 0, UINT64_MAX - 1);
	m->sealed = take_bytes(in, "sealed", LIMIT_SEALED, &m->sealed_len);
}

static void take_refusal(struct input *in, struct message_refused *m)
{
	const uint8_t *error;
	size_t len;

	take_id(in, "request", m->request_id);
	m->attempt = (uint32_t)in_range(in, "attempt", reader_u32(&in->r), 1, UINT32_MAX);
	error = take_bytes(in, "error", sizeof(m->error) - 1, &len);
	if (in->status)
		return;
	if (!ascii_printable((const char *)error, len)) {
		bad(in, "error", "is not printable ASCII");
		return;
	}
	memcpy(m->error, error, len);
	m->error[len] = '\0';
}

int message_decode_batch(const uint8_t *data, size_t len, struct message_batch *out, struct err *err)
{
	struct input in = {.r = READER(data, len), .what = "batch", .err = err};

	*out = (struct message_batch){0};
	if (begin(&in, len, LIMIT_BATCH_BODY))
		out->n = take_list(&in, "number of requests", LIMIT_CREDIT, 2 * RANDOM_ID_LEN + ENVELOPE_ENC_LEN + 23, sizeof(*out->requests), &out->requests);
	for (size_t i = 0; i < out->n && !in.status; i++)
		take_request(&in, &out->requests[i]);
	if (!in.status)
		out->nrefused = take_list(&in, "number of refusals", LIMIT_RESULTS, RANDOM_ID_LEN + 7, sizeof(*out->refused), &out->refused);
	for (size_t i = 0; i < out->nrefused && !in.status; i++)
		take_refusal(&in, &out->refused[i]);
	if (end(&in) < 0)
		message_batch_done(out);
	return in.status;
}

void message_batch_done(struct message_batch *batch)
{
	free(batch->requests);
	free(batch->refused);
	*batch = (struct message_batch){0};
}

void message_poll_done(struct message_poll *poll)
{
	free(poll->results);
	*poll = (struct message_poll){0};
}
