/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/socks5.h"

#include <errno.h>
#include <string.h>

#include "egress/bytes.h"

enum { VERSION = 5, COMMAND_CONNECT = 1, IPV4 = 1, DOMAIN = 3, IPV6 = 4, NO_METHOD = 0xff };

void immure_socks5_init(struct immure_socks5 *s)
{
	memset(s, 0, sizeof(*s));
}

void immure_socks5_finish(struct immure_socks5 *s, int code)
{
	/* The bound address is nobody's business: 0.0.0.0:0. */
	const unsigned char reply[10] = { VERSION, (unsigned char)code, 0, IPV4 };

	memcpy(s->reply, reply, sizeof(reply));
	s->reply_len = sizeof(reply);
}

static int refuse(struct immure_socks5 *s, const char *why)
{
	s->why = why;
	s->result = -EPROTO;
	return -EPROTO;
}

static int refuse_request(struct immure_socks5 *s, int code, const char *why)
{
	immure_socks5_finish(s, code);
	return refuse(s, why);
}

/* How many bytes the current message has as far as its first ones tell; judges
 * those. */
static int message_size(struct immure_socks5 *s, size_t *ret)
{
	const unsigned char *b = s->buf;

	*ret = s->greeted ? 5 : 2;
	if (s->have >= 1 && b[0] != VERSION)
		return refuse(s, "not SOCKS5");
	if (!s->greeted) {
		if (s->have >= 2 && b[1] == 0)
			return refuse(s, "a SOCKS5 greeting without methods");
		if (s->have >= 2)
			*ret = 2U + b[1];
		return 0;
	}
	if (s->have >= 2 && b[1] != COMMAND_CONNECT)
		return refuse_request(s, IMMURE_SOCKS5_COMMAND, "a SOCKS5 command other than CONNECT");
	if (s->have >= 3 && b[2] != 0)
		return refuse_request(s, IMMURE_SOCKS5_FAILED, "a malformed SOCKS5 request");
	if (s->have >= 4 && b[3] != IPV4 && b[3] != DOMAIN && b[3] != IPV6)
		return refuse_request(s, IMMURE_SOCKS5_ADDRESS, "an unknown SOCKS5 address type");
	if (s->have < 5)
		return 0;
	if (b[3] == IPV4)
		*ret = 4 + 4 + 2;
	else if (b[3] == IPV6)
		*ret = 4 + 16 + 2;
	else
		*ret = 4 + 1 + b[4] + 2U;
	return 0;
}

static int finish_greeting(struct immure_socks5 *s)
{
	bool none = memchr(s->buf + 2, 0, s->buf[1]) != NULL;

	s->reply[0] = VERSION;
	s->reply[1] = none ? 0 : NO_METHOD;
	s->reply_len = 2;
	s->greeted = true;
	s->have = 0;
	return none ? IMMURE_SOCKS5_METHODS :
		      refuse(s, "the SOCKS5 client wants to authenticate");
}

static int finish_request(struct immure_socks5 *s)
{
	const unsigned char *host = s->buf + 4;
	size_t port = s->have - 2;

	if (s->buf[3] == IPV4)
		immure_endpoint_address(&s->to, IMMURE_HOST_NET4, host);
	else if (s->buf[3] == IPV6)
		immure_endpoint_address(&s->to, IMMURE_HOST_NET6, host);
	else if (immure_endpoint_host(&s->to, (const char *)host + 1, host[0]) < 0)
		return refuse_request(s, IMMURE_SOCKS5_DENIED, "the SOCKS5 host is no host");
	s->to.port = get16(s->buf + port);
	if (s->to.port == 0)
		return refuse_request(s, IMMURE_SOCKS5_DENIED, "the SOCKS5 port is 0");
	s->result = IMMURE_SOCKS5_REQUEST;
	return s->result;
}

int immure_socks5_feed(struct immure_socks5 *s, const unsigned char *data, size_t len,
		       size_t *ret_used)
{
	*ret_used = 0;
	if (s->result)
		return s->result;
	for (;;) {
		size_t size, n;
		int k = message_size(s, &size);

		if (k < 0)
			return k;
		if (s->have == size && s->have >= (s->greeted ? 5U : 2U))
			return s->greeted ? finish_request(s) : finish_greeting(s);
		n = size - s->have;
		if (n > len - *ret_used)
			n = len - *ret_used;
		if (n == 0)
			return IMMURE_SOCKS5_MORE;
		memcpy(s->buf + s->have, data + *ret_used, n);
		s->have += n;
		*ret_used += n;
	}
}
