/* SPDX-License-Identifier: Apache-2.0 */
/* A plain request as proxies get it, "GET http://HOST/PATH": what the server it names is
 * to get instead. */
#ifndef IMMURE_EGRESS_ABSOLUTE_H
#define IMMURE_EGRESS_ABSOLUTE_H

#include "egress/http1.h"

/* Room that the new head may take beyond the old one. */
enum { IMMURE_ABSOLUTE_MORE = 64 };

/* h: of r, parsed, IMMURE_HTTP_ABSOLUTE. out holds r->len + IMMURE_ABSOLUTE_MORE bytes.
 * The request line has the path alone; Host is its own; fields that are between the
 * client and us (Connection, Proxy-*, Keep-Alive, TE, Trailer, Upgrade) are left out, and
 * "Connection: close" is put in: one request a connection, so that the next one is
 * judged as a new one. Returns the length; -EPROTO with r->why for what cannot be
 * forwarded so. */
int immure_absolute_rewrite(struct immure_http_reader *r, const struct immure_http_head *h,
			    char *out, size_t *ret_len);

#endif
