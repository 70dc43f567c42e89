#include "service_bed.h"

#include <curl/curl.h>
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/control_client.h"
#include "service/ca.h"
#include "service/registry.h"
#include "service/service.h"
#include "wire/pki.h"

#define CALL_TIMEOUT_S 40L
#define EVENT_TIMEOUT_MS 20000

static void must(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%s", err->text);
}

static void write_file(const struct service_bed *bed, const char *name, const void *data, size_t len)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", bed->dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	fclose(file);
}

void service_bed_configure(struct service_bed *bed, const char *lines)
{
	const struct passwd *user = getpwuid(getuid());
	char text[2048];
	int len;

	assert_non_null(user);
	len = snprintf(text, sizeof(text),
		"[service]\nstate_dir = %s\nuser = %s\nnames = localhost, 127.0.0.1\nsignin_listen = 127.0.0.1:0\nagent_listen = 127.0.0.1:0\n"
		"control_socket = %s/control.sock\nthreads = 2\n%s\n",
		bed->dir, user->pw_name, bed->dir, lines);
	write_file(bed, "service.conf", text, (size_t)len);
}

static void fill_registry(struct service_bed *bed, unsigned tokens)
{
	struct registry_domain domain = {.name = BED_DOMAIN, .tenant = "main", .group = "office", .netbios = "CORP", .enabled = true};
	struct registry_app app;
	struct registry_db *db;
	struct token token;
	char path[128], name[32];
	struct err err;

	snprintf(path, sizeof(path), "%s/registry.db", bed->dir);
	must(registry_db_create(path, &err), &err);
	must(registry_db_open(path, &db, &err), &err);
	must(registry_tenant_add(db, "main", &err), &err);
	must(registry_domain_add(db, &domain, &err), &err);
	must(registry_app_add(db, "main", "web", true, bed->app_key, &app, &err), &err);
	for (unsigned i = 0; i < tokens; i++) {
		must(registry_token_create(db, "main", "office", clock_wall_ms() + 600000, &token, &err), &err);
		snprintf(name, sizeof(name), "token%u", i);
		write_file(bed, name, &token, sizeof(token));
	}
	registry_db_close(db);
}

static void make_ca(struct service_bed *bed)
{
	const uint8_t *der;
	struct ca *ca;
	X509 *cert;
	struct err err;

	must(ca_create(bed->dir, (uid_t)-1, (gid_t)-1, &err), &err);
	must(ca_open(bed->dir, &ca, &err), &err);
	der = ca_der(ca, &bed->ca_der_len);
	assert_true(bed->ca_der_len <= sizeof(bed->ca_der));
	memcpy(bed->ca_der, der, bed->ca_der_len);
	must(pki_cert_from_der(der, bed->ca_der_len, &cert, &err), &err);
	bed->ca_pem = BUF_INIT(LIMIT_CERTIFICATE);
	assert_int_equal(pki_cert_to_pem(cert, &bed->ca_pem), 0);
	X509_free(cert);
	ca_free(ca);
}

static void run_child(const struct service_bed *bed, int log)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/service.conf", bed->dir);
	dup2(log, STDERR_FILENO);
	close(log);
	close(bed->log);
	exit(service_run(path));
}

