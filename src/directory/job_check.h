/* What every validator refuses before anything is sent. Pure; thread-safe. */
#ifndef PTA_DIRECTORY_JOB_CHECK_H
#define PTA_DIRECTORY_JOB_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "directory/validator.h"
#include "wire/verdict.h"

/* True: the job may be sent. Else *verdict is how it ends, unsent: invalid_request without a password or a name (an empty
 * password would make an anonymous bind of it, which always succeeds: RFC 4513 5.1.2) and with a NUL byte in the password,
 * unavailable/timeout past its deadline. now_us: clock_mono_us(). */
bool job_check(const struct job *job, uint64_t now_us, struct verdict *verdict);

#endif
