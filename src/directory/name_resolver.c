#include "directory/name_resolver.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/workpool.h"
#include "directory/name_cache.h"
#include "directory/name_filter.h"
#include "directory/name_lookup.h"

#define MIN_THREADS 2
#define MAX_THREADS 4
#define THREADS_FROM 8		   /* connections to a server, from which on there are more threads */
#define IDLE_US (300 * 1000000ull) /* AD closes after 900 s */
/* A controller that failed is not asked first for so long. Its breaker is the pool's; this is about searches and catalogs. */
#define AVOID_US (30 * 1000000ull)
/* A connect that had less time than this says nothing about the controller when it times out. */
#define FAIR_CONNECT_US 1000000ull

enum outcome { FOUND, REMEMBERED, NONE, AMBIGUOUS, FAILED, OUTCOMES };

struct name_resolver {
	const struct directory_conf *conf;
	struct dc_pool *pool;
	name_resolved done;
	void *arg;
	struct name_lookup *lookup;
	struct name_cache *cache;
	struct workpool *workers;
	unsigned nworkers;
	atomic_bool closing;
	struct metric_series *outcomes[OUTCOMES], *seconds;
	pthread_mutex_t lock;		     /* guards what follows */
	struct name_link *idle[MAX_THREADS]; /* the last one was used last */
	unsigned nidle;
	unsigned living[DC_POOL_MAX]; /* connections, idle or not */
	uint64_t avoid_until_us[DC_POOL_MAX];
};

/* One job on its way. */
struct request {
	struct work work;
	struct name_resolver *resolver;
	struct job *job;
	uint64_t started_us, until_us; /* the rest of the job's time is for its validation */
};

/* What is known about why there is no answer yet. */
struct failure {
	enum verdict_reason reason;
	char dc[LIMIT_DOMAIN + 1];
	struct err err;
};

/* ---- connections ---- */

static void close_link(struct name_resolver *resolver, struct name_link *link)
{
	size_t dc;

	if (!link)
		return;
	dc = link->dc;
	name_link_close(link);
	pthread_mutex_lock(&resolver->lock);
	resolver->living[dc]--;
	pthread_mutex_unlock(&resolver->lock);
	dc_pool_drop(resolver->pool, dc);
}

/* Under the lock. */
static struct name_link *take_at(struct name_resolver *resolver, unsigned i)
{
	struct name_link *link = resolver->idle[i];

	resolver->nidle--;
	memmove(&resolver->idle[i], &resolver->idle[i + 1], (resolver->nidle - i) * sizeof(resolver->idle[0]));
	return link;
}

/* One to this controller, or NULL. Those that are too old, or whose controller is gone, are closed on the way. */
static struct name_link *take_idle(struct name_resolver *resolver, size_t dc)
{
	struct name_link *found = NULL, *old[MAX_THREADS];
	uint64_t now = clock_mono_us();
	unsigned nold = 0;

	pthread_mutex_lock(&resolver->lock);
	for (unsigned i = resolver->nidle; i-- > 0;) {
		const struct name_link *link = resolver->idle[i];

		if (now - link->used_us >= IDLE_US || !dc_pool_present(resolver->pool, link->dc) || !name_link_alive(link))
			old[nold++] = take_at(resolver, i);
		else if (!found && link->dc == dc)
			found = take_at(resolver, i);
	}
	pthread_mutex_unlock(&resolver->lock);
	for (unsigned i = 0; i < nold; i++)
		close_link(resolver, old[i]);
	return found;
}

static void put_idle(struct name_resolver *resolver, struct name_link *link)
{
	struct name_link *excess = NULL;

	if (!name_link_alive(link)) {
		close_link(resolver, link);
		return;
	}
	link->used_us = clock_mono_us();
	pthread_mutex_lock(&resolver->lock);
	if (resolver->nidle == resolver->nworkers)
		excess = take_at(resolver, 0);
	resolver->idle[resolver->nidle++] = link;
	pthread_mutex_unlock(&resolver->lock);
	close_link(resolver, excess);
}

/* The pool hears of connections to what its controllers are used for: not of the catalog's port, which not each has, and not
 * of LDAP where passwords go to the KDC. */
static bool concerns_pool(const struct directory_conf *conf)
{
	return !conf->global_catalog && conf->method != DIRECTORY_KERBEROS;
}

static void report_connect(struct name_resolver *resolver, size_t dc, int r, bool connected, bool probing, uint64_t given_us, const char *text)
{
	unsigned living;

	if (!concerns_pool(resolver->conf))
		return;
	if (connected) {
		dc_pool_connected(resolver->pool, dc);
		return;
	}
	/* Only what the controller is to blame for; but a probe has to be answered. */
	if (!probing && r != -PTA_ENET && r != -PTA_ETLS && (r != -PTA_ETIMEDOUT || given_us < FAIR_CONNECT_US))
		return;
	pthread_mutex_lock(&resolver->lock);
	living = resolver->living[dc];
	pthread_mutex_unlock(&resolver->lock);
	dc_pool_connect_failed(resolver->pool, dc, living, text);
}

