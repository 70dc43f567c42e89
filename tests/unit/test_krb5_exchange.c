#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/krb5_exchange.h"
#include "directory/krb5_profile.h"
#include "kdc_double.h"
#include "krb5_bed.h"

#define TIMEOUT_MS 5000
#define SHORT_MS 100
#define KDC_ERR_PREAUTH_REQUIRED 25
#define KDC_ERR_PREAUTH_EXPIRED 90

static struct krb5_bed bed;
static krb5_context context;

static const struct krb5_bed_user users[] = {
	{"alice", "right", NULL},
	{"olga", "right", "+requires_preauth -pwexpire 2001-01-01"},
	{"otto", "right", "-requires_preauth"},
	{"dora", "right", "+requires_preauth -allow_tix"},
	{"ed", "right", "+requires_preauth -expire 2001-01-01"},
	{"service", NULL, NULL},
	{"krbtgt/ELSEWHERE.COM", NULL, "+requires_preauth"},
	{NULL, NULL, NULL},
};

/* One exchange and what came of it. */
struct attempt {
	struct krb5_exchange x;
	struct directory_server server;
	krb5_principal client;
	struct secret *password;
	krb5_creds creds;
	struct verdict verdict;
	enum ad_status_health health;
	struct err err;
	int r;
};

static void ask(struct attempt *a, const char *service)
{
	krb5_free_cred_contents(context, &a->creds);
	memset(&a->creds, 0, sizeof(a->creds));
	a->r = krb5_exchange_initial(&a->x, a->client, a->password, service, &a->creds, &a->err);
	if (a->r < 0)
		a->health = krb5_exchange_verdict(&a->x, a->r, &a->verdict);
}

static void begin(struct attempt *a, struct directory_server server, const char *user, const char *password, unsigned timeout_ms)
{
	*a = (struct attempt){.server = server, .password = secret_dup(password, strlen(password))};
	assert_int_equal(krb5_build_principal(context, &a->client, sizeof(KRB5_BED_REALM) - 1, KRB5_BED_REALM, user, NULL), 0);
	krb5_exchange_init(&a->x, context, &a->server, clock_mono_us() + 10000000, timeout_ms);
	ask(a, NULL);
}

static void end(struct attempt *a)
{
	krb5_exchange_done(&a->x);
	krb5_free_cred_contents(context, &a->creds);
	krb5_free_principal(context, a->client);
	secret_free(a->password);
}

/* ---- a real KDC ---- */

static const struct {
	const char *user, *password;
	int r;
	int error;
	bool before, no_preauth, sent;
	enum verdict_code code;
} states[] = {
	{"alice", "right", 0, 0, false, false, true, VERDICT_SUCCESS},
	{"alice", "wrong", -PTA_EPERM, 24, false, false, true, VERDICT_INVALID_CREDENTIALS},
	{"alice", "Right", -PTA_EPERM, 24, false, false, true, VERDICT_INVALID_CREDENTIALS},
	{"nobody", "right", -PTA_EPERM, 6, true, false, false, VERDICT_INVALID_CREDENTIALS},
	{"olga", "right", -PTA_EPERM, 23, true, false, false, VERDICT_PASSWORD_EXPIRED},
	{"olga", "wrong", -PTA_EPERM, 23, true, false, false, VERDICT_PASSWORD_EXPIRED},
	{"otto", "right", 0, 0, false, true, false, VERDICT_SUCCESS},
	{"otto", "wrong", -PTA_ECRYPTO, 0, false, true, false, VERDICT_INVALID_CREDENTIALS},
	{"dora", "right", -PTA_EPERM, 18, true, false, false, VERDICT_ACCOUNT_RESTRICTED},
	{"dora", "wrong", -PTA_EPERM, 18, true, false, false, VERDICT_ACCOUNT_RESTRICTED},
	{"ed", "right", -PTA_EPERM, 1, true, false, false, VERDICT_ACCOUNT_EXPIRED},
};

