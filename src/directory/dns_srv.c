#include "directory/dns_srv.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/buf.h"

#define SRV_FIXED_LEN 6

/* -- answers -- */

void dns_srv_list_done(struct dns_srv_list *list)
{
	free(list->records);
	*list = (struct dns_srv_list){0};
}

/* Reads a name at the reader's place, which moves behind it. "" is the root. What is no letter, digit or the like comes
 * escaped. */
static bool read_name(struct reader *r, char out[LIMIT_DOMAIN + 1])
{
	char *name = NULL;
	long used = 0;
	bool fits;

	if (r->failed || r->pos >= r->len || ares_expand_name(r->data + r->pos, r->data, (int)r->len, &name, &used) != ARES_SUCCESS)
		return false;
	fits = strlen(name) <= LIMIT_DOMAIN;
	if (fits)
		memcpy(out, name, strlen(name) + 1);
	ares_free_string(name);
	return fits && used > 0 && reader_bytes(r, (size_t)used);
}

/* The record's data, whose target ends where the data ends. */
static bool read_srv(struct reader *r, size_t len, struct dns_srv *out)
{
	size_t end = r->pos + len;

	out->priority = reader_u16(r);
	out->weight = reader_u16(r);
	out->port = reader_u16(r);
	return len > SRV_FIXED_LEN && read_name(r, out->target) && r->pos == end;
}

static bool read_answers(struct reader *r, unsigned count, struct dns_srv_list *list, bool *declined)
{
	char wanted[LIMIT_DOMAIN + 1], owner[LIMIT_DOMAIN + 1];

	if (!read_name(r, wanted) || !reader_bytes(r, 4))
		return false;
	for (unsigned i = 0; i < count; i++) {
		uint16_t type, class;
		struct dns_srv record;
		uint32_t ttl;
		size_t len, end;

		if (!read_name(r, owner))
			return false;
		type = reader_u16(r);
		class = reader_u16(r);
		ttl = reader_u32(r);
		len = reader_u16(r);
		end = r->pos + len;
		if (r->failed || end > r->len)
			return false;
		if (class == ns_c_in && type == ns_t_cname && strcasecmp(owner, wanted) == 0) {
			if (!read_name(r, wanted) || r->pos != end)
				return false;
		} else if (class == ns_c_in && type == ns_t_srv && strcasecmp(owner, wanted) == 0) {
			if (!read_srv(r, len, &record))
				return false;
			/* RFC 2181 8: more than 31 bits are none. */
			if (ttl > INT32_MAX || ttl == 0)
				ttl = 1;
			if (ttl < list->ttl_s)
				list->ttl_s = ttl;
			if (record.target[0] == '\0')
				*declined = true;
			else if (list->n < DNS_SRV_MAX)
				list->records[list->n++] = record;
			else
				list->left_out++;
		}
		r->pos = end;
	}
	return true;
}

int dns_srv_parse(const uint8_t *answer, size_t len, struct dns_srv_list *out, struct err *err)
{
	struct dns_srv_list list = {.ttl_s = INT32_MAX};
	struct reader r = READER(answer, len);
	unsigned questions, count;
	bool declined = false;

	reader_u32(&r); /* id and flags: c-ares has matched and judged them */
	questions = reader_u16(&r);
	count = reader_u16(&r);
	reader_u32(&r);
	if (r.failed || questions != 1 || len > UINT16_MAX)
		return err_set(err, -PTA_EPROTO, "a broken answer of %zu bytes", len);
	list.records = calloc(count < DNS_SRV_MAX ? count + 1 : DNS_SRV_MAX, sizeof(list.records[0]));
	if (!list.records)
		return err_set(err, -PTA_ENOMEM, "out of memory");
	if (!read_answers(&r, count, &list, &declined)) {
		dns_srv_list_done(&list);
		return err_set(err, -PTA_EPROTO, "an answer of %zu bytes that is broken near byte %zu", len, r.pos);
	}
	if (list.n == 0) {
		dns_srv_list_done(&list);
		return err_set(err, -PTA_ENOENT, declined ? "the target '.': the service is decidedly not available there" : "an answer without such records");
	}
	*out = list;
	return 0;
}

/* -- RFC 2782's choice -- */

/* 0 to top, each as likely. */
static uint32_t random_to(uint32_t top)
{
	uint32_t value;

	/* So few bytes come whole and uninterrupted from any kernel that has the call. */
	if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value))
		abort();
	return (uint32_t)((uint64_t)value * ((uint64_t)top + 1) >> 32);
}

size_t dns_srv_choose_at(const uint16_t *weights, size_t n, uint32_t random)
{
	uint32_t sum = 0;

	/* Those without weight come first, and have their small chance by it. */
	for (size_t i = 0; i < n && random == 0; i++)
		if (weights[i] == 0)
			return i;
	for (size_t i = 0; i < n; i++) {
		sum += weights[i];
		if (weights[i] > 0 && sum >= random)
			return i;
	}
	return n - 1;
}

size_t dns_srv_choose(const uint16_t *weights, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += weights[i];
	if (sum == 0)
		return random_to((uint32_t)n - 1);
	return dns_srv_choose_at(weights, n, random_to(sum));
}
