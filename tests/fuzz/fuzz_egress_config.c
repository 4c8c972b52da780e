/* SPDX-License-Identifier: Apache-2.0 */
/* What is read as a config is one that would have been written, to the byte. */
#include <stdlib.h>
#include <string.h>

#include "egress/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_arena a = IMMURE_ARENA_INIT;
	struct immure_egress_config c;
	unsigned char *again;
	size_t again_len;

	if (immure_egress_config_decode(&a, data, len, &c) == 0) {
		if (immure_egress_config_check(&c) ||
		    immure_egress_config_encode(&c, &again, &again_len) < 0)
			abort();
		if (again_len != len || memcmp(again, data, len) != 0)
			abort();
		free(again);
	}
	immure_arena_done(&a);
	return 0;
}
