#include "agent/agent.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/directories.h"
#include "agent/keyring.h"
#include "agent/queue_client.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "base/metrics.h"
#include "wire/expiry.h"

/* An answer must leave this long before the service gives up waiting: the way back, and a repeated poll. */
#define MARGIN_MS 250
/* A beat older than this many turns means that the queue thread hangs. */
#define DEAD_TURNS 10
/* Beside the connections to controllers: the service, files, control socket, metrics. */
#define OWN_DESCRIPTORS 128

/* Labels of verdicts: the section's method, or none where no section was asked. */
#define NO_METHOD (DIRECTORY_KERBEROS + 1)
#define METHODS (NO_METHOD + 1)

enum { OWN_CERTIFICATE, CA_CERTIFICATE, CERTIFICATES };
static const char *const certificate_names[CERTIFICATES] = {"agent", "ca"};

struct agent {
	struct queue_client *queue;
	struct keyring *keyring; /* queue thread */
	atomic_uint jobs;
	struct directories *retired; /* main thread: replaced by a reload, jobs still inside */
	uint64_t started_ms;	     /* wall clock */
	struct metric_series *verdicts[METHODS][VERDICT_CODES], *reasons[REASON_CODES], *declined[REASON_CODES];
	struct metric_series *took, *directory_took, *in_flight;
	struct metric_series *limit, *capacity, *connected, *polls, *credit, *expires[CERTIFICATES];
	struct expiry_watch watches[CERTIFICATES]; /* main thread */

	pthread_mutex_t lock; /* guards current: the queue thread counts a job into it while the main thread may replace it */
	struct directories *current;
};

struct agent_job {
	struct job job;		    /* the validator's part */
	struct queue_result result; /* the queue client's part */
	struct agent *agent;
	struct directories *set; /* counted; NULL: none yet */
	struct envelope_head head;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	int method; /* of the section that it went to */
	uint64_t started_us;
};

/* ---- the way out: any thread, then the queue thread ---- */

static void result_done(struct queue_result *result)
{
	struct agent_job *job = (struct agent_job *)(void *)((char *)result - offsetof(struct agent_job, result));
	struct agent *agent = job->agent;

	if (job->set)
		atomic_fetch_sub_explicit(&job->set->jobs, 1, memory_order_release);
	buf_done(&result->answer);
	secret_free(job->job.password);
	free(job);
	atomic_fetch_sub_explicit(&agent->jobs, 1, memory_order_release);
	metric_gauge_add(agent->in_flight, -1);
}

/* What is secret goes before the result waits for its post. */
static void wipe(struct agent_job *job)
{
	secret_freep(&job->job.password);
	secret_wipe(job->answer_key, sizeof(job->answer_key));
}

static void post_declined(struct agent_job *job, enum verdict_reason reason)
{
	metric_add(job->agent->declined[reason], 1);
	wipe(job);
	job->result.declined = true;
	job->result.decline_reason = reason;
	queue_client_post(job->agent->queue, &job->result);
}

static void decline(struct agent_job *job, enum verdict_reason reason, const char *why)
{
	log_event(LOG_WARNING, "auth.declined", F_STR("request", job->head.request_id), F_UINT("attempt", job->head.attempt), F_STR("reason", verdict_reason_name(reason)),
		F_STR("error", why));
	post_declined(job, reason);
}

static void audit(const struct agent_job *job, const struct verdict *v)
{
	uint64_t took_us = clock_mono_us() - job->started_us;
	const struct agent *agent = job->agent;

	metric_add(agent->verdicts[job->method][v->code < VERDICT_CODES ? v->code : VERDICT_UNAVAILABLE], 1);
	if (v->code == VERDICT_UNAVAILABLE && v->reason < REASON_CODES)
		metric_add(agent->reasons[v->reason], 1);
	metric_observe_us(agent->took, took_us);
	if (v->directory_us)
		metric_observe_us(agent->directory_took, v->directory_us);
	log_event(LOG_INFO, "auth.verdict", F_STR("request", job->head.request_id), F_UINT("attempt", job->head.attempt), F_STR("user", job->job.credential.name),
		F_STR("domain", job->job.credential.domain), F_STR("dc", v->dc[0] ? v->dc : NULL), F_STR("verdict", verdict_name(v->code)),
		F_STR("reason", v->code == VERDICT_UNAVAILABLE ? verdict_reason_text(v) : NULL), F_STR("proved", v->password_proved ? "yes" : "no"),
		F_STR("sent", v->password_sent ? "yes" : "no"), F_MS("took", took_us), F_MS("directory", v->directory_us), F_STR("detail", v->detail[0] ? v->detail : NULL));
}

