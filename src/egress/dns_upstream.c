/* SPDX-License-Identifier: Apache-2.0 */
/* The other direction: the gatekeeper asks a resolver of the host's choice, once,
 * when it is about to dial. The reply comes from outside and is believed no
 * further than it answers the question that was put. */
#include "egress/dns.h"

#include <errno.h>
#include <string.h>

#include "egress/bytes.h"

enum { HEADER = 12, CLASS_IN = 1, JUMPS = 32, RECORDS = 256 };

int immure_dns_ask(uint16_t id, const char *name, uint16_t type, unsigned char *out, size_t cap)
{
	size_t n = HEADER, left = strlen(name);

	if (left == 0 || left > IMMURE_HOST_NAME_MAX)
		return -EINVAL;
	if (cap < HEADER + left + 2 + 4)
		return -ENOSPC;
	memset(out, 0, HEADER);
	out[0] = (unsigned char)(id >> 8);
	out[1] = (unsigned char)id;
	out[2] = 1; /* RD */
	out[5] = 1;
	for (;;) {
		size_t label = strcspn(name, ".");

		if (label == 0 || label > 63)
			return -EINVAL;
		out[n++] = (unsigned char)label;
		memcpy(out + n, name, label);
		n += label;
		name += label;
		if (!*name)
			break;
		name++;
	}
	out[n++] = 0;
	out[n++] = (unsigned char)(type >> 8);
	out[n++] = (unsigned char)type;
	out[n++] = 0;
	out[n++] = CLASS_IN;
	return (int)n;
}

/* A name that may use pointers; each must lead backwards, so it ends. Gives
 * the lower-case wire form (length 0 when a label is too odd to compare) and
 * the offset behind the name; 0 when malformed. */
static size_t read_name(const unsigned char *msg, size_t len, size_t at, unsigned char wire[255],
			size_t *ret_wire)
{
	size_t n = 0, after = 0, floor = at;
	unsigned int jumps = 0;

	for (;;) {
		unsigned int label;

		if (at >= len)
			return 0;
		label = msg[at++];
		if ((label & 0xc0) == 0xc0) {
			if (at >= len)
				return 0;
			if (!after)
				after = at + 1;
			at = (label & 0x3fU) << 8 | msg[at];
			if (at < HEADER || at >= floor || ++jumps > JUMPS)
				return 0;
			floor = at;
			continue;
		}
		if (label > 63 || len - at < label || n + label + 1 > 255)
			return 0;
		wire[n++] = (unsigned char)label;
		if (label == 0)
			break;
		for (unsigned int i = 0; i < label; i++) {
			unsigned char b = msg[at + i];

			wire[n++] = b >= 'A' && b <= 'Z' ? (unsigned char)(b - 'A' + 'a') : b;
		}
		at += label;
	}
	*ret_wire = n;
	return after ? after : at;
}

struct owner {
	unsigned char wire[255];
	size_t len;
};

/* A high bit is no number (RFC 2181, 8). */
static uint32_t least_ttl(uint32_t least, const unsigned char *field)
{
	uint32_t ttl = (uint32_t)get16(field) << 16 | get16(field + 2);

	if (ttl > INT32_MAX)
		ttl = 0;
	return ttl < least ? ttl : least;
}

static bool same(const struct owner *a, const struct owner *b)
{
	return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

/* One pass over the answers: gathers addresses of *want; when there are none,
 * gives the CNAME of *want. -EBADMSG, 0 = no CNAME, 1 = *next is set. */
static int walk(const unsigned char *msg, size_t len, size_t at, unsigned int records,
		uint16_t type, const struct owner *want, struct owner *next,
		struct immure_dns_reply *ret)
{
	bool alias = false;
	uint32_t alias_ttl_s = UINT32_MAX;

	for (unsigned int i = 0; i < records; i++) {
		struct owner name, target;
		size_t rdlen, size = type == IMMURE_DNS_A ? 4 : 16;
		uint16_t t, class;

		at = read_name(msg, len, at, name.wire, &name.len);
		if (at == 0 || len - at < 10)
			return -EBADMSG;
		t = get16(msg + at);
		class = get16(msg + at + 2);
		rdlen = get16(msg + at + 8);
		at += 10;
		if (len - at < rdlen)
			return -EBADMSG;
		if (class == CLASS_IN && same(&name, want)) {
			if (t == type) {
				if (rdlen != size)
					return -EBADMSG;
				ret->ttl_s = least_ttl(ret->ttl_s, msg + at - 6);
				if (ret->n < IMMURE_DNS_ADDRESSES) {
					memset(ret->addresses[ret->n], 0, 16);
					memcpy(ret->addresses[ret->n++], msg + at, size);
				}
			} else if (t == IMMURE_DNS_CNAME) {
				size_t end = read_name(msg, len, at, target.wire, &target.len);

				/* Two different ones have no order: refused. */
				if (end != at + rdlen || (alias && !same(&target, next)))
					return -EBADMSG;
				alias_ttl_s = least_ttl(alias_ttl_s, msg + at - 6);
				*next = target;
				alias = true;
			}
		}
		at += rdlen;
	}
	if (!alias || ret->n)
		return 0;
	if (alias_ttl_s < ret->ttl_s)
		ret->ttl_s = alias_ttl_s;
	return 1;
}

int immure_dns_reply_parse(const unsigned char *msg, size_t len, uint16_t id, const char *name,
			   uint16_t type, struct immure_dns_reply *ret)
{
	unsigned char asked[HEADER + 255 + 4];
	struct owner want, next;
	unsigned int records;
	uint16_t flags;
	size_t at;
	int n = immure_dns_ask(id, name, type, asked, sizeof(asked)), r;

	if (n < 0 || (type != IMMURE_DNS_A && type != IMMURE_DNS_AAAA))
		return -EINVAL;
	if (len < HEADER || len > 65535 || get16(msg) != id)
		return -EBADMSG;
	flags = get16(msg + 2);
	/* A response, of opcode 0, to one question. */
	if ((flags & 0xf800) != 0x8000 || get16(msg + 4) != 1)
		return -EBADMSG;
	at = read_name(msg, len, HEADER, want.wire, &want.len);
	if (at == 0 || len - at < 4 || want.len != (size_t)n - HEADER - 4 ||
	    memcmp(want.wire, asked + HEADER, want.len) != 0 ||
	    memcmp(msg + at, asked + n - 4, 4) != 0)
		return -EBADMSG;
	at += 4;
	memset(ret, 0, sizeof(*ret));
	ret->ttl_s = UINT32_MAX;
	ret->rcode = flags & 0xf;
	ret->truncated = flags & 0x0200;
	records = get16(msg + 6);
	if (ret->truncated || ret->rcode != IMMURE_DNS_NOERROR)
		return 0;
	if (records > RECORDS)
		return -EBADMSG;
	for (unsigned int links = 0; links <= IMMURE_DNS_CNAMES; links++) {
		r = walk(msg, len, at, records, type, &want, &next, ret);
		if (r <= 0)
			return r;
		want = next;
	}
	return -ELOOP;
}
