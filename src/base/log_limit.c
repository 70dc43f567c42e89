#include "base/log_limit.h"

#define REST_US (LOG_LIMIT_TELL_US + LOG_LIMIT_WINDOW_US) /* while lines come, one of them tells first */

static bool calm_passes(struct log_limit *limit, uint64_t now_us)
{
	if (now_us - limit->since_us >= LOG_LIMIT_WINDOW_US) {
		limit->since_us = now_us;
		limit->passed = 0;
	}
	if (limit->passed < LOG_LIMIT_BURST) {
		limit->passed++;
		return true;
	}
	limit->storming = true;
	limit->since_us = now_us;
	limit->suppressed = 1;
	return false;
}

static void begin_window(struct log_limit *limit, uint64_t now_us)
{
	limit->storming = false;
	limit->since_us = now_us;
	limit->passed = 1;
}

bool log_limit_pass(struct log_limit *limit, uint64_t now_us, unsigned *suppressed)
{
	bool pass;

	*suppressed = 0;
	pthread_mutex_lock(&limit->lock);
	if (!limit->storming) {
		pass = calm_passes(limit, now_us);
	} else if (now_us - limit->since_us < LOG_LIMIT_TELL_US) {
		limit->suppressed++;
		pass = false;
	} else {
		*suppressed = limit->suppressed;
		if (limit->suppressed < LOG_LIMIT_BURST)
			begin_window(limit, now_us);
		limit->since_us = now_us;
		limit->suppressed = 0;
		pass = true;
	}
	pthread_mutex_unlock(&limit->lock);
	return pass;
}

unsigned log_limit_rest(struct log_limit *limit, uint64_t now_us)
{
	unsigned rest = 0;

	pthread_mutex_lock(&limit->lock);
	if (limit->storming && now_us - limit->since_us >= REST_US) {
		rest = limit->suppressed;
		begin_window(limit, now_us);
		limit->passed = 0;
		limit->suppressed = 0;
	}
	pthread_mutex_unlock(&limit->lock);
	return rest;
}
