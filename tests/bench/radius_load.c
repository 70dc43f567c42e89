/* Access-Requests with PAP (RFC 2865) to a RADIUS server: one socket for each in flight, one request at a time on it.
 *
 *   radius_load --port 1812 --secret S --user 'user{05n}' --numbers 0-9999 --password 'Pw-{05n}' --in-flight 32 --seconds 1 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define WHAT "radius_load"
#define DIGEST 16
#define HEAD 20 /* code, identifier, length, authenticator */
#define PACKET_MAX 4096
#define PASSWORD_MAX 128
#define EVENTS 64

enum code { ACCESS_REQUEST = 1, ACCESS_ACCEPT = 2, ACCESS_REJECT = 3 };
enum attribute { USER_NAME = 1, USER_PASSWORD = 2 };

struct exchange {
	int fd;
	uint8_t identifier;
	uint8_t authenticator[DIGEST];
	uint64_t started_ns;
};

struct client {
	struct bench bench;
	const char *port, *secret;
	struct buf user, password;
};

/* MD5 of one after the other; either may be empty. */
static void md5(const void *one, size_t one_len, const void *two, size_t two_len, uint8_t digest[DIGEST])
{
	uint8_t joined[PACKET_MAX + 256];

	if (one_len + two_len > sizeof(joined))
		bench_die(WHAT, "the secret is too long");
	memcpy(joined, one, one_len);
	memcpy(joined + one_len, two, two_len);
	if (!EVP_Digest(joined, one_len + two_len, digest, NULL, EVP_md5(), NULL))
		bench_die(WHAT, "no MD5");
}

/* RFC 2865 5.2: the password in blocks, each hidden by the digest of the secret and the block before it. */
static size_t hide_password(const struct client *client, const struct exchange *exchange, uint8_t *out)
{
	size_t len = client->password.len, padded = len ? (len + DIGEST - 1) / DIGEST * DIGEST : DIGEST;
	const uint8_t *before = exchange->authenticator;

	memset(out, 0, padded);
	memcpy(out, client->password.data, len);
	for (size_t at = 0; at < padded; at += DIGEST) {
		uint8_t mask[DIGEST];

		md5(client->secret, strlen(client->secret), before, DIGEST, mask);
		for (size_t i = 0; i < DIGEST; i++)
			out[at + i] ^= mask[i];
		before = out + at;
	}
	return padded;
}

static size_t put_head(uint8_t *at, enum attribute type, size_t len)
{
	at[0] = (uint8_t)type;
	at[1] = (uint8_t)(len + 2);
	return len + 2;
}

static void ask(struct client *client, struct exchange *exchange)
{
	uint8_t packet[HEAD + 255 + 2 + PASSWORD_MAX];
	size_t len = HEAD;

	bench_login(&client->bench, &client->user, &client->password);
	if (RAND_bytes(exchange->authenticator, DIGEST) != 1)
		bench_die(WHAT, "no random bytes");
	packet[0] = ACCESS_REQUEST;
	packet[1] = ++exchange->identifier;
	memcpy(packet + 4, exchange->authenticator, DIGEST);
	memcpy(packet + len + 2, client->user.data, client->user.len);
	len += put_head(packet + len, USER_NAME, client->user.len);
	len += put_head(packet + len, USER_PASSWORD, hide_password(client, exchange, packet + len + 2));
	packet[2] = (uint8_t)(len >> 8);
	packet[3] = (uint8_t)len;
	exchange->started_ns = bench_start(&client->bench);
	if (send(exchange->fd, packet, len, 0) != (ssize_t)len)
		bench_die(WHAT, "port %s: %m", client->port);
}

/* RFC 2865 3: the answer's authenticator is a digest over it, the request's and the secret. */
static bool authentic(const struct client *client, const struct exchange *exchange, uint8_t *packet, size_t len)
{
	uint8_t theirs[DIGEST], digest[DIGEST];

	memcpy(theirs, packet + 4, DIGEST);
	memcpy(packet + 4, exchange->authenticator, DIGEST);
	md5(packet, len, client->secret, strlen(client->secret), digest);
	return memcmp(theirs, digest, DIGEST) == 0;
}

static const char *read_answer(const struct client *client, const struct exchange *exchange)
{
	uint8_t packet[PACKET_MAX];
	ssize_t len = recv(exchange->fd, packet, sizeof(packet), 0);

	if (len < HEAD || packet[1] != exchange->identifier || (packet[2] << 8 | packet[3]) != len || !authentic(client, exchange, packet, (size_t)len))
		return NULL;
	return packet[0] == ACCESS_ACCEPT ? "success" : packet[0] == ACCESS_REJECT ? "invalid_credentials" : NULL;
}

static void answered(struct client *client, struct exchange *exchange)
{
	const char *verdict = read_answer(client, exchange);

	if (bench_end(&client->bench, exchange->started_ns, verdict, verdict ? strlen(verdict) : 0))
		ask(client, exchange);
}

static int connect_to(const char *port)
{
	struct sockaddr_in server = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)bench_number(WHAT, "port", port, 1, 65535))};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0)
		bench_die(WHAT, "port %s: %m", port);
	return fd;
}

int main(int argc, char **argv)
{
	struct client client = {.user = BUF_INIT(253), .password = BUF_INIT(PASSWORD_MAX)};
	const struct bench_option own[] = {{"port", &client.port, true}, {"secret", &client.secret, true}, {NULL, NULL, false}};
	struct epoll_event events[EVENTS];
	struct exchange *exchanges;
	int epoll, n;

	bench_init(&client.bench, WHAT, argc, argv, own);
	exchanges = calloc(client.bench.in_flight, sizeof(*exchanges));
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!exchanges || epoll < 0)
		bench_die(WHAT, "%m");
	bench_go(&client.bench);
	for (unsigned long i = 0; i < client.bench.in_flight; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &exchanges[i]};

		exchanges[i].fd = connect_to(client.port);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, exchanges[i].fd, &event) < 0)
			bench_die(WHAT, "epoll_ctl: %m");
		ask(&client, &exchanges[i]);
	}
	while ((n = bench_wait(&client.bench, epoll, events, EVENTS)) >= 0)
		for (int i = 0; i < n; i++)
			answered(&client, events[i].data.ptr);
	for (unsigned long i = 0; i < client.bench.in_flight; i++)
		close(exchanges[i].fd);
	close(epoll);
	free(exchanges);
	buf_done(&client.user);
	buf_done(&client.password);
	return bench_report(&client.bench);
}
