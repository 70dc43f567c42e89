#include "directory/directory_conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "directory/bind_name.h"
#include "wire/credential.h"

static const char *const method_names[] = {[DIRECTORY_SIMPLE] = "simple", [DIRECTORY_GSSAPI] = "gssapi", [DIRECTORY_KERBEROS] = "kerberos", NULL};
static const char *const tls_names[] = {[DIRECTORY_LDAPS] = "ldaps", [DIRECTORY_STARTTLS] = "starttls", [DIRECTORY_TLS_NONE] = "none", NULL};

const struct conf_row directory_conf_rows[] = {
	CONF_ENUM(struct directory_conf, method, method_names, "simple",
		"how passwords are validated: simple (LDAP simple bind), gssapi (Kerberos, then a bind with the ticket) or kerberos (a ticket, verified with "
		"the "
		"keytab)"),
	CONF_LIST(struct directory_conf, servers, DIRECTORY_MAX_SERVERS, NULL,
		"domain controllers, best first: host, host:port or [v6]:port; unset: found by DNS, those of the agent's site first"),
	CONF_ENUM(struct directory_conf, tls, tls_names, "ldaps",
		"ldaps, starttls, or none: PASSWORDS CROSS THE CONNECTION UNENCRYPTED, taken for loopback addresses only"),
	CONF_STRING(
		struct directory_conf, ca_file, NULL, "PEM file with the CA of the servers' certificates, or system for the system's store; required with TLS"),
	CONF_LIST(struct directory_conf, suffixes, 64, NULL, "further UPN suffixes of this domain's users"),
	{.key = "netbios",
		.type = CONF_T_STRING,
		.offset = offsetof(struct directory_conf, netbios),
		.min = 1,
		.max = 15,
		.help = "NetBIOS name of the domain, for DOMAIN\\user"},
	CONF_STRING(struct directory_conf, bind_dn, NULL,
		"for directories other than AD: the DN to bind, with %u for the user part and %d for the domain part; AD binds the name as typed"),
	CONF_STRING(struct directory_conf, realm, NULL, "Kerberos realm; unset: the domain's name in capitals"),
	CONF_LIST(struct directory_conf, realms, 16, NULL, "further realms that a user's ticket may be of"),
	CONF_STRING(struct directory_conf, keytab, NULL, "keytab of the agent's own account; required with method = kerberos"),
	CONF_STRING(struct directory_conf, identity, NULL,
		"the agent's own account, which looks names up before they are validated: a DN or UPN with identity_password_file, else a principal of the "
		"keytab"),
	CONF_STRING(struct directory_conf, identity_password_file, NULL, "file with the identity's password, readable by its owner only"),
	CONF_LIST(struct directory_conf, login, DIRECTORY_MAX_LOGINS, NULL,
		"what user@domain may be: upn, attribute:NAME (mail, proxyAddresses, employeeID, ...); unset: upn; attributes need an identity"),
	CONF_STRING(struct directory_conf, search_base, NULL, "where names are searched; unset: the server's default naming context"),
	CONF_BOOL(struct directory_conf, global_catalog, "no", "search names in the global catalog (port 3269, or 3268) of the whole forest"),
	CONF_UINT(struct directory_conf, connections, 1, DIRECTORY_MAX_CONNECTIONS, 32,
		"simple: most connections to one server; gssapi and kerberos: most passwords validated at a time"),
	CONF_MS(struct directory_conf, connect_timeout, 100, 60000, "3s", "for DNS, TCP and TLS of one connection"),
	CONF_MS(struct directory_conf, bind_timeout, 100, 60000, "5s", "from sending a bind to its answer"),
	{.key = NULL},
};

/* Letters, digits, '-', '.', '_' in labels of at most 63 bytes. */
static bool domain_valid(const char *name, size_t len)
{
	size_t label = 0;

	if (len == 0 || len > LIMIT_DOMAIN)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_') || ++label > 63)
			return false;
	}
	return label > 0;
}

static bool port_parse(const char *text, unsigned *out)
{
	unsigned port = 0;
	size_t n = strlen(text);

	if (n == 0 || n > 5)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	*out = port;
	return port >= 1 && port <= 65535;
}

