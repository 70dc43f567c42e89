/* `pta-agent status`: what the running daemon says of itself, for humans or as it came. */
#include <stdio.h>
#include <string.h>

#include "agent/commands.h"
#include "base/control_client.h"
#include "base/json.h"
#include "base/log_route.h"
#include "wire/verdict.h"

#define STATUS_LIMIT (4u << 20)
#define MAX_ROWS 64
#define COLUMNS 8

static const char *or_dash(const char *text)
{
	return text && text[0] ? text : "-";
}

/* One string of an object; "" when it is absent or null. */
static const char *text_of(struct json_fields *f, const char *key)
{
	const char *text = json_string_opt(f, key, 0, 1024, NULL);

	return text ? text : "";
}

static void print_service(struct json_object *service)
{
	struct json_fields f;
	const char *error;

	json_fields_begin(&f, service, NULL);
	printf("service      %s\n", text_of(&f, "url"));
	printf("connection   %s since %s\n", text_of(&f, "state"), text_of(&f, "since"));
	error = text_of(&f, "last_error");
	if (error[0])
		printf("last error   %s (%s)\n", error, text_of(&f, "last_error_at"));
	printf("polls        %llu parked, for %llu requests\n", (unsigned long long)json_uint_opt(&f, "polls", 0, 1000, 0),
		(unsigned long long)json_uint_opt(&f, "credit", 0, 1u << 20, 0));
}

static void print_certificate(struct json_object *certificate)
{
	struct json_fields f;
	const char *error;

	json_fields_begin(&f, certificate, NULL);
	printf("certificate  until %s, renewed from %s on\n", text_of(&f, "not_after"), text_of(&f, "renew_at"));
	printf("CA           until %s\n", text_of(&f, "ca_not_after"));
	error = text_of(&f, "expiring");
	if (error[0])
		printf("             expires soon: %s\n", error);
	error = text_of(&f, "renewal_error");
	if (error[0])
		printf("             the last renewal failed: %s\n", error);
}

static void print_requests(struct json_object *requests)
{
	struct json_object *verdicts;
	struct json_fields f;

	json_fields_begin(&f, requests, NULL);
	printf("requests     %llu in work, %llu given back unasked", (unsigned long long)json_uint_opt(&f, "in_work", 0, UINT64_MAX / 2, 0),
		(unsigned long long)json_uint_opt(&f, "declined", 0, UINT64_MAX / 2, 0));
	verdicts = json_object_opt(&f, "verdicts");
	if (verdicts) {
		json_fields_begin(&f, verdicts, NULL);
		for (int code = 0; code < VERDICT_CODES; code++) {
			uint64_t n = json_uint_opt(&f, verdict_name((enum verdict_code)code), 0, UINT64_MAX / 2, 0);

			if (n)
				printf(", %llu %s", (unsigned long long)n, verdict_name((enum verdict_code)code));
		}
	}
	putchar('\n');
}

static void print_directories(struct json_object *directories, size_t n)
{
	static const char *const heads[COLUMNS] = {"directory", "controller", "site", "state", "connections", "requests", "latency", "last error"};
	struct {
		char server[LIMIT_DOMAIN + 16], state[32], connections[64], requests[64], latency[32];
	} made[MAX_ROWS];
	const char *cells[MAX_ROWS * COLUMNS];
	size_t rows = 0, servers_n = 0;
	struct json_fields f;

	for (size_t i = 0; i < n; i++) {
		struct json_object *servers;
		const char *name;

		json_fields_begin(&f, json_array_at(directories, i), NULL);
		name = text_of(&f, "name");
		servers = json_array_opt(&f, "servers", MAX_ROWS, &servers_n);
		for (size_t k = 0; servers && k < servers_n && rows < MAX_ROWS; k++, rows++) {
			struct json_fields s;

			json_fields_begin(&s, json_array_at(servers, k), NULL);
			snprintf(made[rows].server, sizeof(made[rows].server), "%s:%llu", text_of(&s, "host"), (unsigned long long)json_uint_opt(&s, "port", 0, 65535, 0));
			snprintf(made[rows].connections, sizeof(made[rows].connections), "%llu (%llu busy)", (unsigned long long)json_uint_opt(&s, "connections", 0, 1u << 20, 0),
				(unsigned long long)json_uint_opt(&s, "busy", 0, 1u << 20, 0));
			snprintf(made[rows].latency, sizeof(made[rows].latency), "%.1f ms", (double)json_uint_opt(&s, "latency_us", 0, UINT32_MAX, 0) / 1000);
			snprintf(made[rows].requests, sizeof(made[rows].requests), "%llu (%llu failed)", (unsigned long long)json_uint_opt(&s, "binds", 0, UINT64_MAX / 2, 0),
				(unsigned long long)json_uint_opt(&s, "failures", 0, UINT64_MAX / 2, 0));
			snprintf(made[rows].state, sizeof(made[rows].state), "%s%s", text_of(&s, "state"), json_bool_opt(&s, "in_use", false) ? ", in use" : "");
			cells[rows * COLUMNS] = name;
			cells[rows * COLUMNS + 1] = made[rows].server;
			cells[rows * COLUMNS + 2] = or_dash(text_of(&s, "site"));
			cells[rows * COLUMNS + 3] = made[rows].state;
			cells[rows * COLUMNS + 4] = made[rows].connections;
			cells[rows * COLUMNS + 5] = made[rows].requests;
			cells[rows * COLUMNS + 6] = made[rows].latency;
			cells[rows * COLUMNS + 7] = or_dash(text_of(&s, "last_error"));
		}
	}
	putchar('\n');
	cli_table(stdout, heads, COLUMNS, cells, rows);
}

