/* A connection's life, from accept to close. evhttp owns the connection; this watches over it from three places:
 *  - the bufferevent callback, where evhttp takes a bufferevent for each accepted socket (it does not say which socket
 *    yet: httpd_conn_setup() looks, right after the accept loop and before anything can be read);
 *  - a callback on the input buffer, which sees bytes before evhttp does. The bufferevent's low watermark keeps evhttp away
 *    until a whole request is there that passed the gate (httpd_head), so evhttp never waits with half a request;
 *  - evhttp's close callback, the one place where a connection ends. */
#include <arpa/inet.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/httpd_internal.h"

#define LINGER_MS 2000 /* after a refusal: how long the peer may take to read it */
#define RESUME_MS 100  /* without memory or descriptors: when to accept again */

static void timed_out(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	httpd_conn_kill(arg);
}

int httpd_conn_prepare(struct httpd *httpd)
{
	struct httpd_request *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return -PTA_ENOMEM;
	conn->httpd = httpd;
	TAILQ_INIT(&conn->query);
	conn->timer = evtimer_new(httpd->base, timed_out, conn);
	if (!conn->timer)
		goto fail;
	if (httpd->conf.tls) {
		conn->ssl = SSL_new(httpd->conf.tls);
		if (!conn->ssl)
			goto fail;
		/* Frees the SSL itself when it fails. */
		conn->bev = bufferevent_openssl_socket_new(httpd->base, -1, conn->ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	} else {
		conn->bev = bufferevent_socket_new(httpd->base, -1, 0);
	}
	if (!conn->bev)
		goto fail;
	httpd->next = conn;
	return 0;
fail:
	ERR_clear_error();
	httpd_conn_free(conn);
	return -PTA_ENOMEM;
}

/* evhttp takes NULL for "make a plain one yourself", which on a TLS port would speak HTTP in the clear. So what can fail was
 * done before: there is a connection ready whenever the listener is on. */
struct bufferevent *httpd_conn_accept(struct event_base *base, void *arg)
{
	struct httpd *httpd = arg;
	struct httpd_request *conn = httpd->next;
	const struct timeval soon = {.tv_usec = RESUME_MS * 1000};

	(void)base;
	httpd->next = NULL;
	conn->next_pending = httpd->pending;
	httpd->pending = conn;
	/* Ours lasts until the close callback, whatever evhttp does meanwhile. */
	bufferevent_incref(conn->bev);
	event_active(httpd->setup, EV_TIMEOUT, 0);
	if (httpd_conn_prepare(httpd) < 0) {
		evconnlistener_disable(httpd->listener);
		event_add(httpd->resume, &soon);
	}
	return conn->bev;
}

void httpd_conn_free(struct httpd_request *conn)
{
	if (!conn)
		return;
	httpd_request_done(conn);
	if (conn->timer)
		event_free(conn->timer);
	if (conn->watch)
		event_free(conn->watch);
	if (conn->entered) {
		LIST_REMOVE(conn, link);
		conn->httpd->count--;
		httpd_peers_leave(conn->httpd->peers, conn->peer_key);
	}
	if (conn->bev)
		bufferevent_decref(conn->bev);
	free(conn);
}

void httpd_conn_deadline(struct httpd_request *conn, unsigned ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(conn->timer, &tv);
}

void httpd_conn_kill(struct httpd_request *conn)
{
	evhttp_connection_free(conn->evcon); /* comes back in closed() */
}

/* Wipes len bytes of the buffer from offset on, where they lie, after copying them to out (may be NULL). */
static void wipe_input(struct evbuffer *input, size_t offset, size_t len, uint8_t *out)
{
	struct evbuffer_iovec pieces[16];
	struct evbuffer_ptr pos;

	if (!len || evbuffer_ptr_set(input, &pos, offset, EVBUFFER_PTR_SET) < 0)
		return;
	while (len) {
		int n = evbuffer_peek(input, (ev_ssize_t)len, &pos, pieces, PTA_ARRAY_SIZE(pieces));
		size_t done = 0;

		for (int i = 0; i < n && i < (int)PTA_ARRAY_SIZE(pieces); i++) {
			size_t part = pieces[i].iov_len < len - done ? pieces[i].iov_len : len - done;

			if (out)
				memcpy(out + done, pieces[i].iov_base, part);
			OPENSSL_cleanse(pieces[i].iov_base, part);
			done += part;
		}
		len -= done;
		if (out)
			out += done;
		if (!done || (len && evbuffer_ptr_set(input, &pos, done, EVBUFFER_PTR_ADD) < 0))
			return;
	}
}

static void closed(struct evhttp_connection *evcon, void *arg)
{
	struct httpd_request *conn = arg;
	struct evbuffer *input = bufferevent_get_input(conn->bev);

	(void)evcon;
	evbuffer_remove_cb_entry(input, conn->input_cb);
	wipe_input(input, 0, evbuffer_get_length(input), NULL);
	if (conn->httpd->handing == conn)
		conn->httpd->handing = NULL;
	httpd_request_gone(conn);
	if (conn->value_closed)
		conn->value_closed(conn->value);
	if (conn->ssl && !conn->shut && SSL_is_init_finished(conn->ssl)) {
		SSL_shutdown(conn->ssl); /* close_notify, if it can be sent; not before what was written was counted */
		ERR_clear_error();
	}
	httpd_conn_free(conn);
}

/* ---- refusing: evhttp is put aside, and the connection ends ---- */

static void refused_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);

	(void)arg;
	wipe_input(input, 0, evbuffer_get_length(input), NULL);
	evbuffer_drain(input, evbuffer_get_length(input));
}

