#include "agent/directories.h"

#include <stdlib.h>
#include <string.h>

#define MAX_REPORTS 64
/* Beside a job on each connection: as many whose results are on their way to the service, and some for tiny set-ups. */
#define SLACK 64
/* Where DNS tells the controllers, their number is not known before. */
#define FOUND_SERVERS 2

/* By its own name: a suffix says nothing of the domain that an entry is in. */
static struct validator *section_of(void *arg, const char *domain)
{
	const struct directories *set = arg;

	for (size_t i = 0; i < set->conf->ndirectories; i++)
		if (credential_domain_equal(set->conf->directories[i]->name, domain))
			return set->validators[i];
	return NULL;
}

int directories_open(struct agent_conf *conf, struct directories **out, struct err *err)
{
	struct directories *set = calloc(1, sizeof(*set));
	int r;

	if (!set)
		return err_set(err, -PTA_ENOMEM, "out of memory");
	set->conf = agent_conf_ref(conf);
	for (size_t i = 0; i < conf->ndirectories; i++) {
		r = validator_open(conf->directories[i], &set->validators[i], err);
		if (r < 0) {
			set->validators[i] = NULL;
			directories_close(set, 0);
			directories_free(set);
			return err_prefix(err, r, "[directory %s]: ", conf->directories[i]->name);
		}
	}
	for (size_t i = 0; i < conf->ndirectories; i++)
		validator_route(set->validators[i], section_of, set);
	*out = set;
	return 0;
}

void directories_close(struct directories *set, uint64_t deadline_us)
{
	for (size_t i = 0; i < set->conf->ndirectories; i++)
		validator_settle(set->validators[i]);
	for (size_t i = 0; i < set->conf->ndirectories; i++) {
		validator_close(set->validators[i], deadline_us);
		set->validators[i] = NULL;
	}
}

void directories_free(struct directories *set)
{
	if (!set)
		return;
	agent_conf_unref(set->conf);
	free(set);
}

struct validator *directories_pick(const struct directories *set, const struct credential *credential)
{
	for (size_t i = 0; i < set->conf->ndirectories; i++)
		if (directory_conf_serves(set->conf->directories[i], credential->form, credential->domain))
			return set->validators[i];
	return NULL;
}

unsigned directories_capacity(const struct directories *set)
{
	unsigned sum = 0;

	for (size_t i = 0; i < set->conf->ndirectories; i++)
		sum += validator_capacity(set->validators[i]);
	return sum;
}

unsigned directories_limit(const struct directories *set)
{
	unsigned sum = SLACK;

	for (size_t i = 0; i < set->conf->ndirectories; i++)
		sum += 2 * set->conf->directories[i]->connections *
		       (set->conf->directories[i]->servers.n ? (unsigned)set->conf->directories[i]->servers.n : FOUND_SERVERS);
	return sum;
}

bool directories_ready(const struct directories *set)
{
	struct dc_report reports[MAX_REPORTS];

	for (size_t i = 0; i < set->conf->ndirectories; i++) {
		size_t n = validator_report(set->validators[i], reports, MAX_REPORTS);
		bool up = false;

		for (size_t k = 0; k < n && k < MAX_REPORTS; k++)
			up = up || strcmp(reports[k].state, "up") == 0 || strcmp(reports[k].state, "suspect") == 0;
		if (!up)
			return false;
	}
	return true;
}

static void report_one(const struct dc_report *report, struct json_writer *w)
{
	json_put_object(w, NULL);
	json_put_string(w, "host", report->host);
	json_put_uint(w, "port", report->port);
	json_put_string(w, "site", report->site);
	json_put_string(w, "state", report->state);
	json_put_bool(w, "in_use", report->in_use);
	json_put_uint(w, "connections", report->connections);
	json_put_uint(w, "busy", report->busy);
	json_put_uint(w, "binds", report->binds);
	json_put_uint(w, "failures", report->failures);
	json_put_uint(w, "latency_us", report->latency_us);
	json_put_uint(w, "retry_in_ms", report->retry_in_ms);
	json_put_string(w, "last_error", report->last_error);
	json_end_object(w);
}

void directories_report(const struct directories *set, struct json_writer *w)
{
	struct dc_report reports[MAX_REPORTS];

	json_put_array(w, "directories");
	for (size_t i = 0; i < set->conf->ndirectories; i++) {
		size_t n = validator_report(set->validators[i], reports, MAX_REPORTS);

		json_put_object(w, NULL);
		json_put_string(w, "name", set->conf->directories[i]->name);
		json_put_string(w, "method", directory_method_name(set->conf->directories[i]->method));
		json_put_uint(w, "capacity", validator_capacity(set->validators[i]));
		json_put_array(w, "servers");
		for (size_t k = 0; k < n && k < MAX_REPORTS; k++)
			report_one(&reports[k], w);
		json_end_array(w);
		json_end_object(w);
	}
	json_end_array(w);
}