static int print_status(const struct buf *body, struct err *err)
{
	struct json *doc PTA_CLEANUP(json_freep) = NULL;
	struct json_object *part;
	struct json_fields f;
	size_t n = 0;
	int r = json_parse(body->data, body->len, &doc, err);

	if (r < 0)
		return r;
	json_fields_begin(&f, json_root(doc), err);
	printf("agent        %s of %s, group %s\n", text_of(&f, "agent"), text_of(&f, "tenant"), text_of(&f, "group"));
	printf("version      %s, started %s\n", text_of(&f, "version"), text_of(&f, "started"));
	printf("log level    %s\n", text_of(&f, "log_level"));
	if ((part = json_object_opt(&f, "service")))
		print_service(part);
	if ((part = json_object_opt(&f, "certificate")))
		print_certificate(part);
	if ((part = json_object_opt(&f, "requests")))
		print_requests(part);
	if ((part = json_array_opt(&f, "directories", AGENT_CONF_MAX_DIRECTORIES, &n)))
		print_directories(part, n);
	return f.status;
}

static int set_log_level(const char *socket_path, const char *level)
{
	struct buf body PTA_CLEANUP(buf_done) = BUF_INIT(LOG_ROUTE_BODY), answer PTA_CLEANUP(buf_done) = BUF_INIT(STATUS_LIMIT);
	struct err err;
	int status, r;

	if (log_route_body(&body, level, &err) < 0)
		return cli_fail(PROGRAM, CLI_USAGE, "status: %s", err.text);
	r = control_call(socket_path, "POST", LOG_ROUTE_PATH, body.data, body.len, 5000, &status, &answer, &err);
	if (r == 0 && status != 200)
		r = err_set(&err, -PTA_EPERM, "%s answered with status %d", socket_path, status);
	return r < 0 ? cli_fail(PROGRAM, command_exit(r), "status: %s", err.text) : CLI_OK;
}

int command_status(void *options, char **args, int nargs)
{
	const struct status_options *o = options;
	struct agent_conf *conf PTA_CLEANUP(agent_conf_unrefp) = NULL;
	struct buf body = BUF_INIT(STATUS_LIMIT);
	int status, r = command_load_conf(o->config, &conf);
	struct err err;

	(void)args;
	(void)nargs;
	if (r == CLI_OK && o->log_level)
		r = set_log_level(conf->agent.control_socket, o->log_level);
	if (r != CLI_OK)
		return r;
	r = control_call(conf->agent.control_socket, "GET", "/v1/status", NULL, 0, 5000, &status, &body, &err);
	if (r == 0 && status != 200)
		r = err_set(&err, -PTA_EPERM, "%s answered with status %d", conf->agent.control_socket, status);
	if (r == 0 && o->json)
		printf("%.*s\n", (int)body.len, (const char *)body.data);
	else if (r == 0)
		r = print_status(&body, &err);
	buf_done(&body);
	return r < 0 ? cli_fail(PROGRAM, command_exit(r), "status: %s", err.text) : CLI_OK;
}
