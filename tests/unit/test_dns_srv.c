#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/nameser.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/dns_srv.h"
#include "dns_double.h"

#define NAME "_ldap._tcp.dc._msdcs.corp.example.com"
#define SECOND_US 1000000ull

/* -- answers, taken apart -- */

#define HEADER(count) "\x12\x34\x81\x80\0\1\0" count "\0\0\0\0"
/* The name begins at byte 12. */
#define QUESTION "\5_ldap\4corp\0\0\x21\0\1"
#define OWNER "\xc0\x0c"
#define SRV_TTL(ttl, len) "\0\x21\0\1" ttl "\0" len
#define SRV(len) SRV_TTL("\0\0\0\x3c", len)
#define CNAME(len) "\0\5\0\1\0\0\0\x3c\0" len
#define FIXED "\0\1\0\2\1\x85" /* priority 1, weight 2, port 389 */
#define BYTES(text) text, sizeof(text) - 1

static const struct {
	const char *answer;
	size_t len;
	int r;
	size_t n;
	const char *target;
	uint32_t ttl_s;
} rows[] = {
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\x0d") FIXED "\1a\4corp\0"), -PTA_EPROTO, 0, NULL, 0}, /* one byte short of its length */
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\x0e") FIXED "\1a\4corp\0"), 0, 1, "a.corp", 60},
	{BYTES(HEADER("\2") QUESTION OWNER SRV("\x0e") FIXED "\1a\4corp\0" OWNER SRV_TTL("\0\0\0\x05", "\x0e") FIXED "\1b\4corp\0"), 0, 2, "a.corp", 5},
	/* compression in the target, which RFC 2782 forbids and servers do */
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\x0a") FIXED "\1a\xc0\x12"), 0, 1, "a.corp", 60},
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\x08") FIXED "\xc0\x1f"), -PTA_EPROTO, 0, NULL, 0},
	/* the target points to itself */
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\x08") FIXED "\xc0\x2e"), -PTA_EPROTO, 0, NULL, 0},
	/* "." alone, and beside others */
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\x07") FIXED "\0"), -PTA_ENOENT, 0, NULL, 0},
	{BYTES(HEADER("\2") QUESTION OWNER SRV("\x07") FIXED "\0" OWNER SRV("\x0e") FIXED "\1a\4corp\0"), 0, 1, "a.corp", 60},
	/* a CNAME is followed; what is owned by others is not ours, nor are other types and classes */
	{BYTES(HEADER("\2") QUESTION OWNER CNAME("\x03") "\1x\0"
							 "\1x\0" SRV("\x0e") FIXED "\1a\4corp\0"),
		0, 1, "a.corp", 60},
	{BYTES(HEADER("\1") QUESTION "\1x\0" SRV("\x0e") FIXED "\1a\4corp\0"), -PTA_ENOENT, 0, NULL, 0},
	{BYTES(HEADER("\1") QUESTION OWNER "\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"), -PTA_ENOENT, 0, NULL, 0},
	{BYTES(HEADER("\1") QUESTION OWNER "\0\x21\0\3\0\0\0\x3c\0\x0e" FIXED "\1a\4corp\0"), -PTA_ENOENT, 0, NULL, 0},
	{BYTES(HEADER("\0") QUESTION), -PTA_ENOENT, 0, NULL, 0},
	/* time to live: 0 and more than 31 bits are as short as can be */
	{BYTES(HEADER("\1") QUESTION OWNER SRV_TTL("\0\0\0\0", "\x0e") FIXED "\1a\4corp\0"), 0, 1, "a.corp", 1},
	{BYTES(HEADER("\1") QUESTION OWNER SRV_TTL("\xff\xff\xff\xff", "\x0e") FIXED "\1a\4corp\0"), 0, 1, "a.corp", 1},
	/* a dot within a label does not become one between labels */
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\x0b") FIXED "\3a.b\0"), 0, 1, "a\\.b", 60},
	/* cut, and lengths that lie */
	{BYTES(HEADER("\2") QUESTION OWNER SRV("\x0e") FIXED "\1a\4corp\0"), -PTA_EPROTO, 0, NULL, 0},
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\xff") FIXED "\1a\4corp\0"), -PTA_EPROTO, 0, NULL, 0},
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\x06") FIXED), -PTA_EPROTO, 0, NULL, 0},
	{BYTES(HEADER("\1") QUESTION OWNER SRV("\x02") "\0\1"), -PTA_EPROTO, 0, NULL, 0},
	{BYTES(HEADER("\1") QUESTION "\xc0\x1d" SRV("\x0e") FIXED "\1a\4corp\0"), -PTA_EPROTO, 0, NULL, 0},
	{BYTES(HEADER("\1") "\5_lda"), -PTA_EPROTO, 0, NULL, 0},
	{BYTES("\x12\x34\x81\x80\0\2\0\1\0\0\0\0" QUESTION OWNER SRV("\x0e") FIXED "\1a\4corp\0"), -PTA_EPROTO, 0, NULL, 0},
	{BYTES("\x12\x34\x81\x80\0\1"), -PTA_EPROTO, 0, NULL, 0},
	{BYTES(""), -PTA_EPROTO, 0, NULL, 0},
};

