/* Shared by signin.c (the way of a sign-in) and signin_answer.c (its end). */
#ifndef PTA_SERVICE_SIGNIN_IMPL_H
#define PTA_SERVICE_SIGNIN_IMPL_H

#include "service/signin.h"

struct signin {
	struct dispatch_request request; /* id and verdict are in here */
	struct service_thread *thread;
	struct httpd_request *http; /* NULL: the client has hung up */
	struct signin_input input;  /* the password is gone once it is sealed */
	char app[LIMIT_ID + 1];	    /* "control" for the control socket */
	char domain[LIMIT_DOMAIN + 1];
	char peer[LIMIT_CLIENT_IP + 1];
	bool details; /* the app is told what was not proved as well */
	uint64_t started_us;
	/* of an invalid_request */
	const char *field; /* "" for none */
	struct err err;
};

/* Appends the answer to the client; check buf_ok(). */
void signin_answer_encode(struct buf *out, const struct signin *s, int status, uint64_t took_us);

/* Replies by the verdict, writes the audit line, counts, frees. */
void signin_end(struct signin *s);

#endif
