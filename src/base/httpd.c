/* The server, its requests and replies. See httpd_conn.c for connections, httpd_head.c for what is refused before a handler
 * sees it, httpd_listen.c for sockets. */
#include "base/httpd.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/httpd_internal.h"
#include "base/json.h"

#define JOIN_MAX 8192 /* bytes of a reply that are cheaper to copy than to send apart */

static void accept_paused(struct evconnlistener *listener, void *arg)
{
	struct httpd *httpd = arg;
	const struct timeval soon = {.tv_usec = 100000};

	/* Out of descriptors: libevent would try, and say so, in a tight loop. */
	evconnlistener_disable(listener);
	event_add(httpd->resume, &soon);
}

static void accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct httpd *httpd = arg;
	const struct timeval soon = {.tv_usec = 100000};

	(void)fd;
	(void)what;
	if (httpd->draining)
		return;
	if (!httpd->next && httpd_conn_prepare(httpd) < 0)
		event_add(httpd->resume, &soon);
	else
		evconnlistener_enable(httpd->listener);
}

static void make_metrics(struct httpd *httpd)
{
	static const char *const labels[] = {"limit", NULL};
	struct metric *refused = metric_new(METRIC_COUNTER, "pta_http_refused_connections_total", "Connections closed at once, by the limit they met.", labels);

	httpd->refused_all = metric_at(refused, (const char *const[]){"all"});
	httpd->refused_address = metric_at(refused, (const char *const[]){"address"});
}

