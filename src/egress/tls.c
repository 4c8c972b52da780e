/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/tls.h"

#include <errno.h>
#include <string.h>

#include "egress/bytes.h"

enum {
	RECORD_HANDSHAKE = 22, MESSAGE_CLIENT_HELLO = 1, RECORD_MAX = 16384,
	EXTENSIONS_MAX = 64,
	EXT_SERVER_NAME = 0, EXT_ALPN = 16, EXT_PRE_SHARED_KEY = 41, EXT_EARLY_DATA = 42,
	EXT_ECH = 0xfe0d, EXT_ESNI = 0xffce,
};

static int refuse(struct immure_tls_reader *r, const char *why)
{
	r->why = why;
	r->result = -EPROTO;
	return -EPROTO;
}

void immure_tls_reader_init(struct immure_tls_reader *r)
{
	r->record_have = r->record_left = r->have = r->want = 0;
	r->records = 0;
	r->result = 0;
	r->why = NULL;
}

/* Judges each header byte when it comes: what is no TLS is told apart at its
 * first byte, not after a wait for more. */
static int record_byte(struct immure_tls_reader *r, unsigned char b)
{
	size_t left;

	r->record[r->record_have++] = b;
	switch (r->record_have) {
	case 1:
		return b == RECORD_HANDSHAKE ? 0 : refuse(r, "not a TLS handshake");
	case 2:
		return b == 3 ? 0 : refuse(r, "not a TLS version");
	case 3: /* TLS 1.0 to 1.2; 1.3 says 1.2 or 1.0 here */
		return b >= 1 && b <= 3 ? 0 : refuse(r, "not a TLS version");
	case 4:
		return 0;
	default:
		left = get16(r->record + 3);
		if (left == 0 || left > RECORD_MAX)
			return refuse(r, "a TLS record that is empty or too long");
		if (++r->records > IMMURE_TLS_RECORDS_MAX)
			return refuse(r, "a ClientHello in too many records");
		r->record_left = left;
		r->record_have = 0;
		return 0;
	}
}

/* The message's own header, once its four bytes are there. */
static int message_header(struct immure_tls_reader *r)
{
	if (r->have >= 1 && r->message[0] != MESSAGE_CLIENT_HELLO)
		return refuse(r, "the first TLS message is no ClientHello");
	if (r->want == 0 && r->have >= 4) {
		r->want = 4 + get24(r->message + 1);
		if (r->want > IMMURE_TLS_HELLO_MAX)
			return refuse(r, "the ClientHello is too long");
	}
	return 0;
}

int immure_tls_reader_feed(struct immure_tls_reader *r, const unsigned char *data, size_t len,
			   size_t *ret_used)
{
	size_t used = 0;

	*ret_used = 0;
	while (r->result == 0 && used < len) {
		size_t n;

		if (r->record_left == 0) {
			(void)record_byte(r, data[used++]); /* the result is kept in r */
			continue;
		}
		n = (r->want ? r->want : 4) - r->have;
		if (n > r->record_left)
			n = r->record_left;
		if (n > len - used)
			n = len - used;
		memcpy(r->message + r->have, data + used, n);
		r->have += n;
		r->record_left -= n;
		used += n;
		if (message_header(r) < 0 || r->want == 0 || r->have < r->want)
			continue;
		if (r->record_left)
			(void)refuse(r, "something follows the ClientHello in its record");
		else
			r->result = 1;
	}
	*ret_used = used;
	return r->result;
}

/* ---- the message ---- */

struct view {
	const unsigned char *p;
	size_t len;
};

/* A field with its length in front, of 1 or 2 bytes. */
static bool take(struct view *v, unsigned int length_bytes, struct view *ret)
{
	size_t n;

	if (v->len < length_bytes)
		return false;
	n = length_bytes == 1 ? v->p[0] : get16(v->p);
	if (v->len - length_bytes < n)
		return false;
	ret->p = v->p + length_bytes;
	ret->len = n;
	v->p += length_bytes + n;
	v->len -= length_bytes + n;
	return true;
}

static bool skip(struct view *v, size_t n)
{
	if (v->len < n)
		return false;
	v->p += n;
	v->len -= n;
	return true;
}