static void every_state_of_an_account(void **state)
{
	struct attempt a;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(states); i++) {
		begin(&a, krb5_bed_server(&bed), states[i].user, states[i].password, TIMEOUT_MS);
		if (a.r != states[i].r || a.x.kdc_error != states[i].error || a.x.has_error != (states[i].error != 0) ||
			a.x.error_before_proof != states[i].before || a.x.no_preauth != states[i].no_preauth || a.x.sent != states[i].sent ||
			a.x.proved_asked != states[i].sent)
			fail_msg("%s, %s: %d, error %d, before %d, no_preauth %d, sent %d: %s", states[i].user, states[i].password, a.r, a.x.kdc_error,
				a.x.error_before_proof, a.x.no_preauth, a.x.sent, a.err.text);
		if (a.r == 0) {
			assert_true(krb5_principal_compare(context, a.creds.client, a.client));
			/* Short-lived, and of no use elsewhere. */
			assert_in_range(a.creds.times.endtime - a.creds.times.authtime, 1, 900);
			assert_int_equal(a.creds.ticket_flags & (TKT_FLG_FORWARDABLE | TKT_FLG_PROXIABLE | TKT_FLG_RENEWABLE), 0);
		} else {
			assert_int_equal(a.verdict.code, states[i].code);
			assert_int_equal(a.verdict.password_sent, states[i].sent);
			assert_false(a.verdict.password_proved);
			assert_int_equal(a.health, AD_STATUS_WELL);
		}
		end(&a);
	}
}

/* KEY_EXPIRED came before the proof: it may go to kadmin/changepw, which the same exchange then proves, once. */
static void an_expired_password_is_confirmed(void **state)
{
	struct attempt a;

	(void)state;
	begin(&a, krb5_bed_server(&bed), "olga", "right", TIMEOUT_MS);
	assert_int_equal(a.x.kdc_error, 23);
	assert_false(a.x.proved_asked);
	ask(&a, "kadmin/changepw");
	assert_int_equal(a.r, 0);
	assert_true(a.x.sent);
	assert_int_equal(krb5_princ_size(context, a.creds.server), 2);
	ask(&a, "kadmin/changepw");
	assert_int_equal(a.r, -PTA_EREPLAY);
	end(&a);

	begin(&a, krb5_bed_server(&bed), "olga", "wrong", TIMEOUT_MS);
	assert_int_equal(a.x.kdc_error, 23);
	ask(&a, "kadmin/changepw");
	assert_int_equal(a.r, -PTA_EPERM);
	assert_int_equal(a.x.kdc_error, 24);
	assert_int_equal(a.verdict.code, VERDICT_INVALID_CREDENTIALS);
	end(&a);
}

static void a_password_that_is_none_is_not_tried(void **state)
{
	struct kdc_double *d = kdc_double_new(KDC_PREAUTH);
	struct attempt a;

	(void)state;
	begin(&a, kdc_double_server(d), "alice", "", TIMEOUT_MS);
	assert_int_equal(a.r, -PTA_EINVAL);
	secret_free(a.password);
	a.password = secret_dup("ri\0ght", 6);
	ask(&a, NULL);
	assert_int_equal(a.r, -PTA_EINVAL);
	assert_int_equal(kdc_double_connections(d), 0);
	end(&a);
	kdc_double_free(d);
}

/* The agent's own account: its key instead of a password. */
static void a_keytab_proves_as_a_password_does(void **state)
{
	struct attempt a = {.server = krb5_bed_server(&bed)};
	krb5_keytab keytab = NULL;
	char old[96];

	(void)state;
	snprintf(old, sizeof(old), "%s/service.keytab", bed.dir);
	krb5_bed_keytab(&bed, "service", old);
	assert_int_equal(krb5_parse_name(context, "service@" KRB5_BED_REALM, &a.client), 0);
	assert_int_equal(krb5_kt_resolve(context, old, &keytab), 0);
	krb5_exchange_init(&a.x, context, &a.server, clock_mono_us() + 10000000, TIMEOUT_MS);
	assert_int_equal(krb5_exchange_initial_keytab(&a.x, a.client, keytab, &a.creds, &a.err), 0);
	assert_true(a.x.sent);
	end(&a);

	/* The KDC has newer keys. */
	krb5_bed_kadmin(&bed, "cpw -randkey service\n");
	a = (struct attempt){.server = krb5_bed_server(&bed)};
	assert_int_equal(krb5_parse_name(context, "service@" KRB5_BED_REALM, &a.client), 0);
	krb5_exchange_init(&a.x, context, &a.server, clock_mono_us() + 10000000, TIMEOUT_MS);
	a.r = krb5_exchange_initial_keytab(&a.x, a.client, keytab, &a.creds, &a.err);
	assert_int_equal(a.r, -PTA_EPERM);
	assert_int_equal(a.x.kdc_error, 24);
	end(&a);

	/* The keytab has no key of that client. */
	a = (struct attempt){.server = krb5_bed_server(&bed)};
	assert_int_equal(krb5_parse_name(context, "alice@" KRB5_BED_REALM, &a.client), 0);
	krb5_exchange_init(&a.x, context, &a.server, clock_mono_us() + 10000000, TIMEOUT_MS);
	a.r = krb5_exchange_initial_keytab(&a.x, a.client, keytab, &a.creds, &a.err);
	if (a.r != -PTA_ECRYPTO || a.x.sent)
		fail_msg("%d, sent %d: %s", a.r, a.x.sent, a.err.text);
	end(&a);
	krb5_kt_close(context, keytab);
}

