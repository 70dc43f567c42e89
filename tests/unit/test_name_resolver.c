#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "directory/krb5_profile.h"
#include "directory/name_cache.h"
#include "directory/name_lookup.h"
#include "directory/name_resolver.h"
#include "krb5_bed.h"
#include "ldap_double.h"
#include "slapd_bed.h"
#include "test_certs.h"

#define PEOPLE ",ou=people,dc=example,dc=com"
#define ACCOUNT "objectClass: account\nobjectClass: testAccount\n"
#define USER ACCOUNT "sAMAccountType: 805306368\n"

static struct test_certs certs; /* for 127.0.0.1 */
static struct slapd_bed plain;	/* a directory that is not AD */
static struct slapd_bed ad;	/* slapd with AD's attributes, and AD's capability in the rootDSE */
static struct slapd_bed sasl;	/* a directory that takes tickets */
static struct krb5_bed kdc;	/* for it */
static char agent_keytab[128], password_file[128];

static const struct slapd_user users[] = {{"agent", "agent-password"}, {"anna", "x"}, {"j\xc3\xb6rg", "x"}, {NULL, NULL}};

/* AD's attributes compare without case; testBytes compares bytes. */
static const char schema[] =
	"attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )\n"
	"attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )\n"
	"attributetype ( 1.2.840.113556.1.4.302 NAME 'sAMAccountType' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )\n"
	"attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"
	"attributetype ( 1.3.6.1.4.1.32473.1.1 NAME 'testBytes' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )\n"
	"attributetype ( 1.3.6.1.4.1.32473.1.2 NAME 'supportedCapabilities' EQUALITY objectIdentifierMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 )\n"
	"objectclass ( 1.3.6.1.4.1.32473.2.1 NAME 'testAccount' SUP top AUXILIARY MAY ( sAMAccountName $ userPrincipalName $ sAMAccountType $ proxyAddresses "
	"$ mail $ testBytes $ userPassword ) )\n"
	"defaultsearchbase dc=example,dc=com\n";

static const char access_rules[] = "access to attrs=userPassword by anonymous auth\n"
				   "access to * by dn.exact=\"uid=agent" PEOPLE "\" read by anonymous auth\n";

static const char entries[] =
	"dn: uid=a" PEOPLE "\n" USER "uid: a\nsAMAccountName: anna\nuserPrincipalName: anna@example.com\nmail: anna@mail.test\n\n"
	"dn: uid=c" PEOPLE "\n" USER "uid: c\nsAMAccountName: carl\n\n"
	"dn: uid=d" PEOPLE "\n" USER "uid: d\nsAMAccountName: dora\nuserPrincipalName: dora@other.test\n\n"
	"dn: uid=p" PEOPLE "\n" USER "uid: p\nsAMAccountName: paul\nproxyAddresses: SMTP:paul.p@example.com\nproxyAddresses: X400:nobody@example.com\n\n"
	/* eve@example.com is the explicit name of e2, and by her account name the implicit one of e1. */
	"dn: uid=e1" PEOPLE "\n" USER "uid: e1\nsAMAccountName: eve\nuserPrincipalName: somebody@example.com\n\n"
	"dn: uid=e2" PEOPLE "\n" USER "uid: e2\nsAMAccountName: e2\nuserPrincipalName: Eve@example.com\n\n"
	"dn: uid=t1" PEOPLE "\n" USER "uid: t1\nsAMAccountName: t1\nuserPrincipalName: twin@example.com\n\n"
	"dn: uid=t2" PEOPLE "\n" USER "uid: t2\nsAMAccountName: t2\nuserPrincipalName: twin@example.com\n\n"
	"dn: uid=r1" PEOPLE "\n" USER "uid: r1\nsAMAccountName: r1\nuserPrincipalName: triplet@example.com\n\n"
	"dn: uid=r2" PEOPLE "\n" USER "uid: r2\nsAMAccountName: r2\nuserPrincipalName: triplet@example.com\n\n"
	"dn: uid=r3" PEOPLE "\n" USER "uid: r3\nsAMAccountName: r3\nuserPrincipalName: triplet@example.com\n\n"
	/* g wrote another's name into a field of his own. */
	"dn: uid=g" PEOPLE "\n" USER "uid: g\nsAMAccountName: g\nmail: carl@example.com\n\n"
	/* No users. */
	"dn: uid=pc" PEOPLE "\n" ACCOUNT "uid: pc\nsAMAccountName: pc$\nsAMAccountType: 805306369\nuserPrincipalName: pc@example.com\n\n"
	"dn: uid=x" PEOPLE "\n" USER "uid: x\nsAMAccountName: a(b)c*d\\e\n\n"
	"dn: uid=u" PEOPLE "\n" USER "uid: u\nsAMAccountName:: asO2cmc=\n\n"				      /* composed */
	"dn: uid=b1" PEOPLE "\n" USER "uid: b1\nsAMAccountName: b1\ntestBytes:: asO2cmdAZXhhbXBsZS5jb20=\n\n" /* the same at example.com */
	"dn: uid=b2" PEOPLE "\n" USER "uid: b2\nsAMAccountName: b2\ntestBytes:: am/MiHJnQGV4YW1wbGUuY29t\n\n" /* and decomposed */
	/* The same account names in another domain of the forest. */
	"dn: dc=child,dc=example,dc=com\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: child\n\n"
	"dn: uid=a,dc=child,dc=example,dc=com\n" USER "uid: a\nsAMAccountName: anna\n\n"
	"dn: uid=c,dc=child,dc=example,dc=com\n" USER "uid: c\nsAMAccountName: carl\nuserPrincipalName: carl@child.test\n\n"
	"dn: uid=z,dc=child,dc=example,dc=com\n" USER "uid: z\nsAMAccountName: zoe\n\n";

