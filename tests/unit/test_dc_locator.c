#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/nameser.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cldap_double.h"
#include "directory/cldap.h"
#include "directory/dc_look.h"
#include "directory/dns_srv.h"
#include "dns_double.h"

#define DOMAIN "corp.example.com"
#define ALL "_ldap._tcp.dc._msdcs." DOMAIN
#define OF_SITE(site) "_ldap._tcp." site "._sites.dc._msdcs." DOMAIN
#define HOST(label) label "." DOMAIN
#define SERVICES (CLDAP_LDAP | CLDAP_KDC)
#define SECOND_US 1000000ull
#define CONTROLLERS 3

static char domain[] = DOMAIN;

/* DNS, and three controllers at 127.0.0.11 and so on. */
struct bed {
	struct directory_conf conf;
	struct dns_double *dns;
	struct cldap_double *dcs[CONTROLLERS];
	struct dc_locator_tuning tuning;
	struct dc_found found;
	struct err err;
};

static int setup(void **state)
{
	static struct bed bed;
	unsigned port = 0;

	bed = (struct bed){.conf = {.name = domain, .tls = DIRECTORY_LDAPS, .method = DIRECTORY_SIMPLE}, .dns = dns_double_new()};
	/* One port that is free on all three addresses. */
	for (int tries = 0; tries < 100 && !bed.dcs[CONTROLLERS - 1]; tries++) {
		port = 0;
		for (int i = 0; i < CONTROLLERS; i++) {
			char address[32];

			cldap_double_free(bed.dcs[i]);
			snprintf(address, sizeof(address), "127.0.0.1%d", i + 1);
			bed.dcs[i] = cldap_double_new(address, port);
			if (!bed.dcs[i])
				break;
			port = cldap_double_port(bed.dcs[i]);
		}
	}
	if (!bed.dcs[CONTROLLERS - 1])
		return -1;
	for (int i = 0; i < CONTROLLERS; i++)
		cldap_double_says(bed.dcs[i], DOMAIN, i == 0 ? "Here" : "There", "Here", SERVICES | (i == 0 ? CLDAP_CLOSEST : 0));
	dns_double_address(bed.dns, HOST("dc1"), "127.0.0.11");
	dns_double_address(bed.dns, HOST("dc2"), "127.0.0.12");
	dns_double_address(bed.dns, HOST("dc3"), "127.0.0.13");
	bed.tuning = (struct dc_locator_tuning){.ping_port = port,
		.ping_ms = 1000,
		.look_ms = 10000,
		.renew_min_ms = 60000,
		.renew_max_ms = 60000,
		.retry_min_ms = 60000,
		.retry_max_ms = 60000,
		.kick_ms = 100};
	dns_srv_servers_for_tests(dns_double_servers(bed.dns));
	dc_locator_tune_for_tests(&bed.tuning);
	*state = &bed;
	return 0;
}

static int teardown(void **state)
{
	struct bed *bed = *state;

	dc_locator_tune_for_tests(NULL);
	dns_srv_servers_for_tests(NULL);
	dns_double_free(bed->dns);
	for (int i = 0; i < CONTROLLERS; i++)
		cldap_double_free(bed->dcs[i]);
	return 0;
}

static int look(struct bed *bed)
{
	bed->err.text[0] = '\0';
	return dc_locator_look(&bed->conf, 10000, &bed->found, &bed->err);
}

static void three_controllers(struct bed *bed)
{
	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc3"));
	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("DC2"));
	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc1"));
}

static void assert_dc(const struct bed *bed, size_t i, const char *host, unsigned tier)
{
	assert_string_equal(bed->found.dcs[i].server.host, host);
	assert_int_equal(bed->found.dcs[i].tier, tier);
}

/* -- which targets are taken -- */

