/* The bytes are what a server sent in answer to a bind. */
#include <stdlib.h>
#include <string.h>

#include "directory/ldap_signing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ldap_signing_answer answer = {.result = -1}, again;
	struct err err;
	int r = ldap_signing_decode(data, size, &answer, &err);

	if (r < 0 && r != -PTA_EPROTO)
		abort();
	/* What is whole stays so whatever follows, and was not whole before. */
	if (r == 1) {
		if (memchr(answer.diagnostic, '\0', sizeof(answer.diagnostic)) == NULL)
			abort();
		for (size_t len = 0; len < size && len < 16; len++)
			if (ldap_signing_decode(data, len, &again, &err) < 0)
				abort();
	}
	return 0;
}