void service_bed_start(struct service_bed *bed, unsigned tokens)
{
	char text[256];
	int fds[2];

	*bed = (struct service_bed){.dir = "/tmp/pta-test-XXXXXX"};
	assert_non_null(mkdtemp(bed->dir));
	fill_registry(bed, tokens);
	make_ca(bed);
	service_bed_configure(bed, "");
	assert_int_equal(pipe(fds), 0);
	bed->log = fds[0];
	bed->pid = fork();
	assert_true(bed->pid >= 0);
	if (bed->pid == 0)
		run_child(bed, fds[1]);
	close(fds[1]);
	service_bed_wait_event(bed, "service.started", text, sizeof(text));
	if (sscanf(text, " signin_port=%u agent_port=%u", &bed->signin_port, &bed->agent_port) != 2)
		fail_msg("no ports in \"%s\"", text);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int service_bed_stop(struct service_bed *bed)
{
	int status;

	service_bed_signal(bed, SIGTERM);
	service_bed_wait_event(bed, "service.stopped", NULL, 0);
	while (waitpid(bed->pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	close(bed->log);
	buf_done(&bed->ca_pem);
	nftw(bed->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void service_bed_signal(struct service_bed *bed, int number)
{
	assert_int_equal(kill(bed->pid, number), 0);
}

static void read_line(struct service_bed *bed, char *line, size_t cap)
{
	struct pollfd fd = {.fd = bed->log, .events = POLLIN};
	size_t len = 0;

	while (len + 1 < cap) {
		if (poll(&fd, 1, EVENT_TIMEOUT_MS) != 1 || read(bed->log, line + len, 1) != 1) {
			line[len] = 0;
			fail_msg("the service's log ends or stands still at \"%s\"", line);
		}
		if (line[len] == '\n')
			break;
		len++;
	}
	line[len] = 0;
}

void service_bed_wait_event(struct service_bed *bed, const char *event, char *text, size_t cap)
{
	char line[4096], want[64];
	const char *at;

	snprintf(want, sizeof(want), "event=%s", event);
	do {
		read_line(bed, line, sizeof(line));
		at = strstr(line, want);
	} while (!at);
	if (text)
		snprintf(text, cap, "%s", at + strlen(want));
}

int service_bed_control(const struct service_bed *bed, const char *method, const char *path, const char *body, struct buf *out)
{
	char socket_path[128];
	struct err err;
	int status;

	snprintf(socket_path, sizeof(socket_path), "%s/control.sock", bed->dir);
	must(control_call(socket_path, method, path, body, body ? strlen(body) : 0, CALL_TIMEOUT_S * 1000, &status, out, &err), &err);
	return status;
}

void service_bed_token(const struct service_bed *bed, unsigned i, struct token *out)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/token%u", bed->dir, i);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fread(out, sizeof(*out), 1, file), 1);
	fclose(file);
}

/* ---- HTTP ---- */

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	buf_put(arg, data, size * n);
	return n;
}

static size_t take_head(char *data, size_t size, size_t n, void *arg)
{
	struct bed_answer *out = arg;
	size_t have = strlen(out->head);

	snprintf(out->head + have, sizeof(out->head) - have, "%.*s", (int)(size * n), data);
	return n;
}

void bed_answer_done(struct bed_answer *answer)
{
	buf_done(&answer->body);
}

static struct curl_blob blob(const void *data, size_t len)
{
	return (struct curl_blob){.data = (void *)(uintptr_t)data, .len = len, .flags = CURL_BLOB_COPY};
}

static void call(CURL *curl, const struct service_bed *bed, unsigned port, const char *path, const void *body, size_t len, struct bed_answer *out)
{
	struct curl_blob ca = blob(bed->ca_pem.data, bed->ca_pem.len);
	char url[256];
	CURLcode code;
	long status = 0;

	*out = (struct bed_answer){.body = BUF_INIT(1u << 20)};
	snprintf(url, sizeof(url), "https://localhost:%u%s", port, path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &ca);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, CALL_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &out->body);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_head);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, out);
	if (body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)len);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	}
	code = curl_easy_perform(curl);
	if (code != CURLE_OK)
		fail_msg("%s: %s", url, curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	out->status = (int)status;
	buf_putc(&out->body, 0);
}

void bed_client_call(const struct service_bed *bed, const char *path, const char *bearer, const char *body, struct bed_answer *out)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	CURL *curl = curl_easy_init();
	char text[128];

	assert_non_null(curl);
	if (bearer) {
		snprintf(text, sizeof(text), "Authorization: Bearer %s", bearer);
		headers = curl_slist_append(headers, text);
	}
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	call(curl, bed, bed->signin_port, path, body, body ? strlen(body) : 0, out);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
}

void bed_agent_call(struct bed_agent *agent, const char *path, const char *type, const struct buf *body, struct bed_answer *out)
{
	struct curl_slist *headers;
	struct buf pem = BUF_INIT(16384);
	char header[80];
	struct err err;

	snprintf(header, sizeof(header), "Content-Type: %s", type);
	headers = curl_slist_append(NULL, header);
	if (!agent->curl)
		agent->curl = curl_easy_init();
	assert_non_null(agent->curl);
	if (agent->identity.certificate[0]) {
		struct curl_blob cert = blob(agent->identity.certificate, strlen(agent->identity.certificate)), key;

		must(pki_key_to_pem(agent->key, &pem, &err), &err);
		key = blob(pem.data, pem.len);
		curl_easy_setopt(agent->curl, CURLOPT_SSLCERT_BLOB, &cert);
		curl_easy_setopt(agent->curl, CURLOPT_SSLKEY_BLOB, &key);
	}
	curl_easy_setopt(agent->curl, CURLOPT_HTTPHEADER, headers);
	call(agent->curl, agent->bed, agent->bed->agent_port, path, body->data, body->len, out);
	curl_slist_free_all(headers);
	buf_done(&pem);
}

/* ---- an agent ---- */

void bed_agent_done(struct bed_agent *agent)
{
	EVP_PKEY_free(agent->key);
	envelope_receiver_free(agent->receiver);
	curl_easy_cleanup(agent->curl);
	for (unsigned i = 0; i < agent->nbatches; i++)
		buf_done(&agent->batches[i]);
	*agent = (struct bed_agent){0};
}

