/* The limit for simple binds: plain libldap over LDAPS, one thread, one epoll, one bind in flight on each of K connections,
 * and nothing else. validator_bench is held against it.
 *
 *   raw_bind --ldap-host 127.0.0.1 --ldap-port 636 --ca ca.pem --bind-dn 'uid=%u,ou=people,dc=example,dc=com' --user 'user{05n}'
 *            --numbers 0-9999 --password 'Pw-{05n}' --in-flight 32 --seconds 1 [--json] */
#include <ldap.h>
#include <openldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define WHAT "raw_bind"

struct conn {
	LDAP *ld;
	int msgid;
	uint64_t started_ns;
};

struct raw {
	struct bench bench;
	const char *host, *port, *ca, *bind_dn;
	struct buf user, password;
	struct conn *conns;
	int epoll;
};

static void must(int rc, const char *what)
{
	if (rc != LDAP_SUCCESS)
		bench_die(WHAT, "%s: %s", what, ldap_err2string(rc));
}

static void send_one(struct raw *raw, struct conn *conn)
{
	const char *mark = strstr(raw->bind_dn, "%u");
	struct berval credentials;
	char dn[512];

	bench_login(&raw->bench, &raw->user, &raw->password);
	snprintf(dn, sizeof(dn), "%.*s%s%s", (int)(mark - raw->bind_dn), raw->bind_dn, (const char *)raw->user.data, mark + 2);
	credentials = (struct berval){.bv_val = (char *)raw->password.data, .bv_len = raw->password.len};
	conn->started_ns = bench_start(&raw->bench);
	must(ldap_sasl_bind(conn->ld, dn, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, &conn->msgid), "bind");
}

/* The first makes the TLS context, the others share it. (libldap counts a reference at each get, and drops none: it ends with the process.) */
static void connect_one(struct raw *raw, struct conn *conn)
{
	const int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, client = 0;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
	char url[300];
	void *ctx;
	int fd;

	snprintf(url, sizeof(url), "ldaps://%s:%s", raw->host, raw->port);
	must(ldap_initialize(&conn->ld, url), "ldap_initialize");
	must(ldap_set_option(conn->ld, LDAP_OPT_PROTOCOL_VERSION, &version), "protocol version");
	must(ldap_set_option(conn->ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand), "certificate required");
	if (conn == raw->conns) {
		must(ldap_set_option(conn->ld, LDAP_OPT_X_TLS_CACERTFILE, raw->ca), "CA file");
		must(ldap_set_option(conn->ld, LDAP_OPT_X_TLS_NEWCTX, &client), "CA file");
	} else {
		must(ldap_get_option(raw->conns->ld, LDAP_OPT_X_TLS_CTX, &ctx), "TLS context");
		must(ldap_set_option(conn->ld, LDAP_OPT_X_TLS_CTX, ctx), "TLS context");
	}
	must(ldap_connect(conn->ld), url);
	must(ldap_get_option(conn->ld, LDAP_OPT_DESC, &fd), "socket");
	if (epoll_ctl(raw->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		bench_die(WHAT, "epoll_ctl: %m");
}

static void take_answer(struct raw *raw, struct conn *conn)
{
	struct timeval zero = {0, 0};
	LDAPMessage *message = NULL;
	int type = ldap_result(conn->ld, conn->msgid, LDAP_MSG_ALL, &zero, &message), result = LDAP_OTHER;
	const char *verdict = NULL;

	if (type == 0)
		return;
	if (type != LDAP_RES_BIND)
		must(LDAP_SERVER_DOWN, "result");
	must(ldap_parse_result(conn->ld, message, &result, NULL, NULL, NULL, NULL, 1), "result");
	if (result == LDAP_SUCCESS)
		verdict = "success";
	else if (result == LDAP_INVALID_CREDENTIALS)
		verdict = "invalid_credentials";
	if (bench_end(&raw->bench, conn->started_ns, verdict, verdict ? strlen(verdict) : 0))
		send_one(raw, conn);
}

int main(int argc, char **argv)
{
	struct raw raw = {.user = BUF_INIT(256), .password = BUF_INIT(256), .epoll = epoll_create1(EPOLL_CLOEXEC)};
	const struct bench_option options[] = {
		{"ldap-host", &raw.host, true},
		{"ldap-port", &raw.port, true},
		{"ca", &raw.ca, true},
		{"bind-dn", &raw.bind_dn, true},
		{NULL},
	};
	struct epoll_event events[64];
	int n;

	bench_init(&raw.bench, WHAT, argc, argv, options);
	if (!strstr(raw.bind_dn, "%u"))
		bench_die(WHAT, "--bind-dn %s: where is %%u?", raw.bind_dn);
	raw.conns = calloc(raw.bench.in_flight, sizeof(*raw.conns));
	if (!raw.conns || raw.epoll < 0)
		bench_die(WHAT, "no memory");
	for (unsigned long i = 0; i < raw.bench.in_flight; i++)
		connect_one(&raw, &raw.conns[i]);
	bench_go(&raw.bench);
	for (unsigned long i = 0; i < raw.bench.in_flight; i++)
		send_one(&raw, &raw.conns[i]);
	while ((n = bench_wait(&raw.bench, raw.epoll, events, PTA_ARRAY_SIZE(events))) >= 0)
		for (int i = 0; i < n; i++)
			take_answer(&raw, events[i].data.ptr);
	n = bench_report(&raw.bench);
	for (unsigned long i = 0; i < raw.bench.in_flight; i++)
		ldap_unbind_ext(raw.conns[i].ld, NULL, NULL);
	free(raw.conns);
	buf_done(&raw.user);
	buf_done(&raw.password);
	return n;
}
