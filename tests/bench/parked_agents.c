/* Plays thousands of agents on one service, each with an identity, a connection and a parked poll of its own, and signs people in at
 * random domains: each request must arrive at an agent of the right group, which alone can open it.
 *
 *   parked_agents --url https://127.0.0.1:8444 --signin-url https://127.0.0.1:8443 --ca ca.crt --key-file key --tokens file [--in-flight 32]
 *
 * Does what the lines on stdin say, and answers each with a line of JSON; meanwhile the agents park their polls again:
 *   register      all agents, a token of the file for each
 *   park N        until N of them have a poll parked
 *   signin N      sign-ins, --in-flight of them at a time: the time until the agent has opened the request, and until the client has its verdict
 *   status
 * Ends with its stdin. Exit status 1: something was not as it must be; 2: wrong use. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "tests/bench/parked_agent.h"

#define STEP_MS 20000 /* longer than any sign-in may take */

struct driver;

struct client {
	struct tls_link link;
	struct driver *driver;
	const struct parked_agent *meant; /* one of the group that shall get it */
	unsigned long number;		  /* of its sign-in */
	uint64_t posted_us;
	bool busy, arrived;
};

struct driver {
	struct tls_loop loop;
	struct parked_fleet fleet;
	struct tls_target signin;
	const char *url, *signin_url, *ca, *key_file, *tokens;
	unsigned long in_flight;
	char headers[300];
	struct client *clients;
	/* of the sign-ins that run */
	unsigned long wanted, posted, done, success;
	uint32_t *hand_over_us, *whole_us;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "parked_agents: %s\n", what);
	exit(1);
}

/* ---- sign-ins ---- */

static void post_signin(struct client *client)
{
	struct driver *driver = client->driver;
	struct buf body = BUF_INIT(1024);

	if (driver->posted == driver->wanted)
		return;
	client->number = ++driver->posted;
	client->meant = &driver->fleet.agents[(size_t)random() % driver->fleet.parked];
	client->busy = true;
	client->arrived = false;
	buf_printf(&body, "{\"username\":\"c%zu-%lu@%s." PARKED_DOMAIN "\",\"password\":\"Pw-%lu\"}", (size_t)(client - driver->clients), client->number,
		client->meant->group, client->number);
	if (!buf_ok(&body))
		die("out of memory");
	client->posted_us = clock_mono_us();
	tls_link_post(&client->link, "/v1/signin", "application/json", body.data, body.len);
	buf_done(&body);
}

/* The request says in its user name whose it is, and only the agent's key can have opened it. */
static void arrived(void *arg, const struct parked_agent *agent, const struct envelope_request *request)
{
	struct driver *driver = arg;
	struct client *client = NULL;
	size_t group_len = strlen(agent->group);
	unsigned long number;
	size_t i;

	if (sscanf(request->username, "c%zu-%lu@", &i, &number) == 2 && i < driver->in_flight)
		client = &driver->clients[i];
	if (!client || !client->busy || client->number != number || client->arrived)
		die("an agent got a request that nobody waits for");
	if (strcmp(agent->group, client->meant->group) != 0 || strncmp(request->domain, agent->group, group_len) != 0 ||
		strcmp(request->domain + group_len, "." PARKED_DOMAIN) != 0)
		die("an agent got a request of another group");
	client->arrived = true;
	driver->hand_over_us[number - 1] = (uint32_t)(clock_mono_us() - client->posted_us);
}

static void answered(struct tls_link *link, int status, const uint8_t *body, size_t len)
{
	struct client *client = (struct client *)link;
	struct driver *driver = client->driver;

	(void)len;
	if (!client->busy)
		die("an answer to no sign-in");
	driver->whole_us[client->number - 1] = (uint32_t)(clock_mono_us() - client->posted_us);
	client->busy = false;
	driver->done++;
	if (status == 200 && client->arrived && strstr((const char *)body, "\"verdict\":\"success\""))
		driver->success++;
	else
		fprintf(stderr, "parked_agents: a sign-in was answered %d %s\n", status, (const char *)body);
	post_signin(client);
}

