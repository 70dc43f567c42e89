/* The bytes are what a KDC may have sent, or libkrb5 made: a message, or e-data. */
#include <stdlib.h>

#include "directory/krb5_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum krb5_message_kind kind = krb5_message_kind(data, size);
	enum krb5_message_proof proof;
	uint32_t least, most, status;
	int32_t type;
	int r;

	r = krb5_message_proof(data, size, &proof, &type);
	if (r == 0 && (kind != KRB5_MESSAGE_AS_REQ || (proof == KRB5_PROOF_TIMESTAMP && type != 2) || (proof == KRB5_PROOF_NONE && type != 0)))
		abort();
	status = krb5_message_nt_status(data, size);
	if (status && (status >> 16 != 0xc000 || kind != KRB5_MESSAGE_OTHER))
		abort();
	if (krb5_message_iterations(data, size, &least, &most) == 0 && (least > most || kind != KRB5_MESSAGE_OTHER))
		abort();
	if (krb5_message_reply_iterations(data, size, &least, &most) == 0 && (least > most || kind != KRB5_MESSAGE_AS_REP))
		abort();
	return 0;
}
