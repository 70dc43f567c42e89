#include "base/descriptors.h"

#include <errno.h>
#include <sys/resource.h>

int descriptors_raise(uint64_t want, const char *lower, struct err *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return err_set_errno(err, -PTA_EIO, errno, "reading RLIMIT_NOFILE");
	if (limit.rlim_cur >= want)
		return 0;
	limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : (rlim_t)want;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return err_set_errno(err, -PTA_EIO, errno, "raising RLIMIT_NOFILE to %llu", (unsigned long long)limit.rlim_cur);
	if (limit.rlim_cur >= want)
		return 0;
	return err_set(err, -PTA_ETOOBIG,
		"the configuration may need %llu descriptors, RLIMIT_NOFILE allows %llu: set LimitNOFILE=%llu in the systemd unit (or raise 'ulimit -Hn'), or "
		"lower %s",
		(unsigned long long)want, (unsigned long long)limit.rlim_cur, (unsigned long long)want, lower);
}
