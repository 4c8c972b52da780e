/* SPDX-License-Identifier: Apache-2.0 */
/* Points that speak of namespaces and mounts, where a plan has none. Each is left out
 * for a reason that the capability report gives as well, never in silence. */
#include "evidence/bare.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "plan/plan.h"

static const struct {
	const char *id, *gap, *reason;
} rows[] = {
	{ "control.loopback", NULL, "there is no loopback of its own" },
	{ "process_visibility.host", "process_visibility", "a gap that is approved: /proc is the host's" },
	{ "process_visibility.listing", "process_visibility",
	  "a gap that is approved: /proc is the host's" },
	{ "process_visibility.parent", "process_visibility",
	  "a gap that is approved: /proc is the host's" },
	{ "kernel_surface.memory-image", "process_visibility",
	  "a gap that is approved: /proc is the host's" },
	{ "kernel_surface.symbols", "process_visibility", "a gap that is approved: /proc is the host's" },
	{ "kernel_surface.host-wide", "process_visibility",
	  "a gap that is approved: /proc is the host's" },
	{ "network_ingress.interfaces", "process_visibility",
	  "a gap that is approved: interfaces are listed in /proc" },
	{ "ipc.sysv", "process_visibility",
	  "a gap that is approved: objects are listed; the calls to use them are closed" },
	{ "signals.host", "signals", "a gap that is approved: Landlock here has no scopes" },
	{ "signals.init", "signals", "a gap that is approved: Landlock here has no scopes" },
	{ "signals.everyone", "signals", "a gap that is approved: Landlock here has no scopes" },
	{ "devices.listing", NULL, "/dev is the host's; what may be opened there is tried" },
	{ "devices.stray-nodes", NULL,
	  "there are no mounts of its own; no_new_privs and rules for six devices stand for them" },
	{ "privileges.bounding-set", NULL,
	  "the set is the host's; no_new_privs keeps what is in it from coming back" },
};

static bool has_gap(const struct immure_plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->gaps_n; i++)
		if (strcmp(plan->gaps[i].dimension, name) == 0 && plan->gaps[i].approved)
			return true;
	return false;
}

const char *immure_bare_not_asked(const struct immure_plan *plan, const char *id)
{
	if (!immure_plan_is_bare(plan))
		return NULL;
	if (strcmp(id, "network_egress.dns-others") == 0 && immure_plan_find(plan, IMMURE_OP_EGRESS))
		return "whichever server is asked, the gatekeeper answers; nothing is sent to it";
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].id, id) == 0 && (!rows[i].gap || has_gap(plan, rows[i].gap)))
			return rows[i].reason;
	return NULL;
}
