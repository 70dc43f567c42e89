/* What an envelope holds once its tag was right ('q' requests, 'a' answers), and whole sealed messages ('s'). What is accepted is laid
 * out to the same bytes again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/envelope_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request(const uint8_t *data, size_t size)
{
	struct buf again = BUF_INIT_WIPED(ENVELOPE_REQUEST_PLAIN_MAX);
	struct envelope_request r;

	if (envelope_body_parse_request(data, size, &r, NULL) == 0) {
		envelope_body_put_request(&again, &r);
		if (!buf_ok(&again) || again.len != size || memcmp(again.data, data, size))
			abort();
	}
	envelope_request_done(&r);
	buf_done(&again);
}

static void answer(const uint8_t *data, size_t size)
{
	const struct envelope_head head = {.request_id = "0123456789abcdef0123456789abcdef", .attempt = 1};
	struct buf again = BUF_INIT(ENVELOPE_ANSWER_PLAIN_MAX);
	struct verdict v;

	if (envelope_body_parse_answer(data, size, &head, "alice@corp", &v, NULL) == 0) {
		if (verdict_may_lead_to_session(&v) && !v.password_proved)
			abort();
		envelope_body_put_answer(&again, &head, "alice@corp", &v);
		if (!buf_ok(&again) || again.len != size || memcmp(again.data, data, size))
			abort();
	} else if (v.code != VERDICT_UNAVAILABLE || v.password_proved) {
		abort();
	}
	buf_done(&again);
}

static void sealed(const uint8_t *data, size_t size)
{
	static const uint8_t key[ENVELOPE_ANSWER_KEY_LEN], enc[ENVELOPE_ENC_LEN] = {9};
	static struct envelope_receiver *receiver;
	const struct envelope_head head = {.tenant = "t", .agent = "a", .attempt = 1, .expires_ms = 2};
	uint8_t answer_key[ENVELOPE_ANSWER_KEY_LEN];
	struct envelope_request r;
	struct verdict v;

	if (!receiver && envelope_receiver_new(&receiver) < 0)
		abort();
	if (envelope_open_request(receiver, &head, enc, size, data, size, 1, &r, answer_key, NULL) == 0 ||
		envelope_open_answer(key, &head, "alice@corp", data, size, &v, NULL) == 0)
		abort(); /* a forgery */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] == 'q')
		request(data + 1, size - 1);
	else if (size > 0 && data[0] == 'a')
		answer(data + 1, size - 1);
	else if (size > 0 && data[0] == 's')
		sealed(data + 1, size - 1);
	return 0;
}
