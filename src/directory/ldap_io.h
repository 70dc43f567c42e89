/* The transport under an LDAP handle: a liblber Sockbuf_IO over a non-blocking socket. libldap's own would burn a core in
 * a TLS handshake with a silent peer and ignore every time-out there. This one waits in poll() until a deadline while the
 * connection is being made (helper threads), and never waits afterwards (the bind thread).
 * It also reads ahead, so that a TLS record costs one recv() instead of two, and knows whether anything was handed to the
 * kernel, which decides whether a password may have been sent. Belongs to one thread at a time. */
#ifndef PTA_DIRECTORY_LDAP_IO_H
#define PTA_DIRECTORY_LDAP_IO_H

#include <ldap.h>
#include <stdbool.h>
#include <stdint.h>

struct ldap_io {
	int fd;
	uint64_t deadline_us; /* not 0: wait for the peer until then */
	bool cut;	      /* nothing is read or written any more */
	bool secret;	      /* what is written next holds a password: wipe it in libldap's buffer */
	bool readable;	      /* the socket may have input: saves libldap a poll() */
	unsigned dry;	      /* reads without input since ldap_io_input() */
	uint64_t sent;	      /* bytes handed to the kernel */
	Sockbuf_IO_Desc *top; /* the wiper: what it reads is LDAP in the clear */
	uint16_t pos, end;
	uint8_t ahead[4096]; /* what was received and not taken yet: TLS records */
};

/* The argument of both is the struct ldap_io. The provider goes below TLS, the wiper above it. liblber has no hook for
 * wiping: LBER_OPT_MEMORY_FNS is ignored for the buffers that libldap itself makes. */
extern Sockbuf_IO ldap_io_provider, ldap_io_wiper;

/* The event loop saw input. */
void ldap_io_input(struct ldap_io *io);
/* Nothing is in flight: takes from TLS what is no data, a session ticket for instance. False when there was data, or the
 * connection ended. */
bool ldap_io_quiet(struct ldap_io *io, Sockbuf *sb);

#endif
