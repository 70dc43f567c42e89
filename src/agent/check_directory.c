/* `pta-agent check`: one [directory …] section after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/check_impl.h"

const char *check_label(const struct directory_server *server, unsigned port, const char *step, char out[FINDING_WHAT])
{
	snprintf(out, FINDING_WHAT, server->literal_v6 ? "[%s]:%u %s" : "%s:%u %s", server->host, port, step);
	return out;
}

static void check_section(struct directory_check *d)
{
	const struct directory_conf *conf = d->conf;
	struct err err;

	snprintf(d->label, sizeof(d->label), "directory %.200s", conf->name);
	if (check_wants_ldap(conf) && ldap_tls_new(conf, &d->tls, &err) < 0) {
		findings_bad(d->findings, d->label, "write the PEM file with the CA of the controllers' certificates into ca_file", "%s", err.text);
		return;
	}
	if (conf->keytab)
		check_keytab(d);
	check_servers(d);
	for (size_t i = 0; i < d->n; i++)
		check_dc(d, &d->servers[i]);
}

void check_directories(const struct agent_conf *conf, struct findings *findings)
{
	for (size_t i = 0; i < conf->ndirectories; i++) {
		struct directory_check *d = calloc(1, sizeof(*d));

		if (!d) {
			findings_bad(findings, "directories", "", "out of memory");
			return;
		}
		*d = (struct directory_check){.agent = conf, .conf = conf->directories[i], .findings = findings};
		check_section(d);
		name_lookup_free(d->lookup);
		ldap_tls_free(d->tls);
		free(d->service);
		free(d->client);
		free(d);
	}
}
