#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "cldap_answers.h"
#include "cldap_double.h"
#include "directory/cldap.h"
#include "dns_double.h"

#define DOMAIN "corp.example.com"
#define SECOND_US 1000000

/* In memory of its own size, so that a sanitizer sees a byte too far. */
static int decode(const void *message, size_t len, uint32_t id, struct cldap_answer *out, struct err *err)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, message, len);
	r = cldap_decode(copy, len, id, out, err);
	free(copy);
	return r;
}

static int parse(const void *value, size_t len, struct cldap_answer *out)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct err err = {0};
	int r;

	assert_non_null(copy);
	memcpy(copy, value, len);
	r = cldap_parse_netlogon(copy, len, out, &err);
	free(copy);
	if (r < 0)
		assert_true(err.text[0]);
	return r;
}

#define ANSWER(name) answer_##name, sizeof(answer_##name)

static const struct {
	const uint8_t *message;
	size_t len;
	int r;
	uint16_t opcode;
	const char *dc_site, *client_site;
	bool closest;
} captured[] = {
	{ANSWER(default_site), 0, 23, "Default-First-Site-Name", "Default-First-Site-Name", true},
	{ANSWER(other_site), 0, 23, "Default-First-Site-Name", "Branch-1", false},
	{ANSWER(with_ip_closest), 0, 23, "Default-First-Site-Name", "Default-First-Site-Name", true},
	{ANSWER(user), 0, 25, "Default-First-Site-Name", "Default-First-Site-Name", true},
	{ANSWER(nt5), 0, 19, "", "", true},
	{ANSWER(nt4), -PTA_EPROTO, 0, NULL, NULL, false},
	{ANSWER(other_domain), -PTA_ENOENT, 0, NULL, NULL, false},
};

static void answers_of_a_controller_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(captured); i++) {
		struct cldap_answer answer = {0};
		struct err err = {0};

		assert_int_equal(decode(captured[i].message, captured[i].len, CLDAP_ANSWERS_ID, &answer, &err), captured[i].r);
		if (captured[i].r < 0) {
			assert_true(err.text[0]);
			continue;
		}
		assert_int_equal(answer.opcode, captured[i].opcode);
		assert_string_equal(answer.domain, DOMAIN);
		assert_string_equal(answer.forest, DOMAIN);
		assert_string_equal(answer.host, "dc1." DOMAIN);
		assert_string_equal(answer.dc_site, captured[i].dc_site);
		assert_string_equal(answer.client_site, captured[i].client_site);
		assert_int_equal(answer.flags & (CLDAP_LDAP | CLDAP_KDC | CLDAP_DS), CLDAP_LDAP | CLDAP_KDC | CLDAP_DS);
		assert_int_equal((answer.flags & CLDAP_CLOSEST) != 0, captured[i].closest);
		assert_false(answer.paused);
	}
}

static void an_answer_to_another_request_is_none(void **state)
{
	struct cldap_answer answer;
	struct err err;

	(void)state;
	assert_int_equal(decode(ANSWER(default_site), CLDAP_ANSWERS_ID + 1, &answer, &err), -PTA_EPROTO);
	assert_non_null(strstr(err.text, "instead of"));
	assert_int_equal(decode(ANSWER(other_domain), 1, &answer, &err), -PTA_EPROTO);
}

static void a_cut_or_changed_message_never_breaks_the_decoder(void **state)
{
	struct cldap_answer answer;
	uint8_t changed[sizeof(answer_other_site)], large[CLDAP_MESSAGE_MAX + 1] = {0};

	(void)state;
	/* Whole but for the result behind the entry. */
	for (size_t len = 0; len < sizeof(answer_other_site) - 17; len++)
		assert_int_equal(decode(answer_other_site, len, CLDAP_ANSWERS_ID, &answer, NULL), -PTA_EPROTO);
	for (size_t i = 0; i < sizeof(changed); i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(changed, answer_other_site, sizeof(changed));
			changed[i] ^= (uint8_t)(1u << bit);
			if (decode(changed, sizeof(changed), CLDAP_ANSWERS_ID, &answer, NULL) == 0)
				assert_true(strlen(answer.client_site) <= CLDAP_SITE_MAX);
		}
	assert_int_equal(decode(large, sizeof(large), CLDAP_ANSWERS_ID, &answer, NULL), -PTA_EPROTO);
}

#define HEAD                                                                                                                                                   \
	"\x17\0\0\0\x3c\0\0\0"                                                                                                                                 \
	"0123456789abcdef"
