#include "service/service_metrics.h"

#include <pthread.h>
#include <string.h>

#include "base/metrics.h"
#include "base/secret.h"

static struct metric_series *verdicts[VERDICT_CODES], *reasons[REASON_CODES];
static struct metric_series *signin_seconds, *unauthorized, *certificate_refused, *batches, *batched;
static struct metric_series *queue_seconds, *expires[CERTIFICATE_KINDS];
static struct metric *refused, *expiry;
static struct metric_series *submitted, *handouts, *rehandouts, *lost;
static struct metric_series *waiting, *handed, *polls, *agents_online, *secret_memory;

static struct metric_series *single(enum metric_type type, const char *name, const char *help)
{
	return metric_at(metric_new(type, name, help, NULL), NULL);
}

void service_metrics_init(void)
{
	static const char *const verdict_labels[] = {"verdict", NULL}, *const reason_labels[] = {"reason", NULL}, *const what_labels[] = {"what", NULL},
				 *const version_labels[] = {"version", NULL};
	struct metric *m = metric_new(METRIC_COUNTER, "pta_service_signins_total", "Sign-ins answered, by verdict.", verdict_labels);

	for (int i = 0; i < VERDICT_CODES; i++)
		verdicts[i] = metric_at(m, (const char *const[]){verdict_name((enum verdict_code)i), NULL});
	m = metric_new(METRIC_COUNTER, "pta_service_unavailable_total", "Sign-ins answered unavailable, by reason.", reason_labels);
	for (int i = 0; i < REASON_CODES; i++)
		reasons[i] = metric_at(m, (const char *const[]){verdict_reason_name((enum verdict_reason)i), NULL});
	refused = metric_new(METRIC_COUNTER, "pta_service_results_refused_total", "Results of agents that were not taken, by reason.", reason_labels);

	signin_seconds = single(METRIC_HISTOGRAM, "pta_service_signin_seconds", "From a sign-in to its answer.");
	queue_seconds = single(METRIC_HISTOGRAM, "pta_service_queue_seconds", "From a request's submission to its (last) hand-out to an agent.");
	unauthorized = single(METRIC_COUNTER, "pta_service_unauthorized_total", "Sign-ins without a valid API key.");
	certificate_refused = single(METRIC_COUNTER, "pta_service_certificates_refused_total", "Requests of agents refused for their certificate.");
	batches = single(METRIC_COUNTER, "pta_service_batches_total", "Polls answered with requests.");
	batched = single(METRIC_COUNTER, "pta_service_batched_requests_total", "Requests in those answers.");
	submitted = single(METRIC_COUNTER, "pta_service_submitted_total", "Requests sealed and queued.");
	handouts = single(METRIC_COUNTER, "pta_service_handouts_total", "Requests handed to an agent.");
	rehandouts = single(METRIC_COUNTER, "pta_service_rehandouts_total", "Requests that went on to another hand-out.");
	lost = single(METRIC_COUNTER, "pta_service_agent_lost_total", "Handed requests whose agent was lost.");
	waiting = single(METRIC_GAUGE, "pta_service_requests_waiting", "Requests that wait for an agent.");
	handed = single(METRIC_GAUGE, "pta_service_requests_handed", "Requests that an agent works on.");
	polls = single(METRIC_GAUGE, "pta_service_polls_parked", "Polls of agents that wait for requests.");
	agents_online = single(METRIC_GAUGE, "pta_service_agents_online", "Agents that are online.");
	secret_memory = single(METRIC_GAUGE, "pta_service_secret_bytes", "Bytes in use of the locked memory for passwords.");
	expiry = metric_new(METRIC_GAUGE, "pta_service_certificate_expiry_timestamp_seconds",
		"When a certificate expires; agents: the next of those that are enabled.", what_labels);
	m = metric_new(METRIC_GAUGE, "pta_service_build_info", "1, with the version.", version_labels);
	metric_set(metric_at(m, (const char *const[]){PACKAGE_VERSION, NULL}), 1);
}

void service_metrics_verdict(const struct verdict *verdict, uint64_t took_us)
{
	metric_add(verdicts[verdict->code], 1);
	if (verdict->code == VERDICT_UNAVAILABLE)
		metric_add(reasons[verdict->reason], 1);
	metric_observe_us(signin_seconds, took_us);
}

void service_metrics_waited(uint64_t waited_us)
{
	metric_observe_us(queue_seconds, waited_us);
}

void service_metrics_unauthorized(void)
{
	metric_add(unauthorized, 1);
}

void service_metrics_result_refused(const char *why)
{
	metric_add(metric_at(refused, (const char *const[]){why, NULL}), 1);
}

void service_metrics_certificate_refused(void)
{
	metric_add(certificate_refused, 1);
}

void service_metrics_batch(unsigned requests)
{
	metric_add(batches, 1);
	metric_add(batched, requests);
}

/* The dispatcher counts by itself; the difference to what was rendered before goes to the counter. */
static void raise_to(struct metric_series *counter, uint64_t value)
{
	uint64_t now = metric_value(counter);

	if (value > now)
		metric_add(counter, value - now);
}

/* Without an agent there is no series: one of zero would read as expired. */
static void put_certificates(const struct certificates *certificates)
{
	for (int i = 0; i < CERTIFICATE_KINDS; i++) {
		const char *const labels[] = {certificate_names[i], NULL};

		if (certificates->of[i].until_ms && !expires[i])
			expires[i] = metric_at(expiry, labels);
		if (certificates->of[i].until_ms)
			metric_set(expires[i], (int64_t)(certificates->of[i].until_ms / 1000));
		else if (expires[i]) {
			metric_forget(expiry, labels);
			expires[i] = NULL;
		}
	}
}

void service_metrics_render(struct dispatch *dispatch, const struct certificates *certificates, struct buf *out)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the raising and expires[]: two renderers would count twice */
	struct dispatch_counts counts;

	pthread_mutex_lock(&lock);
	dispatch_count(dispatch, &counts);
	raise_to(submitted, counts.submitted);
	raise_to(handouts, counts.handouts);
	raise_to(rehandouts, counts.rehandouts);
	raise_to(lost, counts.lost);
	put_certificates(certificates);
	pthread_mutex_unlock(&lock);
	metric_set(waiting, counts.waiting);
	metric_set(handed, counts.handed);
	metric_set(polls, counts.polls);
	metric_set(agents_online, counts.agents_online);
	metric_set(secret_memory, (int64_t)secret_arena_used());
	metrics_render(out);
}
