#include "directory/dc_look.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/clock.h"
#include "directory/cldap.h"
#include "directory/dns_srv.h"

#define LDAP_PORT 389
#define LDAPS_PORT 636
#define KDC_PORT 88
/* For the addresses of all: without them there is no ping, with them there need not be an answer to one. */
#define ADDRESSES_US 2000000ull
#define HOST_MAX 253 /* RFC 1035 2.3.4, without the last dot and its length byte */
#define LABEL_MAX 63
/* "_ldap._tcp." SITE "._sites" ".dc._msdcs." DOMAIN */
#define NAME_MAX_BYTES (LIMIT_DOMAIN + CLDAP_SITE_MAX + 64)

/* A controller that DNS named. */
struct entry {
	struct dns_srv srv; /* target: the host, checked and in lower case */
	uint32_t lot;	    /* picks among equals when there are too many: the same in every look, another in every agent */
	bool in_site;	    /* in the list of our site */
	bool asked;	    /* pinged */
	bool answered;
	uint32_t ping_us;
	uint32_t flags;
	bool paused;
	char site[CLDAP_SITE_MAX + 1];
	char client_site[CLDAP_SITE_MAX + 1];
	/* for the order */
	unsigned tier;
	bool last;
	unsigned class;
};

struct state {
	const struct dc_look *look;
	struct dns *dns;
	struct entry *entries;
	size_t n;
	size_t named; /* by DNS, whether taken or not */
	uint32_t ttl_s;
	unsigned refused;
	char refused_first[LIMIT_DOMAIN + 1];
	char site[CLDAP_SITE_MAX + 1];
};

bool dc_look_target(const char *target, const char *domain, char host[LIMIT_DOMAIN + 1])
{
	size_t len = strlen(target), domain_len = strlen(domain), label = 0;

	if (len > 0 && target[len - 1] == '.')
		len--;
	if (len == 0 || len > HOST_MAX || len < domain_len)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = target[i];

		host[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
		if (c == '.') {
			if (label == 0 || host[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		/* Windows lets hosts have '_' in their names. */
		if (!((host[i] >= 'a' && host[i] <= 'z') || (c >= '0' && c <= '9') || c == '_' || (c == '-' && label > 0)) || ++label > LABEL_MAX)
			return false;
	}
	host[len] = '\0';
	if (label == 0 || host[len - 1] == '-')
		return false;
	if (strcasecmp(host + len - domain_len, domain) != 0)
		return false;
	return len == domain_len || host[len - domain_len - 1] == '.';
}

unsigned dc_look_class(uint32_t ping_us)
{
	unsigned steps = 0;

	for (uint64_t limit = 1000; ping_us > limit; limit *= 2)
		steps++;
	return steps;
}

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;
static uint32_t seed;

static void make_seed(void)
{
	/* So few bytes come whole and uninterrupted from any kernel that has the call. */
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		abort();
}

/* FNV-1a. Nothing depends on its being hard to guess. */
static uint32_t lot_of(const char *host)
{
	uint32_t hash = 2166136261u ^ seed;

	for (; *host; host++)
		hash = (hash ^ (uint8_t)*host) * 16777619u;
	return hash;
}

/* -- what DNS names -- */

static struct entry *find_entry(const struct state *s, const char *host)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->entries[i].srv.target, host) == 0)
			return &s->entries[i];
	return NULL;
}

static int add(struct state *s, const struct dns_srv_list *list, bool in_site, struct err *err)
{
	struct entry *more = realloc(s->entries, (s->n + list->n) * sizeof(s->entries[0]));

	if (!more)
		return err_set(err, -PTA_ENOMEM, "looking for controllers: out of memory");
	s->entries = more;
	s->named += list->n;
	if (list->ttl_s < s->ttl_s)
		s->ttl_s = list->ttl_s;
	for (size_t i = 0; i < list->n; i++) {
		const struct dns_srv *srv = &list->records[i];
		struct entry *entry, new = {.srv = *srv, .in_site = in_site};

		if (!dc_look_target(srv->target, s->look->conf->name, new.srv.target)) {
			if (s->refused++ == 0)
				memcpy(s->refused_first, srv->target, sizeof(s->refused_first));
			continue;
		}
		entry = find_entry(s, new.srv.target);
		if (!entry) {
			new.lot = lot_of(new.srv.target);
			s->entries[s->n++] = new;
			continue;
		}
		/* The site's list knows better how its controllers are to be ordered. */
		if ((in_site && !entry->in_site) || (in_site == entry->in_site && srv->priority < entry->srv.priority))
			entry->srv = new.srv;
		entry->in_site = entry->in_site || in_site;
	}
	return 0;
}

