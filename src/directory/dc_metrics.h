/* The metrics of one domain controller. The pool calls under its lock; after dc_metrics_forget() nothing is counted until
 * they are made again. */
#ifndef PTA_DIRECTORY_DC_METRICS_H
#define PTA_DIRECTORY_DC_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/metrics.h"

#define DC_METRICS_OUTCOMES 4

struct dc_metrics {
	char directory[256], dc[300], site[64]; /* what the series are labelled with */
	struct metric_series *up, *site_of, *connected, *failed, *seconds, *outcomes[DC_METRICS_OUTCOMES], *opened, *closed;
	enum { DC_BREAKER_NEW, DC_BREAKER_CLOSED, DC_BREAKER_OPEN } breaker; /* as it was told last */
};

/* Makes them, or makes them again with another site. */
void dc_metrics_make(struct dc_metrics *m, const char *directory, const char *dc, const char *site);
void dc_metrics_forget(struct dc_metrics *m);
/* The breaker is closed, or open; a change is counted, the first success is none. */
void dc_metrics_up(struct dc_metrics *m, bool up);
void dc_metrics_connected(struct dc_metrics *m, bool connected);
/* outcome: enum dc_outcome. */
void dc_metrics_bound(struct dc_metrics *m, unsigned outcome, uint64_t took_us);

#endif