static krb5_ccache cache_of(struct attempt *a)
{
	krb5_ccache ccache = NULL;

	assert_int_equal(krb5_cc_new_unique(context, "MEMORY", NULL, &ccache), 0);
	assert_int_equal(krb5_cc_initialize(context, ccache, a->client), 0);
	assert_int_equal(krb5_cc_store_cred(context, ccache, &a->creds), 0);
	return ccache;
}

static krb5_error_code verify(krb5_creds *creds, const char *keytab_name)
{
	krb5_verify_init_creds_opt options;
	krb5_keytab keytab = NULL;
	krb5_error_code code;

	krb5_verify_init_creds_opt_init(&options);
	krb5_verify_init_creds_opt_set_ap_req_nofail(&options, 1);
	assert_int_equal(krb5_kt_resolve(context, keytab_name, &keytab), 0);
	code = krb5_verify_init_creds(context, creds, creds->server, keytab, NULL, &options);
	krb5_kt_close(context, keytab);
	return code;
}

/* The service's ticket itself, given to libkrb5 as what is to be verified, is judged by the keytab without another question:
 * our [realms] are empty, so that one would fail. */
static void a_service_ticket_verifies_the_kdc(void **state)
{
	char wrong[96], none[96];
	krb5_principal service = NULL;
	krb5_creds ticket = {0};
	krb5_ccache ccache;
	struct attempt a;

	(void)state;
	begin(&a, krb5_bed_server(&bed), "alice", "right", TIMEOUT_MS);
	assert_int_equal(a.r, 0);
	ccache = cache_of(&a);
	assert_int_equal(krb5_parse_name(context, KRB5_BED_HOST "@" KRB5_BED_REALM, &service), 0);
	assert_int_equal(krb5_exchange_ticket(&a.x, ccache, a.client, service, &ticket, &a.err), 0);
	assert_true(krb5_principal_compare(context, ticket.server, service));
	assert_int_equal(verify(&ticket, bed.keytab), 0);

	/* Another host's keytab, the same host's with another key, and none at all. */
	snprintf(wrong, sizeof(wrong), "%s/other.keytab", bed.dir);
	krb5_bed_keytab(&bed, "krbtgt/ELSEWHERE.COM", wrong);
	assert_int_not_equal(verify(&ticket, wrong), 0);
	snprintf(wrong, sizeof(wrong), "%s/old.keytab", bed.dir);
	krb5_bed_kadmin(&bed, "cpw -randkey " KRB5_BED_HOST "\n");
	krb5_bed_keytab(&bed, KRB5_BED_HOST, wrong);
	assert_int_not_equal(verify(&ticket, wrong), 0);
	snprintf(none, sizeof(none), "%s/none.keytab", bed.dir);
	assert_int_not_equal(verify(&ticket, none), 0);
	assert_int_equal(verify(&ticket, bed.keytab), 0);

	krb5_free_cred_contents(context, &ticket);
	krb5_free_principal(context, service);
	krb5_cc_destroy(context, ccache);
	end(&a);
}

