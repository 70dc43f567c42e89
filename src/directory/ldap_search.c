#include "directory/ldap_search.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "directory/dn_domain.h"
#include "directory/ldap_conn_internal.h"

/* Two tell one from many. Where entries of other domains have to be left out, there may be one in each domain. */
#define SIZE_LIMIT 2
#define SIZE_LIMIT_FOREST 64
/* References to other naming contexts that come beside the entries. */
#define MAX_REFERENCES 64

struct search {
	struct ldap_conn *conn;
	const struct ldap_query *query;
	uint64_t deadline_us;
	struct ldap_hit *hit;
	int limit;
	unsigned messages, entries, counting;
};

static struct timeval time_left(uint64_t deadline_us)
{
	uint64_t now_us = clock_mono_us(), left_us = deadline_us > now_us ? deadline_us - now_us : 1;

	return (struct timeval){.tv_sec = (time_t)(left_us / 1000000), .tv_usec = (suseconds_t)(left_us % 1000000)};
}

/* The first value, which may be absent; 0 or an error. */
static int take_value(const struct search *s, LDAPMessage *entry, const char *attribute, char out[LIMIT_USERNAME + 1], struct err *err)
{
	struct berval **values = ldap_get_values_len(s->conn->ld, entry, attribute);
	int r = 0;

	out[0] = '\0';
	if (values && values[0]) {
		size_t len = values[0]->bv_len;

		if (len > LIMIT_USERNAME || memchr(values[0]->bv_val, '\0', len)) {
			r = err_set(err, -PTA_ETOOBIG, "the entry's %s has %zu bytes or a NUL; at most %d are taken", attribute, len, LIMIT_USERNAME);
		} else {
			memcpy(out, values[0]->bv_val, len);
			out[len] = '\0';
		}
	}
	ldap_value_free_len(values);
	return r;
}

static bool is_of_domain(const char *dn, const char *domain)
{
	char of[LIMIT_DOMAIN + 1];

	return dn_domain(dn, of) == 0 && credential_domain_equal(of, domain);
}

static int take_entry(struct search *s, LDAPMessage *entry, struct err *err)
{
	char *dn = ldap_get_dn(s->conn->ld, entry);
	size_t len = dn ? strlen(dn) : 0;
	int r = 0;

	s->entries++;
	if (len == 0) {
		r = err_set(err, -PTA_EINVAL, "an entry came without a DN");
	} else if (!s->query->domain || is_of_domain(dn, s->query->domain)) {
		s->counting++;
		if (s->counting == 1 && len >= sizeof(s->hit->found.dn)) {
			r = err_set(err, -PTA_ETOOBIG, "the entry's DN has %zu bytes, at most %zu are taken", len, sizeof(s->hit->found.dn) - 1);
		} else if (s->counting == 1) {
			memcpy(s->hit->found.dn, dn, len + 1);
			r = take_value(s, entry, "sAMAccountName", s->hit->found.account, err);
			if (r == 0)
				r = take_value(s, entry, "userPrincipalName", s->hit->upn, err);
		}
	}
	ldap_memfree(dn);
	return r;
}

static int take_result(const struct search *s, LDAPMessage *message, struct err *err)
{
	char *text = NULL;
	int rc, result = LDAP_OTHER, r;

	rc = ldap_parse_result(s->conn->ld, message, &result, NULL, &text, NULL, NULL, 0);
	if (rc != LDAP_SUCCESS)
		result = rc;
	/* More than the limit: more than one, whichever they are. */
	if (result == LDAP_SUCCESS || (result == LDAP_SIZELIMIT_EXCEEDED && s->entries > 0)) {
		ldap_memfree(text);
		return result == LDAP_SUCCESS ? 0 : 1;
	}
	r = result == LDAP_TIMELIMIT_EXCEEDED ? -PTA_ETIMEDOUT : result == LDAP_BUSY || result == LDAP_UNAVAILABLE ? -PTA_EBUSY : -PTA_EINVAL;
	err_set(err, r, "the search below '%s' was answered with %d (%s)%s%s", s->query->base, result, ldap_err2string(result), text && text[0] ? ": " : "",
		text && text[0] ? text : "");
	ldap_memfree(text);
	return r;
}