/* New ones for each run: the service does not keep idle connections for long. Their handshakes are no part of it. */
static void clients_open(struct driver *driver)
{
	driver->clients = calloc(driver->in_flight, sizeof(driver->clients[0]));
	if (!driver->clients)
		die("out of memory");
	for (unsigned long i = 0; i < driver->in_flight; i++) {
		struct client *client = &driver->clients[i];

		client->driver = driver;
		client->link.headers = driver->headers;
		client->link.answered = answered;
		tls_link_open(&client->link, &driver->loop, &driver->signin, NULL, NULL);
	}
	for (unsigned long i = 0; i < driver->in_flight; i++)
		while (!driver->clients[i].link.connected)
			(void)tls_loop_turn(&driver->loop, 1000);
}

static void clients_close(struct driver *driver)
{
	for (unsigned long i = 0; i < driver->in_flight; i++)
		tls_link_close(&driver->clients[i].link);
	free(driver->clients);
}

/* ---- what stdin says ---- */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void put_times(struct json_writer *w, const char *name, uint32_t *us, size_t n)
{
	static const struct {
		const char *key;
		double part;
	} parts[] = {{"p50_ms", 0.5}, {"p99_ms", 0.99}, {"p999_ms", 0.999}, {"max_ms", 1}};

	qsort(us, n, sizeof(us[0]), compare);
	json_put_object(w, name);
	for (size_t i = 0; i < PTA_ARRAY_SIZE(parts); i++) {
		size_t at = (size_t)(parts[i].part * (double)n);

		json_put_double(w, parts[i].key, us[at < n ? at : n - 1] / 1000.0);
	}
	json_end_object(w);
}

static void run_signins(struct driver *driver, unsigned long n, struct json_writer *w)
{
	uint64_t start_us, until_ms;
	unsigned long before = 0;
	double seconds;

	if (!n || !driver->fleet.parked)
		die("signin N: N sign-ins, and agents that are parked");
	driver->wanted = n;
	driver->posted = driver->done = driver->success = 0;
	driver->hand_over_us = calloc(n, sizeof(driver->hand_over_us[0]));
	driver->whole_us = calloc(n, sizeof(driver->whole_us[0]));
	if (!driver->hand_over_us || !driver->whole_us)
		die("out of memory");
	clients_open(driver);
	start_us = clock_mono_us();
	until_ms = clock_mono_ms() + STEP_MS;
	for (unsigned long i = 0; i < driver->in_flight; i++)
		post_signin(&driver->clients[i]);
	while (driver->done < n) {
		(void)tls_loop_turn(&driver->loop, 1000);
		if (driver->done != before) {
			before = driver->done;
			until_ms = clock_mono_ms() + STEP_MS;
		} else if (clock_mono_ms() > until_ms) {
			die("sign-ins are not answered");
		}
	}
	seconds = (double)(clock_mono_us() - start_us) / 1e6;
	clients_close(driver);
	json_put_uint(w, "in_flight", driver->in_flight);
	json_put_uint(w, "ops", n);
	json_put_double(w, "seconds", seconds);
	json_put_double(w, "rate", (double)n / seconds);
	json_put_uint(w, "success", driver->success);
	put_times(w, "hand_over", driver->hand_over_us, n);
	put_times(w, "whole", driver->whole_us, n);
	free(driver->hand_over_us);
	free(driver->whole_us);
	if (driver->success != n)
		die("not every sign-in succeeded");
}

