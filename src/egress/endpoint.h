/* SPDX-License-Identifier: Apache-2.0 */
/* Where a command wants to go: a name or an address, and a port. Every parser
 * of this layer ends here, so that a name has one normal form whichever
 * protocol brought it: that of policy/netrule.h. */
#ifndef IMMURE_EGRESS_ENDPOINT_H
#define IMMURE_EGRESS_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/netrule.h"

struct immure_endpoint {
	enum immure_host_kind kind; /* NAME, NET4 or NET6 */
	char name[IMMURE_HOST_NAME_MAX + 1];
	unsigned char address[16];  /* NET4 (first 4 bytes), NET6 */
	uint16_t port;              /* 0 = not given */
};

enum { IMMURE_ENDPOINT_TEXT = IMMURE_HOST_NAME_MAX + 16 };

/* A name or a whole address, without brackets. Refused with -EINVAL: what is
 * no name, a final dot, and number-like names (0x7f.1, 2130706433) that some
 * resolver may read as an address. Leaves the port alone. */
int immure_endpoint_host(struct immure_endpoint *e, const char *text, size_t len);
/* HOST or HOST:PORT, an IPv6 address in brackets. No user, no spaces, a port
 * in plain digits. */
int immure_endpoint_authority(struct immure_endpoint *e, const char *text, size_t len);
/* An IPv4 address in IPv6 clothes (::ffff:0:0/96) becomes the IPv4 one. */
void immure_endpoint_address(struct immure_endpoint *e, enum immure_host_kind kind,
			     const unsigned char *address);
bool immure_endpoint_same_host(const struct immure_endpoint *a, const struct immure_endpoint *b);
/* "example.com:443", "[2001:db8::1]:443"; buf holds IMMURE_ENDPOINT_TEXT bytes. */
const char *immure_endpoint_print(const struct immure_endpoint *e, char *buf);

#endif
