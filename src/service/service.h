/* The running pta-service: its parts and its event threads. Built by one thread, immutable while the others run, but for
 * what says how it is guarded. */
#ifndef PTA_SERVICE_SERVICE_H
#define PTA_SERVICE_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/httpd.h"
#include "base/mailbox.h"
#include "service/ca.h"
#include "service/certificates.h"
#include "service/dispatch.h"
#include "service/registry.h"
#include "service/sealer.h"
#include "service/service_conf.h"

struct service_thread;

struct service {
	const char *conf_path;
	struct service_conf *conf; /* thread 0's; the others use thread->conf */
	struct ca *ca;
	struct certificates certificates; /* thread 0's */
	struct registry *registry;
	struct dispatch *dispatch;
	struct service_thread *threads;
	unsigned nthreads;
	uint64_t started_ms; /* wall clock */
	atomic_bool draining;
	_Atomic uint64_t registry_applied; /* the generation whose agents' states the dispatcher knows */
};

/* Everything here belongs to the thread. */
struct service_thread {
	struct service *service;
	unsigned index;
	pthread_t id;
	struct service_conf *conf; /* referenced; swapped on reload */
	struct event_base *base;
	struct httpd *signin, *agent;
	struct httpd *control, *metrics; /* thread 0's */
	struct dispatch_port *port;
	struct sealer *sealer;
	struct message_list requests; /* of the batch being encoded */
	struct buf scratch;	      /* that batch */
	struct mailbox *tasks;	 /* struct service_task */
	struct mailbox *replies; /* struct service_call */
	struct event *port_event, *handout_event, *tasks_event, *replies_event, *due_event, *tick_event, *leave_event;
	uint64_t due_us;   /* what due_event is armed for */
	uint64_t leave_us; /* while leaving: when at the latest */
	struct registry_snapshot *snapshot;
	uint64_t generation;
};

/* Runs until SIGTERM; returns an enum cli_exit. Errors are on stderr. */
int service_run(const char *conf_path);

/* SIGHUP. Thread 0 only. On an error the old configuration stays and err says why. */
PTA_MUST_CHECK int service_reload(struct service *service, struct err *err);

/* The newest registry, valid until the handler returns. */
const struct registry_snapshot *service_snapshot(struct service_thread *thread);

/* Looks at service->certificates as of now, and warns. Thread 0 only. */
void service_look_at_certificates(struct service *service);

/* The dispatch port has something that ends at this time (clock_mono_us()): wake up for it. */
void service_due(struct service_thread *thread, uint64_t when_us);

/* Work for the registry's writer whose end comes back to this thread, after the dispatcher has heard of the change. Embed it; call.run
 * and done are set by the caller, the rest by service_call_submit(). */
struct service_call {
	struct registry_call call;
	struct service_thread *thread;
	void (*done)(struct service_call *call);
};
void service_call_submit(struct service_thread *thread, struct service_call *call);

/* Something to run on another event thread. */
struct service_task {
	struct mail mail;
	void (*run)(struct service_thread *thread, struct service_task *task);
};
void service_task_post(struct service_thread *thread, struct service_task *task);

#endif
