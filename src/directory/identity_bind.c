#include "directory/identity_bind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "directory/krb5_login.h"
#include "directory/ldap_conn_internal.h"
#include "directory/ldap_sasl.h"

#define PAUSE_MIN_US (30 * 1000000ull)
#define PAUSE_MAX_US (600 * 1000000ull)
#define PAUSE_FACTOR 4
#define LOG_EVERY_US (60 * 1000000ull)

/* RFC 4120 7.5.9: what a KDC says about the account or its key, and counts against it. */
#define KDC_ERR_C_PRINCIPAL_UNKNOWN 6
#define KDC_ERR_CLIENT_REVOKED 18
#define KDC_ERR_KEY_EXPIRED 23
#define KDC_ERR_PREAUTH_FAILED 24

struct identity_bind {
	const struct directory_conf *conf;
	struct secret *password; /* NULL: by the keytab */
	pthread_mutex_t lock;	 /* guards what follows */
	pthread_cond_t idle;	 /* no bind is under way any more; on the monotonic clock */
	bool busy;		 /* a bind is under way */
	uint64_t pause_us;	 /* the last one; 0: the last bind was accepted, or there was none */
	uint64_t until_us;	 /* no bind before */
	uint64_t logged_us;	 /* 0: never */
	struct err refused;
};

static int read_password(const struct directory_conf *conf, struct secret **out, struct err *err)
{
	struct secret *password PTA_CLEANUP(secret_freep) = NULL;
	int r;

	/* A newline may follow. */
	r = file_read_secret(conf->identity_password_file, LIMIT_PASSWORD + 1, false, &password, err);
	if (r < 0)
		return err_prefix(err, r, "[directory %s] identity_password_file: ", conf->name);
	if (secret_len(password) == 0 || secret_len(password) > LIMIT_PASSWORD || memchr(secret_bytes(password), '\0', secret_len(password)))
		return err_set(err, -PTA_EINVAL,
			"[directory %s] identity_password_file: %s has %zu bytes in its line; a password has 1 to %d, none of them NUL", conf->name,
			conf->identity_password_file, secret_len(password), LIMIT_PASSWORD);
	*out = password;
	password = NULL;
	return 0;
}

/* Its keys are read for each bind, so that it may be replaced while in use. */
static int check_keytab(const struct directory_conf *conf, struct err *err)
{
	if (!conf->keytab)
		return err_set(err, -PTA_EINVAL, "[directory %s] identity needs identity_password_file or keytab", conf->name);
	if (access(conf->keytab, R_OK) < 0)
		return err_set_errno(err, -PTA_EIO, errno, "[directory %s] keytab: cannot read %s", conf->name, conf->keytab);
	return 0;
}

int identity_bind_new(const struct directory_conf *conf, struct identity_bind **out, struct err *err)
{
	struct identity_bind *identity = calloc(1, sizeof(*identity));
	pthread_condattr_t monotonic;
	int r;

	if (!identity)
		return err_set(err, -PTA_ENOMEM, "[directory %s] out of memory", conf->name);
	identity->conf = conf;
	r = conf->identity_password_file ? read_password(conf, &identity->password, err) : check_keytab(conf, err);
	if (r < 0) {
		free(identity);
		return r;
	}
	pthread_mutex_init(&identity->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&identity->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*out = identity;
	return 0;
}

void identity_bind_free(struct identity_bind *identity)
{
	if (!identity)
		return;
	secret_free(identity->password);
	pthread_cond_destroy(&identity->idle);
	pthread_mutex_destroy(&identity->lock);
	free(identity);
}

static uint64_t left_us(uint64_t deadline_us)
{
	uint64_t now = clock_mono_us();

	return deadline_us > now ? deadline_us - now : 0;
}

/* The turn to bind, within the time. The wait is by the real clock, which the condition knows. */
static int take_turn(struct identity_bind *identity, uint64_t deadline_us)
{
	uint64_t left = left_us(deadline_us);
	struct timespec at;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(left / 1000000);
	at.tv_nsec += (long)(left % 1000000 * 1000);
	if (at.tv_nsec >= 1000000000) {
		at.tv_nsec -= 1000000000;
		at.tv_sec++;
	}
	pthread_mutex_lock(&identity->lock);
	while (identity->busy && rc == 0)
		rc = pthread_cond_timedwait(&identity->idle, &identity->lock, &at);
	if (!identity->busy) {
		identity->busy = true;
		rc = 0;
	}
	pthread_mutex_unlock(&identity->lock);
	return rc == 0 ? 0 : -PTA_EBUSY;
}

static int map_answer(struct ldap_conn *conn, const struct directory_server *server, const char *name, LDAPMessage *message, struct err *err)
{
	char *text = NULL;
	int rc, result = LDAP_OTHER, r;

	rc = ldap_parse_result(conn->ld, message, &result, NULL, &text, NULL, NULL, 0);
	if (rc != LDAP_SUCCESS)
		r = err_set(err, -PTA_EINVAL, "the answer of %s port %u to the bind as %s cannot be read: %s", server->host, server->port, name,
			ldap_err2string(rc));
	else if (result == LDAP_SUCCESS)
		r = 0;
	else
		r = err_set(err,
			result == LDAP_INVALID_CREDENTIALS		    ? -PTA_EPERM
			: result == LDAP_BUSY || result == LDAP_UNAVAILABLE ? -PTA_EBUSY
									    : -PTA_EINVAL,
			"%s port %u answered the bind as %s with %d (%s)%s%s", server->host, server->port, name, result, ldap_err2string(result),
			text && text[0] ? ": " : "", text && text[0] ? text : "");
	ldap_memfree(text);
	return r;
}

/* Without TLS the peer's address is looked at once more, whatever the rules for other methods are. */
static int check_way(const struct ldap_conn *conn, const struct directory_server *server, struct err *err)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;

	if (conn->tls_version[0])
		return 0;
	if (getpeername(conn->io.fd, (struct sockaddr *)&address, &len) == 0 &&
		((address.ss_family == AF_INET && ntohl(v4->sin_addr.s_addr) >> 24 == 127) ||
			(address.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr))))
		return 0;
	return err_set(err, -PTA_EINVAL, "%s port %u: the identity's password is sent without TLS to loopback addresses only", server->host, server->port);
}