static int open_link(struct name_resolver *resolver, size_t dc, bool probing, uint64_t deadline_us, struct name_link **out, bool *connected, struct err *err)
{
	uint64_t now = clock_mono_us(), connect_us = resolver->conf->connect_timeout * 1000ull;
	struct name_link *link = NULL;
	int r;

	if (now + connect_us > deadline_us)
		connect_us = deadline_us > now ? deadline_us - now : 0;
	r = name_link_open(resolver->lookup, dc_pool_server(resolver->pool, dc), now + connect_us, deadline_us, &link, connected, err);
	report_connect(resolver, dc, r, *connected, probing, connect_us, r < 0 ? err->text : "");
	if (r < 0)
		return r;
	link->dc = dc;
	dc_pool_hold(resolver->pool, dc);
	pthread_mutex_lock(&resolver->lock);
	resolver->living[dc]++;
	pthread_mutex_unlock(&resolver->lock);
	*out = link;
	return 0;
}

/* ---- one controller ---- */

/* A definite answer about the name. */
static bool answered(int r)
{
	return r == 0 || r == -PTA_ENOENT || r == -PTA_EEXIST;
}

static enum verdict_reason reason_of(int r, bool connected)
{
	if (r == -PTA_ETIMEDOUT && connected)
		return REASON_TIMEOUT;
	if (r == -PTA_ENET || r == -PTA_ETIMEDOUT || r == -PTA_ETLS || r == -PTA_EBUSY)
		return REASON_DIRECTORY_UNREACHABLE;
	return REASON_AGENT_ERROR;
}

/* What went wrong on a connection that lay idle may be the connection's: a firewall has forgotten it, the server has, or the
 * ticket that it was bound with is over. Half of the time is left for a fresh one, once. */
static int ask_again(struct name_resolver *resolver, const struct request *request, struct name_link *link, uint64_t deadline_us, struct name_found *found,
	struct failure *failure)
{
	uint64_t now = clock_mono_us(), half_us = deadline_us > now ? now + (deadline_us - now) / 2 : now;
	int r = name_link_look(resolver->lookup, link, &request->job->credential, half_us, found, &failure->err);

	if (answered(r))
		put_idle(resolver, link);
	else
		close_link(resolver, link);
	return r;
}

static int ask(struct name_resolver *resolver, const struct request *request, size_t dc, bool probing, uint64_t deadline_us, struct name_found *found,
	struct failure *failure)
{
	/* A probe is a connect. */
	struct name_link *link = probing ? NULL : take_idle(resolver, dc);
	bool connected = false;
	int r;

	if (link) {
		r = ask_again(resolver, request, link, deadline_us, found, failure);
		if (answered(r))
			return r;
		link = NULL;
	}
	r = open_link(resolver, dc, probing, deadline_us, &link, &connected, &failure->err);
	if (r == 0)
		r = name_link_look(resolver->lookup, link, &request->job->credential, deadline_us, found, &failure->err);
	if (answered(r))
		put_idle(resolver, link);
	else
		close_link(resolver, link);
	if (!answered(r))
		failure->reason = reason_of(r, connected);
	return r;
}

/* ---- the pool ---- */

static uint64_t avoided(struct name_resolver *resolver)
{
	uint64_t now = clock_mono_us(), bits = 0;

	pthread_mutex_lock(&resolver->lock);
	for (size_t i = 0; i < DC_POOL_MAX; i++)
		if (resolver->avoid_until_us[i] > now)
			bits |= 1ull << i;
	pthread_mutex_unlock(&resolver->lock);
	return bits;
}

static void avoid(struct name_resolver *resolver, size_t dc, bool really)
{
	pthread_mutex_lock(&resolver->lock);
	resolver->avoid_until_us[dc] = really ? clock_mono_us() + AVOID_US : 0;
	pthread_mutex_unlock(&resolver->lock);
}

/* The pool's choice, another where that one failed lately, else one of those. With every breaker open, one that may be probed
 * now, since no password is at stake; but LDAP alone shows only for `simple` that a controller is well. */
static int pick(struct name_resolver *resolver, uint64_t tried, size_t *dc, bool *probing)
{
	uint64_t avoid_bits = avoided(resolver), wait_ms;

	*probing = false;
	if (tried == 0 && dc_pool_pick(resolver->pool, dc) == 0 && !(avoid_bits >> *dc & 1))
		return 0;
	if (dc_pool_pick_other(resolver->pool, tried | avoid_bits, dc) == 0 || dc_pool_pick_other(resolver->pool, tried, dc) == 0)
		return 0;
	if (tried || resolver->conf->global_catalog || resolver->conf->method != DIRECTORY_SIMPLE || name_lookup_paused(resolver->lookup, NULL) < 0 ||
		dc_pool_probe(resolver->pool, dc, &wait_ms) < 0)
		return -PTA_ENODC;
	*probing = true;
	return 0;
}

