/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes back on an HTTP/1 connection, followed as far as it takes to know where each answer's
 * body ends and how long it is, and whether the connection leaves HTTP. Nothing is judged by it,
 * so it reads as clients do; what has no one end is refused.
 *
 *     LINE --empty--> LENGTH | SIZE --> DATA --> DATA_END --> SIZE 0 --> TRAILER | TO_END --> LINE
 *     LINE --101, asked for--> SWITCHED
 */
#ifndef IMMURE_EGRESS_HTTP1_ANSWER_H
#define IMMURE_EGRESS_HTTP1_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Requests without an answer; a client that sends more at once is refused. */
enum { IMMURE_HTTP_PENDING_MAX = 64, IMMURE_HTTP_ANSWER_LINE = 256 };

struct immure_http_answers {
	uint64_t max;               /* bytes of a body, 0 = no bound */
	uint64_t head, upgrade;     /* bit N: of request N, counted modulo 64 */
	unsigned int asked, answered;
	int state;
	char line[IMMURE_HTTP_ANSWER_LINE]; /* its beginning */
	size_t line_len, head_len;
	unsigned int lines, status, digits;
	bool chunked, other_coding, has_length;
	uint64_t length, left, body;
	const char *why;            /* set when refused; static */
	int result;
};

void immure_http_answers_init(struct immure_http_answers *a, uint64_t max);
/* A request is on its way; in their order. -EPROTO: too many. */
int immure_http_answers_asked(struct immure_http_answers *a, bool head, bool upgrade);
/* 0: all of it may go on. -EFBIG: a body is longer than it may be. -EPROTO. Stays so. */
int immure_http_answers_feed(struct immure_http_answers *a, const char *data, size_t len);
/* What follows is no HTTP any more, on both ways. */
bool immure_http_answers_switched(const struct immure_http_answers *a);
/* The client waits for no answer. */
bool immure_http_answers_idle(const struct immure_http_answers *a);

#endif