static int ask_domain(struct state *s, struct err *err)
{
	struct dns_srv_list list = {0};
	char name[NAME_MAX_BYTES];
	int r;

	snprintf(name, sizeof(name), "_ldap._tcp.dc._msdcs.%s", s->look->conf->name);
	r = dns_srv_query(s->dns, name, s->look->deadline_us, &list, err);
	if (r < 0)
		return r;
	r = add(s, &list, false, err);
	dns_srv_list_done(&list);
	if (r == 0 && s->n == 0)
		return err_set(err, -PTA_ENOENT,
			"SRV records of %s, asked of %s: they name %zu hosts, none of them in the domain %s (the first: %s); such are refused", name,
			dns_servers(s->dns), s->named, s->look->conf->name, s->refused_first);
	return r;
}

/* Without the site's list the domain's does: only what ends the look is an error. */
static int ask_site(struct state *s, const char *site, struct err *err)
{
	struct dns_srv_list list = {0};
	uint64_t now = clock_mono_us();
	char name[NAME_MAX_BYTES];
	struct err cause = {0};
	int r;

	if (now >= s->look->deadline_us)
		return 0;
	snprintf(name, sizeof(name), "_ldap._tcp.%s._sites.dc._msdcs.%s", site, s->look->conf->name);
	r = dns_srv_query(s->dns, name, now + (s->look->deadline_us - now) / 2, &list, &cause);
	if (r == -PTA_ECLOSED || r == -PTA_ENOMEM)
		return err_set(err, r, "%s", cause.text);
	if (r < 0)
		return 0;
	r = add(s, &list, true, err);
	dns_srv_list_done(&list);
	return r;
}

/* -- which are looked at -- */

static int by_choice(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->in_site != y->in_site)
		return x->in_site ? -1 : 1;
	if (x->srv.priority != y->srv.priority)
		return x->srv.priority < y->srv.priority ? -1 : 1;
	if (x->lot != y->lot)
		return x->lot < y->lot ? -1 : 1;
	return strcmp(x->srv.target, y->srv.target);
}

/* The first so many are it. */
static size_t chosen(struct state *s)
{
	qsort(s->entries, s->n, sizeof(s->entries[0]), by_choice);
	return s->n < DC_POOL_MAX ? s->n : DC_POOL_MAX;
}

/* Pings those of the chosen that were not yet. */
static int ping(struct state *s, struct err *err)
{
	struct cldap_target *targets = calloc(DC_POOL_MAX, sizeof(targets[0]));
	struct dns_host *hosts = calloc(DC_POOL_MAX, sizeof(hosts[0]));
	struct entry *asked[DC_POOL_MAX];
	uint64_t now = clock_mono_us(), deadline = s->look->deadline_us;
	size_t n = 0, count = chosen(s);
	int r = 0;

	if (!targets || !hosts) {
		r = err_set(err, -PTA_ENOMEM, "looking for controllers: out of memory");
		goto out;
	}
	for (size_t i = 0; i < count; i++) {
		struct entry *entry = &s->entries[i];

		if (entry->asked)
			continue;
		entry->asked = true;
		asked[n] = entry;
		hosts[n].name = entry->srv.target;
		targets[n].host = &hosts[n];
		n++;
	}
	if (n == 0 || now >= deadline)
		goto out;
	r = dns_addresses(s->dns, hosts, n, deadline - now < 2 * ADDRESSES_US ? now + (deadline - now) / 2 : now + ADDRESSES_US, err);
	if (r < 0)
		goto out;
	now = clock_mono_us();
	if (deadline > now + s->look->ping_ms * 1000ull)
		deadline = now + s->look->ping_ms * 1000ull;
	r = cldap_ping(s->look->conf->name, s->look->ping_port, targets, n, deadline, s->look->cancel_fd, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!targets[i].answered)
			continue;
		asked[i]->answered = true;
		asked[i]->ping_us = targets[i].took_us;
		asked[i]->flags = targets[i].answer.flags;
		asked[i]->paused = targets[i].answer.paused;
		memcpy(asked[i]->site, targets[i].answer.dc_site, sizeof(asked[i]->site));
		memcpy(asked[i]->client_site, targets[i].answer.client_site, sizeof(asked[i]->client_site));
	}
	/* Pings are a help: where they cannot be made, the list stands without them. */
	if (r == -PTA_EIO)
		r = 0;
out:
	free(targets);
	free(hosts);
	return r;
}

/* The site that the quickest of those who know one counts us to. What was known stands while nobody answers. */
static void learn_site(struct state *s)
{
	const struct entry *quickest = NULL;
	bool answered = false;

	for (size_t i = 0; i < s->n; i++) {
		const struct entry *entry = &s->entries[i];

		answered = answered || entry->answered;
		if (entry->answered && entry->client_site[0] && (!quickest || entry->ping_us < quickest->ping_us))
			quickest = entry;
	}
	if (answered)
		memcpy(s->site, quickest ? quickest->client_site : "", quickest ? sizeof(s->site) : 1);
}

/* -- the order -- */

