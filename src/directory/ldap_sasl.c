#include "directory/ldap_sasl.h"

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <sasl/sasl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "directory/ldap_conn_internal.h"

/* What GSSAPI calls the strength of any sealing (RFC 4752 has no finer word for it). */
#define SEALED_SSF 56

int ldap_sasl_init(struct err *err)
{
	char **mechanisms = NULL;

	/* The first question for any SASL option loads the mechanisms. */
	if (ldap_get_option(NULL, LDAP_OPT_X_SASL_MECHLIST, &mechanisms) == LDAP_OPT_SUCCESS)
		for (; mechanisms && *mechanisms; mechanisms++)
			if (strcmp(*mechanisms, "GSSAPI") == 0)
				return 0;
	return err_set(err, -PTA_ENOENT, "Cyrus SASL has no GSSAPI mechanism: install its plugin (Debian: libsasl2-modules-gssapi-mit)");
}

/* The ticket's credential, and whether SASL has it. */
struct ticket {
	gss_cred_id_t cred;
	bool taken;
};

/* Nobody is asked for anything: the ticket says who binds, and the authorization identity is the same. This is also the one
 * moment at which the SASL context is there and has not begun: without a credential Cyrus would take one for each message,
 * and free the last one only. */
static int give_ticket(LDAP *ld, unsigned flags, void *defaults, void *in)
{
	struct ticket *ticket = defaults;

	(void)flags;
	for (sasl_interact_t *ask = in; ask->id != SASL_CB_LIST_END; ask++) {
		ask->result = ask->defresult ? ask->defresult : "";
		ask->len = (unsigned)strlen(ask->result);
	}
	if (ldap_set_option(ld, LDAP_OPT_X_SASL_GSS_CREDS, ticket->cred) != LDAP_OPT_SUCCESS)
		return LDAP_LOCAL_ERROR;
	ticket->taken = true;
	return LDAP_SUCCESS;
}

/* Per handle and whole, since what is not set comes from ldap.conf. */
static int set_options(struct ldap_conn *conn, bool bound)
{
	const int endpoint = LDAP_OPT_X_SASL_CBINDING_TLS_ENDPOINT, none = LDAP_OPT_X_SASL_CBINDING_NONE;
	bool tls = conn->tls_version[0] != '\0';
	/* AD refuses a sealed bind within TLS (MS-ADTS 5.1.1.1.2). */
	char properties[64];

	if (tls)
		snprintf(properties, sizeof(properties), "none,noanonymous,minssf=0,maxssf=0");
	else
		snprintf(properties, sizeof(properties), "none,noanonymous,minssf=%d,maxssf=65535", SEALED_SSF);
	/* The name is that of the URL; without this libldap would ask DNS for another. */
	if (ldap_set_option(conn->ld, LDAP_OPT_X_SASL_NOCANON, LDAP_OPT_ON) != LDAP_OPT_SUCCESS ||
		ldap_set_option(conn->ld, LDAP_OPT_X_SASL_SECPROPS, properties) != LDAP_OPT_SUCCESS ||
		ldap_set_option(conn->ld, LDAP_OPT_X_SASL_CBINDING, tls && bound ? &endpoint : &none) != LDAP_OPT_SUCCESS)
		return -PTA_ENOMEM;
	return 0;
}

/* libldap takes a success that comes before GSSAPI is through. The name is known once the server has proved itself. */
static bool is_mutual(LDAP *ld)
{
	char *name = NULL;
	bool known = ldap_get_option(ld, LDAP_OPT_X_SASL_USERNAME, &name) == LDAP_OPT_SUCCESS && name && name[0] != '\0';

	ldap_memfree(name);
	return known;
}

static bool is_sealed(LDAP *ld)
{
	ber_len_t ssf = 0;

	return ldap_get_option(ld, LDAP_OPT_X_SASL_SSF, &ssf) == LDAP_OPT_SUCCESS && ssf >= SEALED_SSF;
}

/* The server's text, which may be empty: never libldap's or SASL's own. */
static void note_refusal(LDAP *ld, int rc, struct ldap_sasl_answer *answer)
{
	char *message = NULL;

	answer->result = rc;
	if (ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &message) == LDAP_OPT_SUCCESS && message)
		snprintf(answer->diagnostic, sizeof(answer->diagnostic), "%s", message);
	ldap_memfree(message);
}

