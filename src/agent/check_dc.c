/* `pta-agent check`: one domain controller, step by step as a sign-in would go, without a user's password. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/check_impl.h"

#define MAX_SHOWN 8
/* Kerberos tolerates 300 s (RFC 4120 5.2.7.2). */
#define CLOCK_ERROR_S 240
#define CLOCK_WARN_S 30

static bool check_dns(const struct dc_check *dc)
{
	const struct directory_server *server = dc->server;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *found = NULL;
	char what[FINDING_WHAT], address[INET6_ADDRSTRLEN], list[MAX_SHOWN * (INET6_ADDRSTRLEN + 1)] = "";
	unsigned n = 0;
	int r = getaddrinfo(server->host, NULL, &hints, &found);

	snprintf(what, sizeof(what), "%.255s DNS", server->host);
	if (r != 0) {
		findings_bad(dc->d->findings, what,
			dc->d->conf->servers.n ? "correct the name in servers, or let /etc/resolv.conf name servers that know it: the controllers' own DNS does"
					       : "correct the controller's address records: its SRV record names a host that has none",
			"%s: %s", server->host, gai_strerror(r));
		return false;
	}
	for (const struct addrinfo *a = found; a && n < MAX_SHOWN; a = a->ai_next, n++) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
			continue;
		strncat(list, n ? " " : "", sizeof(list) - strlen(list) - 1);
		strncat(list, address, sizeof(list) - strlen(list) - 1);
	}
	freeaddrinfo(found);
	findings_good(dc->d->findings, what, "%s", list);
	return true;
}

void check_clock_of(const struct dc_check *dc, unsigned port, const char *who, int64_t ahead_s)
{
	struct findings *findings = dc->d->findings;
	bool kerberos = check_wants_kerberos(dc->d->conf);
	char what[FINDING_WHAT], text[200];
	int64_t apart = ahead_s < 0 ? -ahead_s : ahead_s;

	check_label(dc->server, port, "clock", what);
	if (apart <= 1)
		snprintf(text, sizeof(text), "%s tells the same time as this host", who);
	else
		snprintf(text, sizeof(text), "%s is %lld s %s this host", who, (long long)apart, ahead_s > 0 ? "ahead of" : "behind");
	if (apart > CLOCK_ERROR_S && kerberos)
		findings_bad(findings, what, "set the clocks of this host and of the controller by NTP", "%s; Kerberos bears 300 s", text);
	else if (apart > CLOCK_WARN_S)
		findings_warn(findings, what, "set the clocks of this host and of the controller by NTP", "%s", text);
	else
		findings_good(findings, what, "%s", text);
}

void check_dc(struct directory_check *d, const struct directory_server *server)
{
	struct dc_check dc = {.d = d, .server = server};

	if (!check_dns(&dc))
		return;
	check_ports(&dc);
	if (dc.ldap && d->tls)
		check_ldap(&dc);
	if (dc.kdc && (check_wants_kerberos(d->conf) || d->conf->keytab))
		check_kerberos(&dc);
	if (directory_conf_resolves(d->conf) && dc.dse_known)
		check_names(&dc);
}