static bool has_other(struct name_resolver *resolver, uint64_t tried, size_t dc)
{
	size_t other;

	return dc_pool_pick_other(resolver->pool, tried | 1ull << dc, &other) == 0;
}

static void log_failed(const struct name_resolver *resolver, const struct request *request, int r, const struct failure *failure)
{
	/* That is logged where it happens, and not for each job that meets it. */
	if (r != -PTA_EPERM)
		log_event(LOG_WARNING, "name.failed", F_STR("request", request->job->id), F_STR("directory", resolver->conf->name), F_STR("dc", failure->dc),
			F_STR("error", failure->err.text));
}

/* 0, -PTA_ENOENT, -PTA_EEXIST, or another error: then *failure tells the last one. */
static int resolve(struct name_resolver *resolver, const struct request *request, struct name_found *found, struct failure *failure)
{
	uint64_t tried = 0, now;
	int r = -PTA_ENODC;

	while ((now = clock_mono_us()) < request->until_us) {
		uint64_t deadline_us = request->until_us;
		bool probing;
		size_t dc;

		if (pick(resolver, tried, &dc, &probing) < 0)
			return r;
		dc_pool_hold(resolver->pool, dc);
		if (has_other(resolver, tried, dc))
			deadline_us = now + (request->until_us - now) / 2;
		snprintf(failure->dc, sizeof(failure->dc), "%s", dc_pool_server(resolver->pool, dc)->host);
		r = ask(resolver, request, dc, probing, deadline_us, found, failure);
		dc_pool_drop(resolver->pool, dc);
		if (answered(r) || r == -PTA_EPERM || r == -PTA_ETOOBIG) {
			if (answered(r))
				avoid(resolver, dc, false);
			else
				log_failed(resolver, request, r, failure);
			return r;
		}
		log_failed(resolver, request, r, failure);
		avoid(resolver, dc, true);
		tried |= 1ull << dc;
	}
	if (tried == 0) {
		failure->reason = REASON_TIMEOUT;
		r = err_set(&failure->err, -PTA_ETIMEDOUT, "no time was left to look the name up");
	}
	return r;
}

/* ---- jobs ---- */

static void count(struct name_resolver *resolver, enum outcome outcome)
{
	metric_add(resolver->outcomes[outcome], 1);
}

