/* One event thread of the service: base, listeners, mailboxes, timers. Made and freed by the main thread while it does not
 * run; everything else on the thread itself. */
#ifndef PTA_SERVICE_SERVICE_THREAD_H
#define PTA_SERVICE_SERVICE_THREAD_H

#include "service/service.h"

/* The contexts are referenced. thread 0 first: the others share its ports, its control socket is served by it alone. */
PTA_MUST_CHECK int service_thread_init(
	struct service_thread *thread, struct service *service, unsigned index, SSL_CTX *signin, SSL_CTX *agent, struct err *err);
void service_thread_run(struct service_thread *thread);
/* In two steps, since the registry's last replies come between: nothing is listened to and no request is open any more; all is freed. */
void service_thread_close(struct service_thread *thread);
void service_thread_free(struct service_thread *thread);
/* Ends what the closed registry and other threads have sent back. */
void service_thread_drain_mail(struct service_thread *thread);
/* The loop ends when the last connection is closed, or after ms. */
void service_thread_leave(struct service_thread *thread, unsigned ms);

/* The contexts of both listeners by a configuration; released by the caller. In service_reload.c. */
PTA_MUST_CHECK int service_tls(const struct service *service, const struct service_conf *conf, SSL_CTX **signin, SSL_CTX **agent, struct err *err);
void service_tls_freep(SSL_CTX **ctx);

#endif
