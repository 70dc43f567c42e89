#include "wire/envelope.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "wire/envelope_body.h"
#include "wire/replay_window.h"

_Static_assert(REPLAY_WINDOW == ENVELOPE_WINDOW, "the window is the header's");
_Static_assert(ENVELOPE_REQUEST_PLAIN_MAX + AEAD_TAG_LEN <= LIMIT_SEALED, "a sealed request fits");
_Static_assert(AEAD_NONCE_LEN + ENVELOPE_ANSWER_PLAIN_MAX + AEAD_TAG_LEN <= LIMIT_ANSWER, "a sealed answer fits");

#define AAD_MAX 512

static const char info[] = "pta envelope v1", answer_label[] = "pta answer v1";

struct envelope_sender {
	struct hpke_sender *hpke;
};

/* One of the service's sender contexts, as seen from here. */
struct context {
	uint8_t enc[ENVELOPE_ENC_LEN];
	struct hpke_receiver *hpke;
	struct replay_window window;
};

struct envelope_receiver {
	struct hpke_key *key;
	char key_id[RANDOM_ID_LEN + 1];
	unsigned n;
	struct context *contexts[ENVELOPE_CONTEXTS_MAX];
};

static void buf_donep(struct buf *buf)
{
	buf_done(buf);
}

static void cipher_freep(EVP_CIPHER_CTX **ctx)
{
	EVP_CIPHER_CTX_free(*ctx);
	*ctx = NULL;
}

void envelope_request_done(struct envelope_request *request)
{
	secret_freep(&request->password);
	memset(request, 0, sizeof(*request));
}

/* All that both sides must agree about. The version of the layout is in info. */
static void put_aad(struct buf *out, const struct envelope_head *head, const uint8_t enc[ENVELOPE_ENC_LEN], uint64_t seq)
{
	buf_reserve(out, AAD_MAX);
	buf_put_lp(out, head->tenant, strlen(head->tenant));
	buf_put_lp(out, head->agent, strlen(head->agent));
	buf_put_lp(out, head->key_id, strlen(head->key_id));
	buf_put(out, enc, ENVELOPE_ENC_LEN);
	buf_put_u64(out, seq);
	buf_put_lp(out, head->request_id, strlen(head->request_id));
	buf_put_u32(out, head->attempt);
	buf_put_u64(out, head->expires_ms);
}

#define ANSWER_CONTEXT_LEN (sizeof(answer_label) - 1 + 8 + RANDOM_ID_LEN)

/* The exporter context of an answer's key: label, number, request id. */
static void put_answer_context(uint8_t out[ANSWER_CONTEXT_LEN], uint64_t seq, const struct envelope_head *head)
{
	uint8_t *p = out;

	memset(out, 0, ANSWER_CONTEXT_LEN);
	memcpy(p, answer_label, sizeof(answer_label) - 1);
	p += sizeof(answer_label) - 1;
	for (int i = 0; i < 8; i++)
		*p++ = (uint8_t)(seq >> (56 - 8 * i));
	memcpy(p, head->request_id, strnlen(head->request_id, RANDOM_ID_LEN));
}

int envelope_sender_new(const uint8_t agent_public[HPKE_KEY_LEN], struct envelope_sender **out)
{
	struct envelope_sender *sender = calloc(1, sizeof(*sender));
	int r;

	if (!sender)
		return -PTA_ENOMEM;
	r = hpke_sender_new(HPKE_AES_256_GCM, agent_public, info, sizeof(info) - 1, NULL, &sender->hpke);
	if (r < 0) {
		free(sender);
		return r;
	}
	*out = sender;
	return 0;
}

void envelope_sender_free(struct envelope_sender *sender)
{
	if (!sender)
		return;
	hpke_sender_free(sender->hpke);
	free(sender);
}

const uint8_t *envelope_sender_enc(const struct envelope_sender *sender)
{
	return hpke_sender_enc(sender->hpke);
}

