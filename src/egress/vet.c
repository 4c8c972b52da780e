/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that a name must not lead to. The name was judged; but who owns the
 * name chooses the address, and may choose one that only we can reach. */
#include "egress/judge.h"

#include <stdio.h>
#include <string.h>

enum class { PRIVATE, LOOPBACK, METADATA, SPECIAL };

struct range {
	unsigned char address[16];
	unsigned int bits;
	enum class class;
	const char *what;
};

/* The first that holds an address decides: narrow ones first. */
static const struct range ranges4[] = {
	{ { 169, 254, 169, 254 }, 32, METADATA, "a cloud's metadata service" },
	{ { 169, 254, 170, 2 }, 32, METADATA, "a cloud's metadata service" },
	{ { 100, 100, 100, 200 }, 32, METADATA, "a cloud's metadata service" },
	{ { 168, 63, 129, 16 }, 32, METADATA, "a cloud's metadata service" },
	{ { 192, 0, 0, 192 }, 32, METADATA, "a cloud's metadata service" },
	{ { 255, 255, 255, 255 }, 32, SPECIAL, "broadcast" },
	{ { 0 }, 8, SPECIAL, "\"this\" network" },
	{ { 10 }, 8, PRIVATE, "a private network" },
	{ { 100, 64 }, 10, SPECIAL, "a carrier's private network" },
	{ { 127 }, 8, LOOPBACK, "loopback" },
	{ { 169, 254 }, 16, SPECIAL, "link-local" },
	{ { 172, 16 }, 12, PRIVATE, "a private network" },
	{ { 192, 0, 0 }, 24, SPECIAL, "reserved for protocols" },
	{ { 192, 0, 2 }, 24, SPECIAL, "for documentation" },
	{ { 192, 31, 196 }, 24, SPECIAL, "reserved for protocols" },
	{ { 192, 52, 193 }, 24, SPECIAL, "reserved for protocols" },
	{ { 192, 88, 99 }, 24, SPECIAL, "a 6to4 relay" },
	{ { 192, 168 }, 16, PRIVATE, "a private network" },
	{ { 192, 175, 48 }, 24, SPECIAL, "reserved for protocols" },
	{ { 198, 18 }, 15, SPECIAL, "for benchmarks" },
	{ { 198, 51, 100 }, 24, SPECIAL, "for documentation" },
	{ { 203, 0, 113 }, 24, SPECIAL, "for documentation" },
	{ { 224 }, 4, SPECIAL, "multicast" },
	{ { 240 }, 4, SPECIAL, "reserved" },
};

static const struct range ranges6[] = {
	{ { [15] = 1 }, 128, LOOPBACK, "loopback" },
	{ { 0 }, 128, SPECIAL, "the unspecified address" },
	{ { 0xfd, 0x20, 0, 0xce, [14] = 2, [15] = 0x54 }, 128, METADATA,
	  "a cloud's metadata service" },
	{ { 0xfd, 0, 0x0e, 0xc2 }, 32, METADATA, "a cloud's metadata service" },
	{ { 0 }, 96, SPECIAL, "an IPv4 address in IPv6 form" },
	{ { [8] = 0xff, [9] = 0xff }, 96, SPECIAL, "an IPv4 address in IPv6 form" },
	{ { 0, 0x64, 0xff, 0x9b }, 96, SPECIAL, "NAT64" },
	{ { 0, 0x64, 0xff, 0x9b, 0, 1 }, 48, SPECIAL, "NAT64" },
	{ { 1 }, 64, SPECIAL, "discarded" },
	{ { 0x20, 0x01, 0, 0 }, 32, SPECIAL, "Teredo" },
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32, SPECIAL, "for documentation" },
	{ { 0x20, 0x01 }, 23, SPECIAL, "reserved for protocols" },
	{ { 0x20, 0x02 }, 16, SPECIAL, "6to4" },
	{ { 0x3f, 0xff }, 20, SPECIAL, "for documentation" },
	{ { 0xfc }, 7, PRIVATE, "a private network" },
	{ { 0xfe, 0x80 }, 10, SPECIAL, "link-local" },
	{ { 0xfe, 0xc0 }, 10, SPECIAL, "site-local" },
	{ { 0xff }, 8, SPECIAL, "multicast" },
};

