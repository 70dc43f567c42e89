#include "directory/dc_pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
#define FAIL_BACK_US (60 * 1000000ull)
#define MAX_LOSSES 3

enum dc_state { DC_UNKNOWN, DC_UP, DC_DOWN, DC_PROBING };

static const char *const state_names[] = {[DC_UNKNOWN] = "unknown", [DC_UP] = "up", [DC_DOWN] = "down", [DC_PROBING] = "probing"};

struct dc {
	struct directory_server server;
	enum dc_state state;
	uint64_t up_since_us, retry_at_us;
	struct backoff backoff; /* reset by an answered bind only: a DC that takes connections but answers nothing stays slow */
	unsigned losses;	/* binds lost since the last answer */
	uint64_t binds, failures;
	uint32_t latency_us;
	char last_error[256];
	struct metric_series *up, *connected, *connect_failed, *seconds, *outcomes[DC_OUTCOMES];
};

struct dc_pool {
	const struct directory_conf *conf;
	pthread_mutex_t lock; /* guards what follows but the servers */
	size_t current;
	size_t n;
	struct dc dcs[];
};

/* Named by the section and the server as it is written there, so that a reloaded section goes on counting. */
static void make_metrics(struct dc *dc, const char *directory, const char *server)
{
	static const char *const labels[] = {"directory", "dc", NULL}, *const with_outcome[] = {"directory", "dc", "outcome", NULL};
	static const char *const outcomes[] = {[DC_ANSWERED] = "answered", [DC_LOST] = "lost", [DC_TIMED_OUT] = "timed_out", [DC_BUSY] = "busy"};
	struct metric *connects =
		metric_new(METRIC_COUNTER, "pta_directory_connects_total", "Connections made to domain controllers, TLS included", with_outcome);
	struct metric *binds = metric_new(METRIC_COUNTER, "pta_directory_binds_total", "Binds sent to domain controllers, by how they ended", with_outcome);

	dc->up = metric_at(metric_new(METRIC_GAUGE, "pta_directory_dc_up", "1 while the domain controller's breaker is closed", labels),
		(const char *[]){directory, server});
	dc->seconds = metric_at(
		metric_new(METRIC_HISTOGRAM, "pta_directory_bind_seconds", "From sending a bind to its answer", labels), (const char *[]){directory, server});
	dc->connected = metric_at(connects, (const char *[]){directory, server, "connected"});
	dc->connect_failed = metric_at(connects, (const char *[]){directory, server, "failed"});
	for (int i = 0; i < DC_OUTCOMES; i++)
		dc->outcomes[i] = metric_at(binds, (const char *[]){directory, server, outcomes[i]});
}

int dc_pool_new(const struct directory_conf *conf, struct dc_pool **out, struct err *err)
{
	struct dc_pool *pool = calloc(1, sizeof(*pool) + conf->servers.n * sizeof(pool->dcs[0]));

	if (!pool)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	pool->conf = conf;
	pool->n = conf->servers.n;
	for (size_t i = 0; i < pool->n; i++) {
		int r = directory_server_parse(conf->servers.items[i], conf->tls, &pool->dcs[i].server, err);

		if (r < 0) {
			free(pool);
			return r;
		}
		pool->dcs[i].backoff = BACKOFF_INIT(RETRY_MIN_MS, RETRY_MAX_MS);
		make_metrics(&pool->dcs[i], conf->name, conf->servers.items[i]);
	}
	pthread_mutex_init(&pool->lock, NULL);
	*out = pool;
	return 0;
}

