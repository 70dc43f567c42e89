#include "service/registry.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/workpool.h"
#include "service/registry_impl.h"

#define MAX_WAITING 256 /* changes; peers can ask for some (register, renew) */

struct registry {
	pthread_mutex_t lock; /* guards the pointer `current` and taking a reference through it */
	struct registry_snapshot *current;
	_Atomic uint64_t generation;
	struct registry_db *db;	 /* the writer thread's */
	struct workpool *writer; /* one thread */
};

int registry_open(const char *path, struct registry **out, struct err *err)
{
	struct registry *registry = calloc(1, sizeof(*registry));
	int r;

	if (!registry)
		return err_set(err, -PTA_ENOMEM, "no memory to open the registry");
	pthread_mutex_init(&registry->lock, NULL);
	registry->generation = 1;
	r = registry_db_open(path, &registry->db, err);
	if (r == 0)
		r = registry_snapshot_load(registry->db, &registry->current, err);
	if (r == 0) {
		r = workpool_new("registry", 1, MAX_WAITING, &registry->writer);
		if (r < 0)
			err_set(err, r, "cannot start the registry's writer thread");
	}
	if (r < 0) {
		registry_close(registry);
		return r;
	}
	*out = registry;
	return 0;
}

void registry_close(struct registry *registry)
{
	if (!registry)
		return;
	workpool_free(registry->writer);
	registry_release(registry->current);
	registry_db_close(registry->db);
	pthread_mutex_destroy(&registry->lock);
	free(registry);
}

struct registry_snapshot *registry_acquire(struct registry *registry)
{
	struct registry_snapshot *s;

	pthread_mutex_lock(&registry->lock);
	s = registry->current;
	registry_snapshot_ref(s);
	pthread_mutex_unlock(&registry->lock);
	return s;
}

uint64_t registry_generation(const struct registry *registry)
{
	return atomic_load_explicit(&registry->generation, memory_order_acquire);
}

static void publish(struct registry *registry, struct registry_snapshot *next)
{
	struct registry_snapshot *before;

	pthread_mutex_lock(&registry->lock);
	before = registry->current;
	registry->current = next;
	/* After the pointer: whoever sees the new number gets the new snapshot. */
	atomic_fetch_add_explicit(&registry->generation, 1, memory_order_release);
	pthread_mutex_unlock(&registry->lock);
	registry_release(before);
}

/* The next snapshot is read before the commit, so that a change that cannot be published is not made. */
static int change(struct registry *registry, struct registry_call *call, struct registry_snapshot **next)
{
	int r;

	r = db_exec(registry->db, "BEGIN IMMEDIATE", NULL, NULL, &call->err);
	if (r < 0)
		return r;
	r = call->run(call, registry->db);
	if (r == 0)
		r = registry_snapshot_load(registry->db, next, &call->err);
	if (r == 0)
		r = db_exec(registry->db, "COMMIT", NULL, NULL, &call->err);
	if (r == 0)
		return 0;
	registry_release(*next);
	*next = NULL;
	/* SQLite may have rolled back by itself (disk full). When this fails, the next BEGIN does and says so. */
	if (!sqlite3_get_autocommit(registry->db->sql))
		sqlite3_exec(registry->db->sql, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

static void write_one(struct work *work)
{
	struct registry_call *call = MAIL_CONTAINER(work, struct registry_call, work);
	struct registry_snapshot *next = NULL;

	call->status = change(call->registry, call, &next);
	if (call->status == 0)
		publish(call->registry, next);
	mailbox_post(call->reply, &call->mail);
}

void registry_submit(struct registry *registry, struct registry_call *call)
{
	int r;

	call->registry = registry;
	call->work.run = write_one;
	r = workpool_submit(registry->writer, &call->work);
	if (r == 0)
		return;
	call->status = err_set(&call->err, r, "the registry's writer is %s", r == -PTA_EBUSY ? "busy: try again" : "shutting down");
	mailbox_post(call->reply, &call->mail);
}