int envelope_seal_request(struct envelope_sender *sender, const struct envelope_head *head, const struct envelope_request *request, struct buf *sealed,
	uint64_t *seq, uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN])
{
	struct buf plain PTA_CLEANUP(buf_donep) = BUF_INIT_WIPED(ENVELOPE_REQUEST_PLAIN_MAX), aad PTA_CLEANUP(buf_donep) = BUF_INIT(AAD_MAX);
	uint8_t out[ENVELOPE_REQUEST_PLAIN_MAX + HPKE_TAG_LEN], context[ANSWER_CONTEXT_LEN];
	int r;

	memset(answer_key, 0, ENVELOPE_ANSWER_KEY_LEN);
	envelope_body_put_request(&plain, request);
	put_aad(&aad, head, envelope_sender_enc(sender), hpke_sender_next(sender->hpke));
	if (!buf_ok(&plain) || !buf_ok(&aad))
		return -PTA_EINVAL;
	r = hpke_seal(sender->hpke, aad.data, aad.len, plain.data, plain.len, out, seq);
	if (r < 0)
		return r;
	put_answer_context(context, *seq, head);
	r = hpke_sender_export(sender->hpke, context, sizeof(context), answer_key, ENVELOPE_ANSWER_KEY_LEN);
	if (r < 0)
		return r;
	buf_put(sealed, out, plain.len + HPKE_TAG_LEN);
	if (!buf_ok(sealed)) {
		secret_wipe(answer_key, ENVELOPE_ANSWER_KEY_LEN);
		return -PTA_ENOMEM;
	}
	return 0;
}

int envelope_receiver_new(struct envelope_receiver **out)
{
	struct envelope_receiver *receiver = calloc(1, sizeof(*receiver));
	int r;

	if (!receiver)
		return -PTA_ENOMEM;
	r = hpke_key_new(&receiver->key);
	if (r < 0) {
		free(receiver);
		return r;
	}
	random_id(receiver->key_id);
	*out = receiver;
	return 0;
}

static void context_free(struct context *context)
{
	if (!context)
		return;
	hpke_receiver_free(context->hpke);
	free(context);
}

void envelope_receiver_free(struct envelope_receiver *receiver)
{
	if (!receiver)
		return;
	for (unsigned i = 0; i < receiver->n; i++)
		context_free(receiver->contexts[i]);
	hpke_key_free(receiver->key);
	free(receiver);
}

const char *envelope_receiver_key_id(const struct envelope_receiver *receiver)
{
	return receiver->key_id;
}

const uint8_t *envelope_receiver_public(const struct envelope_receiver *receiver)
{
	return hpke_key_public(receiver->key);
}

unsigned envelope_receiver_contexts(const struct envelope_receiver *receiver)
{
	return receiver->n;
}

static struct context *context_find(const struct envelope_receiver *receiver, const uint8_t enc[ENVELOPE_ENC_LEN])
{
	for (unsigned i = 0; i < receiver->n; i++)
		if (memcmp(receiver->contexts[i]->enc, enc, ENVELOPE_ENC_LEN) == 0)
			return receiver->contexts[i];
	return NULL;
}

static int context_new(const struct envelope_receiver *receiver, const uint8_t enc[ENVELOPE_ENC_LEN], struct context **out)
{
	struct context *context = calloc(1, sizeof(*context));
	int r;

	if (!context)
		return -PTA_ENOMEM;
	memcpy(context->enc, enc, ENVELOPE_ENC_LEN);
	r = hpke_receiver_new(HPKE_AES_256_GCM, receiver->key, enc, info, sizeof(info) - 1, &context->hpke);
	if (r < 0) {
		free(context);
		return r;
	}
	*out = context;
	return 0;
}

/* Opens with a context, marks the number, parses. */
static int open_with(struct context *context, const struct envelope_head *head, uint64_t seq, const uint8_t *sealed, size_t len, struct envelope_request *out,
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], bool *authentic, struct err *err)
{
	struct buf aad PTA_CLEANUP(buf_donep) = BUF_INIT(AAD_MAX);
	uint8_t plain[ENVELOPE_REQUEST_PLAIN_MAX], answer_context[ANSWER_CONTEXT_LEN];
	int r;

	put_aad(&aad, head, context->enc, seq);
	if (!buf_ok(&aad))
		return err_set(err, -PTA_ENOMEM, "sealed request: out of memory");
	r = hpke_open(context->hpke, seq, aad.data, aad.len, sealed, len, plain);
	if (r < 0)
		return err_set(err, r, "sealed request: not sealed for this agent and key, or changed on its way");
	*authentic = true;
	replay_window_mark(&context->window, seq);
	r = envelope_body_parse_request(plain, len - HPKE_TAG_LEN, out, err);
	secret_wipe(plain, len - HPKE_TAG_LEN);
	if (r < 0)
		return r;
	put_answer_context(answer_context, seq, head);
	r = hpke_receiver_export(context->hpke, answer_context, sizeof(answer_context), answer_key, ENVELOPE_ANSWER_KEY_LEN);
	if (r < 0) {
		envelope_request_done(out);
		return err_set(err, r, "sealed request: deriving the answer's key failed");
	}
	return 0;
}

