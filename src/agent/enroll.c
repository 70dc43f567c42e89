#include "agent/enroll.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/service_http.h"
#include "base/encode.h"
#include "base/file.h"
#include "wire/message.h"
#include "wire/pki.h"

static void host_name(char out[LIMIT_DOMAIN + 1])
{
	if (gethostname(out, LIMIT_DOMAIN) < 0 || out[0] == '\0')
		snprintf(out, LIMIT_DOMAIN + 1, "unknown");
	out[LIMIT_DOMAIN] = '\0';
}

static int make_csr(EVP_PKEY *key, const char *name, char out[LIMIT_CSR + 1], struct err *err)
{
	struct buf pem = BUF_INIT(LIMIT_CSR);
	int r = pki_csr_new(key, name, &pem, err);

	if (r == 0 && !buf_ok(&pem))
		r = err_set(err, -PTA_ENOMEM, "out of memory");
	if (r == 0)
		memcpy(out, pem.data, pem.len + 1);
	buf_done(&pem);
	return r;
}

/* What the service sent must be a certificate for our key, by its CA, in the name that it says. */
static int check_certificate(const struct message_certificate *m, EVP_PKEY *key, X509 *ca, struct err *err)
{
	char agent[LIMIT_ID + 1], tenant[LIMIT_ID + 1], group[LIMIT_ID + 1];
	X509 *cert PTA_CLEANUP(pki_cert_freep) = NULL;
	int r = pki_cert_from_pem(m->certificate, strlen(m->certificate), &cert, NULL, err);

	if (r < 0)
		return err_prefix(err, -PTA_EPROTO, "the certificate that the service sent: ");
	if (!pki_pair(cert, key))
		return err_set(err, -PTA_EPROTO, "the service sent a certificate for another key");
	if (X509_verify(cert, X509_get0_pubkey(ca)) != 1) {
		char reason[256];

		pki_openssl_error(reason, sizeof(reason));
		return err_set(err, -PTA_EPROTO, "the service sent a certificate that its own CA did not sign: %s", reason);
	}
	r = pki_agent_subject(cert, agent, tenant, group);
	if (r < 0 || strcmp(agent, m->agent) != 0 || strcmp(tenant, m->tenant) != 0 || strcmp(group, m->group) != 0)
		return err_set(err, -PTA_EPROTO, "the service sent a certificate whose subject is not agent %s of %s/%s", m->agent, m->tenant, m->group);
	return 0;
}

/* Decodes, checks and installs; `ca_pem` as in identity_install(). */
static int take_certificate(const struct identity_dir *dir, const void *json, size_t len, EVP_PKEY *key, X509 *ca, const struct buf *ca_pem, const char *service,
	struct identity **out, struct err *err)
{
	struct identity names = {0};
	struct message_certificate m;
	int r = message_decode_certificate(json, len, &m, NULL, err);

	if (r < 0)
		return err_prefix(err, r, "the service's answer: ");
	r = check_certificate(&m, key, ca, err);
	if (r < 0)
		return r;
	snprintf(names.agent, sizeof(names.agent), "%s", m.agent);
	snprintf(names.tenant, sizeof(names.tenant), "%s", m.tenant);
	snprintf(names.group, sizeof(names.group), "%s", m.group);
	snprintf(names.service, sizeof(names.service), "%s", service);
	r = identity_install(dir, &names, ca_pem, m.certificate, err);
	return r < 0 ? r : identity_load(dir, out, err);
}

static int encode_register(const struct token *token, EVP_PKEY *key, struct buf *out, struct err *err)
{
	struct buf secret = BUF_INIT_WIPED(64);
	struct message_register m = {0};
	int r;

	host_name(m.host);
	snprintf(m.version, sizeof(m.version), "%s", PACKAGE_VERSION);
	memcpy(m.token_id, token->id, sizeof(m.token_id));
	encode_base64url(&secret, token->secret, sizeof(token->secret));
	r = make_csr(key, m.host, m.csr, err);
	if (r == 0 && !buf_ok(&secret))
		r = err_set(err, -PTA_ENOMEM, "out of memory");
	if (r == 0) {
		memcpy(m.token_secret, secret.data, secret.len + 1);
		message_encode_register(out, &m);
		if (!buf_ok(out))
			r = err_set(err, -PTA_ENOMEM, "out of memory");
	}
	secret_wipe(m.token_secret, sizeof(m.token_secret));
	buf_done(&secret);
	return r;
}

/* Posts what `call->request` holds; anything but 200 is an error with the service's own words. */
static int post(struct service_call *call, struct err *err)
{
	char text[500];
	int status, r = service_call_perform(call, &status, err);

	if (r < 0)
		return r;
	if (status == 200)
		return 0;
	service_error_text(call, status, text, sizeof(text), NULL);
	return err_set(err, status >= 400 && status < 500 ? -PTA_EPERM : -PTA_ENET, "%s", text);
}

