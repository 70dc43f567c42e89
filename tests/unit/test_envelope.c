#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "wire/envelope.h"
#include "wire/envelope_body.h"

#define NOW UINT64_C(1700000000000)
#define ID1 "0123456789abcdef0123456789abcdef"
#define ID2 "fedcba9876543210fedcba9876543210"
#define USER "alice@corp.example.com"

/* A sealed request and what goes with it. */
struct message {
	struct envelope_head head;
	uint8_t enc[ENVELOPE_ENC_LEN];
	uint64_t seq;
	struct buf sealed;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
};

struct fixture {
	struct envelope_receiver *receiver;
	struct envelope_sender *sender;
};

static int setup(void **state)
{
	static struct fixture f;

	if (envelope_receiver_new(&f.receiver) < 0 || envelope_sender_new(envelope_receiver_public(f.receiver), &f.sender) < 0)
		return -1;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	envelope_receiver_free(f->receiver);
	envelope_sender_free(f->sender);
	return ERR_peek_error() != 0;
}

static struct envelope_head head_of(const struct envelope_receiver *receiver)
{
	struct envelope_head head = {.tenant = "acme", .agent = "agent-1", .request_id = ID1, .attempt = 1, .expires_ms = NOW + 10000};

	memcpy(head.key_id, envelope_receiver_key_id(receiver), sizeof(head.key_id));
	return head;
}

static struct message seal_with(struct envelope_sender *sender, const struct envelope_head *head)
{
	struct envelope_request request = {.operation = ENVELOPE_VALIDATE, .username = USER, .domain = "corp.example.com"};
	struct message m = {.head = *head, .sealed = BUF_INIT(LIMIT_SEALED)};

	request.password = secret_dup("p\303\244ssword", 9);
	memcpy(m.enc, envelope_sender_enc(sender), sizeof(m.enc));
	assert_int_equal(envelope_seal_request(sender, head, &request, &m.sealed, &m.seq, m.answer_key), 0);
	envelope_request_done(&request);
	return m;
}

static struct message seal(struct fixture *f)
{
	struct envelope_head head = head_of(f->receiver);

	return seal_with(f->sender, &head);
}

/* Opens with nothing kept; on an error nothing may be left behind. */
static int open_at(struct envelope_receiver *receiver, const struct message *m, uint64_t now)
{
	static const uint8_t zeros[ENVELOPE_ANSWER_KEY_LEN];
	struct envelope_request request;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	struct err err = {""};
	int r = envelope_open_request(receiver, &m->head, m->enc, m->seq, m->sealed.data, m->sealed.len, now, &request, answer_key, &err);

	if (r == 0) {
		assert_memory_equal(answer_key, m->answer_key, sizeof(answer_key));
		assert_string_equal(request.username, USER);
		envelope_request_done(&request);
	} else {
		assert_true(err.text[0]);
		assert_null(request.password);
		assert_string_equal(request.username, "");
		assert_memory_equal(answer_key, zeros, sizeof(answer_key));
	}
	return r;
}

static int open_message(struct envelope_receiver *receiver, const struct message *m)
{
	return open_at(receiver, m, NOW);
}

static void request_is_opened_by_the_agent_it_was_sealed_for(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f);
	struct envelope_request request;
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];

	assert_int_equal(m.seq, 0);
	assert_int_equal(m.sealed.len, 256 + HPKE_TAG_LEN);
	assert_int_equal(envelope_open_request(f->receiver, &m.head, m.enc, m.seq, m.sealed.data, m.sealed.len, NOW, &request, answer_key, NULL), 0);
	assert_int_equal(request.operation, ENVELOPE_VALIDATE);
	assert_string_equal(request.username, USER);
	assert_string_equal(request.domain, "corp.example.com");
	assert_int_equal(secret_len(request.password), 9);
	assert_memory_equal(secret_bytes(request.password), "p\303\244ssword", 9);
	assert_memory_equal(answer_key, m.answer_key, sizeof(answer_key));
	assert_int_equal(envelope_receiver_contexts(f->receiver), 1);
	envelope_request_done(&request);
	assert_null(request.password);
	buf_done(&m.sealed);
}