int directory_server_parse(const char *text, int tls, struct directory_server *out, struct err *err)
{
	const char *host = text, *end, *port = NULL;
	struct in6_addr v6;
	size_t len;

	*out = (struct directory_server){.port = tls == DIRECTORY_LDAPS ? 636 : 389, .kdc_port = 88};
	if (strstr(text, "://"))
		return err_set(err, -PTA_EINVAL, "servers: '%s' is a URL: write host or host:port, and tls = ldaps or starttls", text);
	if (text[0] == '[') {
		host = text + 1;
		end = strchr(host, ']');
		if (!end || (end[1] != '\0' && end[1] != ':'))
			return err_set(err, -PTA_EINVAL, "servers: '%s' is not host, host:port or [v6]:port", text);
		if (end[1] == ':')
			port = end + 2;
		out->literal_v6 = true;
	} else {
		end = strchr(text, ':');
		if (end && strchr(end + 1, ':'))
			return err_set(err, -PTA_EINVAL, "servers: write the IPv6 address '%s' in brackets: [%s]", text, text);
		if (end)
			port = end + 1;
		else
			end = text + strlen(text);
	}
	len = (size_t)(end - host);
	if (len >= sizeof(out->host))
		return err_set(err, -PTA_EINVAL, "servers: a host name is longer than %d bytes", LIMIT_DOMAIN);
	memcpy(out->host, host, len);
	out->host[len] = '\0';
	if (out->literal_v6 ? inet_pton(AF_INET6, out->host, &v6) != 1 : !domain_valid(out->host, len))
		return err_set(err, -PTA_EINVAL, "servers: '%s' is not a host name or address", text);
	if (port && !port_parse(port, &out->port))
		return err_set(err, -PTA_EINVAL, "servers: '%s' has no port from 1 to 65535 after the colon", text);
	return 0;
}

