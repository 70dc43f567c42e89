/* Seals sign-in requests for agents. One per event thread: it keeps an HPKE sender per agent key for as long as that
 * key lives, since every sender costs the agent a context. Not thread-safe; never blocks. */
#ifndef PTA_SERVICE_SEALER_H
#define PTA_SERVICE_SEALER_H

#include <stddef.h>

#include "service/dispatch.h"
#include "wire/envelope.h"

struct sealer;

PTA_MUST_CHECK int sealer_new(struct sealer **out);
void sealer_free(struct sealer *sealer);
/* Fills request->slots with one copy per candidate whose key can be sealed for (-PTA_ECRYPTO: none); id, tenant and expires_ms of the request are set already. The plaintext
 * stays the caller's. On an error no copy is left behind. */
PTA_MUST_CHECK int sealer_seal(
	struct sealer *sealer, const struct envelope_request *plain, const struct dispatch_candidate *candidates, size_t n, struct dispatch_request *request);
/* Drops the senders of keys that are gone. */
void sealer_prune(struct sealer *sealer, struct dispatch *dispatch);
size_t sealer_senders(const struct sealer *sealer);

#endif
