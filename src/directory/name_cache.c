#include "directory/name_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"

#define BUCKETS 1024 /* a power of two */

struct entry {
	TAILQ_ENTRY(entry) by_age;
	LIST_ENTRY(entry) in_bucket;
	uint64_t expires_us;
	enum credential_form form;
	size_t name_len, dn_len, account_len;
	char bytes[]; /* name, DN and account, each with its NUL */
};

struct name_cache {
	pthread_mutex_t lock; /* guards what follows but `fold` */
	size_t n;
	TAILQ_HEAD(, entry) by_age; /* all live equally long: the first expires first */
	LIST_HEAD(, entry) buckets[BUCKETS];
	bool fold;
};

int name_cache_new(bool fold, struct name_cache **out)
{
	struct name_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return -PTA_ENOMEM;
	pthread_mutex_init(&cache->lock, NULL);
	TAILQ_INIT(&cache->by_age);
	cache->fold = fold;
	*out = cache;
	return 0;
}

static char folded(const struct name_cache *cache, char c)
{
	/* Not tolower(), which depends on the locale. */
	return cache->fold && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* FNV-1a. Only names that exist get in, so nobody can choose what collides. */
static size_t bucket_of(const struct name_cache *cache, const struct credential *credential)
{
	uint64_t hash = 0xcbf29ce484222325 ^ (uint64_t)credential->form;

	for (const char *p = credential->name; *p; p++)
		hash = (hash ^ (unsigned char)folded(cache, *p)) * 0x100000001b3;
	return (size_t)(hash ^ hash >> 32) & (BUCKETS - 1);
}

static bool is_for(const struct name_cache *cache, const struct entry *entry, const struct credential *credential)
{
	if (entry->form != credential->form)
		return false;
	for (size_t i = 0; i <= entry->name_len; i++)
		if (folded(cache, entry->bytes[i]) != folded(cache, credential->name[i]))
			return false;
	return true;
}

static struct entry *find(struct name_cache *cache, const struct credential *credential, size_t bucket)
{
	struct entry *entry;

	LIST_FOREACH (entry, &cache->buckets[bucket], in_bucket)
		if (is_for(cache, entry, credential))
			return entry;
	return NULL;
}

static void drop(struct name_cache *cache, struct entry *entry)
{
	TAILQ_REMOVE(&cache->by_age, entry, by_age);
	LIST_REMOVE(entry, in_bucket);
	cache->n--;
	free(entry);
}

void name_cache_free(struct name_cache *cache)
{
	struct entry *entry;

	if (!cache)
		return;
	while ((entry = TAILQ_FIRST(&cache->by_age)))
		drop(cache, entry);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

/* Under the lock. */
static void expire(struct name_cache *cache)
{
	uint64_t now = clock_mono_us();
	struct entry *entry;

	while ((entry = TAILQ_FIRST(&cache->by_age)) && entry->expires_us <= now)
		drop(cache, entry);
}

bool name_cache_get(struct name_cache *cache, const struct credential *credential, struct name_found *out)
{
	size_t bucket = bucket_of(cache, credential);
	struct entry *entry;

	pthread_mutex_lock(&cache->lock);
	expire(cache);
	entry = find(cache, credential, bucket);
	if (entry) {
		const char *dn = entry->bytes + entry->name_len + 1, *account = dn + entry->dn_len + 1;

		memcpy(out->dn, dn, entry->dn_len + 1);
		memcpy(out->account, account, entry->account_len + 1);
	}
	pthread_mutex_unlock(&cache->lock);
	return entry != NULL;
}

void name_cache_put(struct name_cache *cache, const struct credential *credential, const struct name_found *found)
{
	size_t name_len = strlen(credential->name), dn_len = strlen(found->dn), account_len = strlen(found->account), bucket = bucket_of(cache, credential);
	struct entry *entry = malloc(sizeof(*entry) + name_len + dn_len + account_len + 3), *before;

	if (!entry)
		return;
	entry->form = credential->form;
	entry->name_len = name_len;
	entry->dn_len = dn_len;
	entry->account_len = account_len;
	memcpy(entry->bytes, credential->name, name_len + 1);
	memcpy(entry->bytes + name_len + 1, found->dn, dn_len + 1);
	memcpy(entry->bytes + name_len + 1 + dn_len + 1, found->account, account_len + 1);
	pthread_mutex_lock(&cache->lock);
	expire(cache);
	before = find(cache, credential, bucket);
	if (before)
		drop(cache, before);
	if (cache->n >= NAME_CACHE_MAX)
		drop(cache, TAILQ_FIRST(&cache->by_age));
	entry->expires_us = clock_mono_us() + NAME_CACHE_US;
	TAILQ_INSERT_TAIL(&cache->by_age, entry, by_age);
	LIST_INSERT_HEAD(&cache->buckets[bucket], entry, in_bucket);
	cache->n++;
	pthread_mutex_unlock(&cache->lock);
}

void name_cache_forget(struct name_cache *cache, const struct credential *credential)
{
	size_t bucket = bucket_of(cache, credential);
	struct entry *entry;

	pthread_mutex_lock(&cache->lock);
	entry = find(cache, credential, bucket);
	if (entry)
		drop(cache, entry);
	pthread_mutex_unlock(&cache->lock);
}

size_t name_cache_count(struct name_cache *cache)
{
	size_t n;

	pthread_mutex_lock(&cache->lock);
	expire(cache);
	n = cache->n;
	pthread_mutex_unlock(&cache->lock);
	return n;
}
