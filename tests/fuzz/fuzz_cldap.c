/* The input as a whole datagram, and as the attribute's value. */
#include <stdlib.h>
#include <string.h>

#include "directory/cldap.h"

#define ID 0x12345678

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name, size_t room, bool dots)
{
	if (!memchr(name, '\0', room))
		abort();
	for (; *name; name++)
		if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9') || *name == '-' || *name == '_' ||
			    (dots && *name == '.')))
			abort();
}

static void check(const struct cldap_answer *answer)
{
	check_name(answer->forest, sizeof(answer->forest), true);
	check_name(answer->domain, sizeof(answer->domain), true);
	check_name(answer->host, sizeof(answer->host), true);
	check_name(answer->dc_site, sizeof(answer->dc_site), false);
	check_name(answer->client_site, sizeof(answer->client_site), false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cldap_answer answer;
	struct err err;

	if (cldap_decode(data, size, ID, &answer, &err) == 0)
		check(&answer);
	if (cldap_parse_netlogon(data, size, &answer, &err) == 0)
		check(&answer);
	return 0;
}
