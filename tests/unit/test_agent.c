/* What the agent makes of the requests that its queue brings, against a service of the test's own and a directory that nobody
 * answers for. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent_peer.h"
#include "base/clock.h"
#include "base/log.h"

struct fixture {
	struct peer *peer;
	struct agent_conf *conf;
	struct agent *agent;
	struct envelope_sender *sender;
	struct message_key key; /* as published */
};

/* A request on its way to the agent, and what its answer opens with. */
struct sent {
	struct envelope_head head;
	struct message_list item; /* alone in it */
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
};

static int setup(void **state)
{
	static struct fixture f;
	const struct peer_body *keys;
	struct err err;

	log_set_level(LOG_EMERG);
	f.peer = peer_new();
	f.conf = peer_conf(f.peer, "");
	if (agent_new(f.conf, peer_identity(f.peer), &f.peer->identity_dir, &f.agent, &err) < 0)
		fail_msg("%s", err.text);
	keys = peer_wait(f.peer, "keys", 1);
	assert_int_equal(message_decode_key(keys->data, keys->len, &f.key, NULL, NULL), 0);
	assert_int_equal(envelope_sender_new(f.key.public_key, &f.sender), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	agent_drain(f->agent, clock_mono_us());
	agent_free(f->agent);
	envelope_sender_free(f->sender);
	agent_conf_unref(f->conf);
	peer_free(f->peer);
	return 0;
}

static struct sent seal(struct fixture *f, const char *username, uint64_t expires_ms)
{
	struct sent sent = {.head = {.tenant = "tenant1", .agent = "agent1", .attempt = 1, .expires_ms = expires_ms}, .item = MESSAGE_LIST(LIMIT_BATCH_BODY)};
	struct envelope_request request = {.operation = ENVELOPE_VALIDATE, .domain = "corp.example.com"};
	struct buf sealed = BUF_INIT(LIMIT_SEALED);
	struct message_request m;
	uint64_t seq;

	random_id(sent.head.request_id);
	memcpy(sent.head.key_id, f->key.key_id, sizeof(sent.head.key_id));
	memcpy(request.username, username, strlen(username) + 1);
	request.password = secret_dup("secret", 6);
	assert_int_equal(envelope_seal_request(f->sender, &sent.head, &request, &sealed, &seq, sent.answer_key), 0);
	m = (struct message_request){.head = sent.head, .seq = seq, .sealed = sealed.data, .sealed_len = sealed.len};
	memcpy(m.enc, envelope_sender_enc(f->sender), sizeof(m.enc));
	message_request_item(&sent.item, &m);
	envelope_request_done(&request);
	buf_done(&sealed);
	return sent;
}

/* Alone: an agent without a usable controller asks for one request at a time. */
static void send_item(struct fixture *f, const struct sent *sent)
{
	static const struct message_list nothing;
	struct buf batch = BUF_INIT(LIMIT_BATCH_BODY);

	message_encode_batch(&batch, &sent->item, &nothing);
	assert_true(buf_ok(&batch));
	peer_send_batch(f->peer, &batch);
	buf_done(&batch);
}

/* The request's result in the n-th poll that brought some; false: it is not in there. */
static bool result_in(struct fixture *f, unsigned n, const struct sent *sent, struct message_result *out, uint8_t answer[LIMIT_ANSWER])
{
	const struct peer_body *body = peer_wait(f->peer, "results", n);
	struct message_poll poll;
	bool found = false;

	assert_int_equal(message_decode_poll(body->data, body->len, &poll, NULL), 0);
	for (size_t i = 0; i < poll.n; i++) {
		if (strcmp(poll.results[i].request_id, sent->head.request_id) != 0)
			continue;
		assert_false(found);
		found = true;
		*out = poll.results[i];
		if (!out->declined)
			memcpy(answer, out->answer, out->answer_len);
		out->answer = answer;
	}
	message_poll_done(&poll);
	return found;
}

static void wait_result(struct fixture *f, const struct sent *sent, struct message_result *out, uint8_t answer[LIMIT_ANSWER])
{
	for (unsigned n = 1; !result_in(f, n, sent, out, answer); n++)
		;
}

static uint64_t soon(void)
{
	return clock_wall_ms() + 10000;
}

static void a_replayed_request_is_not_declined(void **state)
{
	struct fixture *f = *state;
	struct sent first = seal(f, "alice@corp.example.com", soon()), last = seal(f, "alice@corp.example.com", soon());
	struct message_result result;
	uint8_t answer[LIMIT_ANSWER];
	unsigned found = 0;

	for (int i = 0; i < 3; i++)
		send_item(f, &first);
	send_item(f, &last);
	wait_result(f, &first, &result, answer);
	wait_result(f, &last, &result, answer);
	for (unsigned n = peer_count(f->peer, "results"); n > 0; n--)
		found += result_in(f, n, &first, &result, answer);
	assert_int_equal(found, 1);
	/* No controller answers, and no password went to one. */
	assert_true(result.declined);
	assert_int_equal(result.decline_reason, REASON_DIRECTORY_UNREACHABLE);
	message_list_done(&first.item);
	message_list_done(&last.item);
}

static void what_cannot_be_worked_on_is_declined_with_its_reason(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *username;
		int change; /* 1: expired, 2: tampered, 3: another key's id */
		enum verdict_reason reason;
	} rows[] = {
		{"alice@corp.example.com", 0, REASON_DIRECTORY_UNREACHABLE},
		{"alice@elsewhere.example.com", 0, REASON_NOT_CONFIGURED},
		{"alice@corp.example.com", 1, REASON_CLOCK_SKEW},
		{"alice@corp.example.com", 2, REASON_DECRYPT_FAILED},
		{"alice@corp.example.com", 3, REASON_DECRYPT_FAILED},
	};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct sent sent = seal(f, rows[i].username, rows[i].change == 1 ? clock_wall_ms() - 60000 : soon());
		struct message_result result;
		uint8_t answer[LIMIT_ANSWER];
		/* As message.h lays a request out. */
		uint8_t *key_id = sent.item.items.data + RANDOM_ID_LEN + 4 + 8, *sealed = key_id + RANDOM_ID_LEN + ENVELOPE_ENC_LEN + 8 + 2;

		if (rows[i].change == 2)
			sealed[20] ^= 1;
		if (rows[i].change == 3)
			key_id[0] = key_id[0] == 'a' ? 'b' : 'a';
		send_item(f, &sent);
		wait_result(f, &sent, &result, answer);
		assert_true(result.declined);
		if (result.decline_reason != rows[i].reason)
			fail_msg("row %zu: %s", i, verdict_reason_name(result.decline_reason));
		message_list_done(&sent.item);
	}
}

static void a_name_that_is_none_is_answered_for_that_very_name(void **state)
{
	struct fixture *f = *state;
	struct sent sent = seal(f, "CN=alice,DC=corp", soon());
	struct message_result result;
	uint8_t answer[LIMIT_ANSWER];
	struct verdict verdict;

	send_item(f, &sent);
	wait_result(f, &sent, &result, answer);
	assert_false(result.declined);
	assert_int_equal(envelope_open_answer(sent.answer_key, &sent.head, "CN=alice,DC=corp", result.answer, result.answer_len, &verdict, NULL), 0);
	assert_int_equal(verdict.code, VERDICT_INVALID_REQUEST);
	assert_false(verdict.password_sent);
	message_list_done(&sent.item);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_replayed_request_is_not_declined),
		cmocka_unit_test(what_cannot_be_worked_on_is_declined_with_its_reason),
		cmocka_unit_test(a_name_that_is_none_is_answered_for_that_very_name),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
