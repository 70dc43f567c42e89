/* Counts connections per address: IPv4 by address, IPv6 by /64 (one customer's network). Not thread-safe; never blocks. */
#ifndef PTA_BASE_HTTPD_PEERS_H
#define PTA_BASE_HTTPD_PEERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

struct httpd_peers;

struct httpd_peer_key {
	uint64_t high, low; /* both 0: not counted (unix sockets) */
};

/* expected: of how many addresses at once it should stay fast. */
PTA_MUST_CHECK int httpd_peers_new(unsigned expected, struct httpd_peers **out);
void httpd_peers_free(struct httpd_peers *peers);

struct httpd_peer_key httpd_peer_key(const struct sockaddr *sa);
/* Counts one more; false (and not counted) when there are `most` already, or no memory. */
bool httpd_peers_enter(struct httpd_peers *peers, struct httpd_peer_key key, unsigned most);
void httpd_peers_leave(struct httpd_peers *peers, struct httpd_peer_key key);

#endif
