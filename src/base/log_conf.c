#include "base/log_conf.h"

#include <string.h>

#include "base/log_audit.h"

static const char *const format_names[] = {"logfmt", "json", NULL};

const struct conf_row log_conf_rows[] = {
	CONF_ENUM(struct log_conf, level, log_level_names, "info", "least urgent level that is written"),
	CONF_ENUM(struct log_conf, format, format_names, "logfmt", "how lines are written on standard error and into the audit file; the journal gets fields"),
	CONF_STRING(struct log_conf, audit, NULL, "file of the verdicts, or syslog:FACILITY; when unset, they are in the log with everything else"),
	{.key = NULL},
};

void log_conf_check(const struct log_conf *conf, const char *name, struct conf_errors *errors)
{
	if (!conf->audit || conf->audit[0] == '/')
		return;
	if (strncmp(conf->audit, "syslog:", 7) != 0)
		conf_errors_add(errors, name, 0, "[log] audit: \"%s\" must be an absolute path, or syslog: and a facility, as syslog:authpriv", conf->audit);
	else if (log_audit_facility(conf->audit + 7) < 0)
		conf_errors_add(errors, name, 0,
			"[log] audit: syslog has no facility \"%s\" for daemons: take auth, authpriv, daemon, user, or local0 to local7", conf->audit + 7);
}
