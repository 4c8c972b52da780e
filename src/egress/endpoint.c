/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

void immure_endpoint_address(struct immure_endpoint *e, enum immure_host_kind kind,
			     const unsigned char *address)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	unsigned char four[4];

	e->name[0] = '\0';
	if (kind == IMMURE_HOST_NET6 && memcmp(address, mapped, sizeof(mapped)) == 0) {
		memcpy(four, address + sizeof(mapped), sizeof(four));
		kind = IMMURE_HOST_NET4;
		address = four;
	}
	e->kind = kind;
	if (kind == IMMURE_HOST_NET6) {
		memmove(e->address, address, 16);
	} else {
		memmove(e->address, address, 4);
		memset(e->address + 4, 0, 12);
	}
}

/* Whether some resolver could read the name as a number: its last label starts
 * with a digit and is all digits, or hexadecimal. */
static bool looks_like_number(const char *name)
{
	const char *last = strrchr(name, '.');

	last = last ? last + 1 : name;
	if (strspn(last, "0123456789") == strlen(last))
		return true;
	return last[0] == '0' && last[1] == 'x';
}

int immure_endpoint_host(struct immure_endpoint *e, const char *text, size_t len)
{
	char name[IMMURE_HOST_NAME_MAX + 1];
	unsigned char address[16];
	struct immure_complaint c;
	int kind;

	if (len == 0 || len > IMMURE_HOST_NAME_MAX || memchr(text, '\0', len))
		return -EINVAL;
	memcpy(name, text, len);
	name[len] = '\0';
	kind = immure_address_parse(name, address);
	if (kind >= 0) {
		immure_endpoint_address(e, (enum immure_host_kind)kind, address);
		return 0;
	}
	if (text[len - 1] == '.' || immure_host_name_normalize(text, len, name, &c) < 0 ||
	    looks_like_number(name))
		return -EINVAL;
	e->kind = IMMURE_HOST_NAME;
	memcpy(e->name, name, sizeof(name));
	memset(e->address, 0, sizeof(e->address));
	return 0;
}

static int port_of(const char *s, size_t len, uint16_t *ret)
{
	unsigned int v = 0;

	if (len == 0 || len > 5 || s[0] == '0')
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		v = v * 10 + (unsigned int)(s[i] - '0');
	}
	if (v > 65535)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

int immure_endpoint_authority(struct immure_endpoint *e, const char *text, size_t len)
{
	struct immure_endpoint got = { 0 };
	const char *host = text, *end, *port = NULL;
	size_t host_len = len;
	bool bracket;

	if (len == 0)
		return -EINVAL;
	bracket = text[0] == '[';
	if (bracket) {
		end = memchr(text, ']', len);
		if (!end)
			return -EINVAL;
		host++;
		host_len = (size_t)(end - host);
		end++;
		if (end < text + len && *end != ':')
			return -EINVAL;
		if (end < text + len)
			port = end + 1;
	} else {
		end = memchr(text, ':', len);
		if (end) {
			host_len = (size_t)(end - text);
			port = end + 1;
		}
	}
	if (immure_endpoint_host(&got, host, host_len) < 0)
		return -EINVAL;
	/* A mapped address in brackets has become an IPv4 one: look at the text. */
	if (bracket && !memchr(host, ':', host_len))
		return -EINVAL;
	if (port && port_of(port, (size_t)(text + len - port), &got.port) < 0)
		return -EINVAL;
	*e = got;
	return 0;
}

bool immure_endpoint_same_host(const struct immure_endpoint *a, const struct immure_endpoint *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == IMMURE_HOST_NAME)
		return strcmp(a->name, b->name) == 0;
	return memcmp(a->address, b->address, a->kind == IMMURE_HOST_NET6 ? 16 : 4) == 0;
}

const char *immure_endpoint_print(const struct immure_endpoint *e, char *buf)
{
	char text[INET6_ADDRSTRLEN];
	const char *host = e->name;
	bool six = e->kind == IMMURE_HOST_NET6;

	if (e->kind != IMMURE_HOST_NAME)
		host = inet_ntop(six ? AF_INET6 : AF_INET, e->address, text, sizeof(text));
	if (e->port)
		(void)snprintf(buf, IMMURE_ENDPOINT_TEXT, six ? "[%s]:%u" : "%s:%u", host, e->port);
	else
		(void)snprintf(buf, IMMURE_ENDPOINT_TEXT, six ? "[%s]" : "%s", host);
	return buf;
}