static void answer(struct agent_job *job, const struct verdict *v)
{
	int r;

	audit(job, v);
	/* Nothing was sent to a controller: another agent may still try. */
	if (v->code == VERDICT_UNAVAILABLE && !v->password_sent) {
		post_declined(job, v->reason);
		return;
	}
	r = envelope_seal_answer(job->answer_key, &job->head, job->job.credential.name, v, &job->result.answer);
	wipe(job);
	if (r < 0 || !buf_ok(&job->result.answer)) {
		/* An empty result is not posted: a decline would be a lie where the password was sent, so the deadline ends it. */
		log_event(LOG_ERR, "auth.lost", F_STR("request", job->head.request_id), F_STR("error", "the answer could not be sealed"));
		buf_done(&job->result.answer);
	}
	queue_client_post(job->agent->queue, &job->result);
}

/* A number that came before: the password may be at a controller by that first copy, so a decline would be a lie that sends it
 * to a second one. An empty result is not posted; the first copy's answer, or the deadline, ends the request. */
static void drop_replayed(struct agent_job *job, const char *why)
{
	log_event(LOG_WARNING, "auth.replayed", F_STR("request", job->head.request_id), F_UINT("attempt", job->head.attempt), F_STR("error", why));
	queue_client_post(job->agent->queue, &job->result);
}

static void job_finished(struct job *job, const struct verdict *verdict)
{
	answer((struct agent_job *)(void *)((char *)job - offsetof(struct agent_job, job)), verdict);
}

/* ---- the way in: the queue thread ---- */

static enum verdict_reason open_failure(int code)
{
	switch (code) {
	case -PTA_EEXPIRED:
		return REASON_CLOCK_SKEW;
	case -PTA_EBUSY:
	case -PTA_ENOMEM:
		return REASON_OVERLOADED;
	case -PTA_EPROTO:
		return REASON_AGENT_ERROR;
	default:
		return REASON_DECRYPT_FAILED;
	}
}

static enum verdict_reason start_failure(int code)
{
	switch (code) {
	case -PTA_EBUSY:
		return REASON_OVERLOADED;
	case -PTA_ENODC:
		return REASON_DIRECTORY_UNREACHABLE;
	default:
		return REASON_AGENT_ERROR;
	}
}

/* Counts the job into the set that is current now, which then stays until the job is over. */
static struct directories *enter(struct agent *agent)
{
	struct directories *set;

	pthread_mutex_lock(&agent->lock);
	set = agent->current;
	atomic_fetch_add_explicit(&set->jobs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&agent->lock);
	return set;
}

static uint64_t deadline_of(const struct envelope_head *head, uint64_t service_ms, uint64_t now_us)
{
	uint64_t left_ms = head->expires_ms > service_ms ? head->expires_ms - service_ms : 0;

	if (left_ms > KEYRING_MAX_DEADLINE_MS)
		left_ms = KEYRING_MAX_DEADLINE_MS;
	/* A short deadline is not eaten whole by the margin. */
	return now_us + (left_ms > 4 * MARGIN_MS ? left_ms - MARGIN_MS : left_ms - left_ms / 4) * 1000;
}

