/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/netrule.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "policy/checks.h"

static const char *const scheme_names[] = {
	[IMMURE_PROTO_ANY] = "",	  [IMMURE_PROTO_TCP] = "tcp",
	[IMMURE_PROTO_TLS] = "tls",	  [IMMURE_PROTO_HTTP] = "http",
	[IMMURE_PROTO_HTTPS] = "https", [IMMURE_PROTO_SSH] = "ssh",
};
static const char *const method_names[] = { "GET",    "HEAD",  "POST",   "PUT",
					    "DELETE", "PATCH", "OPTIONS", "WEBSOCKET" };
enum { METHODS = sizeof(method_names) / sizeof(method_names[0]) };

int immure_host_name_normalize(const char *name, size_t len, char *ret,
			       struct immure_complaint *c)
{
	size_t label = 0;

	if (len && name[len - 1] == '.')
		len--;
	if (len == 0)
		return immure_complain(c, "the host name is empty");
	if (len > IMMURE_HOST_NAME_MAX)
		return immure_complain(c, "the host name has %zu bytes, more than %d", len,
				       IMMURE_HOST_NAME_MAX);
	for (size_t i = 0; i < len; i++) {
		unsigned char b = (unsigned char)name[i];

		if (b >= 0x80) {
			immure_complain(c, "the host name has a byte outside ASCII");
			immure_complain_hint(c, "write such names in their xn-- form");
			return -EINVAL;
		}
		if (b == '.') {
			if (label == 0)
				return immure_complain(c, "the host name has an empty label");
			label = 0;
			ret[i] = '.';
			continue;
		}
		if (b >= 'A' && b <= 'Z')
			b = (unsigned char)(b - 'A' + 'a');
		if (!((b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '-' || b == '_'))
			return immure_complain(c, "the host name has a byte (0x%02x) that no name has",
					       b);
		if (++label > 63)
			return immure_complain(c, "the host name has a label of more than 63 bytes");
		ret[i] = (char)b;
	}
	if (label == 0)
		return immure_complain(c, "the host name has an empty label");
	ret[len] = '\0';
	return 0;
}

int immure_address_parse(const char *text, unsigned char ret[16])
{
	unsigned char buf[16] = { 0 };

	if (inet_pton(AF_INET, text, buf) == 1) {
		memcpy(ret, buf, sizeof(buf));
		return IMMURE_HOST_NET4;
	}
	if (inet_pton(AF_INET6, text, buf) == 1) {
		memcpy(ret, buf, sizeof(buf));
		return IMMURE_HOST_NET6;
	}
	return -EINVAL;
}

/* Whether every bit from the prefix on is zero. */
static bool host_bits_zero(const unsigned char *address, unsigned int prefix, unsigned int bits)
{
	for (unsigned int i = prefix; i < bits; i++)
		if (address[i / 8] & (0x80U >> (i % 8)))
			return false;
	return true;
}

int immure_network_parse(const char *text, enum immure_host_kind *ret_kind,
			 unsigned char ret_address[16], unsigned int *ret_prefix,
			 struct immure_complaint *c)
{
	char host[64];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned int bits;
	uint64_t prefix;
	int kind;

	if (len >= sizeof(host))
		return immure_complain(c, "expected an address, got \"%.100s\"", text);
	memcpy(host, text, len);
	host[len] = '\0';
	kind = immure_address_parse(host, ret_address);
	if (kind < 0)
		return immure_complain(c, "expected an address, got \"%.100s\"", text);
	bits = kind == IMMURE_HOST_NET4 ? 32 : 128;
	prefix = bits;
	if (slash && (immure_parse_u64(slash + 1, &prefix) < 0 || prefix > bits))
		return immure_complain(c, "expected 0 to %u bits after \"/\", got \"%.20s\"", bits,
				       slash + 1);
	if (!host_bits_zero(ret_address, (unsigned int)prefix, bits))
		return immure_complain(c, "%.60s has bits set beyond its /%u", text,
				       (unsigned int)prefix);
	*ret_kind = (enum immure_host_kind)kind;
	*ret_prefix = (unsigned int)prefix;
	return 0;
}

static int parse_port(const char *s, size_t len, uint16_t *ret, struct immure_complaint *c)
{
	char digits[8];
	uint64_t v;

	if (len == 0 || len >= sizeof(digits))
		return immure_complain(c, "expected a port from 1 to 65535, got \"%.*s\"",
				       (int)(len > 20 ? 20 : len), s);
	memcpy(digits, s, len);
	digits[len] = '\0';
	if (immure_parse_u64(digits, &v) < 0 || v < 1 || v > 65535)
		return immure_complain(c, "expected a port from 1 to 65535, got \"%s\"", digits);
	*ret = (uint16_t)v;
	return 0;
}

static int parse_ports(const char *s, size_t len, struct immure_port_range *ret,
		       struct immure_complaint *c)
{
	const char *dash = memchr(s, '-', len);
	size_t first = dash ? (size_t)(dash - s) : len;
	int r = parse_port(s, first, &ret->lo, c);

