/* Load on a running service: HTTPS clients on kept connections post sign-ins, one thread, event-driven. Reports the rate, the times from
 * request to answer, and how often each verdict came.
 *
 *   signin_load --url https://localhost:8443 --ca ca.pem --key-file app.key --user 'user{n}@corp.example.com' --numbers 1-10000
 *               --password 'Password-{n}' --connections 32 --in-flight 32 --requests 100000 [--json]
 *
 * {n} is a number of the range, taken in turn; {05n} pads it with zeros to five digits. Exit status 1 when a request failed. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"

#define VERDICTS_MAX 32
#define ANSWER_MAX 65536

struct options {
	const char *url, *ca, *key_file, *user, *password;
	unsigned long first, last, connections, in_flight, requests;
	bool json;
};

struct client {
	TAILQ_ENTRY(client) idle;
	struct load *load;
	struct bufferevent *bev;
	bool ready, busy;
	uint64_t sent_us;
};

struct load {
	struct options opt;
	struct event_base *base;
	SSL_CTX *tls;
	struct addrinfo *address;
	char host[256], key[256];
	struct client *clients;
	TAILQ_HEAD(, client) idle;
	unsigned long number, started, ended, in_flight, ready, errors;
	uint64_t begin_us, end_us;
	uint32_t *times_us;
	struct {
		char name[48];
		unsigned long count;
	} verdicts[VERDICTS_MAX];
};

static void die(const char *fmt, ...)
{
	va_list ap;

	fputs("signin_load: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static void start_some(struct load *load);
static void dial(struct client *client);

static void count_verdict(struct load *load, const char *name, size_t len)
{
	for (unsigned i = 0; i < VERDICTS_MAX; i++) {
		if (!load->verdicts[i].count)
			snprintf(load->verdicts[i].name, sizeof(load->verdicts[i].name), "%.*s", (int)len, name);
		else if (strlen(load->verdicts[i].name) != len || memcmp(load->verdicts[i].name, name, len))
			continue;
		load->verdicts[i].count++;
		return;
	}
}

static void finish(struct client *client, bool ok)
{
	struct load *load = client->load;

	client->busy = false;
	load->in_flight--;
	if (ok)
		load->times_us[load->ended - load->errors] = (uint32_t)(clock_mono_us() - client->sent_us);
	else
		load->errors++;
	if (++load->ended == load->opt.requests) {
		load->end_us = clock_mono_us();
		event_base_loopbreak(load->base);
	}
}

/* The verdict of an answer, or its HTTP status when it has none ("http_401"). */
static void judge(struct load *load, const char *head, const char *body, size_t len)
{
	static const char mark[] = "\"verdict\":\"";
	const char *at = memmem(body, len, mark, sizeof(mark) - 1), *end;
	char status[16];

	at = at ? at + sizeof(mark) - 1 : NULL;
	end = at ? memchr(at, '"', len - (size_t)(at - body)) : NULL;
	if (end) {
		count_verdict(load, at, (size_t)(end - at));
		return;
	}
	snprintf(status, sizeof(status), "http_%.3s", head + strlen("HTTP/1.1 "));
	count_verdict(load, status, strlen(status));
}

static void readable(struct bufferevent *bev, void *arg)
{
	struct client *client = arg;
	struct evbuffer *input = bufferevent_get_input(bev);
	size_t have = evbuffer_get_length(input), want;
	const char *data = (const char *)evbuffer_pullup(input, -1), *body, *length;

	body = data ? memmem(data, have, "\r\n\r\n", 4) : NULL;
	if (!body)
		return;
	length = memmem(data, (size_t)(body - data), "Content-Length: ", 16);
	want = length ? strtoul(length + 16, NULL, 10) : 0;
	body += 4;
	if (have - (size_t)(body - data) < want)
		return;
	judge(client->load, data, body, want);
	evbuffer_drain(input, have);
	finish(client, true);
	TAILQ_INSERT_TAIL(&client->load->idle, client, idle);
	start_some(client->load);
}