static bool within(const unsigned char *address, const unsigned char *net, unsigned int bits)
{
	unsigned int whole = bits / 8, rest = bits % 8;

	if (memcmp(address, net, whole) != 0)
		return false;
	return rest == 0 || ((address[whole] ^ net[whole]) >> (8 - rest)) == 0;
}

static const struct range *range_of(const struct immure_endpoint *e)
{
	/* Only 2000::/3 is given out for use on the Internet. */
	static const struct range unknown = { { 0 }, 8, SPECIAL, "not a global address" };
	bool six = e->kind == IMMURE_HOST_NET6;
	const struct range *t = six ? ranges6 : ranges4;
	size_t n = six ? sizeof(ranges6) / sizeof(ranges6[0]) : sizeof(ranges4) / sizeof(ranges4[0]);

	for (size_t i = 0; i < n; i++)
		if (within(e->address, t[i].address, t[i].bits))
			return &t[i];
	return six && (e->address[0] & 0xe0) != 0x20 ? &unknown : NULL;
}

/* Whether an allow rule of at least so many bits holds the address. */
static const char *named(const struct immure_judge *j, const struct immure_endpoint *e,
			 unsigned int bits)
{
	for (size_t i = 0; i < j->allow_n; i++)
		if (immure_judge_covers(&j->allow[i].rule, e) && j->allow[i].rule.prefix >= bits)
			return j->allow[i].text;
	return NULL;
}

/* "localhost" can mean one thing only, so to allow it by name is to name it. */
static bool is_localhost(const struct immure_judge *j, const struct immure_endpoint *to)
{
	if (to->kind != IMMURE_HOST_NAME || strcmp(to->name, "localhost") != 0)
		return false;
	for (size_t i = 0; i < j->allow_n; i++)
		if (j->allow[i].rule.kind == IMMURE_HOST_NAME &&
		    immure_judge_covers(&j->allow[i].rule, to))
			return true;
	return false;
}

static enum immure_verdict_kind refuse(struct immure_verdict *v, const struct immure_endpoint *to,
				       const struct immure_endpoint *e, const char *what)
{
	char text[IMMURE_ENDPOINT_TEXT], name[IMMURE_ENDPOINT_TEXT];

	(void)immure_endpoint_print(e, text);
	if (to->kind == IMMURE_HOST_NAME)
		(void)immure_verdict_deny(v, NULL, "%s leads to %s: %s",
					  immure_endpoint_print(to, name), text, what);
	else
		(void)immure_verdict_deny(v, NULL, "%s: %s", text, what);
	(void)snprintf(v->add, sizeof(v->add), "\"%s\" in network.allow", text);
	return v->kind;
}

static enum immure_verdict_kind allow(struct immure_verdict *v, const char *rule)
{
	*v = (struct immure_verdict){ .kind = IMMURE_VERDICT_ALLOW, .rule = rule };
	return v->kind;
}

enum immure_verdict_kind immure_vet_address(const struct immure_judge *j,
					    const struct immure_endpoint *to,
					    enum immure_host_kind kind,
					    const unsigned char address[16],
					    struct immure_verdict *ret)
{
	struct immure_endpoint e = { .port = to->port };
	const struct range *range;
	const char *rule;

	immure_endpoint_address(&e, kind, address);
	for (size_t i = 0; i < j->deny_n; i++)
		if (to->kind == IMMURE_HOST_NAME && immure_judge_covers(&j->deny[i].rule, &e)) {
			(void)refuse(ret, to, &e, "network.deny has it");
			ret->rule = j->deny[i].text;
			ret->add[0] = '\0';
			return ret->kind;
		}
	range = range_of(&e);
	if (range && range->class == LOOPBACK && is_localhost(j, to))
		return allow(ret, NULL);
	for (size_t i = 0; i < j->own_n; i++) {
		if (j->own[i].kind != e.kind || !within(e.address, j->own[i].address, j->own[i].bits))
			continue;
		rule = named(j, &e, j->own[i].bits);
		return rule ? allow(ret, rule) : refuse(ret, to, &e, "an address of this host");
	}
	if (!range)
		return allow(ret, NULL);
	if (range->class == PRIVATE && j->private_ok && to->kind == IMMURE_HOST_NAME)
		return allow(ret, NULL);
	rule = named(j, &e, range->bits);
	return rule ? allow(ret, rule) : refuse(ret, to, &e, range->what);
}