int envelope_open_request(struct envelope_receiver *receiver, const struct envelope_head *head, const uint8_t enc[ENVELOPE_ENC_LEN], uint64_t seq,
	const uint8_t *sealed, size_t len, uint64_t now_ms, struct envelope_request *out, uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], struct err *err)
{
	struct context *context = context_find(receiver, enc), *fresh = NULL;
	bool authentic = false;
	int r;

	memset(out, 0, sizeof(*out));
	memset(answer_key, 0, ENVELOPE_ANSWER_KEY_LEN);
	/* Before anything else is said of it: whoever hears of another fault may hold that the password went nowhere. */
	if (context && !replay_window_fresh(&context->window, seq))
		return err_set(err, -PTA_EREPLAY, "sealed request: number %llu came a second time, or is older than the window", (unsigned long long)seq);
	if (now_ms >= head->expires_ms)
		return err_set(err, -PTA_EEXPIRED, "sealed request: expired %llu ms ago", (unsigned long long)(now_ms - head->expires_ms));
	if (len < HPKE_TAG_LEN || len > ENVELOPE_REQUEST_PLAIN_MAX + HPKE_TAG_LEN)
		return err_set(err, -PTA_ECRYPTO, "sealed request: %zu bytes cannot be one", len);
	if (!context) {
		if (receiver->n == ENVELOPE_CONTEXTS_MAX)
			return err_set(err, -PTA_EBUSY, "sealed request: %d senders have used this key already, and a new one came", ENVELOPE_CONTEXTS_MAX);
		r = context_new(receiver, enc, &fresh);
		if (r < 0)
			return err_set(err, r, "sealed request: its sender's key is refused");
		context = fresh;
	}
	r = open_with(context, head, seq, sealed, len, out, answer_key, &authentic, err);
	/* A sender is remembered for its first authentic message, so that noise cannot use the places up. */
	if (fresh && authentic)
		receiver->contexts[receiver->n++] = fresh;
	else
		context_free(fresh);
	return r;
}

int envelope_seal_answer(const uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], const struct envelope_head *head, const char *username,
	const struct verdict *verdict, struct buf *sealed)
{
	struct buf plain PTA_CLEANUP(buf_donep) = BUF_INIT_WIPED(ENVELOPE_ANSWER_PLAIN_MAX);
	EVP_CIPHER_CTX *cipher PTA_CLEANUP(cipher_freep) = aead_new(HPKE_AES_256_GCM, answer_key, true);
	uint8_t out[AEAD_NONCE_LEN + ENVELOPE_ANSWER_PLAIN_MAX + AEAD_TAG_LEN];
	int r;

	/* Not RAND_bytes(), which takes five times as long for so few bytes; up to 256 bytes getrandom() gives whole or not at all. */
	if (!cipher || getrandom(out, AEAD_NONCE_LEN, 0) != AEAD_NONCE_LEN)
		return -PTA_ECRYPTO;
	envelope_body_put_answer(&plain, head, username, verdict);
	if (!buf_ok(&plain))
		return -PTA_ENOMEM;
	r = aead_seal(cipher, out, answer_label, sizeof(answer_label) - 1, plain.data, plain.len, out + AEAD_NONCE_LEN);
	if (r < 0)
		return r;
	buf_put(sealed, out, AEAD_NONCE_LEN + plain.len + AEAD_TAG_LEN);
	return buf_ok(sealed) ? 0 : -PTA_ENOMEM;
}

int envelope_open_answer(const uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], const struct envelope_head *head, const char *username, const uint8_t *sealed,
	size_t len, struct verdict *out, struct err *err)
{
	EVP_CIPHER_CTX *cipher PTA_CLEANUP(cipher_freep) = NULL;
	uint8_t plain[ENVELOPE_ANSWER_PLAIN_MAX];
	int r;

	memset(out, 0, sizeof(*out));
	if (len < AEAD_NONCE_LEN + AEAD_TAG_LEN || len > AEAD_NONCE_LEN + sizeof(plain) + AEAD_TAG_LEN)
		return err_set(err, -PTA_ECRYPTO, "sealed answer: %zu bytes cannot be one", len);
	cipher = aead_new(HPKE_AES_256_GCM, answer_key, false);
	if (!cipher)
		return err_set(err, -PTA_ECRYPTO, "sealed answer: no cipher");
	r = aead_open(cipher, sealed, answer_label, sizeof(answer_label) - 1, sealed + AEAD_NONCE_LEN, len - AEAD_NONCE_LEN, plain);
	if (r < 0)
		return err_set(err, r, "sealed answer: not sealed for this request, or changed on its way");
	r = envelope_body_parse_answer(plain, len - AEAD_NONCE_LEN - AEAD_TAG_LEN, head, username, out, err);
	secret_wipe(plain, sizeof(plain));
	return r;
}
