#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
	[0] = "success",
	[PTA_EINVAL] = "invalid input",
	[PTA_ENOMEM] = "out of memory",
	[PTA_EIO] = "input/output error",
	[PTA_ENOENT] = "not found",
	[PTA_EEXIST] = "exists already",
	[PTA_EPERM] = "not permitted",
	[PTA_ETIMEDOUT] = "timed out",
	[PTA_EBUSY] = "busy",
	[PTA_EPROTO] = "protocol error",
	[PTA_ETOOBIG] = "too big",
	[PTA_ECRYPTO] = "cryptographic check failed",
	[PTA_EREPLAY] = "replayed",
	[PTA_EEXPIRED] = "expired",
	[PTA_ENET] = "network error",
	[PTA_ETLS] = "TLS error",
	[PTA_ENODC] = "no usable domain controller",
	[PTA_ECLOSED] = "closed",
};

const char *pta_error_name(int code)
{
	size_t i = (size_t)(code < 0 ? -(long)code : code);

	return i < PTA_ARRAY_SIZE(names) ? names[i] : "unknown error";
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return code;
}

int err_set_errno(struct err *err, int code, int errno_value, const char *fmt, ...)
{
	char reason[128];
	va_list ap;
	size_t used;

	if (!err)
		return code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	used = strlen(err->text);
	/* GNU strerror_r: may answer a constant of its own. */
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror_r(errno_value, reason, sizeof(reason)));
	return code;
}

int err_prefix(struct err *err, int code, const char *fmt, ...)
{
	char rest[sizeof(err->text)];
	va_list ap;
	size_t used;

	if (!err)
		return code;
	memcpy(rest, err->text, sizeof(rest));
	rest[sizeof(rest) - 1] = '\0';
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, "%s", rest);
	return code;
}
