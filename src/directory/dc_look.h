/* One look for a domain's controllers: dc_locator's work without its thread. Blocks; thread-safe; no state but a seed. */
#ifndef PTA_DIRECTORY_DC_LOOK_H
#define PTA_DIRECTORY_DC_LOOK_H

#include "directory/dc_locator.h"

struct dc_look {
	const struct directory_conf *conf;
	const char *known_site; /* of an earlier look, "" when unknown: saves a question, and stands while nobody answers pings */
	unsigned ping_port, ping_ms;
	uint64_t deadline_us;
	int cancel_fd; /* readable: end with -PTA_ECLOSED; -1: none */
};

/* As dc_locator_look(). *out is touched on success only. */
PTA_MUST_CHECK int dc_look(const struct dc_look *look, struct dc_found *out, struct err *err);

/* The host that an SRV target names, in lower case, or false: it is no host name, or neither the domain nor below it. */
bool dc_look_target(const char *target, const char *domain, char host[LIMIT_DOMAIN + 1]);
/* Latency in classes that noise seldom crosses: up to 1 ms, 2 ms, 4 ms and so on. */
unsigned dc_look_class(uint32_t ping_us);

#endif
