#include "base/control_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static size_t take(char *data, size_t size, size_t n, void *arg)
{
	struct buf *out = arg;

	buf_put(out, data, size * n);
	return out->failed ? 0 : size * n;
}

/* 0 or connect()'s errno; ENAMETOOLONG for a path that no socket can have. */
static int try_connect(const char *socket_path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(socket_path) >= sizeof(sun.sun_path))
		return ENAMETOOLONG;
	memcpy(sun.sun_path, socket_path, strlen(socket_path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	error = connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0 ? errno : 0;
	close(fd);
	return error;
}

bool control_listens(const char *socket_path)
{
	int error = try_connect(socket_path);

	return error != ENOENT && error != ECONNREFUSED && error != ENAMETOOLONG;
}

/* libcurl says "could not connect" for each of these; whoever typed the command needs to know which. */
static int why_not(const char *socket_path, struct err *err)
{
	int error = try_connect(socket_path);

	if (error == ENAMETOOLONG)
		return err_set(err, -PTA_EINVAL, "%s: a socket's path has at most %zu bytes", socket_path, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	if (error == EACCES || error == EPERM)
		return err_set(err, -PTA_EPERM, "%s: permission denied; run this as root or as the daemon's user", socket_path);
	if (error == ENOENT || error == ECONNREFUSED)
		return err_set(err, -PTA_ENET, "%s: nobody listens there; is the daemon running, and does it use this socket?", socket_path);
	return err_set(err, -PTA_ENET, "%s: the daemon does not take the connection; it may be starting, stopping or overloaded", socket_path);
}

static int failed(CURLcode code, const char *socket_path, const char *detail, unsigned timeout_ms, const struct buf *out, struct err *err)
{
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		return why_not(socket_path, err);
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(err, -PTA_ETIMEDOUT, "%s: no answer within %u ms", socket_path, timeout_ms);
	case CURLE_WRITE_ERROR:
		if (out->failed)
			return err_set(err, -PTA_ETOOBIG, "%s: the answer is larger than %zu bytes", socket_path, out->limit);
		break;
	case CURLE_OUT_OF_MEMORY:
		return err_set(err, -PTA_ENOMEM, "%s: no memory", socket_path);
	default:
		break;
	}
	return err_set(err, -PTA_ENET, "%s: %s", socket_path, detail[0] ? detail : curl_easy_strerror(code));
}

/* One request on one handle; every option is checked, because a missing one (no unix sockets in this libcurl) would send the
 * request elsewhere. */
static CURLcode perform(CURL *curl, const char *socket_path, const char *method, const char *url, struct curl_slist *headers, const void *body, size_t len,
	unsigned timeout_ms, struct buf *out, char *detail)
{
	CURLcode code = CURLE_OK;

#define SET(option, value)                                                                                                                                     \
	do {                                                                                                                                                   \
		if (code == CURLE_OK)                                                                                                                          \
			code = curl_easy_setopt(curl, option, value);                                                                                          \
	} while (0)
	SET(CURLOPT_ERRORBUFFER, detail);
	SET(CURLOPT_UNIX_SOCKET_PATH, socket_path);
	SET(CURLOPT_PROXY, ""); /* whatever the environment says */
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_URL, url);
	SET(CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	SET(CURLOPT_WRITEFUNCTION, take);
	SET(CURLOPT_WRITEDATA, out);
	SET(CURLOPT_HTTPHEADER, headers);
	if (!strcmp(method, "POST")) {
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDS, body ? body : "");
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
	}
#undef SET
	return code == CURLE_OK ? curl_easy_perform(curl) : code;
}

int control_call(const char *socket_path, const char *method, const char *path, const void *body, size_t len, unsigned timeout_ms, int *status, struct buf *out,
	struct err *err)
{
	char url[2048], detail[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers;
	CURLcode code;
	CURL *curl;
	long got = 0;
	int r = 0;

	if ((size_t)snprintf(url, sizeof(url), "http://localhost%s", path) >= sizeof(url))
		return err_set(err, -PTA_EINVAL, "%s: the request's path is too long", socket_path);
	/* No "Expect: 100-continue": it would cost a round trip and wins nothing on a local socket. */
	headers = curl_slist_append(NULL, "Expect:");
	if (headers) {
		struct curl_slist *more = curl_slist_append(headers, "Content-Type: application/json");

		if (!more)
			curl_slist_free_all(headers);
		headers = more;
	}
	curl = curl_easy_init();
	if (!curl || !headers) {
		r = err_set(err, -PTA_ENOMEM, "%s: no memory", socket_path);
		goto out;
	}
	code = perform(curl, socket_path, method, url, headers, body, len, timeout_ms, out, detail);
	if (code == CURLE_OK)
		code = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &got);
	if (code != CURLE_OK)
		r = failed(code, socket_path, detail, timeout_ms, out, err);
	else
		*status = (int)got;
out:
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	return r;
}
