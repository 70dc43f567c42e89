#include "directory/cldap.h"

#include <lber.h>
#include <ldap.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* MS-ADTS 6.3.1.1: the answers of 6.3.1.9, without the socket address and the next site, which would follow the names. */
#define NETLOGON_NT_VERSION "\x06\x00\x00\x00"
#define NETLOGON_NT_VERSION_LEN 4
#define NETLOGON_ATTRIBUTE "Netlogon"

/* MS-ADTS 6.3.1.3. "User unknown" is the normal answer to a ping that names no user, on some servers. */
enum opcode {
	SAM_LOGON_RESPONSE = 19,
	SAM_PAUSE_RESPONSE = 20,
	SAM_USER_UNKNOWN = 21,
	SAM_LOGON_RESPONSE_EX = 23,
	SAM_PAUSE_RESPONSE_EX = 24,
	SAM_USER_UNKNOWN_EX = 25,
};

/* NtVersion, LmNtToken and Lm20Token end both structures. */
#define NETLOGON_TAIL 8
#define GUID_LEN 16

int cldap_encode(uint32_t id, const char *domain, struct buf *out)
{
	BerElement *ber = ber_alloc_t(LBER_USE_DER);
	struct berval version = {.bv_val = (char[]){NETLOGON_NT_VERSION}, .bv_len = NETLOGON_NT_VERSION_LEN}, flat;
	int r = -PTA_ENOMEM;

	if (!ber)
		return -PTA_ENOMEM;
	/* LDAPMessage { id, SearchRequest { "", base, never, 0, 0, false, (&(DnsDomain=…)(NtVer=…)), { Netlogon } } } */
	if (ber_printf(ber, "{it{seeiib", (ber_int_t)id, LDAP_REQ_SEARCH, "", (ber_int_t)LDAP_SCOPE_BASE, (ber_int_t)LDAP_DEREF_NEVER, (ber_int_t)0,
		    (ber_int_t)0, (ber_int_t)0) < 0 ||
		ber_printf(ber, "t{t{ss}t{sO}}", LDAP_FILTER_AND, LDAP_FILTER_EQUALITY, "DnsDomain", domain, LDAP_FILTER_EQUALITY, "NtVer", &version) < 0 ||
		ber_printf(ber, "{s}}}", NETLOGON_ATTRIBUTE) < 0 || ber_flatten2(ber, &flat, 0) < 0)
		goto out;
	buf_put(out, flat.bv_val, flat.bv_len);
	if (buf_ok(out))
		r = 0;
out:
	ber_free(ber, 1);
	return r;
}

/* The structures are little endian, unlike everything else that a reader reads. */
static uint16_t le16(struct reader *r)
{
	uint16_t v = reader_u16(r);

	return (uint16_t)(v >> 8 | v << 8);
}

static uint32_t le32(struct reader *r)
{
	return __builtin_bswap32(reader_u32(r));
}