static void start(struct agent_job *job, const struct message_request *m, uint64_t service_ms, bool has_room)
{
	struct agent *agent = job->agent;
	struct envelope_request request = {0};
	struct validator *validator;
	struct verdict invalid;
	struct err err;
	int r;

	r = keyring_open(agent->keyring, &job->head, m, service_ms, &request, job->answer_key, &err);
	if (r == -PTA_EREPLAY) {
		drop_replayed(job, err.text);
		return;
	}
	if (r < 0) {
		decline(job, open_failure(r), err.text);
		return;
	}
	job->job.password = request.password;
	/* Not before it was opened: only then is it known for a first copy. */
	if (!has_room) {
		decline(job, REASON_OVERLOADED, "as many requests as its connections can take are being worked on");
		return;
	}
	if (credential_parse(request.username, strlen(request.username), &job->job.credential, &err) < 0) {
		/* The answer names the user it is for: as the request had it. */
		snprintf(job->job.credential.name, sizeof(job->job.credential.name), "%s", request.username);
		invalid = verdict_make(VERDICT_INVALID_REQUEST);
		snprintf(invalid.detail, sizeof(invalid.detail), "%.*s", LIMIT_DETAIL, err.text);
		job_done(&job->job, &invalid);
		return;
	}
	validator = directories_pick(job->set, &job->job.credential);
	if (!validator) {
		err_set(&err, 0, "no [directory …] section serves %s (the service counts it to %s)", job->job.credential.domain, request.domain);
		decline(job, REASON_NOT_CONFIGURED, err.text);
		return;
	}
	job->method = validator->conf->method;
	job->job.deadline_us = deadline_of(&job->head, service_ms, job->started_us);
	r = validator_start(validator, &job->job);
	if (r < 0)
		decline(job, start_failure(r), pta_error_name(r));
}

static void on_request(void *arg, const struct envelope_head *head, const struct message_request *m, uint64_t service_ms)
{
	struct agent *agent = arg;
	struct agent_job *job = calloc(1, sizeof(*job));

	if (!job) {
		log_event(LOG_ERR, "auth.lost", F_STR("request", head->request_id), F_STR("error", "out of memory"));
		return;
	}
	job->agent = agent;
	job->method = NO_METHOD;
	job->head = *head;
	job->started_us = clock_mono_us();
	job->job.done = job_finished;
	memcpy(job->job.id, head->request_id, sizeof(job->job.id));
	job->result = (struct queue_result){.attempt = head->attempt, .answer = BUF_INIT(LIMIT_ANSWER), .done = result_done};
	memcpy(job->result.request_id, head->request_id, sizeof(job->result.request_id));
	job->result.until_us = job->started_us + (head->expires_ms > service_ms ? head->expires_ms - service_ms : 0) * 1000;
	metric_gauge_add(agent->in_flight, 1);
	job->set = enter(agent);
	start(job, m, service_ms, atomic_fetch_add_explicit(&agent->jobs, 1, memory_order_relaxed) < directories_limit(job->set));
}

static unsigned room(void *arg, unsigned *busy)
{
	struct agent *agent = arg;
	unsigned free_now, limit, left;

	pthread_mutex_lock(&agent->lock);
	free_now = directories_capacity(agent->current);
	limit = directories_limit(agent->current);
	pthread_mutex_unlock(&agent->lock);
	*busy = atomic_load_explicit(&agent->jobs, memory_order_relaxed);
	/* Jobs whose answers still wait for a poll hold no connection, and count all the same. */
	left = limit > *busy ? limit - *busy : 0;
	if (free_now > left)
		free_now = left;
	/* With every controller away a credit of one stays parked: the request that comes is declined as directory_unreachable at
	 * once, where an agent that does not ask would read as no agent at all. */
	return free_now == 0 && *busy == 0 ? 1 : free_now;
}

/* ---- the main thread ---- */

