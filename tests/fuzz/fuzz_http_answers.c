/* SPDX-License-Identifier: Apache-2.0 */
/* What a server sends back: in one piece and byte by byte it comes to the same end, and no body
 * passes that is longer than the bound. The first byte: how many requests there were; the
 * second: which of them were HEAD, or asked for an upgrade. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "egress/http1_answer.h"
#include "fuzz.h"

enum { MOST = 64 };

static void begin(struct immure_http_answers *a, unsigned int requests, unsigned int kinds)
{
	immure_http_answers_init(a, MOST);
	for (unsigned int i = 0; i < requests; i++) {
		int r = immure_http_answers_asked(a, kinds >> i % 4 & 1, kinds >> (4 + i % 4) & 1);

		if ((r < 0) != (i >= IMMURE_HTTP_PENDING_MAX))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_http_answers whole, bytes;
	int r, k = 0;

	if (len < 2)
		return 0;
	begin(&whole, data[0] % 80, data[1]);
	begin(&bytes, data[0] % 80, data[1]);
	r = immure_http_answers_feed(&whole, (const char *)data + 2, len - 2);
	for (size_t i = 2; i < len && k == 0; i++) {
		k = immure_http_answers_feed(&bytes, (const char *)data + i, 1);
		if (k == 0 && bytes.body > MOST)
			abort();
	}
	if (r != k || whole.state != bytes.state || whole.answered != bytes.answered ||
	    whole.answered > whole.asked)
		abort();
	if (r < 0 && (!whole.why || immure_http_answers_feed(&whole, "x", 1) != r))
		abort();
	return 0;
}
