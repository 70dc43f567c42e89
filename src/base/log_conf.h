/* The [log] section, which both programs' configurations have. */
#ifndef PTA_BASE_LOG_CONF_H
#define PTA_BASE_LOG_CONF_H

#include "base/ini_conf.h"

struct log_conf {
	int level;   /* index into log_level_names */
	int format;  /* enum log_conf_format */
	char *audit; /* a path, or "syslog:FACILITY"; NULL: the main log */
};

enum log_conf_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

extern const struct conf_row log_conf_rows[];

/* What the rows cannot say. name: of the file. */
void log_conf_check(const struct log_conf *conf, const char *name, struct conf_errors *errors);

#endif
