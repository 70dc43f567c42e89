/* For tests of the simple validator: sections with servers on loopback ports, and jobs whose outcome is waited for. */
#ifndef PTA_TESTS_SIMPLE_SECTION_H
#define PTA_TESTS_SIMPLE_SECTION_H

#include <pthread.h>

#include "directory/validator.h"
#include "ldap_double.h"
#include "test_certs.h"

extern struct test_certs certs; /* for 127.0.0.1 and ::1; the program's main() makes them */

/* One job and its outcome. */
struct
try {
	struct job job;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned ended;
	struct verdict verdict;
};

/* A section with servers on loopback ports. */
struct section {
	struct directory_conf conf;
	char names[4][64];
	char *items[4];
	struct validator *v;
};

void try_init(struct try *t, const char *user, const char *password, size_t len, unsigned deadline_ms);
void try_start(struct try *t, struct validator *v, const char *user, const char *password);
struct verdict try_wait(struct try *t);
struct verdict try_one(struct validator *v, const char *user, const char *password);
void assert_verdict(struct verdict got, enum verdict_code code, enum verdict_reason reason, bool sent);
void section_init(struct section *s, int tls, const unsigned *ports, size_t n);
void section_open(struct section *s);
void section_close(struct section *s);
void section_settle(struct section *s);
struct dc_report report_of(struct section *s, size_t dc);
struct ldap_double *open_double(struct section *s, enum double_act act);

#endif
