/* Getting and renewing the agent's certificate. The key is made here and never leaves; it is stored before the request
 * goes out, so that a lost reply can be asked for again with the same token. Blocks on disk and network, apart from
 * the two halves of a renewal that the queue client sends by itself. */
#ifndef PTA_AGENT_ENROLL_H
#define PTA_AGENT_ENROLL_H

#include "agent/agent_conf.h"
#include "agent/identity.h"
#include "base/buf.h"
#include "base/err.h"
#include "wire/token.h"

#define ENROLL_PATH_REGISTER "/v1/agent/register"
#define ENROLL_PATH_RENEW "/v1/agent/renew"
#define ENROLL_MAX_REQUEST 32768
#define ENROLL_MAX_ANSWER 32768
#define ENROLL_TIMEOUT_MS 30000

/* Registers with a token at `service` (NULL: the token's URL). An agent that has an identity of the same service shows
 * its certificate and so keeps its name. On 0 *out is the installed identity. -PTA_EPERM: the service refused. */
PTA_MUST_CHECK int enroll_register(const struct agent_conf *conf, const struct token *token, const char *service, struct identity **out, struct err *err);

/* Renews with the current certificate at `service`, blocking: for the command when no daemon runs. */
PTA_MUST_CHECK int enroll_renew(const struct agent_conf *conf, const struct identity *now, const char *service, struct identity **out, struct err *err);

/* The first half of a renewal: appends its request, with the key that waits in the state folder. */
PTA_MUST_CHECK int enroll_renew_request(const struct identity_dir *dir, const struct identity *now, struct buf *out, struct err *err);
/* The second half: checks the answer against that key and the CA, installs it, and gives the new identity. */
PTA_MUST_CHECK int enroll_renew_answer(const struct identity_dir *dir, const struct identity *now, const void *json, size_t len, struct identity **out, struct err *err);

#endif
