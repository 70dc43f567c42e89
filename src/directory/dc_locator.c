#include "directory/dc_locator.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "directory/cldap.h"
#include "directory/dc_look.h"

static const struct dc_locator_tuning usual = {
	.ping_port = CLDAP_PORT,
	.ping_ms = 1000,
	.look_ms = 10000,
	.renew_min_ms = 60 * 1000,
	.renew_max_ms = 3600 * 1000,
	.retry_min_ms = 1000,
	.retry_max_ms = 60 * 1000,
	.kick_ms = 5000,
};
static _Atomic(const struct dc_locator_tuning *) tuning_now = &usual;

struct dc_locator {
	const struct directory_conf *conf;
	struct dc_pool *pool;
	struct dc_locator_tuning tuning;
	int cancel_fd; /* an eventfd, readable once closing */
	pthread_t thread;
	bool running;	      /* the owner's: the thread is to be joined */
	pthread_mutex_t lock; /* guards the two flags */
	pthread_cond_t wake;  /* one of them was set; on CLOCK_MONOTONIC */
	bool closing, kicked;
	/* The thread's own. */
	struct dc_found known, next;
	struct backoff backoff;
};

void dc_locator_tune_for_tests(const struct dc_locator_tuning *tuning)
{
	atomic_store(&tuning_now, tuning ? tuning : &usual);
}

int dc_locator_look(const struct directory_conf *conf, unsigned timeout_ms, struct dc_found *out, struct err *err)
{
	const struct dc_locator_tuning *tuning = atomic_load(&tuning_now);
	const struct dc_look look = {.conf = conf,
		.known_site = "",
		.ping_port = tuning->ping_port,
		.ping_ms = tuning->ping_ms,
		.deadline_us = clock_mono_us() + timeout_ms * 1000ull,
		.cancel_fd = -1};

	return dc_look(&look, out, err);
}

static bool has(const struct dc_found *found, const struct dc_candidate *dc)
{
	for (size_t i = 0; i < found->n; i++) {
		const struct dc_candidate *other = &found->dcs[i];

		if (strcmp(other->server.host, dc->server.host) == 0 && other->server.port == dc->server.port && other->tier == dc->tier &&
			strcmp(other->site, dc->site) == 0)
			return true;
	}
	return false;
}

/* Who there is and where; the order within a tier is drawn anew each time. */
static bool same(const struct dc_found *a, const struct dc_found *b)
{
	if (a->n != b->n || strcmp(a->client_site, b->client_site) != 0)
		return false;
	for (size_t i = 0; i < b->n; i++)
		if (!has(a, &b->dcs[i]))
			return false;
	return true;
}

static void log_found(const struct dc_locator *locator)
{
	const struct dc_found *found = &locator->next;
	char names[512] = "";
	size_t near = 0, pinged = 0;

	for (size_t i = 0; i < found->n; i++) {
		size_t used = strlen(names);

		near += found->dcs[i].tier == 0;
		pinged += found->ping_us[i] != 0;
		snprintf(names + used, sizeof(names) - used, "%s%s", used ? " " : "", found->dcs[i].server.host);
	}
	log_event(LOG_INFO, "dc.found", F_STR("directory", locator->conf->name), F_UINT("count", found->n), F_UINT("in_site", near),
		F_STR("site", found->client_site[0] ? found->client_site : "unknown"), F_UINT("pings_answered", pinged), F_UINT("left_out", found->left_out),
		F_STR("source", found->servers), F_STR("dcs", names));
}

static bool take(struct dc_locator *locator)
{
	const struct dc_look look = {.conf = locator->conf,
		.known_site = locator->known.client_site,
		.ping_port = locator->tuning.ping_port,
		.ping_ms = locator->tuning.ping_ms,
		.deadline_us = clock_mono_us() + locator->tuning.look_ms * 1000ull,
		.cancel_fd = locator->cancel_fd};
	struct dc_found *next = &locator->next;
	struct err err = {0};
	int r = dc_look(&look, next, &err);

	if (r == -PTA_ECLOSED)
		return false;
	if (r < 0) {
		log_event(LOG_WARNING, "dc.lookup_failed", F_STR("directory", locator->conf->name), F_STR("error", pta_error_name(r)),
			F_STR("detail", err.text), F_UINT("kept", locator->known.n));
		return false;
	}
	if (next->refused)
		log_event(LOG_WARNING, "dc.refused", F_STR("directory", locator->conf->name), F_UINT("count", next->refused),
			F_STR("first", next->refused_first), F_STR("source", next->servers),
			F_STR("detail", "SRV records name hosts outside of the domain: these are never sent a password"));
	if (!same(&locator->known, next))
		log_found(locator);
	dc_pool_update(locator->pool, next->dcs, next->n);
	locator->known = *next;
	return true;
}

