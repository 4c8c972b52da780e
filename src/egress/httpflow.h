/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests of one HTTP/1 connection, one after another: each head is held back
 * until it is whole and judged, its body passes as it comes. Where a body ends is
 * read in one way only; what could be read in another ends the connection.
 *
 *     HEAD --length--> BODY --> HEAD
 *     HEAD --chunked--> SIZE --> DATA --> DATA_END --> SIZE ... SIZE 0 --> LAST --> HEAD
 *     HEAD --Connection: close, after its body--> END
 *     HEAD --asks for an upgrade--> SWITCHING --101--> OPAQUE
 *                                             \--another answer--> HEAD
 */
#ifndef IMMURE_EGRESS_HTTPFLOW_H
#define IMMURE_EGRESS_HTTPFLOW_H

#include "egress/http1.h"

struct immure_http_flow;

/* 0: goes on. Negative: it does not, and nothing after it. */
typedef int immure_http_flow_judge(void *ctx, const struct immure_http_head *head);

/* What is forwarded in the place of a head that was allowed; *ret is malloc'd, and cleared before
 * it is freed. 0 or -errno, which ends the flow. */
typedef int immure_http_flow_rewrite(void *ctx, const struct immure_http_head *head, const char *text,
				     size_t len, char **ret, size_t *ret_len);

/* What a flow may be bounded by; before its first request. 0: no bound. */
struct immure_http_bounds {
	uint64_t request_body, response_body;
};

int immure_http_flow_new(immure_http_flow_judge *judge, void *ctx, struct immure_http_flow **ret);
void immure_http_flow_free(struct immure_http_flow *f);
/* From the next head on. */
void immure_http_flow_set_rewrite(struct immure_http_flow *f, immure_http_flow_rewrite *rewrite);
void immure_http_flow_bound(struct immure_http_flow *f, const struct immure_http_bounds *b);
/* *ret: what may be forwarded now, valid until the next call. -EPROTO: refused, see
 * immure_http_flow_why(); -EFBIG: a body is longer than it may be; or what judge returned. Each stays. */
int immure_http_flow_feed(struct immure_http_flow *f, const unsigned char *data, size_t len,
			  const unsigned char **ret, size_t *ret_len);
const char *immure_http_flow_why(const struct immure_http_flow *f);
/* Of what feed() or answer() returned. */
enum immure_code immure_http_flow_code(int r);
/* Whether what comes back has to be shown to answer(): there is a bound for it, or an upgrade was
 * asked for. Known after the first request. */
bool immure_http_flow_follows(const struct immure_http_flow *f);
/* Bytes of the other way. 0, -EPROTO or -EFBIG: they do not go on. */
int immure_http_flow_answer(struct immure_http_flow *f, const unsigned char *data, size_t len);
/* Requests whose head was allowed. */
uint64_t immure_http_flow_requests(const struct immure_http_flow *f);
/* The first request is all: what comes after it is dropped, not refused. A client that
 * sends the next one too soon gets its answer, and asks again elsewhere. */
void immure_http_flow_once(struct immure_http_flow *f);
/* Whether a head has begun and is not whole. */
bool immure_http_flow_in_head(const struct immure_http_flow *f);
/* Asks judge again about the last head that was allowed; 0 when there was none. */
int immure_http_flow_again(struct immure_http_flow *f);

#endif
