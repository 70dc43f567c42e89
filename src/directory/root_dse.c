#include "directory/root_dse.h"

#include <ldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "directory/ldap_conn_internal.h"
#include "wire/pki.h"

int ldap_conn_read(struct ldap_conn *conn, const char *dn, char **attributes, uint64_t deadline_us, LDAPMessage **result, struct err *err)
{
	uint64_t now_us = clock_mono_us(), left_us = deadline_us > now_us ? deadline_us - now_us : 1, before = conn->io.deadline_us;
	struct timeval left = {.tv_sec = (time_t)(left_us / 1000000), .tv_usec = (suseconds_t)(left_us % 1000000)};
	const char *what = dn[0] ? dn : "the rootDSE";
	char text[256];
	int rc;

	*result = NULL;
	conn->io.deadline_us = deadline_us;
	rc = ldap_search_ext_s(conn->ld, dn, LDAP_SCOPE_BASE, "(objectClass=*)", attributes, 0, NULL, NULL, &left, 1, result);
	conn->io.deadline_us = before;
	if (rc == LDAP_SUCCESS && ldap_first_entry(conn->ld, *result))
		return 0;
	ldap_msgfree(*result);
	*result = NULL;
	/* The server's own answer leaves the connection as it is. */
	if (rc == LDAP_SUCCESS || (LDAP_NAME_ERROR(rc) || LDAP_SECURITY_ERROR(rc) || rc == LDAP_OPERATIONS_ERROR || rc == LDAP_UNWILLING_TO_PERFORM))
		return err_set(err, -PTA_ENOENT, "the search for %s: %s", what,
			rc == LDAP_SUCCESS ? "no entry came" : ldap_conn_diagnostic(conn->ld, rc, text, sizeof(text)));
	conn->dead = true;
	if (clock_mono_us() >= deadline_us)
		return err_set(err, -PTA_ETIMEDOUT, "no answer to the search for %s in time", what);
	return err_set(err, -PTA_ENET, "the search for %s: %s", what, ldap_conn_diagnostic(conn->ld, rc, text, sizeof(text)));
}

static bool has_value(LDAP *ld, LDAPMessage *entry, const char *attribute, const char *wanted)
{
	struct berval **values = ldap_get_values_len(ld, entry, attribute);
	bool found = false;

	for (int i = 0; values && values[i]; i++)
		found = found || (values[i]->bv_len == strlen(wanted) && memcmp(values[i]->bv_val, wanted, values[i]->bv_len) == 0);
	ldap_value_free_len(values);
	return found;
}

static void first_value(LDAP *ld, LDAPMessage *entry, const char *attribute, char *out, size_t cap)
{
	struct berval **values = ldap_get_values_len(ld, entry, attribute);

	if (values && values[0])
		snprintf(out, cap, "%.*s", (int)values[0]->bv_len, values[0]->bv_val);
	ldap_value_free_len(values);
}

static void all_values(LDAP *ld, LDAPMessage *entry, const char *attribute, char *out, size_t cap)
{
	struct berval **values = ldap_get_values_len(ld, entry, attribute);
	size_t used = 0;

	for (int i = 0; values && values[i] && used < cap; i++) {
		int n = snprintf(out + used, cap - used, "%s%.*s", used ? " " : "", (int)values[i]->bv_len, values[i]->bv_val);

		used += n > 0 ? (size_t)n : 0;
	}
	ldap_value_free_len(values);
}

/* GeneralizedTime as AD writes it: 20260131235959.0Z. */
static uint64_t parse_time(const char *text)
{
	struct tm tm = {0};
	time_t seconds;

	if (!strptime(text, "%Y%m%d%H%M%S", &tm))
		return 0;
	seconds = timegm(&tm);
	return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}

/* A small number, alone; -1: it is none. */
static int parse_level(const char *text)
{
	char *end;
	long level = strtol(text, &end, 10);

	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && level <= 1000 ? (int)level : -1;
}