/* A DN of more than 1024 bytes, in a chain of folders. */
static void add_deep_entry(char *ldif, size_t cap)
{
	char dn[2048] = "ou=people,dc=example,dc=com", next[2048], name[201];
	size_t len = strlen(ldif);

	memset(name, 'n', 200);
	name[200] = '\0';
	for (int i = 0; i < 6; i++) {
		snprintf(next, sizeof(next), "ou=%s,%.1700s", name, dn);
		snprintf(dn, sizeof(dn), "%s", next);
		len += (size_t)snprintf(ldif + len, cap - len, "dn: %s\nobjectClass: organizationalUnit\nou: %s\n\n", dn, name);
	}
	snprintf(ldif + len, cap - len, "dn: uid=deep,%s\n" USER "uid: deep\nsAMAccountName: deep\n\n", dn);
}

static void write_password(const char *password, mode_t mode)
{
	int fd = open(password_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t len = strlen(password);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, password, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* ---- jobs ---- */

struct ask {
	struct job job; /* first */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned ended;
	int r;
	struct verdict verdict;
	uint64_t ended_us;
	bool here; /* within name_resolver_start() */
	pthread_t starter;
};

static void on_resolved(void *arg, struct job *job, int r, const struct verdict *verdict)
{
	struct ask *ask = (struct ask *)job;

	(void)arg;
	pthread_mutex_lock(&ask->lock);
	ask->r = r;
	if (verdict)
		ask->verdict = *verdict;
	ask->ended_us = clock_mono_us();
	ask->here = pthread_equal(ask->starter, pthread_self());
	ask->ended++;
	pthread_cond_broadcast(&ask->changed);
	pthread_mutex_unlock(&ask->lock);
}

static struct credential named(const char *typed)
{
	struct credential credential;
	struct err err = {""};

	if (credential_parse(typed, strlen(typed), &credential, &err) < 0)
		fail_msg("'%s': %s", typed, err.text);
	return credential;
}

/* As no parser would let it through. */
static struct credential raw(enum credential_form form, const char *user)
{
	struct credential credential = {.form = form, .domain = "example.com"};

	snprintf(credential.user, sizeof(credential.user), "%s", user);
	snprintf(credential.name, sizeof(credential.name), form == CREDENTIAL_UPN ? "%.900s@example.com" : "EXAMPLE\\%.900s", user);
	return credential;
}

static void ask_init(struct ask *ask, const struct credential *credential, unsigned deadline_ms)
{
	*ask = (struct ask){.job.credential = *credential, .job.deadline_us = clock_mono_us() + deadline_ms * 1000ull, .starter = pthread_self()};
	pthread_mutex_init(&ask->lock, NULL);
	pthread_cond_init(&ask->changed, NULL);
	random_id(ask->job.id);
}

static void ask_wait(struct ask *ask)
{
	pthread_mutex_lock(&ask->lock);
	while (!ask->ended)
		pthread_cond_wait(&ask->changed, &ask->lock);
	assert_int_equal(ask->ended, 1);
	pthread_mutex_unlock(&ask->lock);
	assert_int_equal(ask->r == 0, ask->job.found != NULL);
	if (ask->r < 0)
		assert_false(ask->verdict.password_sent);
}

static void ask_done(struct ask *ask)
{
	free(ask->job.found);
	pthread_mutex_destroy(&ask->lock);
	pthread_cond_destroy(&ask->changed);
}

/* ---- sections ---- */

struct section {
	struct directory_conf conf;
	char names[4][64];
	char *items[4], *words[4];
	struct dc_pool *pool;
	struct name_resolver *resolver;
};

static void section_init(struct section *s, const unsigned *ports, size_t n)
{
	static char name[] = "example.com", netbios[] = "EXAMPLE", identity[] = "uid=agent" PEOPLE;

	*s = (struct section){.conf = {.name = name,
				      .netbios = netbios,
				      .tls = DIRECTORY_LDAPS,
				      .ca_file = certs.ca_file,
				      .identity = identity,
				      .identity_password_file = password_file,
				      .connections = 8,
				      .connect_timeout = 10000,
				      .bind_timeout = 10000}};
	for (size_t i = 0; i < n; i++) {
		snprintf(s->names[i], sizeof(s->names[i]), "127.0.0.1:%u", ports[i]);
		s->items[i] = s->names[i];
	}
	s->conf.servers = (struct conf_list){.items = s->items, .n = n};
	s->conf.login = (struct conf_list){.items = s->words};
}

static void section_login(struct section *s, char *word)
{
	s->words[s->conf.login.n++] = word;
}

static void section_open(struct section *s)
{
	struct err err = {""};

	if (dc_pool_new(&s->conf, &s->pool, &err) < 0 || name_resolver_new(&s->conf, s->pool, on_resolved, NULL, &s->resolver, &err) < 0)
		fail_msg("%s", err.text);
}

static void section_close(struct section *s)
{
	name_resolver_free(s->resolver);
	dc_pool_free(s->pool);
}

static void open_ad(struct section *s)
{
	section_init(s, &ad.ldaps_port, 1);
	section_open(s);
}

static void start(struct section *s, struct ask *ask, const struct credential *credential, unsigned deadline_ms)
{
	ask_init(ask, credential, deadline_ms);
	assert_int_equal(name_resolver_start(s->resolver, &ask->job), 0);
}

static struct verdict verdict_of(struct section *s, const struct credential *credential, unsigned deadline_ms)
{
	struct verdict verdict;
	struct ask ask;

	start(s, &ask, credential, deadline_ms);
	ask_wait(&ask);
	if (ask.r == 0)
		fail_msg("'%s' is found: %s", credential->name, ask.job.found->dn);
	verdict = ask.verdict;
	ask_done(&ask);
	return verdict;
}

static void assert_unavailable(struct section *s, const char *typed, enum verdict_reason reason, const char *text)
{
	struct credential credential = named(typed);
	struct verdict verdict = verdict_of(s, &credential, 20000);

	if (verdict.code != VERDICT_UNAVAILABLE || verdict.reason != reason || !strstr(verdict.detail, text))
		fail_msg("%s %s '%s'", verdict_name(verdict.code), verdict_reason_name(verdict.reason), verdict.detail);
}

/* wanted: a uid, "none", or "ambiguous". */
static void check(struct section *s, const struct credential *credential, const char *wanted)
{
	char dn[128];
	struct ask ask;

	start(s, &ask, credential, 20000);
	ask_wait(&ask);
	if (strcmp(wanted, "none") == 0 || strcmp(wanted, "ambiguous") == 0) {
		if (ask.r == 0)
			fail_msg("'%s' is %s, not %s", credential->name, ask.job.found->dn, wanted);
		if (ask.verdict.code != VERDICT_INVALID_CREDENTIALS || !strstr(ask.verdict.detail, wanted[0] == 'n' ? "no entry" : "more than one"))
			fail_msg("'%s': %s %s, not %s", credential->name, verdict_name(ask.verdict.code), ask.verdict.detail, wanted);
		assert_string_equal(ask.verdict.dc, "127.0.0.1");
	} else {
		snprintf(dn, sizeof(dn), "uid=%s" PEOPLE, wanted);
		if (ask.r < 0)
			fail_msg("'%s': %s %s, not %s", credential->name, verdict_name(ask.verdict.code), ask.verdict.detail, wanted);
		assert_string_equal(ask.job.found->dn, dn);
	}
	ask_done(&ask);
}

static void check_typed(struct section *s, const char *typed, const char *wanted)
{
	struct credential credential = named(typed);

	check(s, &credential, wanted);
}

/* ---- what names mean ---- */

static void names_mean_what_ad_means_by_them(void **state)
{
	static const struct {
		const char *typed, *wanted;
	} rows[] = {
		{"anna@example.com", "a"},
		{"ANNA@Example.com", "a"},
		{"EXAMPLE\\Anna", "a"},
		{"carl@example.com", "c"}, /* implicit */
		{"carl@other.test", "none"},
		{"dora@other.test", "d"},
		{"dora@example.com", "d"},
		{"eve@example.com", "e2"},
		{"EXAMPLE\\eve", "e1"},
		{"somebody@example.com", "e1"},
		{"twin@example.com", "ambiguous"},
		{"triplet@example.com", "ambiguous"},
		{"nobody@example.com", "none"},
		{"EXAMPLE\\nobody", "none"},
		{"pc@example.com", "none"},
		{"EXAMPLE\\pc$", "none"},
		{"anna@mail.test", "none"},
		{"EXAMPLE\\j\xc3\xb6rg", "u"},
	};
	struct section s;
	struct ask ask;
	struct credential anna = named("anna@example.com");

	(void)state;
	open_ad(&s);
	/* Of the child domain there is another anna, and another carl: not here. */
	name_resolver_free(s.resolver);
	s.conf.search_base = (char[]){"ou=people,dc=example,dc=com"};
	assert_int_equal(name_resolver_new(&s.conf, s.pool, on_resolved, NULL, &s.resolver, NULL), 0);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++)
		check_typed(&s, rows[i].typed, rows[i].wanted);
	start(&s, &ask, &anna, 20000);
	ask_wait(&ask);
	assert_int_equal(ask.r, 0);
	assert_string_equal(ask.job.found->account, "anna");
	ask_done(&ask);
	section_close(&s);
}

static void attributes_are_searched_as_configured(void **state)
{
	static char upn[] = "upn", mail[] = "attribute:mail", proxy[] = "attribute:proxyAddresses", base[] = "ou=people,dc=example,dc=com";
	static const struct {
		const char *typed, *wanted;
	} rows[] = {
		{"anna@mail.test", "a"},
		{"anna@example.com", "a"},
		{"Paul.P@example.com", "p"},
		{"paul@example.com", "p"},
		{"nobody@example.com", "none"}, /* an address of another protocol */
		{"eve@example.com", "e2"},
		{"dora@other.test", "d"},
		/* Nobody takes another's implicit name by what he may write himself. */
		{"carl@example.com", "ambiguous"},
		{"twin@example.com", "ambiguous"},
	};
	struct section s;

	(void)state;
	section_init(&s, &ad.ldaps_port, 1);
	s.conf.search_base = base;
	section_login(&s, upn);
	section_login(&s, mail);
	section_login(&s, proxy);
	section_open(&s);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++)
		check_typed(&s, rows[i].typed, rows[i].wanted);
	section_close(&s);
	section_init(&s, &ad.ldaps_port, 1);
	s.conf.search_base = base;
	section_login(&s, mail);
	section_open(&s);
	check_typed(&s, "anna@mail.test", "a");
	check_typed(&s, "anna@example.com", "none");
	check_typed(&s, "carl@example.com", "g");
	check_typed(&s, "EXAMPLE\\carl", "c");
	section_close(&s);
}

