/* An HTTP/1.1 server on one event base: libevent's evhttp, over TLS (bufferevent_openssl), TCP or a unix socket.
 * Everything here belongs to the base's thread. One httpd per listener and thread (SO_REUSEPORT shares the port).
 * It refuses what evhttp lets through: duplicate Content-Length, Host, Authorization or Content-Type, "Host :",
 * bodies on GET or without a length (411), oversize headers and bodies, slow requests (one deadline for the whole request), wrong
 * methods, wrong content types, more connections than allowed in all and per address. A request sent ahead of an answer (pipelining)
 * is not answered: the connection ends after the reply it was sent ahead of.
 *
 * Bodies carry passwords. A body lies in the connection's input buffer, where it is wiped as soon as it is whole (or its connection ends),
 * and in the one copy that the handler sees, wiped after its reply. A TLS record's plaintext inside OpenSSL is wiped by
 * SSL_OP_CLEANSE_PLAINTEXT (the SSL_CTX's owner sets it). What cannot be wiped: the kernel's socket buffers, and evhttp's own copies of
 * header lines (so the bearer key of an Authorization header; the copy that handlers see is wiped with the reply). */
#ifndef PTA_BASE_HTTPD_H
#define PTA_BASE_HTTPD_H

#include <event2/event.h>
#include <event2/http.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

struct httpd;
struct httpd_request;

typedef void (*httpd_handler)(struct httpd_request *request, void *arg);

struct httpd_route {
	const char *method; /* "GET" or "POST"; NULL ends a table */
	const char *path;   /* exact; a table may have a path more than once with other methods */
	httpd_handler handler;
	size_t max_body; /* bytes; 0: no body taken */
	const char *body_type; /* what Content-Type must be where there is a body; NULL: application/json */
};

struct httpd_conf {
	const char *address; /* "host:port", "[v6]:port", ":port", or "unix:/path" */
	SSL_CTX *tls;	     /* NULL: plain (loopback and unix only) */
	mode_t unix_mode;
	gid_t unix_gid;			  /* (gid_t)-1: as it is */
	const struct httpd_route *routes; /* must outlive the httpd */
	void *arg;			  /* to the handlers */
	/* Of this httpd alone: threads that share a port each have their own. Who comes past one is closed at once and counted in
	 * pta_http_refused_connections_total. max_per_address 0: no limit but the other; an IPv6
	 * address counts by its /64. */
	unsigned max_connections, max_per_address;
	unsigned request_timeout_ms; /* accept (with the TLS handshake) or first byte of a request to its last; and as long again for the reply */
	unsigned idle_timeout_ms;    /* between requests; a request being answered is not idle */
};

PTA_MUST_CHECK int httpd_new(struct event_base *base, const struct httpd_conf *conf, struct httpd **out, struct err *err);
/* Stops accepting; connections end when their request is answered; idle ones are closed at once. */
void httpd_drain(struct httpd *httpd);
/* Closes everything. Requests not yet answered get their close callback. libevent frees its part in the base's next turn: turn it once
 * more (event_base_loop() with EVLOOP_NONBLOCK) before event_base_free(), or that part leaks. */
void httpd_free(struct httpd *httpd);
unsigned httpd_connections(const struct httpd *httpd);
/* New connections use this context from now on (a renewed certificate); it takes a reference of its own. Only where conf->tls was set. */
void httpd_set_tls(struct httpd *httpd, SSL_CTX *tls);
/* The port really bound (for ":0"). */
unsigned httpd_port(const struct httpd *httpd);

/* One request. Valid from the handler's call until a reply, or until its close callback was called. */
const uint8_t *httpd_body(struct httpd_request *request, size_t *len); /* one contiguous piece; wiped after the handler's reply */
/* Wipes the body now (it held a password). */
void httpd_body_wipe(struct httpd_request *request);
const char *httpd_header(struct httpd_request *request, const char *name); /* NULL when absent */
const char *httpd_query(struct httpd_request *request, const char *name);  /* decoded; NULL when absent */
const char *httpd_peer(struct httpd_request *request);			   /* "192.0.2.1" or "unix" */
X509 *httpd_peer_certificate(struct httpd_request *request);		   /* borrowed; NULL without TLS client certificate */
/* Unix sockets: the peer's credentials. -PTA_ENOENT elsewhere. */
PTA_MUST_CHECK int httpd_peer_ids(struct httpd_request *request, uid_t *uid, pid_t *pid);
/* Frees it, on a connection that may stay for days; NULL from then on. */
void httpd_peer_certificate_forget(struct httpd_request *request);

/* The peer closed or vanished before the reply: cb is called once and the request is gone. Noticed by EV_CLOSED while
 * parked, TCP_USER_TIMEOUT (5 s) and keepalive. A handler that returns without a reply must have called this: else the request is answered
 * with 500. A peer that only shut down its sending side counts as closed. */
void httpd_on_close(struct httpd_request *request, void (*cb)(void *arg), void *arg);
/* Identifies the connection among the living ones of this httpd (for counting an agent's connections). */
uint64_t httpd_connection_id(struct httpd_request *request);
/* A value of the caller's that lives as long as the connection: closed(value) is called once when it ends, after the close
 * callbacks and watched replies of its requests. Set once per connection; NULL until then. */
void httpd_connection_set(struct httpd_request *request, void *value, void (*closed)(void *value));
void *httpd_connection_get(struct httpd_request *request);

void httpd_reply_header(struct httpd_request *request, const char *name, const char *value); /* before the reply; the last value counts */
/* status 200 etc.; body (copied) may be NULL with 0. application/json. */
void httpd_reply(struct httpd_request *request, int status, const void *body, size_t len);
void httpd_reply_type(struct httpd_request *request, int status, const char *type, const void *body, size_t len);
/* {"error": code, "message": text, "field": field} ; field NULL: left out. code is a stable word ("bad_json"). */
PTA_PRINTF(5, 6) void httpd_reply_error(struct httpd_request *request, int status, const char *code, const char *field, const char *fmt, ...);
/* As httpd_reply_type(); then exactly once cb(arg, written): true when at least one byte of this reply was handed to the
 * kernel, false when the connection ended before. May be called before this returns. */
void httpd_reply_watched(
	struct httpd_request *request, int status, const char *type, const void *body, size_t len, void (*cb)(void *arg, bool written), void *arg);

#endif