static int server_name(struct immure_tls_reader *r, struct view ext, struct immure_tls_hello *h)
{
	struct immure_endpoint e;
	struct view list, name;

	if (!take(&ext, 2, &list) || ext.len || list.len < 1 || list.p[0] != 0 ||
	    !skip(&list, 1) || !take(&list, 2, &name) || list.len)
		return refuse(r, "the SNI extension is malformed");
	if (immure_endpoint_host(&e, (const char *)name.p, name.len) < 0 ||
	    e.kind != IMMURE_HOST_NAME)
		return refuse(r, "the SNI is no host name");
	memcpy(h->sni, e.name, sizeof(h->sni));
	return 0;
}

static int alpn(struct immure_tls_reader *r, struct view ext, struct immure_tls_hello *h)
{
	struct view list, all, one;

	if (!take(&ext, 2, &list) || ext.len || list.len == 0)
		return refuse(r, "the ALPN extension is malformed");
	for (all = list; all.len;)
		if (!take(&all, 1, &one) || one.len == 0)
			return refuse(r, "the ALPN extension is malformed");
	h->alpn = list.p;
	h->alpn_len = list.len;
	return 0;
}

static int extension(struct immure_tls_reader *r, uint16_t type, struct view ext, bool last,
		     struct immure_tls_hello *h)
{
	switch (type) {
	case EXT_SERVER_NAME:
		return server_name(r, ext, h);
	case EXT_ALPN:
		return alpn(r, ext, h);
	case EXT_EARLY_DATA:
		h->early_data = true;
		return 0;
	case EXT_ECH:
	case EXT_ESNI:
		h->ech = true;
		return 0;
	case EXT_PRE_SHARED_KEY:
		return last ? 0 : refuse(r, "pre_shared_key is not the last extension");
	default:
		return 0;
	}
}

static int extensions(struct immure_tls_reader *r, struct view all, struct immure_tls_hello *h)
{
	uint16_t seen[EXTENSIONS_MAX];
	unsigned int n = 0;

	while (all.len) {
		struct view ext;
		uint16_t type;
		int k;

		if (all.len < 4 || n == EXTENSIONS_MAX)
			return refuse(r, "the extensions are malformed or too many");
		type = get16(all.p);
		for (unsigned int i = 0; i < n; i++)
			if (seen[i] == type)
				return refuse(r, "an extension comes twice");
		seen[n++] = type;
		if (!skip(&all, 2) || !take(&all, 2, &ext))
			return refuse(r, "the extensions are malformed or too many");
		k = extension(r, type, ext, all.len == 0, h);
		if (k < 0)
			return k;
	}
	return 0;
}

int immure_tls_hello_parse(struct immure_tls_reader *r, struct immure_tls_hello *ret)
{
	struct immure_tls_hello h = { 0 };
	struct view v = { r->message + 4, r->want - 4 }, session, suites, methods, exts;
	int k = 0;

	if (r->result != 1)
		return -EPROTO;
	if (v.len < 2 || v.p[0] != 3 || v.p[1] < 1 || v.p[1] > 3)
		return refuse(r, "not a TLS version");
	if (!skip(&v, 2 + 32) || !take(&v, 1, &session) || session.len > 32)
		return refuse(r, "the ClientHello is malformed");
	if (!take(&v, 2, &suites) || suites.len == 0 || suites.len % 2)
		return refuse(r, "the cipher suites are malformed");
	if (!take(&v, 1, &methods) || !methods.len || !memchr(methods.p, 0, methods.len))
		return refuse(r, "the compression methods are malformed");
	if (v.len) { /* TLS 1.0 may end here */
		if (!take(&v, 2, &exts) || v.len)
			return refuse(r, "the extensions are malformed or too many");
		k = extensions(r, exts, &h);
	}
	if (k == 0)
		*ret = h;
	return k;
}

bool immure_tls_hello_offers(const struct immure_tls_hello *h, const char *protocol)
{
	size_t want = strlen(protocol);

	for (size_t at = 0; at < h->alpn_len; at += 1U + h->alpn[at])
		if (h->alpn[at] == want && memcmp(h->alpn + at + 1, protocol, want) == 0)
			return true;
	return false;
}
