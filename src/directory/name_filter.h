/* From a typed name to search filters (RFC 4515). Two of them, since they have different reach: what the name is an
 * explicit value of (userPrincipalName, the attributes of `login`), unique in the forest; and the account name within the
 * section's own domain, which DOMAIN\user and AD's implicit UPN (MS-ADTS 5.1.1.1.1) mean. Pure; thread-safe. */
#ifndef PTA_DIRECTORY_NAME_FILTER_H
#define PTA_DIRECTORY_NAME_FILTER_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "directory/directory_conf.h"
#include "wire/credential.h"

/* The longest filter has DIRECTORY_MAX_LOGINS + 1 attributes, and three bytes for each of a name. */
#define NAME_FILTER_MAX 40960

/* Appends the value of an assertion: '*', '(', ')' and '\' as a backslash and two hex digits (RFC 4515 3), any other byte
 * as it is. */
void name_filter_put_value(struct buf *out, const char *value);

/* Whom user@suffix is an explicit name of, by the words of `login`. active_directory: of the server (root_dse);
 * AD's filter takes normal user accounts only. -PTA_ENOENT: DOMAIN\user is never one; out is untouched. -PTA_ETOOBIG. */
PTA_MUST_CHECK int name_filter_explicit(const struct directory_conf *conf, const struct credential *credential, bool active_directory, struct buf *out);
/* The account of that name in the section's own domain. -PTA_ENOENT: the name means none: its suffix is not the domain's
 * name, or `login` has no upn, or the server has no implicit UPNs because it is not AD. */
PTA_MUST_CHECK int name_filter_account(const struct directory_conf *conf, const struct credential *credential, bool active_directory, struct buf *out);

/* `login` has attributes: an explicit name may be something else than a UPN. */
bool name_filter_has_attributes(const struct directory_conf *conf);

#endif