/* By name; that the address is loopback too is checked when connecting. */
static bool server_is_loopback(const struct directory_server *server)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (server->literal_v6)
		return inet_pton(AF_INET6, server->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
	if (inet_pton(AF_INET, server->host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return strcasecmp(server->host, "localhost") == 0;
}

bool directory_conf_bare(const struct directory_conf *conf)
{
	return conf->tls == DIRECTORY_TLS_NONE && (conf->method == DIRECTORY_SIMPLE || conf->identity_password_file);
}

static void check_servers(const struct directory_conf *conf, const char *path, struct conf_errors *errors)
{
	struct directory_server seen[DIRECTORY_MAX_SERVERS];
	size_t n = 0;

	for (size_t i = 0; i < conf->servers.n && n < DIRECTORY_MAX_SERVERS; i++) {
		struct directory_server *server = &seen[n];
		struct err err;

		if (directory_server_parse(conf->servers.items[i], conf->tls, server, &err) < 0) {
			conf_errors_add(errors, path, 0, "[directory %s] %s", conf->name, err.text);
			continue;
		}
		for (size_t k = 0; k < n; k++)
			if (seen[k].port == server->port && strcasecmp(seen[k].host, server->host) == 0)
				conf_errors_add(errors, path, 0, "[directory %s] servers: '%s' is listed twice", conf->name, conf->servers.items[i]);
		if (conf->tls != DIRECTORY_TLS_NONE && strcasecmp(server->host, "localhost") == 0)
			conf_errors_add(errors, path, 0,
				"[directory %s] servers: libldap verifies the certificate of 'localhost' against this host's own name: write that name, or "
				"127.0.0.1",
				conf->name);
		if (directory_conf_bare(conf) && !server_is_loopback(server))
			conf_errors_add(errors, path, 0,
				"[directory %s] tls = none would send passwords unencrypted to '%s': it is taken for loopback addresses only; use tls = ldaps",
				conf->name, conf->servers.items[i]);
		n++;
	}
}

static void check_readable(const struct directory_conf *conf, const char *key, const char *file, const char *path, struct conf_errors *errors)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct err err;

	if (fd >= 0) {
		close(fd);
		return;
	}
	err_set_errno(&err, -PTA_EIO, errno, "%s: cannot read '%s'", key, file);
	conf_errors_add(errors, path, 0, "[directory %s] %s", conf->name, err.text);
}

static void check_ca_file(const struct directory_conf *conf, const char *path, struct conf_errors *errors)
{
	/* kerberos alone speaks no LDAP. */
	if (conf->tls == DIRECTORY_TLS_NONE || (conf->method == DIRECTORY_KERBEROS && !directory_conf_resolves(conf)))
		return;
	if (!conf->ca_file) {
		conf_errors_add(
			errors, path, 0, "[directory %s] ca_file is missing: a PEM file with the CA of the servers' certificates, or system", conf->name);
		return;
	}
	if (strcmp(conf->ca_file, "system") == 0)
		return;
	check_readable(conf, "ca_file", conf->ca_file, path, errors);
}

static bool attribute_valid(const char *name)
{
	size_t len = strlen(name);

	/* RFC 4512 1.4: a short name, or an OID. */
	return len > 0 && len <= 64 && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == len;
}

static void check_names(const struct directory_conf *conf, const char *path, struct conf_errors *errors)
{
	bool attributes = false;
	struct err err;

	for (size_t i = 0; i < conf->login.n; i++) {
		const char *word = conf->login.items[i];
		bool attribute = strncmp(word, "attribute:", 10) == 0;

		attributes = attributes || attribute;
		if (strcmp(word, "upn") != 0 && (!attribute || !attribute_valid(word + 10)))
			conf_errors_add(errors, path, 0, "[directory %s] login: '%s' is neither upn nor attribute:NAME", conf->name, word);
	}
	if (attributes && !conf->identity)
		conf_errors_add(errors, path, 0, "[directory %s] login: an attribute is searched by the agent's own account: set identity", conf->name);
	if ((conf->search_base || conf->global_catalog || conf->identity_password_file) && !conf->identity)
		conf_errors_add(
			errors, path, 0, "[directory %s] search_base, global_catalog and identity_password_file are of no use without identity", conf->name);
	if (conf->bind_dn && conf->identity)
		conf_errors_add(errors, path, 0, "[directory %s] bind_dn and identity: a name is either made into a DN or searched for one", conf->name);
	if (conf->bind_dn && conf->method != DIRECTORY_SIMPLE)
		conf_errors_add(errors, path, 0, "[directory %s] bind_dn is for method = simple", conf->name);
	if (conf->bind_dn && bind_name_check(conf->bind_dn, &err) < 0)
		conf_errors_add(errors, path, 0, "[directory %s] %s", conf->name, err.text);
}

static void check_kerberos(const struct directory_conf *conf, const char *path, struct conf_errors *errors)
{
	if (conf->realm && !domain_valid(conf->realm, strlen(conf->realm)))
		conf_errors_add(errors, path, 0, "[directory %s] realm: '%s' is not a realm", conf->name, conf->realm);
	for (size_t i = 0; i < conf->realms.n; i++)
		if (!domain_valid(conf->realms.items[i], strlen(conf->realms.items[i])))
			conf_errors_add(errors, path, 0, "[directory %s] realms: '%s' is not a realm", conf->name, conf->realms.items[i]);
	if (conf->method == DIRECTORY_KERBEROS && !conf->keytab)
		conf_errors_add(errors, path, 0,
			"[directory %s] method = kerberos needs keytab: a ticket proves nothing until it is verified with a key of the agent's own",
			conf->name);
	if (conf->identity && !conf->identity_password_file && !conf->keytab)
		conf_errors_add(errors, path, 0, "[directory %s] identity needs identity_password_file or keytab", conf->name);
	if (conf->keytab)
		check_readable(conf, "keytab", conf->keytab, path, errors);
	if (conf->identity_password_file)
		check_readable(conf, "identity_password_file", conf->identity_password_file, path, errors);
}

void directory_conf_check(const struct directory_conf *conf, const char *path, struct conf_errors *errors)
{
	if (!domain_valid(conf->name, strlen(conf->name)))
		conf_errors_add(errors, path, 0, "[directory %s] the section's name is not a domain name", conf->name);
	check_servers(conf, path, errors);
	check_ca_file(conf, path, errors);
	for (size_t i = 0; i < conf->suffixes.n; i++)
		if (!domain_valid(conf->suffixes.items[i], strlen(conf->suffixes.items[i])))
			conf_errors_add(errors, path, 0, "[directory %s] suffixes: '%s' is not a domain name", conf->name, conf->suffixes.items[i]);
	if (conf->netbios && strpbrk(conf->netbios, "\\/:*?\"<>|@ "))
		conf_errors_add(errors, path, 0, "[directory %s] netbios: '%s' is not a NetBIOS name", conf->name, conf->netbios);
	if (conf->servers.n == 0 && directory_conf_bare(conf))
		conf_errors_add(errors, path, 0, "[directory %s] tls = none needs servers, and these on loopback addresses; use tls = ldaps", conf->name);
	check_names(conf, path, errors);
	check_kerberos(conf, path, errors);
}

void directory_conf_realm(const struct directory_conf *conf, char out[LIMIT_DOMAIN + 1])
{
	size_t i = 0;

	if (conf->realm) {
		snprintf(out, LIMIT_DOMAIN + 1, "%s", conf->realm);
		return;
	}
	for (; conf->name[i] && i < LIMIT_DOMAIN; i++)
		out[i] = conf->name[i] >= 'a' && conf->name[i] <= 'z' ? (char)(conf->name[i] - 'a' + 'A') : conf->name[i];
	out[i] = '\0';
}

bool directory_conf_allows_realm(const struct directory_conf *conf, const char *realm, size_t len)
{
	char own[LIMIT_DOMAIN + 1];

	directory_conf_realm(conf, own);
	if (strlen(own) == len && memcmp(own, realm, len) == 0)
		return true;
	for (size_t i = 0; i < conf->realms.n; i++)
		if (strlen(conf->realms.items[i]) == len && memcmp(conf->realms.items[i], realm, len) == 0)
			return true;
	return false;
}

const char *directory_method_name(int method)
{
	return method_names[method];
}

bool directory_conf_resolves(const struct directory_conf *conf)
{
	return conf->identity != NULL;
}

bool directory_conf_serves(const struct directory_conf *conf, int form, const char *domain)
{
	if (form == CREDENTIAL_NETBIOS)
		return conf->netbios && credential_domain_equal(conf->netbios, domain);
	if (form != CREDENTIAL_UPN)
		return false;
	if (credential_domain_equal(conf->name, domain))
		return true;
	for (size_t i = 0; i < conf->suffixes.n; i++)
		if (credential_domain_equal(conf->suffixes.items[i], domain))
			return true;
	return false;
}

void directory_conf_free(struct directory_conf *conf)
{
	if (!conf)
		return;
	conf_free_rows(directory_conf_rows, conf);
	free(conf->name);
	free(conf);
}
