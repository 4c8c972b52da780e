/* SPDX-License-Identifier: Apache-2.0 */
/* Network rules: who may be talked to, parsed once into a value. The text of a
 * rule and the names a command asks for go through the same normal form, so
 * that no two parsers can disagree about a name. */
#ifndef IMMURE_POLICY_NETRULE_H
#define IMMURE_POLICY_NETRULE_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/keys.h"

enum immure_host_kind {
	IMMURE_HOST_NAME,     /* exactly this name */
	IMMURE_HOST_WILDCARD, /* any name below this one, not the name itself */
	IMMURE_HOST_NET4,     /* an IPv4 address or network */
	IMMURE_HOST_NET6,
};

enum immure_net_protocol {
	IMMURE_PROTO_ANY,  /* no scheme given: any TCP protocol */
	IMMURE_PROTO_TCP,  /* raw bytes are fine */
	IMMURE_PROTO_TLS,
	IMMURE_PROTO_HTTP,
	IMMURE_PROTO_HTTPS,
	IMMURE_PROTO_SSH,
};

/* Bits of immure_netrule.methods; 0 = every method. */
enum {
	IMMURE_METHOD_GET = 1, IMMURE_METHOD_HEAD = 2, IMMURE_METHOD_POST = 4,
	IMMURE_METHOD_PUT = 8, IMMURE_METHOD_DELETE = 16, IMMURE_METHOD_PATCH = 32,
	IMMURE_METHOD_OPTIONS = 64,
	IMMURE_METHOD_WEBSOCKET = 128, /* a GET that asks to leave HTTP; no rule means it unsaid */
};

struct immure_port_range {
	uint16_t lo, hi;
};

struct immure_netrule {
	enum immure_host_kind kind;
	const char *name;          /* NAME, WILDCARD: normal form, without "*." */
	unsigned char address[16]; /* NET4 (first 4 bytes), NET6: host bits zero */
	unsigned int prefix;
	struct immure_port_range ports[2];
	unsigned int ports_n;      /* 1, or 2 for the default 443 and 80 */
	enum immure_net_protocol protocol;
	uint32_t methods;
	const char *path;          /* NULL = every path; starts with '/', without final '*' */
	bool path_prefix;          /* the path ended in '*' */
};

enum { IMMURE_HOST_NAME_MAX = 253 };

/* -EINVAL with the complaint filled, or -ENOMEM. Strings live in the arena. */
int immure_netrule_parse(struct immure_arena *a, const char *text, struct immure_netrule *ret,
			 struct immure_complaint *c);
/* Lower case, no final dot. ret holds IMMURE_HOST_NAME_MAX + 1 bytes. len is
 * given so that a NUL inside cannot end the name early. */
int immure_host_name_normalize(const char *name, size_t len, char *ret,
			       struct immure_complaint *c);
/* "192.0.2.1" or "2001:db8::1" without brackets; the kind, or -EINVAL. */
int immure_address_parse(const char *text, unsigned char ret[16]);
/* A rule for the name localhost is one for its two addresses as well: the name is in
 * every /etc/hosts, so nobody is asked for it. How many there are in ret, 0 or 2. */
unsigned int immure_netrule_localhost(const struct immure_netrule *r, struct immure_netrule ret[2]);
enum { IMMURE_ADDRESS_TEXT = 46 };
/* Without brackets or bits. */
const char *immure_address_print(enum immure_host_kind kind, const unsigned char address[16],
				 char ret[IMMURE_ADDRESS_TEXT]);
/* Whether a normalised name, or an address, is the rule's. */
bool immure_netrule_has_name(const struct immure_netrule *r, const char *name);
bool immure_netrule_has_address(const struct immure_netrule *r, enum immure_host_kind kind,
				const unsigned char address[16]);
bool immure_netrule_has_port(const struct immure_netrule *r, uint16_t port);
/* "ADDR/BITS"; host bits must be zero. */
int immure_network_parse(const char *text, enum immure_host_kind *ret_kind,
			 unsigned char ret_address[16], unsigned int *ret_prefix,
			 struct immure_complaint *c);
/* The rule's text in normal form. NULL when out of memory. */
/* netnotice.c: what is surely not meant about a rule that is right in itself; NULL: nothing. */
const char *immure_netrule_notice(struct immure_arena *a, const char *text);
char *immure_netrule_print(struct immure_arena *a, const struct immure_netrule *r);

struct immure_publish {
	enum immure_host_kind kind; /* NET4 or NET6 */
	unsigned char address[16];
	uint16_t host_port, port;
};
int immure_publish_parse(const char *text, struct immure_publish *ret,
			 struct immure_complaint *c);

#endif
