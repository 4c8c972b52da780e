/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first message of a TLS client, read without taking part: which name it
 * asks for. Bytes come in whatever pieces; the message may be spread over
 * records. Nothing else may come first, and nothing may follow it in its
 * record. The reader keeps no copy for forwarding: the caller has the bytes.
 */
#ifndef IMMURE_EGRESS_TLS_H
#define IMMURE_EGRESS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "egress/endpoint.h"

enum {
	IMMURE_TLS_HELLO_MAX = 16 * 1024, /* with its 4 bytes of header */
	IMMURE_TLS_RECORDS_MAX = 64,
	/* So much the caller may have to hold until the answer is known. */
	IMMURE_TLS_RAW_MAX = IMMURE_TLS_HELLO_MAX + 5 * IMMURE_TLS_RECORDS_MAX,
};

struct immure_tls_reader {
	unsigned char record[5];
	unsigned char message[IMMURE_TLS_HELLO_MAX];
	size_t record_have, record_left; /* record_left: body bytes still to come */
	size_t have, want;               /* want: 0 until the message's length is known */
	unsigned int records;
	int result;                      /* 0 while reading */
	const char *why;                 /* set when refused; static */
};

struct immure_tls_hello {
	char sni[IMMURE_HOST_NAME_MAX + 1]; /* normal form; "" = none */
	const unsigned char *alpn;          /* in the reader: length, name, length, name … */
	size_t alpn_len;
	bool ech;                           /* real or grease: nobody can tell from outside */
	bool early_data;
};

void immure_tls_reader_init(struct immure_tls_reader *r);
/* 0: more is needed. 1: the hello is whole, *ret_used bytes of data belong to it
 * (the rest is further records). -EPROTO: refused, r->why says why; stays so. */
int immure_tls_reader_feed(struct immure_tls_reader *r, const unsigned char *data, size_t len,
			   size_t *ret_used);
/* After 1. 0, or -EPROTO with r->why. */
int immure_tls_hello_parse(struct immure_tls_reader *r, struct immure_tls_hello *ret);
bool immure_tls_hello_offers(const struct immure_tls_hello *h, const char *protocol);

#endif
