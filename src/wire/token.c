#include "wire/token.h"

#include <string.h>

#include "base/digest.h"
#include "base/secret.h"

/* version (u8), id (lp), secret, service (lp), CA certificate (lp), and the first bytes of SHA-256 over all of it. */
#define VERSION 1
#define PREFIX "pta1."
#define CHECK_LEN 4

static void buf_donep(struct buf *buf)
{
	buf_done(buf);
}

void token_encode(struct buf *out, const struct token *token)
{
	struct buf body PTA_CLEANUP(buf_donep) = BUF_INIT_WIPED(LIMIT_TOKEN);
	uint8_t hash[DIGEST_LEN];

	buf_put_u8(&body, VERSION);
	buf_put_lp(&body, token->id, strlen(token->id));
	buf_put(&body, token->secret, sizeof(token->secret));
	buf_put_lp(&body, token->service, strlen(token->service));
	buf_put_lp(&body, token->ca_der, token->ca_der_len);
	if (!buf_ok(&body)) {
		out->failed = true;
		return;
	}
	digest(body.data, body.len, hash);
	buf_put(&body, hash, CHECK_LEN);
	if (!buf_ok(&body)) {
		out->failed = true;
		return;
	}
	buf_puts(out, PREFIX);
	encode_base64url(out, body.data, body.len);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool take_text(struct reader *r, char *out, size_t cap)
{
	size_t len = 0;
	const uint8_t *text = reader_lp(r, &len);

	if (!text || len >= cap || !ascii_printable((const char *)text, len))
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

/* The checksum was right: what is wrong here was made wrong. */
static bool parse_body(const uint8_t *body, size_t len, struct token *out)
{
	struct reader r = READER(body, len);
	const uint8_t *secret, *ca;
	size_t ca_len = 0;

	reader_u8(&r);
	if (!take_text(&r, out->id, sizeof(out->id)) || !random_id_valid(out->id, strlen(out->id)))
		return false;
	secret = reader_bytes(&r, TOKEN_SECRET_LEN);
	if (!secret || !take_text(&r, out->service, sizeof(out->service)))
		return false;
	/* The token's secret must never travel in the clear. */
	if (out->service[0] && strncmp(out->service, "https://", 8) != 0)
		return false;
	ca = reader_lp(&r, &ca_len);
	if (!ca || !reader_done(&r) || ca_len == 0 || ca_len > sizeof(out->ca_der))
		return false;
	memcpy(out->secret, secret, TOKEN_SECRET_LEN);
	memcpy(out->ca_der, ca, ca_len);
	out->ca_der_len = ca_len;
	return true;
}

static int decode(const char *text, size_t len, uint8_t body[LIMIT_TOKEN], struct token *out, struct err *err)
{
	uint8_t hash[DIGEST_LEN];
	size_t body_len;

	while (len > 0 && is_space(text[len - 1]))
		len--;
	while (len > 0 && is_space(text[0])) {
		text++;
		len--;
	}
	if (len < strlen(PREFIX) || memcmp(text, "pta", 3) != 0 || text[3] < '1' || text[3] > '9' || text[4] != '.' || len > LIMIT_TOKEN)
		return err_set(err, -PTA_EINVAL, "registration token: not a pta token (it is one line that begins with \"" PREFIX "\")");
	if (text[3] != '1')
		return err_set(err, -PTA_EINVAL, "registration token: of a newer version; install a newer pta-agent");
	text += strlen(PREFIX);
	len -= strlen(PREFIX);
	/* A whole token of a later layout passes here too, so that it is not called a bad copy. */
	if (decode_base64url(text, len, body, LIMIT_TOKEN, &body_len) < 0 || body_len <= CHECK_LEN)
		return err_set(err, -PTA_EINVAL, "registration token: cut off or changed on its way; copy the whole line");
	body_len -= CHECK_LEN;
	digest(body, body_len, hash);
	if (memcmp(hash, body + body_len, CHECK_LEN) != 0)
		return err_set(err, -PTA_EINVAL, "registration token: cut off or changed on its way; copy the whole line");
	if (body[0] != VERSION)
		return err_set(err, -PTA_EINVAL, "registration token: of a newer version; install a newer pta-agent");
	if (!parse_body(body, body_len, out))
		return err_set(err, -PTA_EINVAL, "registration token: not a pta token (its content makes no sense)");
	return 0;
}

int token_decode(const char *text, size_t len, struct token *out, struct err *err)
{
	uint8_t body[LIMIT_TOKEN];
	int r;

	memset(out, 0, sizeof(*out));
	r = decode(text, len, body, out, err);
	secret_wipe(body, sizeof(body));
	if (r < 0)
		secret_wipe(out, sizeof(*out));
	return r;
}

void token_hash(const uint8_t secret[TOKEN_SECRET_LEN], uint8_t hash[32])
{
	digest(secret, TOKEN_SECRET_LEN, hash);
}
