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
ROUND(key, LIMIT_KEY_BODY)

static void round_poll(const uint8_t *data, size_t len)
{
	struct message_list results = MESSAGE_LIST(LIMIT_POLL_BODY);
	struct buf out = BUF_INIT(LIMIT_POLL_BODY);
	struct message_poll m;

	/* There is one way only to write it. */
	if (message_decode_poll(data, len, &m, NULL) == 0) {
		for (size_t i = 0; i < m.n; i++)
			message_result_item(&results, &m.results[i]);
		message_encode_poll(&out, &m, &results);
		if (!buf_ok(&out) || out.len != len || memcmp(out.data, data, len))
			abort();
		message_poll_done(&m);
	}
	message_list_done(&results);
	buf_done(&out);
}

static void round_batch(const uint8_t *data, size_t len)
{
	struct message_list requests = MESSAGE_LIST(LIMIT_BATCH_BODY), refused = MESSAGE_LIST(LIMIT_BATCH_BODY);
	struct buf out = BUF_INIT(LIMIT_BATCH_BODY);
	struct message_batch m;

	if (message_decode_batch(data, len, &m, NULL) == 0) {
		for (size_t i = 0; i < m.n; i++)
			message_request_item(&requests, &m.requests[i]);
		for (size_t i = 0; i < m.nrefused; i++)
			message_refused_item(&refused, m.refused[i].request_id, m.refused[i].attempt, m.refused[i].error);
		message_encode_batch(&out, &requests, &refused);
		if (!buf_ok(&out) || out.len != len || memcmp(out.data, data, len))
			abort();
		message_batch_done(&m);
	}
	message_list_done(&requests);
	message_list_done(&refused);
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const rounds[])(const uint8_t *, size_t) = {round_register, round_certificate, round_renew, round_key, round_poll, round_batch};

	if (size > 0 && data[0] >= '0' && (size_t)(data[0] - '0') < PTA_ARRAY_SIZE(rounds))
		rounds[data[0] - '0'](data + 1, size - 1);
	return 0;
}