static const struct {
	const char *target, *host;
} targets[] = {
	{HOST("dc1"), HOST("dc1")},
	{"DC1.Corp.EXAMPLE.com", HOST("dc1")},
	{HOST("dc1") ".", HOST("dc1")},
	{DOMAIN, DOMAIN},
	{DOMAIN ".", DOMAIN},
	{HOST("a.b-c.d_e"), HOST("a.b-c.d_e")},
	{"dc1.example.net", NULL},
	{"x" DOMAIN, NULL},
	{HOST("dc1") ".evil.example.net", NULL},
	{HOST("dc1") "..", NULL},
	{"example.com", NULL},
	{"com", NULL},
	{"." DOMAIN, NULL},
	{HOST("a."), NULL},
	{HOST("-a"), NULL},
	{HOST("a-"), NULL},
	{HOST("a b"), NULL},
	{HOST("a/b"), NULL},
	{HOST("a\\.b"), NULL},
	{HOST("a\\000"), NULL},
	{HOST("\xc3\xa4"), NULL},
	{HOST("*"), NULL},
	{HOST("evil.example.net:636@"), NULL},
	{HOST("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), NULL}, /* 64 */
	{"127.0.0.1", NULL},
	{".", NULL},
	{"", NULL},
};

static void hosts_outside_the_domain_are_no_controllers(void **state)
{
	char host[LIMIT_DOMAIN + 1], longest[LIMIT_DOMAIN + 1];

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(targets); i++) {
		assert_int_equal(dc_look_target(targets[i].target, DOMAIN, host), targets[i].host != NULL);
		if (targets[i].host)
			assert_string_equal(host, targets[i].host);
	}
	/* 253 bytes and 254 of them */
	for (size_t i = 0; i < 254 - sizeof(DOMAIN); i++)
		longest[i] = i % 2 ? '.' : 'a';
	memcpy(longest + 253 - strlen(DOMAIN), DOMAIN, sizeof(DOMAIN));
	longest[253 - strlen(DOMAIN) - 1] = '.';
	longest[253 - strlen(DOMAIN) - 2] = 'a';
	longest[253 - strlen(DOMAIN) - 3] = 'a';
	assert_int_equal(strlen(longest), 253);
	assert_true(dc_look_target(longest, DOMAIN, host));
	memmove(longest + 1, longest, 254);
	assert_false(dc_look_target(longest, DOMAIN, host));
}

static void latency_counts_in_coarse_steps(void **state)
{
	(void)state;
	assert_int_equal(dc_look_class(1), 0);
	assert_int_equal(dc_look_class(1000), 0);
	assert_int_equal(dc_look_class(1001), 1);
	assert_int_equal(dc_look_class(2000), 1);
	assert_int_equal(dc_look_class(4000), 2);
	assert_int_equal(dc_look_class(1000000), 10);
	assert_int_equal(dc_look_class(UINT32_MAX), 23);
}

/* -- looks -- */

static void controllers_of_the_site_come_first(void **state)
{
	struct bed *bed = *state;

	three_controllers(bed);
	cldap_double_act(bed->dcs[2], CLDAP_ACT_SILENT);
	assert_int_equal(look(bed), 0);
	assert_int_equal(bed->found.n, 3);
	assert_dc(bed, 0, HOST("dc1"), 0);
	assert_dc(bed, 1, HOST("dc2"), 1);
	/* It may be a filter that is silent. */
	assert_dc(bed, 2, HOST("dc3"), 1);
	assert_string_equal(bed->found.client_site, "Here");
	assert_string_equal(bed->found.dcs[0].site, "Here");
	assert_string_equal(bed->found.dcs[1].site, "There");
	assert_string_equal(bed->found.dcs[2].site, "");
	assert_true(bed->found.ping_us[0] > 0 && bed->found.ping_us[1] > 0);
	assert_int_equal(bed->found.ping_us[2], 0);
	assert_int_equal(bed->found.ttl_s, 120);
	assert_int_equal(bed->found.refused, 0);
	assert_string_equal(bed->found.servers, dns_double_servers(bed->dns));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(bed->found.dcs[i].server.port, 636);
		assert_int_equal(bed->found.dcs[i].server.kdc_port, 88);
		assert_false(bed->found.dcs[i].server.literal_v6);
	}
	/* The site became known on the way. */
	assert_int_equal(dns_double_asked(bed->dns, OF_SITE("Here")), 1);
}

