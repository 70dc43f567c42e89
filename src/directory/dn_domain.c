#include "directory/dn_domain.h"

#include <ldap.h>
#include <string.h>

int dn_domain(const char *dn, char out[LIMIT_DOMAIN + 1])
{
	char *domain = NULL;
	int r = -PTA_EINVAL;

	out[0] = '\0';
	if (ldap_dn2domain(dn, &domain) == 0 && domain && domain[0] != '\0' && strlen(domain) <= LIMIT_DOMAIN) {
		memcpy(out, domain, strlen(domain) + 1);
		r = 0;
	}
	ldap_memfree(domain);
	return r;
}
