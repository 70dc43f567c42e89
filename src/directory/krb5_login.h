/* Tickets of a user by password, or of the agent by keytab, all from one controller by krb5_exchange: the TGT, then service
 * tickets, in a credential cache in memory that nobody else knows. Blocks: worker threads. A login belongs to one thread. */
#ifndef PTA_DIRECTORY_KRB5_LOGIN_H
#define PTA_DIRECTORY_KRB5_LOGIN_H

#include <krb5.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "directory/krb5_exchange.h"
#include "directory/worker_validator.h"

struct krb5_login {
	const struct directory_conf *conf;
	char realm[LIMIT_DOMAIN + 1]; /* the section's */
	krb5_context context;
	struct krb5_exchange x;
	krb5_principal asked; /* the client that was asked for; tgt.client is the one that was answered */
	krb5_creds tgt;
	krb5_ccache ccache;
	char ccache_name[64]; /* "MEMORY:..." */
};

/* Sends nothing. Until a proof of a password is sent, all ends by connect_deadline_us; later each answer comes within
 * bind_timeout, and all of it by deadline_us. krb5_login_done() in any case. */
PTA_MUST_CHECK int krb5_login_init(struct krb5_login *login, const struct directory_conf *conf, const struct directory_server *server,
	uint64_t connect_deadline_us, uint64_t deadline_us, struct err *err);
/* Wipes and frees all tickets. */
void krb5_login_done(struct krb5_login *login);

/* The TGT of the job's user. 1: it is in the cache, its client and realm are allowed. 0: the job ends with
 * attempt->verdict. Negative: certainly not sent, as worker_method.validate(). */
PTA_MUST_CHECK int krb5_login_password(struct krb5_login *login, struct attempt *attempt, struct err *err);
/* A ticket for the service with that TGT, into the cache and *creds (krb5_free_cred_contents()). 1 or 0, as above. */
PTA_MUST_CHECK int krb5_login_ticket(struct krb5_login *login, struct attempt *attempt, krb5_principal service, krb5_creds *creds);

/* The KDC gave the client another name than the typed one, and nothing in the two shows that they are one account. A UPN
 * means what the KDC says (RFC 6806 5), but whoever answered may have named an account that he has a genuine ticket of.
 * So the typed name is to be found in what a proven controller says of that account. */
bool krb5_login_renamed(const struct krb5_login *login, const struct credential *credential);

/* The service principal name/host@REALM of the section's realm, in lower case as GSSAPI asks for it. */
PTA_MUST_CHECK int krb5_login_service(const struct krb5_login *login, const char *service, const char *host, krb5_principal *out, struct err *err);

/* For the agent's own account: a TGT with the key in the section's keytab, then a ticket for `service` (krb5_login_service()),
 * both into the cache. principal NULL: the keytab's first. -PTA_EPERM: the KDC refused; -PTA_ECRYPTO: the keytab has no such
 * key, or another than the KDC; -PTA_ENET, -PTA_ETIMEDOUT, -PTA_EPROTO as krb5_exchange. */
PTA_MUST_CHECK int krb5_login_keytab(struct krb5_login *login, const char *principal, krb5_principal service, struct err *err);

/* A KDC of the section's realm answers there. No password. Errors as krb5_exchange. */
PTA_MUST_CHECK int krb5_login_probe(const struct directory_conf *conf, const struct directory_server *server, uint64_t deadline_us, struct err *err);

/* "what: the library's text" into err; returns -PTA_ECRYPTO. */
int krb5_login_error(krb5_context context, krb5_error_code code, const char *what, struct err *err);

#endif