static void the_list_of_the_site_decides(void **state)
{
	struct bed *bed = *state;

	/* dc3 covers our site from another; dc2 is named by its list only. */
	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc1"));
	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc3"));
	dns_double_srv(bed->dns, OF_SITE("Here"), 1, 100, 389, HOST("dc2"));
	dns_double_srv(bed->dns, OF_SITE("Here"), 2, 100, 389, HOST("dc3"));
	cldap_double_says(bed->dcs[0], DOMAIN, "Elsewhere", "Here", SERVICES);
	assert_int_equal(look(bed), 0);
	assert_int_equal(bed->found.n, 3);
	assert_dc(bed, 0, HOST("dc2"), 0);
	assert_dc(bed, 1, HOST("dc3"), 0);
	assert_dc(bed, 2, HOST("dc1"), 1);
	assert_true(bed->found.ping_us[0] > 0);
}

static void priority_goes_before_latency_and_latency_before_weight(void **state)
{
	struct bed *bed = *state;

	dns_double_srv(bed->dns, ALL, 1, 100, 389, HOST("dc1"));
	dns_double_srv(bed->dns, ALL, 0, 65535, 389, HOST("dc2"));
	dns_double_srv(bed->dns, ALL, 0, 0, 389, HOST("dc3"));
	for (int i = 0; i < CONTROLLERS; i++)
		cldap_double_says(bed->dcs[i], DOMAIN, "Here", "Here", SERVICES);
	cldap_double_delay(bed->dcs[1], 300);
	assert_int_equal(look(bed), 0);
	assert_dc(bed, 0, HOST("dc3"), 0);
	assert_dc(bed, 1, HOST("dc2"), 0);
	assert_dc(bed, 2, HOST("dc1"), 0);
	assert_true(bed->found.ping_us[1] >= 300000);
}

static void the_quickest_tells_the_site(void **state)
{
	struct bed *bed = *state;

	three_controllers(bed);
	cldap_double_says(bed->dcs[0], DOMAIN, "A", "A", SERVICES);
	cldap_double_delay(bed->dcs[0], 300);
	cldap_double_says(bed->dcs[1], DOMAIN, "B", "B", SERVICES);
	cldap_double_delay(bed->dcs[1], 30);
	/* The quickest of all, but it does not know. */
	cldap_double_says(bed->dcs[2], DOMAIN, "C", "", SERVICES);
	assert_int_equal(look(bed), 0);
	assert_string_equal(bed->found.client_site, "B");
	assert_dc(bed, 0, HOST("dc2"), 0);
	assert_dc(bed, 1, HOST("dc3"), 1);
	assert_dc(bed, 2, HOST("dc1"), 1);
}

static void who_cannot_serve_comes_last_of_its_tier(void **state)
{
	struct bed *bed = *state;

	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc1"));
	dns_double_srv(bed->dns, ALL, 1, 100, 389, HOST("dc2"));
	cldap_double_says(bed->dcs[0], DOMAIN, "Here", "Here", CLDAP_LDAP);
	cldap_double_says(bed->dcs[1], DOMAIN, "Here", "Here", SERVICES);
	assert_int_equal(look(bed), 0);
	assert_dc(bed, 0, HOST("dc1"), 0);
	/* Kerberos needs a KDC. */
	bed->conf.method = DIRECTORY_GSSAPI;
	assert_int_equal(look(bed), 0);
	assert_dc(bed, 0, HOST("dc2"), 0);
	assert_dc(bed, 1, HOST("dc1"), 0);
}

static void filtered_pings_leave_a_list_without_sites(void **state)
{
	struct bed *bed = *state;

	dns_double_srv(bed->dns, ALL, 20, 100, 389, HOST("dc1"));
	dns_double_srv(bed->dns, ALL, 10, 100, 389, HOST("dc2"));
	/* DNS does not know where it is. */
	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc9"));
	bed->tuning.ping_ms = 100;
	for (int i = 0; i < CONTROLLERS; i++)
		cldap_double_act(bed->dcs[i], CLDAP_ACT_SILENT);
	assert_int_equal(look(bed), 0);
	assert_int_equal(bed->found.n, 3);
	assert_dc(bed, 0, HOST("dc9"), 1);
	assert_dc(bed, 1, HOST("dc2"), 1);
	assert_dc(bed, 2, HOST("dc1"), 1);
	assert_string_equal(bed->found.client_site, "");
}

static void answers_about_another_domain_are_ignored(void **state)
{
	struct bed *bed = *state;

	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc1"));
	bed->tuning.ping_ms = 100;
	cldap_double_act(bed->dcs[0], CLDAP_ACT_OTHER_DOMAIN);
	assert_int_equal(look(bed), 0);
	assert_dc(bed, 0, HOST("dc1"), 1);
	assert_string_equal(bed->found.client_site, "");
}