	if (r < 0)
		return r;
	ret->hi = ret->lo;
	if (dash) {
		r = parse_port(dash + 1, len - first - 1, &ret->hi, c);
		if (r < 0)
			return r;
		if (ret->hi < ret->lo)
			return immure_complain(c, "the port range %u-%u ends before it starts",
					       ret->lo, ret->hi);
	}
	return 0;
}

/* Name, wildcard, address or network, without its port. */
static int parse_host(struct immure_arena *a, const char *s, size_t len,
		      struct immure_netrule *r, struct immure_complaint *c)
{
	char name[IMMURE_HOST_NAME_MAX + 1], copy[80];
	bool numeric;
	int k;

	if (len < sizeof(copy)) {
		memcpy(copy, s, len);
		copy[len] = '\0';
		if (strchr(copy, '/') || immure_address_parse(copy, r->address) >= 0)
			return immure_network_parse(copy, &r->kind, r->address, &r->prefix, c);
	}
	r->kind = IMMURE_HOST_NAME;
	if (len >= 2 && s[0] == '*' && s[1] == '.') {
		r->kind = IMMURE_HOST_WILDCARD;
		s += 2;
		len -= 2;
	}
	if (memchr(s, '*', len)) {
		immure_complain(c, "\"*\" may only be the whole first label");
		immure_complain_hint(c, "write *.example.com; to allow everything use network.mode host");
		return -EINVAL;
	}
	k = immure_host_name_normalize(s, len, name, c);
	if (k < 0)
		return k;
	/* All-digit last labels are how odd address forms (010.1, 0x7f.1, 2130706433)
	 * would come in: a resolver may read them as addresses. */
	s = strrchr(name, '.');
	s = s ? s + 1 : name;
	numeric = strspn(s, "0123456789") == strlen(s) || strncmp(s, "0x", 2) == 0;
	if (numeric)
		return immure_complain(c, "\"%.60s\" is neither a name nor a whole address", name);
	if (r->kind == IMMURE_HOST_WILDCARD && !strchr(name, '.')) {
		immure_complain(c, "\"*.%.60s\" would cover a whole top-level domain", name);
		immure_complain_hint(c, "name at least two labels, as in *.example.com");
		return -EINVAL;
	}
	r->name = immure_arena_strdup(a, name);
	return r->name ? 0 : -ENOMEM;
}

/* HOST[:PORT]; splits at the right colon for IPv6 and networks. */
static int parse_authority(struct immure_arena *a, const char *s, size_t len,
			   struct immure_netrule *r, struct immure_complaint *c)
{
	const char *port = NULL;
	size_t host_len = len;

