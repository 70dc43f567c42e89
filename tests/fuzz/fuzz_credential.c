/* User names: what is accepted keeps its promises, above all that no other of AD's name forms can come of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/credential.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credential c;
	size_t user, domain;

	if (credential_parse((const char *)data, size, &c, NULL) < 0)
		return 0;
	user = strlen(c.user);
	domain = strlen(c.domain);
	if (strlen(c.name) != size || memcmp(c.name, data, size) || user == 0 || domain == 0 || user + 1 + domain != size)
		abort();
	if (strpbrk(c.user, "\"/\\[]:;|=,*?<>@") || c.domain[strspn(c.domain, "abcdefghijklmnopqrstuvwxyz0123456789-_.")])
		abort();
	return 0;
}
