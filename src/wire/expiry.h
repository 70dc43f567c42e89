/* Warns in time of certificates that expire: the same thresholds and the same events in both programs. A watch belongs to one thread; nothing
 * blocks but the log. */
#ifndef PTA_WIRE_EXPIRY_H
#define PTA_WIRE_EXPIRY_H

#include <stdint.h>

enum expiry_stage { EXPIRY_FAR, EXPIRY_30_DAYS, EXPIRY_7_DAYS, EXPIRY_1_DAY, EXPIRY_OVER };

/* The days are those of a certificate that lasts a year or longer; of a shorter one they are as many parts of its life. Wall clock. */
enum expiry_stage expiry_stage(uint64_t from_ms, uint64_t until_ms, uint64_t now_ms);

/* What was said of one certificate last; zero-initialised. */
struct expiry_watch {
	enum expiry_stage told;
	uint64_t told_ms;
};

/* Call it often: logs certificate.expires, or certificate.expired, when the stage rises (at the first call as well) and once a day from then on. what: which
 * one; name: whose, may be NULL. Returns the stage. */
enum expiry_stage expiry_watch(struct expiry_watch *watch, const char *what, const char *name, uint64_t from_ms, uint64_t until_ms, uint64_t now_ms);

#endif
