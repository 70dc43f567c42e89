#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/keyring.h"

#define DAY_US ((uint64_t)KEYRING_LIFE_MS * 1000)
#define KEEP_US (2ull * KEYRING_MAX_DEADLINE_MS * 1000)
#define SERVICE_MS 1000000u

/* A service that knows one key. */
struct sealed {
	struct envelope_sender *sender;
	struct envelope_head head;
	struct buf bytes;
	struct message_request message;
};

static void seal(struct sealed *s, const struct envelope_receiver *receiver)
{
	struct envelope_request request = {.operation = ENVELOPE_VALIDATE, .username = "user@corp.example.com", .domain = "corp.example.com"};
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];

	memset(s, 0, sizeof(*s));
	assert_int_equal(envelope_sender_new(envelope_receiver_public(receiver), &s->sender), 0);
	s->head = (struct envelope_head){.tenant = "t", .agent = "a", .attempt = 1, .expires_ms = SERVICE_MS + 5000};
	snprintf(s->head.key_id, sizeof(s->head.key_id), "%s", envelope_receiver_key_id(receiver));
	random_id(s->head.request_id);
	s->bytes = BUF_INIT(LIMIT_SEALED);
	request.password = secret_dup("x", 1);
	assert_int_equal(envelope_seal_request(s->sender, &s->head, &request, &s->bytes, &s->message.seq, answer_key), 0);
	envelope_request_done(&request);
	memcpy(s->message.enc, envelope_sender_enc(s->sender), sizeof(s->message.enc));
	s->message.sealed = s->bytes.data;
	s->message.sealed_len = s->bytes.len;
}

static void sealed_done(struct sealed *s)
{
	envelope_sender_free(s->sender);
	buf_done(&s->bytes);
}

static int open_it(struct keyring *ring, const struct sealed *s)
{
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	struct envelope_request request = {0};
	struct err err;
	int r = keyring_open(ring, &s->head, &s->message, SERVICE_MS, &request, answer_key, &err);

	if (r == 0) {
		assert_string_equal(request.username, "user@corp.example.com");
		envelope_request_done(&request);
	}
	return r;
}

static void publish(struct keyring *ring, uint64_t now_us)
{
	assert_non_null(keyring_unpublished(ring));
	keyring_published(ring, envelope_receiver_key_id(keyring_unpublished(ring)), now_us);
}

static void the_first_key_wants_to_be_published(void **state)
{
	struct keyring *ring;

	(void)state;
	assert_int_equal(keyring_new(1, &ring), 0);
	assert_false(keyring_ready(ring));
	assert_non_null(keyring_unpublished(ring));
	keyring_published(ring, "00000000000000000000000000000000", 1);
	assert_false(keyring_ready(ring));
	publish(ring, 1);
	assert_true(keyring_ready(ring));
	assert_null(keyring_unpublished(ring));
	keyring_free(ring);
}

static void a_request_opens_even_when_the_acknowledgement_was_lost(void **state)
{
	struct keyring *ring;
	struct sealed s;

	(void)state;
	assert_int_equal(keyring_new(1, &ring), 0);
	seal(&s, keyring_unpublished(ring));
	assert_int_equal(open_it(ring, &s), 0);
	sealed_done(&s);
	keyring_free(ring);
}

static void an_unknown_key_is_told_from_a_broken_request(void **state)
{
	struct keyring *ring, *other;
	struct sealed s;

	(void)state;
	assert_int_equal(keyring_new(1, &ring), 0);
	assert_int_equal(keyring_new(1, &other), 0);
	seal(&s, keyring_unpublished(other));
	assert_int_equal(open_it(ring, &s), -PTA_ENOENT);
	sealed_done(&s);
	seal(&s, keyring_unpublished(ring));
	s.bytes.data[0] ^= 1;
	assert_int_equal(open_it(ring, &s), -PTA_ECRYPTO);
	sealed_done(&s);
	keyring_free(ring);
	keyring_free(other);
}

static void each_day_has_its_key_and_the_old_one_stays_for_two_deadlines(void **state)
{
	struct keyring *ring;
	struct sealed first, second;

	(void)state;
	assert_int_equal(keyring_new(0, &ring), 0);
	seal(&first, keyring_unpublished(ring));
	seal(&second, keyring_unpublished(ring));
	publish(ring, 0);
	assert_int_equal(keyring_tick(ring, DAY_US - 1), 0);
	assert_null(keyring_unpublished(ring));
	assert_int_equal(keyring_tick(ring, DAY_US), 0);
	assert_non_null(keyring_unpublished(ring));
	assert_true(keyring_ready(ring)); /* the service still has the old one */
	/* Not acknowledged: the old one stays however long that takes. */
	assert_int_equal(keyring_tick(ring, 3 * DAY_US), 0);
	assert_int_equal(open_it(ring, &first), 0);
	publish(ring, 3 * DAY_US);
	assert_int_equal(keyring_tick(ring, 3 * DAY_US + KEEP_US - 1), 0);
	assert_int_equal(open_it(ring, &second), 0);
	assert_int_equal(keyring_tick(ring, 3 * DAY_US + KEEP_US), 0);
	assert_int_equal(open_it(ring, &second), -PTA_ENOENT);
	sealed_done(&first);
	sealed_done(&second);
	keyring_free(ring);
}

static void many_contexts_want_a_new_key(void **state)
{
	const struct envelope_receiver *receiver;
	struct keyring *ring;
	struct sealed s;

	(void)state;
	assert_int_equal(keyring_new(0, &ring), 0);
	receiver = keyring_unpublished(ring);
	publish(ring, 0);
	for (unsigned i = 0; i < ENVELOPE_CONTEXTS_RENEW; i++) {
		assert_int_equal(keyring_tick(ring, 1), 0);
		assert_null(keyring_unpublished(ring));
		seal(&s, receiver);
		assert_int_equal(open_it(ring, &s), 0);
		sealed_done(&s);
	}
	assert_int_equal(keyring_tick(ring, 1), 0);
	assert_non_null(keyring_unpublished(ring));
	keyring_free(ring);
}

static void a_forgetful_service_gets_the_same_key_again(void **state)
{
	char id[RANDOM_ID_LEN + 1];
	struct keyring *ring;

	(void)state;
	assert_int_equal(keyring_new(0, &ring), 0);
	snprintf(id, sizeof(id), "%s", envelope_receiver_key_id(keyring_unpublished(ring)));
	publish(ring, 0);
	keyring_forgotten(ring);
	assert_false(keyring_ready(ring));
	assert_string_equal(envelope_receiver_key_id(keyring_unpublished(ring)), id);
	keyring_free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_key_wants_to_be_published),
		cmocka_unit_test(a_request_opens_even_when_the_acknowledgement_was_lost),
		cmocka_unit_test(an_unknown_key_is_told_from_a_broken_request),
		cmocka_unit_test(each_day_has_its_key_and_the_old_one_stays_for_two_deadlines),
		cmocka_unit_test(many_contexts_want_a_new_key),
		cmocka_unit_test(a_forgetful_service_gets_the_same_key_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
