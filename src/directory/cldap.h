/* The netlogon ping of domain controllers: one LDAP search over UDP (MS-ADTS 6.3.3), answered with the controller's names,
 * its site and the site that it counts the asker to. Controllers are hostile until verified, and nothing of this is: an
 * answer decides in which order controllers are tried, never whether one is trusted. Thread-safe; no state.
 * cldap_ping() blocks. */
#ifndef PTA_DIRECTORY_CLDAP_H
#define PTA_DIRECTORY_CLDAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "directory/dns_srv.h"
#include "wire/limits.h"

#define CLDAP_PORT 389
#define CLDAP_SITE_MAX 63      /* a site is a DNS label */
#define CLDAP_MESSAGE_MAX 4096 /* of an answer, all of its messages together; AD's have some 200 bytes */

/* MS-ADTS 6.3.1.2 */
enum cldap_flag {
	CLDAP_PDC = 0x1,
	CLDAP_GC = 0x4,
	CLDAP_LDAP = 0x8,
	CLDAP_DS = 0x10,
	CLDAP_KDC = 0x20,
	CLDAP_CLOSEST = 0x80, /* in the asker's site, or the nearest to it */
	CLDAP_WRITABLE = 0x100,
};

/* What a controller says of itself. Names are as sent, without a dot at the end; "" where it sent none, or in the case of
 * a site no DNS label of letters, digits, '-' and '_'. */
struct cldap_answer {
	uint16_t opcode;
	uint32_t flags; /* enum cldap_flag and others */
	bool paused;	/* it takes no logons now */
	char forest[LIMIT_DOMAIN + 1];
	char domain[LIMIT_DOMAIN + 1];
	char host[LIMIT_DOMAIN + 1];
	char dc_site[CLDAP_SITE_MAX + 1];
	char client_site[CLDAP_SITE_MAX + 1];
};

/* The request for `domain`. id: 1..2^31-1. -PTA_ENOMEM. */
PTA_MUST_CHECK int cldap_encode(uint32_t id, const char *domain, struct buf *out);
/* A datagram that should answer the request `id`. -PTA_ENOENT: the controller does not serve the domain (a result without
 * an entry before it); -PTA_EPROTO: no answer to it, or broken. *out is touched on success only. */
PTA_MUST_CHECK int cldap_decode(const void *message, size_t len, uint32_t id, struct cldap_answer *out, struct err *err);
/* The value of the attribute: NETLOGON_SAM_LOGON_RESPONSE_EX (MS-ADTS 6.3.1.9), or NETLOGON_SAM_LOGON_RESPONSE (6.3.1.8),
 * which has no sites. -PTA_EPROTO. *out is touched on success only. */
PTA_MUST_CHECK int cldap_parse_netlogon(const uint8_t *value, size_t len, struct cldap_answer *out, struct err *err);

/* One controller to ping, at all of its addresses at a time. */
struct cldap_target {
	const struct dns_host *host; /* its addresses */
	bool answered;		     /* with what follows, which is the first good answer */
	uint32_t took_us;	     /* at least 1 */
	struct cldap_answer answer;
};

/* Pings all targets, and those that do not answer once more, until all have answered or deadline_us. An answer counts when
 * it came from the address that was asked, with the id that was asked (a random one each), and is about `domain`. No answer
 * is no error. cancel_fd: readable ends it (-PTA_ECLOSED); -1: none. -PTA_ENOMEM, -PTA_EIO. */
PTA_MUST_CHECK int cldap_ping(const char *domain, unsigned port, struct cldap_target *targets, size_t n, uint64_t deadline_us, int cancel_fd, struct err *err);

#endif