static void longest_values_fit_and_longer_ones_do_not(void **state)
{
	struct fixture *f = *state;
	struct envelope_head head = head_of(f->receiver);
	struct envelope_request request = {.operation = ENVELOPE_VALIDATE}, back;
	struct buf sealed = BUF_INIT(LIMIT_SEALED);
	uint8_t key[ENVELOPE_ANSWER_KEY_LEN], key2[ENVELOPE_ANSWER_KEY_LEN];
	char password[LIMIT_PASSWORD + 1];
	uint64_t seq;

	memset(request.username, 'u', LIMIT_USERNAME);
	memset(request.domain, 'd', LIMIT_DOMAIN);
	memset(password, 'p', sizeof(password));
	memset(head.tenant, 't', LIMIT_TENANT);
	memset(head.agent, 'a', LIMIT_ID);
	request.password = secret_dup(password, LIMIT_PASSWORD);
	assert_int_equal(envelope_seal_request(f->sender, &head, &request, &sealed, &seq, key), 0);
	assert_true(sealed.len <= LIMIT_SEALED);
	assert_int_equal(envelope_open_request(f->receiver, &head, envelope_sender_enc(f->sender), seq, sealed.data, sealed.len, NOW, &back, key2, NULL), 0);
	assert_string_equal(back.username, request.username);
	assert_string_equal(back.domain, request.domain);
	assert_true(secret_equal(back.password, request.password));
	envelope_request_done(&back);

	secret_freep(&request.password);
	request.password = secret_dup(password, LIMIT_PASSWORD + 1);
	assert_int_equal(envelope_seal_request(f->sender, &head, &request, &sealed, &seq, key), -PTA_EINVAL);
	secret_freep(&request.password);
	request.password = secret_new(0);
	assert_int_equal(envelope_seal_request(f->sender, &head, &request, &sealed, &seq, key), -PTA_EINVAL);
	envelope_request_done(&request);
	buf_done(&sealed);
}

static void length_does_not_tell_the_passwords_length(void **state)
{
	struct fixture *f = *state;
	struct envelope_head head = head_of(f->receiver);
	struct buf sealed = BUF_INIT(65536);
	uint8_t key[ENVELOPE_ANSWER_KEY_LEN];
	uint64_t seq;

	for (size_t len = 1; len < 128; len++) {
		struct envelope_request request = {.operation = ENVELOPE_VALIDATE, .username = USER, .domain = "corp"};

		request.password = secret_new(len);
		memset(secret_data(request.password), 'x', len);
		buf_reset(&sealed);
		assert_int_equal(envelope_seal_request(f->sender, &head, &request, &sealed, &seq, key), 0);
		assert_int_equal(sealed.len, 256 + HPKE_TAG_LEN);
		envelope_request_done(&request);
	}
	buf_done(&sealed);
}

static void every_changed_byte_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f);

	for (size_t i = 0; i < m.sealed.len; i++) {
		m.sealed.data[i] ^= 1;
		assert_int_equal(open_message(f->receiver, &m), -PTA_ECRYPTO);
		m.sealed.data[i] ^= 1;
	}
	for (size_t len = 0; len < m.sealed.len; len++) {
		struct message cut = m;

		cut.sealed.len = len;
		assert_int_equal(open_message(f->receiver, &cut), -PTA_ECRYPTO);
	}
	/* None of it left a context behind, and the untouched message still opens. */
	assert_int_equal(envelope_receiver_contexts(f->receiver), 0);
	assert_int_equal(open_message(f->receiver, &m), 0);
	buf_done(&m.sealed);
}

static void every_changed_field_of_the_head_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f), changed;

	for (int i = 0; i < 9; i++) {
		changed = m;
		switch (i) {
		case 0:
			memcpy(changed.head.tenant, "other", 6);
			break;
		case 1:
			memcpy(changed.head.agent, "agent-2", 8);
			break;
		case 2:
			memcpy(changed.head.key_id, ID2, sizeof(ID2));
			break;
		case 3:
			memcpy(changed.head.request_id, ID2, sizeof(ID2));
			break;
		case 4:
			changed.head.attempt++;
			break;
		case 5:
			changed.head.expires_ms++; /* a longer life */
			break;
		case 6:
			changed.seq++;
			break;
		case 7:
			changed.enc[5] ^= 1;
			break;
		case 8: /* the border between two fields moved */
			memcpy(changed.head.tenant, "acm", 4);
			memcpy(changed.head.agent, "eagent-1", 9);
			break;
		default:
			break;
		}
		assert_int_equal(open_message(f->receiver, &changed), -PTA_ECRYPTO);
	}
	assert_int_equal(envelope_receiver_contexts(f->receiver), 0);
	assert_int_equal(open_message(f->receiver, &m), 0);
	buf_done(&m.sealed);
}