static void a_ticket_that_there_is_not(void **state)
{
	krb5_principal unknown = NULL, elsewhere = NULL;
	krb5_creds ticket = {0};
	krb5_ccache ccache;
	struct attempt a;

	(void)state;
	begin(&a, krb5_bed_server(&bed), "alice", "right", TIMEOUT_MS);
	ccache = cache_of(&a);
	assert_int_equal(krb5_parse_name(context, "host/unknown.example.com@" KRB5_BED_REALM, &unknown), 0);
	assert_int_equal(krb5_exchange_ticket(&a.x, ccache, a.client, unknown, &ticket, &a.err), -PTA_EPERM);
	assert_int_equal(a.x.kdc_error, 7);
	/* This KDC has a ticket for the other realm's, and nothing more is asked of it. */
	assert_int_equal(krb5_parse_name(context, "host/there.elsewhere.com@ELSEWHERE.COM", &elsewhere), 0);
	assert_int_equal(krb5_exchange_ticket(&a.x, ccache, a.client, elsewhere, &ticket, &a.err), -PTA_ENOENT);
	assert_non_null(strstr(a.err.text, "ELSEWHERE.COM"));
	krb5_free_principal(context, unknown);
	krb5_free_principal(context, elsewhere);
	krb5_cc_destroy(context, ccache);
	end(&a);
}

static void probe(struct attempt *a, struct directory_server server, const char *realm)
{
	*a = (struct attempt){.server = server};
	krb5_exchange_init(&a->x, context, &a->server, clock_mono_us() + 10000000, SHORT_MS * 10);
	a->r = krb5_exchange_probe(&a->x, realm, &a->err);
}

static void a_probe_finds_who_lives(void **state)
{
	struct kdc_double *d = kdc_double_new(KDC_ERROR);
	struct attempt a;

	(void)state;
	probe(&a, krb5_bed_server(&bed), KRB5_BED_REALM);
	assert_int_equal(a.r, 0);
	assert_false(a.x.sent);
	end(&a);
	kdc_double_error(d, 18, NULL, 0);
	probe(&a, kdc_double_server(d), KRB5_BED_REALM);
	assert_int_equal(a.r, 0);
	end(&a);
	kdc_double_error(d, 29, NULL, 0);
	probe(&a, kdc_double_server(d), KRB5_BED_REALM);
	assert_int_equal(a.r, -PTA_EPERM);
	end(&a);
	kdc_double_act(d, KDC_REFERRAL);
	probe(&a, kdc_double_server(d), KRB5_BED_REALM);
	assert_int_equal(a.r, -PTA_EPERM);
	end(&a);
	/* Alive all the same. */
	kdc_double_act(d, KDC_PREAUTH);
	kdc_double_clock(d, 86400);
	kdc_double_offer(d, NULL, 0, 1);
	probe(&a, kdc_double_server(d), KRB5_BED_REALM);
	assert_int_equal(a.r, 0);
	end(&a);
	kdc_double_act(d, KDC_GARBAGE);
	probe(&a, kdc_double_server(d), KRB5_BED_REALM);
	assert_int_equal(a.r, -PTA_EPROTO);
	end(&a);
	assert_int_equal(kdc_double_proofs(d), 0);
	kdc_double_free(d);
}

static void a_dead_kdc_got_nothing(void **state)
{
	struct attempt a;

	(void)state;
	krb5_bed_stop(&bed);
	begin(&a, krb5_bed_server(&bed), "alice", "right", TIMEOUT_MS);
	assert_int_equal(a.r, -PTA_ENET);
	assert_false(a.x.sent);
	assert_int_equal(a.verdict.code, VERDICT_UNAVAILABLE);
	assert_int_equal(a.verdict.reason, REASON_DIRECTORY_UNREACHABLE);
	assert_false(a.verdict.password_sent);
	assert_int_equal(a.health, AD_STATUS_BUSY);
	end(&a);
	krb5_bed_start(&bed);
	begin(&a, krb5_bed_server(&bed), "alice", "right", TIMEOUT_MS);
	assert_int_equal(a.r, 0);
	end(&a);
}

#define MASK 0x55
#define BIG_MAPPING (1ull << 30)

