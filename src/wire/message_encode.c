/* Writing the JSON messages: straight into the buffer. */
#include <string.h>

#include "base/json.h"
#include "wire/message.h"

void message_encode_register(struct buf *out, const struct message_register *m)
{
	struct json_writer w = JSON_WRITER(out);

	json_put_object(&w, NULL);
	json_put_string(&w, "token_id", m->token_id);
	json_put_string(&w, "token", m->token_secret);
	json_put_string(&w, "csr", m->csr);
	json_put_string(&w, "host", m->host);
	json_put_string(&w, "version", m->version);
	json_end_object(&w);
}

void message_encode_certificate(struct buf *out, const struct message_certificate *m)
{
	struct json_writer w = JSON_WRITER(out);

	json_put_object(&w, NULL);
	json_put_string(&w, "agent", m->agent);
	json_put_string(&w, "tenant", m->tenant);
	json_put_string(&w, "group", m->group);
	json_put_string(&w, "certificate", m->certificate);
	json_end_object(&w);
}

void message_encode_renew(struct buf *out, const struct message_renew *m)
{
	struct json_writer w = JSON_WRITER(out);

	json_put_object(&w, NULL);
	json_put_string(&w, "csr", m->csr);
	json_end_object(&w);
}

void message_encode_key(struct buf *out, const struct message_key *m)
{
	struct json_writer w = JSON_WRITER(out);

	json_put_object(&w, NULL);
	json_put_string(&w, "instance", m->instance);
	json_put_string(&w, "key_id", m->key_id);
	json_put_base64url(&w, "public", m->public_key, sizeof(m->public_key));
	json_put_uint(&w, "not_after_ms", m->not_after_ms);
	json_put_base64url(&w, "signature", m->signature, m->signature_len);
	json_end_object(&w);
}

void message_key_signed(struct buf *out, const char *tenant, const char *agent, const struct message_key *m)
{
	static const char label[] = "pta agent key v1";

	buf_put_lp(out, label, sizeof(label) - 1);
	buf_put_lp(out, tenant, strlen(tenant));
	buf_put_lp(out, agent, strlen(agent));
	buf_put_lp(out, m->instance, strlen(m->instance));
	buf_put_lp(out, m->key_id, strlen(m->key_id));
	buf_put_lp(out, m->public_key, sizeof(m->public_key));
	buf_put_u64(out, m->not_after_ms);
}