static int start(struct httpd *httpd, struct err *err)
{
	const struct httpd_conf *conf = &httpd->conf;
	size_t max_body = 0;
	int fd, r;

	for (const struct httpd_route *route = conf->routes; route->method; route++)
		if (route->max_body > max_body)
			max_body = route->max_body;
	make_metrics(httpd);
	httpd->setup = event_new(httpd->base, -1, 0, httpd_conn_setup, httpd);
	httpd->resume = evtimer_new(httpd->base, accept_again, httpd);
	httpd->http = evhttp_new(httpd->base);
	if (!httpd->setup || !httpd->resume || !httpd->http || httpd_peers_new(conf->max_connections, &httpd->peers) < 0 || httpd_conn_prepare(httpd) < 0)
		return err_set(err, -PTA_ENOMEM, "listen on %s: no memory", conf->address);
	evhttp_set_allowed_methods(httpd->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
	evhttp_set_default_content_type(httpd->http, NULL);
	evhttp_set_max_headers_size(httpd->http, HTTPD_MAX_HEAD);
	evhttp_set_max_body_size(httpd->http, (ev_ssize_t)max_body);
	evhttp_set_gencb(httpd->http, httpd_handle, httpd);
	evhttp_set_bevcb(httpd->http, httpd_conn_accept, httpd);
	r = httpd_listen(httpd, &fd, err);
	if (r < 0)
		return r;
	httpd->bound = evhttp_accept_socket_with_handle(httpd->http, fd);
	if (!httpd->bound) {
		close(fd);
		return err_set(err, -PTA_ENOMEM, "listen on %s: no memory", conf->address);
	}
	httpd->listener = evhttp_bound_socket_get_listener(httpd->bound);
	evconnlistener_set_error_cb(httpd->listener, accept_paused);
	return 0;
}

int httpd_new(struct event_base *base, const struct httpd_conf *conf, struct httpd **out, struct err *err)
{
	struct httpd *httpd;
	int r;

	if (!conf->max_connections || !conf->request_timeout_ms || !conf->idle_timeout_ms)
		return err_set(err, -PTA_EINVAL, "listen on %s: connections and time-outs must be at least 1", conf->address);
	httpd = calloc(1, sizeof(*httpd));
	if (!httpd)
		return err_set(err, -PTA_ENOMEM, "listen on %s: no memory", conf->address);
	httpd->base = base;
	httpd->conf = *conf;
	if (conf->tls)
		SSL_CTX_up_ref(conf->tls);
	if (!conf->max_per_address)
		httpd->conf.max_per_address = conf->max_connections;
	LIST_INIT(&httpd->conns);
	/* OpenSSL writes with write(2): a peer that is gone must not end the process. */
	signal(SIGPIPE, SIG_IGN);
	r = start(httpd, err);
	httpd->conf.address = NULL; /* the caller's, and needed no longer */
	if (r < 0) {
		httpd_free(httpd);
		return r;
	}
	*out = httpd;
	return 0;
}

static void stop_accepting(struct httpd *httpd)
{
	httpd->draining = true;
	httpd_unlisten(httpd);
	if (httpd->bound)
		evhttp_del_accept_socket(httpd->http, httpd->bound);
	httpd->bound = NULL;
	httpd->listener = NULL;
}

void httpd_drain(struct httpd *httpd)
{
	struct httpd_request *conn, *next;

	stop_accepting(httpd);
	for (conn = LIST_FIRST(&httpd->conns); conn; conn = next) {
		next = LIST_NEXT(conn, link);
		conn->close_after = true;
		if (conn->state == CONN_FIRST || conn->state == CONN_IDLE)
			httpd_conn_kill(conn);
	}
}

void httpd_free(struct httpd *httpd)
{
	if (!httpd)
		return;
	if (httpd->http) {
		stop_accepting(httpd);
		httpd_conn_setup(-1, 0, httpd);
		evhttp_free(httpd->http); /* each connection comes back through its close callback */
	}
	httpd_conn_free(httpd->next);
	httpd_peers_free(httpd->peers);
	if (httpd->setup)
		event_free(httpd->setup);
	if (httpd->resume)
		event_free(httpd->resume);
	SSL_CTX_free(httpd->conf.tls);
	free(httpd);
}

void httpd_set_tls(struct httpd *httpd, SSL_CTX *tls)
{
	const struct timeval soon = {.tv_usec = 100000};

	SSL_CTX_up_ref(tls);
	SSL_CTX_free(httpd->conf.tls);
	httpd->conf.tls = tls;
	if (httpd->draining)
		return;
	/* The connection that stands ready has the old one. */
	httpd_conn_free(httpd->next);
	httpd->next = NULL;
	if (httpd_conn_prepare(httpd) < 0) {
		evconnlistener_disable(httpd->listener);
		event_add(httpd->resume, &soon);
	}
}

unsigned httpd_connections(const struct httpd *httpd)
{
	return httpd->count;
}

unsigned httpd_port(const struct httpd *httpd)
{
	return httpd->port;
}

/* ---- a request ---- */

const uint8_t *httpd_body(struct httpd_request *request, size_t *len)
{
	*len = request->body_len;
	return request->body;
}

void httpd_body_wipe(struct httpd_request *request)
{
	if (!request->body)
		return;
	OPENSSL_cleanse(request->body, request->body_len);
	free(request->body);
	request->body = NULL;
	request->body_len = 0;
}

const char *httpd_header(struct httpd_request *request, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(request->req), name);
}

const char *httpd_query(struct httpd_request *request, const char *name)
{
	if (!request->query_parsed) {
		const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request->req));

		request->query_parsed = true;
		/* What cannot be parsed leaves nothing in it. */
		if (query && evhttp_parse_query_str(query, &request->query) < 0)
			TAILQ_INIT(&request->query);
	}
	return evhttp_find_header(&request->query, name);
}

const char *httpd_peer(struct httpd_request *request)
{
	return request->peer;
}

int httpd_peer_ids(struct httpd_request *request, uid_t *uid, pid_t *pid)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);

	if (strcmp(request->peer, "unix") != 0 || getsockopt(bufferevent_getfd(request->bev), SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.uid == (uid_t)-1)
		return -PTA_ENOENT;
	*uid = peer.uid;
	*pid = peer.pid;
	return 0;
}

X509 *httpd_peer_certificate(struct httpd_request *request)
{
	return request->ssl ? SSL_get0_peer_certificate(request->ssl) : NULL;
}

static void empty(STACK_OF(X509) * chain)
{
	while (sk_X509_num(chain) > 0)
		X509_free(sk_X509_pop(chain));
}

