#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/sealer.h"

#define PASSWORD "Grüße-7"

struct agent {
	struct envelope_receiver *receiver;
	struct dispatch_candidate candidate;
};

static void agent_key(struct agent *agent, const char *name)
{
	envelope_receiver_free(agent->receiver);
	assert_int_equal(envelope_receiver_new(&agent->receiver), 0);
	snprintf(agent->candidate.agent, sizeof(agent->candidate.agent), "%s", name);
	snprintf(agent->candidate.key_id, sizeof(agent->candidate.key_id), "%s", envelope_receiver_key_id(agent->receiver));
	memcpy(agent->candidate.public_key, envelope_receiver_public(agent->receiver), HPKE_KEY_LEN);
	agent->candidate.session = 42;
}

static void seal(struct sealer *sealer, const struct dispatch_candidate *candidates, size_t n, struct dispatch_request *request)
{
	struct envelope_request plain = {.operation = ENVELOPE_VALIDATE, .username = "anna@corp.example.com", .domain = "corp.example.com"};

	plain.password = secret_dup(PASSWORD, strlen(PASSWORD));
	*request = (struct dispatch_request){.tenant = "main", .expires_ms = clock_wall_ms() + 10000};
	random_id(request->id);
	assert_int_equal(sealer_seal(sealer, &plain, candidates, n, request), 0);
	envelope_request_done(&plain);
}

static void release(struct dispatch_request *request)
{
	for (unsigned i = 0; i < request->nslots; i++)
		dispatch_copy_free(request->slots[i].copy);
}

static int open_at(const struct agent *agent, const struct dispatch_copy *copy, struct envelope_request *out, uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN])
{
	const struct message_request *m = &copy->message;
	struct err err;

	return envelope_open_request(agent->receiver, &m->head, m->enc, m->seq, m->sealed, m->sealed_len, clock_wall_ms(), out, answer_key, &err);
}

static void each_copy_opens_at_its_own_agent_only(void **state)
{
	struct agent agents[2] = {0};
	struct dispatch_candidate candidates[2];
	struct dispatch_request request;
	struct envelope_request opened;
	struct sealer *sealer;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];

	(void)state;
	assert_int_equal(sealer_new(&sealer), 0);
	for (unsigned i = 0; i < 2; i++) {
		agent_key(&agents[i], i ? "b2" : "a1");
		candidates[i] = agents[i].candidate;
	}
	seal(sealer, candidates, 2, &request);
	assert_int_equal(request.nslots, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct dispatch_slot *slot = &request.slots[i];

		assert_int_equal(slot->session, 42);
		assert_string_equal(slot->agent, candidates[i].agent);
		assert_int_equal(slot->copy->message.head.attempt, i + 1);
		assert_int_not_equal(open_at(&agents[!i], slot->copy, &opened, answer_key), 0);
		assert_int_equal(open_at(&agents[i], slot->copy, &opened, answer_key), 0);
		assert_memory_equal(answer_key, slot->answer_key, sizeof(answer_key));
		assert_string_equal(opened.username, "anna@corp.example.com");
		assert_int_equal(secret_len(opened.password), strlen(PASSWORD));
		assert_memory_equal(secret_bytes(opened.password), PASSWORD, strlen(PASSWORD));
		envelope_request_done(&opened);
	}
	release(&request);
	sealer_free(sealer);
	for (unsigned i = 0; i < 2; i++)
		envelope_receiver_free(agents[i].receiver);
}

