#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/secret.h"

/* The smallest arena that still has several pages, so that it is quickly full. */
#define SMALL_ARENA (1u << 16)

/* What an arena does to a process cannot be undone: each such test has a process of its own. */
static void in_child(void (*test)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		test();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* cmocka's assertions jump back into the parent's loop, which a child must not run. */
#define CHECK(condition)                                                                                                                                       \
	do {                                                                                                                                                   \
		if (!(condition)) {                                                                                                                            \
			fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #condition);                                                              \
			_exit(1);                                                                                                                              \
		}                                                                                                                                              \
	} while (0)

static void a_secret_is_a_copy_with_a_nul_behind(void **state)
{
	char text[] = "p\303\244ss";
	struct secret *secret = secret_dup(text, strlen(text));

	(void)state;
	secret_wipe(text, sizeof(text));
	assert_int_equal(text[0], 0);
	assert_non_null(secret);
	assert_int_equal(secret_len(secret), 5);
	assert_memory_equal(secret_bytes(secret), "p\303\244ss", 6);
	secret_data(secret)[0] = 'P';
	assert_memory_equal(secret_bytes(secret), "P\303\244ss", 6);
	secret_freep(&secret);
	assert_null(secret);
	secret_free(NULL);
}

static void empty_and_impossible_lengths_are_told_apart(void **state)
{
	struct secret *secret = secret_new(0);

	(void)state;
	assert_non_null(secret);
	assert_int_equal(secret_len(secret), 0);
	assert_int_equal(secret_bytes(secret)[0], 0);
	secret_free(secret);
	assert_null(secret_new(SIZE_MAX));
	secret_wipe(NULL, 0);
}

static void truncating_wipes_what_is_dropped(void **state)
{
	struct secret *secret = secret_dup("password\n", 9);

	(void)state;
	secret_truncate(secret, 20); /* never longer */
	assert_int_equal(secret_len(secret), 9);
	secret_truncate(secret, 4);
	assert_int_equal(secret_len(secret), 4);
	assert_memory_equal(secret_bytes(secret), "pass\0\0\0\0\0", 10);
	secret_free(secret);
}

static void secrets_compare_by_length_and_bytes(void **state)
{
	struct secret *a = secret_dup("one", 3), *b = secret_dup("one", 3), *c = secret_dup("two", 3), *d = secret_dup("on", 2);

	(void)state;
	assert_true(secret_equal(a, b));
	assert_false(secret_equal(a, c));
	assert_false(secret_equal(a, d));
	secret_free(a);
	secret_free(b);
	secret_free(c);
	secret_free(d);
}

static void fill_the_arena(void)
{
	struct secret *held[64];
	struct rlimit core;
	struct err err;
	size_t n = 0;

	CHECK(secret_arena_init(SMALL_ARENA, &err) == 0);
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
	CHECK(secret_arena_used() == 0);
	while (n < 64 && (held[n] = secret_new(4000)))
		CHECK(CRYPTO_secure_allocated(held[n++]));
	CHECK(n == SMALL_ARENA / 4096);
	CHECK(secret_arena_used() == SMALL_ARENA);
	/* Never from the normal heap instead, and nothing left where a TLS call would take it for its own error. */
	CHECK(!secret_new(1) && !secret_new(SMALL_ARENA * 2));
	CHECK(ERR_peek_error() == 0);
	secret_free(held[--n]);
	held[n] = secret_new(4000);
	CHECK(held[n] && secret_bytes(held[n])[0] == 0);
	for (size_t i = 0; i <= n; i++)
		secret_free(held[i]);
	CHECK(secret_arena_used() == 0);
}

static void a_full_arena_refuses_and_recovers(void **state)
{
	(void)state;
	in_child(fill_the_arena);
}

static void init_without_locked_memory(void)
{
	const struct rlimit none = {0};
	struct err err = {{0}};

	CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
	CHECK(setuid(65534) == 0 || geteuid() != 0); /* root may lock without limit */
	CHECK(secret_arena_init(SMALL_ARENA, &err) == -PTA_ENOMEM);
	CHECK(strstr(err.text, "RLIMIT_MEMLOCK") && strstr(err.text, "LimitMEMLOCK=65536"));
}

static void memory_that_cannot_be_locked_is_refused_with_the_limits_name(void **state)
{
	(void)state;
	in_child(init_without_locked_memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_secret_is_a_copy_with_a_nul_behind),
		cmocka_unit_test(empty_and_impossible_lengths_are_told_apart),
		cmocka_unit_test(truncating_wipes_what_is_dropped),
		cmocka_unit_test(secrets_compare_by_length_and_bytes),
		cmocka_unit_test(a_full_arena_refuses_and_recovers),
		cmocka_unit_test(memory_that_cannot_be_locked_is_refused_with_the_limits_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