/* OpenSSL keeps it, with the CA's that the peer sends along, in the connection's session and as a verified chain: 10 KB. Reading a session
 * that has none into that one is the only way to let go of it. A session is for resumption, whose ticket is out by now; records have keys
 * of their own. */
void httpd_peer_certificate_forget(struct httpd_request *request)
{
	SSL_SESSION *session = request->ssl ? SSL_get_session(request->ssl) : NULL, *blank;
	unsigned char *der = NULL;
	const unsigned char *at;
	int len = 0;

	if (!session)
		return;
	blank = SSL_SESSION_new();
	if (blank && SSL_SESSION_set_protocol_version(blank, SSL_SESSION_get_protocol_version(session)) &&
		SSL_SESSION_set_cipher(blank, SSL_SESSION_get0_cipher(session)))
		len = i2d_SSL_SESSION(blank, &der);
	at = der;
	if (len > 0 && d2i_SSL_SESSION(&session, &at, len)) {
		empty(SSL_get0_verified_chain(request->ssl));
		empty(SSL_get_peer_cert_chain(request->ssl));
	}
	OPENSSL_free(der);
	SSL_SESSION_free(blank);
	ERR_clear_error();
}

uint64_t httpd_connection_id(struct httpd_request *request)
{
	return request->id;
}

void httpd_connection_set(struct httpd_request *request, void *value, void (*closed)(void *value))
{
	request->value = value;
	request->value_closed = closed;
}

void *httpd_connection_get(struct httpd_request *request)
{
	return request->value;
}

void httpd_on_close(struct httpd_request *request, void (*cb)(void *arg), void *arg)
{
	request->on_close = cb;
	request->on_close_arg = arg;
}

void httpd_request_done(struct httpd_request *conn)
{
	httpd_body_wipe(conn);
	if (conn->query_parsed)
		evhttp_clear_headers(&conn->query);
	conn->query_parsed = false;
	conn->on_close = NULL;
	conn->on_written = NULL;
	conn->req = NULL;
}

/* Only with the watched reply's connection at an end: did any byte of it leave? */
static bool output_moved(struct httpd_request *conn)
{
	if (conn->ssl)
		return BIO_number_written(SSL_get_wbio(conn->ssl)) != conn->output_mark;
	return evbuffer_get_length(bufferevent_get_output(conn->bev)) < conn->output_mark;
}

void httpd_request_gone(struct httpd_request *conn)
{
	void (*on_close)(void *arg) = conn->on_close, *on_close_arg = conn->on_close_arg;
	void (*on_written)(void *arg, bool written) = conn->on_written;
	void *on_written_arg = conn->on_written_arg;
	bool written = on_written && output_moved(conn);

	/* After an error evhttp leaves a request that its handler still has to the handler. */
	if (conn->state == CONN_HANDLED && conn->req && !evhttp_request_get_connection(conn->req))
		evhttp_request_free(conn->req);
	httpd_request_done(conn);
	if (on_close)
		on_close(on_close_arg);
	if (on_written)
		on_written(on_written_arg, written);
}

/* The peer's end of a parked connection. On a reset and on a TCP_USER_TIMEOUT libevent reports only "readable and
 * writable", never EV_CLOSED, and would spin; so this asks for readable too, edge-triggered, and looks. */
static void watched(evutil_socket_t fd, short what, void *arg)
{
	struct httpd_request *conn = arg;
	char byte;

	if (!(what & EV_CLOSED)) {
		ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

		if (n > 0)
			conn->close_after = true; /* it asks ahead: that is not answered here */
		if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
			return;
	}
	httpd_conn_kill(conn);
}

static void park(struct httpd_request *conn)
{
	if (!conn->watch)
		conn->watch = event_new(conn->httpd->base, bufferevent_getfd(conn->bev), EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, watched, conn);
	if (!conn->watch || event_add(conn->watch, NULL) < 0)
		httpd_conn_deadline(conn, 0);
}

