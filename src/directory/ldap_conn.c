#include "directory/ldap_conn.h"

#include <errno.h>
#include <ldap.h>
#include <openldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/dial.h"
#include "directory/ldap_conn_internal.h"

/* An answer to a bind or StartTLS has some hundred bytes; a peer that announces more is cut. */
#define MAX_INCOMING 65536

/* libldap would connect again by itself, and send the password there: never. */
static int refuse_connection(LDAP *ld, Sockbuf *sb, LDAPURLDesc *url, struct sockaddr *address, struct ldap_conncb *cb)
{
	(void)ld;
	(void)sb;
	(void)url;
	(void)address;
	(void)cb;
	return -1;
}

static void ignore_close(LDAP *ld, Sockbuf *sb, struct ldap_conncb *cb)
{
	(void)ld;
	(void)sb;
	(void)cb;
}

static int set_options(LDAP *ld, const struct directory_conf *conf)
{
	static struct ldap_conncb no_reconnect = {.lc_add = refuse_connection, .lc_del = ignore_close};
	const int version = LDAP_VERSION3;
	const struct timeval connect = {.tv_sec = conf->connect_timeout / 1000, .tv_usec = conf->connect_timeout % 1000 * 1000};

	if (ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version) != LDAP_OPT_SUCCESS ||
		ldap_set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) != LDAP_OPT_SUCCESS ||
		ldap_set_option(ld, LDAP_OPT_RESTART, LDAP_OPT_ON) != LDAP_OPT_SUCCESS ||
		ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &connect) != LDAP_OPT_SUCCESS ||
		ldap_set_option(ld, LDAP_OPT_TIMEOUT, &connect) != LDAP_OPT_SUCCESS ||
		ldap_set_option(ld, LDAP_OPT_CONNECT_CB, &no_reconnect) != LDAP_OPT_SUCCESS)
		return -PTA_ENOMEM;
	return 0;
}

const char *ldap_conn_diagnostic(LDAP *ld, int rc, char *text, size_t cap)
{
	char *message = NULL;

	if (ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &message) == LDAP_OPT_SUCCESS && message && message[0])
		/* What GnuTLS has no words for is libldap's own refusal of a certificate. */
		snprintf(text, cap, "%s", strcmp(message, "(unknown error code)") == 0 ? "the certificate cannot be verified" : message);
	else
		snprintf(text, cap, "%s", ldap_err2string(rc));
	ldap_memfree(message);
	return text;
}

static int start_tls(
	struct ldap_conn *conn, const struct directory_conf *conf, const struct directory_server *server, const struct ldap_tls *tls, struct err *err)
{
	char text[256];
	int rc;

	if (conf->tls == DIRECTORY_TLS_NONE)
		return 0;
	if (ldap_tls_apply(tls, conn->ld) < 0)
		return err_set(err, -PTA_ETLS, "TLS with %s port %u: the handle takes no TLS options", server->host, server->port);
	rc = conf->tls == DIRECTORY_STARTTLS ? ldap_start_tls_s(conn->ld, NULL, NULL) : ldap_install_tls(conn->ld);
	if (rc != LDAP_SUCCESS && clock_mono_us() >= conn->io.deadline_us)
		return err_set(err, -PTA_ETIMEDOUT, "TLS with %s port %u: no answer in %u ms", server->host, server->port, conf->connect_timeout);
	if (rc != LDAP_SUCCESS)
		return err_set(err, -PTA_ETLS, "TLS with %s port %u: %s; does its certificate name %s, is it valid now, and is its CA in ca_file = %s?",
			server->host, server->port, ldap_conn_diagnostic(conn->ld, rc, text, sizeof(text)), server->host, conf->ca_file);
	rc = ldap_tls_verify(conn->ld, conn->tls_version, err);
	return rc < 0 ? err_prefix(err, rc, "TLS with %s port %u: the server ", server->host, server->port) : 0;
}