/* What a name may be made of: everything else would be trouble in a log, or in the name of an SRV record. */
static bool label_plain(const uint8_t *label, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t c = label[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return true;
}

/* A name as in RFC 1035 4.1.4, whose pointers count from the value's first byte. A pointer goes to before the labels that it
 * ends, each further one to before those: so there are no loops. *plain: every label is. *labels counts them. */
static bool read_name(struct reader *r, char out[LIMIT_DOMAIN + 1], bool *plain, unsigned *labels)
{
	struct reader at = *r;
	size_t used = 0, begin = r->pos;
	bool jumped = false;

	*plain = true;
	*labels = 0;
	for (;;) {
		uint8_t len = reader_u8(&at);
		const uint8_t *label;

		if (at.failed)
			return false;
		if (len >= 0xc0) {
			size_t target = (size_t)(len & 0x3f) << 8 | reader_u8(&at);

			if (at.failed || target >= begin)
				return false;
			if (!jumped)
				r->pos = at.pos;
			jumped = true;
			at.pos = begin = target;
			continue;
		}
		if (len > 63)
			return false;
		if (len == 0)
			break;
		label = reader_bytes(&at, len);
		if (!label || used + (used > 0) + len > LIMIT_DOMAIN)
			return false;
		if (used > 0)
			out[used++] = '.';
		memcpy(out + used, label, len);
		used += len;
		*plain = *plain && label_plain(label, len);
		++*labels;
	}
	if (!jumped)
		r->pos = at.pos;
	out[used] = '\0';
	return true;
}

static bool read_dns_name(struct reader *r, char out[LIMIT_DOMAIN + 1])
{
	unsigned labels;
	bool plain;

	return read_name(r, out, &plain, &labels) && plain;
}

/* NetBIOS and user names may hold anything, and nobody needs them. */
static bool skip_name(struct reader *r)
{
	char name[LIMIT_DOMAIN + 1];
	unsigned labels;
	bool plain;

	return read_name(r, name, &plain, &labels);
}

static bool read_site(struct reader *r, char out[CLDAP_SITE_MAX + 1])
{
	char name[LIMIT_DOMAIN + 1];
	unsigned labels;
	bool plain;

	if (!read_name(r, name, &plain, &labels))
		return false;
	/* Its own byte in a label's length says that it fits. */
	if (labels == 1 && plain)
		memcpy(out, name, strlen(name) + 1);
	return true;
}

/* UTF-16LE up to a NUL. */
static bool skip_utf16(struct reader *r)
{
	while (reader_u16(r) != 0)
		;
	return !r->failed;
}

static bool parse_extended(struct reader *r, struct cldap_answer *out)
{
	le16(r); /* Sbz */
	out->flags = le32(r);
	if (!reader_bytes(r, GUID_LEN))
		return false;
	return read_dns_name(r, out->forest) && read_dns_name(r, out->domain) && read_dns_name(r, out->host) && skip_name(r) && skip_name(r) && skip_name(r) &&
	       read_site(r, out->dc_site) && read_site(r, out->client_site);
}

static bool parse_first(struct reader *r, struct cldap_answer *out)
{
	if (!skip_utf16(r) || !skip_utf16(r) || !skip_utf16(r) || !reader_bytes(r, GUID_LEN) || !reader_bytes(r, GUID_LEN))
		return false;
	if (!read_dns_name(r, out->forest) || !read_dns_name(r, out->domain) || !read_dns_name(r, out->host))
		return false;
	le32(r); /* DcIpAddress: it says where it thinks it is; we know where it answered */
	out->flags = le32(r);
	return true;
}

int cldap_parse_netlogon(const uint8_t *value, size_t len, struct cldap_answer *out, struct err *err)
{
	struct reader r = READER(value, len);
	struct cldap_answer answer = {.opcode = le16(&r)};
	bool good = false;

	switch (answer.opcode) {
	case SAM_LOGON_RESPONSE:
	case SAM_PAUSE_RESPONSE:
	case SAM_USER_UNKNOWN:
		good = parse_first(&r, &answer);
		break;
	case SAM_LOGON_RESPONSE_EX:
	case SAM_PAUSE_RESPONSE_EX:
	case SAM_USER_UNKNOWN_EX:
		good = parse_extended(&r, &answer);
		break;
	default:
		return err_set(err, -PTA_EPROTO, "netlogon answer: opcode %u in %zu bytes is none that a controller answers with", answer.opcode, len);
	}
	/* Between the names and the tail may be what we did not ask for. */
	if (!good || r.failed || r.len - r.pos < NETLOGON_TAIL || memcmp(value + len - 4, "\xff\xff\xff\xff", 4) != 0)
		return err_set(err, -PTA_EPROTO, "netlogon answer: %zu bytes of opcode %u are broken near byte %zu", len, answer.opcode, r.pos);
	answer.paused = answer.opcode == SAM_PAUSE_RESPONSE || answer.opcode == SAM_PAUSE_RESPONSE_EX;
	*out = answer;
	return 0;
}

/* { type, SET OF value }: the first value of the one attribute that was asked for. */
static bool find_value(BerElement *ber, struct berval *value)
{
	struct berval dn, type;
	ber_len_t len;
	char *end;

	if (ber_scanf(ber, "{m", &dn) == LBER_ERROR)
		return false;
	for (ber_tag_t tag = ber_first_element(ber, &len, &end); tag != LBER_DEFAULT; tag = ber_next_element(ber, &len, end)) {
		if (ber_scanf(ber, "{m", &type) == LBER_ERROR)
			return false;
		if (type.bv_len != strlen(NETLOGON_ATTRIBUTE) || strncasecmp(type.bv_val, NETLOGON_ATTRIBUTE, type.bv_len) != 0) {
			if (ber_scanf(ber, "x}") == LBER_ERROR)
				return false;
			continue;
		}
		return ber_scanf(ber, "[m", value) != LBER_ERROR;
	}
	return false;
}

static int decode(BerElement *ber, uint32_t id, struct cldap_answer *out, struct err *err)
{
	struct berval value;
	ber_tag_t tag;
	ber_len_t len;
	ber_int_t got;

	if (ber_scanf(ber, "{i", &got) == LBER_ERROR)
		return err_set(err, -PTA_EPROTO, "netlogon answer: not an LDAP message");
	if (got < 0 || (uint32_t)got != id)
		return err_set(err, -PTA_EPROTO, "netlogon answer: for request %d instead of %u", (int)got, id);
	tag = ber_peek_tag(ber, &len);
	if (tag == LDAP_RES_SEARCH_RESULT)
		return err_set(err, -PTA_ENOENT, "netlogon answer: an empty one: the server does not serve the domain");
	if (tag != LDAP_RES_SEARCH_ENTRY)
		return err_set(err, -PTA_EPROTO, "netlogon answer: an LDAP message of type 0x%lx instead of a search entry", (unsigned long)tag);
	if (!find_value(ber, &value))
		return err_set(err, -PTA_EPROTO, "netlogon answer: a search entry without the attribute " NETLOGON_ATTRIBUTE);
	return cldap_parse_netlogon((const uint8_t *)value.bv_val, value.bv_len, out, err);
}

int cldap_decode(const void *message, size_t len, uint32_t id, struct cldap_answer *out, struct err *err)
{
	/* liblber looks at the byte behind what it is given. */
	char copy[CLDAP_MESSAGE_MAX + 1];
	struct berval bytes = {.bv_val = copy, .bv_len = len};
	BerElement *ber;
	int r;

	if (len > CLDAP_MESSAGE_MAX)
		return err_set(err, -PTA_EPROTO, "netlogon answer: %zu bytes, more than %d", len, CLDAP_MESSAGE_MAX);
	memcpy(copy, message, len);
	copy[len] = '\0';
	ber = ber_alloc_t(LBER_USE_DER);
	if (!ber)
		return err_set(err, -PTA_ENOMEM, "netlogon answer: out of memory");
	ber_init2(ber, &bytes, LBER_USE_DER);
	r = decode(ber, id, out, err);
	/* The bytes are not liblber's. */
	ber_free(ber, 0);
	return r;
}
