#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/cldap.h"

/* Datagrams get lost: what has not answered by then is asked again, under the same id. */
#define ASK_AGAIN_US 400000
/* Sockets open at a time; addresses beyond are not asked. */
#define MAX_PROBES 192
/* Datagrams taken from one socket in a row; a flood does not keep the others from being read. */
#define MAX_DATAGRAMS 8

struct probe {
	size_t target;
	int fd; /* -1: closed, nothing to expect from it */
	uint32_t id;
	uint64_t sent_us;
	struct buf request;
};

struct round {
	struct cldap_target *targets;
	const char *domain;
	struct probe *probes;
	struct pollfd *pfds; /* the probes', then cancel_fd */
	size_t n;
};

static uint32_t random_id(void)
{
	uint32_t id;

	do {
		/* So few bytes come whole and uninterrupted from any kernel that has the call. */
		if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
			abort();
		id &= 0x7fffffff;
	} while (id == 0);
	return id;
}

static void give_up(struct probe *probe)
{
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
}

/* A host that is not reachable at one of its addresses is no error: it does not answer. */
static void ask(struct probe *probe)
{
	if (send(probe->fd, probe->request.data, probe->request.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
		give_up(probe);
}

/* Connected, so that the kernel drops what comes from elsewhere and tells of a port that is closed. */
static int open_probe(struct round *round, size_t target, const union dns_address *to, unsigned port, struct err *err)
{
	struct probe *probe = &round->probes[round->n];
	bool v6 = to->any.sa_family == AF_INET6;
	union dns_address address = *to;
	int r;

	if (v6)
		address.v6.sin6_port = htons((uint16_t)port);
	else
		address.v4.sin_port = htons((uint16_t)port);
	*probe = (struct probe){.target = target, .fd = -1, .id = random_id(), .request = BUF_INIT(1024)};
	r = cldap_encode(probe->id, round->domain, &probe->request);
	if (r < 0) {
		buf_done(&probe->request);
		return err_set(err, r, "netlogon ping: a request for %s cannot be made", round->domain);
	}
	probe->fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	round->n++;
	if (probe->fd < 0) {
		/* A kernel without IPv6 */
		if (errno == EAFNOSUPPORT)
			return 0;
		return err_set_errno(err, -PTA_EIO, errno, "netlogon ping: making a socket");
	}
	if (connect(probe->fd, &address.any, v6 ? sizeof(address.v6) : sizeof(address.v4)) < 0) {
		give_up(probe);
		return 0;
	}
	probe->sent_us = clock_mono_us();
	ask(probe);
	return 0;
}

static bool same_domain(const char *said, const char *domain)
{
	size_t len = strlen(said);

	return len == strlen(domain) && strncasecmp(said, domain, len) == 0;
}

/* True: the probe is at its end. */
static bool take(struct round *round, struct probe *probe)
{
	struct cldap_target *target = &round->targets[probe->target];
	uint8_t message[CLDAP_MESSAGE_MAX + 1];
	struct cldap_answer answer;
	uint64_t took;
	int r;

	for (int i = 0; i < MAX_DATAGRAMS; i++) {
		ssize_t n = recv(probe->fd, message, sizeof(message), MSG_DONTWAIT);

		if (n < 0)
			return errno != EAGAIN && errno != EINTR;
		r = cldap_decode(message, (size_t)n, probe->id, &answer, NULL);
		if (r == -PTA_ENOENT)
			return true;
		/* Somebody's datagram that is none of ours; ours may still come. */
		if (r < 0 || !same_domain(answer.domain, round->domain))
			continue;
		took = clock_mono_us() - probe->sent_us;
		target->answered = true;
		target->took_us = took == 0 ? 1 : took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
		target->answer = answer;
		return true;
	}
	return false;
}

/* How many probes may still be answered. */
static size_t expected(const struct round *round)
{
	size_t n = 0;

	for (size_t i = 0; i < round->n; i++)
		n += round->probes[i].fd >= 0;
	return n;
}

static int run(struct round *round, uint64_t deadline_us, int cancel_fd, struct err *err)
{
	uint64_t again_us = clock_mono_us() + ASK_AGAIN_US, now, until;
	bool asked_again = false;

	while (expected(round) > 0 && (now = clock_mono_us()) < deadline_us) {
		if (!asked_again && now >= again_us) {
			asked_again = true;
			for (size_t i = 0; i < round->n; i++)
				if (round->probes[i].fd >= 0)
					ask(&round->probes[i]);
			continue;
		}
		for (size_t i = 0; i < round->n; i++)
			round->pfds[i] = (struct pollfd){.fd = round->probes[i].fd, .events = POLLIN};
		round->pfds[round->n] = (struct pollfd){.fd = cancel_fd, .events = POLLIN};
		until = !asked_again && again_us < deadline_us ? again_us : deadline_us;
		/* Rounded up: a wait of 0 ms would spin through the last one. */
		if (poll(round->pfds, round->n + 1, (int)((until - now) / 1000 + 1)) < 0 && errno != EINTR)
			return err_set_errno(err, -PTA_EIO, errno, "netlogon ping: waiting");
		if (round->pfds[round->n].revents)
			return err_set(err, -PTA_ECLOSED, "netlogon ping: ended");
		for (size_t i = 0; i < round->n; i++) {
			if (round->probes[i].fd < 0 || !round->pfds[i].revents || !take(round, &round->probes[i]))
				continue;
			if (round->targets[round->probes[i].target].answered) {
				for (size_t k = 0; k < round->n; k++)
					if (round->probes[k].target == round->probes[i].target)
						give_up(&round->probes[k]);
			} else {
				give_up(&round->probes[i]);
			}
		}
	}
	return 0;
}

int cldap_ping(const char *domain, unsigned port, struct cldap_target *targets, size_t n, uint64_t deadline_us, int cancel_fd, struct err *err)
{
	struct round round = {.targets = targets, .domain = domain};
	int r = 0;

	for (size_t i = 0; i < n; i++)
		targets[i].answered = false;
	round.probes = calloc(MAX_PROBES, sizeof(round.probes[0]));
	round.pfds = calloc(MAX_PROBES + 1, sizeof(round.pfds[0]));
	if (!round.probes || !round.pfds)
		r = err_set(err, -PTA_ENOMEM, "netlogon ping: out of memory");
	/* Every target's first address, then every one's second: with too many, each is asked somewhere. */
	for (size_t k = 0; r == 0 && k < DNS_ADDRESSES_MAX; k++)
		for (size_t i = 0; r == 0 && i < n && round.n < MAX_PROBES; i++)
			if (k < targets[i].host->naddresses)
				r = open_probe(&round, i, &targets[i].host->addresses[k], port, err);
	if (r == 0)
		r = run(&round, deadline_us, cancel_fd, err);
	for (size_t i = 0; i < round.n; i++) {
		give_up(&round.probes[i]);
		buf_done(&round.probes[i].request);
	}
	free(round.probes);
	free(round.pfds);
	return r;
}
