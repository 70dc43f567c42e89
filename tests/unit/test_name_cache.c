#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "directory/name_cache.h"

static int64_t now_us;

static void pass(int64_t us)
{
	now_us += us;
	clock_fake(now_us, -1);
}

static int setup(void **state)
{
	struct name_cache *cache;

	now_us = 1000000000;
	clock_fake(now_us, -1);
	if (name_cache_new(true, &cache) < 0)
		return -1;
	*state = cache;
	return 0;
}

static int teardown(void **state)
{
	name_cache_free(*state);
	clock_fake(-1, -1);
	return 0;
}

static struct credential of(enum credential_form form, const char *name)
{
	struct credential credential = {.form = form};

	snprintf(credential.name, sizeof(credential.name), "%s", name);
	return credential;
}

static void put(struct name_cache *cache, const char *name, const char *dn, const char *account)
{
	struct credential credential = of(CREDENTIAL_UPN, name);
	struct name_found found = {0};

	snprintf(found.dn, sizeof(found.dn), "%s", dn);
	snprintf(found.account, sizeof(found.account), "%s", account);
	name_cache_put(cache, &credential, &found);
}

/* The DN, or "" when it is not known. */
static const char *get(struct name_cache *cache, const char *name)
{
	static struct name_found found;
	struct credential credential = of(CREDENTIAL_UPN, name);

	return name_cache_get(cache, &credential, &found) ? found.dn : "";
}

static void a_name_is_known_for_a_minute(void **state)
{
	struct credential credential = of(CREDENTIAL_UPN, "a@x.com");
	struct name_found found;

	assert_string_equal(get(*state, "a@x.com"), "");
	put(*state, "a@x.com", "CN=A", "a");
	assert_true(name_cache_get(*state, &credential, &found));
	assert_string_equal(found.dn, "CN=A");
	assert_string_equal(found.account, "a");
	pass(NAME_CACHE_US - 1);
	assert_string_equal(get(*state, "a@x.com"), "CN=A");
	pass(1);
	assert_string_equal(get(*state, "a@x.com"), "");
	assert_int_equal(name_cache_count(*state), 0);
}

static void use_does_not_lengthen_its_life(void **state)
{
	put(*state, "a@x.com", "CN=A", "");
	for (int i = 0; i < 60; i++) {
		assert_string_equal(get(*state, "a@x.com"), "CN=A");
		pass(1000000);
	}
	assert_string_equal(get(*state, "a@x.com"), "");
}

static void a_newer_answer_replaces_the_older(void **state)
{
	put(*state, "a@x.com", "CN=A", "a");
	pass(30000000);
	put(*state, "a@x.com", "CN=B", "b");
	assert_int_equal(name_cache_count(*state), 1);
	pass(59000000);
	assert_string_equal(get(*state, "a@x.com"), "CN=B");
}

static void names_are_folded_in_ascii_only(void **state)
{
	struct credential netbios = of(CREDENTIAL_NETBIOS, "a@x.com");
	struct name_cache *exact;
	struct name_found found;

	put(*state, "Anna\xc3\x84@X.com", "CN=A", "");
	assert_string_equal(get(*state, "aNNA\xc3\x84@x.COM"), "CN=A");
	assert_string_equal(get(*state, "anna\xc3\xa4@x.com"), "");
	assert_string_equal(get(*state, "anna\xc3\x84@x.co"), "");
	assert_string_equal(get(*state, "anna\xc3\x84@x.com2"), "");
	put(*state, "a@x.com", "CN=A", "");
	assert_false(name_cache_get(*state, &netbios, &found));

	assert_int_equal(name_cache_new(false, &exact), 0);
	put(exact, "Anna@x.com", "CN=A", "");
	assert_string_equal(get(exact, "anna@x.com"), "");
	assert_string_equal(get(exact, "Anna@x.com"), "CN=A");
	name_cache_free(exact);
}

static void a_name_can_be_forgotten(void **state)
{
	struct credential a = of(CREDENTIAL_UPN, "A@x.com"), c = of(CREDENTIAL_UPN, "c@x.com");

	put(*state, "a@x.com", "CN=A", "");
	put(*state, "b@x.com", "CN=B", "");
	name_cache_forget(*state, &a);
	name_cache_forget(*state, &c);
	assert_string_equal(get(*state, "a@x.com"), "");
	assert_string_equal(get(*state, "b@x.com"), "CN=B");
}

static void the_oldest_makes_room(void **state)
{
	char name[64];

	for (unsigned i = 0; i < NAME_CACHE_MAX + 10; i++) {
		snprintf(name, sizeof(name), "user%u@x.com", i);
		put(*state, name, name, "");
		pass(1);
	}
	assert_int_equal(name_cache_count(*state), NAME_CACHE_MAX);
	for (unsigned i = 0; i < NAME_CACHE_MAX + 10; i++) {
		snprintf(name, sizeof(name), "user%u@x.com", i);
		assert_string_equal(get(*state, name), i < 10 ? "" : name);
	}
}

static void the_longest_of_all_is_kept_whole(void **state)
{
	struct name_found found = {0}, back;
	struct credential credential = {.form = CREDENTIAL_UPN};

	memset(credential.name, 'n', sizeof(credential.name) - 1);
	memset(found.dn, 'd', sizeof(found.dn) - 1);
	memset(found.account, 'a', sizeof(found.account) - 1);
	name_cache_put(*state, &credential, &found);
	assert_true(name_cache_get(*state, &credential, &back));
	assert_memory_equal(&found, &back, sizeof(found));
}

static void *hammer(void *arg)
{
	struct name_cache *cache = arg;
	struct name_found found = {.dn = "CN=A", .account = "a"}, back;

	for (unsigned i = 0; i < 2000; i++) {
		struct credential credential = {.form = CREDENTIAL_UPN};

		snprintf(credential.name, sizeof(credential.name), "user%u@x.com", i % 50);
		if (i % 3 == 0)
			name_cache_put(cache, &credential, &found);
		else if (i % 7 == 0)
			name_cache_forget(cache, &credential);
		else if (name_cache_get(cache, &credential, &back) && strcmp(back.dn, "CN=A") != 0)
			return arg;
	}
	return NULL;
}

static void threads_share_it(void **state)
{
	pthread_t threads[4];
	void *failed;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, *state), 0);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_true(name_cache_count(*state) <= 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_is_known_for_a_minute, setup, teardown),
		cmocka_unit_test_setup_teardown(use_does_not_lengthen_its_life, setup, teardown),
		cmocka_unit_test_setup_teardown(a_newer_answer_replaces_the_older, setup, teardown),
		cmocka_unit_test_setup_teardown(names_are_folded_in_ascii_only, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_can_be_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(the_oldest_makes_room, setup, teardown),
		cmocka_unit_test_setup_teardown(the_longest_of_all_is_kept_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_share_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
