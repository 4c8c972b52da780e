/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHello: whole and byte by byte must come to the same end, and an SNI that
 * is taken must be a name in normal form. */
#include <stdlib.h>
#include <string.h>

#include "egress/tls.h"
#include "fuzz.h"

static int read_hello(const uint8_t *data, size_t len, size_t piece, struct immure_tls_hello *h)
{
	struct immure_tls_reader *r = malloc(sizeof(*r));
	size_t at = 0, used;
	int k = 0;

	if (!r)
		return 0;
	immure_tls_reader_init(r);
	while (at < len && k == 0) {
		size_t n = len - at < piece ? len - at : piece;

		k = immure_tls_reader_feed(r, data + at, n, &used);
		if (used > n || (k == 0 && used != n))
			abort();
		at += used;
	}
	if (k == 1)
		k = immure_tls_hello_parse(r, h) == 0 ? 1 : -2;
	if (k == 1) {
		(void)immure_tls_hello_offers(h, "h2");
		h->alpn = NULL; /* goes with the reader */
	}
	if (k < 0 && !r->why)
		abort();
	free(r);
	return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_tls_hello a = { 0 }, b = { 0 };
	struct immure_endpoint e;
	int k = read_hello(data, len, len ? len : 1, &a);

	if (k != read_hello(data, len, 1, &b))
		abort();
	if (k == 1 && (strcmp(a.sni, b.sni) != 0 || a.ech != b.ech))
		abort();
	if (k == 1 && a.sni[0] &&
	    (immure_endpoint_host(&e, a.sni, strlen(a.sni)) != 0 || strcmp(e.name, a.sni) != 0))
		abort();
	return 0;
}
