/* Where the events of the audit stream go: a file, or a facility of syslog. Thread-safe; blocks on the disk. */
#ifndef PTA_BASE_LOG_AUDIT_H
#define PTA_BASE_LOG_AUDIT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/log_line.h"

/* LOG_AUTHPRIV for "authpriv" and so on; -1 when it is none that a daemon may use. */
int log_audit_facility(const char *name);

/* NULL: to the main log, "syslog:FACILITY", or the path of a file, opened for appending (made with mode 0640) though it be the
 * same: after a rotation it is another. -PTA_EIO when it cannot be opened; log_audit_write() then fails. */
PTA_MUST_CHECK int log_audit_open(const char *where, struct err *err);
/* A stream of its own is configured, though it may not be open. */
bool log_audit_is_on(void);
/* What the lines go to begins each with a time by itself. */
bool log_audit_is_syslog(void);
/* -PTA_EIO with a text when the line is not there; -PTA_ECLOSED when there is no stream any more. */
PTA_MUST_CHECK int log_audit_write(int level, const struct log_line *line, struct err *err);

#endif