static void another_agents_key_opens_nothing(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f);
	struct envelope_receiver *other;

	assert_int_equal(envelope_receiver_new(&other), 0);
	assert_string_not_equal(envelope_receiver_key_id(other), envelope_receiver_key_id(f->receiver));
	assert_int_equal(open_message(other, &m), -PTA_ECRYPTO);
	memcpy(m.head.key_id, envelope_receiver_key_id(other), sizeof(m.head.key_id));
	assert_int_equal(open_message(other, &m), -PTA_ECRYPTO);
	envelope_receiver_free(other);
	buf_done(&m.sealed);
}

static void a_senders_key_of_small_order_is_refused(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f);

	memset(m.enc, 0, sizeof(m.enc));
	assert_int_equal(open_message(f->receiver, &m), -PTA_ECRYPTO);
	assert_int_equal(envelope_receiver_contexts(f->receiver), 0);
	buf_done(&m.sealed);
}

static void no_room_for_the_sealed_bytes_leaves_no_key(void **state)
{
	static const uint8_t zeros[ENVELOPE_ANSWER_KEY_LEN];
	struct fixture *f = *state;
	struct envelope_head head = head_of(f->receiver);
	struct envelope_request request = {.operation = ENVELOPE_VALIDATE, .username = USER, .domain = "corp"};
	struct verdict v = verdict_make(VERDICT_SUCCESS);
	struct buf small = BUF_INIT(100);
	uint8_t key[ENVELOPE_ANSWER_KEY_LEN];
	uint64_t seq;

	request.password = secret_dup("p", 1);
	assert_int_equal(envelope_seal_request(f->sender, &head, &request, &small, &seq, key), -PTA_ENOMEM);
	assert_memory_equal(key, zeros, sizeof(key));
	envelope_request_done(&request);
	buf_done(&small);
	assert_int_equal(envelope_seal_answer(key, &head, USER, &v, &small), -PTA_ENOMEM);
	buf_done(&small);
}

static void expired_request_is_refused(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f);

	assert_int_equal(open_at(f->receiver, &m, m.head.expires_ms), -PTA_EEXPIRED);
	assert_int_equal(open_at(f->receiver, &m, UINT64_MAX), -PTA_EEXPIRED);
	assert_int_equal(open_at(f->receiver, &m, m.head.expires_ms - 1), 0);
	buf_done(&m.sealed);
}

static void replayed_request_is_refused(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f);

	assert_int_equal(open_message(f->receiver, &m), 0);
	assert_int_equal(open_message(f->receiver, &m), -PTA_EREPLAY);
	/* Even when it is too late: a replayed request must not be taken for one that went nowhere. */
	assert_int_equal(open_at(f->receiver, &m, UINT64_MAX), -PTA_EREPLAY);
	m.sealed.len = 0;
	assert_int_equal(open_message(f->receiver, &m), -PTA_EREPLAY);
	/* Under another request id it is the same number still. */
	memcpy(m.head.request_id, ID2, sizeof(ID2));
	assert_int_equal(open_message(f->receiver, &m), -PTA_EREPLAY);
	buf_done(&m.sealed);
}

static void reordered_requests_open_once_within_the_window(void **state)
{
	struct fixture *f = *state;
	struct message first[4], last;

	for (size_t i = 0; i < 4; i++)
		first[i] = seal(f);
	for (uint64_t n = 4; n < ENVELOPE_WINDOW + 1; n++) {
		struct message skipped = seal(f);

		buf_done(&skipped.sealed);
	}
	last = seal(f);
	assert_int_equal(last.seq, ENVELOPE_WINDOW + 1);
	assert_int_equal(open_message(f->receiver, &first[3]), 0);
	assert_int_equal(open_message(f->receiver, &last), 0);
	assert_int_equal(open_message(f->receiver, &first[2]), 0);	      /* 65,535 behind: the oldest that is still known */
	assert_int_equal(open_message(f->receiver, &first[1]), -PTA_EREPLAY); /* 65,536 behind: nobody can tell */
	assert_int_equal(open_message(f->receiver, &first[0]), -PTA_EREPLAY);
	assert_int_equal(open_message(f->receiver, &first[2]), -PTA_EREPLAY);
	assert_int_equal(open_message(f->receiver, &first[3]), -PTA_EREPLAY);
	for (size_t i = 0; i < 4; i++)
		buf_done(&first[i].sealed);
	buf_done(&last.sealed);
}

