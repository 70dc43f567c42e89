/* What the service tells of its certificates as the years go by. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "service/certificates.h"
#include "service/service_metrics.h"

#define DAY_MS INT64_C(86400000)

static char dir[64];
static struct ca *ca;
static struct registry *registry;
static struct certificates certs;
static char first[LIMIT_ID + 1], second[LIMIT_ID + 1];
static uint64_t start_ms;
static char heard[4096];

static void hear(void *arg, const char *line, size_t len)
{
	size_t at = strlen(heard);

	(void)arg;
	snprintf(heard + at, sizeof(heard) - at, "%.*s\n", (int)len, line);
}

static void must(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%s", err->text);
}

static void add_agent(struct registry_db *db, uint64_t until_ms, const char *fingerprint, char id[LIMIT_ID + 1])
{
	static const uint8_t hash[32];
	char pem[LIMIT_CERTIFICATE + 1];
	struct buf secret PTA_CLEANUP(buf_done) = BUF_INIT(64);
	struct registry_agent agent;
	struct token token;
	struct err err;
	bool again;

	must(registry_token_create(db, "default", "main", start_ms + (uint64_t)DAY_MS, &token, &err), &err);
	encode_base64url(&secret, token.secret, sizeof(token.secret));
	must(registry_token_use(db, token.id, (const char *)secret.data, hash, NULL, "host", "1", &agent, &again, pem, &err), &err);
	must(registry_certificate_add(db, agent.id, token.id, fingerprint, "01", until_ms, "pem", &err), &err);
	snprintf(id, LIMIT_ID + 1, "%s", agent.id);
}

static int set_up(void **state)
{
	struct conf_list names = {.n = 1, .items = (char *[]){(char *)(uintptr_t) "localhost"}};
	char path[PATH_MAX];
	struct registry_db *db;
	SSL_CTX *agent, *signin;
	struct err err;

	(void)state;
	start_ms = clock_wall_ms();
	heard[0] = 0;
	log_init("test", LOG_INFO);
	log_capture(hear, NULL);
	snprintf(dir, sizeof(dir), "/tmp/test_certificates.XXXXXX");
	if (!mkdtemp(dir) || file_path(path, sizeof(path), dir, "registry.db") < 0)
		return -1;
	must(ca_create(dir, (uid_t)-1, (gid_t)-1, &err), &err);
	must(ca_open(dir, &ca, &err), &err);
	must(registry_db_create(path, &err), &err);
	must(registry_db_open(path, &db, &err), &err);
	must(registry_tenant_add(db, "default", &err), &err);
	add_agent(db, start_ms + 30 * (uint64_t)DAY_MS, "a", first);
	add_agent(db, start_ms + 20 * (uint64_t)DAY_MS, "b", second);
	registry_db_close(db);
	must(registry_open(path, &registry, &err), &err);
	must(ca_agent_tls(ca, &names, &agent, &err), &err);
	must(ca_signin_tls(ca, &names, NULL, NULL, &signin, &err), &err);
	certificates_listeners(&certs, signin, agent);
	SSL_CTX_free(signin);
	SSL_CTX_free(agent);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	clock_fake(-1, -1);
	log_capture(NULL, NULL);
	certificates_done(&certs);
	certs = (struct certificates){0};
	registry_close(registry);
	ca_free(ca);
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void look_after(int64_t days)
{
	struct registry_snapshot *s = registry_acquire(registry);

	heard[0] = 0;
	clock_fake(-1, (int64_t)start_ms + days * DAY_MS);
	certificates_look(&certs, ca, s);
	registry_release(s);
}

static bool told(const char *words)
{
	return strstr(heard, words) != NULL;
}

static void each_is_warned_of_in_its_time(void **state)
{
	uint64_t ca_until, server_until;

	(void)state;
	look_after(0);
	assert_string_equal(heard, "");
	ca_until = certs.of[CERTIFICATE_CA].until_ms;
	server_until = certs.of[CERTIFICATE_AGENT_LISTEN].until_ms;
	assert_true(ca_until > start_ms && server_until > start_ms);
	assert_int_equal(certs.of[CERTIFICATE_AGENTS].until_ms, start_ms + 20 * (uint64_t)DAY_MS);
	assert_string_equal(certs.next_agent, second);
	/* Near its end, one agent's is told; behind it the other is the next. */
	look_after(19);
	assert_true(told("event=certificate.expires what=agents name=agent-"));
	assert_true(told(second));
	look_after(21);
	assert_string_equal(certs.next_agent, first);
	assert_string_equal(heard, "");
	look_after(31);
	assert_int_equal(certs.of[CERTIFICATE_AGENTS].until_ms, 0);
	assert_int_equal(certs.of[CERTIFICATE_AGENTS].stage, EXPIRY_FAR);
	/* The listeners' are renewed by looking, though nobody connects. */
	look_after(75);
	assert_true(certs.of[CERTIFICATE_AGENT_LISTEN].until_ms > server_until);
	assert_true(certs.of[CERTIFICATE_SIGNIN_LISTEN].until_ms > server_until);
	assert_false(told("certificate.expires"));
	look_after((int64_t)(ca_until - start_ms) / DAY_MS - 20);
	assert_true(told("event=certificate.expires what=ca until="));
	assert_int_equal(certs.of[CERTIFICATE_CA].stage, EXPIRY_30_DAYS);
}

static void they_are_in_the_metrics_while_they_are_there(void **state)
{
	struct buf out = BUF_INIT(1 << 20);
	struct dispatch *dispatch;
	char want[160];
	struct err err;

	(void)state;
	must(secret_arena_init(1u << 16, &err), &err); /* its use is among the metrics */
	assert_int_equal(dispatch_new(1, &dispatch), 0);
	service_metrics_init();
	look_after(0);
	service_metrics_render(dispatch, &certs, &out);
	assert_true(buf_ok(&out));
	for (int i = 0; i < CERTIFICATE_KINDS; i++) {
		snprintf(want, sizeof(want), "pta_service_certificate_expiry_timestamp_seconds{what=\"%s\"} %llu\n", certificate_names[i],
			(unsigned long long)certs.of[i].until_ms / 1000);
		if (!strstr((const char *)out.data, want))
			fail_msg("no %s", want);
	}
	assert_non_null(strstr((const char *)out.data, "pta_service_build_info{version=\"" PACKAGE_VERSION "\"} 1\n"));
	buf_reset(&out);
	look_after(31);
	service_metrics_render(dispatch, &certs, &out);
	assert_null(strstr((const char *)out.data, "what=\"agents\""));
	assert_non_null(strstr((const char *)out.data, "what=\"ca\""));
	dispatch_free(dispatch);
	buf_done(&out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_is_warned_of_in_its_time),
		TEST(they_are_in_the_metrics_while_they_are_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
