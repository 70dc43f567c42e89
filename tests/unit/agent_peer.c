#include "agent_peer.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <event2/thread.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/pki.h"

#define LIMIT_S 30

static void put_time(struct peer *peer, struct httpd_request *request)
{
	char time[32];

	snprintf(time, sizeof(time), "%lld", (long long)clock_wall_ms() + (long long)peer->clock_ms);
	httpd_reply_header(request, MESSAGE_TIME_HEADER, time);
}

static void reply(struct peer *peer, struct httpd_request *request, int status, const char *body)
{
	put_time(peer, request);
	httpd_reply(request, status, body, strlen(body));
}

static void reply_batch(struct peer *peer, struct httpd_request *request, struct buf *batch)
{
	put_time(peer, request);
	httpd_reply_type(request, 200, MESSAGE_POLL_TYPE, batch->data, batch->len);
	buf_done(batch);
}

/* Moves it. */
static struct buf take_buf(struct buf *from)
{
	struct buf taken = *from;

	*from = BUF_INIT(LIMIT_BATCH_BODY);
	return taken;
}

/* Records what came. Returns true when the test wants an error, which is then given. */
static bool record(struct peer *peer, struct httpd_request *request, enum peer_route route, const char *path)
{
	X509 *cert = httpd_peer_certificate(request);
	struct peer_body *body;
	const uint8_t *data;
	char text[300];
	bool fail;
	size_t len;

	data = httpd_body(request, &len);
	pthread_mutex_lock(&peer->lock);
	assert_true(peer->nbodies < PEER_MAX);
	body = &peer->bodies[peer->nbodies++];
	snprintf(body->path, sizeof(body->path), "%s", path);
	body->data = malloc(len + 1);
	memcpy(body->data, data, len);
	body->data[len] = '\0';
	body->len = len;
	if (cert)
		pki_fingerprint(cert, body->fingerprint);
	fail = peer->fail[route] > 0;
	if (fail) {
		peer->fail[route]--;
		snprintf(text, sizeof(text), "{\"error\":\"%s\",\"message\":\"the test says so\"}", peer->error[route]);
	}
	pthread_cond_broadcast(&peer->changed);
	pthread_mutex_unlock(&peer->lock);
	if (fail && peer->status[route])
		reply(peer, request, peer->status[route], text);
	return fail;
}

static void on_keys(struct httpd_request *request, void *arg)
{
	struct peer *peer = arg;

	if (!record(peer, request, PEER_KEYS, "keys"))
		reply(peer, request, 200, "{}");
}

static void on_parked_close(void *arg)
{
	struct peer_poll *poll = arg;

	pthread_mutex_lock(&poll->peer->lock);
	poll->request = NULL;
	pthread_cond_broadcast(&poll->peer->changed);
	pthread_mutex_unlock(&poll->peer->lock);
}

/* With the lock held. */
static void park(struct peer *peer, struct httpd_request *request, unsigned credit)
{
	for (unsigned i = 0; i < PTA_ARRAY_SIZE(peer->polls); i++)
		if (!peer->polls[i].request) {
			peer->polls[i] = (struct peer_poll){peer, request, credit};
			httpd_on_close(request, on_parked_close, &peer->polls[i]);
			pthread_cond_broadcast(&peer->changed);
			return;
		}
	fail_msg("more polls than an agent should park");
}

/* What a poll without results gets now; empty: nothing, it is parked. With the lock held. */
static struct buf next_batch(struct peer *peer, unsigned credit)
{
	struct buf batch = BUF_INIT(0);

	if (credit && peer->batch.len) {
		batch = take_buf(&peer->batch);
		pthread_cond_broadcast(&peer->changed);
	}
	return batch;
}

