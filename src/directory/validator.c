#include "directory/validator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "directory/dc_locator.h"
#include "directory/dc_pool.h"
#include "directory/dn_domain.h"
#include "directory/name_resolver.h"
#include "directory/validator_gssapi.h"
#include "directory/validator_kerberos.h"
#include "directory/validator_simple.h"

/* By enum directory_method. */
static const struct validator_method *const methods[] = {
	[DIRECTORY_SIMPLE] = &validator_simple,
	[DIRECTORY_GSSAPI] = &validator_gssapi,
	[DIRECTORY_KERBEROS] = &validator_kerberos,
};

struct denial {
	struct verdict verdict;
	struct name_found *found; /* whom it is about */
};

static void end_job(struct job *job, const struct verdict *verdict)
{
	free(job->found);
	job->found = NULL;
	job->done(job, verdict);
}

/* An entry that was moved or renamed is refused as a wrong password is. True: on_resolved() goes on. */
static bool look_again(struct job *job, const struct verdict *verdict)
{
	struct name_resolver *resolver = job->validator ? job->validator->resolver : NULL;
	struct denial *denial;

	if (verdict->code != VERDICT_INVALID_CREDENTIALS || !job->found || !job->found->remembered || !resolver)
		return false;
	name_resolver_forget(resolver, &job->credential);
	denial = malloc(sizeof(*denial));
	if (!denial)
		return false;
	*denial = (struct denial){.verdict = *verdict, .found = job->found};
	job->found = NULL;
	job->denial = denial;
	if (name_resolver_start(resolver, job) == 0)
		return true;
	job->found = denial->found;
	job->denial = NULL;
	free(denial);
	return false;
}

/* simple binds the DN; the others ask for the account. */
static bool is_same(const struct job *job, const struct name_found *before)
{
	if (job->validator->conf->method != DIRECTORY_SIMPLE && before->account[0])
		return strcmp(job->found->account, before->account) == 0;
	return strcmp(job->found->dn, before->dn) == 0;
}

/* The name was looked up once more (job->found), or could not be: then the controller's word stands. */
static void end_denial(struct job *job)
{
	struct denial *denial = job->denial;
	struct verdict verdict = denial->verdict;

	if (job->found && !is_same(job, denial->found)) {
		verdict.code = VERDICT_UNAVAILABLE;
		verdict.reason = REASON_AGENT_ERROR;
		snprintf(verdict.detail, sizeof(verdict.detail), "the name means another entry than a minute ago; it will be asked next time");
	}
	job->denial = NULL;
	free(denial->found);
	free(denial);
	end_job(job, &verdict);
}

void job_done(struct job *job, const struct verdict *verdict)
{
	secret_freep(&job->password);
	if (!look_again(job, verdict))
		end_job(job, verdict);
}

static void on_trouble(void *arg)
{
	struct validator *v = arg;

	if (v->locator)
		dc_locator_kick(v->locator);
}

static void on_changed(void *arg)
{
	struct validator *v = arg;

	v->method->changed(v);
}

/* The section that validates the entry; NULL and a verdict: none. Only a search of the whole forest finds others' entries. */
static struct validator *section_of(struct validator *v, const struct job *job, struct verdict *verdict)
{
	char domain[LIMIT_DOMAIN + 1];
	struct validator *other;

	if (!v->conf->global_catalog || (dn_domain(job->found->dn, domain) == 0 && credential_domain_equal(domain, v->conf->name)))
		return v;
	other = v->section_of ? v->section_of(v->section_arg, domain) : NULL;
	if (other)
		return other;
	*verdict = verdict_unavailable(REASON_NOT_CONFIGURED, false);
	snprintf(verdict->detail, sizeof(verdict->detail), "the name is that of an entry of %.180s, which has no [directory] section",
		domain[0] ? domain : "no domain");
	return NULL;
}

/* The name means one entry, or the job ends here. */
static void on_resolved(void *arg, struct job *job, int r, const struct verdict *verdict)
{
	struct validator *v = arg;
	struct verdict failed;

	if (job->denial) {
		end_denial(job);
		return;
	}
	if (r < 0) {
		job_done(job, verdict);
		return;
	}
	v = section_of(v, job, &failed);
	if (v) {
		job->validator = v;
		r = v->method->start(v, job);
		if (r == 0)
			return;
		failed = verdict_unavailable(r == -PTA_ENODC ? REASON_DIRECTORY_UNREACHABLE : REASON_OVERLOADED, false);
		snprintf(failed.detail, sizeof(failed.detail), "%s", pta_error_name(r));
	}
	job_done(job, &failed);
}

int validator_open(const struct directory_conf *conf, struct validator **out, struct err *err)
{
	size_t method = (size_t)conf->method;
	struct validator *v = NULL;
	struct dc_pool *pool;
	int r;

	if (method >= PTA_ARRAY_SIZE(methods))
		return err_set(err, -PTA_ENOENT, "[directory %s] method %zu is not built in", conf->name, method);
	r = dc_pool_new(conf, &pool, err);
	if (r < 0)
		return r;
	r = methods[method]->open(conf, pool, &v, err);
	if (r < 0) {
		dc_pool_free(pool);
		return r;
	}
	v->conf = conf;
	v->pool = pool;
	if (directory_conf_resolves(conf))
		r = name_resolver_new(conf, pool, on_resolved, v, &v->resolver, err);
	if (r == 0 && conf->servers.n == 0)
		r = dc_locator_new(conf, pool, &v->locator, err);
	if (r < 0) {
		validator_close(v, 0);
		return r;
	}
	/* Last: the method's threads, which run already, may call at once. What they missed is told now. */
	dc_pool_watch(pool, on_trouble, on_changed, v);
	on_changed(v);
	*out = v;
	return 0;
}

void validator_route(struct validator *v, struct validator *(*section)(void *arg, const char *domain), void *arg)
{
	v->section_of = section;
	v->section_arg = arg;
}

int validator_start(struct validator *v, struct job *job)
{
	job->validator = v;
	return v->resolver ? name_resolver_start(v->resolver, job) : v->method->start(v, job);
}

unsigned validator_capacity(const struct validator *v)
{
	return v->method->capacity(v);
}

void validator_settle(struct validator *v)
{
	if (v && v->resolver)
		name_resolver_stop(v->resolver);
}

void validator_close(struct validator *v, uint64_t deadline_us)
{
	struct name_resolver *resolver;
	struct dc_locator *locator;
	struct dc_pool *pool;

	if (!v)
		return;
	pool = v->pool;
	resolver = v->resolver;
	locator = v->locator;
	/* Both end first, but stay: what is under way may still kick the one and make the other forget a name. */
	dc_locator_stop(locator);
	validator_settle(v);
	v->method->close(v, deadline_us);
	name_resolver_free(resolver);
	dc_locator_free(locator);
	dc_pool_free(pool);
}

size_t validator_report(const struct validator *v, struct dc_report *out, size_t cap)
{
	size_t n = 0, size = dc_pool_size(v->pool);

	for (size_t dc = 0; dc < size; dc++) {
		struct dc_report report = {0};

		if (!dc_pool_report(v->pool, dc, &report))
			continue;
		v->method->report(v, dc, &report);
		if (n < cap)
			out[n] = report;
		n++;
	}
	return n;
}
