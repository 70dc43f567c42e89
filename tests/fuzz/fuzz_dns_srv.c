/* A whole answer to a question for SRV records; what it names goes on to where hosts outside the domain are refused. */
#include <stdlib.h>
#include <string.h>

#include "directory/dc_look.h"
#include "directory/dns_srv.h"

#define DOMAIN "corp.example.com"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char host[LIMIT_DOMAIN + 1];
	struct dns_srv_list list;
	struct err err;

	if (dns_srv_parse(data, size, &list, &err) < 0)
		return 0;
	if (list.n == 0 || list.n > DNS_SRV_MAX || list.ttl_s == 0)
		abort();
	for (size_t i = 0; i < list.n; i++) {
		if (!memchr(list.records[i].target, '\0', sizeof(list.records[i].target)))
			abort();
		if (!dc_look_target(list.records[i].target, DOMAIN, host))
			continue;
		if (strlen(host) < strlen(DOMAIN) || strcmp(host + strlen(host) - strlen(DOMAIN), DOMAIN) != 0 || strpbrk(host, "\\ /:@"))
			abort();
	}
	dns_srv_list_done(&list);
	return 0;
}
