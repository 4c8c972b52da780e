/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are told whose they are: fields of ours are put there, and whatever the client
 * sent by such names is taken out. */
#ifndef IMMURE_INTERCEPT_ATTRIBUTION_H
#define IMMURE_INTERCEPT_ATTRIBUTION_H

#include "egress/judge.h"

struct immure_attribution {
	struct immure_judge_rule *rules;
	size_t rules_n;
	const struct immure_strv *fields;
};

/* An allowed head as it goes on; *ret is malloc'd, NULL when nothing changes. 0 or -ENOMEM. */
int immure_attribution_rewrite(const struct immure_attribution *a, const struct immure_endpoint *to,
			       const struct immure_http_head *head, const char *text, size_t len,
			       char **ret, size_t *ret_len);

#endif
