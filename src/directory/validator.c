#include "directory/validator.h"

#include "base/secret.h"
#include "directory/validator_simple.h"

/* By enum directory_method. */
static const struct validator_method *const methods[] = {
	[DIRECTORY_SIMPLE] = &validator_simple,
};

void job_done(struct job *job, const struct verdict *verdict)
{
	secret_freep(&job->password);
	job->done(job, verdict);
}

int validator_open(const struct directory_conf *conf, struct validator **out, struct err *err)
{
	size_t method = (size_t)conf->method;

	if (method >= PTA_ARRAY_SIZE(methods))
		return err_set(err, -PTA_ENOENT, "[directory %s] method %zu is not built in", conf->name, method);
	return methods[method]->open(conf, out, err);
}

int validator_start(struct validator *v, struct job *job)
{
	return v->method->start(v, job);
}

unsigned validator_capacity(const struct validator *v)
{
	return v->method->capacity(v);
}

void validator_close(struct validator *v, uint64_t deadline_us)
{
	if (v)
		v->method->close(v, deadline_us);
}

size_t validator_report(const struct validator *v, struct dc_report *out, size_t cap)
{
	return v->method->report(v, out, cap);
}
