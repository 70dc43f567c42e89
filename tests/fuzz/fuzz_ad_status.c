/* The first two bytes are the result code, the rest the diagnostic text. */
#include <stdlib.h>
#include <string.h>

#include "directory/ad_status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct verdict verdict = {0};
	int result;

	if (size < 2)
		return 0;
	result = data[0] << 8 | data[1];
	ad_status_bind(result, (const char *)data + 2, size - 2, &verdict);
	if ((verdict.code == VERDICT_SUCCESS) != (result == 0) || !verdict.password_sent)
		abort();
	if (verdict.code != VERDICT_UNAVAILABLE && result != 0 && result != 49)
		abort();
	if (memchr(verdict.detail, '\0', sizeof(verdict.detail)) == NULL)
		abort();
	for (const char *p = verdict.detail; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			abort();
	return 0;
}
