/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT, for programs that want a proxy: the head of http1.h, stricter. The
 * bytes after the head are the tunnel's; there is one request a connection. */
#ifndef IMMURE_EGRESS_CONNECT_H
#define IMMURE_EGRESS_CONNECT_H

#include "egress/http1.h"

/* After immure_http_reader_feed() gave 1. Where to, with its port; -EPROTO with
 * r->why: another method, no port, a Host that differs, a body. */
int immure_connect_parse(struct immure_http_reader *r, struct immure_endpoint *ret);

#endif
