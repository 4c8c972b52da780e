/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/http1.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static int refuse(struct immure_http_reader *r, const char *why)
{
	r->why = why;
	r->result = -EPROTO;
	return -EPROTO;
}

void immure_http_reader_init(struct immure_http_reader *r, char *buf, size_t cap)
{
	*r = (struct immure_http_reader){
		.buf = buf,
		.cap = cap < IMMURE_HTTP_HEAD_MAX ? cap : IMMURE_HTTP_HEAD_MAX,
	};
}

static bool is_token(unsigned char b)
{
	return (b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
	       (b && strchr("!#$%&'*+-.^_`|~", b));
}

/* What can be told of a byte where it stands. */
static int judge_byte(struct immure_http_reader *r, unsigned char b)
{
	size_t at = r->len - r->line;

	if (r->cr && b != '\n')
		return refuse(r, "a CR without LF");
	if (b == '\n' && !r->cr)
		return refuse(r, "a LF without CR");
	if (b == '\r' || b == '\n')
		return 0;
	if ((b < 0x20 && b != '\t') || b == 0x7f)
		return refuse(r, "a control byte");
	if (r->lines == 0) {
		if (b == '\t' || b >= 0x80)
			return refuse(r, "a byte that no request line has");
		if (at >= IMMURE_HTTP_LINE_MAX)
			return refuse(r, "the request line is too long");
		if (r->method_done)
			return 0;
		/* So that other protocols are told apart by their first bytes. */
		if (b == ' ' && at > 0)
			r->method_done = true;
		else if (b < 'A' || b > 'Z' || at >= IMMURE_HTTP_METHOD_MAX)
			return refuse(r, "not an HTTP request");
		return 0;
	}
	if (at == 0 && (b == ' ' || b == '\t'))
		return refuse(r, "a folded field");
	return 0;
}

int immure_http_reader_feed(struct immure_http_reader *r, const char *data, size_t len,
			    size_t *ret_used)
{
	size_t used = 0;

	while (r->result == 0 && used < len) {
		unsigned char b = (unsigned char)data[used];

		if (r->len == r->cap) {
			(void)refuse(r, "the head is too long");
			break;
		}
		if (judge_byte(r, b) < 0)
			break;
		r->buf[r->len++] = data[used++];
		r->cr = b == '\r';
		if (b != '\n')
			continue;
		if (r->len - r->line == 2) {
			if (r->lines == 0)
				(void)refuse(r, "an empty line before the request");
			else
				r->result = 1;
		} else if (++r->lines > IMMURE_HTTP_FIELDS_MAX + 1) {
			(void)refuse(r, "too many fields");
		}
		r->line = r->len;
	}
	*ret_used = used;
	return r->result;
}

/* ---- the request line ---- */

static uint32_t method_bit(const char *m)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} known[] = {
		{ "GET", IMMURE_METHOD_GET },	    { "HEAD", IMMURE_METHOD_HEAD },
		{ "POST", IMMURE_METHOD_POST },	    { "PUT", IMMURE_METHOD_PUT },
		{ "DELETE", IMMURE_METHOD_DELETE }, { "PATCH", IMMURE_METHOD_PATCH },
		{ "OPTIONS", IMMURE_METHOD_OPTIONS },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, m) == 0)
			return known[i].bit;
	return 0;
}

/* Which form the target has, and for an absolute one where its path starts. */
static int parse_target(struct immure_http_reader *r, struct immure_http_head *h,
			struct immure_endpoint *authority)
{
	const char *query;

	for (size_t i = 0; i < h->target_len; i++)
		if (strchr("#\\\"<>^`{|}", h->target[i]))
			return refuse(r, "a byte that no target has");
	if (strcmp(h->method, "CONNECT") == 0) {
		h->form = IMMURE_HTTP_AUTHORITY;
		return 0;
	}
	if (h->target_len == 1 && h->target[0] == '*') {
		if (strcmp(h->method, "OPTIONS") != 0)
			return refuse(r, "the target \"*\" is for OPTIONS only");
		h->form = IMMURE_HTTP_ASTERISK;
	} else if (h->target[0] == '/') {
		h->form = IMMURE_HTTP_ORIGIN;
	} else if (h->target_len > 7 && strncasecmp(h->target, "http://", 7) == 0) {
		size_t n = 0;

		h->form = IMMURE_HTTP_ABSOLUTE;
		h->target += 7;
		h->target_len -= 7;
		while (n < h->target_len && h->target[n] != '/' && h->target[n] != '?')
			n++;
		if (immure_endpoint_authority(authority, h->target, n) < 0)
			return refuse(r, "the target's host is no host");
		if (n < h->target_len && h->target[n] == '?')
			return refuse(r, "the target has a query but no path");
		h->target += n;
		h->target_len -= n;
	} else {
		return refuse(r, "the target is neither a path nor a http:// address");
	}
	query = memchr(h->target, '?', h->target_len);
	h->path_len = query ? (size_t)(query - h->target) : h->target_len;
	return 0;
}