static void a_forged_number_far_ahead_does_not_move_the_window(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f), next = seal(f), forged;

	assert_int_equal(open_message(f->receiver, &m), 0);
	forged = next;
	forged.seq = UINT64_MAX - 1;
	assert_int_equal(open_message(f->receiver, &forged), -PTA_ECRYPTO);
	forged.seq = 1000000;
	assert_int_equal(open_message(f->receiver, &forged), -PTA_ECRYPTO);
	assert_int_equal(open_message(f->receiver, &next), 0);
	assert_int_equal(open_message(f->receiver, &m), -PTA_EREPLAY);
	buf_done(&m.sealed);
	buf_done(&next.sealed);
}

static void contexts_are_counted_and_new_ones_refused_when_full(void **state)
{
	struct fixture *f = *state;
	struct envelope_head head = head_of(f->receiver);
	struct message m, old = seal(f);
	struct envelope_sender *sender;

	assert_int_equal(open_message(f->receiver, &old), 0);
	for (unsigned i = 1; i < ENVELOPE_CONTEXTS_MAX; i++) {
		assert_int_equal(envelope_receiver_contexts(f->receiver), i);
		assert_int_equal(envelope_sender_new(envelope_receiver_public(f->receiver), &sender), 0);
		m = seal_with(sender, &head);
		assert_int_equal(open_message(f->receiver, &m), 0);
		buf_done(&m.sealed);
		envelope_sender_free(sender);
	}
	assert_int_equal(envelope_receiver_contexts(f->receiver), ENVELOPE_CONTEXTS_MAX);
	assert_int_equal(envelope_sender_new(envelope_receiver_public(f->receiver), &sender), 0);
	m = seal_with(sender, &head);
	assert_int_equal(open_message(f->receiver, &m), -PTA_EBUSY);
	buf_done(&m.sealed);
	envelope_sender_free(sender);
	/* The old ones still work, and still know what they saw. */
	assert_int_equal(open_message(f->receiver, &old), -PTA_EREPLAY);
	m = seal(f);
	assert_int_equal(open_message(f->receiver, &m), 0);
	buf_done(&m.sealed);
	buf_done(&old.sealed);
}

/* Bodies that only a broken service could seal. */
static void malformed_bodies_are_refused(void **state)
{
	static const struct {
		const char *what, *username, *domain, *password;
		size_t username_len, domain_len, password_len;
		uint8_t operation, pad_byte;
		int pad_more;
	} rows[] = {
		{"good", "u@d", "d", "p", 3, 1, 1, 1, 0, 0},
		{"unknown operation", "u@d", "d", "p", 3, 1, 1, 2, 0, 0},
		{"operation zero", "u@d", "d", "p", 3, 1, 1, 0, 0, 0},
		{"empty user", "", "d", "p", 0, 1, 1, 1, 0, 0},
		{"empty domain", "u@d", "", "p", 3, 0, 1, 1, 0, 0},
		{"empty password", "u@d", "d", "", 3, 1, 0, 1, 0, 0},
		{"NUL in the password", "u@d", "d", "p\0q", 3, 1, 3, 1, 0, 0},
		{"NUL in the user", "u\0d", "d", "p", 3, 1, 1, 1, 0, 0},
		{"not UTF-8", "u@d", "d", "\377", 3, 1, 1, 1, 0, 0},
		{"bytes in the padding", "u@d", "d", "p", 3, 1, 1, 1, 7, 0},
		{"padding one too long", "u@d", "d", "p", 3, 1, 1, 1, 0, 1},
		{"a whole block of padding", "u@d", "d", "p", 3, 1, 1, 1, 0, 256},
		{"padding one too short", "u@d", "d", "p", 3, 1, 1, 1, 0, -1},
	};

	(void)state;
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct buf plain = BUF_INIT(4096);
		struct envelope_request request;
		struct err err = {""};
		size_t end;
		int r;

		buf_put_u8(&plain, rows[i].operation);
		buf_put_lp(&plain, rows[i].username, rows[i].username_len);
		buf_put_lp(&plain, rows[i].domain, rows[i].domain_len);
		buf_put_lp(&plain, rows[i].password, rows[i].password_len);
		end = (size_t)(256 + rows[i].pad_more);
		while (plain.len < end)
			buf_put_u8(&plain, rows[i].pad_byte);
		r = envelope_body_parse_request(plain.data, plain.len, &request, &err);
		if (r != (i == 0 ? 0 : -PTA_EPROTO))
			fail_msg("%s: %d", rows[i].what, r);
		assert_int_equal(request.password != NULL, i == 0);
		envelope_request_done(&request);
		/* The good one, cut anywhere. */
		for (size_t len = 0; i == 0 && len < plain.len; len++)
			assert_int_equal(envelope_body_parse_request(plain.data, len, &request, NULL), -PTA_EPROTO);
		buf_done(&plain);
	}
}

