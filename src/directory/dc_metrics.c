#include "directory/dc_metrics.h"

#include <stdio.h>

#include "directory/dc_pool.h"

_Static_assert(DC_METRICS_OUTCOMES == DC_OUTCOMES, "one series for each outcome");

static const char *const outcome_names[] = {[DC_ANSWERED] = "answered", [DC_LOST] = "lost", [DC_TIMED_OUT] = "timed_out", [DC_BUSY] = "busy"};

static const char *const by_dc[] = {"directory", "dc", NULL}, *const by_outcome[] = {"directory", "dc", "outcome", NULL},
			 *const by_site[] = {"directory", "dc", "site", NULL}, *const by_state[] = {"directory", "dc", "state", NULL};

static struct metric *up_metric(void)
{
	return metric_new(METRIC_GAUGE, "pta_directory_dc_up", "1 while the domain controller's breaker is closed", by_dc);
}

static struct metric *site_metric(void)
{
	return metric_new(METRIC_GAUGE, "pta_directory_dc_info", "1 for each domain controller that is known, with its site", by_site);
}

static struct metric *seconds_metric(void)
{
	return metric_new(METRIC_HISTOGRAM, "pta_directory_bind_seconds", "From sending a password to the domain controller's answer", by_dc);
}

static struct metric *connects_metric(void)
{
	return metric_new(METRIC_COUNTER, "pta_directory_connects_total", "Connections made to domain controllers, TLS included", by_outcome);
}

static struct metric *binds_metric(void)
{
	return metric_new(METRIC_COUNTER, "pta_directory_binds_total", "Passwords sent to domain controllers, by how that ended", by_outcome);
}

static struct metric *breaker_metric(void)
{
	return metric_new(METRIC_COUNTER, "pta_directory_breaker_changes_total", "Changes of the domain controller's breaker, by its new state", by_state);
}

void dc_metrics_make(struct dc_metrics *m, const char *directory, const char *dc, const char *site)
{
	struct dc_metrics before = *m;

	snprintf(m->directory, sizeof(m->directory), "%s", directory);
	snprintf(m->dc, sizeof(m->dc), "%s", dc);
	snprintf(m->site, sizeof(m->site), "%s", site);
	m->up = metric_at(up_metric(), (const char *[]){directory, dc});
	m->site_of = metric_at(site_metric(), (const char *[]){directory, dc, site});
	metric_set(m->site_of, 1);
	m->seconds = metric_at(seconds_metric(), (const char *[]){directory, dc});
	m->connected = metric_at(connects_metric(), (const char *[]){directory, dc, "connected"});
	m->failed = metric_at(connects_metric(), (const char *[]){directory, dc, "failed"});
	m->opened = metric_at(breaker_metric(), (const char *[]){directory, dc, "open"});
	m->closed = metric_at(breaker_metric(), (const char *[]){directory, dc, "closed"});
	for (unsigned i = 0; i < DC_OUTCOMES; i++)
		m->outcomes[i] = metric_at(binds_metric(), (const char *[]){directory, dc, outcome_names[i]});
	/* After the new ones: series that are the same go on counting. */
	dc_metrics_forget(&before);
}

void dc_metrics_forget(struct dc_metrics *m)
{
	if (!m->up)
		return;
	metric_forget(up_metric(), (const char *[]){m->directory, m->dc});
	metric_forget(site_metric(), (const char *[]){m->directory, m->dc, m->site});
	metric_forget(seconds_metric(), (const char *[]){m->directory, m->dc});
	metric_forget(connects_metric(), (const char *[]){m->directory, m->dc, "connected"});
	metric_forget(connects_metric(), (const char *[]){m->directory, m->dc, "failed"});
	for (unsigned i = 0; i < DC_OUTCOMES; i++)
		metric_forget(binds_metric(), (const char *[]){m->directory, m->dc, outcome_names[i]});
	metric_forget(breaker_metric(), (const char *[]){m->directory, m->dc, "open"});
	metric_forget(breaker_metric(), (const char *[]){m->directory, m->dc, "closed"});
	m->up = NULL;
	m->breaker = DC_BREAKER_NEW;
}

void dc_metrics_up(struct dc_metrics *m, bool up)
{
	if (!m->up)
		return;
	metric_set(m->up, up);
	if (up && m->breaker == DC_BREAKER_OPEN)
		metric_add(m->closed, 1);
	else if (!up && m->breaker != DC_BREAKER_OPEN)
		metric_add(m->opened, 1);
	m->breaker = up ? DC_BREAKER_CLOSED : DC_BREAKER_OPEN;
}

void dc_metrics_connected(struct dc_metrics *m, bool connected)
{
	if (m->up)
		metric_add(connected ? m->connected : m->failed, 1);
}

void dc_metrics_bound(struct dc_metrics *m, unsigned outcome, uint64_t took_us)
{
	if (!m->up)
		return;
	metric_add(m->outcomes[outcome], 1);
	if (outcome == DC_ANSWERED)
		metric_observe_us(m->seconds, took_us);
}
