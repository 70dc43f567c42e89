/* What the parts of httpd share: httpd.c (requests and replies), httpd_conn.c (a connection's life), httpd_listen.c (sockets).
 * Nobody else includes this. */
#ifndef PTA_BASE_HTTPD_INTERNAL_H
#define PTA_BASE_HTTPD_INTERNAL_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "base/httpd.h"
#include "base/httpd_head.h"
#include "base/httpd_peers.h"
#include "base/metrics.h"

enum conn_state {
	CONN_FIRST,   /* accepted: TLS handshake, then the first request; its deadline runs */
	CONN_IDLE,    /* between requests; the idle time runs */
	CONN_HEAD,    /* a request has begun; its deadline runs */
	CONN_BODY,    /* its head has passed the gate */
	CONN_HANDLED, /* with its handler, perhaps parked; nothing runs */
	CONN_WRITING, /* the reply is on its way; a deadline runs */
	CONN_REFUSED, /* evhttp is out: the refusal is on its way, what still comes is thrown away; a deadline runs */
};

/* A connection carries one request at a time, so both live in one object. */
struct httpd_request {
	LIST_ENTRY(httpd_request) link;
	struct httpd_request *next_pending;
	struct httpd *httpd;
	struct bufferevent *bev; /* referenced */
	struct evhttp_connection *evcon;
	struct evbuffer_cb_entry *input_cb;
	struct event *timer; /* deadline of the state */
	struct event *watch; /* the peer's end while a request is parked; made at the first one */
	SSL *ssl;	     /* NULL: plain */
	uint64_t id;
	enum conn_state state;
	bool entered;	  /* counted, in the list */
	bool close_after; /* this request is the connection's last */
	bool shut;	  /* CONN_REFUSED: our side is closed */
	void *value;	  /* the owner's, until value_closed() */
	void (*value_closed)(void *value);
	struct httpd_peer_key peer_key;
	char peer[INET6_ADDRSTRLEN];

	/* the request */
	struct httpd_head head;
	struct evhttp_request *req;
	uint8_t *body;
	size_t body_len;
	struct evkeyvalq query;
	bool query_parsed;
	void (*on_close)(void *arg);
	void *on_close_arg;
	void (*on_written)(void *arg, bool written);
	void *on_written_arg;
	uint64_t output_mark; /* what was written, or waited, when the watched reply began */
};

LIST_HEAD(httpd_conns, httpd_request);

struct httpd {
	struct event_base *base;
	struct httpd_conf conf;
	struct evhttp *http;
	struct evhttp_bound_socket *bound; /* NULL when draining */
	struct evconnlistener *listener;
	struct httpd_request *next;    /* ready for the next connection: the listener is on only while there is one */
	struct httpd_request *pending; /* accepted, not yet set up; newest first */
	struct httpd_request *handing; /* whose request evhttp is parsing right now */
	struct event *setup, *resume;
	struct httpd_conns conns;
	struct httpd_peers *peers;
	struct metric_series *refused_all, *refused_address;
	unsigned count, port;
	uint64_t last_id;
	bool draining;
	char unix_path[108];
	dev_t unix_dev;
	ino_t unix_ino;
};

/* httpd_conn.c */
PTA_MUST_CHECK int httpd_conn_prepare(struct httpd *httpd); /* fills httpd->next */
struct bufferevent *httpd_conn_accept(struct event_base *base, void *httpd);
void httpd_conn_setup(evutil_socket_t fd, short what, void *httpd);
void httpd_conn_deadline(struct httpd_request *conn, unsigned ms);
void httpd_conn_kill(struct httpd_request *conn); /* frees it, with the callbacks that are due */
void httpd_conn_free(struct httpd_request *conn);

/* httpd.c */
void httpd_request_gone(struct httpd_request *conn); /* the connection ended: tells the request's owner */
void httpd_request_done(struct httpd_request *conn); /* wipes and frees what belongs to the request */
void httpd_handle(struct evhttp_request *req, void *httpd);

/* httpd_listen.c */
PTA_MUST_CHECK int httpd_listen(struct httpd *httpd, int *fd, struct err *err);
void httpd_unlisten(struct httpd *httpd); /* takes the unix socket's file away if it is still this one's */

#endif
