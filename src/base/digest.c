#include "base/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

/* Fetched once per process, never freed, as all that OpenSSL's libraries fetch for themselves. */
static struct {
	pthread_once_t once;
	EVP_MD *sha256;
} library = {.once = PTHREAD_ONCE_INIT};

static void fetch(void)
{
	library.sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
}

void digest(const void *data, size_t len, uint8_t out[DIGEST_LEN])
{
	pthread_once(&library.once, fetch);
	if (!library.sha256 || EVP_Digest(data, len, out, NULL, library.sha256, NULL) != 1)
		abort();
}
