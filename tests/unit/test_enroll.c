#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/enroll.h"
#include "agent_peer.h"
#include "wire/pki.h"

struct fixture {
	struct peer *peer;
	struct agent_conf *conf;
	struct token token;
};

static void make_token(struct fixture *f, struct peer *peer, struct token *token)
{
	uint8_t *der = NULL;
	int len = i2d_X509(peer->ca, &der);

	(void)f;
	assert_true(len > 0 && (size_t)len <= sizeof(token->ca_der));
	memset(token, 0, sizeof(*token));
	random_id(token->id);
	memset(token->secret, 7, sizeof(token->secret));
	snprintf(token->service, sizeof(token->service), "%s", peer->url);
	memcpy(token->ca_der, der, (size_t)len);
	token->ca_der_len = (size_t)len;
	OPENSSL_free(der);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->peer = peer_new();
	f->conf = peer_conf(f->peer, "");
	make_token(f, f->peer, &f->token);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	agent_conf_unref(f->conf);
	peer_free(f->peer);
	free(f);
	return 0;
}

static struct identity *must_register(struct fixture *f)
{
	struct identity *identity;
	struct err err;

	if (enroll_register(f->conf, &f->token, NULL, &identity, &err) < 0)
		fail_msg("%s", err.text);
	return identity;
}

static void a_token_gives_an_identity(void **state)
{
	struct fixture *f = *state;
	struct identity *identity = must_register(f);

	assert_string_equal(identity->agent, "agent1");
	assert_string_equal(identity->service, f->peer->url);
	assert_int_equal(X509_cmp(identity->ca, f->peer->ca), 0);
	assert_true(pki_pair(identity->cert, identity->key));
	assert_string_equal(peer_wait(f->peer, "register", 1)->fingerprint, "");
	identity_free(identity);
}

static void a_lost_reply_is_asked_for_again_with_the_same_key(void **state)
{
	struct fixture *f = *state;
	struct message_register first, second;
	const struct peer_body *body;
	struct identity *identity;
	struct err err;

	peer_fail(f->peer, PEER_REGISTER, 503, "busy", 1);
	assert_int_equal(enroll_register(f->conf, &f->token, NULL, &identity, &err), -PTA_ENET);
	identity = must_register(f);
	body = peer_wait(f->peer, "register", 1);
	assert_int_equal(message_decode_register(body->data, body->len, &first, NULL, NULL), 0);
	body = peer_wait(f->peer, "register", 2);
	assert_int_equal(message_decode_register(body->data, body->len, &second, NULL, NULL), 0);
	{
		EVP_PKEY *a = NULL, *b = NULL;

		assert_int_equal(pki_csr_key(first.csr, strlen(first.csr), &a, NULL), 0);
		assert_int_equal(pki_csr_key(second.csr, strlen(second.csr), &b, NULL), 0);
		assert_int_equal(EVP_PKEY_eq(a, b), 1);
		EVP_PKEY_free(a);
		EVP_PKEY_free(b);
	}
	assert_string_equal(first.token_id, f->token.id);
	identity_free(identity);
}

static void a_registered_agent_shows_its_certificate(void **state)
{
	struct fixture *f = *state;
	struct identity *first = must_register(f), *second;
	char fingerprint[65];

	pki_fingerprint(first->cert, fingerprint);
	second = must_register(f);
	assert_string_equal(peer_wait(f->peer, "register", 2)->fingerprint, fingerprint);
	assert_int_not_equal(EVP_PKEY_eq(first->key, second->key), 1);
	identity_free(first);
	identity_free(second);
}

static void the_services_refusal_is_told_in_its_words(void **state)
{
	struct fixture *f = *state;
	struct identity *identity;
	struct err err;

	peer_fail(f->peer, PEER_REGISTER, 403, MESSAGE_ERROR_TOKEN, 1);
	assert_int_equal(enroll_register(f->conf, &f->token, NULL, &identity, &err), -PTA_EPERM);
	assert_non_null(strstr(err.text, "the test says so"));
}

