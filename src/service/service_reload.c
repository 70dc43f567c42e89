/* A new configuration for a running service: checked whole, then given to each thread. */
#include <stdlib.h>

#include "service/service_thread.h"

struct reload {
	struct service_task task;
	struct service_conf *conf;
	SSL_CTX *signin, *agent;
};

static void reload_free(struct reload *reload)
{
	service_conf_unref(reload->conf);
	SSL_CTX_free(reload->signin);
	SSL_CTX_free(reload->agent);
	free(reload);
}

static void reload_thread(struct service_thread *thread, struct service_task *task)
{
	struct reload *reload = (struct reload *)task;

	service_conf_unref(thread->conf);
	thread->conf = service_conf_ref(reload->conf);
	httpd_set_tls(thread->signin, reload->signin);
	httpd_set_tls(thread->agent, reload->agent);
	reload_free(reload);
}

/* One per thread, all made before any is sent: whole or not at all. */
static int reload_prepare(const struct service *service, struct service_conf *conf, SSL_CTX *signin, SSL_CTX *agent, struct reload **out)
{
	for (unsigned i = 0; i < service->nthreads; i++) {
		out[i] = calloc(1, sizeof(**out));
		if (!out[i]) {
			while (i-- > 0)
				reload_free(out[i]);
			return -PTA_ENOMEM;
		}
		SSL_CTX_up_ref(signin);
		SSL_CTX_up_ref(agent);
		*out[i] = (struct reload){.task.run = reload_thread, .conf = service_conf_ref(conf), .signin = signin, .agent = agent};
	}
	return 0;
}

void service_tls_freep(SSL_CTX **ctx)
{
	SSL_CTX_free(*ctx);
}

int service_tls(const struct service *service, const struct service_conf *conf, SSL_CTX **signin, SSL_CTX **agent, struct err *err)
{
	int r = ca_signin_tls(service->ca, &conf->names, conf->tls_cert, conf->tls_key, signin, err);

	if (r < 0)
		return r;
	r = ca_agent_tls(service->ca, &conf->names, agent, err);
	if (r < 0) {
		SSL_CTX_free(*signin);
		*signin = NULL;
	}
	return r;
}

static int load_conf(const char *path, struct service_conf **out, struct err *err)
{
	struct conf_errors errors;
	int r;

	conf_errors_init(&errors);
	r = service_conf_load(path, out, &errors);
	if (r < 0)
		(void)err_set(err, r, "%s", errors.count ? (const char *)errors.text.data : pta_error_name(r));
	conf_errors_done(&errors);
	return r;
}

int service_reload(struct service *service, struct err *err)
{
	struct service_conf *conf PTA_CLEANUP(service_conf_unrefp) = NULL;
	SSL_CTX *signin PTA_CLEANUP(service_tls_freep) = NULL, *agent PTA_CLEANUP(service_tls_freep) = NULL;
	struct reload *reloads[256];
	int r = load_conf(service->conf_path, &conf, err);

	if (r < 0)
		return r;
	r = service_conf_may_follow(service->conf, conf, err);
	if (r < 0)
		return r;
	r = service_tls(service, conf, &signin, &agent, err);
	if (r < 0)
		return r;
	r = reload_prepare(service, conf, signin, agent, reloads);
	if (r < 0)
		return err_set(err, r, "there is no memory for the new configuration");
	for (unsigned i = 0; i < service->nthreads; i++)
		service_task_post(&service->threads[i], &reloads[i]->task);
	certificates_listeners(&service->certificates, signin, agent);
	service_look_at_certificates(service);
	dispatch_set_queue_limit(service->dispatch, conf->queue_limit);
	service_conf_unref(service->conf);
	service->conf = service_conf_ref(conf);
	return 0;
}