static int by_rank(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->tier != y->tier)
		return x->tier < y->tier ? -1 : 1;
	if (x->last != y->last)
		return x->last ? 1 : -1;
	if (x->srv.priority != y->srv.priority)
		return x->srv.priority < y->srv.priority ? -1 : 1;
	if (x->class != y->class)
		return x->class < y->class ? -1 : 1;
	return strcmp(x->srv.target, y->srv.target);
}

static bool equals(const struct entry *x, const struct entry *y)
{
	return x->tier == y->tier && x->last == y->last && x->srv.priority == y->srv.priority && x->class == y->class;
}

/* RFC 2782's order of n equals. */
static void draw(struct entry *entries, size_t n)
{
	uint16_t weights[DC_POOL_MAX];

	for (size_t done = 0; n - done > 1; done++) {
		struct entry drawn;
		size_t i;

		for (i = done; i < n; i++)
			weights[i - done] = entries[i].srv.weight;
		i = done + dns_srv_choose(weights, n - done);
		drawn = entries[i];
		memmove(&entries[done + 1], &entries[done], (i - done) * sizeof(entries[0]));
		entries[done] = drawn;
	}
}

static void rank(struct state *s, size_t n)
{
	const uint32_t needed = s->look->conf->method == DIRECTORY_SIMPLE ? CLDAP_LDAP : CLDAP_LDAP | CLDAP_KDC;

	for (size_t i = 0; i < n; i++) {
		struct entry *entry = &s->entries[i];
		bool near = entry->in_site || (entry->answered && (entry->flags & CLDAP_CLOSEST)) || (s->site[0] && strcasecmp(entry->site, s->site) == 0);

		entry->tier = near ? 0 : 1;
		/* Silence may be a filter's; it may be tried, after all others. */
		entry->last = !entry->answered || entry->paused || (entry->flags & needed) != needed;
		entry->class = entry->answered ? dc_look_class(entry->ping_us) : 0;
	}
	qsort(s->entries, n, sizeof(s->entries[0]), by_rank);
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && equals(&s->entries[i], &s->entries[end]);)
			end++;
		draw(&s->entries[i], end - i);
	}
}

static void publish(struct state *s, struct dc_found *out)
{
	const struct directory_conf *conf = s->look->conf;
	size_t n = chosen(s);

	rank(s, n);
	*out = (struct dc_found){.n = n, .ttl_s = s->ttl_s, .refused = s->refused, .left_out = (unsigned)(s->n - n)};
	memcpy(out->client_site, s->site, sizeof(s->site));
	memcpy(out->refused_first, s->refused_first, sizeof(s->refused_first));
	snprintf(out->servers, sizeof(out->servers), "%s", dns_servers(s->dns));
	for (size_t i = 0; i < n; i++) {
		const struct entry *entry = &s->entries[i];
		struct dc_candidate *dc = &out->dcs[i];

		memcpy(dc->server.host, entry->srv.target, sizeof(dc->server.host));
		/* SRV's port is that of LDAP without TLS from the first byte. */
		if (conf->tls == DIRECTORY_LDAPS)
			dc->server.port = LDAPS_PORT;
		else
			dc->server.port = entry->srv.port ? entry->srv.port : LDAP_PORT;
		dc->server.kdc_port = conf->kdc_port ? conf->kdc_port : KDC_PORT;
		dc->tier = entry->tier;
		memcpy(dc->site, entry->site, sizeof(dc->site));
		out->ping_us[i] = entry->answered ? entry->ping_us : 0;
	}
}

static int look_with(struct state *s, struct dc_found *out, struct err *err)
{
	char asked_site[sizeof(s->site)] = "";
	int r;

	r = ask_domain(s, err);
	if (r < 0)
		return r;
	if (s->site[0]) {
		memcpy(asked_site, s->site, sizeof(asked_site));
		r = ask_site(s, s->site, err);
		if (r < 0)
			return r;
	}
	r = ping(s, err);
	if (r < 0)
		return r;
	learn_site(s);
	if (strcasecmp(s->site, asked_site) != 0) {
		/* We are somewhere else than we thought. */
		for (size_t i = 0; i < s->n; i++)
			s->entries[i].in_site = false;
		r = s->site[0] ? ask_site(s, s->site, err) : 0;
		if (r == 0)
			r = ping(s, err);
		if (r < 0)
			return r;
	}
	publish(s, out);
	return 0;
}

int dc_look(const struct dc_look *look, struct dc_found *out, struct err *err)
{
	struct state s = {.look = look, .ttl_s = UINT32_MAX};
	int r;

	pthread_once(&seed_once, make_seed);
	snprintf(s.site, sizeof(s.site), "%s", look->known_site);
	r = dns_open(look->cancel_fd, &s.dns, err);
	if (r < 0)
		return r;
	r = look_with(&s, out, err);
	dns_close(s.dns);
	free(s.entries);
	return r;
}
