/* A server with a handler of each kind, for test_httpd.c and test_httpd_conn.c. */
#ifndef PTA_TESTS_HTTPD_FIXTURE_H
#define PTA_TESTS_HTTPD_FIXTURE_H

#include "base/httpd.h"
#include "http_peer.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define BIG (8u << 20)

/* One server, and what its handlers have seen. */
struct fixture {
	struct event_base *base;
	struct httpd *httpd;
	struct peer peer, other;
	struct httpd_request *parked;
	bool is_parked, is_closed, is_written, written;
	unsigned closes, writes, values_closed;
	uint64_t id;
};
extern struct fixture f;

/* Limits and time-outs that no test meets by accident. */
struct httpd_conf conf_of(const char *address);
void serve(const struct httpd_conf *conf);
void serve_tcp(void);
void serve_with(unsigned request_ms, unsigned idle_ms);
void dial(struct peer *peer);
void park_one(void); /* f.peer asks, f.parked waits */

void on_close(void *arg);
void on_written(void *arg, bool written);
int set_up(void **state);
int tear_down(void **state);

#endif
