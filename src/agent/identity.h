/* What the agent is to the service: its key, its certificate, the service's CA, and their files in the state folder
 * (key.pem, cert.pem, ca.pem, identity; 0600). A loaded value is immutable. Blocks on disk; not thread-safe.
 *
 * A certificate and its key change together: the new key waits in pending.key, the rename of cert.pem is the moment of
 * change, and a key that was left in pending.key by a crash behind it is taken over at the next load. */
#ifndef PTA_AGENT_IDENTITY_H
#define PTA_AGENT_IDENTITY_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/limits.h"

struct identity {
	char agent[LIMIT_ID + 1], tenant[LIMIT_TENANT + 1], group[LIMIT_ID + 1];
	char service[LIMIT_DOMAIN + 1]; /* URL given at the registration */
	EVP_PKEY *key;
	X509 *cert, *ca;
	struct buf key_pem; /* wiped; for libcurl */
	struct buf cert_pem, ca_pem;
	uint64_t not_before_ms, not_after_ms; /* of the certificate, wall clock */
};

/* Where the files are and whose they become (agent_conf_owner()). */
struct identity_dir {
	const char *path;
	uid_t uid;
	gid_t gid;
};

/* -PTA_ENOENT: not registered yet, with a text that says how. Broken files and pairs that do not fit: -PTA_EINVAL. */
PTA_MUST_CHECK int identity_load(const struct identity_dir *dir, struct identity **out, struct err *err);
void identity_free(struct identity *identity); /* NULL is allowed */
void identity_freep(struct identity **identity);

/* The key for the next certificate: what a lost reply left behind, else a new one that was stored first. */
PTA_MUST_CHECK int identity_pending_key(const struct identity_dir *dir, EVP_PKEY **out, struct err *err);
/* Stores the certificate that came for the pending key and makes the pair current. `names` gives agent, tenant, group
 * and service; ca_pem NULL leaves the CA as it is. */
PTA_MUST_CHECK int identity_install(const struct identity_dir *dir, const struct identity *names, const struct buf *ca_pem, const char *cert_pem, struct err *err);

/* The wall time at which the certificate wants to be renewed: two thirds of its life, and up to a 24th later, the
 * same for the same certificate, so that a fleet enrolled together does not come together. */
uint64_t identity_renew_at_ms(const struct identity *identity);

#endif
