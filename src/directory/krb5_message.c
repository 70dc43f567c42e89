#include "directory/krb5_message.h"

#include <openssl/asn1.h>
#include <stdbool.h>
#include <string.h>

/* RFC 4120 7.5.2 and its successors */
#define PA_ENC_TIMESTAMP 2
#define PA_ETYPE_INFO2 19
/* Not derived from a password: PA-PAC-REQUEST (MS-KILE 2.2.3), PA-FX-COOKIE (RFC 6113), PA-REQ-ENC-PA-REP (RFC 6806),
 * PA-AS-FRESHNESS (RFC 8070) */
static const int32_t harmless[] = {128, 133, 149, 150};

/* KERB_ERR_TYPE_EXTENDED of MS-KILE 2.2.2; as a padata type it is PA-PW-SALT, hence the checks of what is in it. */
#define DATA_TYPE_EXTENDED 3
#define EXT_ERROR_BYTES 12
/* Severity "error" and no facility, as each status about a logon has (MS-ERREF 2.3). */
#define NT_ERROR_MASK 0xffff0000u
#define NT_ERROR 0xc0000000u

/* A SEQUENCE OF that is longer was made to burn time. */
#define MAX_ITEMS 64

struct der {
	const uint8_t *data;
	size_t left;
};

/* The next element if it has this class and tag; its content goes to *content. */
static bool take(struct der *in, int class, int tag, struct der *content)
{
	const unsigned char *p = in->data;
	int got_tag, got_class, flags;
	long length;

	if (in->left == 0)
		return false;
	flags = ASN1_get_object(&p, &length, &got_tag, &got_class, (long)in->left);
	/* 0x80: cut or broken; 1: indefinite length, which DER has not. */
	if ((flags & 0x81) || got_class != class || got_tag != tag)
		return false;
	*content = (struct der){.data = p, .left = (size_t)length};
	in->left -= (size_t)(p - in->data) + (size_t)length;
	in->data = p + length;
	return true;
}

static bool take_context(struct der *in, int tag, int inner_tag, struct der *content)
{
	struct der outer;

	return take(in, V_ASN1_CONTEXT_SPECIFIC, tag, &outer) && take(&outer, V_ASN1_UNIVERSAL, inner_tag, content) && outer.left == 0;
}

static bool take_int32(struct der *in, int tag, int32_t *out)
{
	struct der content;
	uint32_t value;

	if (!take_context(in, tag, V_ASN1_INTEGER, &content) || content.left == 0 || content.left > 4)
		return false;
	value = content.data[0] & 0x80 ? UINT32_MAX : 0;
	for (size_t i = 0; i < content.left; i++)
		value = value << 8 | content.data[i];
	*out = (int32_t)value;
	return true;
}

/* The whole message: APPLICATION kind, around a SEQUENCE. */
static bool open_message(const void *data, size_t len, int kind, struct der *sequence)
{
	struct der in = {.data = data, .left = len}, application;

	return len <= KRB5_MESSAGE_MAX && take(&in, V_ASN1_APPLICATION, kind, &application) && in.left == 0 &&
	       take(&application, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, sequence) && application.left == 0;
}

enum krb5_message_kind krb5_message_kind(const void *data, size_t len)
{
	static const enum krb5_message_kind kinds[] = {
		KRB5_MESSAGE_AS_REQ, KRB5_MESSAGE_AS_REP, KRB5_MESSAGE_TGS_REQ, KRB5_MESSAGE_TGS_REP, KRB5_MESSAGE_ERROR};
	struct der sequence;

	for (size_t i = 0; i < PTA_ARRAY_SIZE(kinds); i++)
		if (open_message(data, len, (int)kinds[i], &sequence))
			return kinds[i];
	return KRB5_MESSAGE_OTHER;
}

/* One typed item: PA-DATA and KERB-ERROR-DATA count their fields from 1, TYPED-DATA from 0. */
static bool take_item(struct der *in, int first, int32_t *type, struct der *value)
{
	*value = (struct der){0};
	return take_int32(in, first, type) && (in->left == 0 || take_context(in, first + 1, V_ASN1_OCTET_STRING, value)) && in->left == 0;
}

static bool take_padata(struct der *list, int32_t *type, struct der *value)
{
	struct der item;

	return take(list, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) && take_item(&item, 1, type, value);
}

static bool is_harmless(int32_t type)
{
	for (size_t i = 0; i < PTA_ARRAY_SIZE(harmless); i++)
		if (harmless[i] == type)
			return true;
	return false;
}

static bool starts_with_context(const struct der *in, int tag)
{
	struct der copy = *in, content;

	return take(&copy, V_ASN1_CONTEXT_SPECIFIC, tag, &content);
}

