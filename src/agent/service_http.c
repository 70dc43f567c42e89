#include "agent/service_http.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/json.h"
#include "wire/message.h"

#define CONNECT_TIMEOUT_MS 10000
#define BLACK_HOLE_MS 5000 /* TCP_USER_TIMEOUT: unacknowledged data closes the connection */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct service_call *call = arg;

	buf_put(&call->response, data, size * n);
	return buf_ok(&call->response) ? size * n : 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	static const char name[] = MESSAGE_TIME_HEADER ":";
	struct service_call *call = arg;
	size_t len = size * n;
	uint64_t ms = 0;
	size_t i;

	if (len > sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0) {
		for (i = sizeof(name) - 1; i < len && data[i] == ' '; i++)
			;
		for (; i < len && data[i] >= '0' && data[i] <= '9' && ms < UINT64_MAX / 100; i++)
			ms = ms * 10 + (uint64_t)(data[i] - '0');
		call->service_ms = ms;
		call->service_at_us = clock_mono_us();
	}
	return len;
}

/* Keepalive for a parked poll whose peer vanished, the user timeout for data that nobody acknowledges. */
static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	unsigned ms = BLACK_HOLE_MS;

	(void)arg;
	(void)purpose;
	return setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)) < 0 ? CURL_SOCKOPT_ERROR : CURL_SOCKOPT_OK;
}

static CURLcode set_blob(CURL *easy, CURLoption option, const struct buf *pem)
{
	struct curl_blob blob = {.data = pem->data, .len = pem->len, .flags = CURL_BLOB_COPY};

	return curl_easy_setopt(easy, option, &blob);
}

/* Sets an option unless one failed before. */
#define SET(option, value)                                       \
	do {                                                     \
		if (r == CURLE_OK)                               \
			r = curl_easy_setopt(easy, option, value); \
	} while (0)

static CURLcode set_tls(CURL *easy, const struct service_link *link)
{
	CURLcode r = CURLE_OK;

	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	/* Only the service's CA: libcurl's defaults would add the system's folder of CAs. */
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_CAINFO, NULL);
	if (r == CURLE_OK)
		r = set_blob(easy, CURLOPT_CAINFO_BLOB, link->ca_pem);
	if (link->cert_pem && link->key_pem) {
		if (r == CURLE_OK)
			r = set_blob(easy, CURLOPT_SSLCERT_BLOB, link->cert_pem);
		if (r == CURLE_OK)
			r = set_blob(easy, CURLOPT_SSLKEY_BLOB, link->key_pem);
	}
	return r;
}

static CURLcode set_proxy(CURL *easy, const struct agent_conf_proxy *proxy)
{
	struct buf no_proxy = BUF_INIT(16384);
	CURLcode r = CURLE_OK;

	for (size_t i = 0; i < proxy->no_proxy.n; i++)
		buf_printf(&no_proxy, "%s%s", i ? "," : "", proxy->no_proxy.items[i]);
	if (proxy->no_proxy.n > 0 && !buf_ok(&no_proxy))
		r = CURLE_OUT_OF_MEMORY;
	if (proxy->no_proxy.n > 0)
		SET(CURLOPT_NOPROXY, (const char *)no_proxy.data);
	if (proxy->url)
		SET(CURLOPT_PROXY, proxy->url);
	if (proxy->url && proxy->user && proxy->password) {
		SET(CURLOPT_PROXYAUTH, (long)CURLAUTH_ANY);
		SET(CURLOPT_PROXYUSERNAME, proxy->user);
		SET(CURLOPT_PROXYPASSWORD, (const char *)secret_bytes(proxy->password));
	}
	buf_done(&no_proxy);
	return r;
}

static CURLcode set_transport(CURL *easy, unsigned timeout_ms)
{
	CURLcode r = CURLE_OK;

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	SET(CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L); /* a new connection asks the DNS anew */
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, 10L);
	SET(CURLOPT_TCP_KEEPINTVL, 5L);
	SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
	return r;
}

