#include "agent/queue_internal.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/enroll.h"
#include "base/clock.h"
#include "base/log.h"
#include "wire/pki.h"

/* Parked polls are let go this long after the beginning of a drain. */
#define DRAIN_POLLS_MS 500

static const char *const state_names[] = {
	[QUEUE_STARTING] = "starting", [QUEUE_CONNECTED] = "connected", [QUEUE_DISCONNECTED] = "disconnected", [QUEUE_REFUSED] = "refused", [QUEUE_DRAINING] = "draining",
};

/* What a call of each kind may send and receive, and how long it may take. */
static const struct {
	const char *path, *type;
	size_t max_request, max_answer;
	unsigned timeout_ms;
} call_kinds[] = {
	[CALL_POLL] = {"/v1/agent/poll", MESSAGE_POLL_TYPE, LIMIT_POLL_BODY, LIMIT_BATCH_BODY, POLL_HOLD_MS + 10000},
	[CALL_KEYS] = {"/v1/agent/keys", SERVICE_JSON, LIMIT_KEY_BODY, 4096, 10000},
	[CALL_RENEW] = {ENROLL_PATH_RENEW, SERVICE_JSON, ENROLL_MAX_REQUEST, ENROLL_MAX_ANSWER, ENROLL_TIMEOUT_MS},
};

const char *queue_state_name(enum queue_state state)
{
	return state_names[state];
}

uint64_t queue_service_ms(const struct queue_client *q, uint64_t now_us)
{
	return q->clock_known ? (uint64_t)((int64_t)(now_us / 1000) + q->clock_offset_ms) : clock_wall_ms();
}

/* Returns whether it is a change. */
static bool set_state(struct queue_client *q, enum queue_state state, const char *error)
{
	bool changed;

	if (q->draining)
		state = QUEUE_DRAINING;
	pthread_mutex_lock(&q->lock);
	changed = q->status.state != state || (error && strcmp(q->status.error, error) != 0);
	if (q->status.state != state) {
		q->status.state = state;
		q->status.since_ms = clock_wall_ms();
	}
	if (error) {
		snprintf(q->status.error, sizeof(q->status.error), "%s", error);
		q->status.error_ms = clock_wall_ms();
	}
	pthread_mutex_unlock(&q->lock);
	return changed;
}

void queue_connected(struct queue_client *q)
{
	backoff_reset(&q->connect_backoff);
	backoff_reset(&q->refused_backoff);
	if (set_state(q, QUEUE_CONNECTED, NULL))
		log_event(LOG_NOTICE, "service.connected", F_STR("service", q->link.url), F_STR("agent", q->identity->agent), F_STR("instance", q->instance));
}

void queue_failed(struct queue_client *q, enum queue_state state, uint64_t now_us, const char *text)
{
	uint32_t wait_ms = backoff_next_ms(state == QUEUE_REFUSED ? &q->refused_backoff : &q->connect_backoff);

	q->poll_next_us = q->keys_next_us = now_us + (uint64_t)wait_ms * 1000;
	/* The way back begins with the key: it is answered at once, where a parked poll says nothing for a long time, and a
	 * service that was restarted needs it anyway. */
	keyring_forgotten(q->keyring);
	if (set_state(q, state, text))
		log_event(LOG_WARNING, state == QUEUE_REFUSED ? "service.refused" : "service.lost", F_STR("service", q->link.url), F_STR("error", text), F_MS("retry", (uint64_t)wait_ms * 1000));
}

void queue_refused(struct queue_client *q, const struct queue_call *call, int status, uint64_t now_us)
{
	char text[500];

	service_error_text(&call->http, status, text, sizeof(text), NULL);
	queue_failed(q, status == 403 ? QUEUE_REFUSED : QUEUE_DISCONNECTED, now_us, text);
}

int queue_call_prepare(struct queue_client *q, struct queue_call *call, struct err *err)
{
	struct buf request = call->http.request;
	int r;

	if (call->generation == q->generation)
		return 0;
	call->http.request = (struct buf){0};
	service_call_done(&call->http);
	call->generation = 0;
	r = service_call_init(&call->http, &q->link, call_kinds[call->kind].path, call_kinds[call->kind].type, call_kinds[call->kind].max_request, call_kinds[call->kind].max_answer,
		call_kinds[call->kind].timeout_ms, err);
	if (r < 0) {
		buf_done(&request);
		return r;
	}
	if (request.data)
		call->http.request = request;
	call->generation = q->generation;
	return 0;
}

