/* Holds a configuration file's man page and its example to the tables. */
#ifndef PTA_TESTS_MAN_CONF_H
#define PTA_TESTS_MAN_CONF_H

#include "base/ini_conf.h"

/* Every key of every section has its item with default, range and choices, and the page has no other. Fails the test. */
void man_conf_check(const char *page, const struct conf_section *sections);

/* Every key appears in the example, as "key = value" or, with a default, as "#key = default", and no other does. Fails the test. */
void man_conf_check_example(const char *example, const struct conf_section *sections);

#endif
