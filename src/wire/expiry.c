#include "wire/expiry.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#define DAY_MS UINT64_C(86400000)
#define YEAR_MS (365 * DAY_MS)

enum expiry_stage expiry_stage(uint64_t from_ms, uint64_t until_ms, uint64_t now_ms)
{
	static const uint64_t days[] = {30, 7, 1};
	uint64_t life_ms = until_ms > from_ms ? until_ms - from_ms : 0;
	unsigned stage = EXPIRY_FAR;

	if (now_ms >= until_ms)
		return EXPIRY_OVER;
	if (life_ms > YEAR_MS)
		life_ms = YEAR_MS;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(days); i++)
		stage += until_ms - now_ms <= life_ms / 365 * days[i];
	return (enum expiry_stage)stage;
}

enum expiry_stage expiry_watch(struct expiry_watch *watch, const char *what, const char *name, uint64_t from_ms, uint64_t until_ms, uint64_t now_ms)
{
	enum expiry_stage stage = expiry_stage(from_ms, until_ms, now_ms);
	char until[CLOCK_RFC3339_LEN + 1];

	/* Also after the clock was set back. */
	if (stage > watch->told || (stage != EXPIRY_FAR && (now_ms - watch->told_ms >= DAY_MS || now_ms < watch->told_ms))) {
		clock_rfc3339(until_ms, until);
		log_event(stage >= EXPIRY_1_DAY ? LOG_ERR : LOG_WARNING, stage == EXPIRY_OVER ? "certificate.expired" : "certificate.expires",
			F_STR("what", what), F_STR("name", name), F_STR("until", until),
			F_UINT("hours_left", stage == EXPIRY_OVER ? 0 : (until_ms - now_ms) / 3600000));
		watch->told_ms = now_ms;
	}
	watch->told = stage;
	return stage;
}
