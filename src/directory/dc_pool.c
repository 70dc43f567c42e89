#include "directory/dc_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "directory/dc_metrics.h"

#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
#define FAIL_BACK_US (60 * 1000000ull)
#define MAX_LOSSES 3
#define FORGOTTEN_US (60 * 1000000ull) /* a slot's number may still be in somebody's hand for that long */
#define SUSPECT_PROBE_US 1000000ull

/* An answer that takes eight times as long as usual is a DC that hangs, or is about to; within limits, since a loaded one
 * pauses as well. */
#define PATIENCE_FACTOR 8
#define PATIENCE_MIN_US 400000ull
#define PATIENCE_MAX_US 2000000ull

enum dc_state { DC_UNKNOWN, DC_UP, DC_DOWN, DC_PROBING };

static const char *const state_names[] = {[DC_UNKNOWN] = "unknown", [DC_UP] = "up", [DC_DOWN] = "down", [DC_PROBING] = "probing"};

struct dc {
	struct directory_server server;
	char site[64];
	bool present;
	unsigned tier, rank;
	atomic_uint users;
	uint64_t forgotten_us; /* when it went */
	enum dc_state state;
	bool tried;			     /* while unknown: a connect was asked for */
	uint64_t suspect_us;		     /* up, but silent since then; 0: no */
	uint64_t good_us;		     /* connected or answered last */
	uint64_t trusted_at_us, retry_at_us; /* returned to from then on; probed from then on */
	struct backoff backoff;		     /* reset by an answered bind only: a DC that takes connections but answers nothing stays slow */
	unsigned losses;		     /* binds lost since the last answer */
	uint64_t binds, failures;
	uint32_t latency_us;
	char last_error[256];
	struct dc_metrics metrics;
};

struct dc_pool {
	const struct directory_conf *conf;
	pthread_mutex_t lock; /* guards what follows but the servers of held slots */
	void (*trouble)(void *arg);
	void (*changed)(void *arg);
	void *arg;
	size_t current; /* meaningless while that slot is not present */
	_Atomic size_t n;
	struct dc dcs[DC_POOL_MAX];
};

/* ---- which controllers there are; under the lock ---- */

static void fill(struct dc_pool *pool, struct dc *dc, const struct dc_candidate *candidate, const char *label)
{
	*dc = (struct dc){.server = candidate->server, .present = true, .backoff = BACKOFF_INIT(RETRY_MIN_MS, RETRY_MAX_MS)};
	dc_metrics_make(&dc->metrics, pool->conf->name, label, candidate->site);
}

static size_t find(const struct dc_pool *pool, const struct directory_server *server)
{
	for (size_t i = 0; i < pool->n; i++) {
		const struct dc *dc = &pool->dcs[i];

		if (dc->server.port == server->port && dc->server.kdc_port == server->kdc_port && strcasecmp(dc->server.host, server->host) == 0)
			return i;
	}
	return DC_POOL_MAX;
}

/* A slot for a new controller: one nobody holds or may still name, else a further one. */
static size_t find_room(struct dc_pool *pool, uint64_t now)
{
	for (size_t i = 0; i < pool->n; i++) {
		struct dc *dc = &pool->dcs[i];

		if (!dc->present && atomic_load(&dc->users) == 0 && now - dc->forgotten_us >= FORGOTTEN_US)
			return i;
	}
	return pool->n < DC_POOL_MAX ? pool->n : DC_POOL_MAX;
}

static void forget(struct dc *dc, uint64_t now)
{
	dc->present = false;
	dc->forgotten_us = now;
	dc_metrics_forget(&dc->metrics);
}

/* It begins anew where it was forgotten before. */
static void appear(struct dc_pool *pool, const struct dc_candidate *candidate, unsigned rank, uint64_t now)
{
	size_t i = find(pool, &candidate->server);
	struct dc *dc;

	if (i == DC_POOL_MAX) {
		i = find_room(pool, now);
		if (i == DC_POOL_MAX) {
			log_event(LOG_WARNING, "dc.too_many", F_STR("directory", pool->conf->name), F_STR("dc", candidate->server.host));
			return;
		}
		fill(pool, &pool->dcs[i], candidate, candidate->server.host);
		if (i == pool->n)
			pool->n++;
	}
	dc = &pool->dcs[i];
	if (!dc->present || strcmp(dc->site, candidate->site) != 0)
		dc_metrics_make(&dc->metrics, pool->conf->name, candidate->server.host, candidate->site);
	if (!dc->present) {
		dc->state = DC_UNKNOWN;
		dc->tried = false;
		dc->suspect_us = 0;
	}
	dc->present = true;
	dc->tier = candidate->tier;
	dc->rank = rank;
	memcpy(dc->site, candidate->site, sizeof(dc->site));
}

