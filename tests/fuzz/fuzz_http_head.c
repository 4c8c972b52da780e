/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 heads and CONNECT: whole and byte by byte must come to the same end; an
 * accepted head has no byte that ends a line early, and its path has one reading. */
#include <stdlib.h>
#include <string.h>

#include "egress/connect.h"
#include "egress/http1.h"
#include "fuzz.h"

static char buf[IMMURE_HTTP_HEAD_MAX];

static int read_head(struct immure_http_reader *r, const char *data, size_t len, size_t piece)
{
	size_t at = 0, used;
	int k = 0;

	immure_http_reader_init(r, buf, sizeof(buf));
	while (at < len && k == 0) {
		size_t n = len - at < piece ? len - at : piece;

		k = immure_http_reader_feed(r, data + at, n, &used);
		if (used > n || (k == 0 && used != n))
			abort();
		at += used;
	}
	if (k == 1 && (r->len != at || memcmp(buf, data, at) != 0))
		abort();
	return k;
}

static void check(const struct immure_http_head *h)
{
	char path[IMMURE_HTTP_LINE_MAX + 1], again[IMMURE_HTTP_LINE_MAX + 1];
	const char *why;

	if (h->form == IMMURE_HTTP_AUTHORITY || h->path_len > h->target_len ||
	    memchr(h->target, ' ', h->target_len) || memchr(h->target, '\r', h->target_len))
		abort();
	if (h->host.kind == IMMURE_HOST_NAME && !h->host.name[0])
		abort();
	if (h->form == IMMURE_HTTP_ASTERISK ||
	    immure_http_path(h->target, h->path_len, path, &why) != 0)
		return;
	/* The normal form is its own. */
	if (path[0] != '/' || strstr(path, "//") || strstr(path, "/../") ||
	    immure_http_path(path, strlen(path), again, &why) != 0 || strcmp(path, again) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data;
	struct immure_http_reader r, s;
	struct immure_http_head h;
	struct immure_endpoint to;
	int k = read_head(&r, text, len, 1);

	if (k != read_head(&s, text, len, len ? len : 1) || r.len != s.len || r.why != s.why)
		abort();
	if (k != 1)
		return 0;
	if (immure_http_head_parse(&s, &h) == 0) {
		check(&h);
		if (immure_connect_parse(&r, &to) == 0)
			abort(); /* never both */
	} else if (immure_connect_parse(&r, &to) == 0 && to.port == 0) {
		abort();
	}
	return 0;
}