/* A point of small order: whatever is sealed for it, everybody can open. */
static void a_key_that_nothing_can_be_sealed_for_costs_only_its_agent(void **state)
{
	struct dispatch_candidate candidates[2] = {{.agent = "bad", .key_id = "0123456789abcdef0123456789abcdef"}};
	struct envelope_request plain = {.operation = ENVELOPE_VALIDATE, .username = "anna@corp.example.com", .domain = "corp.example.com"}, opened;
	struct agent agent = {0};
	struct dispatch_request request;
	struct sealer *sealer;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];

	(void)state;
	assert_int_equal(sealer_new(&sealer), 0);
	agent_key(&agent, "good");
	candidates[1] = agent.candidate;
	seal(sealer, candidates, 2, &request);
	assert_int_equal(request.nslots, 1);
	assert_string_equal(request.slots[0].agent, "good");
	assert_int_equal(request.slots[0].copy->message.head.attempt, 1);
	assert_int_equal(open_at(&agent, request.slots[0].copy, &opened, answer_key), 0);
	envelope_request_done(&opened);
	release(&request);
	/* With nobody else there is no copy. */
	plain.password = secret_dup(PASSWORD, strlen(PASSWORD));
	request = (struct dispatch_request){.tenant = "main", .expires_ms = clock_wall_ms() + 10000};
	random_id(request.id);
	assert_int_equal(sealer_seal(sealer, &plain, candidates, 1, &request), -PTA_ECRYPTO);
	assert_int_equal(request.nslots, 0);
	assert_null(request.slots[0].copy);
	assert_memory_equal(request.slots[0].answer_key, (uint8_t[ENVELOPE_ANSWER_KEY_LEN]){0}, ENVELOPE_ANSWER_KEY_LEN);
	envelope_request_done(&plain);
	sealer_free(sealer);
	envelope_receiver_free(agent.receiver);
}

static void a_key_costs_its_agent_one_context(void **state)
{
	struct agent agent = {0};
	struct dispatch_request request;
	struct envelope_request opened;
	struct sealer *sealer;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];

	(void)state;
	assert_int_equal(sealer_new(&sealer), 0);
	agent_key(&agent, "a1");
	for (unsigned i = 0; i < 3; i++) {
		seal(sealer, &agent.candidate, 1, &request);
		assert_int_equal(request.slots[0].copy->message.seq, i);
		assert_int_equal(open_at(&agent, request.slots[0].copy, &opened, answer_key), 0);
		envelope_request_done(&opened);
		release(&request);
	}
	assert_int_equal(envelope_receiver_contexts(agent.receiver), 1);
	agent_key(&agent, "a1"); /* a new key takes the place of the old one */
	seal(sealer, &agent.candidate, 1, &request);
	assert_int_equal(open_at(&agent, request.slots[0].copy, &opened, answer_key), 0);
	envelope_request_done(&opened);
	release(&request);
	assert_int_equal(sealer_senders(sealer), 1);
	sealer_free(sealer);
	envelope_receiver_free(agent.receiver);
}

static void senders_of_dead_keys_are_dropped(void **state)
{
	struct agent agents[2] = {0};
	struct dispatch_candidate candidates[2];
	struct dispatch_request request;
	struct dispatch_peer peer = {.agent = "a1", .tenant = "main", .group = "office"};
	struct message_key key = {.not_after_ms = clock_wall_ms() + 60000};
	struct dispatch *dispatch;
	struct sealer *sealer;
	struct err err;

	(void)state;
	assert_int_equal(dispatch_new(1, &dispatch), 0);
	assert_int_equal(sealer_new(&sealer), 0);
	agent_key(&agents[0], "a1");
	agent_key(&agents[1], "b2");
	for (unsigned i = 0; i < 2; i++)
		candidates[i] = agents[i].candidate;
	random_id(key.instance);
	memcpy(key.key_id, candidates[0].key_id, sizeof(key.key_id));
	assert_int_equal(dispatch_publish(dispatch, NULL, &peer, &key, &err), 0);
	seal(sealer, candidates, 2, &request);
	release(&request);
	assert_int_equal(sealer_senders(sealer), 2);
	sealer_prune(sealer, dispatch);
	assert_int_equal(sealer_senders(sealer), 1);
	seal(sealer, &agents[0].candidate, 1, &request);
	assert_int_equal(request.slots[0].copy->message.seq, 1); /* the one that was kept */
	release(&request);
	sealer_free(sealer);
	dispatch_free(dispatch);
	for (unsigned i = 0; i < 2; i++)
		envelope_receiver_free(agents[i].receiver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_copy_opens_at_its_own_agent_only),
		cmocka_unit_test(a_key_that_nothing_can_be_sealed_for_costs_only_its_agent),
		cmocka_unit_test(a_key_costs_its_agent_one_context),
		cmocka_unit_test(senders_of_dead_keys_are_dropped),
	};
	struct err err;

	log_init("test", LOG_ERR);
	if (secret_arena_init(1 << 20, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