void dc_pool_update(struct dc_pool *pool, const struct dc_candidate *list, size_t n)
{
	uint64_t now = clock_mono_us();
	bool stays[DC_POOL_MAX] = {false};
	void (*changed)(void *arg);
	void *arg;

	if (n > DC_POOL_MAX)
		n = DC_POOL_MAX;
	pthread_mutex_lock(&pool->lock);
	for (size_t i = 0; i < n; i++) {
		size_t known = find(pool, &list[i].server);

		if (known < DC_POOL_MAX)
			stays[known] = true;
	}
	for (size_t i = 0; i < pool->n; i++)
		if (pool->dcs[i].present && !stays[i])
			forget(&pool->dcs[i], now);
	for (size_t i = 0; i < n; i++)
		appear(pool, &list[i], (unsigned)i, now);
	changed = pool->changed;
	arg = pool->arg;
	pthread_mutex_unlock(&pool->lock);
	if (changed)
		changed(arg);
}

int dc_pool_new(const struct directory_conf *conf, struct dc_pool **out, struct err *err)
{
	struct dc_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	pool->conf = conf;
	for (size_t i = 0; i < conf->servers.n; i++) {
		struct dc_candidate candidate = {.tier = (unsigned)i};
		int r = directory_server_parse(conf->servers.items[i], conf->tls, &candidate.server, err);

		if (r < 0) {
			free(pool);
			return r;
		}
		if (conf->kdc_port)
			candidate.server.kdc_port = conf->kdc_port;
		/* Named in metrics as it is written, so that a reloaded section goes on counting. */
		fill(pool, &pool->dcs[i], &candidate, conf->servers.items[i]);
		pool->dcs[i].tier = pool->dcs[i].rank = (unsigned)i;
	}
	pool->n = conf->servers.n;
	pthread_mutex_init(&pool->lock, NULL);
	*out = pool;
	return 0;
}