/* How long what was found is good for. */
static uint64_t renew_us(const struct dc_locator *locator)
{
	uint64_t ms = locator->known.ttl_s * 1000ull;

	if (ms < locator->tuning.renew_min_ms)
		ms = locator->tuning.renew_min_ms;
	if (ms > locator->tuning.renew_max_ms)
		ms = locator->tuning.renew_max_ms;
	return ms * 1000;
}

static void wait_until(struct dc_locator *locator, uint64_t us)
{
	struct timespec ts = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};

	pthread_cond_timedwait(&locator->wake, &locator->lock, &ts);
}

static void *run(void *arg)
{
	struct dc_locator *locator = arg;
	uint64_t began, due, kick_due;

	pthread_setname_np(pthread_self(), "locator");
	pthread_mutex_lock(&locator->lock);
	while (!locator->closing) {
		locator->kicked = false;
		pthread_mutex_unlock(&locator->lock);
		began = clock_mono_us();
		if (take(locator)) {
			backoff_reset(&locator->backoff);
			due = clock_mono_us() + renew_us(locator);
		} else {
			due = clock_mono_us() + backoff_next_ms(&locator->backoff) * 1000ull;
		}
		kick_due = began + locator->tuning.kick_ms * 1000ull;
		pthread_mutex_lock(&locator->lock);
		while (!locator->closing) {
			uint64_t until = locator->kicked && kick_due < due ? kick_due : due;

			if (clock_mono_us() >= until)
				break;
			wait_until(locator, until);
		}
	}
	pthread_mutex_unlock(&locator->lock);
	return NULL;
}

static void destroy(struct dc_locator *locator)
{
	pthread_cond_destroy(&locator->wake);
	pthread_mutex_destroy(&locator->lock);
	if (locator->cancel_fd >= 0)
		close(locator->cancel_fd);
	free(locator);
}

int dc_locator_new(const struct directory_conf *conf, struct dc_pool *pool, struct dc_locator **out, struct err *err)
{
	struct dc_locator *locator = calloc(1, sizeof(*locator));
	pthread_condattr_t attributes;
	sigset_t all, before;
	int failed;

	*out = NULL;
	if (!locator)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	locator->conf = conf;
	locator->pool = pool;
	locator->tuning = *atomic_load(&tuning_now);
	locator->backoff = BACKOFF_INIT(locator->tuning.retry_min_ms, locator->tuning.retry_max_ms);
	pthread_mutex_init(&locator->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&locator->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	locator->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (locator->cancel_fd < 0) {
		failed = errno;
		destroy(locator);
		return err_set_errno(err, -PTA_EIO, failed, "[directory %s] making an eventfd", conf->name);
	}
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	*out = locator;
	failed = pthread_create(&locator->thread, NULL, run, locator);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed) {
		*out = NULL;
		destroy(locator);
		return err_set_errno(err, -PTA_ENOMEM, failed, "[directory %s] starting the locator's thread", conf->name);
	}
	locator->running = true;
	return 0;
}

void dc_locator_kick(struct dc_locator *locator)
{
	pthread_mutex_lock(&locator->lock);
	if (!locator->kicked) {
		locator->kicked = true;
		pthread_cond_signal(&locator->wake);
	}
	pthread_mutex_unlock(&locator->lock);
}

void dc_locator_stop(struct dc_locator *locator)
{
	if (!locator || !locator->running)
		return;
	pthread_mutex_lock(&locator->lock);
	locator->closing = true;
	pthread_cond_signal(&locator->wake);
	pthread_mutex_unlock(&locator->lock);
	/* Adding to a fresh eventfd cannot fail. */
	eventfd_write(locator->cancel_fd, 1);
	pthread_join(locator->thread, NULL);
	locator->running = false;
}

void dc_locator_free(struct dc_locator *locator)
{
	if (!locator)
		return;
	dc_locator_stop(locator);
	destroy(locator);
}