/* Not ldap_sasl_bind_s(), which waits as long as the handle's options say. */
static int simple_bind(struct identity_bind *identity, struct ldap_conn *conn, const struct directory_server *server, uint64_t deadline_us, struct err *err)
{
	struct berval credentials = {.bv_len = secret_len(identity->password), .bv_val = (char *)secret_data(identity->password)};
	struct timeval left = {.tv_sec = (time_t)(left_us(deadline_us) / 1000000), .tv_usec = (suseconds_t)(left_us(deadline_us) % 1000000)};
	const char *name = identity->conf->identity;
	LDAPMessage *message = NULL;
	int rc, msgid = 0, type = -1, r;
	char text[256];

	r = check_way(conn, server, err);
	if (r < 0)
		return r;
	if (conn->fast)
		return err_set(err, -PTA_EINVAL, "%s port %u: a connection for fast binds stays anonymous", server->host, server->port);
	conn->io.deadline_us = deadline_us;
	conn->io.secret = true;
	rc = ldap_sasl_bind(conn->ld, name, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, &msgid);
	conn->io.secret = false;
	secret_wipe_stack();
	if (rc == LDAP_SUCCESS) {
		ldap_io_input(&conn->io);
		type = ldap_result(conn->ld, msgid, LDAP_MSG_ALL, &left, &message);
	}
	conn->io.deadline_us = 0;
	if (type == LDAP_RES_BIND)
		r = map_answer(conn, server, name, message, err);
	else if (type > 0)
		r = err_set(
			err, -PTA_EINVAL, "%s port %u answered the bind as %s with a message of type 0x%x", server->host, server->port, name, (unsigned)type);
	else if (type == 0 || left_us(deadline_us) == 0)
		r = err_set(err, -PTA_ETIMEDOUT, "no answer of %s port %u to the bind as %s in time", server->host, server->port, name);
	else
		r = err_set(err, -PTA_ENET, "the bind as %s at %s port %u: %s", name, server->host, server->port,
			ldap_conn_diagnostic(conn->ld, rc == LDAP_SUCCESS ? LDAP_SERVER_DOWN : rc, text, sizeof(text)));
	if (type > 0)
		ldap_msgfree(message);
	return r;
}

static bool blames_the_key(int kdc_error)
{
	return kdc_error == KDC_ERR_C_PRINCIPAL_UNKNOWN || kdc_error == KDC_ERR_CLIENT_REVOKED || kdc_error == KDC_ERR_KEY_EXPIRED ||
	       kdc_error == KDC_ERR_PREAUTH_FAILED;
}

/* The codes of identity_bind_connection(). */
static int map_login(const struct krb5_login *login, int r)
{
	if (r == -PTA_EPERM && blames_the_key(login->x.kdc_error))
		return -PTA_EPERM;
	return r == -PTA_ENET || r == -PTA_ETIMEDOUT || r == -PTA_ENOMEM ? r : -PTA_EINVAL;
}

