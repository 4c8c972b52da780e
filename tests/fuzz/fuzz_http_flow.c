/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on one connection: whole and byte by byte come to the same end and forward
 * the same bytes, a beginning of what came in; and nothing of a request that was
 * refused: here those for a path with "x". */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "egress/httpflow.h"
#include "fuzz.h"

struct seen {
	unsigned char *out;
	size_t len;
	uint64_t requests;
	int result;
};

static int judge(void *ctx, const struct immure_http_head *head)
{
	(void)ctx;
	return memchr(head->target, 'x', head->target_len) ? -EACCES : 0;
}

static void run(const uint8_t *data, size_t len, size_t piece, struct seen *s)
{
	struct immure_http_flow *f;

	if (immure_http_flow_new(judge, NULL, &f) < 0)
		abort();
	*s = (struct seen){ .out = malloc(len + 1) };
	if (!s->out)
		abort();
	for (size_t at = 0; at < len && s->result == 0; at += piece) {
		const unsigned char *out;
		size_t n = len - at < piece ? len - at : piece, out_len;

		s->result = immure_http_flow_feed(f, data + at, n, &out, &out_len);
		if (out_len > len - s->len)
			abort();
		if (out_len)
			memcpy(s->out + s->len, out, out_len);
		s->len += out_len;
	}
	s->requests = immure_http_flow_requests(f);
	if (s->result == 0 && immure_http_flow_again(f) != 0)
		abort();
	immure_http_flow_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct seen whole, bytes;

	run(data, len, len ? len : 1, &whole);
	run(data, len, 1, &bytes);
	if (whole.result != bytes.result || whole.requests != bytes.requests)
		abort();
	/* What was whole before the refusal may have passed byte by byte. */
	if (whole.result == 0 && whole.len != bytes.len)
		abort();
	if (bytes.len > len || memcmp(bytes.out, data, bytes.len) != 0 ||
	    memcmp(whole.out, data, whole.len) != 0)
		abort();
	free(whole.out);
	free(bytes.out);
	return 0;
}
