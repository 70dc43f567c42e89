#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/workpool.h"

#define WORKS 1000

struct counted {
	struct work work; /* first: run() gets this */
	_Atomic unsigned *runs;
};

static void count(struct work *work)
{
	atomic_fetch_add(((struct counted *)work)->runs, 1);
}

static void everything_queued_runs_once_before_free_returns(void **state)
{
	static struct counted works[WORKS];
	_Atomic unsigned runs = 0;
	struct workpool *pool;

	(void)state;
	assert_int_equal(workpool_new("counting", 4, WORKS, &pool), 0);
	for (unsigned i = 0; i < WORKS; i++) {
		works[i] = (struct counted){.work.run = count, .runs = &runs};
		assert_int_equal(workpool_submit(pool, &works[i].work), 0);
	}
	workpool_free(pool);
	assert_int_equal(runs, WORKS);
	workpool_free(NULL);
}

struct blocking {
	struct work work;
	struct workpool *pool;
	sem_t started, go;
	int status;
};

static void block(struct work *work)
{
	struct blocking *b = (struct blocking *)work;

	sem_post(&b->started);
	sem_wait(&b->go);
}

static void a_full_queue_is_busy(void **state)
{
	struct blocking first = {.work.run = block};
	_Atomic unsigned runs = 0;
	struct counted second = {.work.run = count, .runs = &runs}, third = second;
	struct workpool *pool;

	(void)state;
	sem_init(&first.started, 0, 0);
	sem_init(&first.go, 0, 0);
	assert_int_equal(workpool_new("busy", 1, 1, &pool), 0);
	assert_int_equal(workpool_submit(pool, &first.work), 0);
	sem_wait(&first.started); /* it is running, so the queue is empty again */
	assert_int_equal(workpool_submit(pool, &second.work), 0);
	assert_int_equal(workpool_submit(pool, &third.work), -PTA_EBUSY);
	sem_post(&first.go);
	workpool_free(pool);
	assert_int_equal(runs, 1);
}

static void *free_pool(void *arg)
{
	workpool_free(arg);
	return NULL;
}

static void submit_until_closed(struct work *work)
{
	struct blocking *b = (struct blocking *)work;
	_Atomic unsigned runs = 0;
	struct counted late = {.work.run = count, .runs = &runs};

	sem_post(&b->started);
	sem_wait(&b->go); /* the queue is full from here on, so `late` is never taken */
	do {
		b->status = workpool_submit(b->pool, &late.work);
	} while (b->status == -PTA_EBUSY);
}

static void a_closing_pool_takes_nothing_more(void **state)
{
	struct blocking b = {.work.run = submit_until_closed};
	_Atomic unsigned runs = 0;
	struct counted filler = {.work.run = count, .runs = &runs};
	pthread_t closer;

	(void)state;
	sem_init(&b.started, 0, 0);
	sem_init(&b.go, 0, 0);
	assert_int_equal(workpool_new("closing", 1, 1, &b.pool), 0);
	assert_int_equal(workpool_submit(b.pool, &b.work), 0);
	sem_wait(&b.started);
	assert_int_equal(workpool_submit(b.pool, &filler.work), 0);
	sem_post(&b.go);
	assert_int_equal(pthread_create(&closer, NULL, free_pool, b.pool), 0);
	pthread_join(closer, NULL);
	assert_int_equal(b.status, -PTA_ECLOSED);
	assert_int_equal(runs, 1);
}

struct masked {
	struct work work;
	sigset_t mask;
};

static void read_mask(struct work *work)
{
	pthread_sigmask(SIG_BLOCK, NULL, &((struct masked *)work)->mask);
}

static void pool_threads_leave_signals_to_the_main_thread(void **state)
{
	struct masked m = {.work.run = read_mask};
	struct workpool *pool;
	sigset_t own;

	(void)state;
	assert_int_equal(workpool_new("signals", 1, 1, &pool), 0);
	assert_int_equal(workpool_submit(pool, &m.work), 0);
	workpool_free(pool);
	assert_int_equal(sigismember(&m.mask, SIGTERM), 1);
	pthread_sigmask(SIG_BLOCK, NULL, &own);
	assert_int_equal(sigismember(&own, SIGTERM), 0);
}

static void thread_numbers_out_of_range_are_refused(void **state)
{
	struct workpool *pool;

	(void)state;
	assert_int_equal(workpool_new("none", 0, 1, &pool), -PTA_EINVAL);
	assert_int_equal(workpool_new("many", 257, 1, &pool), -PTA_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_queued_runs_once_before_free_returns),
		cmocka_unit_test(a_full_queue_is_busy),
		cmocka_unit_test(a_closing_pool_takes_nothing_more),
		cmocka_unit_test(pool_threads_leave_signals_to_the_main_thread),
		cmocka_unit_test(thread_numbers_out_of_range_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