static void every_row_of_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		/* In memory of its own size, so that a sanitizer sees a byte too far. */
		uint8_t *copy = malloc(rows[i].len ? rows[i].len : 1);
		struct dns_srv_list list = {0};
		struct err err = {0};
		int r;

		assert_non_null(copy);
		memcpy(copy, rows[i].answer, rows[i].len);
		r = dns_srv_parse(copy, rows[i].len, &list, &err);
		free(copy);
		if (r != rows[i].r)
			fail_msg("row %zu: %d instead of %d: %s", i, r, rows[i].r, err.text);
		if (r < 0) {
			assert_true(err.text[0]);
			assert_null(list.records);
			continue;
		}
		assert_int_equal(list.n, rows[i].n);
		assert_string_equal(list.records[0].target, rows[i].target);
		assert_int_equal(list.records[0].priority, 1);
		assert_int_equal(list.records[0].weight, 2);
		assert_int_equal(list.records[0].port, 389);
		assert_int_equal(list.ttl_s, rows[i].ttl_s);
		dns_srv_list_done(&list);
	}
}

/* -- RFC 2782's choice -- */

static void records_are_chosen_by_weight(void **state)
{
	const uint16_t weights[] = {10, 0, 30, 60};

	(void)state;
	assert_int_equal(dns_srv_choose_at(weights, 4, 0), 1);
	assert_int_equal(dns_srv_choose_at(weights, 4, 1), 0);
	assert_int_equal(dns_srv_choose_at(weights, 4, 10), 0);
	assert_int_equal(dns_srv_choose_at(weights, 4, 11), 2);
	assert_int_equal(dns_srv_choose_at(weights, 4, 40), 2);
	assert_int_equal(dns_srv_choose_at(weights, 4, 41), 3);
	assert_int_equal(dns_srv_choose_at(weights, 4, 100), 3);
	assert_int_equal(dns_srv_choose_at(weights + 2, 2, 0), 0);
	assert_int_equal(dns_srv_choose_at(weights, 1, 10), 0);
}

static void the_choice_is_random(void **state)
{
	const uint16_t weights[] = {10, 90}, none[] = {0, 0, 0};
	unsigned light = 0, of_none[3] = {0};

	(void)state;
	for (int i = 0; i < 10000; i++) {
		light += dns_srv_choose(weights, 2) == 0;
		of_none[dns_srv_choose(none, 3)]++;
	}
	/* Expected 1,089 and 3,333; ten standard deviations to each side. */
	assert_in_range(light, 770, 1410);
	for (int i = 0; i < 3; i++)
		assert_in_range(of_none[i], 2860, 3810);
}

/* -- questions -- */

static int setup(void **state)
{
	struct dns_double *d = dns_double_new();

	dns_srv_servers_for_tests(dns_double_servers(d));
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	dns_srv_servers_for_tests(NULL);
	dns_double_free(*state);
	return 0;
}

static int ask(const char *name, uint64_t patience_us, struct dns_srv_list *list, struct err *err)
{
	struct dns *dns = NULL;
	int r;

	assert_int_equal(dns_open(-1, &dns, err), 0);
	r = dns_srv_query(dns, name, clock_mono_us() + patience_us, list, err);
	dns_close(dns);
	return r;
}

static void records_come_with_their_fields(void **state)
{
	struct dns_double *d = *state;
	struct dns_srv_list list = {0};
	struct err err;

	dns_double_srv(d, NAME, 5, 70, 389, "dc1.corp.example.com");
	dns_double_srv(d, NAME, 0, 100, 3268, "DC2.corp.example.com");
	assert_int_equal(ask(NAME, 10 * SECOND_US, &list, &err), 0);
	assert_int_equal(list.n, 2);
	assert_string_equal(list.records[0].target, "dc1.corp.example.com");
	assert_int_equal(list.records[0].priority, 5);
	assert_int_equal(list.records[0].weight, 70);
	assert_int_equal(list.records[0].port, 389);
	assert_string_equal(list.records[1].target, "DC2.corp.example.com");
	assert_int_equal(list.records[1].port, 3268);
	assert_int_equal(list.ttl_s, 120);
	dns_srv_list_done(&list);
}

