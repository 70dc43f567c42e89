/* `pta-agent check`: each domain controller, step by step as a sign-in would go, without a password. */
#include <netdb.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/check.h"
#include "base/clock.h"
#include "directory/dial.h"
#include "directory/ldap_conn.h"
#include "directory/root_dse.h"

#define CERTIFICATE_WARN_MS (14ull * 86400000)
#define MAX_SHOWN 8

/* The controller's name and port with the step behind it. */
static const char *label(const struct directory_server *server, const char *step, char out[LIMIT_DOMAIN + 64])
{
	snprintf(out, LIMIT_DOMAIN + 64, server->literal_v6 ? "[%s]:%u %s" : "%s:%u %s", server->host, server->port, step);
	return out;
}

static bool check_dns(const struct directory_server *server, struct findings *findings)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *found = NULL;
	char what[LIMIT_DOMAIN + 64], address[INET6_ADDRSTRLEN], list[MAX_SHOWN * (INET6_ADDRSTRLEN + 1)] = "";
	unsigned n = 0;
	int r = getaddrinfo(server->host, NULL, &hints, &found);

	label(server, "DNS", what);
	if (r != 0) {
		findings_bad(findings, what, "see the name in servers, and /etc/resolv.conf: the controllers' own DNS knows it", "%s: %s", server->host, gai_strerror(r));
		return false;
	}
	for (const struct addrinfo *a = found; a && n < MAX_SHOWN; a = a->ai_next, n++) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
			continue;
		strncat(list, n ? " " : "", sizeof(list) - strlen(list) - 1);
		strncat(list, address, sizeof(list) - strlen(list) - 1);
	}
	freeaddrinfo(found);
	findings_good(findings, what, "%s", list);
	return true;
}

static bool check_tcp(const struct directory_conf *conf, const struct directory_server *server, struct findings *findings)
{
	uint64_t began_us = clock_mono_us();
	char what[LIMIT_DOMAIN + 64];
	struct err err;
	int fd, r = dial(server, conf->tls == DIRECTORY_TLS_NONE, began_us + conf->connect_timeout * 1000ull, conf->bind_timeout, &fd, &err);

	label(server, "TCP", what);
	if (r < 0) {
		findings_bad(findings, what, "is the controller up, and does the firewall let this machine through to that port?", "%s", err.text);
		return false;
	}
	close(fd);
	findings_good(findings, what, "connected in %.1f ms", (double)(clock_mono_us() - began_us) / 1000);
	return true;
}

static void check_certificate(const struct ldap_conn *conn, const struct ldap_root_dse *dse, const char *what, struct findings *findings)
{
	char until[CLOCK_RFC3339_LEN + 1];

	clock_rfc3339(dse->certificate_not_after_ms, until);
	if (dse->certificate_not_after_ms == 0)
		findings_good(findings, what, "%s, certificate and name are right", ldap_conn_tls_version(conn));
	else if (dse->certificate_not_after_ms < clock_wall_ms() + CERTIFICATE_WARN_MS)
		findings_bad(findings, what, "renew the controller's certificate", "its certificate ends at %s", until);
	else
		findings_good(findings, what, "%s, certificate and name are right, until %s", ldap_conn_tls_version(conn), until);
}

static void check_ldap(const struct directory_conf *conf, const struct directory_server *server, const struct ldap_tls *tls, struct findings *findings)
{
	uint64_t deadline_us = clock_mono_us() + conf->connect_timeout * 1000ull;
	char tls_what[LIMIT_DOMAIN + 64], dse_what[LIMIT_DOMAIN + 64];
	struct ldap_root_dse dse;
	struct ldap_conn *conn;
	struct err err;
	int r = ldap_conn_open(conf, server, tls, deadline_us, &conn, &err);

	label(server, conf->tls == DIRECTORY_STARTTLS ? "StartTLS" : "TLS", tls_what);
	label(server, "rootDSE", dse_what);
	if (r < 0) {
		findings_bad(findings, tls_what, "give the server the name that its certificate has, and its CA in ca_file", "%s", err.text);
		return;
	}
	r = ldap_conn_root_dse(conn, clock_mono_us() + conf->bind_timeout * 1000ull, &dse, &err);
	if (conf->tls == DIRECTORY_TLS_NONE)
		findings_good(findings, tls_what, "none, as configured: passwords cross the connection in the clear");
	else if (r == 0)
		check_certificate(conn, &dse, tls_what, findings);
	else
		findings_good(findings, tls_what, "%s, certificate and name are right", ldap_conn_tls_version(conn));
	if (r < 0)
		findings_bad(findings, dse_what, "does an LDAP server answer on that port?", "%s", err.text);
	else if (dse.active_directory)
		findings_good(findings, dse_what, "Active Directory, %s, %s", dse.dns_host_name, dse.naming_context);
	else
		findings_good(findings, dse_what, "not Active Directory, %s", dse.naming_context[0] ? dse.naming_context : "tells no naming context");
	ldap_conn_close(conn);
}

void check_directories(const struct agent_conf *conf, struct findings *findings)
{
	for (size_t i = 0; i < conf->ndirectories; i++) {
		const struct directory_conf *directory = conf->directories[i];
		char what[LIMIT_DOMAIN + 64];
		struct ldap_tls *tls;
		struct err err;

		snprintf(what, sizeof(what), "directory %.200s", directory->name);
		if (ldap_tls_new(directory, &tls, &err) < 0) {
			findings_bad(findings, what, "see ca_file", "%s", err.text);
			continue;
		}
		for (size_t k = 0; k < directory->servers.n; k++) {
			struct directory_server server;

			if (directory_server_parse(directory->servers.items[k], directory->tls, &server, &err) < 0)
				findings_bad(findings, what, "see servers", "%s", err.text);
			else if (check_dns(&server, findings) && check_tcp(directory, &server, findings))
				check_ldap(directory, &server, tls, findings);
		}
		ldap_tls_free(tls);
	}
}
