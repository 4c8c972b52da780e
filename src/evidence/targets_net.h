/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMMURE_EVIDENCE_TARGETS_NET_H
#define IMMURE_EVIDENCE_TARGETS_NET_H

#include "base/buf.h"

struct immure_plan;
struct immure_bait;

/* Lines about the network, for immure_targets_write(). */
void immure_targets_network(const struct immure_plan *plan, const struct immure_bait *bait,
			    struct immure_buf *out);

#endif