int queue_call_start(struct queue_client *q, struct queue_call *call, struct err *err)
{
	CURLMcode r;

	service_call_arm(&call->http);
	r = curl_multi_add_handle(q->multi, call->http.easy);
	if (r != CURLM_OK)
		return err_set(err, -PTA_ENOMEM, "start POST %s: %s", call->http.url, curl_multi_strerror(r));
	call->busy = true;
	return 0;
}

void queue_use_identity(struct queue_client *q, struct identity *identity)
{
	identity_free(q->identity);
	q->identity = identity;
	q->link = (struct service_link){
		.conf = q->conf,
		.url = q->conf->agent.service ? q->conf->agent.service : identity->service,
		.ca_pem = &identity->ca_pem,
		.cert_pem = &identity->cert_pem,
		.key_pem = &identity->key_pem,
	};
	q->generation++;
	q->renew_at_ms = identity_renew_at_ms(identity);
	pthread_mutex_lock(&q->lock);
	snprintf(q->status.service, sizeof(q->status.service), "%s", q->link.url);
	memcpy(q->status.agent, identity->agent, sizeof(q->status.agent));
	memcpy(q->status.tenant, identity->tenant, sizeof(q->status.tenant));
	memcpy(q->status.group, identity->group, sizeof(q->status.group));
	q->status.not_before_ms = identity->not_before_ms;
	q->status.not_after_ms = identity->not_after_ms;
	pki_validity(identity->ca, &q->status.ca_not_before_ms, &q->status.ca_not_after_ms);
	q->status.renew_at_ms = q->renew_at_ms;
	pthread_mutex_unlock(&q->lock);
}

static void note_clock(struct queue_client *q, const struct queue_call *call)
{
	int64_t offset;

	if (!call->http.service_ms)
		return;
	offset = (int64_t)call->http.service_ms - (int64_t)(call->http.service_at_us / 1000);
	if (q->clock_known && offset == q->clock_offset_ms)
		return;
	q->clock_offset_ms = offset;
	q->clock_known = true;
	pthread_mutex_lock(&q->lock);
	q->status.clock_known = true;
	q->status.clock_offset_ms = (int64_t)call->http.service_ms - (int64_t)clock_wall_ms();
	pthread_mutex_unlock(&q->lock);
}

/* Handles every call that libcurl finished; returns whether there was one. */
static bool collect(struct queue_client *q)
{
	struct queue_call *call;
	bool any = false;
	CURLMsg *msg;
	CURLcode code;
	uint64_t now_us;
	int left;

	while ((msg = curl_multi_info_read(q->multi, &left))) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		code = msg->data.result;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
		curl_multi_remove_handle(q->multi, msg->easy_handle); /* msg is gone from here on */
		call->busy = false;
		any = true;
		now_us = clock_mono_us();
		note_clock(q, call);
		switch (call->kind) {
		case CALL_POLL:
			queue_poll_done(q, call, code, now_us);
			break;
		case CALL_KEYS:
			queue_keys_done(q, call, code, now_us);
			break;
		case CALL_RENEW:
			queue_renew_done(q, call, code, now_us);
			break;
		}
	}
	return any;
}

static bool polls_parked(const struct queue_client *q)
{
	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		if (q->polls[i].busy && q->polls[i].credit)
			return true;
	return false;
}

/* Under load a parked poll is about to be answered, and a request that is on its way would be lost with its connection: so
 * the polls are not renewed from the drain's first moment on, and let go only when nothing came for a while. */
static void end_polls(struct queue_client *q, uint64_t now_us)
{
	if (q->polls_ended || (polls_parked(q) && now_us < q->drain_us && !q->stop_us))
		return;
	queue_polls_cancel(q);
	q->polls_ended = true;
	pthread_mutex_lock(&q->lock);
	q->drained = true;
	pthread_cond_broadcast(&q->drained_cond);
	pthread_mutex_unlock(&q->lock);
}