/* Closing with unread input would reset the connection, and the peer might never see why: close our side only, and read on
 * until it has closed its own. */
static void refused_written(struct bufferevent *bev, void *arg)
{
	struct httpd_request *conn = arg;

	if (conn->shut)
		return;
	conn->shut = true;
	if (conn->ssl) {
		SSL_shutdown(conn->ssl);
		ERR_clear_error();
	}
	shutdown(bufferevent_getfd(bev), SHUT_WR);
}

static void refused_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	httpd_conn_kill(arg);
}

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{411, "Length Required"},
		{413, "Content Too Large"},
		{415, "Unsupported Media Type"},
		{417, "Expectation Failed"},
		{431, "Request Header Fields Too Large"},
		{503, "Service Unavailable"},
		{505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < PTA_ARRAY_SIZE(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Bad Request";
}

static void refuse(struct httpd_request *conn)
{
	const struct httpd_head *head = &conn->head;
	struct evbuffer *input = bufferevent_get_input(conn->bev), *output = bufferevent_get_output(conn->bev);
	char body[512];
	int len;

	/* Constants all of them, so nothing needs escaping. */
	len = snprintf(body, sizeof(body), "{\"error\":\"%s\",\"message\":\"%s\"%s%s%s}", head->code, head->message, head->field ? ",\"field\":\"" : "",
		head->field ? head->field : "", head->field ? "\"" : "");
	conn->state = CONN_REFUSED;
	wipe_input(input, 0, evbuffer_get_length(input), NULL);
	bufferevent_setcb(conn->bev, refused_read, refused_written, refused_event, conn);
	bufferevent_setwatermark(conn->bev, EV_READ, 0, 0);
	bufferevent_enable(conn->bev, EV_READ | EV_WRITE);
	evbuffer_add_printf(output, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n%s%s%s\r\n%s", head->status,
		reason(head->status), len, head->allow[0] ? "Allow: " : "", head->allow, head->allow[0] ? "\r\n" : "", body);
	httpd_conn_deadline(conn, LINGER_MS);
}

/* ---- reading ---- */

/* Past the bufferevent: its write callback is evhttp's, which would take it for the end of a reply. */
static bool send_continue(struct httpd_request *conn)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	const int len = sizeof(text) - 1;

	if (conn->ssl)
		return SSL_write(conn->ssl, text, len) == len;
	return send(bufferevent_getfd(conn->bev), text, (size_t)len, MSG_NOSIGNAL) == len;
}

/* The whole request is there: evhttp may have it. It gets the body wiped; the one copy is the handler's. */
static void hand_over(struct httpd_request *conn, struct evbuffer *input)
{
	conn->body_len = conn->head.body;
	if (conn->body_len) {
		conn->body = malloc(conn->body_len);
		if (!conn->body) {
			conn->body_len = 0;
			conn->head = (struct httpd_head){.status = 503, .code = "overloaded", .message = "no memory for the body"};
			refuse(conn);
			return;
		}
		wipe_input(input, conn->head.len, conn->body_len, conn->body);
	}
	conn->close_after = conn->httpd->draining || evbuffer_get_length(input) > conn->head.len + conn->head.body;
	conn->state = CONN_HANDLED;
	conn->httpd->handing = conn;
	event_del(conn->timer);
	bufferevent_setwatermark(conn->bev, EV_READ, 0, 0);
}