/* A ticket by the keytab from this controller's KDC, then a bind with it: no key is sent, and what the LDAP server refuses is
 * not the key. */
static int gssapi_bind(struct identity_bind *identity, struct ldap_conn *conn, const struct directory_server *server, uint64_t deadline_us, struct err *err)
{
	const char *name = identity->conf->identity;
	struct ldap_sasl_answer answer;
	struct krb5_login login;
	krb5_principal service = NULL;
	int r;

	r = krb5_login_init(&login, identity->conf, server, deadline_us, deadline_us, err);
	if (r == 0)
		r = krb5_login_service(&login, "ldap", server->host, &service, err);
	if (r == 0)
		r = krb5_login_keytab(&login, name, service, err);
	if (r < 0) {
		r = map_login(&login, r);
		err_prefix(err, r, "a ticket for %s by the keytab, from %s port %u: ", name, server->host, server->kdc_port);
	} else {
		r = ldap_sasl_bind_ccache(conn, login.ccache_name, deadline_us, &answer, err);
		if (r != 0 && r != -PTA_ENET && r != -PTA_ETIMEDOUT)
			r = answer.result == LDAP_BUSY || answer.result == LDAP_UNAVAILABLE ? -PTA_EBUSY : -PTA_EINVAL;
		if (r < 0)
			err_prefix(err, r, "the bind as %s at %s port %u: ", name, server->host, server->port);
	}
	krb5_free_principal(login.context, service);
	krb5_login_done(&login);
	return r;
}

/* Under the lock. Whether to log it. */
static bool pause_after(struct identity_bind *identity, const struct err *why)
{
	uint64_t now = clock_mono_us();

	identity->pause_us = identity->pause_us ? identity->pause_us * PAUSE_FACTOR : PAUSE_MIN_US;
	if (identity->pause_us > PAUSE_MAX_US)
		identity->pause_us = PAUSE_MAX_US;
	identity->until_us = now + identity->pause_us;
	identity->refused = *why;
	if (identity->logged_us && now - identity->logged_us < LOG_EVERY_US)
		return false;
	identity->logged_us = now;
	return true;
}

/* Under the lock. */
static int check_pause(const struct identity_bind *identity, struct err *err)
{
	uint64_t now = clock_mono_us();

	if (now >= identity->until_us)
		return 0;
	return err_set(err, -PTA_EPERM, "no bind for %llu s more, since %.400s", (unsigned long long)((identity->until_us - now) / 1000000 + 1),
		identity->refused.text);
}

int identity_bind_paused(struct identity_bind *identity, struct err *err)
{
	int r;

	pthread_mutex_lock(&identity->lock);
	r = check_pause(identity, err);
	pthread_mutex_unlock(&identity->lock);
	return r;
}

/* After what came of a bind. */
static void give_turn_back(struct identity_bind *identity, const struct directory_server *server, int r, const struct err *why)
{
	uint64_t pause_us;
	bool tell = false;

	pthread_mutex_lock(&identity->lock);
	if (r == -PTA_EPERM)
		tell = pause_after(identity, why);
	else if (r == 0)
		identity->pause_us = 0;
	pause_us = identity->pause_us;
	identity->busy = false;
	pthread_cond_signal(&identity->idle);
	pthread_mutex_unlock(&identity->lock);
	if (tell)
		log_event(LOG_ERR, "identity.refused", F_STR("directory", identity->conf->name), F_STR("dc", server->host),
			F_STR("identity", identity->conf->identity), F_STR("error", why->text), F_MS("retry_in", pause_us));
}

static int bind_in_turn(struct identity_bind *identity, struct ldap_conn *conn, const struct directory_server *server, uint64_t deadline_us, struct err *err)
{
	int r;

	if (take_turn(identity, deadline_us) < 0)
		return err_set(err, -PTA_EBUSY, "%s port %u: no time left behind another bind as %s", server->host, server->port, identity->conf->identity);
	r = identity_bind_paused(identity, err);
	if (r < 0) {
		give_turn_back(identity, server, -PTA_EBUSY, NULL);
		return r;
	}
	r = (identity->password ? simple_bind : gssapi_bind)(identity, conn, server, deadline_us, err);
	give_turn_back(identity, server, r, err);
	return r;
}

int identity_bind_connection(
	struct identity_bind *identity, struct ldap_conn *conn, const struct directory_server *server, uint64_t deadline_us, struct err *err)
{
	struct err why = {""};
	int r = bind_in_turn(identity, conn, server, deadline_us, &why);

	if (r == 0)
		return 0;
	conn->dead = true;
	return err_set(err, r, "%s", why.text);
}
