/* Microbenchmarks of what every sign-in costs in CPU: the sign-in's JSON, the envelope and the messages. Prints nanoseconds of this
 * process's CPU time for one operation, so that other programs on the machine matter little; with --json one object of them by name.
 *   make tests/bench/micro && tests/bench/micro [--json] [WORD]     only those whose name contains WORD
 * Meant for a build without sanitizers. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "service/signin_impl.h"
#include "wire/credential.h"
#include "wire/envelope.h"
#include "wire/message.h"

#define BATCH 32
#define RUN_NS 300000000 /* at least that long */
#define CHUNK 64	 /* runs between two looks at the clock */
#define KEPT 65536	 /* sealed requests, each to be opened once */

static struct {
	struct envelope_receiver *receiver;
	struct envelope_sender *sender;
	struct envelope_head head;
	struct envelope_request request;
	struct verdict verdict;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	struct buf sealed, answer, batch, poll, reply;
	struct message_list requests, results;
	struct signin signin;
	struct {
		uint64_t seq;
		uint8_t bytes[288];
	} * kept;
	size_t opened;
} state;

static void must(int r, const char *what)
{
	if (r < 0) {
		fprintf(stderr, "micro: %s: %s\n", what, pta_error_name(r));
		exit(1);
	}
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void sender_new(void)
{
	struct envelope_sender *sender;

	must(envelope_sender_new(envelope_receiver_public(state.receiver), &sender), "envelope_sender_new");
	envelope_sender_free(sender);
}

static void seal_request(void)
{
	uint64_t seq;

	buf_reset(&state.sealed);
	must(envelope_seal_request(state.sender, &state.head, &state.request, &state.sealed, &seq, state.answer_key), "envelope_seal_request");
}

/* Seals what open_request() opens, outside of its time. */
static void keep_requests(void)
{
	for (size_t i = 0; i < KEPT; i++) {
		buf_reset(&state.sealed);
		must(envelope_seal_request(state.sender, &state.head, &state.request, &state.sealed, &state.kept[i].seq, state.answer_key),
			"envelope_seal_request");
		memcpy(state.kept[i].bytes, state.sealed.data, state.sealed.len);
	}
	state.opened = 0;
}

static void open_request(void)
{
	struct envelope_request request;
	size_t i = state.opened++;

	must(envelope_open_request(state.receiver, &state.head, envelope_sender_enc(state.sender), state.kept[i].seq, state.kept[i].bytes, state.sealed.len, 1,
		     &request, state.answer_key, NULL),
		"envelope_open_request");
	envelope_request_done(&request);
}

static void seal_answer(void)
{
	buf_reset(&state.answer);
	must(envelope_seal_answer(state.answer_key, &state.head, state.request.username, &state.verdict, &state.answer), "envelope_seal_answer");
}

static void open_answer(void)
{
	struct verdict v;

	must(envelope_open_answer(state.answer_key, &state.head, state.request.username, state.answer.data, state.answer.len, &v, NULL),
		"envelope_open_answer");
}

static void encode_batch(void)
{
	static const struct message_list refused;
	struct message_request m = {.head = state.head, .seq = 123456, .sealed = state.sealed.data, .sealed_len = state.sealed.len};

	message_list_reset(&state.requests);
	buf_reset(&state.batch);
	for (int i = 0; i < BATCH; i++)
		message_request_item(&state.requests, &m);
	message_encode_batch(&state.batch, &state.requests, &refused);
}

static void decode_batch(void)
{
	struct message_batch batch;

	must(message_decode_batch(state.batch.data, state.batch.len, &batch, NULL), "message_decode_batch");
	message_batch_done(&batch);
}

static void encode_poll(void)
{
	struct message_result m = {.attempt = 1, .answer = state.answer.data, .answer_len = state.answer.len};
	struct message_poll poll = {.number = 1, .credit = BATCH};

	memcpy(m.request_id, state.head.request_id, sizeof(m.request_id));
	memcpy(poll.instance, state.head.request_id, sizeof(poll.instance));
	message_list_reset(&state.results);
	buf_reset(&state.poll);
	for (int i = 0; i < BATCH; i++)
		message_result_item(&state.results, &m);
	message_encode_poll(&state.poll, &poll, &state.results);
}

static void decode_poll(void)
{
	struct message_poll poll;

	must(message_decode_poll(state.poll.data, state.poll.len, &poll, NULL), "message_decode_poll");
	message_poll_done(&poll);
}

static const char signin_body[] = "{\"username\":\"alice@corp.example.com\",\"password\":\"correct horse battery\"}";

static void parse_signin(void)
{
	struct signin_input input = {0};
	const char *field;

	must(signin_parse((const uint8_t *)signin_body, sizeof(signin_body) - 1, false, &input, &field, NULL), "signin_parse");
	signin_input_done(&input);
}

static void encode_signin_answer(void)
{
	buf_reset(&state.reply);
	signin_answer_encode(&state.reply, &state.signin, 200, 1234);
}

static void parse_credential(void)
{
	struct credential c;

	must(credential_parse(state.request.username, strlen(state.request.username), &c, NULL), "credential_parse");
}

static void id_new(void)
{
	char id[RANDOM_ID_LEN + 1];

	random_id(id);
}

int main(int argc, char **argv)
{
	/* In an order in which each finds what it needs. */
	static const struct {
		const char *name;
		void (*run)(void);
		unsigned per_run; /* operations in one run */
		size_t at_most;	  /* runs; 0: as many as time allows */
		void (*prepare)(void);
	} benches[] = {
		{"signin_parse", parse_signin, 1, 0, NULL},
		{"signin_answer_encode", encode_signin_answer, 1, 0, NULL},
		{"envelope_sender_new", sender_new, 1, 0, NULL},
		{"envelope_seal_request", seal_request, 1, 0, NULL},
		{"envelope_open_request", open_request, 1, KEPT, keep_requests},
		{"envelope_seal_answer", seal_answer, 1, 0, NULL},
		{"envelope_open_answer", open_answer, 1, 0, NULL},
		{"message_encode_batch, one request", encode_batch, BATCH, 0, NULL},
		{"message_decode_batch, one request", decode_batch, BATCH, 0, NULL},
		{"message_encode_poll, one result", encode_poll, BATCH, 0, NULL},
		{"message_decode_poll, one result", decode_poll, BATCH, 0, NULL},
		{"credential_parse", parse_credential, 1, 0, NULL},
		{"random_id", id_new, 1, 0, NULL},
	};

	struct buf text = BUF_INIT(8192);
	struct json_writer w = JSON_WRITER(&text);
	bool json = argc > 1 && !strcmp(argv[1], "--json");
	const char *word = argc > 1 + json ? argv[1 + json] : "";

	state.sealed = state.answer = state.reply = BUF_INIT(LIMIT_SEALED);
	state.batch = state.poll = BUF_INIT(LIMIT_BATCH_BODY);
	state.requests = state.results = MESSAGE_LIST(LIMIT_BATCH_BODY);
	state.kept = calloc(KEPT, sizeof(*state.kept));
	state.request = (struct envelope_request){.operation = ENVELOPE_VALIDATE, .username = "alice@corp.example.com", .domain = "corp.example.com"};
	state.request.password = secret_dup("correct horse battery", 21);
	state.head = (struct envelope_head){.tenant = "acme", .agent = "agent-1", .attempt = 1, .expires_ms = UINT64_C(1700000000000)};
	random_id(state.head.request_id);
	state.verdict = verdict_make(VERDICT_SUCCESS);
	memcpy(state.verdict.dc, "dc1.corp.example.com", 21);
	state.signin.request.verdict = state.verdict;
	state.signin.details = true;
	memcpy(state.signin.request.id, state.head.request_id, sizeof(state.signin.request.id));
	memcpy(state.signin.request.agent, state.head.agent, sizeof(state.signin.request.agent));
	memcpy(state.signin.domain, state.request.domain, sizeof(state.signin.domain));
	must(state.kept && state.request.password ? envelope_receiver_new(&state.receiver) : -PTA_ENOMEM, "envelope_receiver_new");
	memcpy(state.head.key_id, envelope_receiver_key_id(state.receiver), sizeof(state.head.key_id));
	must(envelope_sender_new(envelope_receiver_public(state.receiver), &state.sender), "envelope_sender_new");
	seal_request();
	seal_answer();
	encode_batch();
	encode_poll();

	json_put_object(&w, NULL);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(benches); i++) {
		uint64_t start, took = 0;
		size_t runs = 0;

		if (!strstr(benches[i].name, word))
			continue;
		if (benches[i].prepare)
			benches[i].prepare();
		start = cpu_ns();
		while (took < RUN_NS && (benches[i].at_most == 0 || runs < benches[i].at_most)) {
			for (int n = 0; n < CHUNK; n++)
				benches[i].run();
			runs += CHUNK;
			took = cpu_ns() - start;
		}
		json_put_uint(&w, benches[i].name, took / (runs * benches[i].per_run));
		if (!json)
			printf("%-36s %8" PRIu64 " ns\n", benches[i].name, took / (runs * benches[i].per_run));
	}
	json_end_object(&w);
	must(buf_ok(&text) ? 0 : -PTA_ENOMEM, "the report");
	if (json)
		puts((const char *)text.data);
	buf_done(&text);
	envelope_request_done(&state.request);
	envelope_sender_free(state.sender);
	envelope_receiver_free(state.receiver);
	buf_done(&state.sealed);
	buf_done(&state.answer);
	buf_done(&state.batch);
	buf_done(&state.poll);
	message_list_done(&state.requests);
	message_list_done(&state.results);
	buf_done(&state.reply);
	free(state.kept);
	return 0;
}