static void read_head(struct httpd_request *conn, struct evbuffer *input, size_t have)
{
	char copy[HTTPD_MAX_HEAD];
	struct evbuffer_iovec piece;
	const char *data = copy;
	size_t len = have < sizeof(copy) ? have : sizeof(copy);
	enum httpd_head_result r;

	if (evbuffer_peek(input, (ev_ssize_t)len, NULL, &piece, 1) >= 1 && piece.iov_len >= len)
		data = piece.iov_base;
	else
		evbuffer_copyout(input, copy, len);
	r = httpd_head_check(conn->httpd->conf.routes, data, len, &conn->head);
	if (data == copy)
		OPENSSL_cleanse(copy, len);
	if (r == HTTPD_HEAD_MORE)
		return;
	if (r == HTTPD_HEAD_REFUSED) {
		refuse(conn);
		return;
	}
	conn->state = CONN_BODY;
	if (conn->head.expect_continue && have < conn->head.len + conn->head.body && !send_continue(conn))
		httpd_conn_deadline(conn, 0);
}

static void input_changed(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct httpd_request *conn = arg;
	size_t have = evbuffer_get_length(input);

	if (!info->n_added)
		return;
	if (conn->state == CONN_IDLE)
		httpd_conn_deadline(conn, conn->httpd->conf.request_timeout_ms);
	if (conn->state == CONN_IDLE || conn->state == CONN_FIRST)
		conn->state = CONN_HEAD;
	if (conn->state == CONN_HEAD)
		read_head(conn, input, have);
	if (conn->state == CONN_BODY && have >= conn->head.len + conn->head.body)
		hand_over(conn, input);
	else if (conn->state == CONN_HANDLED)
		conn->close_after = true; /* more came in the same read: it asks ahead */
}

/* ---- accepting ---- */

static void name_peer(struct httpd_request *conn, const struct sockaddr *sa)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

	if (sa->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, conn->peer, sizeof(conn->peer));
	else if (sa->sa_family != AF_INET6)
		memcpy(conn->peer, "unix", sizeof("unix"));
	else if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, conn->peer, sizeof(conn->peer));
	else
		inet_ntop(AF_INET6, &in6->sin6_addr, conn->peer, sizeof(conn->peer));
}

static bool may_enter(struct httpd *httpd, struct httpd_request *conn)
{
	if (httpd->count >= httpd->conf.max_connections) {
		metric_add(httpd->refused_all, 1);
		return false;
	}
	if (!httpd_peers_enter(httpd->peers, conn->peer_key, httpd->conf.max_per_address)) {
		metric_add(httpd->refused_address, 1);
		return false;
	}
	return true;
}

static void setup(struct httpd *httpd, struct httpd_request *conn)
{
	const struct sockaddr *sa;
	void *evcon;

	/* evhttp is the callbacks' argument; it has taken them off again if it could not make its connection. */
	bufferevent_getcb(conn->bev, NULL, NULL, NULL, &evcon);
	if (!evcon) {
		httpd_conn_free(conn);
		return;
	}
	conn->evcon = evcon;
	sa = evhttp_connection_get_addr(conn->evcon);
	conn->peer_key = httpd_peer_key(sa);
	conn->input_cb = evbuffer_add_cb(bufferevent_get_input(conn->bev), input_changed, conn);
	if (!conn->input_cb || !may_enter(httpd, conn)) {
		evhttp_connection_free(conn->evcon);
		httpd_conn_free(conn);
		return;
	}
	LIST_INSERT_HEAD(&httpd->conns, conn, link);
	httpd->count++;
	conn->entered = true;
	conn->id = ++httpd->last_id;
	name_peer(conn, sa);
	evhttp_connection_set_closecb(conn->evcon, closed, conn);
	bufferevent_setwatermark(conn->bev, EV_READ, SIZE_MAX, 0);
	httpd_conn_deadline(conn, httpd->conf.request_timeout_ms);
}

void httpd_conn_setup(evutil_socket_t fd, short what, void *arg)
{
	struct httpd *httpd = arg;
	struct httpd_request *conn;

	(void)fd;
	(void)what;
	while ((conn = httpd->pending)) {
		httpd->pending = conn->next_pending;
		setup(httpd, conn);
	}
}