static void end_unavailable(struct name_resolver *resolver, struct job *job, const struct failure *failure, int r)
{
	struct verdict verdict = verdict_unavailable(failure->reason, false);

	count(resolver, FAILED);
	memcpy(verdict.dc, failure->dc, sizeof(verdict.dc));
	snprintf(verdict.detail, sizeof(verdict.detail), "%.*s", LIMIT_DETAIL, failure->err.text);
	/* Some of it is the server's own text. */
	for (char *p = verdict.detail; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	resolver->done(resolver->arg, job, r, &verdict);
}

static void end_denied(struct name_resolver *resolver, struct job *job, const struct failure *answer, int r)
{
	struct verdict verdict = verdict_make(VERDICT_INVALID_CREDENTIALS);

	count(resolver, r == -PTA_ENOENT ? NONE : AMBIGUOUS);
	if (r == -PTA_EEXIST)
		log_event(LOG_WARNING, "name.ambiguous", F_STR("request", job->id), F_STR("directory", resolver->conf->name), F_STR("dc", answer->dc),
			F_STR("error", answer->err.text));
	memcpy(verdict.dc, answer->dc, sizeof(verdict.dc));
	snprintf(verdict.detail, sizeof(verdict.detail), "%s", r == -PTA_ENOENT ? "the name means no entry" : "the name means more than one entry");
	resolver->done(resolver->arg, job, r, &verdict);
}

/* found is the job's from now on. */
static void end_found(struct name_resolver *resolver, struct job *job, struct name_found *found, uint64_t took_us)
{
	job->found = found;
	if (job->step)
		job->step(job, "resolve", took_us, found->dn);
	resolver->done(resolver->arg, job, 0, NULL);
}

static void run(struct work *work)
{
	struct request *request = (struct request *)work;
	struct name_resolver *resolver = request->resolver;
	struct failure failure = {.reason = REASON_DIRECTORY_UNREACHABLE, .err = {"no domain controller is usable"}};
	struct name_found *found = NULL;
	struct job *job = request->job;
	uint64_t took_us;
	int r;

	if (atomic_load(&resolver->closing)) {
		failure.reason = REASON_OVERLOADED;
		r = err_set(&failure.err, -PTA_ECLOSED, "the section is being closed");
	} else if (!(found = malloc(sizeof(*found)))) {
		failure.reason = REASON_OVERLOADED;
		r = err_set(&failure.err, -PTA_ENOMEM, "out of memory");
	} else {
		r = resolve(resolver, request, found, &failure);
	}
	took_us = clock_mono_us() - request->started_us;
	free(request);
	if (answered(r))
		metric_observe_us(resolver->seconds, took_us);
	if (r == 0) {
		name_cache_put(resolver->cache, &job->credential, found);
		count(resolver, FOUND);
		end_found(resolver, job, found, took_us);
		return;
	}
	free(found);
	if (answered(r))
		end_denied(resolver, job, &failure, r);
	else
		end_unavailable(resolver, job, &failure, r);
}

static bool remembered(struct name_resolver *resolver, struct job *job)
{
	struct name_found *found = malloc(sizeof(*found));

	if (!found || !name_cache_get(resolver->cache, &job->credential, found)) {
		free(found);
		return false;
	}
	found->remembered = true;
	count(resolver, REMEMBERED);
	end_found(resolver, job, found, 0);
	return true;
}

int name_resolver_start(struct name_resolver *resolver, struct job *job)
{
	struct request *request;
	uint64_t now;
	int r;

	if (atomic_load(&resolver->closing))
		return -PTA_ECLOSED;
	if (remembered(resolver, job))
		return 0;
	request = malloc(sizeof(*request));
	if (!request)
		return -PTA_EBUSY;
	now = clock_mono_us();
	*request = (struct request){.work.run = run, .resolver = resolver, .job = job, .started_us = now, .until_us = now};
	if (job->deadline_us > now)
		request->until_us += (job->deadline_us - now) / 2;
	r = workpool_submit(resolver->workers, &request->work);
	if (r < 0)
		free(request);
	return r;
}

void name_resolver_forget(struct name_resolver *resolver, const struct credential *credential)
{
	name_cache_forget(resolver->cache, credential);
}

static void make_metrics(struct name_resolver *resolver)
{
	static const char *const labels[] = {"directory", NULL}, *const with_outcome[] = {"directory", "outcome", NULL};
	static const char *const names[] = {[FOUND] = "found", [REMEMBERED] = "remembered", [NONE] = "none", [AMBIGUOUS] = "ambiguous", [FAILED] = "failed"};
	struct metric *outcomes = metric_new(METRIC_COUNTER, "pta_directory_names_total", "Typed names looked up before validation, by outcome", with_outcome);

	for (int i = 0; i < OUTCOMES; i++)
		resolver->outcomes[i] = metric_at(outcomes, (const char *[]){resolver->conf->name, names[i]});
	resolver->seconds = metric_at(metric_new(METRIC_HISTOGRAM, "pta_directory_name_seconds", "Looking a name up that was not remembered", labels),
		(const char *[]){resolver->conf->name});
}

int name_resolver_new(const struct directory_conf *conf, struct dc_pool *pool, name_resolved done, void *arg, struct name_resolver **out, struct err *err)
{
	struct name_resolver *resolver = calloc(1, sizeof(*resolver));
	int r;

	if (!resolver)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	*resolver = (struct name_resolver){.conf = conf, .pool = pool, .done = done, .arg = arg};
	resolver->nworkers = conf->connections < THREADS_FROM ? MIN_THREADS : MAX_THREADS;
	pthread_mutex_init(&resolver->lock, NULL);
	make_metrics(resolver);
	r = name_lookup_new(conf, &resolver->lookup, err);
	/* Attributes may compare with case, user names never do. */
	if (r == 0 && (name_cache_new(!name_filter_has_attributes(conf), &resolver->cache) < 0 ||
			      workpool_new("pta-names", resolver->nworkers, 4 * conf->connections, &resolver->workers) < 0))
		r = err_set(err, -PTA_ENOMEM, "[directory %s] no memory or threads to look names up", conf->name);
	if (r < 0) {
		name_resolver_free(resolver);
		return r;
	}
	*out = resolver;
	return 0;
}

void name_resolver_stop(struct name_resolver *resolver)
{
	atomic_store(&resolver->closing, true);
	workpool_free(resolver->workers);
	resolver->workers = NULL;
}

void name_resolver_free(struct name_resolver *resolver)
{
	if (!resolver)
		return;
	name_resolver_stop(resolver);
	while (resolver->nidle)
		close_link(resolver, resolver->idle[--resolver->nidle]);
	name_cache_free(resolver->cache);
	name_lookup_free(resolver->lookup);
	pthread_mutex_destroy(&resolver->lock);
	free(resolver);
}