static int request_line(struct immure_http_reader *r, const char *line, size_t len,
			struct immure_http_head *h, struct immure_endpoint *authority)
{
	const char *first = memchr(line, ' ', len), *last = memrchr(line, ' ', len);
	const char *version;

	if (!first || first == last || last == first + 1 ||
	    memchr(first + 1, ' ', (size_t)(last - first - 1)))
		return refuse(r, "the request line has not three parts");
	memcpy(h->method, line, (size_t)(first - line)); /* the reader has seen to its length */
	h->method_bit = method_bit(h->method);
	h->target = first + 1;
	h->target_len = (size_t)(last - first - 1);
	version = last + 1;
	if (line + len - version != 8 || memcmp(version, "HTTP/1.", 7) != 0 ||
	    (version[7] != '0' && version[7] != '1'))
		return refuse(r, "not HTTP/1.0 or HTTP/1.1");
	h->minor = version[7] == '1';
	if (strcmp(h->method, "TRACE") == 0 || strcmp(h->method, "TRACK") == 0)
		return refuse(r, "TRACE sends back what others put in");
	return parse_target(r, h, authority);
}

/* ---- fields ---- */

enum field {
	FIELD_HOST, FIELD_LENGTH, FIELD_ENCODING, FIELD_CONNECTION, FIELD_UPGRADE, FIELD_EXPECT,
	FIELD_AUTHORIZATION, FIELD_PROXY_AUTHORIZATION, FIELD_H2, FIELD_OVERRIDE, FIELD_OTHER,
};

static const struct {
	const char *name;
	enum field field;
} fields[] = {
	{ "host", FIELD_HOST },
	{ "content-length", FIELD_LENGTH },
	{ "transfer-encoding", FIELD_ENCODING },
	{ "connection", FIELD_CONNECTION },
	{ "upgrade", FIELD_UPGRADE },
	{ "expect", FIELD_EXPECT },
	{ "authorization", FIELD_AUTHORIZATION },
	{ "proxy-authorization", FIELD_PROXY_AUTHORIZATION },
	{ "http2-settings", FIELD_H2 },
	{ "x-http-method", FIELD_OVERRIDE },
	{ "x-http-method-override", FIELD_OVERRIDE },
	{ "x-method-override", FIELD_OVERRIDE },
	{ "x-original-url", FIELD_OVERRIDE },
	{ "x-rewrite-url", FIELD_OVERRIDE },
};

/* Equal but for case and for '_' where '-' should be. */
static bool like(const char *name, size_t len, const char *known, bool *ret_exact)
{
	*ret_exact = true;
	if (strlen(known) != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		char b = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];

		if (b == '_' && known[i] == '-')
			*ret_exact = false;
		else if (b != known[i])
			return false;
	}
	return true;
}

static bool word_is(const char *s, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(s, word, len) == 0;
}

static int content_length(struct immure_http_reader *r, const char *v, size_t len,
			  struct immure_http_head *h)
{
	if (len == 0 || len > 18)
		return refuse(r, "Content-Length is no number of this world");
	h->length = 0;
	for (size_t i = 0; i < len; i++) {
		if (v[i] < '0' || v[i] > '9')
			return refuse(r, "Content-Length is not plain digits");
		h->length = h->length * 10 + (uint64_t)(v[i] - '0');
	}
	return 0;
}

/* What Connection lists is dropped by the next one on the way: naming a field
 * that matters there would make it vanish after it was judged. */
static int connection(struct immure_http_reader *r, const char *v, size_t len,
		      struct immure_http_head *h)
{
	const char *end = v + len;

	for (;;) {
		size_t n, skip;

		while (v < end && (*v == ' ' || *v == '\t' || *v == ','))
			v++;
		if (v == end)
			return 0;
		for (n = 0; v + n < end && v[n] != ',';)
			n++;
		for (skip = n; n && (v[n - 1] == ' ' || v[n - 1] == '\t');)
			n--;
		if (word_is(v, n, "close"))
			h->close = true;
		else if (!word_is(v, n, "keep-alive") && !word_is(v, n, "upgrade") &&
			 !word_is(v, n, "te"))
			return refuse(r, "Connection names what must not be dropped");
		v += skip;
	}
}