static void what_is_typed_is_a_value_and_nothing_else(void **state)
{
	static const char *const hostile[] = {"*", "a*", "*)(uid=*", "anna)(sAMAccountName=*", "a\\2a", "\\", "(", ")", "a)(|(uid=*", "\xff\xfe"};
	static char bytes[] = "attribute:testBytes";
	struct credential special = raw(CREDENTIAL_NETBIOS, "a(b)c*d\\e");
	struct section s;

	(void)state;
	open_ad(&s);
	check(&s, &special, "x");
	for (size_t i = 0; i < PTA_ARRAY_SIZE(hostile); i++) {
		struct credential upn = raw(CREDENTIAL_UPN, hostile[i]), netbios = raw(CREDENTIAL_NETBIOS, hostile[i]);

		check(&s, &upn, "none");
		check(&s, &netbios, "none");
	}
	section_close(&s);
	section_init(&s, &ad.ldaps_port, 1);
	section_login(&s, bytes);
	section_open(&s);
	check_typed(&s, "j\xc3\xb6rg@example.com", "b1");
	check_typed(&s, "jo\xcc\x88rg@example.com", "b2");
	check_typed(&s, "J\xc3\xb6rg@example.com", "none");
	section_close(&s);
}

static void a_directory_that_is_not_ad_is_searched_by_attributes(void **state)
{
	static char mail[] = "attribute:mail", uid[] = "attribute:uid";
	struct section s;

	(void)state;
	section_init(&s, &plain.ldap_port, 1);
	s.conf.tls = DIRECTORY_STARTTLS;
	section_login(&s, mail);
	section_login(&s, uid);
	section_open(&s);
	check_typed(&s, "anna.a@example.com", "m");
	check_typed(&s, "nobody@example.com", "none");
	check_typed(&s, "EXAMPLE\\anna", "none");
	section_close(&s);
}

