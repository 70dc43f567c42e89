/* `pta-agent check`: the keytab of a section: who may read it, and whose keys it has. */
#include <errno.h>
#include <krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/check_impl.h"
#include "directory/krb5_verify.h"

#define MAX_ENTRIES 64

/* RFC 3961 8, RFC 4757: of no use, or of weak use, in a domain of today. */
static bool is_weak(krb5_enctype type)
{
	switch (type) {
	case ENCTYPE_AES128_CTS_HMAC_SHA1_96:
	case ENCTYPE_AES256_CTS_HMAC_SHA1_96:
	case ENCTYPE_AES128_CTS_HMAC_SHA256_128:
	case ENCTYPE_AES256_CTS_HMAC_SHA384_192:
	case ENCTYPE_CAMELLIA128_CTS_CMAC:
	case ENCTYPE_CAMELLIA256_CTS_CMAC:
		return false;
	default:
		return true;
	}
}

struct keys {
	char list[700]; /* "AGENT1$@REALM kvno 2 (aes256-cts…, …), …" */
	char last[300]; /* principal and kvno of the entry before */
	size_t n;
	bool strong;   /* one of them is AES */
	char *account; /* the first of one component in a realm of the section */
};

static void add_key(struct keys *keys, const char *name, unsigned kvno, krb5_enctype type)
{
	char head[300], etype[64];
	size_t used = strlen(keys->list);

	if (krb5_enctype_to_name(type, 1, etype, sizeof(etype)))
		snprintf(etype, sizeof(etype), "type %d", (int)type);
	snprintf(head, sizeof(head), "%.200s kvno %u", name, kvno);
	if (strcmp(head, keys->last) == 0 && used > 0) {
		/* In the same parentheses. */
		used--;
		snprintf(keys->list + used, sizeof(keys->list) - used, ", %s)", etype);
	} else {
		snprintf(keys->list + used, sizeof(keys->list) - used, "%s%s (%s)", used ? ", " : "", head, etype);
	}
	memcpy(keys->last, head, sizeof(head));
}

static krb5_error_code read_keys(krb5_context context, const struct directory_conf *conf, krb5_keytab keytab, struct keys *keys)
{
	krb5_keytab_entry entry;
	krb5_kt_cursor cursor;
	krb5_error_code code = krb5_kt_start_seq_get(context, keytab, &cursor);

	if (code)
		return code;
	while (keys->n < MAX_ENTRIES && (code = krb5_kt_next_entry(context, keytab, &entry, &cursor)) == 0) {
		krb5_const_principal p = entry.principal;
		char *name = NULL;

		keys->n++;
		code = krb5_unparse_name(context, p, &name);
		if (!code) {
			add_key(keys, name, (unsigned)entry.vno, entry.key.enctype);
			keys->strong = keys->strong || !is_weak(entry.key.enctype);
			if (!keys->account && p->length == 1 && directory_conf_allows_realm(conf, p->realm.data, p->realm.length))
				keys->account = strdup(name);
		}
		krb5_free_unparsed_name(context, name);
		krb5_free_keytab_entry_contents(context, &entry);
		if (code)
			break;
	}
	krb5_kt_end_seq_get(context, keytab, &cursor);
	return code == KRB5_KT_END ? 0 : code;
}

/* *r: not 0 when there are none. */
static void load_keys(const struct directory_conf *conf, struct keys *keys, int *r, struct err *err)
{
	krb5_context context;
	krb5_keytab keytab = NULL;
	krb5_error_code code = krb5_init_context(&context);

	if (code) {
		*r = krb5_login_error(NULL, code, "libkrb5 gives no context", err);
		return;
	}
	code = krb5_kt_resolve(context, conf->keytab, &keytab);
	if (!code)
		code = read_keys(context, conf, keytab, keys);
	*r = code ? krb5_login_error(context, code, conf->keytab, err) : 0;
	if (keytab)
		krb5_kt_close(context, keytab);
	krb5_free_context(context);
}

/* Whoever reads a keytab can be the agent, and make tickets that say that anybody signed in. */
bool check_secret_file(const struct directory_check *d, enum severity severity, const char *what, const char *path)
{
	struct err err;
	struct stat st;
	char mend[300];
	uid_t uid;
	gid_t gid;

	if (stat(path, &st) < 0) {
		err_set_errno(&err, 0, errno, "%s", path);
		findings_fault(d->findings, severity, what, "put the file of the agent's account there, readable by the agent's user only", "%s", err.text);
		return false;
	}
	/* That there is no such user was told before. */
	if (agent_conf_owner(d->agent, &uid, &gid, &err) < 0)
		uid = (uid_t)-1;
	if (st.st_mode & 077) {
		snprintf(mend, sizeof(mend), "chmod 0600 %.250s", path);
		findings_warn(
			d->findings, what, mend, "%s has mode %04o: others than its owner may read the agent's secret", path, (unsigned)st.st_mode & 07777);
	}
	if (uid != (uid_t)-1 && uid != 0 && st.st_uid != uid && !((st.st_mode & 040) && st.st_gid == gid) && !(st.st_mode & 04)) {
		snprintf(mend, sizeof(mend), "chown %lu %.250s", (unsigned long)uid, path);
		findings_fault(d->findings, severity, what, mend, "%s belongs to user %lu; the agent runs as user %lu, who cannot read it", path,
			(unsigned long)st.st_uid, (unsigned long)uid);
	}
	return true;
}

static const char export_mend[] =
	"export it again, with AES keys of the agent's account in this domain: ktpass /out … /princ … /mapuser … /crypto AES256-SHA1, or adcli, or net ads";

void check_keytab(struct directory_check *d)
{
	enum severity severity = check_keytab_severity(d->conf);
	struct keys keys = {.n = 0};
	char what[FINDING_WHAT];
	struct err err;
	int r;

	snprintf(what, sizeof(what), "%.255s keytab", d->label);
	if (!check_secret_file(d, severity, what, d->conf->keytab))
		return;
	load_keys(d->conf, &keys, &r, &err);
	if (r < 0 || keys.n == 0) {
		if (r == 0)
			err_set(&err, r, "%s has no keys", d->conf->keytab);
		findings_fault(d->findings, severity, what, export_mend, "%s", err.text);
		free(keys.account);
		return;
	}
	if (krb5_verify_service(d->conf, &d->service, &err) < 0) {
		d->service = NULL;
		findings_fault(d->findings, severity, what, export_mend, "%s; its keys are of %s", err.text, keys.list);
	} else if (!keys.strong) {
		findings_warn(d->findings, what, export_mend, "%s has no AES key: %s", d->conf->keytab, keys.list);
	} else {
		findings_good(d->findings, what, "%s: %s", d->conf->keytab, keys.list);
	}
	/* Accounts log on by their own names (AGENT1$, svc-pta); by a service's name only where it is their UPN, too. */
	if (check_identity_in_keytab(d->conf))
		d->client = strdup(d->conf->identity);
	else if (keys.account)
		d->client = strdup(keys.account);
	else if (d->service) {
		d->client = strdup(d->service);
		d->service_only = true;
	}
	free(keys.account);
}