static void make_metrics(struct agent *agent)
{
	static const char *const by_verdict[] = {"verdict", "method", NULL}, *const by_reason[] = {"reason", NULL},
				 *const by_what[] = {"what", NULL}, *const by_version[] = {"version", NULL};
	struct metric *verdicts = metric_new(METRIC_COUNTER, "pta_agent_verdicts_total", "Requests that came to a verdict, by it and by the method of the directory's section.", by_verdict);
	struct metric *reasons = metric_new(METRIC_COUNTER, "pta_agent_unavailable_total", "Requests that ended unavailable, by reason.", by_reason);
	struct metric *declined = metric_new(METRIC_COUNTER, "pta_agent_declined_total", "Requests given back without asking a directory, by reason.", by_reason);

	for (int method = 0; method < METHODS; method++)
		for (unsigned i = 0; i < VERDICT_CODES; i++)
			agent->verdicts[method][i] = metric_at(
				verdicts, (const char *[]){verdict_name((enum verdict_code)i), method == NO_METHOD ? "none" : directory_method_name(method), NULL});
	for (unsigned i = 0; i < REASON_CODES; i++) {
		agent->reasons[i] = metric_at(reasons, (const char *[]){verdict_reason_name((enum verdict_reason)i), NULL});
		agent->declined[i] = metric_at(declined, (const char *[]){verdict_reason_name((enum verdict_reason)i), NULL});
	}
	agent->took = metric_at(metric_new(METRIC_HISTOGRAM, "pta_agent_request_seconds", "From taking a request to its verdict.", NULL), NULL);
	agent->directory_took = metric_at(metric_new(METRIC_HISTOGRAM, "pta_agent_directory_seconds", "From sending a bind to the controller's answer.", NULL), NULL);
	agent->in_flight = metric_at(metric_new(METRIC_GAUGE, "pta_agent_requests", "Requests being worked on.", NULL), NULL);
	agent->limit = metric_at(metric_new(METRIC_GAUGE, "pta_agent_requests_limit", "Requests that may be worked on at a time; more are declined.", NULL), NULL);
	agent->capacity = metric_at(metric_new(METRIC_GAUGE, "pta_agent_requests_free", "Further requests that would start at once.", NULL), NULL);
	agent->connected = metric_at(metric_new(METRIC_GAUGE, "pta_agent_connected", "1 while the service answers this agent.", NULL), NULL);
	agent->polls = metric_at(metric_new(METRIC_GAUGE, "pta_agent_polls_parked", "Polls that wait at the service.", NULL), NULL);
	agent->credit = metric_at(metric_new(METRIC_GAUGE, "pta_agent_polls_credit", "Requests that those polls ask for.", NULL), NULL);
	for (int i = 0; i < CERTIFICATES; i++)
		agent->expires[i] = metric_at(metric_new(METRIC_GAUGE, "pta_agent_certificate_expiry_timestamp_seconds",
						      "When the agent's certificate and the service's CA expire.", by_what),
			(const char *[]){certificate_names[i], NULL});
	metric_set(metric_at(metric_new(METRIC_GAUGE, "pta_agent_build_info", "1, with the version.", by_version), (const char *[]){PACKAGE_VERSION, NULL}), 1);
}

/* Two for each connection: its successor is made while it lives. With too few it reaches fewer controllers at a time. */
static void raise_descriptors(const struct directories *set)
{
	struct err err;

	if (descriptors_raise(directories_limit(set) + OWN_DESCRIPTORS, "connections", &err) < 0)
		log_event(LOG_WARNING, "agent.few_descriptors", F_STR("error", err.text));
}

int agent_new(struct agent_conf *conf, struct identity *identity, const struct identity_dir *dir, struct agent **out, struct err *err)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	struct queue_handler handler = {.room = room, .request = on_request, .arg = agent};
	int r;

	if (!agent) {
		identity_free(identity);
		return err_set(err, -PTA_ENOMEM, "out of memory");
	}
	pthread_mutex_init(&agent->lock, NULL);
	make_metrics(agent);
	agent->started_ms = clock_wall_ms();
	r = keyring_new(clock_mono_us(), &agent->keyring);
	if (r < 0)
		err_set(err, r, "make the first HPKE key: %s", pta_error_name(r));
	if (r == 0)
		r = directories_open(conf, &agent->current, err);
	if (r == 0)
		r = queue_client_new(conf, identity, dir, agent->keyring, &handler, &agent->queue, err);
	if (r < 0)
		identity_free(identity);
	if (r == 0)
		raise_descriptors(agent->current);
	if (r == 0)
		r = queue_client_start(agent->queue, err);
	if (r < 0) {
		agent_drain(agent, 0);
		agent_free(agent);
		return r;
	}
	*out = agent;
	return 0;
}

