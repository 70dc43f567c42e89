#include "base/httpd_peers.h"

#include <netinet/in.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

struct peer {
	struct peer *next;
	struct httpd_peer_key key;
	unsigned count;
};

struct httpd_peers {
	uint64_t seed[2]; /* peers choose their addresses: they must not choose their bucket */
	unsigned mask;
	struct peer *buckets[];
};

int httpd_peers_new(unsigned expected, struct httpd_peers **out)
{
	struct httpd_peers *peers;
	unsigned n = 16;

	while (n < expected && n < 65536)
		n *= 2;
	peers = calloc(1, sizeof(*peers) + n * sizeof(peers->buckets[0]));
	if (!peers)
		return -PTA_ENOMEM;
	if (RAND_bytes((unsigned char *)peers->seed, sizeof(peers->seed)) != 1) {
		free(peers);
		return -PTA_ECRYPTO;
	}
	peers->mask = n - 1;
	*out = peers;
	return 0;
}

void httpd_peers_free(struct httpd_peers *peers)
{
	if (!peers)
		return;
	for (unsigned i = 0; i <= peers->mask; i++)
		for (struct peer *peer = peers->buckets[i], *next; peer; peer = next) {
			next = peer->next;
			free(peer);
		}
	free(peers);
}

struct httpd_peer_key httpd_peer_key(const struct sockaddr *sa)
{
	struct httpd_peer_key key = {0};

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;

		key.low = (1ull << 32) | in->sin_addr.s_addr;
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			uint32_t v4;

			memcpy(&v4, in6->sin6_addr.s6_addr + 12, sizeof(v4));
			key.low = (1ull << 32) | v4;
		} else {
			memcpy(&key.high, in6->sin6_addr.s6_addr, sizeof(key.high));
			key.low = 2ull << 32;
		}
	}
	return key;
}

static struct peer **find(struct httpd_peers *peers, struct httpd_peer_key key)
{
	/* Two rounds of multiply and fold with secret odd factors. */
	uint64_t h = (key.high ^ peers->seed[0]) * (peers->seed[1] | 1);
	struct peer **at;

	h = (h ^ (h >> 29) ^ key.low) * (peers->seed[0] | 1);
	h ^= h >> 32;
	for (at = &peers->buckets[h & peers->mask]; *at; at = &(*at)->next)
		if ((*at)->key.high == key.high && (*at)->key.low == key.low)
			break;
	return at;
}

bool httpd_peers_enter(struct httpd_peers *peers, struct httpd_peer_key key, unsigned most)
{
	struct peer **at;

	if (!key.high && !key.low)
		return true;
	at = find(peers, key);
	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (!*at)
			return false;
		(*at)->key = key;
	}
	if ((*at)->count >= most)
		return false;
	(*at)->count++;
	return true;
}

void httpd_peers_leave(struct httpd_peers *peers, struct httpd_peer_key key)
{
	struct peer **at, *peer;

	if (!key.high && !key.low)
		return;
	at = find(peers, key);
	peer = *at;
	if (!peer || --peer->count)
		return;
	*at = peer->next;
	free(peer);
}