static int take_field(struct immure_http_reader *r, enum field f, const char *v, size_t len,
		      struct immure_http_head *h)
{
	switch (f) {
	case FIELD_HOST:
		return immure_endpoint_authority(&h->host, v, len) < 0 ?
			refuse(r, "Host is no host") : 0;
	case FIELD_LENGTH:
		h->body = IMMURE_HTTP_LENGTH;
		return content_length(r, v, len, h);
	case FIELD_ENCODING:
		h->body = IMMURE_HTTP_CHUNKED;
		return word_is(v, len, "chunked") ? 0 :
			refuse(r, "Transfer-Encoding is not just \"chunked\"");
	case FIELD_CONNECTION:
		return connection(r, v, len, h);
	case FIELD_UPGRADE:
		h->websocket = true;
		return word_is(v, len, "websocket") ? 0 :
			refuse(r, "an upgrade to what cannot be judged");
	case FIELD_EXPECT:
		h->expect_continue = true;
		return word_is(v, len, "100-continue") ? 0 : refuse(r, "Expect asks for the unknown");
	case FIELD_H2:
		return refuse(r, "an upgrade to what cannot be judged");
	case FIELD_OVERRIDE:
		h->overrides = true;
		return 0;
	case FIELD_AUTHORIZATION:
	case FIELD_PROXY_AUTHORIZATION:
	case FIELD_OTHER:
		return 0;
	}
	return 0;
}

static int one_field(struct immure_http_reader *r, const char *line, size_t len,
		     uint32_t *seen, struct immure_http_head *h)
{
	const char *colon = memchr(line, ':', len), *v;
	enum field f = FIELD_OTHER;
	size_t name_len;

	if (!colon || colon == line)
		return refuse(r, "a field without a name");
	name_len = (size_t)(colon - line);
	for (size_t i = 0; i < name_len; i++)
		if (!is_token((unsigned char)line[i]))
			return refuse(r, "a byte that no field name has");
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		bool exact;

		if (!like(line, name_len, fields[i].name, &exact))
			continue;
		if (!exact)
			return refuse(r, "a field name that some servers read as another");
		f = fields[i].field;
		break;
	}
	if (f != FIELD_OTHER && f != FIELD_CONNECTION && f != FIELD_OVERRIDE) {
		if (*seen & (1U << f))
			return refuse(r, "a field comes twice that must come once");
	}
	*seen |= 1U << f;
	v = colon + 1;
	len -= name_len + 1;
	while (len && (*v == ' ' || *v == '\t')) {
		v++;
		len--;
	}
	while (len && (v[len - 1] == ' ' || v[len - 1] == '\t'))
		len--;
	return take_field(r, f, v, len, h);
}

int immure_http_parse_any(struct immure_http_reader *r, struct immure_http_head *ret)
{
	struct immure_http_head h = { 0 };
	struct immure_endpoint authority = { 0 };
	uint32_t seen = 0;
	size_t at = 0;
	int k = 0;

	if (r->result != 1)
		return -EPROTO;
	/* Lines end in CR LF, the last is empty: the reader has checked. */
	for (unsigned int i = 0; i < r->lines && k == 0; i++) {
		const char *line = r->buf + at, *end = memchr(line, '\r', r->len - at);
		size_t len = (size_t)(end - line);

		k = i == 0 ? request_line(r, line, len, &h, &authority) :
			     one_field(r, line, len, &seen, &h);
		at += len + 2;
	}
	if (k < 0)
		return k;
	if ((seen & (1U << FIELD_LENGTH)) && (seen & (1U << FIELD_ENCODING)))
		return refuse(r, "both Content-Length and Transfer-Encoding");
	if (h.minor == 0 && h.body == IMMURE_HTTP_CHUNKED)
		return refuse(r, "Transfer-Encoding in HTTP/1.0");
	if (h.websocket && (h.body != IMMURE_HTTP_NO_BODY || h.method_bit != IMMURE_METHOD_GET))
		return refuse(r, "an upgrade with a body or by another method than GET");
	if (h.websocket)
		h.method_bit |= IMMURE_METHOD_WEBSOCKET;
	/* CONNECT says itself where to, and HTTP/1.0 has no Host. */
	if (!(seen & (1U << FIELD_HOST)) && (h.form != IMMURE_HTTP_AUTHORITY || h.minor != 0))
		return refuse(r, "no Host");
	if (h.form == IMMURE_HTTP_ABSOLUTE && (!immure_endpoint_same_host(&h.host, &authority) ||
					       h.host.port != authority.port))
		return refuse(r, "Host and the target's host differ");
	*ret = h;
	return 0;
}

int immure_http_head_parse(struct immure_http_reader *r, struct immure_http_head *ret)
{
	struct immure_http_head h;
	int k = immure_http_parse_any(r, &h);

	if (k < 0)
		return k;
	if (h.form == IMMURE_HTTP_AUTHORITY)
		return refuse(r, "CONNECT where no proxy is");
	*ret = h;
	return 0;
}