void agent_drain(struct agent *agent, uint64_t deadline_us)
{
	/* The last second belongs to the results. */
	uint64_t close_us = deadline_us > 1000000 ? deadline_us - 1000000 : 0;

	if (agent->queue)
		queue_client_drain(agent->queue); /* no request comes any more from here on */
	if (agent->current)
		directories_close(agent->current, close_us);
	for (struct directories *set = agent->retired; set; set = set->next)
		directories_close(set, close_us);
	if (agent->queue)
		queue_client_stop(agent->queue, deadline_us);
}

void agent_free(struct agent *agent)
{
	if (!agent)
		return;
	queue_client_free(agent->queue);
	while (agent->retired) {
		struct directories *set = agent->retired;

		agent->retired = set->next;
		directories_free(set);
	}
	directories_free(agent->current);
	keyring_free(agent->keyring);
	pthread_mutex_destroy(&agent->lock);
	free(agent);
}

int agent_reload(struct agent *agent, struct agent_conf *conf, struct identity *identity, struct err *err)
{
	struct directories *next, *before;
	int r = directories_open(conf, &next, err);

	if (r < 0) {
		identity_free(identity);
		return r;
	}
	raise_descriptors(next);
	pthread_mutex_lock(&agent->lock);
	before = agent->current;
	agent->current = next;
	pthread_mutex_unlock(&agent->lock);
	before->next = agent->retired;
	agent->retired = before;
	queue_client_reload(agent->queue, conf, identity);
	return 0;
}

/* By the service's clock, where it is known: that is the one that counts. */
static void look_at_certificates(struct agent *agent)
{
	struct queue_status q;
	uint64_t now_ms;

	queue_client_status(agent->queue, &q);
	now_ms = clock_wall_ms() + (uint64_t)(q.clock_known ? q.clock_offset_ms : 0);
	expiry_watch(&agent->watches[OWN_CERTIFICATE], certificate_names[OWN_CERTIFICATE], q.agent, q.not_before_ms, q.not_after_ms, now_ms);
	expiry_watch(&agent->watches[CA_CERTIFICATE], certificate_names[CA_CERTIFICATE], q.service, q.ca_not_before_ms, q.ca_not_after_ms, now_ms);
}

void agent_tick(struct agent *agent)
{
	struct directories **link = &agent->retired;

	look_at_certificates(agent);

	while (*link) {
		struct directories *set = *link;

		if (atomic_load_explicit(&set->jobs, memory_order_acquire) > 0) {
			link = &set->next;
			continue;
		}
		*link = set->next;
		directories_close(set, 0);
		directories_free(set);
	}
}

void agent_renew(struct agent *agent)
{
	queue_client_renew(agent->queue);
}

bool agent_alive(const struct agent *agent)
{
	return clock_mono_us() - queue_client_beat_us(agent->queue) < (uint64_t)DEAD_TURNS * QUEUE_TURN_MS * 1000;
}

void agent_metrics(struct agent *agent, struct buf *out)
{
	struct queue_status q;

	queue_client_status(agent->queue, &q);
	metric_set(agent->connected, q.state == QUEUE_CONNECTED);
	metric_set(agent->polls, q.polls);
	metric_set(agent->credit, q.credit);
	metric_set(agent->limit, directories_limit(agent->current)); /* replaced by this thread only */
	metric_set(agent->capacity, directories_capacity(agent->current));
	metric_set(agent->expires[OWN_CERTIFICATE], (int64_t)(q.not_after_ms / 1000));
	metric_set(agent->expires[CA_CERTIFICATE], (int64_t)(q.ca_not_after_ms / 1000));
	metrics_render(out);
}

