#include "service/idmap.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 64

/* FNV-1a. The ids are ours (random or chosen by the administrator), not a peer's to collide. */
static uint32_t hash_id(const char *id)
{
	uint32_t h = 2166136261u;

	for (; *id; id++)
		h = (h ^ (uint8_t)*id) * 16777619u;
	return h;
}

int idmap_init(struct idmap *map)
{
	map->n = 0;
	map->nbuckets = FIRST_BUCKETS;
	map->buckets = calloc(map->nbuckets, sizeof(*map->buckets));
	return map->buckets ? 0 : -PTA_ENOMEM;
}

void idmap_done(struct idmap *map)
{
	free(map->buckets);
	*map = (struct idmap){0};
}

static struct idmap_node **bucket(const struct idmap *map, uint32_t hash)
{
	return &map->buckets[hash & (map->nbuckets - 1)];
}

struct idmap_node *idmap_find(const struct idmap *map, const char *id)
{
	uint32_t hash = hash_id(id);

	for (struct idmap_node *node = *bucket(map, hash); node; node = node->next) {
		if (node->hash == hash && !strcmp(node->id, id))
			return node;
	}
	return NULL;
}

static void link_node(struct idmap *map, struct idmap_node *node)
{
	struct idmap_node **head = bucket(map, node->hash);

	node->next = *head;
	*head = node;
}

static void grow(struct idmap *map)
{
	struct idmap_node **old = map->buckets;
	size_t nold = map->nbuckets;
	struct idmap_node **buckets = calloc(nold * 2, sizeof(*buckets));

	if (!buckets)
		return;
	map->buckets = buckets;
	map->nbuckets = nold * 2;
	for (size_t i = 0; i < nold; i++) {
		struct idmap_node *next;

		for (struct idmap_node *node = old[i]; node; node = next) {
			next = node->next;
			link_node(map, node);
		}
	}
	free(old);
}

void idmap_put(struct idmap *map, const char *id, struct idmap_node *node)
{
	if (map->n >= map->nbuckets)
		grow(map);
	node->id = id;
	node->hash = hash_id(id);
	link_node(map, node);
	map->n++;
}

void idmap_remove(struct idmap *map, struct idmap_node *node)
{
	for (struct idmap_node **at = bucket(map, node->hash); *at; at = &(*at)->next) {
		if (*at == node) {
			*at = node->next;
			node->next = NULL;
			map->n--;
			return;
		}
	}
}

struct idmap_node *idmap_next(const struct idmap *map, const struct idmap_node *node)
{
	size_t i = 0;

	if (node) {
		if (node->next)
			return node->next;
		i = (node->hash & (map->nbuckets - 1)) + 1;
	}
	for (; i < map->nbuckets; i++) {
		if (map->buckets[i])
			return map->buckets[i];
	}
	return NULL;
}
