/* User names as people type them: UPN (user@suffix) or DOMAIN\user. Both programs read them with this one parser: the
 * part after the last '@', or before the '\', picks the domain. Pure; thread-safe. */
#ifndef PTA_WIRE_CREDENTIAL_H
#define PTA_WIRE_CREDENTIAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "wire/limits.h"

enum credential_form { CREDENTIAL_UPN, CREDENTIAL_NETBIOS };

struct credential {
	enum credential_form form;
	char name[LIMIT_USERNAME + 1];	  /* whole, as typed: what is bound */
	char user[LIMIT_USERNAME + 1];	  /* the part that is not the domain */
	char domain[LIMIT_DOMAIN + 1];	  /* suffix or NetBIOS name, ASCII letters in lower case */
};

/* Refuses (-PTA_EINVAL with a text): empty parts, more than the limits, bytes that are not UTF-8, control characters,
 * neither '@' nor '\', both of them or one of them twice, a user part that begins or ends with a space (the directory
 * drops it: two spellings of one name), and in the user part what would make another of AD's name forms of it
 * (MS-ADTS 5.1.1.1.1; DN, canonical name, SPN, SID): any of  " / \ [ ] : ; | = , * ? < >
 * The domain part has ASCII letters, digits, '-', '_' and '.', no dot at an end and no two dots side by side.
 * On an error *out is zeroed. */
PTA_MUST_CHECK int credential_parse(const char *name, size_t len, struct credential *out, struct err *err);

/* Domain names compare without case in ASCII. */
bool credential_domain_equal(const char *a, const char *b);

#endif
