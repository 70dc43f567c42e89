#include "directory/krb5_profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SYSTEM_CONFIG "/etc/krb5.conf"

/* The first file's value wins; a section marked '*' hides what the files behind say in it.
 * - Without [realms] and without DNS, libkrb5 and GSSAPI can find no KDC: only our transport asks one.
 * - SPAKE, PKINIT, OTP and the encrypted challenge are not even loaded: no second proof after a refused first one.
 * - The clock of a KDC that was not verified yet must not bring an old ticket back to life. */
static const char settings[] = "[libdefaults]\n"
			       "\tdns_lookup_kdc = false\n"
			       "\tdns_lookup_realm = false\n"
			       "\tdns_uri_lookup = false\n"
			       "\tdns_canonicalize_hostname = false\n"
			       "\trdns = false\n"
			       "\trealm_try_domains = -1\n"
			       "\tkdc_timesync = 0\n"
			       "[realms]*\n"
			       "[plugins]\n"
			       "\tclpreauth* = {\n"
			       "\t\tenable_only = encrypted_timestamp\n"
			       "\t}\n";

int krb5_profile_init(struct err *err)
{
	const char *others = getenv("KRB5_CONFIG");
	char *list = NULL;
	int fd, r;

	if (!others || others[0] == '\0')
		others = SYSTEM_CONFIG;
	fd = memfd_create("krb5.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_set_errno(err, -PTA_EIO, errno, "making the Kerberos profile: memfd_create");
	if (write(fd, settings, sizeof(settings) - 1) != (ssize_t)(sizeof(settings) - 1) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
		r = err_set_errno(err, -PTA_EIO, errno, "writing the Kerberos profile to memory");
		close(fd);
		return r;
	}
	/* By the process's own number: where /proc/self is another user's (not dumpable) the kernel still lets a process in. */
	if (asprintf(&list, "/proc/self/fd/%d:%s", fd, others) < 0) {
		close(fd);
		return err_set(err, -PTA_ENOMEM, "making the Kerberos profile: out of memory");
	}
	r = setenv("KRB5_CONFIG", list, 1);
	free(list);
	if (r < 0) {
		close(fd);
		return err_set(err, -PTA_ENOMEM, "setting KRB5_CONFIG: out of memory");
	}
	/* The descriptor stays open: libkrb5 opens the file again with each context. */
	return 0;
}
