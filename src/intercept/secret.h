/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets: read once, kept in memory that is locked, left out of dumps and wiped at the end,
 * and put into the one field of a request that its rule is about. What a server sends back is
 * looked through for them.
 */
#ifndef IMMURE_INTERCEPT_SECRET_H
#define IMMURE_INTERCEPT_SECRET_H

#include "base/arena.h"
#include "egress/judge.h"
#include "egress/lendmsg.h"

struct immure_secret_use {
	char name[80], header[80], placeholder[IMMURE_LEND_PLACEHOLDER];
	struct immure_judge_rule *to;
	size_t to_n;
	const char *value;  /* as it was given */
	const char *field;  /* as it is sent: "Bearer ..." */
	const char *coded;  /* BASIC: what is sent of it; else NULL */
	size_t value_len, field_len, coded_len;
};

struct immure_secrets {
	struct immure_secret_use v[IMMURE_LEND_SECRETS];
	size_t n;
	char *memory;
	size_t size, used;
};

/* Bytes of a response that may be the beginning of a secret's value. */
struct immure_scrub {
	uint64_t sent;  /* bit N: secret N was sent on this connection */
	char *held;
	size_t len;
};

int immure_secrets_init(struct immure_secrets *s);
void immure_secrets_done(struct immure_secrets *s);
/* The value is read from fd, which is borrowed. rules live in the arena. -EINVAL with *ret_why
 * (static) for a value that no field can have; -errno. */
int immure_secrets_add(struct immure_secrets *s, struct immure_arena *a,
		       const struct immure_lend_secret *m, int fd, const char **ret_why);
/* By what secret number i is known to who must not know it. -EIO: no randomness. */
int immure_secrets_mark(const struct immure_secrets *s, size_t i, struct immure_lend_mark *ret);
/* The name of a secret whose placeholder is in there although it is none of that place's; NULL. */
const char *immure_secrets_misplaced(const struct immure_secrets *s, const struct immure_endpoint *to,
				     const char *text, size_t len);
/* An allowed head, with the fields that secrets are for; see immure_http_flow_rewrite. */
int immure_secrets_rewrite(const struct immure_secrets *s, const struct immure_endpoint *to,
			   const struct immure_http_head *head, const char *text, size_t len,
			   uint64_t *sent, char **ret, size_t *ret_len);
/* What of a response goes on: *ret is malloc'd, *ret_len may be 0. Values that were sent are
 * stars. end: nothing more comes, or not for a while. */
int immure_secrets_scrub(const struct immure_secrets *s, struct immure_scrub *k, const char *data,
			 size_t len, bool end, char **ret, size_t *ret_len);
void immure_scrub_done(struct immure_scrub *k);

#endif
