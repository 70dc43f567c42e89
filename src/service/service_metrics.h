/* The service's series in /metrics. Thread-safe after service_metrics_init(). */
#ifndef PTA_SERVICE_SERVICE_METRICS_H
#define PTA_SERVICE_SERVICE_METRICS_H

#include "base/buf.h"
#include "service/certificates.h"
#include "service/dispatch.h"
#include "wire/verdict.h"

/* Once, before threads. */
void service_metrics_init(void);

void service_metrics_verdict(const struct verdict *verdict, uint64_t took_us);
/* How long a request waited until it was handed out. */
void service_metrics_waited(uint64_t waited_us);
void service_metrics_unauthorized(void);	      /* a sign-in without a good API key */
void service_metrics_result_refused(const char *why); /* a MESSAGE_REFUSED_* */
void service_metrics_certificate_refused(void);
void service_metrics_batch(unsigned requests);

/* All series as Prometheus text, the dispatcher's numbers as of now. */
void service_metrics_render(struct dispatch *dispatch, const struct certificates *certificates, struct buf *out);

#endif
