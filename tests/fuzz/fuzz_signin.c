/* The body of a sign-in, of a client's ('c' first) or of the control socket's: what is accepted is inside its bounds, what is refused
 * leaves no password behind. */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "service/signin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct err arena_err;
	static bool ready;
	struct signin_input in;
	const char *field = NULL;
	struct err err = {0};
	bool control;

	if (!ready && secret_arena_init(1 << 20, &arena_err) < 0)
		abort();
	ready = true;
	if (size < 1 || size > LIMIT_SIGNIN_BODY)
		return 0;
	control = data[0] != 'c';
	if (signin_parse(data + 1, size - 1, control, &in, &field, &err) < 0) {
		if (in.password || !field || !err.text[0])
			abort();
		return 0;
	}
	if (!in.username[0] || !utf8_valid(in.username, strlen(in.username)) || !secret_len(in.password) || secret_len(in.password) > LIMIT_PASSWORD ||
		!in.tenant[0] == control || !ascii_printable(in.correlation_id, strlen(in.correlation_id)))
		abort();
	signin_input_done(&in);
	return 0;
}
