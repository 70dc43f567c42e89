#include "wire/envelope_body.h"

#include <string.h>

#include "base/digest.h"

#define PAD 256

enum { FLAG_PROVED = 1, FLAG_SENT = 2 };

static void put_padding(struct buf *out)
{
	static const uint8_t zeros[PAD];

	buf_put(out, zeros, (PAD - out->len % PAD) % PAD);
}

/* The rest is zeros, up to a multiple of PAD. */
static bool padding_done(struct reader *r)
{
	size_t left = r->len - r->pos;
	const uint8_t *rest = reader_bytes(r, left);

	if (!rest || left >= PAD || r->len % PAD)
		return false;
	for (size_t i = 0; i < left; i++)
		if (rest[i])
			return false;
	return reader_done(r);
}

/* One text of min..max bytes of UTF-8 (which has no NUL) into out, of max + 1 bytes. */
static bool take_text(struct reader *r, size_t min, size_t max, char *out)
{
	size_t len = 0;
	const uint8_t *text = reader_lp(r, &len);

	if (!text || len < min || len > max || !utf8_valid(text, len))
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

/* u8 operation, username, domain, password (lp each), padding. */
void envelope_body_put_request(struct buf *out, const struct envelope_request *request)
{
	size_t username = strlen(request->username), domain = strlen(request->domain), password = secret_len(request->password);

	buf_reserve(out, ENVELOPE_REQUEST_PLAIN_MAX); /* at once: no copies on the way */
	if (username == 0 || domain == 0 || password == 0 || password > LIMIT_PASSWORD)
		out->failed = true;
	buf_put_u8(out, (uint8_t)request->operation);
	buf_put_lp(out, request->username, username);
	buf_put_lp(out, request->domain, domain);
	buf_put_lp(out, secret_bytes(request->password), password);
	put_padding(out);
}

int envelope_body_parse_request(const uint8_t *plain, size_t len, struct envelope_request *out, struct err *err)
{
	struct reader r = READER(plain, len);
	const uint8_t *password;
	size_t password_len = 0;

	memset(out, 0, sizeof(*out));
	out->operation = (enum envelope_operation)reader_u8(&r);
	if (out->operation != ENVELOPE_VALIDATE || !take_text(&r, 1, LIMIT_USERNAME, out->username) || !take_text(&r, 1, LIMIT_DOMAIN, out->domain))
		goto malformed;
	password = reader_lp(&r, &password_len);
	/* An empty password must never reach a directory: it would be an anonymous bind. */
	if (!password || password_len == 0 || password_len > LIMIT_PASSWORD || !utf8_valid(password, password_len) || !padding_done(&r))
		goto malformed;
	out->password = secret_dup(password, password_len);
	if (!out->password) {
		memset(out, 0, sizeof(*out));
		return err_set(err, -PTA_ENOMEM, "sealed request: the memory for secrets is exhausted");
	}
	return 0;
malformed:
	memset(out, 0, sizeof(*out));
	return err_set(err, -PTA_EPROTO, "sealed request: malformed inside, though authentic: service and agent disagree about its layout");
}

static void put_printable(struct buf *out, const char *text, size_t max)
{
	size_t len = strnlen(text, max);

	buf_put_u16(out, (uint16_t)len);
	for (size_t i = 0; i < len; i++)
		buf_putc(out, ascii_printable(text + i, 1) ? text[i] : '?');
}

static bool take_printable(struct reader *r, size_t max, char *out)
{
	return take_text(r, 0, max, out) && ascii_printable(out, strlen(out));
}

static void hash_username(const char *username, uint8_t hash[DIGEST_LEN])
{
	digest(username, strlen(username), hash);
}

/* request id (lp), u32 attempt, SHA-256 of the user name as typed, u8 code, u8 reason, u8 flags, u32 microseconds, DC and
 * detail (lp each), padding. */
void envelope_body_put_answer(struct buf *out, const struct envelope_head *head, const char *username, const struct verdict *verdict)
{
	uint8_t hash[DIGEST_LEN];

	hash_username(username, hash);
	buf_reserve(out, ENVELOPE_ANSWER_PLAIN_MAX);
	buf_put_lp(out, head->request_id, strlen(head->request_id));
	buf_put_u32(out, head->attempt);
	buf_put(out, hash, sizeof(hash));
	buf_put_u8(out, (uint8_t)verdict->code);
	buf_put_u8(out, verdict->code == VERDICT_UNAVAILABLE ? (uint8_t)verdict->reason : 0);
	buf_put_u8(out, (uint8_t)((verdict->password_proved ? FLAG_PROVED : 0) | (verdict->password_sent ? FLAG_SENT : 0)));
	buf_put_u32(out, verdict->directory_us);
	put_printable(out, verdict->dc, LIMIT_DOMAIN);
	put_printable(out, verdict->detail, LIMIT_DETAIL);
	put_padding(out);
}

/* Verdicts that contradict themselves are nobody's honest answer. */
static bool verdict_consistent(const struct verdict *v, uint8_t flags)
{
	if ((unsigned)v->code >= VERDICT_CODES || (unsigned)v->reason >= REASON_CODES || flags & ~(FLAG_PROVED | FLAG_SENT))
		return false;
	if (v->code != VERDICT_UNAVAILABLE && v->reason != 0)
		return false;
	if (v->code == VERDICT_SUCCESS && !v->password_proved)
		return false;
	/* What says nothing of the account proves nothing. */
	return !v->password_proved ||
	       (v->code != VERDICT_UNAVAILABLE && v->code != VERDICT_INVALID_CREDENTIALS && v->code != VERDICT_INVALID_REQUEST && v->code != VERDICT_THROTTLED);
}

int envelope_body_parse_answer(const uint8_t *plain, size_t len, const struct envelope_head *head, const char *username, struct verdict *out, struct err *err)
{
	struct reader r = READER(plain, len);
	uint8_t expected[DIGEST_LEN], flags;
	char request_id[RANDOM_ID_LEN + 1];
	const uint8_t *hash;
	struct verdict v = {0};
	uint32_t attempt;

	memset(out, 0, sizeof(*out));
	if (!take_text(&r, RANDOM_ID_LEN, RANDOM_ID_LEN, request_id))
		return err_set(err, -PTA_EPROTO, "sealed answer: malformed inside");
	attempt = reader_u32(&r);
	hash = reader_bytes(&r, sizeof(expected));
	v.code = (enum verdict_code)reader_u8(&r);
	v.reason = (enum verdict_reason)reader_u8(&r);
	flags = reader_u8(&r);
	v.password_proved = flags & FLAG_PROVED;
	v.password_sent = flags & FLAG_SENT;
	v.directory_us = reader_u32(&r);
	if (!hash || !take_printable(&r, LIMIT_DOMAIN, v.dc) || !take_printable(&r, LIMIT_DETAIL, v.detail) || !padding_done(&r))
		return err_set(err, -PTA_EPROTO, "sealed answer: malformed inside");
	if (!verdict_consistent(&v, flags))
		return err_set(err, -PTA_EPROTO, "sealed answer: contradicts itself (verdict %d, reason %d, flags %d)", v.code, v.reason, flags);
	if (strcmp(request_id, head->request_id) != 0)
		return err_set(err, -PTA_EPROTO, "sealed answer: of another request");
	if (attempt != head->attempt)
		return err_set(err, -PTA_EPROTO, "sealed answer: of another attempt");
	hash_username(username, expected);
	if (memcmp(hash, expected, sizeof(expected)) != 0)
		return err_set(err, -PTA_EPROTO, "sealed answer: about another user");
	*out = v;
	return 0;
}