	if (len && s[0] == '[') {
		const char *end = memchr(s, ']', len);

		if (!end)
			return immure_complain(c, "\"[\" without \"]\"");
		host_len = (size_t)(end - s) + 1;
		if (host_len < len && *++end != ':')
			return immure_complain(c, "expected \":\" and a port after \"]\"");
		if (host_len < len)
			port = end + 1;
		if (!memchr(s, ':', host_len))
			return immure_complain(c, "brackets are for IPv6 addresses");
		len -= port ? (size_t)(port - s) : 0;
		s++;
		host_len -= 2;
	} else {
		const char *first = memchr(s, ':', len);
		const char *last = memrchr(s, ':', len);

		if (first && first == last) { /* more than one: an IPv6 address */
			host_len = (size_t)(first - s);
			port = first + 1;
			len -= host_len + 1;
		}
	}
	if (port) {
		int k = parse_ports(port, len, &r->ports[0], c);

		if (k < 0)
			return k;
		r->ports_n = 1;
	}
	return parse_host(a, s, host_len, r, c);
}

/* "GET,POST " in front of an http rule; 1: there are some. ANY is what no method says. */
static int parse_methods(const char **s, struct immure_netrule *r, struct immure_complaint *c)
{
	const char *space = strchr(*s, ' '), *p = *s;

	if (!space)
		return 0;
	if (space - p == 3 && memcmp(p, "ANY", 3) == 0) {
		*s = space + 1;
		return 1;
	}
	while (p < space) {
		size_t n = strcspn(p, ", ");
		unsigned int i;

		for (i = 0; i < METHODS; i++)
			if (strlen(method_names[i]) == n && memcmp(method_names[i], p, n) == 0)
				break;
		if (i == METHODS)
			return immure_complain(c, "\"%.*s\" is no HTTP method", (int)(n > 20 ? 20 : n),
					       p);
		r->methods |= 1U << i;
		p += n;
		if (*p == ',' && ++p == space)
			return immure_complain(c, "expected a method after \",\"");
	}
	if (!r->methods)
		return immure_complain(c, "starts with a space");
	*s = space + 1;
	return 1;
}

static int hex_digit(char b)
{
	if (b >= '0' && b <= '9')
		return b - '0';
	b |= 0x20;
	return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

/* An escape, in the form that requests are brought to (egress/http1_path.c): undone where
 * a plain character is meant, else in upper case. How many bytes it now has. */
static int parse_escape(const char *s, char *out, struct immure_complaint *c)
{
	static const char digits[] = "0123456789ABCDEF";
	int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);
	unsigned char b = (unsigned char)((hi < 0 ? 0 : hi) << 4 | (lo < 0 ? 0 : lo));

	if (hi < 0 || lo < 0)
		return immure_complain(c, "the path has a \"%%\" that is no escape");
	if (b < 0x20 || b == 0x7f || strchr("/\\%;.*", b))
		return immure_complain(c, "the path has an escape (%%%02X) that rules cannot have", b);
	if ((b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
	    strchr("-_~", b)) {
		out[0] = (char)b;
		return 1;
	}
	out[0] = '%';
	out[1] = digits[b >> 4];
	out[2] = digits[b & 15];
	return 3;
}

/* A path must have one reading only: no "..", no parameters. */
static int parse_path(struct immure_arena *a, const char *s, struct immure_netrule *r,
		      struct immure_complaint *c)
{
	size_t len = strlen(s), n = 0;
	char path[1025];

	if (len >= sizeof(path))
		return immure_complain(c, "the path has more than 1024 bytes");
	for (size_t i = 0; i < len; i++) {
		unsigned char b = (unsigned char)s[i];
		int k = 1;

		if (b <= ' ' || b >= 0x7f || strchr("\\?#;\"<>^`{|}", b))
			return immure_complain(c, "the path has a byte (0x%02x) that rules cannot have",
					       b);
		if (b == '*' && i + 1 < len)
			return immure_complain(c, "\"*\" may only end the path");
		if (b == '/' && (s[i + 1] == '/' || (s[i + 1] == '.' && strcspn(s + i + 1, "/") <= 2 &&
						      strspn(s + i + 1, ".") == strcspn(s + i + 1, "/"))))
			return immure_complain(c, "the path has an empty, \".\" or \"..\" component");
		path[n] = (char)b;
		if (b == '%') {
			k = parse_escape(s + i, path + n, c);
			if (k < 0)
				return k;
			i += 2;
		}
		n += (size_t)k;
	}
	r->path_prefix = s[len - 1] == '*';
	r->path = immure_arena_strndup(a, path, n - r->path_prefix);
	return r->path ? 0 : -ENOMEM;
}

static int default_ports(struct immure_netrule *r, struct immure_complaint *c)
{
	static const uint16_t by_protocol[] = {
		[IMMURE_PROTO_TLS] = 443, [IMMURE_PROTO_HTTP] = 80,
		[IMMURE_PROTO_HTTPS] = 443, [IMMURE_PROTO_SSH] = 22,
	};

	if (r->ports_n)
		return 0;
	if (r->protocol == IMMURE_PROTO_TCP)
		return immure_complain(c, "tcp:// needs a port");
	if (r->protocol == IMMURE_PROTO_ANY) {
		r->ports[0] = (struct immure_port_range){ 443, 443 };
		r->ports[1] = (struct immure_port_range){ 80, 80 };
		r->ports_n = 2;
		return 0;
	}
	r->ports[0] = (struct immure_port_range){ by_protocol[r->protocol],
						  by_protocol[r->protocol] };
	r->ports_n = 1;
	return 0;
}

int immure_netrule_parse(struct immure_arena *a, const char *text, struct immure_netrule *ret,
			 struct immure_complaint *c)
{
	struct immure_netrule r = { 0 };
	const char *sep, *path = NULL;
	size_t len;
	int k, methods;

	if (!*text)
		return immure_complain(c, "expected a host, got an empty string");
	k = parse_methods(&text, &r, c);
	if (k < 0)
		return k;
	sep = strstr(text, "://");
	if (k && !sep) /* METHOD HOST/PATH: of the web as it is, so with TLS */
		r.protocol = IMMURE_PROTO_HTTPS;
	methods = k;
	if (sep) {
		size_t n = (size_t)(sep - text), i;

		for (i = 1; i < sizeof(scheme_names) / sizeof(scheme_names[0]); i++)
			if (strlen(scheme_names[i]) == n && memcmp(scheme_names[i], text, n) == 0)
				break;
		if (i == sizeof(scheme_names) / sizeof(scheme_names[0]))
			return immure_complain(c, "expected tcp, tls, http, https or ssh before "
					       "\"://\", got \"%.*s\"", (int)(n > 20 ? 20 : n), text);
		r.protocol = (enum immure_net_protocol)i;
		text = sep + 3;
	}
	len = strlen(text);
	if (r.protocol == IMMURE_PROTO_HTTP || r.protocol == IMMURE_PROTO_HTTPS) {
		path = strchr(text, '/');
		if (path)
			len = (size_t)(path - text);
	} else if (methods) {
		return immure_complain(c, "methods need http:// or https://");
	} else if (sep && strchr(text, '/')) {
		return immure_complain(c, "only http and https rules have a path");
	}
	k = parse_authority(a, text, len, &r, c);
	if (k == 0)
		k = default_ports(&r, c);
	if (k == 0 && path)
		k = parse_path(a, path, &r, c);
	if (k < 0)
		return k;
	*ret = r;
	return 0;
}

bool immure_netrule_has_name(const struct immure_netrule *r, const char *name)
{
	size_t n, m;

	if (r->kind == IMMURE_HOST_NAME)
		return strcmp(r->name, name) == 0;
	if (r->kind != IMMURE_HOST_WILDCARD)
		return false;
	n = strlen(name);
	m = strlen(r->name);
	return n > m + 1 && name[n - m - 1] == '.' && strcmp(name + n - m, r->name) == 0;
}

bool immure_netrule_has_address(const struct immure_netrule *r, enum immure_host_kind kind,
				const unsigned char address[16])
{
	if (r->kind != kind || (kind != IMMURE_HOST_NET4 && kind != IMMURE_HOST_NET6))
		return false;
	for (unsigned int i = 0; i < r->prefix; i++)
		if ((address[i / 8] ^ r->address[i / 8]) & (0x80U >> (i % 8)))
			return false;
	return true;
}

bool immure_netrule_has_port(const struct immure_netrule *r, uint16_t port)
{
	for (unsigned int i = 0; i < r->ports_n; i++)
		if (port >= r->ports[i].lo && port <= r->ports[i].hi)
			return true;
	return false;
}

static const char *print_host(const struct immure_netrule *r, char *buf, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	bool six = r->kind == IMMURE_HOST_NET6;

	if (r->kind == IMMURE_HOST_NAME)
		return r->name;
	if (r->kind == IMMURE_HOST_WILDCARD) {
		(void)snprintf(buf, len, "*.%s", r->name);
		return buf;
	}
	(void)inet_ntop(six ? AF_INET6 : AF_INET, r->address, text, sizeof(text));
	if (r->prefix != (six ? 128U : 32U))
		(void)snprintf(buf, len, six ? "[%s/%u]" : "%s/%u", text, r->prefix);
	else
		(void)snprintf(buf, len, six ? "[%s]" : "%s", text);
	return buf;
}

const char *immure_address_print(enum immure_host_kind kind, const unsigned char address[16],
				 char ret[IMMURE_ADDRESS_TEXT])
{
	/* Fits, and both families are known everywhere. */
	return inet_ntop(kind == IMMURE_HOST_NET6 ? AF_INET6 : AF_INET, address, ret,
			 IMMURE_ADDRESS_TEXT);
}

unsigned int immure_netrule_localhost(const struct immure_netrule *r, struct immure_netrule ret[2])
{
	if (r->kind != IMMURE_HOST_NAME || strcmp(r->name, "localhost") != 0)
		return 0;
	for (unsigned int i = 0; i < 2; i++) {
		ret[i] = *r;
		ret[i].kind = i ? IMMURE_HOST_NET6 : IMMURE_HOST_NET4;
		ret[i].name = NULL;
		ret[i].prefix = i ? 128 : 32;
		memset(ret[i].address, 0, sizeof(ret[i].address));
		ret[i].address[0] = i ? 0 : 127;
		ret[i].address[i ? 15 : 3] = 1;
	}
	return 2;
}

char *immure_netrule_print(struct immure_arena *a, const struct immure_netrule *r)
{
	char host[IMMURE_HOST_NAME_MAX + 16], methods[80] = "", ports[24] = "";
	size_t n = 0;

	for (unsigned int i = 0; i < METHODS; i++)
		if (r->methods & (1U << i))
			n += (size_t)snprintf(methods + n, sizeof(methods) - n, "%s%s",
					      n ? "," : "", method_names[i]);
	if (r->ports_n == 1 && r->ports[0].lo == r->ports[0].hi)
		(void)snprintf(ports, sizeof(ports), ":%u", r->ports[0].lo);
	else if (r->ports_n == 1)
		(void)snprintf(ports, sizeof(ports), ":%u-%u", r->ports[0].lo, r->ports[0].hi);
	return immure_arena_printf(a, "%s%s%s%s%s%s%s%s", methods, n ? " " : "",
				   scheme_names[r->protocol], r->protocol ? "://" : "",
				   print_host(r, host, sizeof(host)), ports, r->path ? r->path : "",
				   r->path_prefix ? "*" : "");
}

int immure_publish_parse(const char *text, struct immure_publish *ret,
			 struct immure_complaint *c)
{
	struct immure_publish p = { .kind = IMMURE_HOST_NET4, .address = { 127, 0, 0, 1 } };
	const char *last = strrchr(text, ':'), *middle = NULL;
	int k;

	for (const char *q = text; last && q < last; q++)
		if (*q == ':')
			middle = q;
	if (last && middle) { /* ADDRESS:HOSTPORT:PORT */
		char addr[64];
		size_t len = (size_t)(middle - text);
		bool bracket = len > 2 && text[0] == '[' && middle[-1] == ']';

		if (bracket) {
			text++;
			len -= 2;
		}
		if (len >= sizeof(addr) || (!bracket && memchr(text, ':', len)))
			return immure_complain(c, "expected [ADDRESS:]HOSTPORT[:PORT], IPv6 in brackets");
		memcpy(addr, text, len);
		addr[len] = '\0';
		k = immure_address_parse(addr, p.address);
		if (k < 0 || bracket != (k == IMMURE_HOST_NET6))
			return immure_complain(c, "expected an address before the ports, got \"%s\"",
					       addr);
		p.kind = (enum immure_host_kind)k;
		text = middle + 1;
	}
	k = parse_port(text, last ? (size_t)(last - text) : strlen(text), &p.host_port, c);
	p.port = p.host_port;
	if (k == 0 && last)
		k = parse_port(last + 1, strlen(last + 1), &p.port, c);
	if (k < 0)
		return k;
	*ret = p;
	return 0;
}
