/* What a server says of itself to anybody (RFC 4512 5.1; MS-ADTS 3.1.1.3.2), and how long its certificate lasts. */
#ifndef PTA_DIRECTORY_ROOT_DSE_H
#define PTA_DIRECTORY_ROOT_DSE_H

#include "directory/ldap_conn.h"

struct ldap_root_dse {
	char dns_host_name[LIMIT_DOMAIN + 1]; /* "" where it tells none (not AD) */
	char naming_context[1024];	      /* the default one, else the first */
	char sasl_mechanisms[256];	      /* supportedSASLMechanisms, divided by blanks */
	int functional_level;		      /* domainFunctionality (MS-ADTS 3.1.1.3.2.25), -1: not told */
	bool active_directory;
	bool fast_bind;
	bool global_catalog;		   /* isGlobalCatalogReady */
	uint64_t server_time_ms;	   /* currentTime; 0: not told */
	uint64_t certificate_not_after_ms; /* wall clock; 0 without TLS */
};

/* Reads it on a connection with nothing in flight. Blocks until deadline_us. -PTA_ENET, -PTA_ETIMEDOUT. */
PTA_MUST_CHECK int ldap_conn_root_dse(struct ldap_conn *conn, uint64_t deadline_us, struct ldap_root_dse *out, struct err *err);

#endif
