#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "agent/agent_conf.h"
#include "man_conf.h"

static void the_man_page_has_every_key_and_no_other(void **state)
{
	(void)state;
	man_conf_check("man/pta-agent.conf.5", agent_conf_sections);
}

static void the_example_has_every_key_and_no_other(void **state)
{
	(void)state;
	man_conf_check_example("docs/pta-agent.conf.example", agent_conf_sections);
}

static void the_example_is_taken(void **state)
{
	struct agent_conf *conf = NULL;
	struct conf_errors errors;

	(void)state;
	conf_errors_init(&errors);
	if (agent_conf_load("docs/pta-agent.conf.example", &conf, &errors) < 0)
		fail_msg("%s", (const char *)errors.text.data);
	conf_errors_done(&errors);
	agent_conf_unref(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_man_page_has_every_key_and_no_other),
		cmocka_unit_test(the_example_has_every_key_and_no_other),
		cmocka_unit_test(the_example_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
