/* Messages: the first byte picks the kind. What is accepted is encoded and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One round for the messages that are plain structs. */
#define ROUND(kind, limit)                                                                                                                                     \
	static void round_##kind(const uint8_t *json, size_t len)                                                                                              \
	{                                                                                                                                                      \
		struct message_##kind m, again;                                                                                                                \
		struct buf text = BUF_INIT(limit);                                                                                                             \
                                                                                                                                                               \
		if (message_decode_##kind(json, len, &m, NULL, NULL) == 0) {                                                                                   \
			message_encode_##kind(&text, &m);                                                                                                      \
			/* What came with few escapes may need more room with all of them. */                                                                  \
			if (buf_ok(&text) && (message_decode_##kind(text.data, text.len, &again, NULL, NULL) < 0 || memcmp(&m, &again, sizeof(m))))            \
				abort();                                                                                                                       \
		}                                                                                                                                              \
		buf_done(&text);                                                                                                                               \
	}

ROUND(register, LIMIT_REGISTER_BODY)
ROUND(certificate, LIMIT_CERTIFICATE_BODY)
ROUND(renew, LIMIT_REGISTER_BODY)
ROUND(key, LIMIT_POLL_BODY)
ROUND(poll, LIMIT_POLL_BODY)

static void round_batch(const uint8_t *json, size_t len)
{
	struct buf text = BUF_INIT(LIMIT_BATCH_BODY);
	struct message_batch m, again;

	if (message_decode_batch(json, len, &m, NULL, NULL) == 0) {
		message_batch_begin(&text);
		for (size_t i = 0; i < m.n; i++)
			message_batch_item(&text, &m.requests[i]);
		message_batch_end(&text);
		if (!buf_ok(&text) || message_decode_batch(text.data, text.len, &again, NULL, NULL) < 0 || again.n != m.n)
			abort();
		for (size_t i = 0; i < m.n; i++)
			if (m.requests[i].sealed_len != again.requests[i].sealed_len ||
				memcmp(m.requests[i].sealed, again.requests[i].sealed, m.requests[i].sealed_len) || m.requests[i].seq != again.requests[i].seq)
				abort();
		message_batch_done(&again);
		message_batch_done(&m);
	}
	buf_done(&text);
}

static void round_results(const uint8_t *json, size_t len)
{
	struct buf text = BUF_INIT(LIMIT_RESULTS_BODY);
	struct message_results m, again;

	if (message_decode_results(json, len, &m, NULL, NULL) == 0) {
		message_results_begin(&text, m.instance);
		for (size_t i = 0; i < m.n; i++)
			message_results_item(&text, &m.results[i]);
		message_results_end(&text);
		if (!buf_ok(&text) || message_decode_results(text.data, text.len, &again, NULL, NULL) < 0 || again.n != m.n)
			abort();
		for (size_t i = 0; i < m.n; i++)
			if (m.results[i].declined != again.results[i].declined || m.results[i].answer_len != again.results[i].answer_len)
				abort();
		message_results_done(&again);
		message_results_done(&m);
	}
	buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const rounds[])(const uint8_t *, size_t) = {
		round_register, round_certificate, round_renew, round_key, round_poll, round_batch, round_results};

	if (size > 0 && data[0] >= '0' && (size_t)(data[0] - '0') < PTA_ARRAY_SIZE(rounds))
		rounds[data[0] - '0'](data + 1, size - 1);
	return 0;
}