static void a_broken_site_list_costs_the_site_only(void **state)
{
	struct bed *bed = *state;

	three_controllers(bed);
	dns_double_rcode(bed->dns, OF_SITE("Here"), ns_r_servfail);
	assert_int_equal(look(bed), 0);
	assert_int_equal(bed->found.n, 3);
	assert_dc(bed, 0, HOST("dc1"), 0);
	assert_string_equal(bed->found.client_site, "Here");
}

static void equals_share_by_weight(void **state)
{
	unsigned first = 0;
	struct bed *bed = *state;

	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc1"));
	dns_double_srv(bed->dns, ALL, 0, 300, 389, HOST("dc2"));
	bed->tuning.ping_ms = 0;
	for (int i = 0; i < 200; i++) {
		assert_int_equal(look(bed), 0);
		first += strcmp(bed->found.dcs[0].server.host, HOST("dc2")) == 0;
	}
	/* Expected 150; six standard deviations to each side. */
	assert_in_range(first, 113, 187);
}

static void outsiders_are_refused_and_counted(void **state)
{
	struct bed *bed = *state;

	dns_double_srv(bed->dns, ALL, 0, 100, 636, "evil.example.net");
	dns_double_srv(bed->dns, ALL, 0, 100, 636, HOST("dc1") ".evil.example.net");
	dns_double_srv(bed->dns, ALL, 0, 100, 636, "x" DOMAIN);
	assert_int_equal(look(bed), -PTA_ENOENT);
	assert_non_null(strstr(bed->err.text, "evil.example.net"));
	assert_non_null(strstr(bed->err.text, "refused"));
	dns_double_srv(bed->dns, ALL, 9, 0, 389, HOST("dc1"));
	/* The same one twice is one. */
	dns_double_srv(bed->dns, ALL, 3, 0, 389, HOST("dc1") ".");
	assert_int_equal(look(bed), 0);
	assert_int_equal(bed->found.n, 1);
	assert_dc(bed, 0, HOST("dc1"), 0);
	assert_int_equal(bed->found.refused, 3);
	assert_string_equal(bed->found.refused_first, "evil.example.net");
}

static void ports_follow_the_tls_mode(void **state)
{
	struct bed *bed = *state;

	dns_double_srv(bed->dns, ALL, 0, 100, 1389, HOST("dc1"));
	dns_double_srv(bed->dns, ALL, 1, 100, 0, HOST("dc2"));
	bed->conf.kdc_port = 1088;
	assert_int_equal(look(bed), 0);
	assert_int_equal(bed->found.dcs[0].server.port, 636);
	bed->conf.tls = DIRECTORY_STARTTLS;
	assert_int_equal(look(bed), 0);
	assert_int_equal(bed->found.dcs[0].server.port, 1389);
	assert_int_equal(bed->found.dcs[1].server.port, 389);
	assert_int_equal(bed->found.dcs[1].server.kdc_port, 1088);
	bed->conf.tls = DIRECTORY_TLS_NONE;
	assert_int_equal(look(bed), 0);
	assert_int_equal(bed->found.dcs[0].server.port, 1389);
}

static void of_too_many_the_site_is_kept(void **state)
{
	static struct dc_found before;
	struct bed *bed = *state;
	char name[64];

	cldap_double_says(bed->dcs[0], DOMAIN, "There", "Here", SERVICES);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "dc%d.%s", i, DOMAIN);
		dns_double_srv(bed->dns, ALL, 0, 100, 389, name);
		if (i > 3)
			dns_double_address(bed->dns, name, "127.0.0.12");
	}
	dns_double_srv(bed->dns, OF_SITE("Here"), 0, 100, 389, HOST("dc199"));
	dns_double_srv(bed->dns, OF_SITE("Here"), 0, 100, 389, HOST("only-here"));
	assert_int_equal(look(bed), 0);
	assert_true(dns_double_asked_tcp(bed->dns) > 0);
	assert_int_equal(bed->found.n, DC_POOL_MAX);
	assert_int_equal(bed->found.left_out, 201 - DC_POOL_MAX);
	assert_dc(bed, 0, HOST("dc199"), 0);
	assert_dc(bed, 1, HOST("only-here"), 0);
	assert_int_equal(bed->found.dcs[2].tier, 1);
	/* Those of the others that are taken are the same in each look: else a pool would forget and learn all the time. */
	before = bed->found;
	assert_int_equal(look(bed), 0);
	for (size_t i = 0; i < DC_POOL_MAX; i++) {
		bool there = false;

		for (size_t k = 0; k < DC_POOL_MAX && !there; k++)
			there = strcmp(before.dcs[i].server.host, bed->found.dcs[k].server.host) == 0;
		assert_true(there);
	}
}

