#include "base/log_events.h"

#include <string.h>

#include "base/err.h"

#define FIELD(name, meaning)
#define EVENT(event, level, event_flags, id, meaning) {.name = (event), .flags = (event_flags), .message_id = (id)},
static const struct log_event_row rows[] = {
#include "base/log_events.def"
};
#undef EVENT

#define EVENT(event, level, event_flags, id, meaning) LOG_LIMIT_INIT,
static struct log_limit limits[] = {
#include "base/log_events.def"
};

const struct log_event_row *log_events_find(const char *name)
{
	size_t low = 0, high = PTA_ARRAY_SIZE(rows);

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(name, rows[middle].name);

		if (order == 0)
			return &rows[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct log_event_row *log_events_at(size_t n)
{
	return n < PTA_ARRAY_SIZE(rows) ? &rows[n] : NULL;
}

struct log_limit *log_events_limit(const struct log_event_row *row)
{
	return &limits[row - rows];
}