/* Is the text, each byte of it masked here, anywhere in what this process may write to? The sanitizer's shadow is left out. */
static bool in_memory(const uint8_t *masked, size_t len)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	static uint8_t window[65536];
	unsigned long long from, to;
	char line[512], mode[8];
	bool found = false;

	assert_non_null(maps);
	assert_true(mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%llx-%llx %7s", &from, &to, mode) != 3 || mode[1] != 'w' || to - from > BIG_MAPPING)
			continue;
		while (from < to) {
			size_t want = to - from < sizeof(window) ? (size_t)(to - from) : sizeof(window);
			ssize_t n = pread(mem, window, want, (off_t)from);
			const uint8_t *p = window;

			if (n < (ssize_t)len)
				break;
			while ((p = memchr(p, masked[0] ^ MASK, (size_t)(window + n - p) - len + 1)) != NULL) {
				size_t same = 1;

				while (same < len && (p[same] ^ MASK) == masked[same])
					same++;
				found = found || same == len;
				if (++p > window + n - len)
					break;
			}
			/* Windows overlap; the last one ends the mapping. */
			if ((size_t)n < want || want < sizeof(window))
				break;
			from += (size_t)n - len + 1;
		}
	}
	close(mem);
	fclose(maps);
	return found;
}

static void a_password_in_the_clear(const uint8_t *masked, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(masked[i] ^ MASK);
	out[len] = '\0';
}

static void no_copy_of_the_password_stays(void **state)
{
	uint8_t masked[24];
	char clear[sizeof(masked) + 1], command[128];
	struct attempt a;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(getentropy(masked, sizeof(masked)), 0);
	for (size_t i = 0; i < sizeof(masked); i++)
		masked[i] = (uint8_t)('a' + masked[i] % 26) ^ MASK;
	/* kadmin's way leaves copies: not in this process. */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		a_password_in_the_clear(masked, sizeof(masked), clear);
		snprintf(command, sizeof(command), "cpw -pw %s alice\n", clear);
		krb5_bed_kadmin(&bed, command);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (int right = 1; right >= 0; right--) {
		a_password_in_the_clear(masked, sizeof(masked), clear);
		begin(&a, krb5_bed_server(&bed), right ? "alice" : "olga", clear, TIMEOUT_MS);
		secret_wipe(clear, sizeof(clear));
		assert_int_equal(a.r, right ? 0 : -PTA_EPERM);
		assert_true(in_memory(masked, sizeof(masked)));
		end(&a);
		assert_false(in_memory(masked, sizeof(masked)));
	}
	krb5_bed_kadmin(&bed, "cpw -pw right alice\n");
}

/* ---- what no real KDC does on demand ---- */

