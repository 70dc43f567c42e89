#include "service/certificates.h"

#include <stdio.h>

#include "base/clock.h"
#include "service/ca_server.h"

#define CERTIFICATE_LIFE_MS (CERTIFICATE_DAYS * UINT64_C(86400000))

const char *const certificate_names[CERTIFICATE_KINDS] = {
	[CERTIFICATE_CA] = "ca",
	[CERTIFICATE_SIGNIN_LISTEN] = "signin_listen",
	[CERTIFICATE_AGENT_LISTEN] = "agent_listen",
	[CERTIFICATE_AGENTS] = "agents",
};

void certificates_listeners(struct certificates *certs, SSL_CTX *signin, SSL_CTX *agent)
{
	certificates_done(certs);
	SSL_CTX_up_ref(signin);
	SSL_CTX_up_ref(agent);
	certs->signin = signin;
	certs->agent = agent;
}

void certificates_done(struct certificates *certs)
{
	SSL_CTX_free(certs->signin);
	SSL_CTX_free(certs->agent);
	certs->signin = certs->agent = NULL;
}

/* An agent whose certificate has expired is lost already, and may be so for good: its line in `agent list` says it. */
static void next_agent(struct certificates *certs, const struct registry_snapshot *snapshot, uint64_t now_ms)
{
	const struct registry_agent *agent;
	uint64_t first_ms = UINT64_MAX;

	for (size_t i = 0; (agent = registry_agent_at(snapshot, i)); i++) {
		if (agent->state != AGENT_ENABLED || agent->certificate_not_after_ms <= now_ms || agent->certificate_not_after_ms >= first_ms)
			continue;
		first_ms = agent->certificate_not_after_ms;
		snprintf(certs->next_agent, sizeof(certs->next_agent), "%s", agent->id);
	}
	certs->of[CERTIFICATE_AGENTS].until_ms = first_ms == UINT64_MAX ? 0 : first_ms;
	certs->of[CERTIFICATE_AGENTS].from_ms = first_ms == UINT64_MAX ? 0 : first_ms - CERTIFICATE_LIFE_MS;
}

void certificates_look(struct certificates *certs, const struct ca *ca, const struct registry_snapshot *snapshot)
{
	uint64_t now_ms = clock_wall_ms();

	ca_validity(ca, &certs->of[CERTIFICATE_CA].from_ms, &certs->of[CERTIFICATE_CA].until_ms);
	ca_server_validity(certs->signin, &certs->of[CERTIFICATE_SIGNIN_LISTEN].from_ms, &certs->of[CERTIFICATE_SIGNIN_LISTEN].until_ms);
	ca_server_validity(certs->agent, &certs->of[CERTIFICATE_AGENT_LISTEN].from_ms, &certs->of[CERTIFICATE_AGENT_LISTEN].until_ms);
	next_agent(certs, snapshot, now_ms);
	for (int i = 0; i < CERTIFICATE_KINDS; i++) {
		if (certs->of[i].until_ms)
			certs->of[i].stage = expiry_watch(&certs->watches[i], certificate_names[i], i == CERTIFICATE_AGENTS ? certs->next_agent : NULL,
				certs->of[i].from_ms, certs->of[i].until_ms, now_ms);
		else
			certs->of[i].stage = EXPIRY_FAR;
	}
}
