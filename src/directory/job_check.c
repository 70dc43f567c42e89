#include "directory/job_check.h"

#include <stdio.h>
#include <string.h>

static bool refuse(struct verdict *verdict, enum verdict_code code, enum verdict_reason reason, const char *detail)
{
	*verdict = (struct verdict){.code = code, .reason = reason};
	snprintf(verdict->detail, sizeof(verdict->detail), "%s", detail);
	return false;
}

bool job_check(const struct job *job, uint64_t now_us, struct verdict *verdict)
{
	if (!job->password || secret_len(job->password) == 0)
		return refuse(verdict, VERDICT_INVALID_REQUEST, 0, "the password is empty");
	if (memchr(secret_bytes(job->password), '\0', secret_len(job->password)))
		return refuse(verdict, VERDICT_INVALID_REQUEST, 0, "the password has a NUL byte");
	if (job->credential.name[0] == '\0')
		return refuse(verdict, VERDICT_INVALID_REQUEST, 0, "the name is empty");
	if (job->deadline_us <= now_us)
		return refuse(verdict, VERDICT_UNAVAILABLE, REASON_TIMEOUT, "the job came past its deadline");
	return true;
}
