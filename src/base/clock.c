#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* 9999-12-31T23:59:59.999Z: the last that fits four digits of a year. */
#define RFC3339_MAX_MS UINT64_C(253402300799999)
#define SECOND_LEN 19 /* of a time up to its seconds */

static _Atomic int64_t fake_mono_us = -1;
static _Atomic int64_t fake_wall_ms = -1;

static uint64_t now_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts); /* cannot fail for these ids */
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_mono_us(void)
{
	int64_t fake = atomic_load_explicit(&fake_mono_us, memory_order_relaxed);

	return fake < 0 ? now_us(CLOCK_MONOTONIC) : (uint64_t)fake;
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

uint64_t clock_wall_ms(void)
{
	int64_t fake = atomic_load_explicit(&fake_wall_ms, memory_order_relaxed);

	return fake < 0 ? now_us(CLOCK_REALTIME) / 1000 : (uint64_t)fake;
}

/* "2026-01-31T23:59:59" */
static void render_second(time_t second, char out[SECOND_LEN])
{
	char text[128]; /* roomier than any int makes it, so that the compiler need not guess ranges */
	struct tm tm;

	gmtime_r(&second, &tm);
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	memcpy(out, text, SECOND_LEN);
}

void clock_rfc3339(uint64_t wall_ms, char out[CLOCK_RFC3339_LEN + 1])
{
	/* Log lines ask again and again within one second. */
	static _Thread_local struct {
		time_t second;
		char text[SECOND_LEN];
	} last = {.second = -1};
	unsigned ms;

	if (wall_ms > RFC3339_MAX_MS)
		wall_ms = RFC3339_MAX_MS;
	ms = (unsigned)(wall_ms % 1000);
	if (last.second != (time_t)(wall_ms / 1000)) {
		last.second = (time_t)(wall_ms / 1000);
		render_second(last.second, last.text);
	}
	memcpy(out, last.text, SECOND_LEN);
	memcpy(out + SECOND_LEN, (const char[]){'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', '\0'},
		CLOCK_RFC3339_LEN + 1 - SECOND_LEN);
}

void clock_fake(int64_t mono_us, int64_t wall_ms)
{
	atomic_store(&fake_mono_us, mono_us);
	atomic_store(&fake_wall_ms, wall_ms);
}