bool agent_ready(struct agent *agent, char why[128])
{
	struct queue_status q;
	bool ready = true;

	queue_client_status(agent->queue, &q);
	if (q.state != QUEUE_CONNECTED) {
		ready = false;
		snprintf(why, 128, "service: %s", queue_state_name(q.state));
	} else if (!directories_ready(agent->current)) { /* replaced by this thread only */
		ready = false;
		snprintf(why, 128, "a directory has no controller that answers");
	}
	return ready;
}

void agent_summary(struct agent *agent, char *text, size_t cap)
{
	struct queue_status q;

	queue_client_status(agent->queue, &q);
	snprintf(text, cap, "%s, %u requests in work, agent %s", queue_state_name(q.state), atomic_load(&agent->jobs), q.agent);
}

static void put_time(struct json_writer *w, const char *key, uint64_t wall_ms)
{
	char text[CLOCK_RFC3339_LEN + 1];

	clock_rfc3339(wall_ms, text);
	json_put_string(w, key, wall_ms ? text : NULL);
}

/* Which certificates were warned of; NULL: none. */
static const char *expiring(const struct agent *agent)
{
	bool own = agent->watches[OWN_CERTIFICATE].told != EXPIRY_FAR, ca = agent->watches[CA_CERTIFICATE].told != EXPIRY_FAR;

	return own && ca ? "agent, ca" : own ? "agent" : ca ? "ca" : NULL;
}

static void put_queue(const struct agent *agent, const struct queue_status *q, struct json_writer *w)
{
	json_put_object(w, "service");
	json_put_string(w, "url", q->service);
	json_put_string(w, "state", queue_state_name(q->state));
	put_time(w, "since", q->since_ms);
	json_put_string(w, "last_error", q->error);
	put_time(w, "last_error_at", q->error_ms);
	if (q->clock_known)
		json_put_int(w, "clock_offset_ms", q->clock_offset_ms);
	json_put_uint(w, "polls", q->polls);
	json_put_uint(w, "credit", q->credit);
	json_end_object(w);
	json_put_object(w, "certificate");
	put_time(w, "not_after", q->not_after_ms);
	put_time(w, "renew_at", q->renew_at_ms);
	json_put_uint(w, "renewals_tried", q->renewals_tried);
	json_put_uint(w, "renewals_done", q->renewals_done);
	json_put_string(w, "renewal_error", q->renewal_error);
	put_time(w, "ca_not_after", q->ca_not_after_ms);
	json_put_string(w, "expiring", expiring(agent));
	json_end_object(w);
}

void agent_status(struct agent *agent, struct buf *out)
{
	struct json_writer w = JSON_WRITER(out);
	uint64_t declined = 0, value;
	struct queue_status q;

	queue_client_status(agent->queue, &q);
	json_put_object(&w, NULL);
	json_put_string(&w, "agent", q.agent);
	json_put_string(&w, "tenant", q.tenant);
	json_put_string(&w, "group", q.group);
	json_put_string(&w, "version", PACKAGE_VERSION);
	json_put_string(&w, "instance", q.instance);
	put_time(&w, "started", agent->started_ms);
	json_put_string(&w, "log_level", log_level_name(log_level()));
	put_queue(agent, &q, &w);
	json_put_object(&w, "requests");
	json_put_uint(&w, "in_work", atomic_load(&agent->jobs));
	for (unsigned i = 0; i < REASON_CODES; i++)
		declined += metric_value(agent->declined[i]);
	json_put_uint(&w, "declined", declined);
	json_put_object(&w, "verdicts");
	for (unsigned i = 0; i < VERDICT_CODES; i++) {
		value = 0;
		for (int method = 0; method < METHODS; method++)
			value += metric_value(agent->verdicts[method][i]);
		if (value)
			json_put_uint(&w, verdict_name((enum verdict_code)i), value);
	}
	json_end_object(&w);
	json_end_object(&w);
	directories_report(agent->current, &w);
	json_end_object(&w);
}
