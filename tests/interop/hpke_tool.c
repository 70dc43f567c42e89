/* One end of an HPKE conversation in lines of text, for tests/interop/hpke.mjs. Byte strings are hex, "-" is the empty one.
 *   hpke_tool seal AEAD PUBLIC INFO   says "enc HEX";    then "seal AAD PLAIN" → "SEQ HEX"
 *   hpke_tool open AEAD INFO          says "public HEX"; then "enc HEX" → "ok", "open SEQ AAD SEALED" → "HEX" or "refused"
 * and on both "export CONTEXT LEN" → "HEX". Ends with its input; anything unexpected ends it with status 1. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "wire/hpke.h"

#define BYTES_MAX 8192

struct bytes {
	uint8_t data[BYTES_MAX];
	size_t len;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "hpke_tool: %s\n", what);
	exit(1);
}

static struct bytes unhex(const char *hex)
{
	struct bytes b = {.len = 0};

	if (!hex)
		fail("a word is missing");
	if (strcmp(hex, "-") == 0)
		return b;
	for (; hex[0] && hex[1] && b.len < BYTES_MAX; hex += 2) {
		char byte[3] = {hex[0], hex[1], '\0'}, *end;

		b.data[b.len++] = (uint8_t)strtoul(byte, &end, 16);
		if (*end)
			fail("not hex");
	}
	if (*hex)
		fail("odd or too long hex");
	return b;
}

static struct bytes unhex_key(const char *hex)
{
	struct bytes b = unhex(hex);

	if (b.len != HPKE_KEY_LEN)
		fail("a key must have 32 bytes");
	return b;
}

static void say(const char *before, const uint8_t *data, size_t len)
{
	char hex[2 * BYTES_MAX + 1];

	encode_hex(data, len, hex);
	printf("%s%s\n", before, len ? hex : "-");
	fflush(stdout);
}

struct end {
	enum hpke_aead aead;
	struct bytes info;
	struct hpke_key *key;
	struct hpke_sender *sender;
	struct hpke_receiver *receiver;
};

static void command_seal(const struct end *end, const char *aad_hex, const char *plain_hex)
{
	struct bytes aad = unhex(aad_hex), plain = unhex(plain_hex);
	uint8_t sealed[BYTES_MAX + HPKE_TAG_LEN];
	char number[32];
	uint64_t seq;

	if (!end->sender || plain.len > BYTES_MAX - HPKE_TAG_LEN || hpke_seal(end->sender, aad.data, aad.len, plain.data, plain.len, sealed, &seq) < 0)
		fail("sealing failed");
	snprintf(number, sizeof(number), "%" PRIu64 " ", seq);
	say(number, sealed, plain.len + HPKE_TAG_LEN);
}

static void command_enc(struct end *end, const char *hex)
{
	struct bytes enc = unhex_key(hex);

	if (!end->key || end->receiver || hpke_receiver_new(end->aead, end->key, enc.data, end->info.data, end->info.len, &end->receiver) < 0)
		fail("the receiver's setup failed");
	puts("ok");
	fflush(stdout);
}

static void command_open(const struct end *end, const char *seq, const char *aad_hex, const char *sealed_hex)
{
	struct bytes aad = unhex(aad_hex), sealed = unhex(sealed_hex);
	uint8_t plain[BYTES_MAX];

	if (!end->receiver || !seq)
		fail("open before enc");
	if (hpke_open(end->receiver, strtoull(seq, NULL, 10), aad.data, aad.len, sealed.data, sealed.len, plain) < 0) {
		puts("refused");
		fflush(stdout);
		return;
	}
	say("", plain, sealed.len - HPKE_TAG_LEN);
}

static void command_export(const struct end *end, const char *context_hex, const char *len_text)
{
	struct bytes context = unhex(context_hex);
	size_t len = len_text ? strtoul(len_text, NULL, 10) : 0;
	uint8_t value[HPKE_EXPORT_MAX];
	int r = -1;

	if (len > sizeof(value))
		fail("export is too long");
	if (end->sender)
		r = hpke_sender_export(end->sender, context.data, context.len, value, len);
	else if (end->receiver)
		r = hpke_receiver_export(end->receiver, context.data, context.len, value, len);
	if (r < 0)
		fail("exporting failed");
	say("", value, len);
}

static void command(struct end *end, char *line)
{
	const char *words[5] = {NULL};
	char *save = NULL;
	size_t n = 0;

	for (char *word = strtok_r(line, " \n", &save); word && n < PTA_ARRAY_SIZE(words); word = strtok_r(NULL, " \n", &save))
		words[n++] = word;
	if (n == 3 && strcmp(words[0], "seal") == 0)
		command_seal(end, words[1], words[2]);
	else if (n == 2 && strcmp(words[0], "enc") == 0)
		command_enc(end, words[1]);
	else if (n == 4 && strcmp(words[0], "open") == 0)
		command_open(end, words[1], words[2], words[3]);
	else if (n == 3 && strcmp(words[0], "export") == 0)
		command_export(end, words[1], words[2]);
	else
		fail("unknown command");
}

int main(int argc, char **argv)
{
	char line[8 * BYTES_MAX];
	struct end end = {0};

	if (argc == 5 && strcmp(argv[1], "seal") == 0) {
		struct bytes recipient = unhex_key(argv[3]);

		end.aead = (enum hpke_aead)strtoul(argv[2], NULL, 10);
		end.info = unhex(argv[4]);
		if (hpke_sender_new(end.aead, recipient.data, end.info.data, end.info.len, NULL, &end.sender) < 0)
			fail("the sender's setup failed");
		say("enc ", hpke_sender_enc(end.sender), HPKE_KEY_LEN);
	} else if (argc == 4 && strcmp(argv[1], "open") == 0) {
		end.aead = (enum hpke_aead)strtoul(argv[2], NULL, 10);
		end.info = unhex(argv[3]);
		if (hpke_key_new(&end.key) < 0)
			fail("making a key failed");
		say("public ", hpke_key_public(end.key), HPKE_KEY_LEN);
	} else {
		fail("usage: hpke_tool seal AEAD PUBLIC INFO | open AEAD INFO");
	}
	while (fgets(line, sizeof(line), stdin))
		command(&end, line);
	hpke_key_free(end.key);
	hpke_sender_free(end.sender);
	hpke_receiver_free(end.receiver);
	return 0;
}
