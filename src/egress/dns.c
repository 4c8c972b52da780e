/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/dns.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "egress/bytes.h"

enum {
	HEADER = 12,
	FLAG_QR = 0x8000, OPCODE = 0x7800, FLAG_TC = 0x0200, FLAG_RD = 0x0100,
	FLAG_RA = 0x0080, FLAG_Z = 0x0040, FLAG_CD = 0x0010, RCODE = 0x000f,
	CLASS_IN = 1,
};

/* ---- the query ---- */

static bool host_byte(unsigned char b)
{
	return (b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '-' || b == '_';
}

/* One name without pointers: a query has nothing yet to point to. Returns the
 * offset behind it, 0 when malformed. */
static size_t read_name(const unsigned char *msg, size_t len, size_t at,
			struct immure_dns_query *q)
{
	size_t n = 0, wire = 1;

	for (;;) {
		unsigned int label;

		if (at >= len)
			return 0;
		label = msg[at++];
		if (label == 0)
			break;
		wire += label + 1;
		if (label > 63 || len - at < label || wire > 255)
			return 0;
		if (n)
			q->name[n++] = '.';
		for (unsigned int i = 0; i < label; i++) {
			unsigned char b = msg[at + i];

			if (b >= 'A' && b <= 'Z')
				b = (unsigned char)(b - 'A' + 'a');
			q->strange |= !host_byte(b);
			q->name[n++] = (char)b;
		}
		at += label;
	}
	q->name[q->strange ? 0 : n] = '\0';
	return at;
}

/* The one record that may follow the question. */
static int read_opt(const unsigned char *msg, size_t len, size_t at, struct immure_dns_query *q)
{
	size_t rdlen, end;

	if (len - at < 11 || msg[at] != 0 || get16(msg + at + 1) != IMMURE_DNS_OPT)
		return IMMURE_DNS_FORMERR;
	rdlen = get16(msg + at + 9);
	end = at + 11 + rdlen;
	if (end != len)
		return IMMURE_DNS_FORMERR;
	q->edns = true;
	if (msg[at + 6] != 0)
		return IMMURE_DNS_BADVERS;
	for (at += 11; at < end;) {
		size_t n;

		if (end - at < 4)
			return IMMURE_DNS_FORMERR;
		n = get16(msg + at + 2);
		if (end - at - 4 < n)
			return IMMURE_DNS_FORMERR;
		at += 4 + n;
	}
	return IMMURE_DNS_NOERROR;
}

int immure_dns_parse(const unsigned char *msg, size_t len, struct immure_dns_query *ret)
{
	struct immure_dns_query *q = ret;
	uint16_t flags, additional;
	size_t at;
	int r;

	if (len < HEADER || (get16(msg + 2) & FLAG_QR))
		return -EBADMSG; /* answering an answer could go on for ever */
	memset(q, 0, sizeof(*q));
	q->id = get16(msg);
	flags = get16(msg + 2);
	q->recursion = flags & FLAG_RD;
	q->checking_disabled = flags & FLAG_CD;
	if (flags & OPCODE)
		return IMMURE_DNS_NOTIMP;
	additional = get16(msg + 10);
	if ((flags & (FLAG_TC | FLAG_Z | RCODE)) || len > IMMURE_DNS_QUERY_MAX ||
	    get16(msg + 4) != 1 || get16(msg + 6) != 0 || get16(msg + 8) != 0 || additional > 1)
		return IMMURE_DNS_FORMERR;
	at = read_name(msg, len, HEADER, q);
	if (at == 0 || len - at < 4) {
		q->name[0] = '\0';
		return IMMURE_DNS_FORMERR;
	}
	q->type = get16(msg + at);
	q->question_len = at + 4 - HEADER;
	memcpy(q->question, msg + HEADER, q->question_len);
	at += 4;
	if (additional) {
		r = read_opt(msg, len, at, q);
		if (r != IMMURE_DNS_NOERROR)
			return r;
	} else if (at != len) {
		return IMMURE_DNS_FORMERR;
	}
	/* 128 to 255 but ANY: transfers and other things that are no data. */
	if (get16(msg + at - 2) != CLASS_IN || q->type == 0 || q->type == IMMURE_DNS_OPT ||
	    (q->type >= 128 && q->type < IMMURE_DNS_ANY))
		return IMMURE_DNS_REFUSED;
	return IMMURE_DNS_NOERROR;
}

/* ---- the answer ---- */

struct writer {
	unsigned char *out;
	size_t len, cap;
	bool full;
};

static void put(struct writer *w, const void *data, size_t len)
{
	if (w->full || w->cap - w->len < len) {
		w->full = true;
		return;
	}
	memcpy(w->out + w->len, data, len);
	w->len += len;
}

static void put16(struct writer *w, unsigned int v)
{
	const unsigned char b[2] = { (unsigned char)(v >> 8), (unsigned char)v };

	put(w, b, sizeof(b));
}

static void put32(struct writer *w, uint32_t v)
{
	put16(w, v >> 16);
	put16(w, v & 0xffff);
}

/* A name as labels into wire; its length, or -EINVAL. */
static int encode_name(const char *name, unsigned char wire[255])
{
	size_t n = 0;

	while (*name) {
		size_t label = strcspn(name, ".");

		if (label == 0 || label > 63 || n + label + 2 > 255)
			return -EINVAL;
		wire[n++] = (unsigned char)label;
		memcpy(wire + n, name, label);
		n += label;
		name += label;
		if (*name == '.' && !*++name)
			return -EINVAL;
	}
	wire[n++] = 0;
	return (int)n;
}

static int put_answer(struct writer *w, const struct immure_dns_answer *a)
{
	unsigned char name[255];
	const void *data = a->address;
	int n = a->type == IMMURE_DNS_A ? 4 : 16;

	if (a->type == IMMURE_DNS_PTR) {
		n = encode_name(a->name, name);
		if (n < 0)
			return n;
		data = name;
	}
	put16(w, 0xc000 | HEADER); /* the name asked for */
	put16(w, a->type);
	put16(w, CLASS_IN);
	put32(w, IMMURE_DNS_TTL);
	put16(w, (unsigned int)n);
	put(w, data, (size_t)n);
	return 0;
}

/* Tells a cache in front of us how long "no" holds. Its owner is the root,
 * which is above every name. */
static void put_soa(struct writer *w)
{
	static const unsigned char name[] = { 6, 'i', 'm', 'm', 'u', 'r', 'e', 0 };

	put(w, "", 1);
	put16(w, IMMURE_DNS_SOA);
	put16(w, CLASS_IN);
	put32(w, IMMURE_DNS_NEGATIVE_TTL);
	put16(w, 2 * sizeof(name) + 5 * 4);
	put(w, name, sizeof(name));
	put(w, name, sizeof(name));
	put32(w, 1);     /* serial */
	put32(w, 3600);  /* refresh, retry, expire: there is no secondary */
	put32(w, 600);
	put32(w, 86400);
	put32(w, IMMURE_DNS_NEGATIVE_TTL);
}

static void put_opt(struct writer *w, int rcode)
{
	put(w, "", 1);
	put16(w, IMMURE_DNS_OPT);
	put16(w, IMMURE_DNS_QUERY_MAX);
	put32(w, (uint32_t)(rcode >> 4) << 24);
	put16(w, 0);
}

int immure_dns_respond(const struct immure_dns_query *q, const struct immure_dns_answer *a,
		       unsigned char *out, size_t cap)
{
	struct writer w = { .out = out, .cap = cap };
	bool data = a->rcode == IMMURE_DNS_NOERROR && a->type != 0;
	bool negative = !data && q->question_len &&
			(a->rcode == IMMURE_DNS_NOERROR || a->rcode == IMMURE_DNS_NXDOMAIN);
	int r;

	if (data && a->type != IMMURE_DNS_A && a->type != IMMURE_DNS_AAAA &&
	    a->type != IMMURE_DNS_PTR)
		return -EINVAL;
	if (data && q->question_len == 0)
		return -EINVAL; /* the record's name points at the question */
	put16(&w, q->id);
	put16(&w, FLAG_QR | FLAG_RA | (q->recursion ? FLAG_RD : 0U) |
		  (q->checking_disabled ? FLAG_CD : 0U) | ((unsigned int)a->rcode & RCODE));
	put16(&w, q->question_len ? 1 : 0);
	put16(&w, data);
	put16(&w, negative);
	put16(&w, q->edns);
	put(&w, q->question, q->question_len);
	if (data) {
		r = put_answer(&w, a);
		if (r < 0)
			return r;
	}
	if (negative)
		put_soa(&w);
	if (q->edns)
		put_opt(&w, a->rcode);
	return w.full ? -ENOSPC : (int)w.len;
}

/* ---- names of addresses ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int immure_dns_reverse(const char *name, enum immure_host_kind *ret_kind,
		       unsigned char ret_address[16])
{
	unsigned char a[16] = { 0 };
	const char *p = name;

	if (strlen(name) == 64 + strlen("ip6.arpa") && strcmp(name + 64, "ip6.arpa") == 0) {
		for (unsigned int i = 0; i < 32; i++, p += 2) {
			int d = hex_digit(p[0]);

			if (d < 0 || p[1] != '.')
				return -ENOENT;
			a[15 - i / 2] |= (unsigned char)(i % 2 ? d << 4 : d);
		}
		*ret_kind = IMMURE_HOST_NET6;
		memcpy(ret_address, a, 16);
		return 0;
	}
	for (unsigned int i = 0; i < 4; i++) {
		size_t n = strspn(p, "0123456789");
		unsigned int v = 0;

		if (n == 0 || n > 3 || p[n] != '.' || (n > 1 && p[0] == '0'))
			return -ENOENT;
		for (size_t k = 0; k < n; k++)
			v = v * 10 + (unsigned int)(p[k] - '0');
		if (v > 255)
			return -ENOENT;
		a[3 - i] = (unsigned char)v;
		p += n + 1;
	}
	if (strcmp(p, "in-addr.arpa") != 0)
		return -ENOENT;
	*ret_kind = IMMURE_HOST_NET4;
	memcpy(ret_address, a, 16);
	return 0;
}

/* ---- over TCP ---- */

int immure_dns_stream_feed(struct immure_dns_stream *s, const unsigned char *data, size_t len,
			   size_t *ret_used, size_t *ret_len)
{
	size_t used = 0, want;

	/* A message that was handed out: the next one starts. */
	if (s->have >= 2 && s->have == 2U + get16(s->buf))
		s->have = 0;
	while (s->have < 2 && used < len)
		s->buf[s->have++] = data[used++];
	*ret_used = used;
	if (s->have < 2)
		return 0;
	want = get16(s->buf);
	if (want < HEADER || want > IMMURE_DNS_QUERY_MAX)
		return -EMSGSIZE;
	want = want + 2 - s->have;
	if (want > len - used)
		want = len - used;
	memcpy(s->buf + s->have, data + used, want);
	s->have += want;
	*ret_used = used + want;
	if (s->have < 2U + get16(s->buf))
		return 0;
	*ret_len = s->have - 2;
	return 1;
}
