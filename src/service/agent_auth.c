#include "service/agent_auth.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/service.h"
#include "service/service_metrics.h"
#include "wire/pki.h"

static void closed(void *value)
{
	struct agent_connection *c = value;

	dispatch_peer_closed(c->thread->service->dispatch, c->thread->port, &c->peer);
	free(c);
}

static bool keep_key(struct agent_connection *c, X509 *cert)
{
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), NULL);
	uint8_t *at = c->key;

	if (len <= 0 || (size_t)len > sizeof(c->key))
		return false;
	c->key_len = (size_t)i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &at);
	return true;
}

/* What does not change while the connection lives is read once. */
static struct agent_connection *connection_get(struct httpd_request *request, struct service_thread *thread, struct err *err)
{
	struct agent_connection *c = httpd_connection_get(request);
	X509 *cert;

	if (c)
		return c;
	cert = httpd_peer_certificate(request);
	if (!cert) {
		(void)err_set(err, -PTA_EPERM, "this needs the agent's client certificate: register the agent first (pta-agent register)");
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		(void)err_set(err, -PTA_ENOMEM, "there is no memory for another connection");
		return NULL;
	}
	if (pki_agent_subject(cert, c->peer.agent, c->peer.tenant, c->peer.group) < 0 || !keep_key(c, cert)) {
		(void)err_set(err, -PTA_EPERM, "the client certificate is not one of an agent");
		free(c);
		return NULL;
	}
	c->thread = thread;
	pki_fingerprint(cert, c->fingerprint);
	pki_validity(cert, &c->not_before_ms, &c->not_after_ms);
	httpd_connection_set(request, c, closed);
	httpd_peer_certificate_forget(request);
	return c;
}

static int check_validity(const struct agent_connection *c, struct err *err)
{
	uint64_t now = clock_wall_ms();
	char when[CLOCK_RFC3339_LEN + 1];

	if (now > c->not_after_ms) {
		clock_rfc3339(c->not_after_ms, when);
		return err_set(err, -PTA_EPERM, "the certificate of agent %s expired at %s: register the agent again with a new token", c->peer.agent, when);
	}
	if (now < c->not_before_ms) {
		clock_rfc3339(c->not_before_ms, when);
		return err_set(err, -PTA_EPERM, "the certificate of agent %s begins at %s: compare the clocks", c->peer.agent, when);
	}
	return 0;
}

static int check_registry(struct agent_connection *c, struct err *err)
{
	const struct registry_snapshot *snapshot = service_snapshot(c->thread);
	const struct registry_agent *agent;
	int r = registry_check_certificate(snapshot, c->peer.agent, c->fingerprint, err);

	if (r < 0)
		return r;
	agent = registry_find_agent(snapshot, c->peer.agent);
	if (!agent)
		return err_set(err, -PTA_EPERM, "there is no agent %s", c->peer.agent);
	/* The registry's word, not the certificate's. */
	memcpy(c->peer.tenant, agent->tenant, sizeof(c->peer.tenant));
	memcpy(c->peer.group, agent->group, sizeof(c->peer.group));
	c->peer.disabled = agent->state == AGENT_DISABLED;
	return 0;
}

struct agent_connection *agent_auth(struct httpd_request *request, struct service_thread *thread)
{
	struct err err = {0};
	struct agent_connection *c = connection_get(request, thread, &err);

	if (c && check_validity(c, &err) == 0 && check_registry(c, &err) == 0)
		return c;
	service_metrics_certificate_refused();
	log_event(LOG_NOTICE, "agent.refused", F_STR("peer", httpd_peer(request)), F_STR("agent", c ? c->peer.agent : NULL), F_STR("why", err.text));
	httpd_reply_error(request, 403, MESSAGE_ERROR_CERTIFICATE, NULL, "%s", err.text);
	return NULL;
}

const char *agent_auth_known(struct httpd_request *request, struct service_thread *thread)
{
	struct err err;
	struct agent_connection *c = httpd_connection_get(request) || httpd_peer_certificate(request) ? connection_get(request, thread, &err) : NULL;

	return c && check_registry(c, &err) == 0 ? c->peer.agent : NULL;
}