static void what_dns_does_not_give_is_told(void **state)
{
	static const struct {
		unsigned rcode;
		int r;
		const char *text;
	} rows[] = {
		{ns_r_nxdomain, -PTA_ENOENT, "NXDOMAIN"},
		{ns_r_noerror, -PTA_ENOENT, "NODATA"},
		{ns_r_servfail, -PTA_ENET, "SERVFAIL"},
		{DNS_DOUBLE_SILENT, -PTA_ETIMEDOUT, "no answer"},
	};
	struct bed *bed = *state;
	uint64_t began;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		dns_double_clear(bed->dns);
		dns_double_rcode(bed->dns, ALL, rows[i].rcode);
		began = clock_mono_us();
		assert_int_equal(dc_locator_look(&bed->conf, rows[i].rcode == DNS_DOUBLE_SILENT ? 200 : 10000, &bed->found, &bed->err), rows[i].r);
		assert_true(clock_mono_us() - began < 5 * SECOND_US);
		assert_non_null(strstr(bed->err.text, ALL));
		assert_non_null(strstr(bed->err.text, dns_double_servers(bed->dns)));
		assert_non_null(strstr(bed->err.text, rows[i].text));
	}
	dns_double_clear(bed->dns);
	dns_double_srv(bed->dns, ALL, 0, 0, 0, ".");
	assert_int_equal(look(bed), -PTA_ENOENT);
	assert_non_null(strstr(bed->err.text, "decidedly"));
}

/* -- the thread -- */

/* Counts what the pool and the log say. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned updates, failures, found, refused;
	char last_failure[1024];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void on_change(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&seen.lock);
	seen.updates++;
	pthread_cond_broadcast(&seen.cond);
	pthread_mutex_unlock(&seen.lock);
}

static void on_line(void *arg, const char *line, size_t len)
{
	(void)arg;
	pthread_mutex_lock(&seen.lock);
	seen.found += memmem(line, len, "event=dc.found", 14) != NULL;
	seen.refused += memmem(line, len, "event=dc.refused", 16) != NULL;
	if (memmem(line, len, "event=dc.lookup_failed", 22)) {
		seen.failures++;
		snprintf(seen.last_failure, sizeof(seen.last_failure), "%.*s", (int)len, line);
	}
	pthread_cond_broadcast(&seen.cond);
	pthread_mutex_unlock(&seen.lock);
}

static void wait_for(const unsigned *count, unsigned n)
{
	pthread_mutex_lock(&seen.lock);
	while (*count < n)
		pthread_cond_wait(&seen.cond, &seen.lock);
	pthread_mutex_unlock(&seen.lock);
}

static unsigned value_of(const unsigned *count)
{
	unsigned n;

	pthread_mutex_lock(&seen.lock);
	n = *count;
	pthread_mutex_unlock(&seen.lock);
	return n;
}

static struct dc_pool *watched_pool(struct bed *bed)
{
	struct dc_pool *pool;

	pthread_mutex_lock(&seen.lock);
	seen.updates = seen.failures = seen.found = seen.refused = 0;
	pthread_mutex_unlock(&seen.lock);
	log_capture(on_line, NULL);
	assert_int_equal(dc_pool_new(&bed->conf, &pool, NULL), 0);
	dc_pool_watch(pool, NULL, on_change, NULL);
	return pool;
}

static unsigned present(struct dc_pool *pool)
{
	unsigned n = 0;

	for (size_t i = 0; i < dc_pool_size(pool); i++)
		n += dc_pool_present(pool, i);
	return n;
}

static void put_away(struct dc_locator *locator, struct dc_pool *pool)
{
	dc_locator_free(locator);
	dc_pool_free(pool);
	log_capture(NULL, NULL);
}

static void what_dns_does_not_answer_changes_nothing(void **state)
{
	struct bed *bed = *state;
	struct dc_pool *pool = watched_pool(bed);
	struct dc_locator *locator;
	size_t dc;

	three_controllers(bed);
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	wait_for(&seen.updates, 1);
	assert_int_equal(present(pool), 3);
	assert_int_equal(dc_pool_pick(pool, &dc), 0);
	assert_string_equal(dc_pool_server(pool, dc)->host, HOST("dc1"));
	assert_int_equal(value_of(&seen.found), 1);
	/* The domain is gone, or the server is. */
	dns_double_clear(bed->dns);
	dc_locator_kick(locator);
	wait_for(&seen.failures, 1);
	assert_non_null(strstr(seen.last_failure, ALL));
	assert_non_null(strstr(seen.last_failure, "NXDOMAIN"));
	assert_non_null(strstr(seen.last_failure, dns_double_servers(bed->dns)));
	assert_non_null(strstr(seen.last_failure, "kept=3"));
	dns_double_rcode(bed->dns, ALL, ns_r_servfail);
	dc_locator_kick(locator);
	wait_for(&seen.failures, 2);
	dns_double_clear(bed->dns);
	dns_double_srv(bed->dns, ALL, 0, 0, 389, "evil.example.net");
	dc_locator_kick(locator);
	wait_for(&seen.failures, 3);
	assert_int_equal(value_of(&seen.updates), 1);
	assert_int_equal(present(pool), 3);
	put_away(locator, pool);
}

