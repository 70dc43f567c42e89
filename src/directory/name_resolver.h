/* Finds the one entry that a typed name means, by a search with the agent's own identity: before a password is sent
 * anywhere, and so that a success is about that entry. Worker threads of its own, a persistent connection each, to a
 * controller of the section's pool. Nothing of the user's password is sent, so a search that fails is tried at another
 * controller, within half of the time that the job has. A small cache with a short life holds names, never outcomes. */
#ifndef PTA_DIRECTORY_NAME_RESOLVER_H
#define PTA_DIRECTORY_NAME_RESOLVER_H

#include "base/err.h"
#include "directory/dc_pool.h"
#include "directory/validator.h"

struct name_resolver;

/* The job's own again. r == 0: job->found is set. Else nothing was sent, and *verdict says how the job ends:
 * invalid_credentials (no entry, or more than one), or unavailable. On a thread of the resolver; or, for a name that is
 * remembered, on the thread that calls name_resolver_start(), within that call. It must not block. */
typedef void (*name_resolved)(void *arg, struct job *job, int r, const struct verdict *verdict);

/* conf has an identity. conf and pool must outlive it. Reads the CA file and the identity's password. */
PTA_MUST_CHECK int name_resolver_new(
	const struct directory_conf *conf, struct dc_pool *pool, name_resolved done, void *arg, struct name_resolver **out, struct err *err);
/* 0: done() was or will be called, once. -PTA_EBUSY (the queue is full, or no memory), -PTA_ECLOSED: not taken. Never
 * blocks. Thread-safe, but not beside name_resolver_stop(). */
PTA_MUST_CHECK int name_resolver_start(struct name_resolver *resolver, struct job *job);
/* The remembered entry may be of yesterday: a DN that moved is answered like a wrong password. Call it when a job of this
 * resolver ended as invalid_credentials; the next one with this name is searched for. Thread-safe, until freed. */
void name_resolver_forget(struct name_resolver *resolver, const struct credential *credential);
/* Waits for what is under way (each within its job's deadline); what is queued ends as unavailable/overloaded. Nothing is
 * taken any more. For an owner who may still have to forget names. */
void name_resolver_stop(struct name_resolver *resolver);
/* Stops it, then frees. NULL is allowed. */
void name_resolver_free(struct name_resolver *resolver);

#endif