static void take_commands(struct queue_client *q, uint64_t now_us)
{
	struct agent_conf *conf;
	struct identity *identity;
	bool renew, drain;

	pthread_mutex_lock(&q->lock);
	conf = q->command.conf;
	identity = q->command.identity;
	renew = q->command.renew;
	drain = q->command.drain;
	q->stop_us = q->command.stop_us;
	q->command.conf = NULL;
	q->command.identity = NULL;
	q->command.renew = false;
	pthread_mutex_unlock(&q->lock);
	if (conf) {
		agent_conf_unref(q->conf);
		q->conf = conf;
		queue_use_identity(q, identity);
		/* What was refused may be welcome with the new identity: do not wait for the back-off. */
		q->poll_next_us = q->keys_next_us = now_us;
	}
	if (renew) {
		q->renew_wanted = true;
		q->renew_next_us = now_us;
	}
	if (drain && !q->draining) {
		q->draining = true;
		q->drain_us = now_us + DRAIN_POLLS_MS * 1000;
		set_state(q, QUEUE_DRAINING, NULL);
	}
}

static void update_status(struct queue_client *q)
{
	unsigned polls = 0, credit = 0;

	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		if (q->polls[i].busy && q->polls[i].credit) {
			polls++;
			credit += q->polls[i].credit;
		}
	pthread_mutex_lock(&q->lock);
	q->status.polls = polls;
	q->status.credit = credit;
	pthread_mutex_unlock(&q->lock);
}

static int wait_ms(const struct queue_client *q, uint64_t now_us)
{
	uint64_t next = now_us + QUEUE_TURN_MS * 1000;
	uint64_t results = queue_results_next_us(q);

	if (results < next)
		next = results;
	if (!q->draining && q->poll_next_us > now_us && q->poll_next_us < next)
		next = q->poll_next_us;
	if (!q->draining && q->keys_next_us > now_us && q->keys_next_us < next)
		next = q->keys_next_us;
	if (q->draining && !q->polls_ended && q->drain_us < next)
		next = q->drain_us;
	if (q->stop_us && q->stop_us < next)
		next = q->stop_us;
	return next > now_us ? (int)((next - now_us + 999) / 1000) : 0;
}

static void *queue_thread(void *arg)
{
	struct queue_client *q = arg;
	struct curl_waitfd wake = {.fd = mailbox_fd(q->results), .events = CURL_WAIT_POLLIN};
	int running;

	pthread_setname_np(pthread_self(), "queue");
	for (;;) {
		uint64_t now_us = clock_mono_us();

		atomic_store_explicit(&q->beat_us, now_us, memory_order_relaxed);
		take_commands(q, now_us);
		queue_results_take(q);
		if (q->stop_us && (queue_results_idle(q) || now_us >= q->stop_us))
			break;
		if (q->draining) {
			end_polls(q, now_us);
		} else {
			queue_keys_start(q, now_us);
			queue_renew_start(q, now_us);
		}
		queue_polls_start(q, now_us);
		curl_multi_perform(q->multi, &running);
		if (collect(q))
			continue;
		update_status(q);
		curl_multi_poll(q->multi, &wake, 1, wait_ms(q, clock_mono_us()), NULL);
		/* Whoever else can run does so first: where the machine is busy, more results are there after it, and go in one poll. Where it
		 * is not, this thread goes on at once. */
		sched_yield();
	}
	queue_polls_cancel(q);
	queue_results_abandon(q);
	return NULL;
}

static void init_call(struct queue_call *call, enum queue_call_kind kind)
{
	call->kind = kind;
	call->backoff = BACKOFF_INIT(100, 2000);
	call->results = MESSAGE_LIST(LIMIT_POLL_BODY);
}

int queue_client_new(struct agent_conf *conf, struct identity *identity, const struct identity_dir *dir, struct keyring *keyring, const struct queue_handler *handler,
	struct queue_client **out, struct err *err)
{
	struct queue_client *q = calloc(1, sizeof(*q));