int krb5_message_proof(const void *data, size_t len, enum krb5_message_proof *out, int32_t *type)
{
	struct der body, list, value, rest;
	int32_t version, kind, found;
	unsigned items = 0;

	*out = KRB5_PROOF_NONE;
	*type = 0;
	if (!open_message(data, len, KRB5_MESSAGE_AS_REQ, &body) || !take_int32(&body, 1, &version) || !take_int32(&body, 2, &kind) ||
		kind != KRB5_MESSAGE_AS_REQ)
		return -PTA_EPROTO;
	if (starts_with_context(&body, 3)) {
		if (!take_context(&body, 3, V_ASN1_SEQUENCE, &list))
			return -PTA_EPROTO;
		while (list.left > 0) {
			if (++items > MAX_ITEMS || !take_padata(&list, &found, &value))
				return -PTA_EPROTO;
			if (is_harmless(found))
				continue;
			/* A second one, of whatever type, is something that nobody foresaw. */
			if (found != PA_ENC_TIMESTAMP || *out != KRB5_PROOF_NONE) {
				*out = KRB5_PROOF_OTHER;
				*type = found;
				return 0;
			}
			*out = KRB5_PROOF_TIMESTAMP;
			*type = found;
		}
	}
	return take(&body, V_ASN1_CONTEXT_SPECIFIC, 4, &rest) && body.left == 0 ? 0 : -PTA_EPROTO;
}

/* struct { ULONG status; ULONG reserved; ULONG flags; }, little endian */
static uint32_t ext_error(const struct der *value)
{
	uint32_t status;

	if (value->left != EXT_ERROR_BYTES)
		return 0;
	status = (uint32_t)value->data[0] | (uint32_t)value->data[1] << 8 | (uint32_t)value->data[2] << 16 | (uint32_t)value->data[3] << 24;
	return (status & NT_ERROR_MASK) == NT_ERROR ? status : 0;
}

uint32_t krb5_message_nt_status(const void *e_data, size_t len)
{
	struct der in = {.data = e_data, .left = len}, list, item, value;
	int32_t type;

	if (len > KRB5_MESSAGE_MAX || !take(&in, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &list) || in.left > 0)
		return 0;
	if (starts_with_context(&list, 1))
		return take_item(&list, 1, &type, &value) && type == DATA_TYPE_EXTENDED ? ext_error(&value) : 0;
	for (unsigned items = 0; list.left > 0 && items < MAX_ITEMS; items++) {
		if (!take(&list, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item))
			return 0;
		if (take_item(&item, starts_with_context(&item, 0) ? 0 : 1, &type, &value) && type == DATA_TYPE_EXTENDED && ext_error(&value))
			return ext_error(&value);
	}
	return 0;
}

/* ETYPE-INFO2-ENTRY ::= SEQUENCE { etype [0] Int32, salt [1] KerberosString OPTIONAL, s2kparams [2] OCTET STRING OPTIONAL } */
static int etype_info2(struct der value, uint32_t *least, uint32_t *most)
{
	struct der list, entry, skipped, params;
	int32_t etype;

	if (!take(&value, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &list) || value.left > 0)
		return -PTA_EPROTO;
	for (unsigned items = 0; list.left > 0; items++) {
		uint32_t count = 0;

		if (items == MAX_ITEMS || !take(&list, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &entry) || !take_int32(&entry, 0, &etype))
			return -PTA_EPROTO;
		if (starts_with_context(&entry, 1) && !take(&entry, V_ASN1_CONTEXT_SPECIFIC, 1, &skipped))
			return -PTA_EPROTO;
		if (entry.left == 0)
			continue;
		if (!take_context(&entry, 2, V_ASN1_OCTET_STRING, &params) || entry.left > 0)
			return -PTA_EPROTO;
		/* Four bytes are AES' count, in network order; 0 means 2^32. Other lengths are no count, and libkrb5 refuses them. */
		if (params.left != 4)
			continue;
		for (size_t i = 0; i < 4; i++)
			count = count << 8 | params.data[i];
		if (count == 0)
			count = UINT32_MAX;
		if (*least == 0 || count < *least)
			*least = count;
		if (count > *most)
			*most = count;
	}
	return 0;
}

static int padata_iterations(struct der list, uint32_t *least, uint32_t *most)
{
	struct der value;
	int32_t type;

	for (unsigned items = 0; list.left > 0; items++) {
		if (items == MAX_ITEMS || !take_padata(&list, &type, &value))
			return -PTA_EPROTO;
		if (type == PA_ETYPE_INFO2 && etype_info2(value, least, most) < 0)
			return -PTA_EPROTO;
	}
	return 0;
}

int krb5_message_iterations(const void *e_data, size_t len, uint32_t *least, uint32_t *most)
{
	struct der in = {.data = e_data, .left = len}, list;

	*least = *most = 0;
	if (len > KRB5_MESSAGE_MAX || !take(&in, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &list) || in.left > 0)
		return -PTA_EPROTO;
	return padata_iterations(list, least, most);
}

int krb5_message_reply_iterations(const void *data, size_t len, uint32_t *least, uint32_t *most)
{
	struct der body, list;
	int32_t version, kind;

	*least = *most = 0;
	if (!open_message(data, len, KRB5_MESSAGE_AS_REP, &body) || !take_int32(&body, 0, &version) || !take_int32(&body, 1, &kind))
		return -PTA_EPROTO;
	if (!starts_with_context(&body, 2))
		return 0;
	if (!take_context(&body, 2, V_ASN1_SEQUENCE, &list))
		return -PTA_EPROTO;
	return padata_iterations(list, least, most);
}
