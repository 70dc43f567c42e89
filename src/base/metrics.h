/* Counters, gauges and histograms of the process, rendered as Prometheus text (exposition format 0.0.4).
 * Updates are lock-free and thread-safe; making a series takes a lock: keep the handle on hot paths. */
#ifndef PTA_BASE_METRICS_H
#define PTA_BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_MAX_LABELS 4
#define METRIC_MAX_SERIES 1024 /* per metric; past it everything goes to one series labelled "other" */

struct metric;
struct metric_series;

/* Label values are escaped; what is not UTF-8 or a control character is shown as '?', and 256 bytes of a value are kept. help is one line
 * without backslashes. */

/* Histograms are of seconds with fixed buckets from 0.0005 to 10; observe in microseconds. The same name again gives
 * the same metric. labels: NULL-terminated names, or NULL. Strings must outlive the process. Never NULL (aborts
 * without memory: only called at start). */
struct metric *metric_new(enum metric_type type, const char *name, const char *help, const char *const *labels);
/* The series for these label values (copied), made at first use. */
struct metric_series *metric_at(struct metric *metric, const char *const *values);
/* Ends one use of a series, by whoever got it from metric_at(), which must not touch it any more; with its last use it is
 * gone (an agent, a DC: a reloaded configuration may count the same thing meanwhile). */
void metric_forget(struct metric *metric, const char *const *values);

void metric_add(struct metric_series *series, uint64_t n);    /* counter */
void metric_set(struct metric_series *series, int64_t value); /* gauge */
void metric_gauge_add(struct metric_series *series, int64_t delta);
void metric_observe_us(struct metric_series *series, uint64_t us); /* histogram */
uint64_t metric_value(const struct metric_series *series);	   /* counter or gauge; a histogram's count */

void metrics_render(struct buf *out);

#endif