static const struct {
	enum kdc_act act;
	int r;
	bool sent;
	unsigned proofs;
	enum verdict_code code;
	enum verdict_reason reason;
} acts[] = {
	{KDC_PREAUTH, -PTA_EPERM, true, 1, VERDICT_INVALID_CREDENTIALS, 0},
	{KDC_ERROR, -PTA_EPERM, false, 0, VERDICT_INVALID_CREDENTIALS, 0},
	{KDC_PREAUTH_AGAIN, -PTA_EREPLAY, true, 1, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
	{KDC_SILENT, -PTA_ETIMEDOUT, false, 0, VERDICT_UNAVAILABLE, REASON_TIMEOUT},
	{KDC_SILENT_PROOF, -PTA_ETIMEDOUT, true, 1, VERDICT_UNAVAILABLE, REASON_TIMEOUT},
	{KDC_CUT, -PTA_ENET, false, 0, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE},
	{KDC_CUT_PROOF, -PTA_ENET, true, 1, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE},
	{KDC_CLOSING, -PTA_EPERM, true, 1, VERDICT_INVALID_CREDENTIALS, 0},
	{KDC_HALF_FRAME, -PTA_ENET, false, 0, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE},
	{KDC_HALF_ANSWER, -PTA_ENET, false, 0, VERDICT_UNAVAILABLE, REASON_DIRECTORY_UNREACHABLE},
	{KDC_HALF_SILENT, -PTA_ETIMEDOUT, false, 0, VERDICT_UNAVAILABLE, REASON_TIMEOUT},
	{KDC_EMPTY, -PTA_EPROTO, false, 0, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
	{KDC_HUGE, -PTA_EPROTO, false, 0, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
	{KDC_HIGH_BIT, -PTA_EPROTO, false, 0, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
	{KDC_GARBAGE, -PTA_EPROTO, false, 0, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
	{KDC_BROKEN_ERROR, -PTA_EPROTO, false, 0, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
	{KDC_BROKEN_REP, -PTA_EPROTO, false, 0, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
	{KDC_WRONG_KIND, -PTA_EPROTO, false, 0, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
	{KDC_EXTRA, -PTA_EPERM, true, 1, VERDICT_INVALID_CREDENTIALS, 0},
	{KDC_REFERRAL, -PTA_EPERM, false, 0, VERDICT_UNAVAILABLE, REASON_AGENT_ERROR},
};

static void one_proof_at_most_whatever_the_kdc_does(void **state)
{
	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(acts); i++) {
		struct kdc_double *d = kdc_double_new(acts[i].act);
		bool silent = acts[i].r == -PTA_ETIMEDOUT;
		struct attempt a;
		unsigned asked;

		begin(&a, kdc_double_server(d), "alice", "right", silent ? SHORT_MS : TIMEOUT_MS);
		if (a.r != acts[i].r || a.x.sent != acts[i].sent || kdc_double_proofs(d) != acts[i].proofs || a.verdict.code != acts[i].code ||
			a.verdict.reason != acts[i].reason || a.verdict.password_sent != acts[i].sent)
			fail_msg("act %zu: %d, sent %d, %u proofs, %s/%s: %s", i, a.r, a.x.sent, kdc_double_proofs(d), verdict_name(a.verdict.code),
				verdict_reason_name(a.verdict.reason), a.err.text);
		assert_int_equal(a.x.proved_asked, acts[i].sent);
		/* An exchange whose proof is out asks nothing more, not even without. */
		asked = kdc_double_requests(d);
		if (a.x.sent) {
			kdc_double_act(d, KDC_PREAUTH);
			ask(&a, "kadmin/changepw");
			assert_int_equal(a.r, -PTA_EREPLAY);
			assert_true(a.x.sent);
			assert_true(a.verdict.password_sent);
			assert_int_equal(kdc_double_requests(d), asked);
		}
		end(&a);
		kdc_double_free(d);
	}
}

static void a_connection_is_kept_but_a_proof_has_its_own(void **state)
{
	struct kdc_double *d = kdc_double_new(KDC_ERROR);
	struct attempt a;

	(void)state;
	kdc_double_error(d, 23, NULL, 0);
	begin(&a, kdc_double_server(d), "alice", "right", TIMEOUT_MS);
	ask(&a, "kadmin/changepw");
	assert_int_equal(a.x.kdc_error, 23);
	assert_int_equal(a.x.asked, 2);
	assert_int_equal(kdc_double_connections(d), 1);
	kdc_double_act(d, KDC_PREAUTH);
	ask(&a, "kadmin/changepw");
	assert_true(a.x.sent);
	assert_int_equal(a.x.asked, 4);
	assert_int_equal(kdc_double_connections(d), 2);
	end(&a);
	kdc_double_free(d);
}

static void a_connection_that_is_no_good_is_made_anew(void **state)
{
	/* One that the KDC closed, and one with bytes that nobody asked for, which are not taken for the next answer. */
	static const enum kdc_act bad[] = {KDC_CLOSING, KDC_EXTRA};
	struct attempt a;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(bad); i++) {
		struct kdc_double *d = kdc_double_new(bad[i]);

		kdc_double_offer(d, NULL, 0, 4096);
		begin(&a, kdc_double_server(d), "alice", "right", TIMEOUT_MS);
		assert_int_equal(a.x.kdc_error, 25);
		ask(&a, "kadmin/changepw");
		assert_int_equal(a.r, -PTA_EPERM);
		assert_int_equal(a.x.kdc_error, 25);
		assert_int_equal(kdc_double_connections(d), 2);
		assert_int_equal(kdc_double_requests(d), 2);
		end(&a);
		kdc_double_free(d);
	}
}

static void the_deadline_of_the_whole_holds(void **state)
{
	struct kdc_double *d = kdc_double_new(KDC_SILENT);
	struct attempt a = {.server = kdc_double_server(d), .password = secret_dup("right", 5)};
	uint64_t start = clock_mono_us();

	(void)state;
	assert_int_equal(krb5_build_principal(context, &a.client, sizeof(KRB5_BED_REALM) - 1, KRB5_BED_REALM, "alice", NULL), 0);
	krb5_exchange_init(&a.x, context, &a.server, start + SHORT_MS * 1000, 60000);
	ask(&a, NULL);
	assert_int_equal(a.r, -PTA_ETIMEDOUT);
	assert_in_range(clock_mono_us() - start, SHORT_MS * 1000, 10000000);
	/* It is over: not even a connection is made. */
	ask(&a, NULL);
	assert_int_equal(a.r, -PTA_ETIMEDOUT);
	assert_int_equal(kdc_double_connections(d), 1);
	end(&a);
	kdc_double_free(d);
}

static const struct {
	int32_t types[4];
	size_t n;
	uint32_t iterations;
	int r, error;
	unsigned proofs;
} offers[] = {
	{{2}, 1, 4096, -PTA_EPERM, 24, 1},
	{{151, 138, 16, 2}, 4, 4096, -PTA_EPERM, 24, 1},
	{{138, 2}, 2, 32768, -PTA_EPERM, 24, 1},
	/* No fall-back: to nothing but the encrypted timestamp. */
	{{138}, 1, 4096, -PTA_EPERM, 25, 0},
	{{151}, 1, 4096, -PTA_EPERM, 25, 0},
	{{16, 17}, 2, 4096, -PTA_EPERM, 25, 0},
	{{136}, 1, 4096, -PTA_EPERM, 25, 0},
	{{0}, 0, 4096, -PTA_EPERM, 25, 0},
	/* Neither made cheap to guess, nor dear to make. */
	{{2}, 1, 1, -PTA_EPROTO, 25, 0},
	{{2}, 1, 4095, -PTA_EPROTO, 25, 0},
	{{2}, 1, 262145, -PTA_EPROTO, 25, 0},
	{{2}, 1, 0xfffffff, -PTA_EPROTO, 25, 0},
	{{2}, 1, 0, -PTA_EPROTO, 25, 0},
};

static void only_an_encrypted_timestamp_is_sent(void **state)
{
	struct attempt a;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(offers); i++) {
		struct kdc_double *d = kdc_double_new(KDC_PREAUTH);

		kdc_double_offer(d, offers[i].types, offers[i].n, offers[i].iterations);
		begin(&a, kdc_double_server(d), "alice", "right", TIMEOUT_MS);
		if (a.r != offers[i].r || a.x.kdc_error != offers[i].error || kdc_double_proofs(d) != offers[i].proofs || a.x.sent != (offers[i].proofs > 0))
			fail_msg("offer %zu: %d, error %d, %u proofs: %s", i, a.r, a.x.kdc_error, kdc_double_proofs(d), a.err.text);
		if (!offers[i].proofs) {
			assert_int_equal(a.verdict.code, VERDICT_UNAVAILABLE);
			assert_int_equal(a.verdict.reason, REASON_AGENT_ERROR);
		}
		end(&a);
		kdc_double_free(d);
	}
}

static void the_status_of_an_error_is_read(void **state)
{
	struct kdc_double *d = kdc_double_new(KDC_ERROR);
	unsigned char e_data[64];
	struct attempt a;

	(void)state;
	for (int form = KDC_ERROR_DATA; form <= KDC_TYPED_DATA; form++)
		for (int before = 0; before < 2; before++) {
			kdc_double_act(d, before ? KDC_ERROR : KDC_PREAUTH);
			kdc_double_error(d, 18, e_data, kdc_e_data((enum kdc_e_data)form, 0xc0000234, e_data));
			begin(&a, kdc_double_server(d), "alice", "right", TIMEOUT_MS);
			assert_int_equal(a.r, -PTA_EPERM);
			assert_int_equal(a.x.nt_status, 0xc0000234);
			assert_int_equal(a.x.error_before_proof, before);
			assert_int_equal(a.verdict.code, VERDICT_ACCOUNT_LOCKED);
			assert_int_equal(a.verdict.password_sent, !before);
			assert_string_equal(a.verdict.detail, "KDC error 18 (C0000234)");
			assert_non_null(strstr(a.err.text, "C0000234"));
			end(&a);
		}
	kdc_double_error(d, 18, "not DER", 7);
	begin(&a, kdc_double_server(d), "alice", "right", TIMEOUT_MS);
	assert_int_equal(a.x.kdc_error, 18);
	assert_int_equal(a.x.nt_status, 0);
	end(&a);
	kdc_double_free(d);
}

/* Every code that there is, before and behind the proof: a password is never sent twice, and no error is a success. */
static void every_error_code(void **state)
{
	struct attempt a;

	(void)state;
	for (int code = 0; code < 256; code++)
		for (int before = 0; before < 2; before++) {
			struct kdc_double *d;

			/* No error but a demand; KDC_PREAUTH_AGAIN is this one behind the proof. */
			if (code == KDC_ERR_PREAUTH_REQUIRED)
				continue;
			d = kdc_double_new(before ? KDC_ERROR : KDC_PREAUTH);
			kdc_double_error(d, code, NULL, 0);
			begin(&a, kdc_double_server(d), "alice", "right", TIMEOUT_MS);
			assert_int_equal(kdc_double_proofs(d), !before);
			assert_int_equal(a.x.sent, !before);
			assert_true(a.r < 0);
			assert_int_not_equal(a.verdict.code, VERDICT_SUCCESS);
			/* libkrb5 starts again, from the beginning, when its preauthentication has expired: until the proof is due. */
			if (code == KDC_ERR_PREAUTH_EXPIRED && !before)
				assert_int_equal(a.r, -PTA_EREPLAY);
			else if (a.r != -PTA_EPERM || a.x.kdc_error != code)
				fail_msg("code %d, before %d: %d, %d: %s", code, before, a.r, a.x.kdc_error, a.err.text);
			end(&a);
			kdc_double_free(d);
		}
}

static void a_wrong_clock_keeps_the_password_here(void **state)
{
	static const int wrong[] = {-86400, -400, 400, 86400 * 365};
	struct kdc_double *d = kdc_double_new(KDC_PREAUTH);
	struct attempt a;

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(wrong); i++) {
		kdc_double_clock(d, wrong[i]);
		begin(&a, kdc_double_server(d), "alice", "right", TIMEOUT_MS);
		assert_int_equal(a.r, -PTA_EPERM);
		assert_int_equal(a.x.kdc_error, 37);
		assert_false(a.x.sent);
		assert_int_equal(a.verdict.code, VERDICT_UNAVAILABLE);
		assert_int_equal(a.verdict.reason, REASON_CLOCK_SKEW);
		end(&a);
	}
	assert_int_equal(kdc_double_proofs(d), 0);
	kdc_double_clock(d, 200);
	begin(&a, kdc_double_server(d), "alice", "right", TIMEOUT_MS);
	assert_int_equal(a.x.kdc_error, 24);
	end(&a);
	kdc_double_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_of_an_account),
		cmocka_unit_test(an_expired_password_is_confirmed),
		cmocka_unit_test(a_password_that_is_none_is_not_tried),
		cmocka_unit_test(a_keytab_proves_as_a_password_does),
		cmocka_unit_test(a_service_ticket_verifies_the_kdc),
		cmocka_unit_test(a_ticket_that_there_is_not),
		cmocka_unit_test(a_probe_finds_who_lives),
		cmocka_unit_test(a_dead_kdc_got_nothing),
		cmocka_unit_test(no_copy_of_the_password_stays),
		cmocka_unit_test(one_proof_at_most_whatever_the_kdc_does),
		cmocka_unit_test(a_connection_is_kept_but_a_proof_has_its_own),
		cmocka_unit_test(a_connection_that_is_no_good_is_made_anew),
		cmocka_unit_test(the_deadline_of_the_whole_holds),
		cmocka_unit_test(only_an_encrypted_timestamp_is_sent),
		cmocka_unit_test(the_status_of_an_error_is_read),
		cmocka_unit_test(every_error_code),
		cmocka_unit_test(a_wrong_clock_keeps_the_password_here),
	};
	struct err err;
	int failed;

	if (!krb5_bed_installed()) {
		fputs("krb5kdc, kdb5_util and kadmin.local are needed (Debian: krb5-kdc, krb5-admin-server)\n", stderr);
		return 1;
	}
	krb5_bed_init(&bed, users);
	if (setenv("KRB5_CONFIG", bed.krb5_conf, 1) || krb5_profile_init(&err) < 0 || krb5_init_context(&context)) {
		krb5_bed_done(&bed);
		return 1;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	krb5_free_context(context);
	krb5_bed_done(&bed);
	return failed;
}
