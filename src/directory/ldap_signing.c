#include "directory/ldap_signing.h"

#include <errno.h>
#include <lber.h>
#include <ldap.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "directory/dial.h"

int ldap_signing_encode(const char *name, const char *password, struct buf *out)
{
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	struct berval flat;
	int r = -PTA_ENOMEM;

	if (!ber)
		return -PTA_ENOMEM;
	/* LDAPMessage { id, BindRequest { 3, name, [0] password } } */
	if (ber_printf(ber, "{it{ists}}", (ber_int_t)LDAP_SIGNING_MSGID, LDAP_REQ_BIND, (ber_int_t)LDAP_VERSION3, name, LDAP_AUTH_SIMPLE, password) >= 0 &&
		ber_flatten2(ber, &flat, 0) >= 0) {
		buf_put(out, flat.bv_val, flat.bv_len);
		if (buf_ok(out))
			r = 0;
	}
	ber_free(ber, 1);
	return r;
}

/* The bytes of the whole message, by its tag and length (X.690 8.1.3); 0: not known yet, SIZE_MAX: no LDAPMessage. */
static size_t message_len(const uint8_t *data, size_t len)
{
	size_t octets, value = 0;

	if (len == 0)
		return 0;
	if (data[0] != 0x30)
		return SIZE_MAX;
	if (len < 2)
		return 0;
	if (data[1] < 0x80)
		return 2 + (size_t)data[1];
	octets = data[1] & 0x7f;
	/* AD writes four octets of length, whatever it is. */
	if (octets == 0 || octets > 4)
		return SIZE_MAX;
	if (len < 2 + octets)
		return 0;
	for (size_t i = 0; i < octets; i++)
		value = value << 8 | data[2 + i];
	return 2 + octets + value;
}

static int parse(const uint8_t *data, size_t len, struct ldap_signing_answer *out)
{
	struct berval whole = {.bv_val = (char *)(uintptr_t)data, .bv_len = len}, matched, text;
	BerElement *ber = ber_init(&whole);
	ber_int_t id = 0, result = 0;
	ber_tag_t tag = 0;
	int r = -PTA_EPROTO;

	if (!ber)
		return -PTA_ENOMEM;
	if (ber_scanf(ber, "{it{emm", &id, &tag, &result, &matched, &text) != LBER_ERROR && id == LDAP_SIGNING_MSGID && tag == LDAP_RES_BIND) {
		*out = (struct ldap_signing_answer){.result = (int)result};
		if (text.bv_len > 0)
			memcpy(out->diagnostic, text.bv_val, text.bv_len < sizeof(out->diagnostic) ? text.bv_len : sizeof(out->diagnostic) - 1);
		r = 0;
	}
	ber_free(ber, 1);
	return r;
}

int ldap_signing_decode(const void *data, size_t len, struct ldap_signing_answer *out, struct err *err)
{
	size_t whole = message_len(data, len);
	int r;

	if (whole > LDAP_SIGNING_ANSWER_MAX)
		return err_set(err, -PTA_EPROTO, "the answer to the bind is no LDAP message, or longer than %d bytes", LDAP_SIGNING_ANSWER_MAX);
	if (whole == 0 || len < whole)
		return 0;
	r = parse(data, whole, out);
	return r < 0 ? err_set(err, r, "the answer is none to the bind") : 1;
}

static int send_all(int fd, const struct buf *message, uint64_t deadline_us)
{
	for (size_t done = 0; done < message->len;) {
		ssize_t n = send(fd, message->data + done, message->len - done, MSG_NOSIGNAL);
		int r;

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -PTA_ENET;
		r = dial_wait(fd, POLLOUT, deadline_us);
		if (r < 0)
			return r;
	}
	return 0;
}

static int receive(int fd, const struct directory_server *server, uint64_t deadline_us, struct ldap_signing_answer *out, struct err *err)
{
	uint8_t answer[LDAP_SIGNING_ANSWER_MAX];
	size_t len = 0;

	for (;;) {
		ssize_t n;
		int r;

		if (dial_wait(fd, POLLIN, deadline_us) < 0)
			return err_set(err, -PTA_ETIMEDOUT, "no answer of %s port %u to the bind in time", server->host, server->port);
		n = recv(fd, answer + len, sizeof(answer) - len, 0);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return err_set(err, -PTA_ENET, "%s port %u closed the connection instead of answering the bind", server->host, server->port);
		len += (size_t)n;
		r = ldap_signing_decode(answer, len, out, err);
		if (r == 0 && len == sizeof(answer))
			r = err_set(err, -PTA_EPROTO, "the answer to the bind has no end");
		if (r != 0)
			return r < 0 ? err_prefix(err, r, "%s port %u: ", server->host, server->port) : 0;
	}
}

int ldap_signing_ask(const struct directory_server *server, const char *domain, uint64_t deadline_us, struct ldap_signing_answer *out, struct err *err)
{
	struct buf request PTA_CLEANUP(buf_done) = BUF_INIT(2 * LIMIT_DOMAIN);
	char name[LIMIT_DOMAIN + 64], random[RANDOM_ID_LEN + 1], password[RANDOM_ID_LEN + 1];
	int fd, r;

	random_id(random);
	random_id(password);
	snprintf(name, sizeof(name), "pta-check-%s@%s", random, domain);
	r = ldap_signing_encode(name, password, &request);
	if (r < 0)
		return err_set(err, r, "making a bind: out of memory");
	r = dial(server, false, deadline_us, 0, &fd, err);
	if (r < 0)
		return r;
	r = send_all(fd, &request, deadline_us);
	if (r < 0)
		r = err_set(err, r, "sending a bind to %s port %u: %s", server->host, server->port, pta_error_name(r));
	else
		r = receive(fd, server, deadline_us, out, err);
	close(fd);
	return r;
}
