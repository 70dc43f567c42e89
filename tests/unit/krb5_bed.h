/* A real MIT krb5kdc for a test, on loopback as whatever user runs the test: a realm in a temporary folder, and a keytab of
 * host/agent.example.com. */
#ifndef PTA_TESTS_KRB5_BED_H
#define PTA_TESTS_KRB5_BED_H

#include <stdbool.h>
#include <sys/types.h>

#include "directory/directory_conf.h"

#define KRB5_BED_REALM "EXAMPLE.COM"
#define KRB5_BED_HOST "host/agent.example.com"

struct krb5_bed {
	char dir[64];
	char keytab[96];    /* of KRB5_BED_HOST */
	char krb5_conf[96]; /* knows the realm's KDC, so that kinit and the like work with it */
	unsigned port;
	pid_t pid;
};

struct krb5_bed_user {
	const char *principal; /* "name"; a realm is added where there is none */
	const char *password;  /* NULL: a random key */
	const char *options;   /* of kadmin's addprinc, such as "+requires_preauth -expire 2000-01-01"; NULL: "+requires_preauth" */
};

bool krb5_bed_installed(void);
/* users ends with a NULL principal. Returns when the KDC answers. */
void krb5_bed_init(struct krb5_bed *bed, const struct krb5_bed_user *users);
void krb5_bed_start(struct krb5_bed *bed); /* again, after krb5_bed_stop(), on the same port */
void krb5_bed_stop(struct krb5_bed *bed);
void krb5_bed_done(struct krb5_bed *bed); /* stops it and removes the folder */

/* Runs kadmin.local commands, one a line, while the KDC is up. */
void krb5_bed_kadmin(const struct krb5_bed *bed, const char *commands);
/* Puts the principal's present keys into a keytab file, without making new ones. */
void krb5_bed_keytab(const struct krb5_bed *bed, const char *principal, const char *path);
struct directory_server krb5_bed_server(const struct krb5_bed *bed);
/* A file's text for KRB5_CONFIG, which krb5_profile_init() puts our settings before. */
void krb5_bed_write(const struct krb5_bed *bed, const char *name, const char *text, char path[96]);

#endif
