/* One search for accounts over an LDAP connection that is bound already. It blocks, at most until its deadline. Referrals
 * are not followed, references to other servers are ignored, and what a server may send is bounded. The connection belongs
 * to one thread at a time. */
#ifndef PTA_DIRECTORY_LDAP_SEARCH_H
#define PTA_DIRECTORY_LDAP_SEARCH_H

#include <stdint.h>

#include "base/err.h"
#include "directory/ldap_conn.h"
#include "directory/validator.h"

struct ldap_query {
	const char *base;   /* with the whole subtree; "" is the whole forest on a global catalog */
	const char *filter; /* RFC 4515 */
	/* NULL: every entry counts. Else those only whose DN ends in exactly this domain's DC= parts: in a global catalog account
	 * names are not unique. */
	const char *domain;
};

struct ldap_hit {
	struct name_found found;
	char upn[LIMIT_USERNAME + 1]; /* userPrincipalName, "" where there is none */
};

/* *n: how many entries count: 0, 1 (then *hit is set), or 2 for any more. Errors: -PTA_ENET, -PTA_ETIMEDOUT, -PTA_EBUSY
 * (the server said that it cannot serve), -PTA_EINVAL (it refused the search, or its answer makes no sense: the text has
 * its own words), -PTA_ETOOBIG (a DN or name longer than we take). After the first two the connection is dead. */
PTA_MUST_CHECK int ldap_search_accounts(
	struct ldap_conn *conn, const struct ldap_query *query, uint64_t deadline_us, struct ldap_hit *hit, unsigned *n, struct err *err);

#endif
