#include "directory/ldap_schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "directory/ldap_conn_internal.h"
#include "directory/name_filter.h"

#define FATTINDEX 1
#define DN_MAX_BYTES 1024

/* The first value, "" where there is none or one that does not fit. */
static void first_value(LDAP *ld, LDAPMessage *entry, const char *attribute, char *out, size_t cap)
{
	struct berval **values = ldap_get_values_len(ld, entry, attribute);

	out[0] = '\0';
	if (values && values[0] && values[0]->bv_len < cap && !memchr(values[0]->bv_val, '\0', values[0]->bv_len)) {
		memcpy(out, values[0]->bv_val, values[0]->bv_len);
		out[values[0]->bv_len] = '\0';
	}
	ldap_value_free_len(values);
}

static int schema_context(struct ldap_conn *conn, uint64_t deadline_us, char out[DN_MAX_BYTES], struct err *err)
{
	static char context[] = "schemaNamingContext";
	char *attributes[] = {context, NULL};
	LDAPMessage *result = NULL;
	int r = ldap_conn_read(conn, "", attributes, deadline_us, &result, err);

	if (r < 0)
		return r == -PTA_ENOENT ? -PTA_EINVAL : r;
	first_value(conn->ld, ldap_first_entry(conn->ld, result), context, out, DN_MAX_BYTES);
	ldap_msgfree(result);
	return out[0] ? 0 : err_set(err, -PTA_EINVAL, "the rootDSE tells no schemaNamingContext");
}

static void read_entry(LDAP *ld, LDAPMessage *entry, const char *flags, const char *member, struct ldap_schema_attribute *out)
{
	char text[32];

	first_value(ld, entry, flags, text, sizeof(text));
	out->indexed = strtol(text, NULL, 10) & FATTINDEX;
	first_value(ld, entry, member, text, sizeof(text));
	out->in_catalog = strcmp(text, "TRUE") == 0;
}

static int search(struct ldap_conn *conn, const char *base, const char *filter, uint64_t deadline_us, struct ldap_schema_attribute *out, struct err *err)
{
	static char flags[] = "searchFlags", member[] = "isMemberOfPartialAttributeSet";
	char *attributes[] = {flags, member, NULL}, text[256];
	uint64_t now_us = clock_mono_us(), left_us = deadline_us > now_us ? deadline_us - now_us : 1;
	/* In the request libldap rounds it down to seconds, and none would be without limit. */
	struct timeval left = {.tv_sec = (time_t)(left_us / 1000000 + 1)};
	LDAPMessage *result = NULL, *entry;
	int rc, r;

	conn->io.deadline_us = deadline_us;
	rc = ldap_search_ext_s(conn->ld, base, LDAP_SCOPE_ONELEVEL, filter, attributes, 0, NULL, NULL, &left, 1, &result);
	conn->io.deadline_us = 0;
	entry = rc == LDAP_SUCCESS ? ldap_first_entry(conn->ld, result) : NULL;
	if (entry) {
		read_entry(conn->ld, entry, flags, member, out);
		r = 0;
	} else if (rc == LDAP_SUCCESS) {
		r = err_set(err, -PTA_ENOENT, "the schema below '%s' has no such attribute", base);
	} else if (rc > 0) {
		r = err_set(
			err, -PTA_EINVAL, "the search below '%s' was answered with %d: %s", base, rc, ldap_conn_diagnostic(conn->ld, rc, text, sizeof(text)));
	} else {
		conn->dead = true;
		r = clock_mono_us() >= deadline_us ? -PTA_ETIMEDOUT : -PTA_ENET;
		err_set(err, r, "no answer to the search below '%s': %s", base, ldap_err2string(rc));
	}
	ldap_msgfree(result);
	return r;
}

int ldap_schema_look(struct ldap_conn *conn, const char *name, uint64_t deadline_us, struct ldap_schema_attribute *out, struct err *err)
{
	struct buf filter PTA_CLEANUP(buf_done) = BUF_INIT(1024);
	char base[DN_MAX_BYTES];
	int r;

	if (conn->dead || conn->in_flight)
		return err_set(err, -PTA_ENET, "the connection takes no search");
	r = schema_context(conn, deadline_us, base, err);
	if (r < 0)
		return r;
	/* attributeID is the OID (MS-ADTS 3.1.1.2.3). */
	buf_puts(&filter,
		name[0] >= '0' && name[0] <= '9' ? "(&(objectClass=attributeSchema)(attributeID=" : "(&(objectClass=attributeSchema)(lDAPDisplayName=");
	name_filter_put_value(&filter, name);
	buf_puts(&filter, "))");
	if (!buf_ok(&filter))
		return err_set(err, -PTA_EINVAL, "the attribute's name is too long");
	return search(conn, base, (const char *)filter.data, deadline_us, out, err);
}
