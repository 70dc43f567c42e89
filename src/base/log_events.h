/* The events that the programs log, as far as writing them needs it; log_events.def is the table. Thread-safe; never blocks. */
#ifndef PTA_BASE_LOG_EVENTS_H
#define PTA_BASE_LOG_EVENTS_H

#include <stddef.h>

#include "base/log_limit.h"

enum log_event_flags { LOG_AUDIT = 1, LOG_LIMITED = 2 };

struct log_event_row {
	const char *name;
	unsigned flags;
	const char *message_id; /* 32 hex digits */
};

/* NULL when it is not in the table. */
const struct log_event_row *log_events_find(const char *name);
/* The nth event, NULL behind the last. */
const struct log_event_row *log_events_at(size_t n);
/* One for each row; lasts for ever. */
struct log_limit *log_events_limit(const struct log_event_row *row);

#endif