static void answer_comes_back(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f);
	struct verdict v = {.code = VERDICT_PASSWORD_EXPIRED,
			       .password_proved = true,
			       .password_sent = true,
			       .directory_us = 1234,
			       .dc = "dc1.corp.example.com"},
		       back;
	struct buf sealed = BUF_INIT(LIMIT_ANSWER), again = BUF_INIT(LIMIT_ANSWER);

	memset(v.detail, 'x', LIMIT_DETAIL);
	memset(v.dc, 'd', LIMIT_DOMAIN);
	assert_int_equal(envelope_seal_answer(m.answer_key, &m.head, USER, &v, &sealed), 0);
	assert_true(sealed.len <= LIMIT_ANSWER);
	assert_int_equal(envelope_open_answer(m.answer_key, &m.head, USER, sealed.data, sealed.len, &back, NULL), 0);
	assert_int_equal(back.code, VERDICT_PASSWORD_EXPIRED);
	assert_true(back.password_proved);
	assert_true(back.password_sent);
	assert_int_equal(back.directory_us, 1234);
	assert_string_equal(back.dc, v.dc);
	assert_string_equal(back.detail, v.detail);

	v = verdict_unavailable(REASON_TIMEOUT, true);
	memcpy(v.detail, "a\nb\303\244", 6);
	buf_reset(&sealed);
	assert_int_equal(envelope_seal_answer(m.answer_key, &m.head, USER, &v, &sealed), 0);
	assert_int_equal(envelope_open_answer(m.answer_key, &m.head, USER, sealed.data, sealed.len, &back, NULL), 0);
	assert_int_equal(back.reason, REASON_TIMEOUT);
	assert_string_equal(back.detail, "a?b??"); /* printable, whatever a directory said */
	/* Each sealing has a nonce of its own. */
	assert_int_equal(envelope_seal_answer(m.answer_key, &m.head, USER, &v, &again), 0);
	assert_int_equal(again.len, sealed.len);
	assert_memory_not_equal(again.data, sealed.data, sealed.len);
	buf_done(&sealed);
	buf_done(&again);
	buf_done(&m.sealed);
}