static void controllers_come_and_go(void **state)
{
	struct bed *bed = *state;
	struct dc_pool *pool = watched_pool(bed);
	struct dc_locator *locator;
	size_t dc;

	three_controllers(bed);
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	wait_for(&seen.updates, 1);
	/* The same again is no news. */
	dc_locator_kick(locator);
	wait_for(&seen.updates, 2);
	assert_int_equal(value_of(&seen.found), 1);
	dns_double_clear(bed->dns);
	dns_double_address(bed->dns, HOST("dc2"), "127.0.0.12");
	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc2"));
	dns_double_srv(bed->dns, ALL, 0, 100, 389, "evil.example.net");
	dc_locator_kick(locator);
	wait_for(&seen.updates, 3);
	assert_int_equal(value_of(&seen.found), 2);
	assert_int_equal(value_of(&seen.refused), 1);
	assert_int_equal(present(pool), 1);
	assert_int_equal(dc_pool_pick(pool, &dc), 0);
	assert_string_equal(dc_pool_server(pool, dc)->host, HOST("dc2"));
	put_away(locator, pool);
}

static void a_known_site_stands_while_nobody_answers(void **state)
{
	struct bed *bed = *state;
	struct dc_pool *pool = watched_pool(bed);
	struct dc_locator *locator;
	size_t dc;

	three_controllers(bed);
	dns_double_srv(bed->dns, OF_SITE("Here"), 0, 100, 389, HOST("dc1"));
	bed->tuning.ping_ms = 200;
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	wait_for(&seen.updates, 1);
	for (int i = 0; i < CONTROLLERS; i++)
		cldap_double_act(bed->dcs[i], CLDAP_ACT_SILENT);
	dc_locator_kick(locator);
	wait_for(&seen.updates, 2);
	assert_int_equal(dc_pool_pick(pool, &dc), 0);
	assert_string_equal(dc_pool_server(pool, dc)->host, HOST("dc1"));
	/* Asked for at once, the second time. */
	assert_int_equal(dns_double_asked(bed->dns, OF_SITE("Here")), 2);
	put_away(locator, pool);
}

static void many_kicks_are_few_looks(void **state)
{
	struct bed *bed = *state;
	struct dc_pool *pool = watched_pool(bed);
	struct dc_locator *locator;
	uint64_t began = clock_mono_us(), took;

	three_controllers(bed);
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	for (unsigned looks = 1; looks < 4; looks++) {
		wait_for(&seen.updates, looks);
		for (int i = 0; i < 1000; i++)
			dc_locator_kick(locator);
	}
	wait_for(&seen.updates, 4);
	took = clock_mono_us() - began;
	/* The first at once, and one for each period that has passed since. */
	assert_true(took >= 3 * bed->tuning.kick_ms * 1000ull);
	assert_true(dns_double_asked(bed->dns, ALL) <= 1 + took / (bed->tuning.kick_ms * 1000ull));
	put_away(locator, pool);
}

