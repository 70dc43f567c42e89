#include "tests/bench/parked_agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "wire/message.h"
#include "wire/pki.h"
#include "wire/token.h"

#define ENROLLERS 16  /* connections that registrations share */
#define CONNECTING 64 /* agents on their way to be parked at once */
#define PATIENCE_MS 30000
#define KEY_LIFE_MS (24u * 3600u * 1000u)
#define TOKENS_LIMIT (64u << 20)
#define JSON "application/json"

static _Noreturn void die(const char *who, const char *what, const char *text)
{
	fprintf(stderr, "parked_agents: %s: %s: %s\n", who[0] ? who : "an agent", what, text);
	exit(1);
}

static void must(int r, const char *who, const char *what, const struct err *err)
{
	if (r < 0)
		die(who, what, err ? err->text : pta_error_name(r));
}

static void want(int status, int wanted, const char *who, const char *what, const uint8_t *body, size_t len)
{
	char text[400];

	if (status == wanted)
		return;
	snprintf(text, sizeof(text), "the service answered %d %.*s", status, (int)(len < 300 ? len : 300), (const char *)body);
	die(who, what, text);
}

/* ---- registration ---- */

struct enroller {
	struct tls_link link;
	struct parked_fleet *fleet;
	struct parked_agent *agent;
};

static void post_register(struct enroller *enroller)
{
	struct parked_fleet *fleet = enroller->fleet;
	struct parked_agent *agent;
	struct buf csr = BUF_INIT(LIMIT_CSR), secret = BUF_INIT_WIPED(64), body = BUF_INIT_WIPED(LIMIT_REGISTER_BODY);
	struct message_register m = {.host = "bench.example.com", .version = PACKAGE_VERSION};
	struct token token;
	struct err err;

	if (fleet->requested == fleet->n) {
		tls_link_close(&enroller->link);
		return;
	}
	agent = enroller->agent = &fleet->agents[fleet->requested++];
	must(token_decode(agent->token, strlen(agent->token), &token, &err), "", "its token", &err);
	free(agent->token);
	agent->token = NULL;
	must(pki_key_new(&agent->key, &err), "", "its key", &err);
	must(pki_csr_new(agent->key, m.host, &csr, &err), "", "its CSR", &err);
	encode_base64url(&secret, token.secret, sizeof(token.secret));
	if (!buf_ok(&csr) || !buf_ok(&secret))
		die("", "registration", "out of memory");
	memcpy(m.token_id, token.id, sizeof(m.token_id));
	memcpy(m.csr, csr.data, csr.len + 1);
	memcpy(m.token_secret, secret.data, secret.len + 1);
	message_encode_register(&body, &m);
	if (!buf_ok(&body))
		die("", "registration", "out of memory");
	tls_link_post(&enroller->link, "/v1/agent/register", JSON, body.data, body.len);
	buf_done(&csr);
	buf_done(&secret);
	buf_done(&body);
}

static void registered(struct tls_link *link, int status, const uint8_t *body, size_t len)
{
	struct enroller *enroller = (struct enroller *)link;
	struct parked_agent *agent = enroller->agent;
	struct message_certificate m;
	struct err err;

	want(status, 200, "", "registration", body, len);
	must(message_decode_certificate(body, len, &m, NULL, &err), "", "registration", &err);
	must(pki_cert_from_pem(m.certificate, strlen(m.certificate), &agent->cert, NULL, &err), m.agent, "its certificate", &err);
	memcpy(agent->name, m.agent, sizeof(agent->name));
	memcpy(agent->tenant, m.tenant, sizeof(agent->tenant));
	memcpy(agent->group, m.group, sizeof(agent->group));
	enroller->fleet->registered++;
	post_register(enroller);
}

/* Turns the loop until *count is there; each step forward may take as long as PATIENCE_MS. */
static void wait_for(struct parked_fleet *fleet, const size_t *count, size_t wanted, const char *what)
{
	uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
	size_t before = *count;

	while (*count < wanted) {
		(void)tls_loop_turn(fleet->loop, 1000);
		if (*count != before) {
			before = *count;
			until_ms = clock_mono_ms() + PATIENCE_MS;
		} else if (clock_mono_ms() > until_ms) {
			die("", what, "the service does not answer");
		}
	}
}