/* The service looks up a shown certificate by its own CA: one of another service would only break the handshake. */
static bool same_ca(const struct identity *known, X509 *ca)
{
	return known && X509_cmp(known->ca, ca) == 0;
}

static int register_at(const struct agent_conf *conf, const struct identity_dir *dir, const struct token *token, const char *service, X509 *ca, struct identity **out,
	struct err *err)
{
	struct identity *known PTA_CLEANUP(identity_freep) = NULL;
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	struct buf ca_pem = BUF_INIT(LIMIT_CERTIFICATE);
	struct service_link link = {.conf = conf, .url = service, .ca_pem = &ca_pem};
	struct service_call call = {0};
	int r = pki_cert_to_pem(ca, &ca_pem);

	if (r < 0 || !buf_ok(&ca_pem)) {
		buf_done(&ca_pem);
		return err_set(err, -PTA_ENOMEM, "out of memory");
	}
	/* An unreadable old identity is no reason to refuse: registering anew is its mend. */
	if (identity_load(dir, &known, NULL) == 0 && same_ca(known, ca)) {
		link.cert_pem = &known->cert_pem;
		link.key_pem = &known->key_pem;
	}
	r = identity_pending_key(dir, &key, err);
	if (r == 0)
		r = service_call_init(&call, &link, ENROLL_PATH_REGISTER, SERVICE_JSON, ENROLL_MAX_REQUEST, ENROLL_MAX_ANSWER, ENROLL_TIMEOUT_MS, err);
	if (r == 0) {
		call.request.wipe = true;
		r = encode_register(token, key, &call.request, err);
		if (r == 0)
			r = post(&call, err);
		if (r == 0)
			r = take_certificate(dir, call.response.data, call.response.len, key, ca, &ca_pem, service, out, err);
		service_call_done(&call);
	}
	buf_done(&ca_pem);
	return r;
}

int enroll_register(const struct agent_conf *conf, const struct token *token, const char *service, struct identity **out, struct err *err)
{
	struct identity_dir dir = {.path = conf->agent.state_dir};
	X509 *ca PTA_CLEANUP(pki_cert_freep) = NULL;
	int r;

	if (!service)
		service = token->service;
	if (service[0] == '\0')
		return err_set(err, -PTA_EINVAL, "the token names no service: give --service https://host:port");
	r = agent_conf_check_url(service, err);
	if (r == 0)
		r = pki_cert_from_der(token->ca_der, token->ca_der_len, &ca, err);
	if (r == 0)
		r = agent_conf_owner(conf, &dir.uid, &dir.gid, err);
	if (r == 0)
		r = file_ensure_dir(dir.path, dir.uid, dir.gid, err);
	return r < 0 ? r : register_at(conf, &dir, token, service, ca, out, err);
}

int enroll_renew_request(const struct identity_dir *dir, const struct identity *now, struct buf *out, struct err *err)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	struct message_renew m;
	int r = identity_pending_key(dir, &key, err);

	if (r == 0)
		r = make_csr(key, now->agent, m.csr, err);
	if (r < 0)
		return r;
	message_encode_renew(out, &m);
	return buf_ok(out) ? 0 : err_set(err, -PTA_ENOMEM, "out of memory");
}

int enroll_renew_answer(const struct identity_dir *dir, const struct identity *now, const void *json, size_t len, struct identity **out, struct err *err)
{
	EVP_PKEY *key PTA_CLEANUP(pki_key_freep) = NULL;
	int r = identity_pending_key(dir, &key, err);

	return r < 0 ? r : take_certificate(dir, json, len, key, now->ca, NULL, now->service, out, err);
}

int enroll_renew(const struct agent_conf *conf, const struct identity *now, const char *service, struct identity **out, struct err *err)
{
	struct service_link link = {.conf = conf, .url = service, .ca_pem = &now->ca_pem, .cert_pem = &now->cert_pem, .key_pem = &now->key_pem};
	struct identity_dir dir = {.path = conf->agent.state_dir};
	struct service_call call;
	int r = agent_conf_owner(conf, &dir.uid, &dir.gid, err);

	if (r == 0)
		r = service_call_init(&call, &link, ENROLL_PATH_RENEW, SERVICE_JSON, ENROLL_MAX_REQUEST, ENROLL_MAX_ANSWER, ENROLL_TIMEOUT_MS, err);
	if (r < 0)
		return r;
	r = enroll_renew_request(&dir, now, &call.request, err);
	if (r == 0)
		r = post(&call, err);
	if (r == 0)
		r = enroll_renew_answer(&dir, now, call.response.data, call.response.len, out, err);
	service_call_done(&call);
	return r;
}
