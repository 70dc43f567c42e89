/* RLIMIT_NOFILE against what a configuration may need. Once, at start; never blocks. */
#ifndef PTA_BASE_DESCRIPTORS_H
#define PTA_BASE_DESCRIPTORS_H

#include <stdint.h>

#include "base/err.h"

/* Raises the soft limit to `want` descriptors, as far as the hard one goes. -PTA_ETOOBIG when that does not suffice, with both numbers and what to do; `lower`
 * names the keys of the configuration that want so many. */
PTA_MUST_CHECK int descriptors_raise(uint64_t want, const char *lower, struct err *err);

#endif
