/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1 request, for judging it. Whoever serves the request
 * parses it again, with a parser of its own; so a head that two parsers could
 * read in two ways is refused here, however common its form is. What is
 * accepted has one length, one host and one target.
 */
#ifndef IMMURE_EGRESS_HTTP1_H
#define IMMURE_EGRESS_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "egress/endpoint.h"

enum {
	IMMURE_HTTP_HEAD_MAX = 128 * 1024, /* with the empty line */
	IMMURE_HTTP_LINE_MAX = 8 * 1024,  /* the request line */
	IMMURE_HTTP_FIELDS_MAX = 100,
	IMMURE_HTTP_METHOD_MAX = 16,
};

/* What programs can tell by, where it is about HTTP. */
enum immure_code {
	IMMURE_CODE_NONE,
	IMMURE_CODE_HTTP_DENIED_ACL,    /* a request that no rule has, or a denial has */
	IMMURE_CODE_HTTP_INVALID_URL,   /* no request, or one that can be read in two ways */
	IMMURE_CODE_HTTP_BODY_TOO_LARGE,
	IMMURE_CODE_HTTP_TLS_FAIL,      /* either side's TLS */
	IMMURE_CODES,
};

struct immure_http_reader {
	char *buf;           /* the caller's */
	size_t cap, len;     /* len: bytes of the head so far */
	size_t line;         /* where the current line starts */
	unsigned int lines;  /* whole ones */
	bool cr, method_done;
	int result;
	const char *why;     /* set when refused; static */
};

enum immure_http_form { IMMURE_HTTP_ORIGIN, IMMURE_HTTP_ABSOLUTE, IMMURE_HTTP_ASTERISK,
			IMMURE_HTTP_AUTHORITY };
enum immure_http_body { IMMURE_HTTP_NO_BODY, IMMURE_HTTP_LENGTH, IMMURE_HTTP_CHUNKED };

struct immure_http_head {
	char method[IMMURE_HTTP_METHOD_MAX + 1];
	uint32_t method_bit;    /* IMMURE_METHOD_*; 0 = a method rules do not know; two of an upgrade */
	enum immure_http_form form;
	const char *target;     /* in the reader: path and query, or all of AUTHORITY */
	size_t target_len;
	size_t path_len;        /* of target, before '?' */
	unsigned int minor;     /* HTTP/1.minor */
	struct immure_endpoint host; /* from Host; of an absolute target, the same. Without a
				      * name or address: CONNECT by HTTP/1.0, which has none */
	enum immure_http_body body;
	uint64_t length;
	bool close;             /* Connection: close */
	bool websocket;         /* asks to leave HTTP; every other upgrade is refused */
	bool expect_continue;
	bool overrides;         /* a field that some servers take for method or path */
};

/* buf is borrowed; a head longer than cap is refused. */
void immure_http_reader_init(struct immure_http_reader *r, char *buf, size_t cap);
/* 0: more is needed. 1: the head is whole, *ret_used bytes of data belong to it.
 * -EPROTO: refused, r->why says why; stays so. */
int immure_http_reader_feed(struct immure_http_reader *r, const char *data, size_t len,
			    size_t *ret_used);
/* After 1. CONNECT is refused here: connect.h. 0, or -EPROTO with r->why. */
int immure_http_head_parse(struct immure_http_reader *r, struct immure_http_head *ret);
/* The same for any method; for connect.c. */
int immure_http_parse_any(struct immure_http_reader *r, struct immure_http_head *ret);

/* The path as rules write paths (http1_path.c): escapes of plain characters undone,
 * others in upper case. Refused with -EPROTO and *ret_why: dot and empty
 * segments, escaped or not; escaped slash, backslash, percent, control; ';'.
 * out holds len + 1 bytes. */
int immure_http_path(const char *path, size_t len, char *out, const char **ret_why);
/* Whether a path in that form is the rule's (a rule without a path: yes). */
bool immure_http_rule_has_path(const struct immure_netrule *rule, const char *path);

#endif