static void failed_looks_are_repeated(void **state)
{
	struct bed *bed = *state;
	struct dc_pool *pool = watched_pool(bed);
	struct dc_locator *locator;

	bed->tuning.retry_min_ms = 10;
	bed->tuning.retry_max_ms = 40;
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	wait_for(&seen.failures, 3);
	three_controllers(bed);
	wait_for(&seen.updates, 1);
	assert_int_equal(present(pool), 3);
	put_away(locator, pool);
}

static void what_was_found_is_renewed(void **state)
{
	struct bed *bed = *state;
	struct dc_pool *pool = watched_pool(bed);
	struct dc_locator *locator;

	three_controllers(bed);
	bed->tuning.renew_min_ms = 10;
	bed->tuning.renew_max_ms = 50;
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	wait_for(&seen.updates, 3);
	put_away(locator, pool);
}

static void freeing_waits_for_nobody(void **state)
{
	struct bed *bed = *state;
	struct dc_pool *pool = watched_pool(bed);
	struct dc_locator *locator;
	uint64_t began;

	/* In the middle of a question */
	dns_double_rcode(bed->dns, ALL, DNS_DOUBLE_SILENT);
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	dns_double_wait(bed->dns, ALL, 1);
	began = clock_mono_us();
	dc_locator_free(locator);
	assert_true(clock_mono_us() - began < SECOND_US);
	/* of a ping */
	dns_double_clear(bed->dns);
	dns_double_address(bed->dns, HOST("dc3"), "127.0.0.13");
	dns_double_srv(bed->dns, ALL, 0, 100, 389, HOST("dc3"));
	cldap_double_act(bed->dcs[2], CLDAP_ACT_SILENT);
	bed->tuning.ping_ms = 60000;
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	cldap_double_wait(bed->dcs[2], 1);
	began = clock_mono_us();
	dc_locator_free(locator);
	assert_true(clock_mono_us() - began < SECOND_US);
	/* of the time between looks, and at once */
	bed->tuning.ping_ms = 0;
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	wait_for(&seen.updates, 1);
	began = clock_mono_us();
	dc_locator_free(locator);
	assert_int_equal(dc_locator_new(&bed->conf, pool, &locator, &bed->err), 0);
	/* Who has not noticed yet may still kick. */
	dc_locator_stop(locator);
	dc_locator_kick(locator);
	dc_locator_stop(locator);
	dc_locator_free(locator);
	dc_locator_stop(NULL);
	dc_locator_free(NULL);
	assert_true(clock_mono_us() - began < SECOND_US);
	assert_int_equal(value_of(&seen.failures), 0);
	put_away(NULL, pool);
}

#define ON_THE_BED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_outside_the_domain_are_no_controllers),
		cmocka_unit_test(latency_counts_in_coarse_steps),
		ON_THE_BED(controllers_of_the_site_come_first),
		ON_THE_BED(the_list_of_the_site_decides),
		ON_THE_BED(priority_goes_before_latency_and_latency_before_weight),
		ON_THE_BED(the_quickest_tells_the_site),
		ON_THE_BED(who_cannot_serve_comes_last_of_its_tier),
		ON_THE_BED(filtered_pings_leave_a_list_without_sites),
		ON_THE_BED(answers_about_another_domain_are_ignored),
		ON_THE_BED(a_broken_site_list_costs_the_site_only),
		ON_THE_BED(equals_share_by_weight),
		ON_THE_BED(outsiders_are_refused_and_counted),
		ON_THE_BED(ports_follow_the_tls_mode),
		ON_THE_BED(of_too_many_the_site_is_kept),
		ON_THE_BED(what_dns_does_not_give_is_told),
		ON_THE_BED(what_dns_does_not_answer_changes_nothing),
		ON_THE_BED(controllers_come_and_go),
		ON_THE_BED(a_known_site_stands_while_nobody_answers),
		ON_THE_BED(many_kicks_are_few_looks),
		ON_THE_BED(failed_looks_are_repeated),
		ON_THE_BED(what_was_found_is_renewed),
		ON_THE_BED(freeing_waits_for_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
