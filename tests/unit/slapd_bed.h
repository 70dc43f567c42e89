/* A real slapd on loopback for a test: mdb in a temporary folder, LDAPS and LDAP with StartTLS, users uid=NAME,ou=people,
 * dc=example,dc=com. */
#ifndef PTA_TESTS_SLAPD_BED_H
#define PTA_TESTS_SLAPD_BED_H

#include <stdbool.h>
#include <sys/types.h>

#include "test_certs.h"

struct slapd_bed {
	char dir[64];
	unsigned ldaps_port, ldap_port;
	pid_t pid;
};

struct slapd_user {
	const char *uid, *password;
};

/* What a test needs besides; each may be NULL. */
struct slapd_extra {
	const char *global;   /* lines of slapd.conf before the database: schema, rootDSE */
	const char *database; /* lines of the database, before the bed's own access rule */
	const char *ldif;     /* further entries */
	const char *root_dse; /* LDIF of what the rootDSE has besides */
};

bool slapd_installed(void);
/* users ends with a NULL uid. Returns when slapd answers. */
void slapd_bed_init(struct slapd_bed *bed, const struct test_certs *certs, const struct slapd_user *users);
void slapd_bed_init_with(struct slapd_bed *bed, const struct test_certs *certs, const struct slapd_user *users, const struct slapd_extra *extra);
void slapd_bed_start(struct slapd_bed *bed); /* again, after slapd_bed_stop(), on the same ports */
void slapd_bed_stop(struct slapd_bed *bed);
void slapd_bed_done(struct slapd_bed *bed); /* stops it and removes the folder */

#endif
