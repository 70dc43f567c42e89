#include "base/workpool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_THREADS 256

struct workpool {
	pthread_mutex_t lock; /* guards what follows, up to `closing` */
	struct work *first, **last;
	unsigned queued;
	bool closing;
	pthread_cond_t wake; /* work came, or closing */
	unsigned limit;
	unsigned nthreads;
	char name[13];
	pthread_t threads[];
};

static void *run(void *arg)
{
	struct workpool *pool = arg;
	struct work *work;

	pthread_setname_np(pthread_self(), pool->name);
	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while (!pool->first && !pool->closing)
			pthread_cond_wait(&pool->wake, &pool->lock);
		work = pool->first;
		if (!work)
			break;
		pool->first = work->next;
		if (!pool->first)
			pool->last = &pool->first;
		pool->queued--;
		pthread_mutex_unlock(&pool->lock);
		work->next = NULL;
		work->run(work);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int workpool_new(const char *name, unsigned threads, unsigned queue, struct workpool **out)
{
	struct workpool *pool;
	sigset_t all, before;
	int failed = 0;

	if (threads < 1 || threads > MAX_THREADS)
		return -PTA_EINVAL;
	pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->threads[0]));
	if (!pool)
		return -PTA_ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pool->last = &pool->first;
	pool->limit = queue;
	snprintf(pool->name, sizeof(pool->name), "%s", name);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!failed && pool->nthreads < threads) {
		failed = pthread_create(&pool->threads[pool->nthreads], NULL, run, pool);
		if (!failed)
			pool->nthreads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed) {
		workpool_free(pool);
		return -PTA_ENOMEM;
	}
	*out = pool;
	return 0;
}

int workpool_submit(struct workpool *pool, struct work *work)
{
	int r = 0;

	pthread_mutex_lock(&pool->lock);
	if (pool->closing) {
		r = -PTA_ECLOSED;
	} else if (pool->queued >= pool->limit) {
		r = -PTA_EBUSY;
	} else {
		work->next = NULL;
		*pool->last = work;
		pool->last = &work->next;
		pool->queued++;
		pthread_cond_signal(&pool->wake);
	}
	pthread_mutex_unlock(&pool->lock);
	return r;
}

void workpool_free(struct workpool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->nthreads; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}