/* The catalog's ports are fixed, so its search is tried on a connection to slapd's, whose default search base stands for the
 * forest. */
static void in_the_catalog_account_names_are_of_the_own_domain(void **state)
{
	static const struct {
		const char *typed;
		int r;
		const char *dn;
	} rows[] = {
		{"EXAMPLE\\anna", 0, "uid=a" PEOPLE},
		{"anna@example.com", 0, "uid=a" PEOPLE},
		{"carl@example.com", 0, "uid=c" PEOPLE},
		{"carl@child.test", 0, "uid=c,dc=child,dc=example,dc=com"},
		{"EXAMPLE\\zoe", -PTA_ENOENT, ""},
		{"zoe@example.com", -PTA_ENOENT, ""},
	};
	struct name_lookup *lookup = NULL;
	struct name_link *link = NULL;
	struct name_found found;
	struct err err = {""};
	struct section s;
	bool connected;
	uint64_t deadline_us = clock_mono_us() + 20000000;

	(void)state;
	section_init(&s, &ad.ldaps_port, 1);
	assert_int_equal(dc_pool_new(&s.conf, &s.pool, &err), 0);
	assert_int_equal(name_lookup_new(&s.conf, &lookup, &err), 0);
	if (name_link_open(lookup, dc_pool_server(s.pool, 0), deadline_us, deadline_us, &link, &connected, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(link->root.active_directory);
	s.conf.global_catalog = true;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct credential credential = named(rows[i].typed);
		int r = name_link_look(lookup, link, &credential, deadline_us, &found, &err);

		if (r != rows[i].r || (r == 0 && strcmp(found.dn, rows[i].dn) != 0))
			fail_msg("%s: %d %s '%s'", rows[i].typed, r, r == 0 ? found.dn : "", err.text);
	}
	name_link_close(link);
	name_lookup_free(lookup);
	dc_pool_free(s.pool);
}

/* A controller that is no catalog is still good for passwords. */
static void the_catalogs_port_says_nothing_about_the_controller(void **state)
{
	struct dc_report report;
	struct section s;

	(void)state;
	section_init(&s, &ad.ldaps_port, 1);
	s.conf.global_catalog = true;
	section_open(&s);
	dc_pool_connected(s.pool, 0);
	assert_unavailable(&s, "anna@example.com", REASON_DIRECTORY_UNREACHABLE, "port 3269");
	assert_true(dc_pool_report(s.pool, 0, &report));
	assert_string_equal(report.state, "up");
	section_close(&s);
}

/* Nor does LDAP's where passwords go to the KDC. */
static void of_kerberos_the_pool_hears_from_others(void **state)
{
	const unsigned ports[] = {1, ad.ldaps_port};
	struct dc_report report;
	struct section s;

	(void)state;
	section_init(&s, ports, 2);
	s.conf.method = DIRECTORY_KERBEROS;
	section_open(&s);
	check_typed(&s, "dora@other.test", "d");
	for (size_t dc = 0; dc < 2; dc++) {
		assert_true(dc_pool_report(s.pool, dc, &report));
		assert_string_equal(report.state, "unknown");
	}
	section_close(&s);
}

static void a_dn_that_is_too_long_is_not_cut(void **state)
{
	struct section s;

	(void)state;
	open_ad(&s);
	assert_unavailable(&s, "EXAMPLE\\deep", REASON_AGENT_ERROR, "at most 1023 are taken");
	check_typed(&s, "EXAMPLE\\dora", "d");
	section_close(&s);
}

static void a_refused_search_is_no_denial(void **state)
{
	struct section s;

	(void)state;
	section_init(&s, &ad.ldaps_port, 1);
	s.conf.search_base = (char[]){"dc=elsewhere"};
	section_open(&s);
	for (int i = 0; i < 3; i++)
		assert_unavailable(&s, "anna@example.com", REASON_AGENT_ERROR, "below 'dc=elsewhere'");
	section_close(&s);
}

/* ---- memory ---- */

static void a_name_is_remembered_for_a_minute_or_until_forgotten(void **state)
{
	struct credential dora = named("dora@other.test"), other_case = named("DORA@other.test");
	int64_t now = (int64_t)clock_mono_us();
	struct section s;
	struct ask ask;

	(void)state;
	clock_fake(now, -1);
	open_ad(&s);
	start(&s, &ask, &dora, 20000);
	ask_wait(&ask);
	assert_false(ask.here);
	ask_done(&ask);
	start(&s, &ask, &other_case, 20000);
	ask_wait(&ask);
	assert_int_equal(ask.r, 0);
	assert_true(ask.here);
	assert_string_equal(ask.job.found->account, "dora");
	ask_done(&ask);
	name_resolver_forget(s.resolver, &dora);
	start(&s, &ask, &dora, 20000);
	ask_wait(&ask);
	assert_false(ask.here);
	ask_done(&ask);
	clock_fake(now + NAME_CACHE_US, -1);
	start(&s, &ask, &dora, 20000);
	ask_wait(&ask);
	assert_false(ask.here);
	assert_int_equal(ask.r, 0);
	ask_done(&ask);
	/* That there is none is not remembered. */
	for (int i = 0; i < 2; i++) {
		struct credential nobody = named("nobody@other.test");

		start(&s, &ask, &nobody, 20000);
		ask_wait(&ask);
		assert_false(ask.here);
		ask_done(&ask);
	}
	section_close(&s);
	clock_fake(-1, -1);
}

/* ---- controllers ---- */

static void a_dead_controller_is_passed_over(void **state)
{
	const unsigned ports[] = {1, ad.ldaps_port};
	struct dc_report report;
	struct section s;

	(void)state;
	section_init(&s, ports, 2);
	section_open(&s);
	check_typed(&s, "dora@other.test", "d");
	assert_true(dc_pool_report(s.pool, 0, &report));
	assert_string_equal(report.state, "down");
	assert_true(dc_pool_report(s.pool, 1, &report));
	assert_string_equal(report.state, "up");
	assert_int_equal(report.binds, 0);
	section_close(&s);
}

static void a_silent_controller_leaves_time_for_another(void **state)
{
	struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_SILENT_BIND);
	const unsigned ports[] = {ldap_double_port(d), ad.ldaps_port};
	struct credential dora = named("dora@other.test"), eve = named("eve@example.com");
	struct section s;
	struct ask ask;

	(void)state;
	section_init(&s, ports, 2);
	section_open(&s);
	start(&s, &ask, &dora, 4000);
	ask_wait(&ask);
	assert_int_equal(ask.r, 0);
	assert_true(ask.job.deadline_us - ask.ended_us >= 2000000);
	ask_done(&ask);
	assert_int_equal(ldap_double_binds(d), 1);
	/* And for a while it is not asked first. */
	start(&s, &ask, &eve, 20000);
	ask_wait(&ask);
	assert_int_equal(ask.r, 0);
	ask_done(&ask);
	assert_int_equal(ldap_double_binds(d), 1);
	section_close(&s);
	ldap_double_free(d);
}