static int map(struct ldap_conn *conn, int rc, uint64_t deadline_us, struct ldap_sasl_answer *answer, struct err *err)
{
	char text[256];

	if (rc == LDAP_SUCCESS && is_mutual(conn->ld) && (conn->tls_version[0] || is_sealed(conn->ld)))
		return 0;
	conn->dead = true;
	if (rc == LDAP_SUCCESS)
		return err_set(err, -PTA_ECRYPTO, "the SASL GSSAPI bind was accepted by somebody who did not prove to be the controller");
	if (rc > 0) {
		note_refusal(conn->ld, rc, answer);
		return err_set(err, -PTA_EPERM, "the SASL GSSAPI bind was refused: %s (%d)%s%s", ldap_err2string(rc), rc, answer->diagnostic[0] ? ": " : "",
			answer->diagnostic);
	}
	if (clock_mono_us() >= deadline_us || rc == LDAP_TIMEOUT)
		return err_set(err, -PTA_ETIMEDOUT, "no answer to the SASL GSSAPI bind in time");
	if (conn->io.cut || rc == LDAP_SERVER_DOWN)
		return err_set(err, -PTA_ENET, "the connection was lost in the SASL GSSAPI bind");
	return err_set(err, -PTA_ECRYPTO, "the SASL GSSAPI bind: %s", ldap_conn_diagnostic(conn->ld, rc, text, sizeof(text)));
}

/* The credential of this cache, whatever the process's default one is. */
static int acquire(const char *ccache_name, gss_cred_id_t *out, struct err *err)
{
	gss_key_value_element_desc element = {.key = "ccache", .value = ccache_name};
	const gss_key_value_set_desc store = {.count = 1, .elements = &element};
	gss_OID_set_desc mechanisms = {.count = 1, .elements = (gss_OID)(uintptr_t)gss_mech_krb5};
	OM_uint32 minor, major;

	major = gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechanisms, GSS_C_INITIATE, &store, out, NULL, NULL);
	if (major == GSS_S_COMPLETE)
		return 0;
	return err_set(err, -PTA_ECRYPTO, "GSSAPI does not take the ticket (%x, %x)", (unsigned)major, (unsigned)minor);
}

static int bind_with(struct ldap_conn *conn, const char *ccache_name, bool bound, uint64_t deadline_us, struct ldap_sasl_answer *answer, struct err *err)
{
	struct ticket ticket = {.cred = GSS_C_NO_CREDENTIAL};
	OM_uint32 minor;
	int rc, r;

	*answer = (struct ldap_sasl_answer){.result = LDAP_SUCCESS};
	if (conn->dead || conn->in_flight)
		return err_set(err, -PTA_ENET, "the connection takes no bind");
	if (set_options(conn, bound) < 0)
		return err_set(err, -PTA_ENOMEM, "libldap does not take the SASL options");
	r = acquire(ccache_name, &ticket.cred, err);
	if (r < 0)
		return r;
	conn->io.deadline_us = deadline_us;
	rc = ldap_sasl_interactive_bind_s(conn->ld, NULL, "GSSAPI", NULL, NULL, LDAP_SASL_QUIET, give_ticket, &ticket);
	conn->io.deadline_us = 0;
	gss_release_cred(&minor, &ticket.cred);
	secret_wipe_stack();
	/* As whom else, then? */
	if (rc == LDAP_SUCCESS && !ticket.taken)
		rc = LDAP_LOCAL_ERROR;
	return map(conn, rc, deadline_us, answer, err);
}

int ldap_sasl_bind_ccache(struct ldap_conn *conn, const char *ccache_name, uint64_t deadline_us, struct ldap_sasl_answer *answer, struct err *err)
{
	return bind_with(conn, ccache_name, true, deadline_us, answer, err);
}

int ldap_sasl_bind_unbound(struct ldap_conn *conn, const char *ccache_name, uint64_t deadline_us, struct ldap_sasl_answer *answer, struct err *err)
{
	return bind_with(conn, ccache_name, false, deadline_us, answer, err);
}