static void success_and_failure_have_the_same_length(void **state)
{
	struct verdict success = verdict_make(VERDICT_SUCCESS), failure = verdict_make(VERDICT_INVALID_CREDENTIALS);
	struct fixture *f = *state;
	struct message m = seal(f);
	struct buf a = BUF_INIT(LIMIT_ANSWER), b = BUF_INIT(LIMIT_ANSWER);

	memcpy(failure.detail, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563", 87);
	assert_int_equal(envelope_seal_answer(m.answer_key, &m.head, USER, &success, &a), 0);
	assert_int_equal(envelope_seal_answer(m.answer_key, &m.head, USER, &failure, &b), 0);
	assert_int_equal(a.len, b.len);
	buf_done(&a);
	buf_done(&b);
	buf_done(&m.sealed);
}

static void answer_with_a_changed_byte_is_refused(void **state)
{
	static const struct verdict zero;
	struct fixture *f = *state;
	struct message m = seal(f);
	struct verdict v = verdict_make(VERDICT_INVALID_CREDENTIALS), back;
	struct buf sealed = BUF_INIT(LIMIT_ANSWER);

	assert_int_equal(envelope_seal_answer(m.answer_key, &m.head, USER, &v, &sealed), 0);
	for (size_t i = 0; i < sealed.len; i++) {
		sealed.data[i] ^= 0x80;
		memset(&back, 0xff, sizeof(back));
		assert_int_equal(envelope_open_answer(m.answer_key, &m.head, USER, sealed.data, sealed.len, &back, NULL), -PTA_ECRYPTO);
		assert_memory_equal(&back, &zero, sizeof(back));
		sealed.data[i] ^= 0x80;
	}
	for (size_t len = 0; len < sealed.len; len++)
		assert_int_equal(envelope_open_answer(m.answer_key, &m.head, USER, sealed.data, len, &back, NULL), -PTA_ECRYPTO);
	buf_done(&sealed);
	buf_done(&m.sealed);
}

static void answer_about_something_else_is_refused(void **state)
{
	struct fixture *f = *state;
	struct message m = seal(f), other = seal(f);
	struct verdict v = verdict_make(VERDICT_SUCCESS), back;
	struct buf sealed = BUF_INIT(LIMIT_ANSWER);
	struct envelope_head head = m.head;
	struct err err;

	/* The key of another number. */
	assert_memory_not_equal(m.answer_key, other.answer_key, ENVELOPE_ANSWER_KEY_LEN);
	assert_int_equal(envelope_seal_answer(other.answer_key, &m.head, USER, &v, &sealed), 0);
	assert_int_equal(envelope_open_answer(m.answer_key, &m.head, USER, sealed.data, sealed.len, &back, &err), -PTA_ECRYPTO);
	/* Swapped user. */
	buf_reset(&sealed);
	assert_int_equal(envelope_seal_answer(m.answer_key, &m.head, "mallory@corp.example.com", &v, &sealed), 0);
	assert_int_equal(envelope_open_answer(m.answer_key, &m.head, USER, sealed.data, sealed.len, &back, &err), -PTA_EPROTO);
	assert_non_null(strstr(err.text, "another user"));
	assert_int_equal(back.code, VERDICT_UNAVAILABLE);
	/* Another attempt, sealed anew under the same key. */
	buf_reset(&sealed);
	head.attempt = 2;
	assert_int_equal(envelope_seal_answer(m.answer_key, &head, USER, &v, &sealed), 0);
	assert_int_equal(envelope_open_answer(m.answer_key, &m.head, USER, sealed.data, sealed.len, &back, &err), -PTA_EPROTO);
	assert_non_null(strstr(err.text, "another attempt"));
	/* Another request, likewise. */
	buf_reset(&sealed);
	head = m.head;
	memcpy(head.request_id, ID2, sizeof(ID2));
	assert_int_equal(envelope_seal_answer(m.answer_key, &head, USER, &v, &sealed), 0);
	assert_int_equal(envelope_open_answer(m.answer_key, &m.head, USER, sealed.data, sealed.len, &back, &err), -PTA_EPROTO);
	assert_non_null(strstr(err.text, "another request"));
	buf_done(&sealed);
	buf_done(&m.sealed);
	buf_done(&other.sealed);
}

static void answers_key_depends_on_the_request_id(void **state)
{
	struct fixture *f = *state;
	struct envelope_sender *sender;
	struct message m = seal(f), other;
	struct envelope_head head = m.head;

	/* The same number of another context with another id: nothing is shared. */
	assert_int_equal(envelope_sender_new(envelope_receiver_public(f->receiver), &sender), 0);
	memcpy(head.request_id, ID2, sizeof(ID2));
	other = seal_with(sender, &head);
	assert_int_equal(other.seq, m.seq);
	assert_memory_not_equal(other.answer_key, m.answer_key, ENVELOPE_ANSWER_KEY_LEN);
	envelope_sender_free(sender);
	buf_done(&m.sealed);
	buf_done(&other.sealed);
}

/* Bodies that only a broken agent could seal: a good one, changed by one byte or cut. */
static void malformed_answer_bodies_are_refused(void **state)
{
	static const struct {
		const char *what;
		size_t at;
		uint8_t byte;
	} rows[] = {
		{"request id too short", 1, 31},
		{"request id not text", 2, 0xff},
		{"unknown flag", 2 + 32 + 4 + 32 + 2, 0x04},
		{"DC longer than allowed", 2 + 32 + 4 + 32 + 3 + 4, 0x01},
		{"control character in the DC", 2 + 32 + 4 + 32 + 3 + 4 + 2, '\n'},
		{"bytes in the padding", 255, 1},
	};
	const struct envelope_head head = {.request_id = ID1, .attempt = 1};
	struct verdict v = verdict_make(VERDICT_INVALID_CREDENTIALS), back;

	(void)state;
	memcpy(v.dc, "dc1", 4);
	for (size_t i = 0; i <= PTA_ARRAY_SIZE(rows); i++) {
		struct buf plain = BUF_INIT(ENVELOPE_ANSWER_PLAIN_MAX);

		envelope_body_put_answer(&plain, &head, USER, &v);
		assert_int_equal(plain.len, 256);
		if (i == PTA_ARRAY_SIZE(rows)) {
			assert_int_equal(envelope_body_parse_answer(plain.data, plain.len, &head, USER, &back, NULL), 0);
			for (size_t len = 0; len < plain.len; len++)
				assert_int_equal(envelope_body_parse_answer(plain.data, len, &head, USER, &back, NULL), -PTA_EPROTO);
		} else {
			plain.data[rows[i].at] = rows[i].byte;
			if (envelope_body_parse_answer(plain.data, plain.len, &head, USER, &back, NULL) != -PTA_EPROTO)
				fail_msg("%s", rows[i].what);
		}
		buf_done(&plain);
	}
}

static void verdicts_that_contradict_themselves_are_refused(void **state)
{
	static const struct {
		struct verdict v;
		bool good;
	} rows[] = {
		{{.code = VERDICT_SUCCESS, .password_proved = true}, true},
		{{.code = VERDICT_ACCOUNT_LOCKED}, true},
		{{.code = VERDICT_ACCOUNT_RESTRICTED, .password_proved = true}, true},
		{{.code = VERDICT_SUCCESS}, false}, /* zeroed proof never means success */
		{{.code = VERDICT_UNAVAILABLE, .password_proved = true}, false},
		{{.code = VERDICT_INVALID_CREDENTIALS, .password_proved = true}, false},
		{{.code = VERDICT_INVALID_REQUEST, .password_proved = true}, false},
		{{.code = VERDICT_THROTTLED, .password_proved = true}, false},
		{{.code = VERDICT_CODES}, false},
		{{.code = VERDICT_UNAVAILABLE, .reason = REASON_CODES}, false},
	};
	struct fixture *f = *state;
	struct message m = seal(f);

	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++) {
		struct buf sealed = BUF_INIT(LIMIT_ANSWER);
		struct verdict back;

		assert_int_equal(envelope_seal_answer(m.answer_key, &m.head, USER, &rows[i].v, &sealed), 0);
		if (envelope_open_answer(m.answer_key, &m.head, USER, sealed.data, sealed.len, &back, NULL) != (rows[i].good ? 0 : -PTA_EPROTO))
			fail_msg("row %zu", i);
		buf_done(&sealed);
	}
	buf_done(&m.sealed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(request_is_opened_by_the_agent_it_was_sealed_for),
		TEST(longest_values_fit_and_longer_ones_do_not),
		TEST(length_does_not_tell_the_passwords_length),
		TEST(every_changed_byte_is_noticed),
		TEST(every_changed_field_of_the_head_is_noticed),
		TEST(another_agents_key_opens_nothing),
		TEST(a_senders_key_of_small_order_is_refused),
		TEST(no_room_for_the_sealed_bytes_leaves_no_key),
		TEST(expired_request_is_refused),
		TEST(replayed_request_is_refused),
		TEST(reordered_requests_open_once_within_the_window),
		TEST(a_forged_number_far_ahead_does_not_move_the_window),
		TEST(contexts_are_counted_and_new_ones_refused_when_full),
		TEST(malformed_bodies_are_refused),
		TEST(answer_comes_back),
		TEST(success_and_failure_have_the_same_length),
		TEST(answer_with_a_changed_byte_is_refused),
		TEST(answer_about_something_else_is_refused),
		TEST(answers_key_depends_on_the_request_id),
		TEST(malformed_answer_bodies_are_refused),
		TEST(verdicts_that_contradict_themselves_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