static void silence_everywhere_ends_in_time(void **state)
{
	struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_SILENT_BIND);
	const unsigned port = ldap_double_port(d);
	struct credential anna = named("anna@example.com");
	struct section s;
	struct ask ask;

	(void)state;
	section_init(&s, &port, 1);
	section_open(&s);
	start(&s, &ask, &anna, 2000);
	ask_wait(&ask);
	assert_int_equal(ask.verdict.code, VERDICT_UNAVAILABLE);
	assert_int_equal(ask.verdict.reason, REASON_TIMEOUT);
	/* Half of the time is the validator's; the machine may be slow. */
	assert_true(ask.job.deadline_us >= ask.ended_us + 500000);
	ask_done(&ask);
	/* No time at all. */
	ask_init(&ask, &anna, 0);
	assert_int_equal(name_resolver_start(s.resolver, &ask.job), 0);
	ask_wait(&ask);
	assert_int_equal(ask.verdict.reason, REASON_TIMEOUT);
	ask_done(&ask);
	section_close(&s);
	ldap_double_free(d);
}

static void a_server_that_comes_back_is_used_again(void **state)
{
	struct credential carl = named("EXAMPLE\\dora"), eve = named("eve@example.com"), paul = named("EXAMPLE\\paul");
	int64_t now = (int64_t)clock_mono_us();
	struct section s;

	(void)state;
	clock_fake(now, -1);
	open_ad(&s);
	check(&s, &carl, "d");
	/* The idle connection is broken: a fresh one is made, and nobody notices. */
	slapd_bed_stop(&ad);
	slapd_bed_start(&ad);
	check(&s, &eve, "e2");
	slapd_bed_stop(&ad);
	assert_unavailable(&s, "EXAMPLE\\paul", REASON_DIRECTORY_UNREACHABLE, "connecting to 127.0.0.1");
	assert_unavailable(&s, "EXAMPLE\\paul", REASON_DIRECTORY_UNREACHABLE, "no domain controller");
	check(&s, &eve, "e2"); /* remembered */
	slapd_bed_start(&ad);
	clock_fake(now + 40000000, -1);
	check(&s, &paul, "p");
	/* A connection that was idle for too long is made anew before AD closes it. */
	clock_fake(now + 400000000, -1);
	check(&s, &paul, "p");
	section_close(&s);
	clock_fake(-1, -1);
}

/* ---- the identity ---- */

static unsigned refusals; /* lines in the log */

static void count_refusals(void *arg, const char *line, size_t len)
{
	(void)arg;
	if (memmem(line, len, "event=identity.refused", 22))
		refusals++;
	assert_null(memmem(line, len, "agent-password", 14));
}

