/* Registration tokens. What is accepted is encoded to the same line again. The fuzzer cannot guess a checksum, so inputs
 * that begin with a zero byte are bodies that get theirs here. */
#include <openssl/sha.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(const char *text, size_t len)
{
	struct buf again = BUF_INIT(LIMIT_TOKEN);
	struct token token;

	if (token_decode(text, len, &token, NULL) == 0) {
		token_encode(&again, &token);
		if (!buf_ok(&again) || !memmem(text, len, again.data, again.len))
			abort();
	}
	buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf body = BUF_INIT(65536), text = BUF_INIT(65536);
	uint8_t hash[32];

	if (size == 0 || data[0] != 0) {
		try_text((const char *)data, size);
		return 0;
	}
	SHA256(data + 1, size - 1, hash);
	buf_put(&body, data + 1, size - 1);
	buf_put(&body, hash, 4);
	buf_puts(&text, "pta1.");
	encode_base64url(&text, body.data, body.len);
	if (buf_ok(&text))
		try_text((const char *)text.data, text.len);
	buf_done(&body);
	buf_done(&text);
	return 0;
}
