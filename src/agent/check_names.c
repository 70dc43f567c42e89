/* `pta-agent check`: the agent's identity: its bind, a search for a name that nobody has, and whether the attributes of
 * `login` are fit to be searched for. */
#include <stdio.h>
#include <string.h>

#include "agent/check_impl.h"
#include "base/clock.h"
#include "base/encode.h"
#include "directory/ldap_schema.h"

/* A sign-in waits for the search: more than this is felt. */
#define SEARCH_WARN_US 500000

static void tell_no_link(struct dc_check *dc, int r, const char *what, const struct err *err)
{
	struct directory_check *d = dc->d;
	const char *mend = "see that the controller answers on that port, and its event log";

	if (r == -PTA_EPERM) {
		/* Another try would count against the account. */
		d->identity = ACCOUNT_BAD;
		mend = d->conf->identity_password_file
			       ? "write the account's present password into identity_password_file, and see that the account is enabled and "
				 "not locked"
			       : "export the keytab again from the account as it is now, and see that the account is enabled and not locked";
	} else if (r == -PTA_EINVAL) {
		mend = "write a DN or a UPN into identity";
	} else if (r == -PTA_ETLS) {
		mend = "give the controller a certificate for that port, too, with the name that servers has";
	}
	findings_bad(d->findings, what, mend, "no search as %s: %s", d->conf->identity, err->text);
}

/* A name of the section that nobody has. */
static int nobody(const struct directory_conf *conf, struct credential *out, struct err *err)
{
	char name[LIMIT_USERNAME + 1], random[RANDOM_ID_LEN + 1];

	random_id(random);
	snprintf(name, sizeof(name), "pta-check-%s@%.200s", random, conf->name);
	return credential_parse(name, strlen(name), out, err);
}

static void tell_search(const struct dc_check *dc, const struct name_link *link, int r, uint64_t took_us, const struct err *err)
{
	const struct directory_conf *conf = dc->d->conf;
	struct findings *findings = dc->d->findings;
	const char *base = conf->search_base ? conf->search_base : conf->global_catalog ? "the whole forest" : link->root.naming_context;
	char what[FINDING_WHAT];

	check_label(&link->server, link->server.port, "search", what);
	if (r == -PTA_ENOENT && took_us > SEARCH_WARN_US)
		findings_warn(findings, what, "let login have indexed attributes only, and search_base be no larger than it must",
			"%.300s is searched, in %.1f ms: slow", base, (double)took_us / 1000);
	else if (r == -PTA_ENOENT)
		findings_good(
			findings, what, "as %.200s, below %.300s: an invented name is not found, in %.1f ms", conf->identity, base, (double)took_us / 1000);
	else if (r == 0 || r == -PTA_EEXIST)
		findings_bad(findings, what, "see what answers there: it is no directory that can be trusted", "an invented name is found below %.300s", base);
	else
		findings_bad(findings, what,
			r == -PTA_EINVAL && conf->search_base ? "write into search_base the DN of an entry that there is, and let the identity read below it"
							      : "let the identity read below the search base, and see the controller's event log",
			"%s", err->text);
}

/* -- the attributes -- */

static void tell_attribute(
	const struct dc_check *dc, const struct name_link *link, const char *name, const struct ldap_schema_attribute *attribute, int r, const struct err *err)
{
	struct findings *findings = dc->d->findings;
	char what[FINDING_WHAT], mend[300];

	snprintf(what, sizeof(what), "%.200s login attribute %.64s", dc->d->label, name);
	if (r == -PTA_ENOENT) {
		findings_bad(findings, what, "correct the attribute's name in login", "%s: %s", link->server.host, err->text);
	} else if (r < 0) {
		findings_warn(findings, what, "let the identity read the schema", "not known whether it is indexed: %s: %s", link->server.host, err->text);
	} else if (dc->d->conf->global_catalog && !attribute->in_catalog) {
		snprintf(mend, sizeof(mend), "replicate %.64s to the global catalog (isMemberOfPartialAttributeSet in the schema), or use another attribute",
			name);
		findings_bad(findings, what, mend, "the global catalog does not have it: nobody would be found by it");
	} else if (!attribute->indexed) {
		snprintf(mend, sizeof(mend), "index %.64s (searchFlags in the schema), or use another attribute", name);
		findings_warn(findings, what, mend, "it is not indexed: each sign-in makes the controller read all entries");
	} else {
		findings_good(findings, what, "indexed%s", attribute->in_catalog ? ", and in the global catalog" : "");
	}
}

static void check_attributes(struct dc_check *dc, struct name_link *link)
{
	const struct conf_list *login = &dc->d->conf->login;

	if (dc->d->schema_seen || !link->root.active_directory)
		return;
	dc->d->schema_seen = true;
	for (size_t i = 0; i < login->n; i++) {
		uint64_t deadline_us = clock_mono_us() + dc->d->conf->bind_timeout * 1000ull;
		struct ldap_schema_attribute attribute = {false, false};
		const char *colon = strchr(login->items[i], ':');
		struct err err;
		int r;

		if (!colon)
			continue;
		r = ldap_schema_look(link->conn, colon + 1, deadline_us, &attribute, &err);
		tell_attribute(dc, link, colon + 1, &attribute, r, &err);
	}
}

void check_names(struct dc_check *dc)
{
	struct directory_check *d = dc->d;
	const struct directory_conf *conf = d->conf;
	uint64_t began_us = clock_mono_us();
	struct name_link *link = NULL;
	struct credential credential;
	struct name_found found;
	char what[FINDING_WHAT];
	bool connected;
	struct err err;
	int r = 0;

	/* Its port was told to be closed; a refused account is not tried again. */
	if ((conf->global_catalog && !dc->catalog) || d->identity == ACCOUNT_BAD || (check_identity_in_keytab(conf) && d->keytab != ACCOUNT_GOOD))
		return;
	check_label(dc->server, conf->global_catalog ? check_catalog_port(conf) : dc->server->port, "identity", what);
	if (!d->lookup) {
		r = name_lookup_new(conf, &d->lookup, &err);
		/* We could read it; can the agent? */
		if (r == 0 && conf->identity_password_file)
			check_secret_file(d, SEVERITY_ERROR, what, conf->identity_password_file);
	}
	if (r < 0) {
		d->identity = ACCOUNT_BAD;
		findings_bad(d->findings, what, "write the password into identity_password_file, readable by the agent's user only", "%s", err.text);
		return;
	}
	r = name_link_open(d->lookup, dc->server, began_us + conf->connect_timeout * 1000ull, began_us + (conf->connect_timeout + conf->bind_timeout) * 1000ull,
		&link, &connected, &err);
	if (r < 0) {
		tell_no_link(dc, r, what, &err);
		return;
	}
	d->identity = ACCOUNT_GOOD;
	findings_good(d->findings, what, "%.250s is accepted, %.1f ms for connection and bind", conf->identity, (double)(clock_mono_us() - began_us) / 1000);
	began_us = clock_mono_us();
	r = nobody(conf, &credential, &err);
	if (r == 0)
		r = name_link_look(d->lookup, link, &credential, began_us + conf->bind_timeout * 1000ull, &found, &err);
	tell_search(dc, link, r, clock_mono_us() - began_us, &err);
	if (r == -PTA_ENOENT)
		check_attributes(dc, link);
	name_link_close(link);
}
