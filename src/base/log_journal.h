/* The journal's own way in (sd_journal_sendv(3)): each field of an event beside its line. Where it was built without
 * libsystemd there is never a journal. Thread-safe; blocks only while journald does not read. */
#ifndef PTA_BASE_LOG_JOURNAL_H
#define PTA_BASE_LOG_JOURNAL_H

#include "base/log.h"
#include "base/log_events.h"
#include "base/log_line.h"

/* stderr is a stream to the journal (systemd.exec(5), $JOURNAL_STREAM). */
bool log_journal_is_stderr(void);
/* It takes fields from this process as well. */
bool log_journal_takes_fields(void);
/* MESSAGE (the line), PRIORITY, MESSAGE_ID (where the event has a row), EVENT, SYSLOG_IDENTIFIER, and the fields of both lists
 * (NULL: none) by their names in capitals, but REQUEST_ID for `request`. False when it could not be sent. */
bool log_journal_send(const char *program, int level, const char *event, const struct log_event_row *row, const struct log_line *line,
	const struct log_field *fields, const struct log_field *more);

#endif