static int make_handle(struct ldap_conn *conn, const struct directory_conf *conf, const struct directory_server *server, struct err *err)
{
	char url[LIMIT_DOMAIN + 32];
	ber_len_t incoming = MAX_INCOMING;
	int rc;

	/* The host in the URL is the name that the certificate must have. */
	snprintf(url, sizeof(url), server->literal_v6 ? "%s://[%s]:%u" : "%s://%s:%u", conf->tls == DIRECTORY_LDAPS ? "ldaps" : "ldap", server->host,
		server->port);
	rc = ldap_init_fd(conn->io.fd, LDAP_PROTO_EXT, url, &conn->ld);
	if (rc != LDAP_SUCCESS)
		return err_set(err, -PTA_ENOMEM, "libldap gives no handle for %s: %s", url, ldap_err2string(rc));
	if (set_options(conn->ld, conf) < 0 || ldap_get_option(conn->ld, LDAP_OPT_SOCKBUF, &conn->sb) != LDAP_OPT_SUCCESS ||
		ber_sockbuf_ctrl(conn->sb, LBER_SB_OPT_SET_MAX_INCOMING, &incoming) != 1 ||
		ber_sockbuf_add_io(conn->sb, &ldap_io_provider, LBER_SBIOD_LEVEL_PROVIDER, &conn->io) < 0 ||
		ber_sockbuf_add_io(conn->sb, &ldap_io_wiper, LBER_SBIOD_LEVEL_APPLICATION, &conn->io) < 0)
		return err_set(err, -PTA_ENOMEM, "libldap does not take the options of a handle for %s", url);
	return 0;
}

int ldap_conn_open(const struct directory_conf *conf, const struct directory_server *server, const struct ldap_tls *tls, uint64_t deadline_us,
	struct ldap_conn **out, struct err *err)
{
	struct ldap_conn *conn = calloc(1, sizeof(*conn));
	int r;

	if (!conn)
		return err_set(err, -PTA_ENOMEM, "connecting to %s: out of memory", server->host);
	r = dial(server, directory_conf_bare(conf), deadline_us, conf->bind_timeout, &conn->io.fd, err);
	if (r < 0) {
		free(conn);
		return r;
	}
	conn->io.deadline_us = deadline_us;
	r = make_handle(conn, conf, server, err);
	if (r == 0)
		r = start_tls(conn, conf, server, tls, err);
	/* A DN template is for directories that are not AD. */
	if (r == 0 && conf->method == DIRECTORY_SIMPLE && !conf->bind_dn)
		r = ldap_fast_begin(conn, deadline_us, err);
	if (r < 0) {
		conn->dead = true;
		ldap_conn_close(conn);
		return r;
	}
	conn->io.deadline_us = 0;
	*out = conn;
	return 0;
}

void ldap_conn_close(struct ldap_conn *conn)
{
	if (!conn)
		return;
	/* What is in flight has no owner any more; the peer sees the connection end, not an unbind behind a bind. */
	if (conn->dead || conn->in_flight)
		conn->io.cut = true;
	if (conn->ld)
		ldap_unbind_ext(conn->ld, NULL, NULL);
	close(conn->io.fd);
	free(conn);
}

int ldap_conn_fd(const struct ldap_conn *conn)
{
	return conn->io.fd;
}

const char *ldap_conn_tls_version(const struct ldap_conn *conn)
{
	return conn->tls_version;
}

unsigned ldap_conn_room(const struct ldap_conn *conn)
{
	return conn->fast ? FAST_BINDS : 1;
}

