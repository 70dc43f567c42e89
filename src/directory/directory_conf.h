/* One [directory NAME] section. Immutable once loaded, thread-safe then. directory_conf_check() reads ca_file's folder entry
 * from disk; nothing else blocks. */
#ifndef PTA_DIRECTORY_DIRECTORY_CONF_H
#define PTA_DIRECTORY_DIRECTORY_CONF_H

#include "base/ini_conf.h"
#include "wire/limits.h"

enum directory_method { DIRECTORY_SIMPLE, DIRECTORY_GSSAPI, DIRECTORY_KERBEROS };
enum directory_tls { DIRECTORY_LDAPS, DIRECTORY_STARTTLS, DIRECTORY_TLS_NONE };

#define DIRECTORY_MAX_SERVERS 16
#define DIRECTORY_MAX_CONNECTIONS 256

/* How many words of `login`. */
#define DIRECTORY_MAX_LOGINS 8

struct directory_conf {
	char *name;		   /* the section's label: the domain, lower case */
	int method;		   /* enum directory_method */
	struct conf_list servers;  /* "host" or "host:port" or "[v6]:port"; none: found by DNS */
	int tls;		   /* enum directory_tls; none only to loopback addresses, or with gssapi, which then signs and seals */
	char *ca_file;		   /* a PEM file, or "system" */
	struct conf_list suffixes; /* further UPN suffixes */
	char *netbios;
	char *bind_dn;		 /* NULL: bind the name as typed (AD). Else a DN with %u and %d for directories that want one */
	char *realm;		 /* Kerberos realm; NULL: the domain's name in capitals (directory_conf_realm()) */
	struct conf_list realms; /* further realms that a KDC may answer for */
	char *keytab;		 /* verifies tickets (kerberos), and holds the identity's key */
	char *identity;		 /* who searches for names; NULL: nobody does. A DN or UPN with identity_password_file, else a principal of the keytab */
	char *identity_password_file;
	struct conf_list login;	  /* "upn", "attribute:NAME"; none: upn */
	char *search_base;	  /* NULL: the default naming context of the rootDSE */
	bool global_catalog;	  /* search there */
	unsigned connections;	  /* per server, 1..256: connections of simple, requests at a time of gssapi and kerberos */
	unsigned connect_timeout; /* ms: DNS, TCP and TLS of one try */
	unsigned bind_timeout;	  /* ms: from the send to the answer */
	/* For tests and benchmarks, which have no port 88; no key of the file. 0: 88. */
	unsigned kdc_port;
};

extern const struct conf_row directory_conf_rows[];

/* Checks across keys (tls = none beyond loopback, ca_file readable, server syntax, bind_dn template). Adds to errors. */
void directory_conf_check(const struct directory_conf *conf, const char *path, struct conf_errors *errors);
/* "simple", "gssapi", "kerberos". */
const char *directory_method_name(int method);
/* This section serves the suffix or NetBIOS name (form as in wire/credential.h). */
bool directory_conf_serves(const struct directory_conf *conf, int form, const char *domain);
/* The section's realm: `realm`, or its name in capitals. */
void directory_conf_realm(const struct directory_conf *conf, char out[LIMIT_DOMAIN + 1]);
/* A KDC's answer may be for this realm: the section's own or one of `realms`. Realms compare with case (RFC 4120 6.1). */
bool directory_conf_allows_realm(const struct directory_conf *conf, const char *realm, size_t len);
/* The section searches for names before it validates. */
bool directory_conf_resolves(const struct directory_conf *conf);
/* A password would cross an LDAP connection unencrypted: loopback addresses only. (GSSAPI signs and seals by itself.) */
bool directory_conf_bare(const struct directory_conf *conf);
void directory_conf_free(struct directory_conf *conf);

/* One word of `servers`, taken apart, or a server found by DNS. */
struct directory_server {
	char host[LIMIT_DOMAIN + 1]; /* a name or an address without brackets */
	unsigned port;		     /* LDAP's: as written, or the default of the tls mode: 636 for ldaps, else 389 */
	unsigned kdc_port;	     /* 88 */
	bool literal_v6;	     /* wants brackets in a URL */
};

/* -PTA_EINVAL with a text. tls: enum directory_tls. */
PTA_MUST_CHECK int directory_server_parse(const char *text, int tls, struct directory_server *out, struct err *err);

#endif
