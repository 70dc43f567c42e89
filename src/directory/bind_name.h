/* The name that a simple bind carries: the user's name as typed (AD), or a DN made of the section's bind_dn template.
 * Nothing else ever reaches a bind. Pure; thread-safe. */
#ifndef PTA_DIRECTORY_BIND_NAME_H
#define PTA_DIRECTORY_BIND_NAME_H

#include "base/buf.h"
#include "base/err.h"
#include "wire/credential.h"

/* Every byte of a typed name may need three in a DN (RFC 4514 2.4), twice when the template has %u twice. */
#define BIND_NAME_MAX 8192

/* A template has %u (the user part) at least once; %d is the domain part, %% a percent sign; the result is a DN. */
PTA_MUST_CHECK int bind_name_check(const char *bind_dn, struct err *err);

/* Appends the name to out (at most BIND_NAME_MAX bytes). bind_dn NULL: the name as typed. What is put in for %u and %d
 * is escaped (RFC 4514), so that it stays one value. -PTA_ETOOBIG when it does not fit. */
PTA_MUST_CHECK int bind_name_make(const char *bind_dn, const struct credential *credential, struct buf *out);

#endif