static void changed(struct bufferevent *bev, short what, void *arg)
{
	struct client *client = arg;
	struct load *load = client->load;

	if (what & BEV_EVENT_CONNECTED) {
		int on = 1;

		setsockopt(bufferevent_getfd(bev), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		client->ready = true;
		TAILQ_INSERT_TAIL(&load->idle, client, idle);
		/* Handshakes are not measured: begin when all are done. */
		if (++load->ready == load->opt.connections && !load->begin_us)
			load->begin_us = clock_mono_us();
		if (load->begin_us)
			start_some(load);
		return;
	}
	if (!client->ready)
		die("cannot connect to %s: %s", load->opt.url,
			ERR_peek_error() || bufferevent_get_openssl_error(bev) ? ERR_reason_error_string(bufferevent_get_openssl_error(bev))
									       : evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
	/* Cut: whatever was under way is an error, and a new connection takes its place. */
	load->ready--;
	if (client->busy)
		finish(client, false);
	else
		TAILQ_REMOVE(&load->idle, client, idle);
	bufferevent_free(bev);
	dial(client);
}

static void dial(struct client *client)
{
	struct load *load = client->load;
	SSL *ssl = SSL_new(load->tls);
	int r;

	if (!ssl)
		die("no memory");
	r = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), load->host);
	if (!r && (SSL_set1_host(ssl, load->host) != 1 || SSL_set_tlsext_host_name(ssl, load->host) != 1))
		die("no memory");
	ERR_clear_error();
	client->ready = false;
	client->bev = bufferevent_openssl_socket_new(load->base, -1, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
	if (!client->bev)
		die("no memory");
	bufferevent_setcb(client->bev, readable, NULL, changed, client);
	bufferevent_enable(client->bev, EV_READ | EV_WRITE);
	if (bufferevent_socket_connect(client->bev, load->address->ai_addr, (int)load->address->ai_addrlen) < 0)
		die("cannot connect to %s", load->opt.url);
}

/* Appends the template with its number put in. */
static void fill(struct buf *out, const char *template, unsigned long n)
{
	const char *open;

	while ((open = strchr(template, '{'))) {
		char *end;
		unsigned long width = strtoul(open + 1, &end, 10);

		if (end[0] != 'n' || end[1] != '}' || width > 20)
			die("%s: only {n} and {05n} stand in a template", open);
		buf_put(out, template, (size_t)(open - template));
		buf_printf(out, "%0*lu", (int)width, n);
		template = end + 2;
	}
	buf_puts(out, template);
}

static void send_one(struct client *client)
{
	struct load *load = client->load;
	const struct options *opt = &load->opt;
	struct buf user = BUF_INIT(2048), password = BUF_INIT(2048), body = BUF_INIT(16384);
	struct json_writer w = JSON_WRITER(&body);

	fill(&user, opt->user, load->number);
	fill(&password, opt->password, load->number);
	load->number = load->number == opt->last ? opt->first : load->number + 1;
	json_put_object(&w, NULL);
	json_put_string(&w, "username", (const char *)user.data);
	json_put_string(&w, "password", (const char *)password.data);
	json_end_object(&w);
	if (!buf_ok(&user) || !buf_ok(&password) || !buf_ok(&body))
		die("a user name or password is too long");
	client->busy = true;
	client->sent_us = clock_mono_us();
	evbuffer_add_printf(bufferevent_get_output(client->bev),
		"POST /v1/signin HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		load->host, load->key, body.len, (const char *)body.data);
	buf_done(&user);
	buf_done(&password);
	buf_done(&body);
}

static void start_some(struct load *load)
{
	struct client *client;

	while (load->started < load->opt.requests && load->in_flight < load->opt.in_flight && (client = TAILQ_FIRST(&load->idle))) {
		TAILQ_REMOVE(&load->idle, client, idle);
		load->started++;
		load->in_flight++;
		send_one(client);
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile_ms(const struct load *load, size_t n, double p)
{
	return n ? load->times_us[(size_t)((double)(n - 1) * p)] / 1000.0 : 0;
}

static void report(struct load *load)
{
	size_t n = load->ended - load->errors;
	double seconds = (double)(load->end_us - load->begin_us) / 1e6, rate = (double)load->ended / seconds;
	static const struct {
		const char *name;
		double p;
	} rows[] = {{"p50_ms", 0.5}, {"p99_ms", 0.99}, {"p999_ms", 0.999}, {"max_ms", 1}};
	struct buf out = BUF_INIT(65536);
	struct json_writer w = JSON_WRITER(&out);

	qsort(load->times_us, n, sizeof(load->times_us[0]), by_value);
	json_put_object(&w, NULL);
	json_put_uint(&w, "requests", load->ended);
	json_put_uint(&w, "connections", load->opt.connections);
	json_put_uint(&w, "in_flight", load->opt.in_flight);
	json_put_double(&w, "seconds", seconds);
	json_put_double(&w, "rate", rate);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++)
		json_put_double(&w, rows[i].name, percentile_ms(load, n, rows[i].p));
	json_put_uint(&w, "errors", load->errors);
	json_put_object(&w, "verdicts");
	for (unsigned i = 0; i < VERDICTS_MAX && load->verdicts[i].count; i++)
		json_put_uint(&w, load->verdicts[i].name, load->verdicts[i].count);
	json_end_object(&w);
	json_end_object(&w);
	if (load->opt.json) {
		puts((const char *)out.data);
	} else {
		printf("%lu sign-ins in %.2f s: %.0f/s, %lu in flight on %lu connections, %lu errors\n", load->ended, seconds, rate, load->opt.in_flight,
			load->opt.connections, load->errors);
		for (size_t i = 0; i < PTA_ARRAY_SIZE(rows); i++)
			printf("%-8s %8.3f\n", rows[i].name, percentile_ms(load, n, rows[i].p));
		for (unsigned i = 0; i < VERDICTS_MAX && load->verdicts[i].count; i++)
			printf("%-24s %lu\n", load->verdicts[i].name, load->verdicts[i].count);
	}
	buf_done(&out);
}

static unsigned long number(const char *text, const char *option, char **end)
{
	unsigned long n;
	char *stop;

	errno = 0;
	n = strtoul(text, &stop, 10);
	if (errno || stop == text || (!end && *stop))
		die("--%s %s: not a number", option, text);
	if (end)
		*end = stop;
	return n;
}

static void read_options(int argc, char **argv, struct options *opt)
{
	static const struct option names[] = {
		{"url", required_argument, NULL, 'u'},
		{"ca", required_argument, NULL, 'a'},
		{"key-file", required_argument, NULL, 'k'},
		{"user", required_argument, NULL, 'n'},
		{"numbers", required_argument, NULL, 'r'},
		{"password", required_argument, NULL, 'p'},
		{"connections", required_argument, NULL, 'c'},
		{"in-flight", required_argument, NULL, 'i'},
		{"requests", required_argument, NULL, 'm'},
		{"json", no_argument, NULL, 'j'},
		{0},
	};
	char *end;
	int c;

	*opt = (struct options){.first = 1, .last = 1, .in_flight = 1, .requests = 1000};
	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'u':
			opt->url = optarg;
			break;
		case 'a':
			opt->ca = optarg;
			break;
		case 'k':
			opt->key_file = optarg;
			break;
		case 'n':
			opt->user = optarg;
			break;
		case 'p':
			opt->password = optarg;
			break;
		case 'c':
			opt->connections = number(optarg, "connections", NULL);
			break;
		case 'i':
			opt->in_flight = number(optarg, "in-flight", NULL);
			break;
		case 'm':
			opt->requests = number(optarg, "requests", NULL);
			break;
		case 'j':
			opt->json = true;
			break;
		case 'r':
			opt->first = number(optarg, "numbers", &end);
			opt->last = *end == '-' ? number(end + 1, "numbers", NULL) : opt->first;
			break;
		default:
			exit(2);
		}
	}
	if (!opt->connections)
		opt->connections = opt->in_flight;
	if (!opt->url || !opt->ca || !opt->key_file || !opt->user || !opt->password || !opt->in_flight || !opt->requests || opt->last < opt->first)
		die("--url, --ca, --key-file, --user and --password are needed; the comment at the top of signin_load.c shows a call");
}

static void prepare(struct load *load)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct buf key = BUF_INIT(sizeof(load->key) - 1);
	char port[8] = "443";
	const char *at, *colon;
	struct err err;
	size_t len;
	int r;

	if (strncmp(load->opt.url, "https://", 8))
		die("--url %s: want https://host:port", load->opt.url);
	at = load->opt.url + 8;
	colon = strrchr(at, ':');
	len = colon ? (size_t)(colon - at) : strlen(at);
	snprintf(load->host, sizeof(load->host), "%.*s", (int)len, at);
	if (colon)
		snprintf(port, sizeof(port), "%s", colon + 1);
	r = getaddrinfo(load->host, port, &hints, &load->address);
	if (r)
		die("--url %s: %s", load->opt.url, gai_strerror(r));
	if (file_read(load->opt.key_file, sizeof(load->key) - 1, &key, &err) < 0)
		die("%s", err.text);
	snprintf(load->key, sizeof(load->key), "%.*s", (int)strcspn((const char *)key.data, "\r\n"), (const char *)key.data);
	buf_done(&key);
	load->tls = SSL_CTX_new(TLS_client_method());
	if (!load->tls || SSL_CTX_load_verify_locations(load->tls, load->opt.ca, NULL) != 1)
		die("--ca %s: cannot be read as certificates", load->opt.ca);
	SSL_CTX_set_verify(load->tls, SSL_VERIFY_PEER, NULL);
	load->base = event_base_new();
	load->clients = calloc(load->opt.connections, sizeof(load->clients[0]));
	load->times_us = calloc(load->opt.requests, sizeof(load->times_us[0]));
	if (!load->base || !load->clients || !load->times_us)
		die("no memory");
	TAILQ_INIT(&load->idle);
	load->number = load->opt.first;
}

int main(int argc, char **argv)
{
	struct load load = {0};

	signal(SIGPIPE, SIG_IGN);
	read_options(argc, argv, &load.opt);
	prepare(&load);
	for (unsigned long i = 0; i < load.opt.connections; i++) {
		load.clients[i].load = &load;
		dial(&load.clients[i]);
	}
	event_base_dispatch(load.base);
	report(&load);
	for (unsigned long i = 0; i < load.opt.connections; i++)
		bufferevent_free(load.clients[i].bev);
	event_base_loop(load.base, EVLOOP_NONBLOCK);
	event_base_free(load.base);
	SSL_CTX_free(load.tls);
	freeaddrinfo(load.address);
	free(load.clients);
	free(load.times_us);
	return load.errors ? 1 : 0;
}