int ldap_conn_bind(struct ldap_conn *conn, const char *name, struct secret *password, int *id, bool *sent, struct err *err)
{
	struct berval credentials = {.bv_len = secret_len(password), .bv_val = (char *)secret_data(password)};
	uint64_t before = conn->io.sent;
	int rc;

	*sent = false;
	if (credentials.bv_len == 0 || name[0] == '\0')
		return err_set(err, -PTA_EINVAL, "a bind without name or password would be anonymous");
	if (conn->dead || conn->in_flight >= ldap_conn_room(conn))
		return err_set(err, -PTA_ECLOSED, "the connection takes no bind");
	conn->io.secret = true;
	rc = ldap_sasl_bind(conn->ld, name, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, &conn->msgid);
	conn->io.secret = false;
	secret_wipe_stack();
	*sent = rc == LDAP_SUCCESS || conn->io.sent != before;
	if (rc == LDAP_SUCCESS) {
		conn->in_flight++;
		*id = conn->msgid;
		return 0;
	}
	conn->dead = true;
	return err_set(err, -PTA_ENET, "sending the bind: %s", ldap_err2string(rc));
}

/* As ldap_result() with no time to wait, but until all that was received is used up: GnuTLS stops behind each record that
 * is no data (a session ticket), and the event loop knows nothing of what lies in buffers. */
static int take_result(struct ldap_conn *conn, int msgid, LDAPMessage **message)
{
	int type;

	ldap_io_input(&conn->io);
	do {
		struct timeval zero = {0, 0};

		type = ldap_result(conn->ld, msgid, LDAP_MSG_ONE, &zero, message);
	} while (type == 0 && !conn->io.cut && ber_sockbuf_ctrl(conn->sb, LBER_SB_OPT_DATA_READY, NULL));
	return type == 0 && conn->io.cut ? -1 : type;
}

static int dead(struct ldap_conn *conn, int code)
{
	conn->dead = true;
	return code;
}

int ldap_conn_bind_answer(struct ldap_conn *conn, int *id, struct verdict *verdict, enum ad_status_health *health, struct err *err)
{
	LDAPMessage *message = NULL;
	char *text = NULL;
	int type, rc, result = LDAP_OTHER;

	if (conn->dead || !conn->in_flight)
		return err_set(err, -PTA_ECLOSED, "no bind is in flight");
	type = take_result(conn, conn->fast ? LDAP_RES_ANY : conn->msgid, &message);
	if (type == 0)
		return 0;
	if (type < 0)
		return err_set(err, dead(conn, -PTA_ENET), "the connection was lost before the answer");
	/* Any other response type has a result code too, which says nothing about a password. */
	if (type != LDAP_RES_BIND) {
		ldap_msgfree(message);
		return err_set(err, dead(conn, -PTA_EPROTO), "the answer is of type 0x%x, not that to a bind", (unsigned)type);
	}
	*id = ldap_msgid(message);
	rc = ldap_parse_result(conn->ld, message, &result, NULL, &text, NULL, NULL, 1);
	if (rc != LDAP_SUCCESS) {
		ldap_memfree(text);
		return err_set(err, dead(conn, -PTA_EPROTO), "the answer cannot be read: %s", ldap_err2string(rc));
	}
	conn->in_flight--;
	*health = ad_status_bind(result, text, text ? strlen(text) : 0, verdict);
	ldap_memfree(text);
	return 1;
}

int ldap_conn_idle_input(struct ldap_conn *conn)
{
	/* Not by ldap_result(), which leaks a little with each notice of disconnection. */
	if (!conn->dead && !conn->in_flight && ldap_io_quiet(&conn->io, conn->sb))
		return 0;
	return dead(conn, -PTA_ENET);
}

bool ldap_conn_reusable(struct ldap_conn *conn)
{
	if (conn->dead)
		return false;
	/* With others in flight there may be an answer to them. */
	if (conn->in_flight)
		return true;
	return !ber_sockbuf_ctrl(conn->sb, LBER_SB_OPT_DATA_READY, NULL) || ldap_conn_idle_input(conn) == 0;
}

bool ldap_conn_has_input(const struct ldap_conn *conn)
{
	char byte;

	return recv(conn->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}
