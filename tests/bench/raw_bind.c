/* The limit for simple binds: plain libldap over LDAPS, one thread, one epoll, one bind in flight on each of K connections,
 * and nothing else. validator_bench is held against it. tests/bench/binds runs both. */
#include <ldap.h>
#include <openldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "bench_binds.h"

struct conn {
	LDAP *ld;
	int msgid;
	uint64_t sent_us;
};

static void must(int rc, const char *what)
{
	if (rc == LDAP_SUCCESS)
		return;
	fprintf(stderr, "raw_bind: %s: %s\n", what, ldap_err2string(rc));
	exit(1);
}

static void send_one(struct bench *bench, struct conn *conn, unsigned number)
{
	char dn[256], password[64];
	struct berval credentials = {.bv_val = password};
	const char *mark = strstr(bench->bind_dn, "%u");

	snprintf(dn, sizeof(dn), "%.*suser%05u%s", (int)(mark - bench->bind_dn), bench->bind_dn, number % bench->users, mark + 2);
	credentials.bv_len = (ber_len_t)snprintf(password, sizeof(password), bench->password, number % bench->users);
	conn->sent_us = clock_mono_us();
	must(ldap_sasl_bind(conn->ld, dn, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, &conn->msgid), "bind");
}

/* The first makes the TLS context, the others share it. */
static void connect_one(struct bench *bench, struct conn *conn, struct conn *first, int epoll)
{
	const int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, client = 0;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
	char url[300];
	void *ctx;
	int fd;

	snprintf(url, sizeof(url), "ldaps://%s:%u", bench->host, bench->port);
	must(ldap_initialize(&conn->ld, url), "ldap_initialize");
	ldap_set_option(conn->ld, LDAP_OPT_PROTOCOL_VERSION, &version);
	ldap_set_option(conn->ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);
	if (conn == first) {
		ldap_set_option(conn->ld, LDAP_OPT_X_TLS_CACERTFILE, bench->ca);
		must(ldap_set_option(conn->ld, LDAP_OPT_X_TLS_NEWCTX, &client), "CA file");
	} else {
		ldap_get_option(first->ld, LDAP_OPT_X_TLS_CTX, &ctx);
		ldap_set_option(conn->ld, LDAP_OPT_X_TLS_CTX, ctx);
	}
	must(ldap_connect(conn->ld), "connect");
	ldap_get_option(conn->ld, LDAP_OPT_DESC, &fd);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		exit(1);
}

/* True when the answer was there. */
static int take_answer(struct bench *bench, struct conn *conn)
{
	struct timeval zero = {0, 0};
	LDAPMessage *message = NULL;
	int type = ldap_result(conn->ld, conn->msgid, LDAP_MSG_ALL, &zero, &message), result = LDAP_OTHER;

	if (type == 0)
		return 0;
	if (type != LDAP_RES_BIND)
		must(LDAP_SERVER_DOWN, "result");
	must(ldap_parse_result(conn->ld, message, &result, NULL, NULL, NULL, NULL, 1), "parse");
	bench->took_us[bench->done++] = (uint32_t)(clock_mono_us() - conn->sent_us);
	bench->failed += result != LDAP_SUCCESS;
	return 1;
}

int main(int argc, char **argv)
{
	struct epoll_event events[64];
	struct conn *conns;
	struct bench bench;
	unsigned sent = 0;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	bench_init(&bench, argc, argv);
	conns = calloc(bench.in_flight, sizeof(*conns));
	if (!conns || epoll < 0)
		return 1;
	for (unsigned i = 0; i < bench.in_flight; i++)
		connect_one(&bench, &conns[i], &conns[0], epoll);
	bench_begin(&bench);
	for (unsigned i = 0; i < bench.in_flight; i++)
		send_one(&bench, &conns[i], sent++);
	while (bench.done < bench.binds) {
		int n = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < n && bench.done < bench.binds; i++) {
			struct conn *conn = events[i].data.ptr;

			if (take_answer(&bench, conn))
				send_one(&bench, conn, sent++);
		}
	}
	bench_end(&bench);
	for (unsigned i = 0; i < bench.in_flight; i++)
		ldap_unbind_ext(conns[i].ld, NULL, NULL);
	free(conns);
	return bench_report(&bench, "raw libldap");
}
