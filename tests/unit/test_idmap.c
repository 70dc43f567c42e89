#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "service/idmap.h"

struct thing {
	char id[16];
	struct idmap_node node;
};

static void things_are_found_after_growth_and_gone_after_removal(void **state)
{
	static struct thing things[1000];
	struct idmap map;

	(void)state;
	assert_int_equal(idmap_init(&map), 0);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(things); i++) {
		snprintf(things[i].id, sizeof(things[i].id), "thing-%zu", i);
		idmap_put(&map, things[i].id, &things[i].node);
	}
	for (size_t i = 0; i < PTA_ARRAY_SIZE(things); i++)
		assert_ptr_equal(idmap_find(&map, things[i].id), &things[i].node);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(things); i += 2)
		idmap_remove(&map, &things[i].node);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(things); i++)
		assert_ptr_equal(idmap_find(&map, things[i].id), i % 2 ? &things[i].node : NULL);
	assert_int_equal(map.n, PTA_ARRAY_SIZE(things) / 2);
	assert_null(idmap_find(&map, "thing"));
	idmap_done(&map);
}

static void a_walk_that_removes_sees_everything_once(void **state)
{
	static struct thing things[200];
	struct idmap map;
	struct idmap_node *next;
	size_t seen = 0;

	(void)state;
	assert_int_equal(idmap_init(&map), 0);
	assert_null(idmap_next(&map, NULL));
	for (size_t i = 0; i < PTA_ARRAY_SIZE(things); i++) {
		snprintf(things[i].id, sizeof(things[i].id), "%zu", i);
		idmap_put(&map, things[i].id, &things[i].node);
	}
	for (struct idmap_node *node = idmap_next(&map, NULL); node; node = next) {
		next = idmap_next(&map, node);
		idmap_remove(&map, node);
		seen++;
	}
	assert_int_equal(seen, PTA_ARRAY_SIZE(things));
	assert_int_equal(map.n, 0);
	idmap_done(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(things_are_found_after_growth_and_gone_after_removal),
		cmocka_unit_test(a_walk_that_removes_sees_everything_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
