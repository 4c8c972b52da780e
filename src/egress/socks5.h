/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SOCKS5 (RFC 1928), the server's half, for programs that want a proxy. No
 * authentication: only the session's own processes reach the listener. CONNECT
 * only, to a name or an address. Bytes come in whatever pieces.
 *
 *     GREETING --METHODS--> REQUEST --REQUEST--> done
 */
#ifndef IMMURE_EGRESS_SOCKS5_H
#define IMMURE_EGRESS_SOCKS5_H

#include <stddef.h>

#include "egress/endpoint.h"

enum immure_socks5_step {
	IMMURE_SOCKS5_MORE,    /* more bytes are needed */
	IMMURE_SOCKS5_METHODS, /* send the two bytes of the reply, go on feeding */
	IMMURE_SOCKS5_REQUEST, /* to is set; connect, then send the final reply */
};

/* Codes of the final reply. */
enum {
	IMMURE_SOCKS5_OK = 0, IMMURE_SOCKS5_FAILED = 1, IMMURE_SOCKS5_DENIED = 2,
	IMMURE_SOCKS5_NET = 3, IMMURE_SOCKS5_HOST = 4, IMMURE_SOCKS5_REFUSED = 5,
	IMMURE_SOCKS5_COMMAND = 7, IMMURE_SOCKS5_ADDRESS = 8,
};
enum { IMMURE_SOCKS5_REPLY_MAX = 10 };

struct immure_socks5 {
	unsigned char buf[4 + 1 + 255 + 2];
	size_t have;
	bool greeted;
	int result;
	struct immure_endpoint to;
	unsigned char reply[IMMURE_SOCKS5_REPLY_MAX]; /* what to send now, also on refusal */
	size_t reply_len;
	const char *why;
};

void immure_socks5_init(struct immure_socks5 *s);
/* A step, or -EPROTO: send reply (it may be empty) and close; stays so. Stops at
 * the end of each step; *ret_used counts what was taken. */
int immure_socks5_feed(struct immure_socks5 *s, const unsigned char *data, size_t len,
		       size_t *ret_used);
/* Fills s->reply for an outcome. */
void immure_socks5_finish(struct immure_socks5 *s, int code);

#endif
