/* `pta-agent check`: which controllers a section has: its list, or what DNS and the controllers' answers to pings say. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/check_impl.h"
#include "directory/dc_locator.h"

#define LOOK_MS 10000
/* Where the list is configured nothing depends on the answer. */
#define NOTE_MS 3000
#define MAX_SHOWN 8

static const char *label(const struct directory_check *d, const char *step, char out[FINDING_WHAT])
{
	snprintf(out, FINDING_WHAT, "%.255s %s", d->label, step);
	return out;
}

/* Appends to a list for people, which ends in "…" where it would become too long. */
PTA_PRINTF(4, 5) static void list_add(char *list, size_t cap, size_t nth, const char *fmt, ...)
{
	size_t used = strlen(list);
	va_list ap;

	if (nth > MAX_SHOWN)
		return;
	if (nth == MAX_SHOWN) {
		snprintf(list + used, cap - used, ", …");
		return;
	}
	used += (size_t)snprintf(list + used, cap - used, "%s", nth ? ", " : "");
	if (used >= cap)
		return;
	va_start(ap, fmt);
	vsnprintf(list + used, cap - used, fmt, ap);
	va_end(ap);
}

/* -- found by DNS -- */

static void tell_site(const struct directory_check *d, const struct dc_found *found)
{
	char what[FINDING_WHAT];
	size_t near = 0, answered = 0;

	label(d, "site", what);
	for (size_t i = 0; i < found->n; i++) {
		near += found->dcs[i].tier == 0;
		answered += found->ping_us[i] > 0;
	}
	if (answered == 0)
		findings_warn(d->findings, what, "let UDP port 389 of the controllers through to this host and back",
			"no controller answered a ping: neither the agent's site nor the nearest controller is known");
	else if (!found->client_site[0])
		findings_warn(d->findings, what, "add this host's subnet, with its site, in Active Directory Sites and Services",
			"the controllers count this host to no site: any of them may be used, however far away");
	else if (near == 0)
		findings_warn(d->findings, what, "see which controllers serve that site in Active Directory Sites and Services",
			"this host is of site %s, in which DNS names no controller", found->client_site);
	else
		findings_good(d->findings, what, "this host is of site %s, with %zu of the %zu controllers", found->client_site, near, found->n);
}

static void tell_order(const struct directory_check *d, const struct dc_found *found)
{
	char what[FINDING_WHAT], list[800] = "";

	for (size_t i = 0; i < found->n; i++) {
		const struct dc_candidate *dc = &found->dcs[i];

		if (found->ping_us[i])
			list_add(list, sizeof(list), i, "%.100s (%.1f ms%s%s)", dc->server.host, (double)found->ping_us[i] / 1000, dc->site[0] ? ", site " : "",
				dc->site);
		else
			list_add(list, sizeof(list), i, "%.100s (no answer to a ping)", dc->server.host);
	}
	findings_good(d->findings, label(d, "order", what), "%s", list);
}

static void discover(struct directory_check *d)
{
	struct dc_found found;
	char what[FINDING_WHAT], mend[300];
	struct err err;
	int r = dc_locator_look(d->conf, LOOK_MS, &found, &err);

	label(d, "discovery", what);
	if (r < 0) {
		snprintf(mend, sizeof(mend),
			r == -PTA_ENOENT
				? "write the domain's own DNS name as the section's name, let /etc/resolv.conf name servers that know %.100s, or list the "
				  "controllers in servers"
				: "let /etc/resolv.conf name the DNS servers of %.100s, and the firewall let port 53 through, or list the controllers in "
				  "servers",
			d->conf->name);
		findings_bad(d->findings, what, mend, "%s", err.text);
		return;
	}
	findings_good(d->findings, what, "DNS (%s) names %zu %s; looked up again after %u s%s", found.servers, found.n,
		found.n == 1 ? "controller" : "controllers", found.ttl_s, found.left_out ? "; more than that are left out" : "");
	if (found.refused) {
		snprintf(mend, sizeof(mend), "remove the SRV records of _ldap._tcp.dc._msdcs.%.150s that name other hosts than the domain's", d->conf->name);
		findings_warn(d->findings, what, mend, "%u more %s outside the domain, or no host name, and %s refused; the first: %s", found.refused,
			found.refused == 1 ? "target is" : "targets are", found.refused == 1 ? "is" : "are", found.refused_first);
	}
	tell_site(d, &found);
	tell_order(d, &found);
	for (size_t i = 0; i < found.n; i++)
		d->servers[d->n++] = found.dcs[i].server;
}

/* -- listed -- */

static bool listed(const struct directory_check *d, const char *host)
{
	for (size_t i = 0; i < d->n; i++)
		if (strcasecmp(d->servers[i].host, host) == 0)
			return true;
	return false;
}

/* What DNS knows and the list does not. A list may name addresses, or leave controllers out on purpose: never more than a note. */
static void tell_others(const struct directory_check *d, char *note, size_t cap)
{
	char list[500] = "";
	struct dc_found found;
	struct err err;
	size_t n = 0;

	for (size_t i = 0; i < d->n; i++)
		if (d->servers[i].literal_v6 || d->servers[i].host[strspn(d->servers[i].host, "0123456789.")] == '\0') {
			snprintf(note, cap, "; not compared with DNS, since it has addresses");
			return;
		}
	if (dc_locator_look(d->conf, NOTE_MS, &found, &err) < 0) {
		snprintf(note, cap, "; DNS names no controllers of the domain");
		return;
	}
	for (size_t i = 0; i < found.n; i++)
		if (!listed(d, found.dcs[i].server.host))
			list_add(list, sizeof(list), n++, "%.100s", found.dcs[i].server.host);
	if (n > 0)
		snprintf(note, cap, "; DNS names others, too: %s", list);
	else
		snprintf(note, cap, "; DNS names no others");
}

static void take_list(struct directory_check *d)
{
	char what[FINDING_WHAT], list[300] = "", note[600] = "";
	struct err err;

	label(d, "servers", what);
	for (size_t i = 0; i < d->conf->servers.n && d->n < PTA_ARRAY_SIZE(d->servers); i++) {
		struct directory_server *server = &d->servers[d->n];

		if (directory_server_parse(d->conf->servers.items[i], d->conf->tls, server, &err) < 0) {
			findings_bad(d->findings, what, "write host or host:port", "%s", err.text);
			continue;
		}
		if (d->conf->kdc_port)
			server->kdc_port = d->conf->kdc_port;
		list_add(list, sizeof(list), d->n, "%.60s", d->conf->servers.items[i]);
		d->n++;
	}
	/* A DN template is for directories that are not AD. */
	if (!d->conf->bind_dn)
		tell_others(d, note, sizeof(note));
	findings_good(d->findings, what, "listed in the configuration: %s%s", list, note);
}

void check_servers(struct directory_check *d)
{
	if (d->conf->servers.n > 0)
		take_list(d);
	else
		discover(d);
}
