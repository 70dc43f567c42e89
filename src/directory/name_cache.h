/* What names were found to mean, for a short time: names only, never outcomes, and never that there is no such name.
 * Thread-safe; never blocks but for its lock. */
#ifndef PTA_DIRECTORY_NAME_CACHE_H
#define PTA_DIRECTORY_NAME_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "directory/validator.h"
#include "wire/credential.h"

#define NAME_CACHE_MAX 4096
#define NAME_CACHE_US (60 * 1000000ull)

struct name_cache;

/* fold: names that differ in the case of ASCII letters only are one. Right where the directory compares so. */
PTA_MUST_CHECK int name_cache_new(bool fold, struct name_cache **out);
void name_cache_free(struct name_cache *cache); /* NULL is allowed */

/* Copies what is known and not too old into *out. */
bool name_cache_get(struct name_cache *cache, const struct credential *credential, struct name_found *out);
/* Keeps a copy, and drops the oldest when there are too many. Without memory it is not kept. */
void name_cache_put(struct name_cache *cache, const struct credential *credential, const struct name_found *found);
void name_cache_forget(struct name_cache *cache, const struct credential *credential);
size_t name_cache_count(struct name_cache *cache);

#endif