static void on_poll(struct httpd_request *request, void *arg)
{
	struct message_poll poll;
	struct peer *peer = arg;
	bool brings, parked = false;
	unsigned credit;
	struct buf answer = BUF_INIT(0);
	const uint8_t *data;
	size_t len;

	data = httpd_body(request, &len);
	assert_int_equal(message_decode_poll(data, len, &poll, NULL), 0);
	brings = poll.n > 0;
	credit = poll.credit;
	message_poll_done(&poll);
	if (record(peer, request, brings ? PEER_RESULTS : PEER_POLL, brings ? "results" : "poll"))
		return;
	pthread_mutex_lock(&peer->lock);
	if (brings)
		answer = take_buf(&peer->receipt);
	if (!answer.len)
		answer = next_batch(peer, credit);
	if (!answer.len && !brings) {
		park(peer, request, credit);
		parked = true;
	}
	pthread_mutex_unlock(&peer->lock);
	if (answer.len)
		reply_batch(peer, request, &answer);
	else if (!parked)
		reply(peer, request, 204, "");
}

/* register and renew: a certificate for the CSR's key. */
static void issue(struct httpd_request *request, struct peer *peer, const char *csr)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	struct message_certificate m = {.agent = "agent1", .tenant = "tenant1", .group = "group1"};
	struct buf pem = BUF_INIT(LIMIT_CERTIFICATE), body = BUF_INIT(65536);

	assert_int_equal(pki_csr_key(csr, strlen(csr), &key, NULL), 0);
	assert_int_equal(pki_issue_agent(peer->ca, peer->ca_key, key, "agent1", "tenant1", "group1", 30, &cert, NULL), 0);
	assert_int_equal(pki_cert_to_pem(cert, &pem), 0);
	memcpy(m.certificate, pem.data, pem.len + 1);
	message_encode_certificate(&body, &m);
	reply(peer, request, 200, (const char *)body.data);
	buf_done(&pem);
	buf_done(&body);
}

static void on_register(struct httpd_request *request, void *arg)
{
	struct message_register m;
	struct peer *peer = arg;
	const uint8_t *data;
	size_t len;

	data = httpd_body(request, &len);
	assert_int_equal(message_decode_register(data, len, &m, NULL, NULL), 0);
	if (!record(peer, request, PEER_REGISTER, "register"))
		issue(request, peer, m.csr);
}

static void on_renew(struct httpd_request *request, void *arg)
{
	struct message_renew m;
	struct peer *peer = arg;
	const uint8_t *data;
	size_t len;

	data = httpd_body(request, &len);
	assert_int_equal(message_decode_renew(data, len, &m, NULL, NULL), 0);
	if (!record(peer, request, PEER_REGISTER, "renew"))
		issue(request, peer, m.csr);
}

static const struct httpd_route routes[] = {
	{.method = "POST", .path = "/v1/agent/register", .handler = on_register, .max_body = 65536},
	{.method = "POST", .path = "/v1/agent/renew", .handler = on_renew, .max_body = 65536},
	{.method = "POST", .path = "/v1/agent/keys", .handler = on_keys, .max_body = 65536},
	{.method = "POST", .path = "/v1/agent/poll", .handler = on_poll, .max_body = LIMIT_POLL_BODY, .body_type = MESSAGE_POLL_TYPE},
	{.method = NULL},
};

struct peer *peer_new(void)
{
	static const char *const names[] = {"127.0.0.1", NULL};
	struct peer *peer = calloc(1, sizeof(*peer));

	evthread_use_pthreads();
	strcpy(peer->dir, "/tmp/pta-test-XXXXXX");
	assert_non_null(mkdtemp(peer->dir));
	peer->identity_dir = (struct identity_dir){.path = peer->dir, .uid = (uid_t)-1, .gid = (gid_t)-1};
	pthread_mutex_init(&peer->lock, NULL);
	pthread_cond_init(&peer->changed, NULL);
	assert_int_equal(pki_key_new(&peer->ca_key, NULL), 0);
	assert_int_equal(pki_key_new(&peer->server_key, NULL), 0);
	assert_int_equal(pki_ca_new(peer->ca_key, "test CA", &peer->ca, NULL), 0);
	assert_int_equal(pki_issue_server(peer->ca, peer->ca_key, peer->server_key, names, 2, &peer->server_cert, NULL), 0);
	assert_int_equal(pki_server_ctx(peer->server_cert, NULL, peer->server_key, peer->ca, &peer->tls, NULL), 0);
	peer_start(peer);
	return peer;
}

