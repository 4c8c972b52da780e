/* SPDX-License-Identifier: Apache-2.0 */
/* SOCKS5: whole and byte by byte must come to the same end. */
#include <stdlib.h>
#include <string.h>

#include "egress/socks5.h"
#include "fuzz.h"

static int talk(struct immure_socks5 *s, const uint8_t *data, size_t len, size_t piece)
{
	size_t at = 0, used;
	int k = IMMURE_SOCKS5_MORE;

	immure_socks5_init(s);
	while (at < len && (k == IMMURE_SOCKS5_MORE || k == IMMURE_SOCKS5_METHODS)) {
		size_t n = len - at < piece ? len - at : piece;

		k = immure_socks5_feed(s, data + at, n, &used);
		if (used > n || used == 0)
			abort();
		at += used;
	}
	if (s->reply_len > sizeof(s->reply) || (k < 0 && !s->why))
		abort();
	return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_socks5 a, b;
	int k = talk(&a, data, len, len ? len : 1);

	if (k != talk(&b, data, len, 1) || a.why != b.why ||
	    memcmp(a.reply, b.reply, sizeof(a.reply)) != 0)
		abort();
	if (k == IMMURE_SOCKS5_REQUEST &&
	    (a.to.port == 0 || !immure_endpoint_same_host(&a.to, &b.to) ||
	     (a.to.kind == IMMURE_HOST_NAME && !a.to.name[0])))
		abort();
	return 0;
}
