#include "directory/ldap_io.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/secret.h"
#include "directory/dial.h"

/* GnuTLS renegotiation inside libldap spins on a socket without input. After so many dry reads the connection is cut. */
#define MAX_DRY_READS 16

/* liblber makes its request buffers at least that big. */
#define LBER_BUFFER_MIN 4060
/* It reserves five length bytes for each of the two sequences around a bind and closes the gaps later, which leaves a copy
 * of the message's last bytes, the password's end, behind the message. */
#define LBER_TAIL 8

static int io_setup(Sockbuf_IO_Desc *desc, void *arg)
{
	desc->sbiod_pvt = arg;
	return 0;
}

static int io_remove(Sockbuf_IO_Desc *desc)
{
	desc->sbiod_pvt = NULL;
	return 0;
}

static int io_ctrl(Sockbuf_IO_Desc *desc, int opt, void *arg)
{
	const struct ldap_io *io = desc->sbiod_pvt;

	(void)arg;
	/* Where there is a deadline, it is waited for here, not in libldap's own poll(). */
	return opt == LBER_SB_OPT_DATA_READY && (io->readable || io->deadline_us || io->pos < io->end);
}

static ber_slen_t fail(struct ldap_io *io, int error)
{
	io->cut = true;
	io->readable = false;
	errno = error;
	return -1;
}

static ber_slen_t receive(struct ldap_io *io, void *out, size_t len)
{
	for (;;) {
		ssize_t n = recv(io->fd, out, len, 0);

		if (n > 0)
			return n;
		if (n == 0)
			return fail(io, ECONNRESET);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return fail(io, errno);
		if (io->deadline_us) {
			if (dial_wait(io->fd, POLLIN, io->deadline_us) < 0)
				return fail(io, ETIMEDOUT);
			continue;
		}
		io->readable = false;
		if (++io->dry > MAX_DRY_READS)
			return fail(io, ECONNABORTED);
		errno = EAGAIN;
		return -1;
	}
}

static ber_slen_t io_read(Sockbuf_IO_Desc *desc, void *out, ber_len_t len)
{
	struct ldap_io *io = desc->sbiod_pvt;
	size_t n;

	if (io->cut)
		return fail(io, ECONNABORTED);
	if (io->pos == io->end) {
		ber_slen_t got;

		if (len >= sizeof(io->ahead))
			return receive(io, out, len);
		got = receive(io, io->ahead, sizeof(io->ahead));
		if (got < 0)
			return got;
		io->pos = 0;
		io->end = (uint16_t)got;
		/* A short read emptied the socket; epoll tells when there is more. */
		if ((size_t)got < sizeof(io->ahead))
			io->readable = false;
	}
	n = (size_t)(io->end - io->pos);
	if (n > len)
		n = len;
	memcpy(out, io->ahead + io->pos, n);
	io->pos += (uint16_t)n;
	return (ber_slen_t)n;
}

static ber_slen_t io_write(Sockbuf_IO_Desc *desc, void *data, ber_len_t len)
{
	struct ldap_io *io = desc->sbiod_pvt;

	if (io->cut)
		return fail(io, ECONNABORTED);
	for (;;) {
		ssize_t n = send(io->fd, data, len, MSG_NOSIGNAL);

		if (n >= 0) {
			io->sent += (uint64_t)n;
			return n;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return fail(io, errno);
		/* With one request in flight the socket's buffer is never full, unless the peer has stopped taking anything. */
		if (!io->deadline_us || dial_wait(io->fd, POLLOUT, io->deadline_us) < 0)
			return fail(io, ETIMEDOUT);
	}
}

static int wiper_setup(Sockbuf_IO_Desc *desc, void *arg)
{
	struct ldap_io *io = arg;

	desc->sbiod_pvt = io;
	io->top = desc;
	return 0;
}

static int wiper_ctrl(Sockbuf_IO_Desc *desc, int opt, void *arg)
{
	return desc->sbiod_next->sbiod_io->sbi_ctrl(desc->sbiod_next, opt, arg);
}

static ber_slen_t wiper_read(Sockbuf_IO_Desc *desc, void *out, ber_len_t len)
{
	return desc->sbiod_next->sbiod_io->sbi_read(desc->sbiod_next, out, len);
}

static ber_slen_t wiper_write(Sockbuf_IO_Desc *desc, void *data, ber_len_t len)
{
	struct ldap_io *io = desc->sbiod_pvt;
	ber_slen_t n = desc->sbiod_next->sbiod_io->sbi_write(desc->sbiod_next, data, len);

	/* It is sent whole or the connection is given up: libldap needs the bytes no more. */
	if (io->secret) {
		if (n != (ber_slen_t)len)
			io->cut = true;
		secret_wipe(data, len + (len + LBER_TAIL <= LBER_BUFFER_MIN ? LBER_TAIL : 0));
	}
	return n;
}

/* The owner closes the fd, after it has left the event loop: libldap would close it in the middle of a read. */
static int io_close(Sockbuf_IO_Desc *desc)
{
	struct ldap_io *io = desc->sbiod_pvt;

	io->cut = true;
	return 0;
}

Sockbuf_IO ldap_io_provider = {
	.sbi_setup = io_setup,
	.sbi_remove = io_remove,
	.sbi_ctrl = io_ctrl,
	.sbi_read = io_read,
	.sbi_write = io_write,
	.sbi_close = io_close,
};

Sockbuf_IO ldap_io_wiper = {
	.sbi_setup = wiper_setup,
	.sbi_remove = io_remove,
	.sbi_ctrl = wiper_ctrl,
	.sbi_read = wiper_read,
	.sbi_write = wiper_write,
	.sbi_close = NULL,
};

void ldap_io_input(struct ldap_io *io)
{
	io->readable = true;
	io->dry = 0;
}

bool ldap_io_quiet(struct ldap_io *io, Sockbuf *sb)
{
	ber_slen_t n;
	char byte;

	ldap_io_input(io);
	do {
		/* A TLS layer answers 0 both at the end and when it has to wait. */
		errno = 0;
		n = wiper_read(io->top, &byte, 1);
		if (n > 0 || io->cut || (errno != EAGAIN && errno != EWOULDBLOCK))
			return false;
	} while (ber_sockbuf_ctrl(sb, LBER_SB_OPT_DATA_READY, NULL));
	return true;
}