static void a_refused_identity_pauses(void **state)
{
	static const struct {
		unsigned after_s, binds, logged;
	} rows[] = {{0, 1, 1}, {29, 1, 1}, {31, 2, 1}, {150, 2, 1}, {152, 3, 2}, {600, 3, 2}, {633, 4, 3}, {1230, 4, 3}, {1234, 5, 4}};
	struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER), *other = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
	const unsigned ports[] = {ldap_double_port(d), ldap_double_port(other)};
	int64_t now = (int64_t)clock_mono_us();
	struct section s;
	struct ask asks[8];

	(void)state;
	refusals = 0;
	clock_fake(now, -1);
	log_capture(count_refusals, NULL);
	ldap_double_result(d, 49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563");
	ldap_double_result(other, 49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563");
	section_init(&s, ports, 2);
	section_open(&s);
	for (size_t k = 0; k < PTA_ARRAY_SIZE(rows); k++) {
		clock_fake(now + rows[k].after_s * 1000000ll, -1);
		for (size_t i = 0; i < PTA_ARRAY_SIZE(asks); i++) {
			struct credential anna = named("anna@example.com");

			start(&s, &asks[i], &anna, 20000);
		}
		for (size_t i = 0; i < PTA_ARRAY_SIZE(asks); i++) {
			ask_wait(&asks[i]);
			assert_int_equal(asks[i].verdict.code, VERDICT_UNAVAILABLE);
			assert_int_equal(asks[i].verdict.reason, REASON_AGENT_ERROR);
			assert_non_null(strstr(asks[i].verdict.detail, "with 49"));
			ask_done(&asks[i]);
		}
		/* Nor does another controller get it. */
		if (ldap_double_binds(d) + ldap_double_binds(other) != rows[k].binds || refusals != rows[k].logged)
			fail_msg("after %u s: %u binds, %u lines", rows[k].after_s, ldap_double_binds(d) + ldap_double_binds(other), refusals);
	}
	section_close(&s);
	log_capture(NULL, NULL);
	clock_fake(-1, -1);
	ldap_double_free(d);
	ldap_double_free(other);
}

static void a_wrong_password_of_the_identity_denies_nobody(void **state)
{
	struct section s;

	(void)state;
	write_password("wrong", 0600);
	open_ad(&s);
	assert_unavailable(&s, "anna@example.com", REASON_AGENT_ERROR, "answered the bind as uid=agent" PEOPLE " with 49");
	assert_unavailable(&s, "anna@example.com", REASON_AGENT_ERROR, "no bind for");
	section_close(&s);
	write_password("agent-password\n", 0600);
	/* The section was loaded again. */
	open_ad(&s);
	check_typed(&s, "dora@other.test", "d");
	section_close(&s);
}

static void an_identity_is_never_bound_by_fast_bind(void **state)
{
	struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_ANSWER);
	const unsigned port = ldap_double_port(d);
	struct section s;

	(void)state;
	ldap_double_offer_fast_bind(d, false);
	ldap_double_result(d, 53, "un\x1b[1mwilling \xc3\xb6");
	section_init(&s, &port, 1);
	s.conf.method = DIRECTORY_SIMPLE;
	section_open(&s);
	assert_unavailable(&s, "anna@example.com", REASON_AGENT_ERROR, "with 53 (Server is unwilling to perform): un?[1mwilling ??");
	assert_int_equal(ldap_double_binds(d), 1);
	assert_int_equal(ldap_double_fast_connections(d), 0);
	section_close(&s);
	ldap_double_free(d);
}

static void a_password_file_that_cannot_be_used_is_refused(void **state)
{
	static const struct {
		const char *content;
		mode_t mode;
		const char *text;
	} rows[] = {
		{"", 0600, "has 0 bytes"},
		{"\n", 0600, "has 0 bytes"},
		{"secret", 0644, "chmod 600"},
		{NULL, 0, "opening"},
	};
	struct section s;

	(void)state;
	section_init(&s, &ad.ldaps_port, 1);
	assert_int_equal(dc_pool_new(&s.conf, &s.pool, NULL), 0);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct err err = {""};

		if (rows[i].content)
			write_password(rows[i].content, rows[i].mode);
		else
			unlink(password_file);
		assert_true(name_resolver_new(&s.conf, s.pool, on_resolved, NULL, &s.resolver, &err) < 0);
		if (!strstr(err.text, rows[i].text) || !strstr(err.text, "identity_password_file") || !strstr(err.text, password_file))
			fail_msg("row %zu: '%s'", i, err.text);
	}
	dc_pool_free(s.pool);
	write_password("agent-password\n", 0600);
}

static void section_by_keytab(struct section *s, int tls)
{
	static char identity[] = "agent@" KRB5_BED_REALM, mail[] = "attribute:mail", base[] = "dc=example,dc=com";
	const unsigned port = tls == DIRECTORY_LDAPS ? sasl.ldaps_port : sasl.ldap_port;

	section_init(s, &port, 1);
	s->conf.method = DIRECTORY_GSSAPI;
	s->conf.tls = tls;
	s->conf.identity = identity;
	s->conf.identity_password_file = NULL;
	s->conf.keytab = agent_keytab;
	s->conf.kdc_port = kdc.port;
	s->conf.search_base = base;
	section_login(s, mail);
}

static void a_keytab_is_an_identity_too(void **state)
{
	static const int ways[] = {DIRECTORY_LDAPS, DIRECTORY_STARTTLS, DIRECTORY_TLS_NONE};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(ways); i++) {
		struct section s;

		section_by_keytab(&s, ways[i]);
		section_open(&s);
		check_typed(&s, "anna.a@example.com", "m");
		check_typed(&s, "nobody@example.com", "none");
		section_close(&s);
	}
}

