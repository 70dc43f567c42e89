/* `pta-agent check`: the TCP ports of one controller, all at a time, so that a black hole costs connect_timeout once. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/check_impl.h"
#include "base/clock.h"
#include "directory/dial.h"

#define LDAP_PORT 389
#define LDAPS_PORT 636
#define KPASSWD_PORT 464
#define MAX_PORTS 8

struct port_look {
	const struct directory_conf *conf;
	struct directory_server server;
	uint64_t deadline_us;
	const char *why; /* the configuration needs it so; NULL: it is only told */
	pthread_t thread;
	bool started, open;
	uint64_t took_us;
	struct err err;
};

struct port_list {
	struct port_look looks[MAX_PORTS];
	size_t n;
};

static void add_port(struct port_list *list, const struct dc_check *dc, unsigned port, const char *why)
{
	struct port_look *look;

	for (size_t i = 0; i < list->n; i++)
		if (list->looks[i].server.port == port)
			return;
	if (list->n == MAX_PORTS)
		return;
	look = &list->looks[list->n++];
	*look = (struct port_look){.conf = dc->d->conf, .server = *dc->server, .why = why};
	look->server.port = port;
}

/* What is needed first: a port is listed once. */
static void make_list(const struct dc_check *dc, struct port_list *list)
{
	const struct directory_conf *conf = dc->d->conf;

	if (dc->d->tls)
		add_port(list, dc, dc->server->port,
			conf->tls == DIRECTORY_LDAPS	  ? "tls = ldaps"
			: conf->tls == DIRECTORY_STARTTLS ? "tls = starttls"
							  : "LDAP");
	if (check_wants_kerberos(conf))
		add_port(list, dc, dc->server->kdc_port,
			conf->method == DIRECTORY_KERBEROS ? "method = kerberos"
			: conf->method == DIRECTORY_GSSAPI ? "method = gssapi"
							   : "the identity in the keytab");
	if (conf->global_catalog)
		add_port(list, dc, check_catalog_port(conf), "global_catalog = yes");
	/* A DN template is for directories that are not AD, and have no such set of ports. */
	if (conf->bind_dn)
		return;
	add_port(list, dc, LDAP_PORT, NULL);
	add_port(list, dc, LDAPS_PORT, NULL);
	add_port(list, dc, dc->server->kdc_port, NULL);
	add_port(list, dc, KPASSWD_PORT, NULL);
}

static void *look_at(void *arg)
{
	struct port_look *look = arg;
	const struct directory_conf *conf = look->conf;
	uint64_t began_us = clock_mono_us();
	bool loopback_only = look->why && look->server.port != look->server.kdc_port && conf->tls == DIRECTORY_TLS_NONE &&
			     (conf->method == DIRECTORY_SIMPLE || conf->identity_password_file);
	int fd, r = dial(&look->server, loopback_only, look->deadline_us, 0, &fd, &look->err);

	look->took_us = clock_mono_us() - began_us;
	look->open = r == 0;
	if (r == 0)
		close(fd);
	return NULL;
}

static void look_at_all(struct port_list *list, uint64_t deadline_us)
{
	for (size_t i = 0; i < list->n; i++) {
		struct port_look *look = &list->looks[i];

		look->deadline_us = deadline_us;
		look->started = pthread_create(&look->thread, NULL, look_at, look) == 0;
		if (!look->started)
			look_at(look);
	}
	for (size_t i = 0; i < list->n; i++)
		if (list->looks[i].started)
			pthread_join(list->looks[i].thread, NULL);
}

static void tell_needed(const struct dc_check *dc, const struct port_look *look)
{
	char what[FINDING_WHAT], mend[300];

	check_label(dc->server, look->server.port, "TCP", what);
	if (look->open) {
		findings_good(dc->d->findings, what, "connected in %.1f ms", (double)look->took_us / 1000);
		return;
	}
	snprintf(mend, sizeof(mend), "see that the controller is up, and let the firewall pass TCP port %u from this host to it: %s needs it",
		look->server.port, look->why);
	findings_bad(dc->d->findings, what, mend, "%s", look->err.text);
}

static void tell_others(const struct dc_check *dc, const struct port_list *list)
{
	char text[300] = "", what[FINDING_WHAT];
	size_t used = 0;

	for (size_t i = 0; i < list->n; i++) {
		const struct port_look *look = &list->looks[i];

		if (look->why)
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u %s%s", used ? ", " : "", look->server.port, look->open ? "open" : "closed",
			look->server.port == KPASSWD_PORT && !look->open ? " (changes of passwords would need it)" : "");
	}
	if (!used)
		return;
	snprintf(what, sizeof(what), "%.255s other ports", dc->server->host);
	findings_good(dc->d->findings, what, "%s; the configuration needs none of them", text);
}

static bool is_open(const struct port_list *list, unsigned port)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->looks[i].server.port == port)
			return list->looks[i].open;
	return false;
}

void check_ports(struct dc_check *dc)
{
	struct port_list list = {.n = 0};

	make_list(dc, &list);
	look_at_all(&list, clock_mono_us() + dc->d->conf->connect_timeout * 1000ull);
	for (size_t i = 0; i < list.n; i++)
		if (list.looks[i].why)
			tell_needed(dc, &list.looks[i]);
	dc->ldap = is_open(&list, dc->server->port);
	dc->plain_ldap = is_open(&list, LDAP_PORT);
	dc->kdc = is_open(&list, dc->server->kdc_port);
	dc->catalog = is_open(&list, check_catalog_port(dc->d->conf));
	tell_others(dc, &list);
}