static int lost(const struct search *s, int rc, struct err *err)
{
	char text[256];

	s->conn->dead = true;
	if (rc == 0 || clock_mono_us() >= s->deadline_us)
		return err_set(err, -PTA_ETIMEDOUT, "no answer to the search in time");
	return err_set(err, -PTA_ENET, "the connection was lost before the answer to the search: %s",
		ldap_conn_diagnostic(s->conn->ld, LDAP_SERVER_DOWN, text, sizeof(text)));
}

/* One message at a time: libldap would keep all that a server likes to send. */
static int collect(struct search *s, int msgid, struct err *err)
{
	for (;;) {
		struct timeval left = time_left(s->deadline_us);
		LDAPMessage *message = NULL;
		int type = ldap_result(s->conn->ld, msgid, LDAP_MSG_ONE, &left, &message), r = 0;

		if (type <= 0)
			return lost(s, type, err);
		if (type == LDAP_RES_SEARCH_RESULT) {
			r = take_result(s, message, err);
			ldap_msgfree(message);
			return r;
		}
		if (++s->messages > (unsigned)s->limit + MAX_REFERENCES)
			r = err_set(err, -PTA_EINVAL, "the server sends more than the %d entries that were asked for", s->limit);
		else if (type == LDAP_RES_SEARCH_ENTRY)
			r = take_entry(s, message, err);
		else if (type != LDAP_RES_SEARCH_REFERENCE)
			r = err_set(err, -PTA_EINVAL, "the answer is of type 0x%x, not that to a search", (unsigned)type);
		ldap_msgfree(message);
		if (r < 0) {
			/* More of this answer is still to come. */
			s->conn->dead = true;
			return r;
		}
	}
}

int ldap_search_accounts(struct ldap_conn *conn, const struct ldap_query *query, uint64_t deadline_us, struct ldap_hit *hit, unsigned *n, struct err *err)
{
	struct search s = {.conn = conn, .query = query, .deadline_us = deadline_us, .hit = hit, .limit = query->domain ? SIZE_LIMIT_FOREST : SIZE_LIMIT};
	char account[] = "sAMAccountName", upn[] = "userPrincipalName";
	char *attributes[] = {account, upn, NULL};
	struct timeval left = time_left(deadline_us);
	int msgid = 0, rc, r;

	*n = 0;
	memset(hit, 0, sizeof(*hit));
	if (conn->dead || conn->in_flight)
		return err_set(err, -PTA_ENET, "the connection takes no search");
	/* In the request libldap rounds it down to seconds, and none would be without limit. */
	if (left.tv_sec == 0)
		left = (struct timeval){.tv_sec = 1};
	conn->io.deadline_us = deadline_us;
	ldap_io_input(&conn->io);
	rc = ldap_search_ext(conn->ld, query->base, LDAP_SCOPE_SUBTREE, query->filter, attributes, 0, NULL, NULL, &left, s.limit, &msgid);
	if (rc == LDAP_FILTER_ERROR || rc == LDAP_PARAM_ERROR || rc == LDAP_ENCODING_ERROR || rc == LDAP_NO_MEMORY)
		r = err_set(err, -PTA_EINVAL, "libldap takes no search with the filter %.200s: %s", query->filter, ldap_err2string(rc));
	else if (rc != LDAP_SUCCESS)
		r = lost(&s, -1, err);
	else
		r = collect(&s, msgid, err);
	conn->io.deadline_us = 0;
	if (r < 0)
		return r;
	*n = r > 0 || s.counting > 1 ? 2 : s.counting;
	return 0;
}