void dc_pool_free(struct dc_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

size_t dc_pool_size(const struct dc_pool *pool)
{
	return pool->n;
}

const struct directory_server *dc_pool_server(const struct dc_pool *pool, size_t dc)
{
	return &pool->dcs[dc].server;
}

static bool usable(const struct dc *dc)
{
	return dc->state == DC_UP || dc->state == DC_UNKNOWN;
}

int dc_pool_pick(struct dc_pool *pool, size_t *dc)
{
	size_t found = pool->n, current;

	pthread_mutex_lock(&pool->lock);
	current = pool->current;
	/* Back to a better one, once it has proved to stay. */
	for (size_t i = 0; i < current && found == pool->n; i++)
		if (pool->dcs[i].state == DC_UP && clock_mono_us() - pool->dcs[i].up_since_us >= FAIL_BACK_US)
			found = i;
	if (found == pool->n && usable(&pool->dcs[current]))
		found = current;
	for (size_t i = 0; i < pool->n && found == pool->n; i++)
		if (pool->dcs[i].state == DC_UP)
			found = i;
	for (size_t i = 0; i < pool->n && found == pool->n; i++)
		if (pool->dcs[i].state == DC_UNKNOWN)
			found = i;
	if (found < pool->n)
		pool->current = *dc = found;
	pthread_mutex_unlock(&pool->lock);
	return found < pool->n ? 0 : -PTA_ENODC;
}

void dc_pool_connected(struct dc_pool *pool, size_t index)
{
	struct dc *dc = &pool->dcs[index];
	enum dc_state before;

	metric_add(dc->connected, 1);
	pthread_mutex_lock(&pool->lock);
	before = dc->state;
	/* What was under way when the breaker opened does not close it: the probe will. */
	if (before == DC_UNKNOWN || before == DC_PROBING) {
		dc->state = DC_UP;
		dc->up_since_us = clock_mono_us();
		dc->losses = 0;
		metric_set(dc->up, 1);
	}
	pthread_mutex_unlock(&pool->lock);
	if (before == DC_UNKNOWN || before == DC_PROBING)
		log_event(LOG_INFO, "dc.up", F_STR("directory", pool->conf->name), F_STR("dc", dc->server.host), F_UINT("port", dc->server.port));
}

/* Under the lock. Returns whether the breaker was closed until now; *wait_ms is the time to the probe. */
static bool open_breaker(struct dc *dc, uint32_t *wait_ms)
{
	bool was_closed = usable(dc);

	/* Further failures of what was under way when it opened say nothing new. */
	if (dc->state == DC_DOWN)
		return false;
	*wait_ms = backoff_next_ms(&dc->backoff);
	dc->state = DC_DOWN;
	metric_set(dc->up, 0);
	dc->retry_at_us = clock_mono_us() + *wait_ms * 1000ull;
	return was_closed;
}

static void count_failure(struct dc *dc, const char *err_text)
{
	dc->failures++;
	snprintf(dc->last_error, sizeof(dc->last_error), "%s", err_text);
}

static void log_down(const struct dc_pool *pool, const struct dc *dc, uint32_t wait_ms, const char *err_text)
{
	log_event(LOG_WARNING, "dc.down", F_STR("directory", pool->conf->name), F_STR("dc", dc->server.host), F_UINT("port", dc->server.port),
		F_STR("error", err_text), F_MS("retry_in", wait_ms * 1000ull));
}

void dc_pool_connect_failed(struct dc_pool *pool, size_t index, unsigned living_connections, const char *err_text)
{
	struct dc *dc = &pool->dcs[index];
	uint32_t wait_ms = 0;
	bool opened = false;

	metric_add(dc->connect_failed, 1);
	pthread_mutex_lock(&pool->lock);
	count_failure(dc, err_text);
	/* A server may just be out of connections: those that live go on. */
	if (living_connections == 0 || dc->state == DC_PROBING)
		opened = open_breaker(dc, &wait_ms);
	pthread_mutex_unlock(&pool->lock);
	if (opened)
		log_down(pool, dc, wait_ms, err_text);
}

void dc_pool_bound(struct dc_pool *pool, size_t index, enum dc_outcome outcome, uint64_t took_us, const char *err_text)
{
	struct dc *dc = &pool->dcs[index];
	uint32_t wait_ms = 0;
	bool opened = false;

	metric_add(dc->outcomes[outcome], 1);
	if (outcome == DC_ANSWERED)
		metric_observe_us(dc->seconds, took_us);
	pthread_mutex_lock(&pool->lock);
	dc->binds++;
	if (outcome == DC_ANSWERED) {
		uint32_t took = took_us < UINT32_MAX ? (uint32_t)took_us : UINT32_MAX;

		backoff_reset(&dc->backoff);
		dc->losses = 0;
		dc->latency_us = dc->latency_us ? dc->latency_us - dc->latency_us / 8 + took / 8 : took;
	} else {
		count_failure(dc, err_text);
		/* A lost connection alone may be a restart or an idle limit: the next connect tells, or the third loss. */
		if (outcome != DC_LOST || ++dc->losses >= MAX_LOSSES)
			opened = open_breaker(dc, &wait_ms);
	}
	pthread_mutex_unlock(&pool->lock);
	if (opened)
		log_down(pool, dc, wait_ms, err_text);
}

int dc_pool_probe(struct dc_pool *pool, size_t *index, uint64_t *wait_ms)
{
	uint64_t now = clock_mono_us(), next = UINT64_MAX;
	int r = -PTA_ENOENT;

	pthread_mutex_lock(&pool->lock);
	for (size_t i = 0; i < pool->n && r < 0; i++) {
		struct dc *dc = &pool->dcs[i];

		if (dc->state != DC_DOWN)
			continue;
		if (dc->retry_at_us <= now) {
			dc->state = DC_PROBING;
			*index = i;
			r = 0;
		} else if (dc->retry_at_us < next) {
			next = dc->retry_at_us;
		}
	}
	pthread_mutex_unlock(&pool->lock);
	*wait_ms = next == UINT64_MAX ? 0 : (next - now) / 1000 + 1;
	return r;
}

void dc_pool_report(struct dc_pool *pool, size_t index, struct dc_report *out)
{
	struct dc *dc = &pool->dcs[index];
	uint64_t now = clock_mono_us();

	pthread_mutex_lock(&pool->lock);
	memcpy(out->host, dc->server.host, sizeof(out->host));
	out->port = dc->server.port;
	out->state = state_names[dc->state];
	out->binds = dc->binds;
	out->failures = dc->failures;
	out->latency_us = dc->latency_us;
	out->retry_in_ms = dc->state == DC_DOWN && dc->retry_at_us > now ? (dc->retry_at_us - now) / 1000 : 0;
	memcpy(out->last_error, dc->last_error, sizeof(out->last_error));
	pthread_mutex_unlock(&pool->lock);
}