static void a_long_answer_comes_over_tcp(void **state)
{
	struct dns_double *d = *state;
	struct dns_srv_list list = {0};
	struct err err;

	for (int i = 0; i < 600; i++)
		dns_double_srv(d, NAME, 0, 100, 389, "dc1.corp.example.com");
	assert_int_equal(ask(NAME, 10 * SECOND_US, &list, &err), 0);
	assert_int_equal(list.n, DNS_SRV_MAX);
	assert_int_equal(list.left_out, 600 - DNS_SRV_MAX);
	assert_int_equal(dns_double_asked_tcp(d), 1);
	dns_srv_list_done(&list);
}

static void a_failure_says_what_was_asked_of_whom(void **state)
{
	static const struct {
		unsigned rcode;
		int r;
		uint64_t patience_us;
		const char *text;
	} failures[] = {
		{ns_r_nxdomain, -PTA_ENOENT, 10 * SECOND_US, "NXDOMAIN"},
		{ns_r_noerror, -PTA_ENOENT, 10 * SECOND_US, "NODATA"},
		{ns_r_servfail, -PTA_ENET, 10 * SECOND_US, "SERVFAIL"},
		{ns_r_refused, -PTA_ENET, 10 * SECOND_US, "REFUSED"},
		{ns_r_notimpl, -PTA_ENET, 10 * SECOND_US, ""},
		{DNS_DOUBLE_SILENT, -PTA_ETIMEDOUT, SECOND_US / 5, "no answer in time"},
	};
	struct dns_double *d = *state;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(failures); i++) {
		struct dns_srv_list list = {0};
		uint64_t began = clock_mono_us();
		struct err err = {0};

		dns_double_clear(d);
		dns_double_rcode(d, NAME, failures[i].rcode);
		assert_int_equal(ask(NAME, failures[i].patience_us, &list, &err), failures[i].r);
		assert_non_null(strstr(err.text, NAME));
		assert_non_null(strstr(err.text, dns_double_servers(d)));
		assert_non_null(strstr(err.text, failures[i].text));
		assert_null(list.records);
		assert_true(clock_mono_us() - began < 5 * SECOND_US);
	}
}

static void a_refusing_port_is_an_outage(void **state)
{
	struct dns_srv_list list = {0};
	struct err err = {0};

	(void)state;
	/* Port 1: nobody listens. */
	dns_srv_servers_for_tests("127.0.0.1:1");
	assert_int_equal(ask(NAME, 10 * SECOND_US, &list, &err), -PTA_ENET);
	assert_non_null(strstr(err.text, "127.0.0.1:1"));
}

static void a_silent_server_is_waited_for_once(void **state)
{
	struct dns_double *d = *state, *silent = dns_double_new();
	struct dns_srv_list list = {0};
	char servers[80];
	struct dns *dns;
	struct err err;

	snprintf(servers, sizeof(servers), "%s,%s", dns_double_servers(silent), dns_double_servers(d));
	dns_srv_servers_for_tests(servers);
	dns_double_rcode(silent, NAME, DNS_DOUBLE_SILENT);
	dns_double_srv(d, NAME, 0, 100, 389, "dc1.corp.example.com");
	assert_int_equal(dns_open(-1, &dns, &err), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(dns_srv_query(dns, NAME, clock_mono_us() + 10 * SECOND_US, &list, &err), 0);
		dns_srv_list_done(&list);
	}
	dns_close(dns);
	assert_int_equal(dns_double_asked(silent, NAME), 1);
	assert_int_equal(dns_double_asked(d, NAME), 3);
	dns_double_free(silent);
}

static void names_are_not_completed(void **state)
{
	struct dns_double *d = *state;
	struct dns_srv_list list = {0};
	struct err err;

	assert_int_equal(ask("_ldap._tcp", 10 * SECOND_US, &list, &err), -PTA_ENOENT);
	assert_int_equal(dns_double_asked(d, "_ldap._tcp"), 1);
	/* What is no name is not asked for. */
	assert_int_equal(ask("_ldap..corp", 10 * SECOND_US, &list, &err), -PTA_EINVAL);
	assert_non_null(strstr(err.text, "_ldap..corp"));
}

static void a_broken_answer_is_an_error(void **state)
{
	/* The target points to itself: the record follows the header, the question and its fixed part. */
	const uint8_t loop[] = {0, 0, 0, 100, 1, 0x85, 0xc0, 12 + sizeof(NAME) + 1 + 4 + sizeof(NAME) + 1 + 10 + 6};
	struct dns_double *d = *state;
	struct dns_srv_list list = {0};
	struct err err;

	dns_double_raw(d, NAME, loop, sizeof(loop));
	assert_int_equal(ask(NAME, 10 * SECOND_US, &list, &err), -PTA_EPROTO);
	assert_non_null(strstr(err.text, "broken"));
	assert_non_null(strstr(err.text, NAME));
}

