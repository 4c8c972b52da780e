/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/connect.h"

#include <errno.h>

static int refuse(struct immure_http_reader *r, const char *why)
{
	r->why = why;
	r->result = -EPROTO;
	return -EPROTO;
}

int immure_connect_parse(struct immure_http_reader *r, struct immure_endpoint *ret)
{
	struct immure_http_head h;
	struct immure_endpoint to = { 0 };
	int k = immure_http_parse_any(r, &h);

	if (k < 0)
		return k;
	if (h.form != IMMURE_HTTP_AUTHORITY)
		return refuse(r, "not CONNECT");
	if (immure_endpoint_authority(&to, h.target, h.target_len) < 0)
		return refuse(r, "the target is no host");
	if (to.port == 0)
		return refuse(r, "the target has no port");
	if ((h.host.kind != IMMURE_HOST_NAME || h.host.name[0]) &&
	    (!immure_endpoint_same_host(&to, &h.host) || (h.host.port && h.host.port != to.port)))
		return refuse(r, "Host and the target differ");
	if (h.body != IMMURE_HTTP_NO_BODY || h.websocket || h.expect_continue || h.overrides)
		return refuse(r, "a field that CONNECT does not have");
	*ret = to;
	return 0;
}