static void run(struct driver *driver, char *line)
{
	struct buf text = BUF_INIT(8192);
	struct json_writer w = JSON_WRITER(&text);
	uint64_t start_us = clock_mono_us();
	unsigned long n = 0;
	int end = 0;

	json_put_object(&w, NULL);
	if (!strcmp(line, "register"))
		parked_fleet_register(&driver->fleet);
	else if (sscanf(line, "park %lu%n", &n, &end) == 1 && !line[end] && n <= driver->fleet.registered)
		parked_fleet_park(&driver->fleet, n);
	else if (sscanf(line, "signin %lu%n", &n, &end) == 1 && !line[end])
		run_signins(driver, n, &w);
	else if (strcmp(line, "status") != 0)
		die("stdin: want register, park N (of those that are registered), signin N, or status");
	json_put_uint(&w, "registered", driver->fleet.registered);
	json_put_uint(&w, "parked", driver->fleet.parked);
	json_put_uint(&w, "renewed", driver->fleet.renewed);
	json_put_double(&w, "took_s", (double)(clock_mono_us() - start_us) / 1e6);
	json_end_object(&w);
	if (!buf_ok(&text) || printf("%s\n", (const char *)text.data) < 0 || fflush(stdout))
		die("stdout: cannot be written");
	buf_done(&text);
}

/* Between lines the agents live on. */
static void serve(struct driver *driver)
{
	struct epoll_event event = {.events = EPOLLIN};
	char line[256];
	size_t len = 0;

	if (epoll_ctl(driver->loop.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event))
		die("stdin: want a pipe or a terminal");
	for (;;) {
		ssize_t n;

		if (!tls_loop_turn(&driver->loop, -1))
			continue;
		/* One byte at a time: what stands behind the line's end is the next turn's. */
		n = read(STDIN_FILENO, line + len, 1);
		if (n <= 0)
			return;
		if (line[len] == '\n') {
			line[len] = '\0';
			len = 0;
			run(driver, line);
		} else if (++len == sizeof(line)) {
			die("stdin: the line is too long");
		}
	}
}

static void read_options(int argc, char **argv, struct driver *driver)
{
	const struct option options[] = {
		{"url", required_argument, NULL, 'u'},
		{"signin-url", required_argument, NULL, 's'},
		{"ca", required_argument, NULL, 'c'},
		{"key-file", required_argument, NULL, 'k'},
		{"tokens", required_argument, NULL, 't'},
		{"in-flight", required_argument, NULL, 'i'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'u':
			driver->url = optarg;
			break;
		case 's':
			driver->signin_url = optarg;
			break;
		case 'c':
			driver->ca = optarg;
			break;
		case 'k':
			driver->key_file = optarg;
			break;
		case 't':
			driver->tokens = optarg;
			break;
		case 'i':
			driver->in_flight = strtoul(optarg, NULL, 10);
			break;
		default:
			exit(2);
		}
	}
	if (optind != argc || !driver->url || !driver->signin_url || !driver->ca || !driver->key_file || !driver->tokens || !driver->in_flight) {
		fprintf(stderr, "parked_agents: --url, --signin-url, --ca, --key-file and --tokens are needed; its source begins with a call\n");
		exit(2);
	}
}

static void read_key(struct driver *driver)
{
	struct buf key = BUF_INIT_WIPED(200);
	struct err err;

	if (file_read(driver->key_file, 200, &key, &err) < 0)
		die(err.text);
	snprintf(driver->headers, sizeof(driver->headers), "Authorization: Bearer %.*s\r\n", (int)strcspn((const char *)key.data, "\r\n"),
		(const char *)key.data);
	buf_done(&key);
}

int main(int argc, char **argv)
{
	struct driver driver = {.in_flight = 32};

	signal(SIGPIPE, SIG_IGN);
	read_options(argc, argv, &driver);
	read_key(&driver);
	tls_loop_init(&driver.loop, driver.ca);
	tls_target_init(&driver.signin, "--signin-url", driver.signin_url);
	parked_fleet_init(&driver.fleet, &driver.loop, driver.url, driver.tokens);
	driver.fleet.arrived = arrived;
	driver.fleet.arg = &driver;
	serve(&driver);
	parked_fleet_done(&driver.fleet);
	tls_target_done(&driver.signin);
	tls_loop_done(&driver.loop);
	return 0;
}