void dc_pool_free(struct dc_pool *pool)
{
	if (!pool)
		return;
	for (size_t i = 0; i < pool->n; i++)
		dc_metrics_forget(&pool->dcs[i].metrics);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void dc_pool_watch(struct dc_pool *pool, void (*trouble)(void *arg), void (*changed)(void *arg), void *arg)
{
	pthread_mutex_lock(&pool->lock);
	pool->trouble = trouble;
	pool->changed = changed;
	pool->arg = arg;
	pthread_mutex_unlock(&pool->lock);
}

static void report_trouble(struct dc_pool *pool)
{
	void (*trouble)(void *arg);
	void *arg;

	pthread_mutex_lock(&pool->lock);
	trouble = pool->trouble;
	arg = pool->arg;
	pthread_mutex_unlock(&pool->lock);
	if (trouble)
		trouble(arg);
}

size_t dc_pool_size(const struct dc_pool *pool)
{
	return pool->n;
}

bool dc_pool_present(struct dc_pool *pool, size_t dc)
{
	bool present;

	pthread_mutex_lock(&pool->lock);
	present = pool->dcs[dc].present;
	pthread_mutex_unlock(&pool->lock);
	return present;
}

const struct directory_server *dc_pool_server(const struct dc_pool *pool, size_t dc)
{
	return &pool->dcs[dc].server;
}

void dc_pool_hold(struct dc_pool *pool, size_t dc)
{
	atomic_fetch_add(&pool->dcs[dc].users, 1);
}

void dc_pool_drop(struct dc_pool *pool, size_t dc)
{
	atomic_fetch_sub(&pool->dcs[dc].users, 1);
}

/* ---- which one to use ---- */

enum dc_class { GOOD, UNTRIED, SUSPECTED, UNUSABLE };

static enum dc_class class_of(const struct dc *dc)
{
	if (!dc->present)
		return UNUSABLE;
	if (dc->state == DC_UP)
		return dc->suspect_us ? SUSPECTED : GOOD;
	return dc->state == DC_UNKNOWN ? UNTRIED : UNUSABLE;
}

static bool better(const struct dc *a, const struct dc *b)
{
	enum dc_class class_a = class_of(a), class_b = class_of(b);

	if (class_a != class_b)
		return class_a < class_b;
	return a->tier != b->tier ? a->tier < b->tier : a->rank < b->rank;
}

static size_t best(const struct dc_pool *pool, uint64_t without)
{
	size_t found = DC_POOL_MAX;

	for (size_t i = 0; i < pool->n; i++)
		if (!(without >> i & 1) && class_of(&pool->dcs[i]) != UNUSABLE && (found == DC_POOL_MAX || better(&pool->dcs[i], &pool->dcs[found])))
			found = i;
	return found;
}

/* The one in use is good: is there one of a better tier that has proved to stay? */
static size_t returned_to(const struct dc_pool *pool, uint64_t now)
{
	size_t found = pool->current;

	for (size_t i = 0; i < pool->n; i++) {
		const struct dc *dc = &pool->dcs[i];

		if (class_of(dc) == GOOD && dc->tier < pool->dcs[found].tier && dc->trusted_at_us <= now)
			found = i;
	}
	return found;
}

int dc_pool_pick(struct dc_pool *pool, size_t *dc)
{
	size_t found;

	pthread_mutex_lock(&pool->lock);
	if (class_of(&pool->dcs[pool->current]) == GOOD)
		/* Mostly the best one: then no clock is read. */
		found = pool->dcs[pool->current].tier == 0 ? pool->current : returned_to(pool, clock_mono_us());
	else
		found = best(pool, 0);
	if (found < DC_POOL_MAX)
		pool->current = *dc = found;
	pthread_mutex_unlock(&pool->lock);
	if (found < DC_POOL_MAX)
		return 0;
	report_trouble(pool);
	return -PTA_ENODC;
}

int dc_pool_pick_other(struct dc_pool *pool, uint64_t tried, size_t *dc)
{
	size_t found;

	pthread_mutex_lock(&pool->lock);
	found = best(pool, tried);
	pthread_mutex_unlock(&pool->lock);
	if (found == DC_POOL_MAX)
		return -PTA_ENODC;
	*dc = found;
	return 0;
}

/* ---- what happened ---- */

bool dc_pool_connected(struct dc_pool *pool, size_t index)
{
	struct dc *dc = &pool->dcs[index];
	uint64_t now = clock_mono_us();
	enum dc_state before;
	bool good;

	pthread_mutex_lock(&pool->lock);
	dc_metrics_connected(&dc->metrics, true);
	dc->good_us = now;
	before = dc->state;
	/* What was under way when the breaker opened does not close it: the probe will. */
	if (before == DC_UNKNOWN || before == DC_PROBING) {
		dc->state = DC_UP;
		dc->trusted_at_us = before == DC_UNKNOWN ? now : now + FAIL_BACK_US;
		dc->losses = 0;
		dc->suspect_us = 0;
		dc_metrics_up(&dc->metrics, true);
	}
	/* Nothing that it owed an answer is left. */
	if (dc->suspect_us && now - dc->suspect_us > pool->conf->bind_timeout * 1000ull)
		dc->suspect_us = 0;
	good = class_of(dc) == GOOD;
	pthread_mutex_unlock(&pool->lock);
	if (before == DC_UNKNOWN || before == DC_PROBING)
		log_event(LOG_INFO, "dc.up", F_STR("directory", pool->conf->name), F_STR("dc", dc->server.host), F_UINT("port", dc->server.port));
	return good;
}

/* Under the lock. Returns whether the breaker was closed until now; *wait_ms is the time to the probe. */
static bool open_breaker(struct dc *dc, uint32_t *wait_ms)
{
	bool was_closed = dc->state == DC_UP || dc->state == DC_UNKNOWN;

	/* Further failures of what was under way when it opened say nothing new. */
	if (dc->state == DC_DOWN)
		return false;
	*wait_ms = backoff_next_ms(&dc->backoff);
	dc->state = DC_DOWN;
	dc->suspect_us = 0;
	dc_metrics_up(&dc->metrics, false);
	dc->retry_at_us = clock_mono_us() + *wait_ms * 1000ull;
	return was_closed;
}

static void count_failure(struct dc *dc, const char *err_text)
{
	dc->failures++;
	snprintf(dc->last_error, sizeof(dc->last_error), "%s", err_text);
}

static void tell_down(struct dc_pool *pool, const struct dc *dc, uint32_t wait_ms, const char *err_text)
{
	log_event(LOG_WARNING, "dc.down", F_STR("directory", pool->conf->name), F_STR("dc", dc->server.host), F_UINT("port", dc->server.port),
		F_STR("error", err_text), F_MS("retry_in", wait_ms * 1000ull));
	report_trouble(pool);
}

void dc_pool_connect_failed(struct dc_pool *pool, size_t index, unsigned living_connections, const char *err_text)
{
	struct dc *dc = &pool->dcs[index];
	uint32_t wait_ms = 0;
	bool opened = false;

	pthread_mutex_lock(&pool->lock);
	dc_metrics_connected(&dc->metrics, false);
	count_failure(dc, err_text);
	/* Where connections live and are answered on, it may be a limit of theirs. */
	if (living_connections == 0 || dc->state != DC_UP || dc->suspect_us)
		opened = open_breaker(dc, &wait_ms);
	pthread_mutex_unlock(&pool->lock);
	if (opened)
		tell_down(pool, dc, wait_ms, err_text);
}

void dc_pool_bound(struct dc_pool *pool, size_t index, enum dc_outcome outcome, uint64_t took_us, const char *err_text)
{
	struct dc *dc = &pool->dcs[index];
	uint32_t wait_ms = 0;
	bool opened = false;

	pthread_mutex_lock(&pool->lock);
	dc_metrics_bound(&dc->metrics, outcome, took_us);
	dc->binds++;
	if (outcome == DC_ANSWERED) {
		uint32_t took = took_us < UINT32_MAX ? (uint32_t)took_us : UINT32_MAX;

		backoff_reset(&dc->backoff);
		dc->losses = 0;
		dc->good_us = clock_mono_us();
		dc->latency_us = dc->latency_us ? dc->latency_us - dc->latency_us / 8 + took / 8 : took;
		if (dc->suspect_us) {
			dc->suspect_us = 0;
			dc->trusted_at_us = clock_mono_us() + FAIL_BACK_US;
		}
	} else {
		count_failure(dc, err_text);
		/* A lost connection alone may be a restart or an idle limit: the next connect tells, or the third loss. */
		if (outcome != DC_LOST || ++dc->losses >= MAX_LOSSES)
			opened = open_breaker(dc, &wait_ms);
	}
	pthread_mutex_unlock(&pool->lock);
	if (opened)
		tell_down(pool, dc, wait_ms, err_text);
}

bool dc_pool_good_since(struct dc_pool *pool, size_t dc, uint64_t since_us)
{
	bool good;

	pthread_mutex_lock(&pool->lock);
	good = pool->dcs[dc].good_us >= since_us;
	pthread_mutex_unlock(&pool->lock);
	return good;
}

uint64_t dc_pool_patience_us(struct dc_pool *pool, size_t dc)
{
	uint64_t patience;

	pthread_mutex_lock(&pool->lock);
	patience = PATIENCE_FACTOR * (uint64_t)pool->dcs[dc].latency_us;
	pthread_mutex_unlock(&pool->lock);
	if (patience < PATIENCE_MIN_US)
		return PATIENCE_MIN_US;
	return patience < PATIENCE_MAX_US ? patience : PATIENCE_MAX_US;
}

bool dc_pool_suspect(struct dc_pool *pool, size_t index)
{
	struct dc *dc = &pool->dcs[index];
	uint64_t now = clock_mono_us();
	bool fresh;

	pthread_mutex_lock(&pool->lock);
	fresh = dc->state == DC_UP && !dc->suspect_us;
	if (fresh)
		dc->suspect_us = dc->retry_at_us = now;
	pthread_mutex_unlock(&pool->lock);
	if (fresh)
		log_event(LOG_NOTICE, "dc.suspect", F_STR("directory", pool->conf->name), F_STR("dc", dc->server.host), F_UINT("port", dc->server.port),
			F_STR("error", "no answer for much longer than usual"));
	return fresh;
}

int dc_pool_probe(struct dc_pool *pool, size_t *index, uint64_t *wait_ms)
{
	uint64_t now = clock_mono_us(), next = UINT64_MAX;
	int r = -PTA_ENOENT;

	pthread_mutex_lock(&pool->lock);
	for (size_t i = 0; i < pool->n && r < 0; i++) {
		struct dc *dc = &pool->dcs[i];

		if (!dc->present || dc->state == DC_PROBING || (dc->state == DC_UP && !dc->suspect_us) || (dc->state == DC_UNKNOWN && dc->tried))
			continue;
		if (dc->state != DC_UNKNOWN && dc->retry_at_us > now) {
			next = dc->retry_at_us < next ? dc->retry_at_us : next;
			continue;
		}
		dc->tried = true;
		if (dc->state == DC_DOWN)
			dc->state = DC_PROBING;
		dc->retry_at_us = now + SUSPECT_PROBE_US;
		*index = i;
		r = 0;
	}
	pthread_mutex_unlock(&pool->lock);
	*wait_ms = next == UINT64_MAX ? 0 : (next - now) / 1000 + 1;
	return r;
}

bool dc_pool_report(struct dc_pool *pool, size_t index, struct dc_report *out)
{
	struct dc *dc = &pool->dcs[index];
	uint64_t now = clock_mono_us();
	bool present;

	pthread_mutex_lock(&pool->lock);
	present = dc->present;
	memcpy(out->host, dc->server.host, sizeof(out->host));
	memcpy(out->site, dc->site, sizeof(out->site));
	out->port = dc->server.port;
	out->in_use = present && pool->current == index;
	out->state = dc->suspect_us ? "suspect" : state_names[dc->state];
	out->binds = dc->binds;
	out->failures = dc->failures;
	out->latency_us = dc->latency_us;
	out->retry_in_ms = dc->state == DC_DOWN && dc->retry_at_us > now ? (dc->retry_at_us - now) / 1000 : 0;
	memcpy(out->last_error, dc->last_error, sizeof(out->last_error));
	pthread_mutex_unlock(&pool->lock);
	return present;
}