int bed_agent_register(struct bed_agent *agent, const struct service_bed *bed, const struct token *token)
{
	struct message_register m = {.host = "host.example.com", .version = "test"};
	struct buf csr = BUF_INIT(LIMIT_CSR), body = BUF_INIT(65536), secret = BUF_INIT(64);
	struct bed_answer answer;
	struct err err;
	int status;

	agent->bed = bed;
	if (!agent->key)
		must(pki_key_new(&agent->key, &err), &err);
	if (!agent->instance[0])
		random_id(agent->instance);
	must(pki_csr_new(agent->key, "host", &csr, &err), &err);
	encode_base64url(&secret, token->secret, sizeof(token->secret));
	snprintf(m.token_id, sizeof(m.token_id), "%s", token->id);
	snprintf(m.token_secret, sizeof(m.token_secret), "%s", (const char *)secret.data);
	snprintf(m.csr, sizeof(m.csr), "%s", (const char *)csr.data);
	message_encode_register(&body, &m);
	bed_agent_call(agent, "/v1/agent/register", "application/json", &body, &answer);
	status = answer.status;
	if (status == 200) {
		must(message_decode_certificate(answer.body.data, strlen((const char *)answer.body.data), &agent->identity, NULL, &err), &err);
		/* From now on with the certificate, which a kept connection does not have. */
		curl_easy_cleanup(agent->curl);
		agent->curl = NULL;
	}
	bed_answer_done(&answer);
	buf_done(&csr);
	buf_done(&body);
	buf_done(&secret);
	return status;
}

int bed_agent_publish(struct bed_agent *agent)
{
	struct message_key m = {.not_after_ms = clock_wall_ms() + (agent->key_life_ms ? agent->key_life_ms : 86400000)};
	struct buf text = BUF_INIT(4096), body = BUF_INIT(4096);
	struct bed_answer answer;

	envelope_receiver_free(agent->receiver);
	assert_int_equal(envelope_receiver_new(&agent->receiver), 0);
	memcpy(m.instance, agent->instance, sizeof(m.instance));
	snprintf(m.key_id, sizeof(m.key_id), "%s", envelope_receiver_key_id(agent->receiver));
	memcpy(m.public_key, envelope_receiver_public(agent->receiver), sizeof(m.public_key));
	message_key_signed(&text, agent->identity.tenant, agent->identity.agent, &m);
	assert_int_equal(pki_sign(agent->key, text.data, text.len, m.signature, &m.signature_len), 0);
	message_encode_key(&body, &m);
	bed_agent_call(agent, "/v1/agent/keys", "application/json", &body, &answer);
	bed_answer_done(&answer);
	buf_done(&text);
	buf_done(&body);
	return answer.status;
}

int bed_agent_bring(struct bed_agent *agent, unsigned credit, const struct message_result *result, struct message_batch *out)
{
	struct message_poll m = {.number = ++agent->polls, .credit = credit};
	struct message_list results = MESSAGE_LIST(4096);
	struct buf body = BUF_INIT(8192);
	struct bed_answer answer;
	struct err err;

	*out = (struct message_batch){0};
	memcpy(m.instance, agent->instance, sizeof(m.instance));
	if (result)
		message_result_item(&results, result);
	message_encode_poll(&body, &m, &results);
	assert_true(buf_ok(&body));
	bed_agent_call(agent, "/v1/agent/poll", MESSAGE_POLL_TYPE, &body, &answer);
	if (answer.status == 200) {
		assert_true(agent->nbatches < PTA_ARRAY_SIZE(agent->batches));
		must(message_decode_batch(answer.body.data, answer.body.len - 1, out, &err), &err);
		agent->batches[agent->nbatches++] = answer.body;
		answer.body = BUF_INIT(0);
	}
	bed_answer_done(&answer);
	message_list_done(&results);
	buf_done(&body);
	return answer.status;
}

int bed_agent_poll(struct bed_agent *agent, unsigned credit, struct message_batch *out)
{
	return bed_agent_bring(agent, credit, NULL, out);
}

static struct envelope_head head_of(const struct bed_agent *agent, const struct message_request *request)
{
	struct envelope_head head = request->head;

	memcpy(head.tenant, agent->identity.tenant, sizeof(head.tenant));
	memcpy(head.agent, agent->identity.agent, sizeof(head.agent));
	return head;
}

int bed_agent_open(struct bed_agent *agent, const struct message_request *request, struct envelope_request *out, uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN])
{
	struct envelope_head head = head_of(agent, request);
	struct err err;

	return envelope_open_request(
		agent->receiver, &head, request->enc, request->seq, request->sealed, request->sealed_len, clock_wall_ms(), out, answer_key, &err);
}

int bed_agent_answer(struct bed_agent *agent, unsigned credit, const struct message_request *request, const char *username,
	const uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN], enum verdict_code code, struct message_batch *out)
{
	struct message_result result = {.attempt = request->head.attempt};
	struct envelope_head head = head_of(agent, request);
	struct verdict verdict = verdict_make(code);
	struct buf sealed = BUF_INIT(LIMIT_ANSWER);
	int status;

	verdict.password_sent = true;
	assert_int_equal(envelope_seal_answer(answer_key, &head, username, &verdict, &sealed), 0);
	memcpy(result.request_id, head.request_id, sizeof(result.request_id));
	result.answer = sealed.data;
	result.answer_len = sealed.len;
	status = bed_agent_bring(agent, credit, &result, out);
	buf_done(&sealed);
	return status;
}
