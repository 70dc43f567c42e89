/* The bytes are a PAC's UPN_DNS_INFO: what comes out is a name in UTF-8, equal to itself. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "directory/name_fold.h"
#include "directory/pac_upn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char upn[LIMIT_USERNAME + 1];
	size_t half = size / 2;

	if (pac_upn(data, size, upn) == 0 && (upn[0] == '\0' || !utf8_valid(upn, strlen(upn)) || !name_fold_equal(upn, strlen(upn), upn, strlen(upn))))
		abort();
	if (name_fold_equal((const char *)data, half, (const char *)data + half, size - half) !=
		name_fold_equal((const char *)data + half, size - half, (const char *)data, half))
		abort();
	return 0;
}