	if (!q)
		return err_set(err, -PTA_ENOMEM, "out of memory");
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->drained_cond, NULL);
	q->dir = *dir;
	q->dir.path = q->dir_path = strdup(dir->path);
	q->multi = curl_multi_init();
	if (!q->dir_path || !q->multi || mailbox_new(&q->results) < 0) {
		queue_client_free(q);
		return err_set(err, -PTA_ENOMEM, "out of memory or file descriptors");
	}
	curl_multi_setopt(q->multi, CURLMOPT_MAXCONNECTS, (long)(QUEUE_POLLS + 2));
	curl_multi_setopt(q->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	q->keyring = keyring;
	q->handler = *handler;
	q->connect_backoff = BACKOFF_INIT(250, 15000);
	q->refused_backoff = BACKOFF_INIT(15000, 300000);
	q->renew_backoff = BACKOFF_INIT(60000, 3600000);
	random_id(q->instance);
	memcpy(q->status.instance, q->instance, sizeof(q->instance));
	q->status.since_ms = clock_wall_ms();
	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		init_call(&q->polls[i], CALL_POLL);
	init_call(&q->keys, CALL_KEYS);
	init_call(&q->renew, CALL_RENEW);
	q->conf = agent_conf_ref(conf);
	queue_use_identity(q, identity);
	*out = q;
	return 0;
}

int queue_client_start(struct queue_client *q, struct err *err)
{
	sigset_t all, before;
	int r;

	atomic_store(&q->beat_us, clock_mono_us());
	/* Signals belong to the main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&q->thread, NULL, queue_thread, q);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0)
		return err_set_errno(err, -PTA_EIO, r, "start the queue thread");
	q->running = true;
	return 0;
}

void queue_client_post(struct queue_client *q, struct queue_result *result)
{
	mailbox_post(q->results, &result->mail);
}

void queue_client_reload(struct queue_client *q, struct agent_conf *conf, struct identity *identity)
{
	pthread_mutex_lock(&q->lock);
	agent_conf_unref(q->command.conf);
	identity_free(q->command.identity);
	q->command.conf = agent_conf_ref(conf);
	q->command.identity = identity;
	pthread_mutex_unlock(&q->lock);
	curl_multi_wakeup(q->multi);
}

void queue_client_renew(struct queue_client *q)
{
	pthread_mutex_lock(&q->lock);
	q->command.renew = true;
	pthread_mutex_unlock(&q->lock);
	curl_multi_wakeup(q->multi);
}

void queue_client_drain(struct queue_client *q)
{
	if (!q->running)
		return;
	pthread_mutex_lock(&q->lock);
	q->command.drain = true;
	curl_multi_wakeup(q->multi);
	while (!q->drained)
		pthread_cond_wait(&q->drained_cond, &q->lock);
	pthread_mutex_unlock(&q->lock);
}

void queue_client_stop(struct queue_client *q, uint64_t deadline_us)
{
	if (!q->running)
		return;
	pthread_mutex_lock(&q->lock);
	q->command.drain = true;
	q->command.stop_us = deadline_us ? deadline_us : 1;
	pthread_mutex_unlock(&q->lock);
	curl_multi_wakeup(q->multi);
	pthread_join(q->thread, NULL);
	q->running = false;
}

static void free_call(struct queue_client *q, struct queue_call *call)
{
	if (call->busy)
		curl_multi_remove_handle(q->multi, call->http.easy);
	service_call_done(&call->http);
	message_list_done(&call->results);
}

void queue_client_free(struct queue_client *q)
{
	if (!q)
		return;
	for (unsigned i = 0; i < QUEUE_POLLS; i++)
		free_call(q, &q->polls[i]);
	free_call(q, &q->keys);
	free_call(q, &q->renew);
	if (q->multi)
		curl_multi_cleanup(q->multi);
	mailbox_free(q->results);
	agent_conf_unref(q->command.conf);
	identity_free(q->command.identity);
	agent_conf_unref(q->conf);
	identity_free(q->identity);
	pthread_cond_destroy(&q->drained_cond);
	pthread_mutex_destroy(&q->lock);
	free(q->dir_path);
	free(q);
}

void queue_client_status(struct queue_client *q, struct queue_status *out)
{
	pthread_mutex_lock(&q->lock);
	*out = q->status;
	pthread_mutex_unlock(&q->lock);
}

uint64_t queue_client_beat_us(const struct queue_client *q)
{
	return atomic_load_explicit(&q->beat_us, memory_order_relaxed);
}
