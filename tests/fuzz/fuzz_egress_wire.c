/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, either way: whatever is taken for one has texts that end and counts
 * that fit the descriptors. The first byte is how many of those there are. */
#include <stdlib.h>
#include <string.h>

#include "egress/wire.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_wire m;

	if (len == 0)
		return 0;
	for (int to_worker = 0; to_worker < 2; to_worker++) {
		if (immure_wire_decode(to_worker, data + 1, len - 1, data[0], &m) < 0)
			continue;
		if (m.type == IMMURE_WIRE_DENIED &&
		    (strlen(m.denied.host) >= sizeof(m.denied.host) ||
		     strlen(m.denied.add) >= sizeof(m.denied.add)))
			abort();
		if (m.type == IMMURE_WIRE_SOCKETS && m.sockets.n4 + m.sockets.n6 != data[0])
			abort();
		if (m.type == IMMURE_WIRE_START && m.start.publish_n >= data[0])
			abort();
	}
	return 0;
}
