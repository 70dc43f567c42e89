/* Finds a domain's controllers by DNS and keeps the section's dc_pool up to date: SRV records (RFC 2782) of the agent's
 * site first, then of the domain; targets outside the domain are refused; a netlogon ping (MS-ADTS 6.3.3, CLDAP) to each
 * tells the site and the nearest. One thread of its own, which may block in DNS; all functions are thread-safe. */
#ifndef PTA_DIRECTORY_DC_LOCATOR_H
#define PTA_DIRECTORY_DC_LOCATOR_H

#include "base/err.h"
#include "directory/dc_pool.h"

struct dc_locator;

/* What one look found, for `check` and the log. */
struct dc_found {
	struct dc_candidate dcs[DC_POOL_MAX]; /* best first: tier 0 the agent's site, tier 1 the rest */
	uint32_t ping_us[DC_POOL_MAX];	      /* 0: no answer to the ping */
	size_t n;
	char client_site[64]; /* the site that DCs count this host to; "" unknown */
	uint32_t ttl_s;	      /* of the records; at least 1 */
	unsigned refused;     /* targets outside the domain, or no host names */
	char refused_first[LIMIT_DOMAIN + 1];
	unsigned left_out; /* beyond DC_POOL_MAX */
	char servers[128]; /* the name servers that were asked */
};

/* Looks once, now, and knows nothing of earlier looks. Blocks for at most timeout_ms. -PTA_ENET, -PTA_ETIMEDOUT: DNS gave no list (the text says what was asked
 * and what came back); -PTA_ENOENT: DNS says there is none. */
PTA_MUST_CHECK int dc_locator_look(const struct directory_conf *conf, unsigned timeout_ms, struct dc_found *out, struct err *err);

/* Starts the thread, which looks at once. conf and pool must outlive it. What DNS does not answer changes nothing. *out is
 * set before the thread runs, so that what it sets off may kick it; NULL on error. */
PTA_MUST_CHECK int dc_locator_new(const struct directory_conf *conf, struct dc_pool *pool, struct dc_locator **out, struct err *err);
/* Look again soon (a DC failed): at most once in some seconds. Never blocks. */
void dc_locator_kick(struct dc_locator *locator);
/* Ends a look under way and joins the thread: the pool is not updated any more, and kicks do nothing. By the thread that
 * frees. NULL is allowed. */
void dc_locator_stop(struct dc_locator *locator);
void dc_locator_free(struct dc_locator *locator); /* after dc_locator_stop(), or with it; nobody may kick any more. NULL is allowed */

/* For tests, which can neither have port 389 nor wait for minutes: holds for what starts from now on; NULL ends it. */
struct dc_locator_tuning {
	unsigned ping_port, ping_ms;
	unsigned look_ms;		     /* the most that a look of the thread takes */
	unsigned renew_min_ms, renew_max_ms; /* the TTL is kept between */
	unsigned retry_min_ms, retry_max_ms; /* back-off after a failed look */
	unsigned kick_ms;		     /* between the beginnings of looks, however often it is kicked */
};
void dc_locator_tune_for_tests(const struct dc_locator_tuning *tuning);

#endif