static void a_keytab_that_the_kdc_refuses_pauses(void **state)
{
	struct section s;
	struct err err = {""};

	(void)state;
	refusals = 0;
	section_by_keytab(&s, DIRECTORY_LDAPS);
	krb5_bed_stop(&kdc);
	section_open(&s);
	assert_unavailable(&s, "anna.a@example.com", REASON_DIRECTORY_UNREACHABLE, "a ticket for agent@EXAMPLE.COM by the keytab, from 127.0.0.1");
	krb5_bed_start(&kdc);
	check_typed(&s, "anna.a@example.com", "m");
	section_close(&s);
	/* Another key than the keytab's, of the same number. */
	krb5_bed_kadmin(&kdc, "delprinc -force agent\naddprinc -clearpolicy -randkey +requires_preauth agent\n");
	section_by_keytab(&s, DIRECTORY_LDAPS);
	log_capture(count_refusals, NULL);
	section_open(&s);
	assert_unavailable(&s, "anna.a@example.com", REASON_AGENT_ERROR, "by the keytab");
	assert_unavailable(&s, "anna.a@example.com", REASON_AGENT_ERROR, "no bind for");
	section_close(&s);
	log_capture(NULL, NULL);
	assert_int_equal(refusals, 1);
	section_by_keytab(&s, DIRECTORY_LDAPS);
	s.conf.keytab = (char[]){"/nonexistent/keytab"};
	assert_int_equal(dc_pool_new(&s.conf, &s.pool, NULL), 0);
	assert_int_equal(name_resolver_new(&s.conf, s.pool, on_resolved, NULL, &s.resolver, &err), -PTA_EIO);
	assert_non_null(strstr(err.text, "keytab: cannot read /nonexistent/keytab"));
	dc_pool_free(s.pool);
}

/* ---- ends ---- */

static void what_is_queued_ends_when_the_section_closes(void **state)
{
	struct ldap_double *d = ldap_double_new(DOUBLE_LDAPS, certs.server, ACT_SILENT_BIND);
	const unsigned port = ldap_double_port(d);
	struct credential anna = named("anna@example.com");
	unsigned taken = 0, overloaded = 0;
	struct ask asks[16];
	struct section s;
	int r = 0;

	(void)state;
	section_init(&s, &port, 1);
	s.conf.connections = 2;
	section_open(&s);
	while (taken < PTA_ARRAY_SIZE(asks)) {
		ask_init(&asks[taken], &anna, 2000);
		r = name_resolver_start(s.resolver, &asks[taken].job);
		if (r < 0) {
			ask_done(&asks[taken]);
			break;
		}
		taken++;
	}
	assert_int_equal(r, -PTA_EBUSY);
	/* Eight wait, two at most are under way. */
	assert_in_range(taken, 8, 10);
	name_resolver_stop(s.resolver);
	for (unsigned i = 0; i < taken; i++) {
		assert_int_equal(asks[i].ended, 1);
		assert_int_equal(asks[i].verdict.code, VERDICT_UNAVAILABLE);
		overloaded += asks[i].verdict.reason == REASON_OVERLOADED;
		ask_done(&asks[i]);
	}
	assert_true(overloaded >= 1);
	ask_init(&asks[0], &anna, 1000);
	assert_int_equal(name_resolver_start(s.resolver, &asks[0].job), -PTA_ECLOSED);
	ask_done(&asks[0]);
	name_resolver_forget(s.resolver, &anna);
	section_close(&s);
	ldap_double_free(d);
}

static void many_jobs_share_few_connections(void **state)
{
	static const char *const names[] = {"dora@other.test", "eve@example.com", "somebody@example.com", "EXAMPLE\\paul"};
	static const char *const wanted[] = {"d", "e2", "e1", "p"};
	static struct ask asks[32];
	char dn[128];
	struct section s;

	(void)state;
	open_ad(&s);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(asks); i++) {
		struct credential credential = named(names[i % 4]);

		start(&s, &asks[i], &credential, 20000);
	}
	for (size_t i = 0; i < PTA_ARRAY_SIZE(asks); i++) {
		ask_wait(&asks[i]);
		if (asks[i].r < 0)
			fail_msg("%s", asks[i].verdict.detail);
		snprintf(dn, sizeof(dn), "uid=%s" PEOPLE, wanted[i % 4]);
		assert_string_equal(asks[i].job.found->dn, dn);
		ask_done(&asks[i]);
	}
	section_close(&s);
}

/* As `check` does it: a link of its own, whatever the breakers say. */
static int look_once(const struct directory_conf *conf, struct dc_pool *pool, size_t dc, const struct credential *credential, uint64_t deadline_us,
	struct name_found *out, struct err *err)
{
	struct name_lookup *lookup = NULL;
	struct name_link *link = NULL;
	bool connected;
	int r;

	r = name_lookup_new(conf, &lookup, err);
	if (r == 0)
		r = name_link_open(lookup, dc_pool_server(pool, dc), deadline_us, deadline_us, &link, &connected, err);
	if (r == 0)
		r = name_link_look(lookup, link, credential, deadline_us, out, err);
	name_link_close(link);
	name_lookup_free(lookup);
	return r;
}