void parked_fleet_register(struct parked_fleet *fleet)
{
	struct enroller enrollers[ENROLLERS] = {0};

	for (size_t i = 0; i < ENROLLERS; i++) {
		enrollers[i].fleet = fleet;
		enrollers[i].link.answered = registered;
		tls_link_open(&enrollers[i].link, fleet->loop, &fleet->target, NULL, NULL);
		post_register(&enrollers[i]);
	}
	wait_for(fleet, &fleet->registered, fleet->n, "registration");
	for (size_t i = 0; i < ENROLLERS; i++)
		tls_link_close(&enrollers[i].link);
}

/* ---- an agent's life ---- */

static void publish(struct parked_agent *agent)
{
	struct buf signed_bytes = BUF_INIT(4096), body = BUF_INIT(LIMIT_KEY_BODY);
	struct message_key m = {.not_after_ms = clock_wall_ms() + KEY_LIFE_MS};

	random_id(agent->instance);
	must(envelope_receiver_new(&agent->receiver), agent->name, "its HPKE key", NULL);
	memcpy(m.instance, agent->instance, sizeof(m.instance));
	snprintf(m.key_id, sizeof(m.key_id), "%s", envelope_receiver_key_id(agent->receiver));
	memcpy(m.public_key, envelope_receiver_public(agent->receiver), sizeof(m.public_key));
	message_key_signed(&signed_bytes, agent->tenant, agent->name, &m);
	if (!buf_ok(&signed_bytes))
		die(agent->name, "its key", "out of memory");
	must(pki_sign(agent->key, signed_bytes.data, signed_bytes.len, m.signature, &m.signature_len), agent->name, "signing its key", NULL);
	message_encode_key(&body, &m);
	if (!buf_ok(&body))
		die(agent->name, "its key", "out of memory");
	agent->state = AGENT_PUBLISHING;
	tls_link_post(&agent->link, "/v1/agent/keys", JSON, body.data, body.len);
	buf_done(&signed_bytes);
	buf_done(&body);
}

/* results: what it brings. */
static void park(struct parked_agent *agent, const struct message_list *results)
{
	struct message_poll m = {.number = ++agent->poll_number, .credit = 1};
	struct buf body = BUF_INIT(LIMIT_POLL_BODY);

	memcpy(m.instance, agent->instance, sizeof(m.instance));
	message_encode_poll(&body, &m, results);
	if (!buf_ok(&body))
		die(agent->name, "its poll", "out of memory");
	agent->state = AGENT_PARKED;
	tls_link_post(&agent->link, "/v1/agent/poll", MESSAGE_POLL_TYPE, body.data, body.len);
	buf_done(&body);
}

static void post_answer(struct parked_agent *agent, const struct envelope_head *head, const char *username, const uint8_t key[ENVELOPE_ANSWER_KEY_LEN])
{
	struct verdict verdict = verdict_make(VERDICT_SUCCESS);
	struct message_list results = MESSAGE_LIST(LIMIT_POLL_BODY);
	struct buf sealed = BUF_INIT(LIMIT_ANSWER);
	struct message_result m = {.attempt = head->attempt};

	snprintf(verdict.dc, sizeof(verdict.dc), "none");
	must(envelope_seal_answer(key, head, username, &verdict, &sealed), agent->name, "sealing its answer", NULL);
	memcpy(m.request_id, head->request_id, sizeof(m.request_id));
	m.answer = sealed.data;
	m.answer_len = sealed.len;
	if (!buf_ok(&sealed))
		die(agent->name, "its answer", "out of memory");
	message_result_item(&results, &m);
	park(agent, &results);
	message_list_done(&results);
	buf_done(&sealed);
}

