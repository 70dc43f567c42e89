#include "directory/krb5_transport.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/dial.h"
#include "directory/krb5_message.h"

#define FRAME_BYTES 4

/* By a reset: what was asked is answered or given up, and hundreds of connections a second, each a minute in TIME-WAIT, would use up
 * this host's ports. */
void krb5_transport_close(struct krb5_exchange *x)
{
	const struct linger reset = {.l_onoff = 1};

	if (x->fd < 0)
		return;
	(void)setsockopt(x->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(x->fd);
	x->fd = -1;
}

static int lost(struct krb5_exchange *x, int r, const char *what, int error, struct err *err)
{
	const struct directory_server *server = x->server;

	krb5_transport_close(x);
	if (r == -PTA_ETIMEDOUT)
		return err_set(err, r, "KDC %s port %u: %s: no progress in time", server->host, server->kdc_port, what);
	if (error)
		return err_set_errno(err, r, error, "KDC %s port %u: %s", server->host, server->kdc_port, what);
	return err_set(err, r, "KDC %s port %u: %s: it closed the connection", server->host, server->kdc_port, what);
}

static uint64_t step_deadline(const struct krb5_exchange *x)
{
	uint64_t limit = clock_mono_us() + x->reply_timeout_ms * UINT64_C(1000);

	if (!x->sent && x->connect_deadline_us && x->connect_deadline_us < limit)
		limit = x->connect_deadline_us;
	return limit < x->deadline_us ? limit : x->deadline_us;
}

static int connect_kdc(struct krb5_exchange *x, struct err *err)
{
	struct directory_server kdc = *x->server;
	uint64_t start = clock_mono_us();
	int r;

	kdc.port = kdc.kdc_port;
	r = dial(&kdc, false, step_deadline(x), x->reply_timeout_ms, &x->fd, err);
	if (r < 0) {
		x->fd = -1;
		return err_prefix(err, r, "KDC: ");
	}
	x->connect_us += clock_mono_us() - start;
	return 0;
}

/* Nobody asked for what could be there: the end of the connection, or bytes that answer nothing. */
static bool has_input(const struct krb5_exchange *x)
{
	char byte;

	return recv(x->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

/* Returns what was sent in *sent, also on failure; *error is then the errno. */
static int send_all(const struct krb5_exchange *x, const uint8_t *data, size_t len, uint64_t deadline_us, size_t *sent, int *error)
{
	*sent = 0;
	*error = 0;
	while (*sent < len) {
		ssize_t n = send(x->fd, data + *sent, len - *sent, MSG_NOSIGNAL);

		if (n >= 0) {
			*sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			*error = errno;
			return -PTA_ENET;
		}
		if (dial_wait(x->fd, POLLOUT, deadline_us) < 0)
			return -PTA_ETIMEDOUT;
	}
	return 0;
}

static int receive(const struct krb5_exchange *x, uint8_t *out, size_t len, uint64_t deadline_us, size_t *got, int *error)
{
	*got = 0;
	*error = 0;
	while (*got < len) {
		ssize_t n = recv(x->fd, out + *got, len - *got, 0);

		if (n > 0) {
			*got += (size_t)n;
			continue;
		}
		if (n == 0)
			return -PTA_ENET;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			*error = errno;
			return -PTA_ENET;
		}
		if (dial_wait(x->fd, POLLIN, deadline_us) < 0)
			return -PTA_ETIMEDOUT;
	}
	return 0;
}

/* *silent: not a byte came before the KDC closed, as one does that takes one question for each connection. */
static int read_reply(struct krb5_exchange *x, struct buf *reply, bool *silent, struct err *err)
{
	uint64_t deadline_us = step_deadline(x);
	uint8_t frame[FRAME_BYTES];
	uint32_t len;
	size_t got;
	int r, error;

	r = receive(x, frame, sizeof(frame), deadline_us, &got, &error);
	*silent = r == -PTA_ENET && got == 0;
	if (r < 0)
		return lost(x, r, "waiting for the answer", error, err);
	len = (uint32_t)frame[0] << 24 | (uint32_t)frame[1] << 16 | (uint32_t)frame[2] << 8 | frame[3];
	if (len == 0 || len > KRB5_MESSAGE_MAX) {
		krb5_transport_close(x);
		return err_set(err, -PTA_EPROTO, "KDC %s port %u: it announces an answer of %u bytes; is that port a KDC's?", x->server->host,
			x->server->kdc_port, len);
	}
	buf_reserve(reply, len);
	if (!buf_ok(reply)) {
		krb5_transport_close(x);
		return err_set(err, -PTA_ENOMEM, "KDC %s: no memory for an answer of %u bytes", x->server->host, len);
	}
	r = receive(x, reply->data, len, deadline_us, &got, &error);
	if (r < 0)
		return lost(x, r, "in the middle of the answer", error, err);
	reply->len = len;
	return 0;
}

int krb5_transport_ask(struct krb5_exchange *x, const void *message, size_t len, bool proof, struct buf *reply, struct err *err)
{
	struct buf frame PTA_CLEANUP(buf_done) = BUF_INIT_WIPED(KRB5_MESSAGE_MAX + FRAME_BYTES);
	bool reused, silent;
	size_t sent;
	int r, error;

	buf_put_u32(&frame, (uint32_t)len);
	buf_put(&frame, message, len);
	if (!buf_ok(&frame))
		return err_set(err, -PTA_ETOOBIG, "a Kerberos message of %zu bytes is not sent", len);
	/* MIT's KDC closes behind each answer, perhaps just now: then nobody could tell whether it has read a proof. */
	if (x->fd >= 0 && (proof || has_input(x)))
		krb5_transport_close(x);
again:
	buf_reset(reply);
	reused = x->fd >= 0;
	if (!reused) {
		r = connect_kdc(x, err);
		if (r < 0)
			return r;
	}
	r = send_all(x, frame.data, frame.len, step_deadline(x), &sent, &error);
	if (proof && sent > 0)
		x->sent = true;
	if (r == -PTA_ENET && reused) {
		krb5_transport_close(x);
		goto again;
	}
	if (r < 0)
		return lost(x, r, "sending the request", error, err);
	x->asked++;
	r = read_reply(x, reply, &silent, err);
	/* It closed behind its earlier answer. A proof is never here. */
	if (r == -PTA_ENET && silent && reused)
		goto again;
	return r;
}