static void check_takes_one_look(void **state)
{
	static const struct {
		const char *typed;
		int r;
		const char *text;
	} rows[] = {
		{"dora@other.test", 0, ""},
		{"nobody@example.com", -PTA_ENOENT, "no entry for the name below 'dc=example,dc=com'"},
		{"twin@example.com", -PTA_EEXIST, "more than one entry"},
	};
	struct credential dora = named("dora@other.test");
	struct name_found found;
	struct section s;
	struct err err;

	(void)state;
	section_init(&s, &ad.ldaps_port, 1);
	assert_int_equal(dc_pool_new(&s.conf, &s.pool, NULL), 0);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct credential credential = named(rows[i].typed);
		int r;

		err.text[0] = '\0';
		r = look_once(&s.conf, s.pool, 0, &credential, clock_mono_us() + 10000000, &found, &err);
		if (r != rows[i].r || !strstr(err.text, rows[i].text))
			fail_msg("%s: %d '%s'", rows[i].typed, r, err.text);
	}
	write_password("wrong", 0600);
	assert_int_equal(look_once(&s.conf, s.pool, 0, &dora, clock_mono_us() + 10000000, &found, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "with 49"));
	write_password("agent-password\n", 0600);
	dc_pool_free(s.pool);
}

int main(void)
{
	static const char *const names[] = {"127.0.0.1", NULL};
	static char ldif[32768];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_mean_what_ad_means_by_them),
		cmocka_unit_test(attributes_are_searched_as_configured),
		cmocka_unit_test(what_is_typed_is_a_value_and_nothing_else),
		cmocka_unit_test(a_directory_that_is_not_ad_is_searched_by_attributes),
		cmocka_unit_test(in_the_catalog_account_names_are_of_the_own_domain),
		cmocka_unit_test(the_catalogs_port_says_nothing_about_the_controller),
		cmocka_unit_test(of_kerberos_the_pool_hears_from_others),
		cmocka_unit_test(a_dn_that_is_too_long_is_not_cut),
		cmocka_unit_test(a_refused_search_is_no_denial),
		cmocka_unit_test(a_name_is_remembered_for_a_minute_or_until_forgotten),
		cmocka_unit_test(a_dead_controller_is_passed_over),
		cmocka_unit_test(a_silent_controller_leaves_time_for_another),
		cmocka_unit_test(silence_everywhere_ends_in_time),
		cmocka_unit_test(a_server_that_comes_back_is_used_again),
		cmocka_unit_test(a_refused_identity_pauses),
		cmocka_unit_test(a_wrong_password_of_the_identity_denies_nobody),
		cmocka_unit_test(an_identity_is_never_bound_by_fast_bind),
		cmocka_unit_test(a_password_file_that_cannot_be_used_is_refused),
		cmocka_unit_test(a_keytab_is_an_identity_too),
		cmocka_unit_test(a_keytab_that_the_kdc_refuses_pauses),
		cmocka_unit_test(what_is_queued_ends_when_the_section_closes),
		cmocka_unit_test(many_jobs_share_few_connections),
		cmocka_unit_test(check_takes_one_look),
	};
	const struct slapd_extra not_ad = {.global = "include /etc/ldap/schema/inetorgperson.schema\n",
		.database = access_rules,
		.ldif = "dn: uid=m" PEOPLE "\nobjectClass: inetOrgPerson\nuid: m\nsn: m\ncn: m\nmail: anna.a@example.com\n\n"};
	const struct slapd_extra with_sasl = {.global = "include /etc/ldap/schema/inetorgperson.schema\nsasl-host 127.0.0.1\nsasl-realm " KRB5_BED_REALM
							"\nauthz-regexp uid=([^,]*),.*cn=gssapi,cn=auth uid=$1" PEOPLE "\n",
		.database = access_rules,
		.ldif = not_ad.ldif};
	const struct slapd_extra like_ad = {
		.global = schema, .database = access_rules, .ldif = ldif, .root_dse = "dn:\nsupportedCapabilities: 1.2.840.113556.1.4.800\n"};
	const struct krb5_bed_user principals[] = {{"agent", NULL, NULL}, {"ldap/127.0.0.1", NULL, NULL}, {NULL, NULL, NULL}};
	char service_keytab[128];
	struct err err = {""};
	int failed;

	if (!slapd_installed() || !krb5_bed_installed()) {
		fprintf(stderr, "slapd or krb5kdc is not installed\n");
		return 1;
	}
	test_certs_init(&certs, names);
	snprintf(password_file, sizeof(password_file), "%s/identity", certs.dir);
	write_password("agent-password\n", 0600);
	snprintf(ldif, sizeof(ldif), "%s", entries);
	add_deep_entry(ldif, sizeof(ldif));
	krb5_bed_init(&kdc, principals);
	snprintf(agent_keytab, sizeof(agent_keytab), "%s/agent.keytab", kdc.dir);
	snprintf(service_keytab, sizeof(service_keytab), "%s/ldap.keytab", kdc.dir);
	krb5_bed_keytab(&kdc, "agent", agent_keytab);
	krb5_bed_keytab(&kdc, "ldap/127.0.0.1", service_keytab);
	/* For slapd, before our own settings are put there. */
	setenv("KRB5_CONFIG", kdc.krb5_conf, 1);
	setenv("KRB5_KTNAME", service_keytab, 1);
	slapd_bed_init_with(&sasl, &certs, users, &with_sasl);
	unsetenv("KRB5_KTNAME");
	if (krb5_profile_init(&err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	slapd_bed_init_with(&plain, &certs, users, &not_ad);
	slapd_bed_init_with(&ad, &certs, users, &like_ad);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	slapd_bed_done(&ad);
	slapd_bed_done(&plain);
	slapd_bed_done(&sasl);
	krb5_bed_done(&kdc);
	unlink(password_file);
	test_certs_done(&certs);
	return failed;
}
