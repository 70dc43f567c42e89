#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "service/service_conf.h"
#include "man_conf.h"

static void the_man_page_has_every_key_and_no_other(void **state)
{
	(void)state;
	man_conf_check("man/pta-service.conf.5", service_conf_sections);
}

static void the_example_has_every_key_and_no_other(void **state)
{
	(void)state;
	man_conf_check_example("docs/pta-service.conf.example", service_conf_sections);
}

static void the_example_is_taken(void **state)
{
	struct service_conf *conf = NULL;
	struct conf_errors errors;

	(void)state;
	conf_errors_init(&errors);
	if (service_conf_load("docs/pta-service.conf.example", &conf, &errors) < 0)
		fail_msg("%s", (const char *)errors.text.data);
	conf_errors_done(&errors);
	service_conf_unref(conf);
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