static void addresses_of_all_come_at_a_time(void **state)
{
	struct dns_double *d = *state;
	struct dns_host hosts[64] = {0};
	char names[64][40];
	struct dns *dns;
	struct err err;

	for (unsigned i = 0; i < 64; i++) {
		char address[16];

		snprintf(names[i], sizeof(names[i]), "dc%u.corp.example.com", i);
		snprintf(address, sizeof(address), "127.0.1.%u", i);
		hosts[i].name = names[i];
		/* Two hosts without an address, one with two, one with too many. */
		if (i >= 2)
			dns_double_address(d, names[i], address);
	}
	dns_double_rcode(d, names[1], ns_r_servfail);
	dns_double_address(d, names[2], "2001:db8::1");
	for (int i = 0; i < 6; i++)
		dns_double_address(d, names[3], "127.0.2.1");
	assert_int_equal(dns_open(-1, &dns, &err), 0);
	assert_int_equal(dns_addresses(dns, hosts, 64, clock_mono_us() + 20 * SECOND_US, &err), 0);
	dns_close(dns);
	assert_int_equal(hosts[0].naddresses, 0);
	assert_int_equal(hosts[1].naddresses, 0);
	assert_int_equal(hosts[2].naddresses, 2);
	assert_int_equal(hosts[3].naddresses, DNS_ADDRESSES_MAX);
	for (unsigned i = 4; i < 64; i++) {
		assert_int_equal(hosts[i].naddresses, 1);
		assert_int_equal(hosts[i].addresses[0].any.sa_family, AF_INET);
		assert_int_equal(ntohl(hosts[i].addresses[0].v4.sin_addr.s_addr), 0x7f000100 | i);
	}
}

static void what_is_known_at_the_deadline_is_there(void **state)
{
	struct dns_host hosts[] = {{.name = "dc1.corp.example.com"}, {.name = "dc2.corp.example.com"}};
	struct dns_double *d = *state;
	struct dns *dns;
	struct err err;

	dns_double_address(d, "dc1.corp.example.com", "127.0.0.1");
	dns_double_rcode(d, "dc2.corp.example.com", DNS_DOUBLE_SILENT);
	assert_int_equal(dns_open(-1, &dns, &err), 0);
	assert_int_equal(dns_addresses(dns, hosts, 2, clock_mono_us() + SECOND_US / 2, &err), 0);
	dns_close(dns);
	assert_int_equal(hosts[0].naddresses, 1);
	assert_int_equal(hosts[1].naddresses, 0);
}

struct canceller {
	struct dns_double *d;
	int fd;
};

static void *cancel(void *arg)
{
	struct canceller *c = arg;

	dns_double_wait(c->d, NAME, 1);
	eventfd_write(c->fd, 1);
	return NULL;
}

static void a_question_can_be_ended(void **state)
{
	struct canceller c = {.d = *state, .fd = eventfd(0, EFD_CLOEXEC)};
	uint64_t began = clock_mono_us();
	struct dns_srv_list list = {0};
	pthread_t thread;
	struct dns *dns;
	struct err err;

	dns_double_rcode(c.d, NAME, DNS_DOUBLE_SILENT);
	assert_int_equal(dns_open(c.fd, &dns, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, cancel, &c), 0);
	assert_int_equal(dns_srv_query(dns, NAME, began + 60 * SECOND_US, &list, &err), -PTA_ECLOSED);
	assert_true(clock_mono_us() - began < SECOND_US);
	dns_close(dns);
	pthread_join(thread, NULL);
	close(c.fd);
}

static void the_hosts_name_servers_are_used(void **state)
{
	struct dns *dns;
	struct err err;

	(void)state;
	dns_srv_servers_for_tests(NULL);
	assert_int_equal(dns_open(-1, &dns, &err), 0);
	assert_true(dns_servers(dns)[0]);
	dns_close(dns);
	dns_srv_servers_for_tests("192.0.2.1,[2001:db8::1]:5353,[2001:db8::2]:53");
	assert_int_equal(dns_open(-1, &dns, &err), 0);
	assert_string_equal(dns_servers(dns), "192.0.2.1, [2001:db8::1]:5353, 2001:db8::2");
	dns_close(dns);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_of_the_table),
		cmocka_unit_test(records_are_chosen_by_weight),
		cmocka_unit_test(the_choice_is_random),
		WITH_SERVER(records_come_with_their_fields),
		WITH_SERVER(a_long_answer_comes_over_tcp),
		WITH_SERVER(a_failure_says_what_was_asked_of_whom),
		WITH_SERVER(a_refusing_port_is_an_outage),
		WITH_SERVER(a_silent_server_is_waited_for_once),
		WITH_SERVER(names_are_not_completed),
		WITH_SERVER(a_broken_answer_is_an_error),
		WITH_SERVER(addresses_of_all_come_at_a_time),
		WITH_SERVER(what_is_known_at_the_deadline_is_there),
		WITH_SERVER(a_question_can_be_ended),
		WITH_SERVER(the_hosts_name_servers_are_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
