/* The sd_notify protocol (sd_notify(3)) without libsystemd: datagrams to $NOTIFY_SOCKET, path or abstract.
 * Without the variable everything is a no-op. Thread-safe. */
#ifndef PTA_BASE_SDNOTIFY_H
#define PTA_BASE_SDNOTIFY_H

#include <stdint.h>

#include "base/err.h"

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the environment. Before threads. */
void sdnotify_init(void);
void sdnotify_ready(void);
void sdnotify_reloading(void); /* with MONOTONIC_USEC */
void sdnotify_stopping(void);
void sdnotify_watchdog(void);
PTA_PRINTF(1, 2) void sdnotify_status(const char *fmt, ...);
/* Half of the watchdog's time in ms, 0 when there is none: ping that often. */
uint32_t sdnotify_watchdog_ms(void);

#endif
