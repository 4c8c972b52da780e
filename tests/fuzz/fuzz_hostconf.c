/* SPDX-License-Identifier: Apache-2.0 */
/* resolv.conf and hosts, whatever is in them. */
#include <stdlib.h>

#include "egress/hostconf.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct immure_hostconf h = { 0 };
	struct immure_inet l[4];

	immure_hostconf_resolvers(&h, (const char *)data, len);
	if (h.servers_n == 0 || h.servers_n > IMMURE_RESOLVERS_MAX)
		abort();
	if (immure_hostconf_hosts(&h, (const char *)data, len) == 0 &&
	    immure_hostconf_find(&h, "localhost", l, 4) > 4)
		abort();
	immure_hostconf_done(&h);
	return 0;
}