static void completed(struct evhttp_request *req, void *arg)
{
	struct httpd_request *conn = arg;
	void (*on_written)(void *arg, bool written) = conn->on_written;
	void *on_written_arg = conn->on_written_arg;

	(void)req;
	httpd_request_done(conn);
	conn->state = CONN_IDLE;
	/* close_after: evhttp closes it right after this, unless a drain began when the reply was on its way. */
	httpd_conn_deadline(conn, conn->close_after ? 0 : conn->httpd->conf.idle_timeout_ms);
	bufferevent_setwatermark(conn->bev, EV_READ, SIZE_MAX, 0);
	if (on_written)
		on_written(on_written_arg, true);
}

void httpd_handle(struct evhttp_request *req, void *arg)
{
	struct httpd *httpd = arg;
	struct httpd_request *conn = httpd->handing;

	httpd->handing = NULL;
	if (!conn || conn->evcon != evhttp_request_get_connection(req)) {
		/* It did not come through the gate: cannot be, and must not be. */
		evhttp_connection_free(evhttp_request_get_connection(req));
		return;
	}
	conn->req = req;
	/* The handler has the body from us. evhttp's, wiped, would keep its piece of 8 KiB for as long as the request is parked. */
	evbuffer_drain(evhttp_request_get_input_buffer(req), conn->body_len);
	evhttp_request_set_on_complete_cb(req, completed, conn);
	conn->head.route->handler(conn, httpd->conf.arg);
	if (conn->state != CONN_HANDLED)
		return;
	if (conn->on_close)
		park(conn);
	else
		httpd_reply_error(conn, 500, "internal", NULL, "the request was not answered");
}

/* ---- replies ---- */

void httpd_reply_header(struct httpd_request *request, const char *name, const char *value)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request->req);

	evhttp_remove_header(headers, name);
	evhttp_add_header(headers, name, value);
}

void httpd_reply_type(struct httpd_request *request, int status, const char *type, const void *body, size_t len)
{
	struct evhttp_request *req = request->req;
	struct evkeyvalq *headers = evhttp_request_get_input_headers(req);
	const char *authorization = evhttp_find_header(headers, "Authorization");

	if (authorization)
		OPENSSL_cleanse((char *)(uintptr_t)authorization, strlen(authorization));
	request->on_close = NULL;
	if (request->watch)
		event_del(request->watch);
	if (len)
		httpd_reply_header(request, "Content-Type", type);
	if (request->close_after)
		httpd_reply_header(request, "Connection", "close");
	request->state = CONN_WRITING;
	if (len && evbuffer_add(evhttp_request_get_output_buffer(req), body, len) < 0) {
		httpd_conn_deadline(request, 0);
		return;
	}
	httpd_body_wipe(request); /* not before: the reply may be made of it */
	evhttp_send_reply(req, status, NULL, NULL);
	/* Head and body are two pieces, which would be two TLS records and two writes. */
	if (len <= JOIN_MAX)
		evbuffer_pullup(bufferevent_get_output(request->bev), -1);
	/* evhttp reads on while it writes, without bound. Whoever reads no answer sends no request. */
	bufferevent_disable(request->bev, EV_READ);
	httpd_conn_deadline(request, request->httpd->conf.request_timeout_ms);
}

void httpd_reply(struct httpd_request *request, int status, const void *body, size_t len)
{
	httpd_reply_type(request, status, "application/json", body, len);
}

void httpd_reply_error(struct httpd_request *request, int status, const char *code, const char *field, const char *fmt, ...)
{
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(4096);
	struct json_writer w = JSON_WRITER(&body);
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	json_put_object(&w, NULL);
	json_put_string(&w, "error", code);
	json_put_string(&w, "message", message);
	if (field)
		json_put_string(&w, "field", field);
	json_end_object(&w);
	httpd_reply(request, status, body.data, buf_ok(&body) ? body.len : 0);
}

void httpd_reply_watched(
	struct httpd_request *request, int status, const char *type, const void *body, size_t len, void (*cb)(void *arg, bool written), void *arg)
{
	request->on_written = cb;
	request->on_written_arg = arg;
	httpd_reply_type(request, status, type, body, len);
	request->output_mark = request->ssl ? BIO_number_written(SSL_get_wbio(request->ssl)) : evbuffer_get_length(bufferevent_get_output(request->bev));
}
