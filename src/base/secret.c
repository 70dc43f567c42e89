#include "base/secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* The smallest block that OpenSSL hands out: a typical password with its length. */
#define ARENA_BLOCK 32

/* The whole of it lies in the arena. Without an arena (tools and tests) OpenSSL takes it from the normal heap and
 * cleanses it all the same; with one, an allocation that does not fit fails. */
struct secret {
	size_t len;
	uint8_t bytes[];
};

static int lock_limit(size_t bytes, struct err *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return err_set_errno(err, -PTA_EIO, errno, "reading RLIMIT_MEMLOCK");
	if (limit.rlim_cur < bytes && limit.rlim_max > limit.rlim_cur) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_MEMLOCK, &limit))
			return err_set_errno(err, -PTA_EIO, errno, "raising RLIMIT_MEMLOCK to its hard limit");
	}
	return 0;
}

int secret_arena_init(size_t bytes, struct err *err)
{
	const struct rlimit none = {0};
	struct rlimit limit = {0};
	int r;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return err_set_errno(err, -PTA_EIO, errno, "prctl(PR_SET_DUMPABLE, 0)");
	if (setrlimit(RLIMIT_CORE, &none))
		return err_set_errno(err, -PTA_EIO, errno, "setting RLIMIT_CORE to 0");
	r = lock_limit(bytes, err);
	if (r < 0)
		return r;
	switch (CRYPTO_secure_malloc_init(bytes, ARENA_BLOCK)) {
	case 1:
		return 0;
	case 2: /* it is there, but may be swapped out: not good enough */
		CRYPTO_secure_malloc_done();
		getrlimit(RLIMIT_MEMLOCK, &limit);
		return err_set(err, -PTA_ENOMEM,
			"cannot lock %zu bytes of memory for passwords: RLIMIT_MEMLOCK allows %llu bytes; set LimitMEMLOCK=%zu in the systemd unit, or raise "
			"'ulimit -l'",
			bytes, (unsigned long long)limit.rlim_cur, bytes);
	default:
		return err_set(err, -PTA_ENOMEM, "cannot set up %zu bytes of protected memory for passwords", bytes);
	}
}

size_t secret_arena_used(void)
{
	return CRYPTO_secure_used();
}

struct secret *secret_new(size_t len)
{
	struct secret *secret;

	if (len > SIZE_MAX - sizeof(*secret) - 1)
		return NULL;
	/* Without file and line it leaves no entry on OpenSSL's error queue, where a later TLS call would stumble on it. */
	secret = CRYPTO_secure_zalloc(sizeof(*secret) + len + 1, NULL, 0);
	if (secret)
		secret->len = len;
	return secret;
}

struct secret *secret_dup(const void *data, size_t len)
{
	struct secret *secret = secret_new(len);

	if (secret && len)
		memcpy(secret->bytes, data, len);
	return secret;
}

void secret_free(struct secret *secret)
{
	if (secret)
		OPENSSL_secure_clear_free(secret, sizeof(*secret) + secret->len + 1);
}

void secret_freep(struct secret **secret)
{
	secret_free(*secret);
	*secret = NULL;
}

uint8_t *secret_data(struct secret *secret)
{
	return secret->bytes;
}

const uint8_t *secret_bytes(const struct secret *secret)
{
	return secret->bytes;
}

size_t secret_len(const struct secret *secret)
{
	return secret->len;
}

void secret_truncate(struct secret *secret, size_t len)
{
	if (len >= secret->len)
		return;
	secret_wipe(secret->bytes + len, secret->len - len);
	secret->len = len;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
	return a->len == b->len && CRYPTO_memcmp(a->bytes, b->bytes, a->len) == 0;
}

void secret_wipe(void *data, size_t len)
{
	if (len)
		OPENSSL_cleanse(data, len);
}

#define STACK_WIPED 8192

/* Not inlined: its array must lie where the frames of the functions called before lay. */
__attribute__((noinline)) void secret_wipe_stack(void)
{
	unsigned char below[STACK_WIPED];

	OPENSSL_cleanse(below, sizeof(below));
}
