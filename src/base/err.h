/* Error codes and error texts. Every function that can fail returns 0 or a negative PTA_E*.
 * A text for the administrator travels beside the code in a struct err. Thread-safe; no state. */
#ifndef PTA_BASE_ERR_H
#define PTA_BASE_ERR_H

#include <stddef.h>

#define PTA_MUST_CHECK __attribute__((warn_unused_result))
#define PTA_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define PTA_CLEANUP(fn) __attribute__((cleanup(fn)))
#define PTA_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum pta_error {
	PTA_EINVAL = 1, /* the input is malformed or out of range */
	PTA_ENOMEM,	/* no memory, or the secret arena is exhausted */
	PTA_EIO,	/* a system call failed; errno was put into the text */
	PTA_ENOENT,	/* no such thing */
	PTA_EEXIST,	/* there already */
	PTA_EPERM,	/* not allowed */
	PTA_ETIMEDOUT,	/* a deadline passed */
	PTA_EBUSY,	/* full: try elsewhere or later */
	PTA_EPROTO,	/* a peer broke the protocol */
	PTA_ETOOBIG,	/* over a limit */
	PTA_ECRYPTO,	/* a tag, signature or key is wrong, or the library failed */
	PTA_EREPLAY,	/* a sequence number came a second time */
	PTA_EEXPIRED,	/* past its expiry */
	PTA_ENET,	/* DNS, connect or transport failed */
	PTA_ETLS,	/* TLS handshake, certificate or name */
	PTA_ENODC,	/* no usable domain controller */
	PTA_ECLOSED,	/* shut down or being shut down */
};

/* "invalid argument" and the like for a (negative or positive) PTA_E*; never NULL. */
const char *pta_error_name(int code);

/* The text that goes with an error: what was tried, on what, what came back, what to do. */
struct err {
	char text[512];
};

/* Writes the text (cut at its size; err may be NULL) and returns `code`, so that `return err_set(…)` works. */
PTA_PRINTF(3, 4) int err_set(struct err *err, int code, const char *fmt, ...);

/* As err_set(), with ": " and the text of errno_value (strerror_r, thread-safe) appended. */
PTA_PRINTF(4, 5) int err_set_errno(struct err *err, int code, int errno_value, const char *fmt, ...);

/* Puts text in front of what err already holds ("register: " …); returns code. */
PTA_PRINTF(3, 4) int err_prefix(struct err *err, int code, const char *fmt, ...);

#endif
