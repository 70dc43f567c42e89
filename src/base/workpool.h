/* A bounded pool of threads for work that blocks or burns CPU (TLS handshakes to DCs, Kerberos). Thread-safe. */
#ifndef PTA_BASE_WORKPOOL_H
#define PTA_BASE_WORKPOOL_H

#include "base/err.h"

struct work {
	struct work *next;
	void (*run)(struct work *work); /* on a pool thread; owns work from then on */
};

struct workpool;

/* threads 1..256; at most `queue` (from 1) works wait. name (at most 12 bytes) shows in ps -L. */
PTA_MUST_CHECK int workpool_new(const char *name, unsigned threads, unsigned queue, struct workpool **out);
/* -PTA_EBUSY when the queue is full, -PTA_ECLOSED when closing: the work stays the caller's. */
PTA_MUST_CHECK int workpool_submit(struct workpool *pool, struct work *work);
/* Runs what is queued, then joins. */
void workpool_free(struct workpool *pool);

#endif
