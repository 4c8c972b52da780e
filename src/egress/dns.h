/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS as the gatekeeper speaks it to a command: one question in, one answer
 * out, and nothing is asked of anybody else for it. A query must be exactly
 * what a stub resolver sends; whatever else it is gets an error code or
 * silence. Nothing is allocated.
 */
#ifndef IMMURE_EGRESS_DNS_H
#define IMMURE_EGRESS_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "egress/endpoint.h"

enum {
	IMMURE_DNS_NOERROR = 0, IMMURE_DNS_FORMERR = 1, IMMURE_DNS_SERVFAIL = 2,
	IMMURE_DNS_NXDOMAIN = 3, IMMURE_DNS_NOTIMP = 4, IMMURE_DNS_REFUSED = 5,
	IMMURE_DNS_BADVERS = 16,
};
enum {
	IMMURE_DNS_A = 1, IMMURE_DNS_CNAME = 5, IMMURE_DNS_SOA = 6, IMMURE_DNS_PTR = 12,
	IMMURE_DNS_TXT = 16, IMMURE_DNS_AAAA = 28, IMMURE_DNS_SRV = 33, IMMURE_DNS_OPT = 41,
	IMMURE_DNS_SVCB = 64, IMMURE_DNS_HTTPS = 65, IMMURE_DNS_ANY = 255,
};
enum {
	IMMURE_DNS_QUERY_MAX = 512,    /* a question with its EDNS record is far below */
	IMMURE_DNS_RESPONSE_MAX = 512, /* no answer of ours is larger: none is cut short */
	IMMURE_DNS_QUESTION_MAX = 255 + 4,
	IMMURE_DNS_TTL = 60,           /* synthetic addresses hold for the session */
	IMMURE_DNS_NEGATIVE_TTL = 1,   /* a rule that is added must count at once */
};

struct immure_dns_query {
	uint16_t id;
	uint16_t type;
	bool recursion;  /* RD, repeated in the answer */
	bool checking_disabled;
	bool edns;
	bool strange;    /* the name has a byte that no host name has; name is "" */
	char name[IMMURE_HOST_NAME_MAX + 1]; /* lower case, no final dot; "" is the root */
	/* As received, for the answer: some clients vary the case as a check. */
	unsigned char question[IMMURE_DNS_QUESTION_MAX];
	size_t question_len; /* 0 when it could not be read */
};

/* IMMURE_DNS_NOERROR: go on. Another code: answer with it. -EBADMSG: no answer
 * at all (a response, or less than a header). *ret is filled as far as the
 * answer needs unless the result is negative. */
int immure_dns_parse(const unsigned char *msg, size_t len, struct immure_dns_query *ret);

struct immure_dns_answer {
	int rcode;              /* IMMURE_DNS_* above */
	uint16_t type;          /* A, AAAA or PTR with NOERROR; 0 = no data */
	unsigned char address[16];
	const char *name;       /* PTR, normal form */
};

/* Bytes written, at most IMMURE_DNS_RESPONSE_MAX; -ENOSPC when cap is less
 * than needed, -EINVAL for a name that is none. */
int immure_dns_respond(const struct immure_dns_query *q, const struct immure_dns_answer *a,
		       unsigned char *out, size_t cap);

/* The address that a PTR question's name stands for (in-addr.arpa, ip6.arpa).
 * -ENOENT when it stands for none. */
int immure_dns_reverse(const char *name, enum immure_host_kind *ret_kind,
		       unsigned char ret_address[16]);

/* DNS over TCP: messages with a length in front, in whatever pieces. */
struct immure_dns_stream {
	unsigned char buf[2 + IMMURE_DNS_QUERY_MAX];
	size_t have;
};
/* Takes from data up to the end of one message. 1: buf + 2 holds a message of
 * *ret_len bytes, take it and call again; 0: more is needed; -EMSGSIZE: a
 * length that no query has, close. *ret_used counts what was taken. */
int immure_dns_stream_feed(struct immure_dns_stream *s, const unsigned char *data, size_t len,
			   size_t *ret_used, size_t *ret_len);

/* ---- asking upstream, at dial time (dns_upstream.c) ---- */

enum { IMMURE_DNS_ADDRESSES = 32, IMMURE_DNS_CNAMES = 8 };

struct immure_dns_reply {
	int rcode;
	bool truncated;  /* ask again over TCP; nothing else is set */
	size_t n;        /* 0 with NOERROR: no such data */
	unsigned char addresses[IMMURE_DNS_ADDRESSES][16];
	uint32_t ttl_s;  /* the least of what led to them */
};

/* The question for A or AAAA as bytes; -EINVAL, -ENOSPC. */
int immure_dns_ask(uint16_t id, const char *name, uint16_t type, unsigned char *out, size_t cap);
/* Reads the reply to exactly that question: same id, name, type. Addresses count
 * only at the end of an unbroken chain of CNAMEs from the name asked, of at
 * most IMMURE_DNS_CNAMES. -EBADMSG: not a reply to it, or malformed; -ELOOP: a
 * longer chain. */
int immure_dns_reply_parse(const unsigned char *msg, size_t len, uint16_t id, const char *name,
			   uint16_t type, struct immure_dns_reply *ret);

#endif
