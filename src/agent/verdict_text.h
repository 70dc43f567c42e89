/* What a verdict means, in sentences for people. Pure; thread-safe. */
#ifndef PTA_AGENT_VERDICT_TEXT_H
#define PTA_AGENT_VERDICT_TEXT_H

#include "base/buf.h"
#include "wire/verdict.h"

/* Appends one or two sentences: what the directory says, and whether the password was looked at, or may have been sent. */
void verdict_text(const struct verdict *v, struct buf *out);

#endif