static void *peer_thread(void *arg)
{
	struct peer *peer = arg;

	event_base_loop(peer->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

void peer_start(struct peer *peer)
{
	char address[64];
	struct httpd_conf conf = {
		.address = address,
		.tls = peer->tls,
		.routes = routes,
		.arg = peer,
		.max_connections = 32,
		.max_per_address = 32,
		.request_timeout_ms = 10000,
		.idle_timeout_ms = 60000,
	};
	struct err err;

	snprintf(address, sizeof(address), "127.0.0.1:%u", peer->port);
	peer->base = event_base_new();
	if (httpd_new(peer->base, &conf, &peer->httpd, &err) < 0)
		fail_msg("%s", err.text);
	peer->port = httpd_port(peer->httpd);
	snprintf(peer->url, sizeof(peer->url), "https://127.0.0.1:%u", peer->port);
	assert_int_equal(pthread_create(&peer->thread, NULL, peer_thread, peer), 0);
	peer->up = true;
}

static void end_loop(evutil_socket_t fd, short what, void *arg)
{
	struct peer *peer = arg;

	(void)fd;
	(void)what;
	event_base_loopbreak(peer->base);
}

void peer_stop(struct peer *peer)
{
	const struct timeval now = {0};

	if (!peer->up)
		return;
	/* From inside: the loop may not have begun yet, and would forget a break that came before. */
	event_base_once(peer->base, -1, EV_TIMEOUT, end_loop, peer, &now);
	pthread_join(peer->thread, NULL);
	httpd_free(peer->httpd);
	event_base_loop(peer->base, EVLOOP_NONBLOCK); /* libevent frees bufferevents on its next turn */
	event_base_free(peer->base);
	peer->up = false;
}

void peer_free(struct peer *peer)
{
	struct dirent *entry;
	char path[PATH_MAX];
	DIR *dir;

	peer_stop(peer);
	dir = opendir(peer->dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", peer->dir, entry->d_name);
		unlink(path);
	}
	closedir(dir);
	rmdir(peer->dir);
	for (unsigned i = 0; i < peer->nbodies; i++)
		free(peer->bodies[i].data);
	buf_done(&peer->batch);
	buf_done(&peer->receipt);
	SSL_CTX_free(peer->tls);
	pki_key_freep(&peer->ca_key);
	pki_key_freep(&peer->server_key);
	pki_cert_freep(&peer->ca);
	pki_cert_freep(&peer->server_cert);
	pthread_cond_destroy(&peer->changed);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
}

void peer_fail(struct peer *peer, enum peer_route route, int status, const char *error, unsigned times)
{
	pthread_mutex_lock(&peer->lock);
	peer->status[route] = status;
	peer->error[route] = error;
	peer->fail[route] = times;
	pthread_mutex_unlock(&peer->lock);
}

/* With the lock held: one more change, or the test fails. */
static void wait_change(struct peer *peer, const char *what)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LIMIT_S;
	if (pthread_cond_timedwait(&peer->changed, &peer->lock, &until) != 0) {
		pthread_mutex_unlock(&peer->lock);
		fail_msg("waited in vain for %s", what);
	}
}

const struct peer_body *peer_wait(struct peer *peer, const char *path, unsigned n)
{
	pthread_mutex_lock(&peer->lock);
	for (;;) {
		unsigned seen = 0;

		for (unsigned i = 0; i < peer->nbodies; i++)
			if (strcmp(peer->bodies[i].path, path) == 0 && ++seen == n) {
				pthread_mutex_unlock(&peer->lock);
				return &peer->bodies[i];
			}
		wait_change(peer, path);
	}
}

unsigned peer_count(struct peer *peer, const char *path)
{
	unsigned seen = 0;

	pthread_mutex_lock(&peer->lock);
	for (unsigned i = 0; i < peer->nbodies; i++)
		seen += strcmp(peer->bodies[i].path, path) == 0;
	pthread_mutex_unlock(&peer->lock);
	return seen;
}

void peer_wait_parked(struct peer *peer, unsigned n, unsigned credit)
{
	pthread_mutex_lock(&peer->lock);
	for (;;) {
		unsigned parked = 0, sum = 0;

		for (unsigned i = 0; i < PTA_ARRAY_SIZE(peer->polls); i++)
			if (peer->polls[i].request) {
				parked++;
				sum += peer->polls[i].credit;
			}
		if (parked == n && sum == credit)
			break;
		wait_change(peer, "parked polls");
	}
	pthread_mutex_unlock(&peer->lock);
}

/* On the server's thread. */
static void answer_parked(evutil_socket_t fd, short what, void *arg)
{
	struct httpd_request *request = NULL;
	struct peer *peer = arg;
	struct buf batch = BUF_INIT(0);

	(void)fd;
	(void)what;
	pthread_mutex_lock(&peer->lock);
	for (unsigned i = 0; i < PTA_ARRAY_SIZE(peer->polls) && peer->batch.len; i++)
		if (peer->polls[i].request) {
			request = peer->polls[i].request;
			peer->polls[i].request = NULL;
			batch = take_buf(&peer->batch);
			pthread_cond_broadcast(&peer->changed);
		}
	pthread_mutex_unlock(&peer->lock);
	if (request)
		reply_batch(peer, request, &batch);
}

static void put_buf(struct buf *out, const struct buf *from)
{
	*out = BUF_INIT(LIMIT_BATCH_BODY);
	buf_put(out, from->data, from->len);
	assert_true(buf_ok(out));
}

void peer_send_batch(struct peer *peer, const struct buf *batch)
{
	const struct timeval now = {0};

	pthread_mutex_lock(&peer->lock);
	while (peer->batch.len) /* the one before has not gone yet */
		wait_change(peer, "a poll");
	put_buf(&peer->batch, batch);
	pthread_mutex_unlock(&peer->lock);
	event_base_once(peer->base, -1, EV_TIMEOUT, answer_parked, peer, &now);
}

void peer_send_receipt(struct peer *peer, const struct buf *batch)
{
	pthread_mutex_lock(&peer->lock);
	assert_int_equal(peer->receipt.len, 0);
	put_buf(&peer->receipt, batch);
	pthread_mutex_unlock(&peer->lock);
}

struct agent_conf *peer_conf(struct peer *peer, const char *more)
{
	struct agent_conf *conf = NULL;
	struct conf_errors errors;
	char text[1024];

	snprintf(text, sizeof(text), "[agent]\nservice = %s\nstate_dir = %s\n[directory corp.example.com]\nservers = 127.0.0.1:1\ntls = none\n%s", peer->url,
		peer->dir, more);
	conf_errors_init(&errors);
	if (agent_conf_load_text("test", text, strlen(text), true, &conf, &errors) < 0)
		fail_msg("%s", (const char *)errors.text.data);
	conf_errors_done(&errors);
	return conf;
}

struct identity *peer_identity(struct peer *peer)
{
	struct identity names = {.agent = "agent1", .tenant = "tenant1", .group = "group1"};
	struct buf pem = BUF_INIT(LIMIT_CERTIFICATE), ca_pem = BUF_INIT(LIMIT_CERTIFICATE);
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	struct identity *identity;

	snprintf(names.service, sizeof(names.service), "%s", peer->url);
	assert_int_equal(identity_pending_key(&peer->identity_dir, &key, NULL), 0);
	assert_int_equal(pki_issue_agent(peer->ca, peer->ca_key, key, "agent1", "tenant1", "group1", 30, &cert, NULL), 0);
	assert_int_equal(pki_cert_to_pem(cert, &pem), 0);
	assert_int_equal(pki_cert_to_pem(peer->ca, &ca_pem), 0);
	assert_int_equal(identity_install(&peer->identity_dir, &names, &ca_pem, (const char *)pem.data, NULL), 0);
	assert_int_equal(identity_load(&peer->identity_dir, &identity, NULL), 0);
	buf_done(&pem);
	buf_done(&ca_pem);
	return identity;
}