/* No "100 Continue" round trip in front of a big batch. */
static struct curl_slist *headers_new(const char *type)
{
	struct curl_slist *headers = NULL, *longer;
	char *line;

	if (asprintf(&line, "Content-Type: %s", type) < 0)
		return NULL;
	headers = curl_slist_append(NULL, line);
	free(line);
	longer = headers ? curl_slist_append(headers, "Expect:") : NULL;
	if (!longer)
		curl_slist_free_all(headers);
	return longer;
}

int service_call_init(struct service_call *call, const struct service_link *link, const char *path, const char *type, size_t max_request, size_t max_answer,
	unsigned timeout_ms, struct err *err)
{
	CURLcode r = CURLE_OUT_OF_MEMORY;
	CURL *easy;

	memset(call, 0, sizeof(*call));
	call->request = BUF_INIT(max_request);
	call->response = BUF_INIT(max_answer);
	call->easy = easy = curl_easy_init();
	call->headers = headers_new(type);
	if (easy && call->headers && asprintf(&call->url, "%s%s", link->url, path) >= 0)
		r = set_transport(easy, timeout_ms);
	if (r == CURLE_OK)
		r = set_tls(easy, link);
	if (r == CURLE_OK)
		r = set_proxy(easy, &link->conf->proxy);
	SET(CURLOPT_URL, call->url);
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_HTTPHEADER, call->headers);
	SET(CURLOPT_USERAGENT, "pta-agent/" PACKAGE_VERSION);
	SET(CURLOPT_ERRORBUFFER, call->error);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, call);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, call);
	SET(CURLOPT_PRIVATE, call);
	if (r == CURLE_OK)
		return 0;
	service_call_done(call);
	return err_set(err, r == CURLE_OUT_OF_MEMORY ? -PTA_ENOMEM : -PTA_EINVAL, "prepare a call of %s%s: %s", link->url, path, curl_easy_strerror(r));
}

void service_call_done(struct service_call *call)
{
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	free(call->url);
	buf_done(&call->request);
	buf_done(&call->response);
	memset(call, 0, sizeof(*call));
}

void service_call_arm(struct service_call *call)
{
	buf_reset(&call->response);
	call->service_ms = 0;
	call->error[0] = '\0';
	curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->request.len);
	curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->request.len ? (const char *)call->request.data : "");
}

static int error_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return -PTA_ETIMEDOUT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
		return -PTA_ETLS;
	case CURLE_WRITE_ERROR:
		return -PTA_ETOOBIG;
	case CURLE_OUT_OF_MEMORY:
		return -PTA_ENOMEM;
	default:
		return -PTA_ENET;
	}
}

int service_call_outcome(const struct service_call *call, CURLcode code, int *status, struct err *err)
{
	long answered = 0;

	if (code != CURLE_OK)
		return err_set(err, error_of(code), "POST %s: %s", call->url, call->error[0] ? call->error : curl_easy_strerror(code));
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &answered);
	*status = (int)answered;
	return 0;
}

int service_call_perform(struct service_call *call, int *status, struct err *err)
{
	service_call_arm(call);
	return service_call_outcome(call, curl_easy_perform(call->easy), status, err);
}

/* Fit for a terminal: JSON strings are UTF-8 already, and may still hold control characters. */
static bool printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

void service_error_text(const struct service_call *call, int status, char *text, size_t cap, char code[32])
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	const char *word = "", *message = "";
	struct json_fields f;

	if (call->response.len > 0 && json_parse(call->response.data, call->response.len, &doc, NULL) == 0) {
		json_fields_begin(&f, json_root(doc), NULL);
		word = json_string(&f, "error", 1, 31, NULL);
		message = json_string(&f, "message", 0, 400, NULL);
	}
	if (code)
		snprintf(code, 32, "%s", word);
	if (word[0] && printable(word) && printable(message))
		snprintf(text, cap, "the service says: %s (%d %s)", message, status, word);
	else
		snprintf(text, cap, "the service answered with status %d", status);
}
