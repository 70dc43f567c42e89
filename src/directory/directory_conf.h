/* One [directory NAME] section. Immutable once loaded, thread-safe then. directory_conf_check() reads ca_file's folder entry
 * from disk; nothing else blocks. */
#ifndef PTA_DIRECTORY_DIRECTORY_CONF_H
#define PTA_DIRECTORY_DIRECTORY_CONF_H

#include "base/ini_conf.h"
#include "wire/limits.h"

enum directory_method { DIRECTORY_SIMPLE };
enum directory_tls { DIRECTORY_LDAPS, DIRECTORY_STARTTLS, DIRECTORY_TLS_NONE };

#define DIRECTORY_MAX_SERVERS 16
#define DIRECTORY_MAX_CONNECTIONS 256

struct directory_conf {
	char *name;		   /* the section's label: the domain, lower case */
	int method;		   /* enum directory_method */
	struct conf_list servers;  /* "host" or "host:port" or "[v6]:port" */
	int tls;		   /* enum directory_tls; none only to loopback addresses */
	char *ca_file;		   /* a PEM file, or "system" */
	struct conf_list suffixes; /* further UPN suffixes */
	char *netbios;
	char *bind_dn;		  /* NULL: bind the name as typed (AD). Else a DN with %u and %d for directories that want one */
	unsigned connections;	  /* per server, 1..256 */
	unsigned connect_timeout; /* ms: DNS, TCP and TLS of one try */
	unsigned bind_timeout;	  /* ms: from the send to the answer */
};

extern const struct conf_row directory_conf_rows[];

/* Checks across keys (tls = none beyond loopback, ca_file readable, server syntax, bind_dn template). Adds to errors. */
void directory_conf_check(const struct directory_conf *conf, const char *path, struct conf_errors *errors);
/* This section serves the suffix or NetBIOS name (form as in wire/credential.h). */
bool directory_conf_serves(const struct directory_conf *conf, int form, const char *domain);
void directory_conf_free(struct directory_conf *conf);

/* One word of `servers`, taken apart. */
struct directory_server {
	char host[LIMIT_DOMAIN + 1]; /* a name or an address without brackets */
	unsigned port;		     /* as written, or the default of the tls mode: 636 for ldaps, else 389 */
	bool literal_v6;	     /* wants brackets in a URL */
};

/* -PTA_EINVAL with a text. tls: enum directory_tls. */
PTA_MUST_CHECK int directory_server_parse(const char *text, int tls, struct directory_server *out, struct err *err);

#endif
