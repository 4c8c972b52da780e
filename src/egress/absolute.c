/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/absolute.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static bool between_us(const char *name, size_t len)
{
	static const char *const names[] = { "host", "connection", "keep-alive", "te", "trailer",
					     "upgrade" };

	if (len >= 6 && strncasecmp(name, "proxy-", 6) == 0)
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && strncasecmp(name, names[i], len) == 0)
			return true;
	return false;
}

static char *put(char *to, const char *from, size_t len)
{
	memcpy(to, from, len);
	return to + len;
}

/* "HOST[:PORT]" as the client wrote it in the target: Host was found to be the same. */
static const char *authority_of(const struct immure_http_reader *r, const struct immure_http_head *h,
				size_t *ret_len)
{
	const char *start = memchr(r->buf, ' ', r->len);

	start += 1 + strlen("http://");
	*ret_len = (size_t)(h->target - start);
	return start;
}

int immure_absolute_rewrite(struct immure_http_reader *r, const struct immure_http_head *h,
			    char *out, size_t *ret_len)
{
	const char *end = r->buf + r->len, *line, *authority;
	size_t authority_len;
	char *at = out;

	if (h->websocket) {
		r->why = "an upgrade on a connection that is for one request";
		return -EPROTO;
	}
	authority = authority_of(r, h, &authority_len);
	at = put(at, h->method, strlen(h->method));
	*at++ = ' ';
	at = h->target_len ? put(at, h->target, h->target_len) : put(at, "/", 1);
	at = put(at, h->minor ? " HTTP/1.1\r\nHost: " : " HTTP/1.0\r\nHost: ", 17);
	at = put(at, authority, authority_len);
	at = put(at, "\r\nConnection: close\r\n", 21);
	line = (const char *)memchr(r->buf, '\n', r->len) + 1;
	while (end - line > 2) { /* the last one is empty */
		const char *next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
		const char *colon = memchr(line, ':', (size_t)(next - line));

		if (!between_us(line, (size_t)(colon - line)))
			at = put(at, line, (size_t)(next - line));
		line = next;
	}
	at = put(at, "\r\n", 2);
	*ret_len = (size_t)(at - out);
	return 0;
}