#define TAIL "\5\0\0\0\xff\xff\xff\xff"
/* forest at byte 24; domain and host by pointers; NetBIOS names, user; sites */
#define VALUE(names) HEAD names TAIL, sizeof(HEAD names TAIL) - 1
#define L63                                                                                                                                                    \
	"\x3f"                                                                                                                                                 \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *value;
	size_t len;
	bool good;
	const char *domain, *site, *client_site;
} values[] = {
	{VALUE("\1a\1b\0"
	       "\xc0\x18"
	       "\1h\xc0\x18"
	       "\1N\0\1D\0\0"
	       "\1s\0"
	       "\1t\0"),
		true, "a.b", "s", "t"},
	/* a pointer into the middle of a name, and one to a name that ends in one */
	{VALUE("\1a\1b\0"
	       "\xc0\x1a"
	       "\xc0\x1d"
	       "\0\0\0"
	       "\1s\0"
	       "\1t\0"),
		true, "b", "s", "t"},
	/* empty names are the root */
	{VALUE("\0\0\0\0\0\0\0\0"), true, "", "", ""},
	/* NetBIOS and user names may be anything */
	{VALUE("\1a\0\xc0\x18\xc0\x18"
	       "\3A.B\0\2\xff \0\3\n\0\\\0"
	       "\1s\0"
	       "\1t\0"),
		true, "a", "s", "t"},
	/* sites that are no DNS label are unknown */
	{VALUE("\1a\0\xc0\x18\xc0\x18\0\0\0"
	       "\3x.y\0"
	       "\1t\0"),
		true, "a", "", "t"},
	{VALUE("\1a\0\xc0\x18\xc0\x18\0\0\0"
	       "\1s\0"
	       "\1x\1y\0"),
		true, "a", "s", ""},
	{VALUE("\1a\0\xc0\x18\xc0\x18\0\0\0"
	       "\2s \0"
	       "\2\xc3\xa4\0"),
		true, "a", "", ""},
	{VALUE("\1a\0\xc0\x18\xc0\x18\0\0\0" L63 "\0"
	       "\1t\0"),
		true, "a", &(L63)[1], "t"},
	/* between the names and the tail may be more */
	{VALUE("\1a\0\xc0\x18\xc0\x18\0\0\0"
	       "\1s\0"
	       "\1t\0"
	       "\x10\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		true, "a", "s", "t"},
	/* loops: to itself, back to the labels that the pointer ends, of two */
	{VALUE("\xc0\x18"
	       "\0\0\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	{VALUE("\1a\xc0\x18"
	       "\0\0\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	{VALUE("\1a\0\xc0\x1d\xc0\x1b"
	       "\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	/* pointers forward, behind the end, cut */
	{VALUE("\xc0\x20"
	       "\0\0\0\0\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	{VALUE("\xff\xff"
	       "\0\0\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	{HEAD "\xc0", sizeof(HEAD "\xc0") - 1, false, NULL, NULL, NULL},
	/* reserved length bits, a name of more than 255 bytes, a label behind the end */
	{VALUE("\x40"
	       "a\0\0\0\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	{VALUE("\x80"
	       "a\0\0\0\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	{VALUE(L63 L63 L63 L63 L63 "\0"
				   "\0\0\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	{VALUE("\x3f"
	       "a"),
		false, NULL, NULL, NULL},
	/* DNS names of what no DNS name is made of */
	{VALUE("\3a.b\0"
	       "\0\0\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	{VALUE("\0\3a\nb\0"
	       "\0\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	{VALUE("\0\0\2\0x\0"
	       "\0\0\0\0\0"),
		false, NULL, NULL, NULL},
	/* too few names, no tail, another tail, another opcode, nothing */
	{VALUE("\0\0\0\0\0"), false, NULL, NULL, NULL},
	{HEAD "\0\0\0\0\0\0\0\0", sizeof(HEAD) - 1 + 8, false, NULL, NULL, NULL},
	{HEAD "\0\0\0\0\0\0\0\0\5\0\0\0\xff\xff\xff\xfe", sizeof(HEAD) - 1 + 16, false, NULL, NULL, NULL},
	{"\x0c\0\0\0\0\0\0\0", 8, false, NULL, NULL, NULL},
	{"\x17", 1, false, NULL, NULL, NULL},
	{"", 0, false, NULL, NULL, NULL},
};

static void every_row_of_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(values); i++) {
		struct cldap_answer answer = {0};

		if (!values[i].good) {
			assert_int_equal(parse(values[i].value, values[i].len, &answer), -PTA_EPROTO);
			continue;
		}
		assert_int_equal(parse(values[i].value, values[i].len, &answer), 0);
		assert_int_equal(answer.flags, 0x3c);
		assert_string_equal(answer.domain, values[i].domain);
		assert_string_equal(answer.dc_site, values[i].site);
		assert_string_equal(answer.client_site, values[i].client_site);
	}
}

static void a_paused_controller_is_known(void **state)
{
	const char value[] = "\x18\0\0\0\x3c\0\0\0"
			     "0123456789abcdef\0\0\0\0\0\0\0\0" TAIL;
	struct cldap_answer answer;

	(void)state;
	assert_int_equal(parse(value, sizeof(value) - 1, &answer), 0);
	assert_true(answer.paused);
}

/* The request as MS-ADTS 6.3.3 and RFC 4511 write it, byte by byte. */
static void the_request_is_the_documented_one(void **state)
{
	const char want[] = "\x30\x4f\x02\x04\x12\x34\x56\x78\x63\x47\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00"
			    "\xa0\x28\xa3\x17\x04\x09"
			    "DnsDomain"
			    "\x04\x0a"
			    "d.example."
			    "\xa3\x0d\x04\x05"
			    "NtVer"
			    "\x04\x04\x06\x00\x00\x00"
			    "\x30\x0a\x04\x08"
			    "Netlogon";
	struct buf request PTA_CLEANUP(buf_done) = BUF_INIT(512);

	(void)state;
	assert_int_equal(cldap_encode(CLDAP_ANSWERS_ID, "d.example.", &request), 0);
	assert_int_equal(request.len, sizeof(want) - 1);
	assert_memory_equal(request.data, want, request.len);
}

/* -- pings -- */

static struct dns_host host_at(const char *address)
{
	struct dns_host host = {.name = "dc1." DOMAIN, .naddresses = 1};

	if (inet_pton(AF_INET, address, &host.addresses[0].v4.sin_addr) == 1) {
		host.addresses[0].v4.sin_family = AF_INET;
	} else {
		assert_int_equal(inet_pton(AF_INET6, address, &host.addresses[0].v6.sin6_addr), 1);
		host.addresses[0].v6.sin6_family = AF_INET6;
	}
	return host;
}

static struct cldap_double *controller(const char *address, unsigned port)
{
	struct cldap_double *d = cldap_double_new(address, port);

	if (d)
		cldap_double_says(d, DOMAIN, "Here", "Here", CLDAP_LDAP | CLDAP_CLOSEST);
	return d;
}

static int ping_one(const struct cldap_double *d, const struct dns_host *host, struct cldap_target *target, uint64_t patience_us)
{
	struct err err = {0};

	*target = (struct cldap_target){.host = host};
	return cldap_ping(DOMAIN, cldap_double_port(d), target, 1, clock_mono_us() + patience_us, -1, &err);
}

static void what_answers_is_told_from_what_does_not(void **state)
{
	static const struct {
		enum cldap_act act;
		bool answered;
		unsigned patience_us, pings; /* at least */
	} rows[] = {
		{CLDAP_ACT_ANSWER, true, 10 * SECOND_US, 1},
		{CLDAP_ACT_LOSE_FIRST, true, 10 * SECOND_US, 2},
		{CLDAP_ACT_WRONG_ID, true, 10 * SECOND_US, 1},
		{CLDAP_ACT_HUGE, true, 10 * SECOND_US, 1},
		{CLDAP_ACT_SILENT, false, 200000, 1},
		{CLDAP_ACT_ONLY_WRONG_ID, false, 200000, 1},
		{CLDAP_ACT_ELSEWHERE, false, 200000, 1},
		{CLDAP_ACT_OTHER_DOMAIN, false, 200000, 1},
		{CLDAP_ACT_BROKEN, false, 200000, 1},
		/* An honest no: nothing more is waited for. */
		{CLDAP_ACT_EMPTY, false, 10 * SECOND_US, 1},
	};
	struct cldap_double *d = controller("127.0.0.1", 0);
	struct dns_host host = host_at("127.0.0.1");
	struct cldap_target target;
	uint64_t began;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		cldap_double_act(d, rows[i].act);
		began = clock_mono_us();
		assert_int_equal(ping_one(d, &host, &target, rows[i].patience_us), 0);
		if (rows[i].patience_us > SECOND_US)
			assert_true(clock_mono_us() - began < 5 * SECOND_US);
		assert_int_equal(target.answered, rows[i].answered);
		assert_true(cldap_double_pings(d) >= rows[i].pings);
		if (!target.answered)
			continue;
		assert_string_equal(target.answer.client_site, "Here");
		assert_true(target.took_us > 0);
	}
	cldap_double_free(d);
}

static void any_address_of_a_controller_will_do(void **state)
{
	struct dns_host host = host_at("127.0.0.9"), v6 = host_at("::1");
	struct cldap_double *d = controller("127.0.0.1", 0), *six = controller("::1", cldap_double_port(d));
	struct cldap_target target;

	(void)state;
	/* The first one refuses. */
	host.addresses[host.naddresses++] = v6.addresses[0];
	host.addresses[host.naddresses++] = host_at("127.0.0.1").addresses[0];
	assert_int_equal(ping_one(d, &host, &target, 10 * SECOND_US), 0);
	assert_true(target.answered);
	/* By IPv6, where this host has it. */
	assert_int_equal(ping_one(d, &v6, &target, 10 * SECOND_US), 0);
	assert_int_equal(target.answered, six != NULL);
	cldap_double_free(six);
	cldap_double_free(d);
}

static void a_refusing_port_ends_the_wait(void **state)
{
	struct cldap_double *d = controller("127.0.0.1", 0);
	struct dns_host host = host_at("127.0.0.9");
	uint64_t began = clock_mono_us();
	struct cldap_target target;

	(void)state;
	assert_int_equal(ping_one(d, &host, &target, 10 * SECOND_US), 0);
	assert_false(target.answered);
	assert_true(clock_mono_us() - began < 5 * SECOND_US);
	cldap_double_free(d);
}

static void many_are_pinged_at_a_time(void **state)
{
	struct cldap_double *d = controller("127.0.0.1", 0);
	struct dns_host host = host_at("127.0.0.1");
	struct cldap_target targets[64];
	struct err err;

	(void)state;
	host.addresses[1] = host.addresses[2] = host.addresses[3] = host.addresses[0];
	host.naddresses = 4;
	for (size_t i = 0; i < 64; i++)
		targets[i] = (struct cldap_target){.host = &host};
	/* The socket buffer of the double may lose some of 192; the second round mends it. */
	assert_int_equal(cldap_ping(DOMAIN, cldap_double_port(d), targets, 64, clock_mono_us() + 10 * SECOND_US, -1, &err), 0);
	for (size_t i = 0; i < 64; i++)
		assert_true(targets[i].answered);
	cldap_double_free(d);
}

struct canceller {
	struct cldap_double *d;
	int fd;
};

static void *cancel(void *arg)
{
	struct canceller *c = arg;

	cldap_double_wait(c->d, 1);
	eventfd_write(c->fd, 1);
	return NULL;
}

static void a_ping_can_be_ended(void **state)
{
	struct canceller c = {.d = controller("127.0.0.1", 0), .fd = eventfd(0, EFD_CLOEXEC)};
	struct dns_host host = host_at("127.0.0.1");
	struct cldap_target target = {.host = &host};
	uint64_t began = clock_mono_us();
	pthread_t thread;
	struct err err;

	(void)state;
	cldap_double_act(c.d, CLDAP_ACT_SILENT);
	assert_int_equal(pthread_create(&thread, NULL, cancel, &c), 0);
	assert_int_equal(cldap_ping(DOMAIN, cldap_double_port(c.d), &target, 1, began + 60 * SECOND_US, c.fd, &err), -PTA_ECLOSED);
	assert_true(clock_mono_us() - began < 5 * SECOND_US);
	pthread_join(thread, NULL);
	close(c.fd);
	cldap_double_free(c.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_of_a_controller_are_read),
		cmocka_unit_test(an_answer_to_another_request_is_none),
		cmocka_unit_test(a_cut_or_changed_message_never_breaks_the_decoder),
		cmocka_unit_test(every_row_of_the_table),
		cmocka_unit_test(a_paused_controller_is_known),
		cmocka_unit_test(the_request_is_the_documented_one),
		cmocka_unit_test(what_answers_is_told_from_what_does_not),
		cmocka_unit_test(any_address_of_a_controller_will_do),
		cmocka_unit_test(a_refusing_port_ends_the_wait),
		cmocka_unit_test(many_are_pinged_at_a_time),
		cmocka_unit_test(a_ping_can_be_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