static void a_service_that_is_not_the_tokens_gets_nothing(void **state)
{
	struct fixture *f = *state;
	struct peer *other = peer_new();
	struct identity *identity;
	struct err err;

	assert_int_equal(enroll_register(f->conf, &f->token, other->url, &identity, &err), -PTA_ETLS);
	assert_int_equal(peer_count(other, "register"), 0);
	peer_free(other);
}

static void a_token_without_a_url_needs_one(void **state)
{
	struct fixture *f = *state;
	struct identity *identity;
	struct err err;

	f->token.service[0] = '\0';
	assert_int_equal(enroll_register(f->conf, &f->token, NULL, &identity, &err), -PTA_EINVAL);
	assert_non_null(strstr(err.text, "--service"));
}

static void renewing_by_hand_makes_a_new_key(void **state)
{
	struct fixture *f = *state;
	struct identity *first = must_register(f), *second;
	char fingerprint[65];
	struct err err;

	pki_fingerprint(first->cert, fingerprint);
	if (enroll_renew(f->conf, first, f->peer->url, &second, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(peer_wait(f->peer, "renew", 1)->fingerprint, fingerprint);
	assert_int_not_equal(EVP_PKEY_eq(first->key, second->key), 1);
	assert_string_equal(second->service, first->service);
	identity_free(first);
	identity_free(second);
}

static void a_certificate_of_another_ca_or_key_is_not_installed(void **state)
{
	struct fixture *f = *state;
	struct identity *now = must_register(f), *next;
	struct message_certificate m = {.agent = "agent1", .tenant = "tenant1", .group = "group1"};
	EVP_PKEY *pending = NULL, *other_key = NULL;
	struct buf request = BUF_INIT(ENROLL_MAX_REQUEST);
	X509 *cert = NULL, *other_ca = NULL;
	struct err err;

	assert_int_equal(enroll_renew_request(&f->peer->identity_dir, now, &request, &err), 0);
	assert_int_equal(identity_pending_key(&f->peer->identity_dir, &pending, &err), 0);
	assert_int_equal(pki_key_new(&other_key, NULL), 0);
	assert_int_equal(pki_ca_new(other_key, "test CA", &other_ca, NULL), 0);
	for (int i = 0; i < 3; i++) {
		static const char *const want[] = {"another key", "did not sign", "subject"};
		struct buf pem = BUF_INIT(LIMIT_CERTIFICATE), body = BUF_INIT(ENROLL_MAX_ANSWER);

		assert_int_equal(pki_issue_agent(i == 1 ? other_ca : f->peer->ca, i == 1 ? other_key : f->peer->ca_key, i == 0 ? other_key : pending, i == 2 ? "agent2" : "agent1", "tenant1", "group1", 30,
					 &cert, NULL),
			0);
		assert_int_equal(pki_cert_to_pem(cert, &pem), 0);
		memcpy(m.certificate, pem.data, pem.len + 1);
		message_encode_certificate(&body, &m);
		assert_int_equal(enroll_renew_answer(&f->peer->identity_dir, now, body.data, body.len, &next, &err), -PTA_EPROTO);
		assert_non_null(strstr(err.text, want[i]));
		pki_cert_freep(&cert);
		cert = NULL;
		buf_done(&pem);
		buf_done(&body);
	}
	buf_done(&request);
	EVP_PKEY_free(pending);
	EVP_PKEY_free(other_key);
	X509_free(other_ca);
	identity_free(now);
}

#define WITH_PEER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PEER(a_token_gives_an_identity),
		WITH_PEER(a_lost_reply_is_asked_for_again_with_the_same_key),
		WITH_PEER(a_registered_agent_shows_its_certificate),
		WITH_PEER(the_services_refusal_is_told_in_its_words),
		WITH_PEER(a_service_that_is_not_the_tokens_gets_nothing),
		WITH_PEER(a_token_without_a_url_needs_one),
		WITH_PEER(renewing_by_hand_makes_a_new_key),
		WITH_PEER(a_certificate_of_another_ca_or_key_is_not_installed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