static uint64_t certificate_end(LDAP *ld)
{
	struct berval der = {0};
	uint64_t not_before = 0, not_after = 0;
	X509 *cert = NULL;

	if (ldap_get_option(ld, LDAP_OPT_X_TLS_PEERCERT, &der) != LDAP_OPT_SUCCESS || !der.bv_val)
		return 0;
	if (pki_cert_from_der(der.bv_val, der.bv_len, &cert, NULL) == 0)
		pki_validity(cert, &not_before, &not_after);
	pki_cert_freep(&cert);
	ldap_memfree(der.bv_val);
	return not_after;
}

int ldap_conn_root_dse(struct ldap_conn *conn, uint64_t deadline_us, struct ldap_root_dse *out, struct err *err)
{
	static char host[] = "dnsHostName", context[] = "defaultNamingContext", contexts[] = "namingContexts", capabilities[] = "supportedCapabilities",
		    extensions[] = "supportedExtension", mechanisms[] = "supportedSASLMechanisms", level[] = "domainFunctionality",
		    catalog[] = "isGlobalCatalogReady", now[] = "currentTime";
	char *attributes[] = {host, context, contexts, capabilities, extensions, mechanisms, level, catalog, now, NULL};
	LDAPMessage *result = NULL, *entry;
	char text[64] = "";
	int r;

	memset(out, 0, sizeof(*out));
	r = ldap_conn_read(conn, "", attributes, deadline_us, &result, err);
	if (r < 0)
		return r;
	entry = ldap_first_entry(conn->ld, result);
	first_value(conn->ld, entry, host, out->dns_host_name, sizeof(out->dns_host_name));
	first_value(conn->ld, entry, contexts, out->naming_context, sizeof(out->naming_context));
	first_value(conn->ld, entry, context, out->naming_context, sizeof(out->naming_context));
	all_values(conn->ld, entry, mechanisms, out->sasl_mechanisms, sizeof(out->sasl_mechanisms));
	/* LDAP_CAP_ACTIVE_DIRECTORY_OID, MS-ADTS 3.1.1.3.4.3.1 */
	out->active_directory = has_value(conn->ld, entry, capabilities, "1.2.840.113556.1.4.800");
	out->fast_bind = has_value(conn->ld, entry, extensions, LDAP_FAST_BIND_OID);
	out->global_catalog = has_value(conn->ld, entry, catalog, "TRUE");
	first_value(conn->ld, entry, level, text, sizeof(text));
	out->functional_level = parse_level(text);
	text[0] = '\0';
	first_value(conn->ld, entry, now, text, sizeof(text));
	out->server_time_ms = parse_time(text);
	if (conn->tls_version[0])
		out->certificate_not_after_ms = certificate_end(conn->ld);
	ldap_msgfree(result);
	return 0;
}

int ldap_fast_begin(struct ldap_conn *conn, uint64_t deadline_us, struct err *err)
{
	static char extensions[] = "supportedExtension";
	char *attributes[] = {extensions, NULL}, *oid = NULL;
	LDAPMessage *result = NULL;
	struct berval *data = NULL;
	bool offered;
	int rc, r = ldap_conn_read(conn, "", attributes, deadline_us, &result, err);

	if (r < 0)
		return conn->dead ? r : 0;
	offered = has_value(conn->ld, ldap_first_entry(conn->ld, result), extensions, LDAP_FAST_BIND_OID);
	ldap_msgfree(result);
	if (!offered)
		return 0;
	/* Within the connection's deadline, which its owner has set. */
	rc = ldap_extended_operation_s(conn->ld, LDAP_FAST_BIND_OID, NULL, NULL, NULL, &oid, &data);
	ldap_memfree(oid);
	ber_bvfree(data);
	if (rc == LDAP_SERVER_DOWN || rc == LDAP_TIMEOUT || conn->io.cut) {
		conn->dead = true;
		return err_set(err, clock_mono_us() >= deadline_us ? -PTA_ETIMEDOUT : -PTA_ENET, "switching to fast bind: %s", ldap_err2string(rc));
	}
	conn->fast = rc == LDAP_SUCCESS;
	return 0;
}