static void take_batch(struct parked_agent *agent, const uint8_t *data, size_t len)
{
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	struct envelope_request request;
	const struct message_request *m;
	struct message_batch batch;
	struct envelope_head head;
	struct err err;

	must(message_decode_batch(data, len, &batch, &err), agent->name, "the batch", &err);
	if (batch.nrefused)
		die(agent->name, "its result was refused", batch.refused[0].error);
	if (batch.n != 1)
		die(agent->name, "the batch", "it asked for one request and got another number");
	m = &batch.requests[0];
	head = m->head;
	memcpy(head.tenant, agent->tenant, sizeof(head.tenant));
	memcpy(head.agent, agent->name, sizeof(head.agent));
	/* The service is on this machine, so its clock is ours. */
	must(envelope_open_request(agent->receiver, &head, m->enc, m->seq, m->sealed, m->sealed_len, clock_wall_ms(), &request, answer_key, &err), agent->name,
		"opening its request", &err);
	agent->fleet->arrived(agent->fleet->arg, agent, &request);
	post_answer(agent, &head, request.username, answer_key);
	secret_wipe(answer_key, sizeof(answer_key));
	envelope_request_done(&request);
	message_batch_done(&batch);
}

static void answered(struct tls_link *link, int status, const uint8_t *body, size_t len)
{
	static const struct message_list nothing;
	struct parked_agent *agent = (struct parked_agent *)link;

	switch (agent->state) {
	case AGENT_PUBLISHING:
		want(status, 200, agent->name, "publishing its key", body, len);
		agent->fleet->parked++;
		park(agent, &nothing);
		return;
	case AGENT_PARKED:
		if (status == 200) {
			take_batch(agent, body, len);
			return;
		}
		want(status, 204, agent->name, "its poll", body, len);
		agent->fleet->renewed++;
		park(agent, &nothing);
		return;
	default:
		die(agent->name, "an answer", "it has asked nothing");
	}
}

static void connect_more(struct parked_fleet *fleet, size_t most)
{
	while (fleet->opened < most && fleet->opened - fleet->parked < CONNECTING) {
		struct parked_agent *agent = &fleet->agents[fleet->opened++];

		agent->link.answered = answered;
		tls_link_open(&agent->link, fleet->loop, &fleet->target, agent->cert, agent->key);
		publish(agent);
	}
}

void parked_fleet_park(struct parked_fleet *fleet, size_t n)
{
	while (fleet->parked < n) {
		connect_more(fleet, n);
		wait_for(fleet, &fleet->parked, fleet->parked + 1, "parking");
	}
}

/* ---- all of them ---- */

void parked_fleet_init(struct parked_fleet *fleet, struct tls_loop *loop, const char *url, const char *tokens)
{
	struct buf text = BUF_INIT_WIPED(TOKENS_LIMIT);
	struct err err;
	size_t i = 0;

	fleet->loop = loop;
	tls_target_init(&fleet->target, "--url", url);
	must(file_read(tokens, TOKENS_LIMIT, &text, &err), "", "the tokens", &err);
	for (const char *at = (const char *)text.data; at && (at = strchr(at, '\n')); at++)
		fleet->n++;
	fleet->agents = calloc(fleet->n ? fleet->n : 1, sizeof(fleet->agents[0]));
	if (!fleet->n || !fleet->agents)
		die("", tokens, "want a token a line");
	for (char *at = (char *)text.data, *end; (end = strchr(at, '\n')); at = end + 1, i++) {
		fleet->agents[i].fleet = fleet;
		fleet->agents[i].token = strndup(at, (size_t)(end - at));
		if (!fleet->agents[i].token)
			die("", "the tokens", "out of memory");
	}
	buf_done(&text);
}

void parked_fleet_done(struct parked_fleet *fleet)
{
	for (size_t i = 0; i < fleet->n; i++) {
		struct parked_agent *agent = &fleet->agents[i];

		tls_link_close(&agent->link);
		envelope_receiver_free(agent->receiver);
		pki_key_freep(&agent->key);
		pki_cert_freep(&agent->cert);
		free(agent->token);
	}
	free(fleet->agents);
	tls_target_done(&fleet->target);
}
