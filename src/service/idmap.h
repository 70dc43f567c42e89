/* A hash table of things known by a text id (requests, agents, groups, keys). Intrusive: nodes live in their things.
 * Grows with its content; never shrinks. Not thread-safe. */
#ifndef PTA_SERVICE_IDMAP_H
#define PTA_SERVICE_IDMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct idmap_node {
	struct idmap_node *next;
	const char *id; /* borrowed from the thing */
	uint32_t hash;
};

struct idmap {
	struct idmap_node **buckets;
	size_t nbuckets, n; /* nbuckets: a power of two */
};

#define IDMAP_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

PTA_MUST_CHECK int idmap_init(struct idmap *map);
void idmap_done(struct idmap *map); /* the nodes stay the caller's */
struct idmap_node *idmap_find(const struct idmap *map, const char *id);
/* The id must not be in the map. Never fails: without memory to grow it only gets slower. */
void idmap_put(struct idmap *map, const char *id, struct idmap_node *node);
void idmap_remove(struct idmap *map, struct idmap_node *node);
/* For walks: node NULL gives the first, NULL behind the last. The node just given may be removed before the next call when
 * that takes the one behind it first: next = idmap_next(map, node). */
struct idmap_node *idmap_next(const struct idmap *map, const struct idmap_node *node);

#endif
