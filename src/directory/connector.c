#include "directory/connector.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/workpool.h"

#define GRACE_US 200000ull /* what DNS may overrun before an attempt is given up */

#define FOUND_AT_ONCE 6 /* of controllers found by DNS, so many silent ones keep nobody else waiting */

struct attempt {
	struct work work;
	struct mail mail;
	struct connector *connector;
	struct attempt *next, **prev;
	size_t dc;
	bool given_up; /* its outcome is of no interest any more */
	uint64_t started_us, deadline_us;
	/* Set by the helper: */
	uint64_t took_us;
	struct ldap_conn *conn;
	struct err err;
};

struct connector {
	const struct directory_conf *conf;
	struct dc_pool *pool;
	struct ldap_tls *tls;
	struct workpool *helpers;
	struct mailbox *finished;
	struct event *finished_event;
	struct attempt *attempts;
	connector_done done;
	void *arg;
	unsigned under_way[DC_POOL_MAX];
};

static void run(struct work *work)
{
	struct attempt *attempt = MAIL_CONTAINER(work, struct attempt, work);
	struct connector *connector = attempt->connector;
	uint64_t started = clock_mono_us();
	int r = -PTA_ETIMEDOUT;

	if (started < attempt->deadline_us)
		r = ldap_conn_open(
			connector->conf, dc_pool_server(connector->pool, attempt->dc), connector->tls, attempt->deadline_us, &attempt->conn, &attempt->err);
	else
		err_set(&attempt->err, r, "connecting to %s: no helper thread was free in time", dc_pool_server(connector->pool, attempt->dc)->host);
	if (r < 0)
		attempt->conn = NULL;
	attempt->took_us = clock_mono_us() - started;
	mailbox_post(connector->finished, &attempt->mail);
}

static void free_attempt(struct attempt *attempt)
{
	*attempt->prev = attempt->next;
	if (attempt->next)
		attempt->next->prev = attempt->prev;
	dc_pool_drop(attempt->connector->pool, attempt->dc);
	free(attempt);
}

static void on_finished(evutil_socket_t fd, short what, void *arg)
{
	struct connector *connector = arg;
	struct mail *next;

	(void)fd;
	(void)what;
	for (struct mail *mail = mailbox_take(connector->finished); mail; mail = next) {
		struct attempt *attempt = MAIL_CONTAINER(mail, struct attempt, mail);

		next = mail->next;
		if (attempt->given_up) {
			ldap_conn_close(attempt->conn);
		} else {
			connector->under_way[attempt->dc]--;
			connector->done(connector->arg, attempt->dc, attempt->conn, attempt->took_us, attempt->err.text);
		}
		free_attempt(attempt);
	}
}

int connector_new(const struct directory_conf *conf, struct dc_pool *pool, struct event_base *loop, connector_done done, void *arg, struct connector **out,
	struct err *err)
{
	struct connector *connector = calloc(1, sizeof(*connector));
	/* A few connects at once to the DC in use; a silent one being probed holds a thread until its deadline. */
	unsigned threads = 2 + (conf->servers.n ? (unsigned)conf->servers.n : FOUND_AT_ONCE);
	int r;

	if (!connector)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	connector->conf = conf;
	connector->pool = pool;
	connector->done = done;
	connector->arg = arg;
	r = ldap_tls_new(conf, &connector->tls, err);
	if (r < 0)
		goto fail;
	err_set(err, -PTA_ENOMEM, "[directory %s] no threads or file descriptors for connecting", conf->name);
	r = mailbox_new(&connector->finished);
	if (r < 0)
		goto fail;
	r = workpool_new("connect", threads, 4 * threads, &connector->helpers);
	if (r < 0)
		goto fail;
	connector->finished_event = event_new(loop, mailbox_fd(connector->finished), EV_READ | EV_PERSIST, on_finished, connector);
	if (!connector->finished_event || event_add(connector->finished_event, NULL) < 0) {
		r = -PTA_ENOMEM;
		goto fail;
	}
	*out = connector;
	return 0;
fail:
	connector_free(connector);
	return r;
}

void connector_free(struct connector *connector)
{
	if (!connector)
		return;
	workpool_free(connector->helpers);
	if (connector->finished_event)
		event_free(connector->finished_event);
	/* The helpers are gone: every attempt that is left is finished. The box is emptied before what it links is freed. */
	if (connector->finished)
		(void)mailbox_take(connector->finished);
	while (connector->attempts) {
		struct attempt *attempt = connector->attempts;

		ldap_conn_close(attempt->conn);
		free_attempt(attempt);
	}
	mailbox_free(connector->finished);
	ldap_tls_free(connector->tls);
	free(connector);
}

int connector_start(struct connector *connector, size_t dc)
{
	struct attempt *attempt = calloc(1, sizeof(*attempt));
	int r;

	if (!attempt)
		return -PTA_ENOMEM;
	attempt->work.run = run;
	attempt->connector = connector;
	attempt->dc = dc;
	attempt->started_us = clock_mono_us();
	attempt->deadline_us = attempt->started_us + connector->conf->connect_timeout * 1000ull;
	r = workpool_submit(connector->helpers, &attempt->work);
	if (r < 0) {
		free(attempt);
		return r;
	}
	attempt->next = connector->attempts;
	attempt->prev = &connector->attempts;
	if (attempt->next)
		attempt->next->prev = &attempt->next;
	connector->attempts = attempt;
	dc_pool_hold(connector->pool, dc);
	connector->under_way[dc]++;
	return 0;
}

unsigned connector_under_way(const struct connector *connector, size_t dc)
{
	return connector->under_way[dc];
}

uint64_t connector_oldest_us(const struct connector *connector, size_t dc)
{
	uint64_t oldest = UINT64_MAX;

	for (const struct attempt *attempt = connector->attempts; attempt; attempt = attempt->next)
		if (attempt->dc == dc && !attempt->given_up && attempt->started_us < oldest)
			oldest = attempt->started_us;
	return oldest;
}

uint64_t connector_sweep(struct connector *connector, uint64_t now_us)
{
	uint64_t next = UINT64_MAX;

	for (struct attempt *attempt = connector->attempts; attempt; attempt = attempt->next) {
		uint64_t end = attempt->deadline_us + GRACE_US;
		struct err err;

		if (attempt->given_up)
			continue;
		if (end > now_us) {
			next = end < next ? end : next;
			continue;
		}
		attempt->given_up = true;
		connector->under_way[attempt->dc]--;
		err_set(&err, -PTA_ETIMEDOUT, "connecting to %s: no outcome in %u ms; is DNS slow?", dc_pool_server(connector->pool, attempt->dc)->host,
			connector->conf->connect_timeout);
		connector->done(connector->arg, attempt->dc, NULL, now_us - attempt->started_us, err.text);
	}
	return next;
}
