/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of packets that a command made. Every answer has to be one that
 * can be acted on. */
#include <stdlib.h>

#include "fuzz.h"
#include "kernel/refusals.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_refusal l[4];
	size_t n = immure_refusals_decode(data, len, l, 4);

	if (n > 4)
		abort();
	for (size_t i = 0; i < n; i++)
		if (l[i].meant.v6 != l[i].source.v6 || (!l[i].held && l[i].number))
			abort();
	return 0;
}
