/* SPDX-License-Identifier: Apache-2.0 */
#include "intercept/attribution.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egress/config.h"

/* Some servers take '_' for '-'. */
static bool is_ours(const char *line, size_t len)
{
	size_t n = strlen(IMMURE_ATTRIBUTION) - 1;

	return len > n && strncasecmp(line, IMMURE_ATTRIBUTION, n) == 0 && (line[n] == '-' || line[n] == '_');
}

static char *put(char *to, const char *from, size_t len)
{
	memcpy(to, from, len);
	return to + len;
}

int immure_attribution_rewrite(const struct immure_attribution *a, const struct immure_endpoint *to,
			       const struct immure_http_head *head, const char *text, size_t len,
			       char **ret, size_t *ret_len)
{
	const char *end = text + len, *line = (const char *)memchr(text, '\n', len) + 1;
	size_t most = len;
	char *out, *at;

	*ret = NULL;
	if (!a->rules_n || !immure_judge_is_about(a->rules, a->rules_n, to, head))
		return 0;
	for (size_t i = 0; i < a->fields->n; i++)
		most += strlen(a->fields->v[i]) + 2;
	out = malloc(most);
	if (!out)
		return -ENOMEM;
	at = put(out, text, (size_t)(line - text));
	while (end - line > 2) { /* the last one is empty */
		const char *next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;

		if (!is_ours(line, (size_t)(next - line)))
			at = put(at, line, (size_t)(next - line));
		line = next;
	}
	for (size_t i = 0; i < a->fields->n; i++) {
		at = put(at, a->fields->v[i], strlen(a->fields->v[i]));
		at = put(at, "\r\n", 2);
	}
	at = put(at, "\r\n", 2);
	*ret = out;
	*ret_len = (size_t)(at - out);
	return 0;
}
