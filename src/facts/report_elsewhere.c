/* SPDX-License-Identifier: Apache-2.0 */
/* Backends of other platforms. Nothing of them can be probed here, so nothing is
 * said to be enforced; the reason tells what they would need and rest on. */
#include <string.h>

#include "facts/report.h"
#include "facts/report_elsewhere.h"

static const struct {
	const char *backend, *why, *remedy;
} elsewhere[] = {
	{ "seatbelt",
	  "unsupported here: needs macOS; files and network by sandbox-exec, neither system calls nor "
	  "resources",
	  "immure plan --backend seatbelt --render prints its profile" },
	{ "vz",
	  "unsupported here: needs macOS with Virtualization.framework, a guest's kernel and root file system",
	  "immure plan --backend vz --render prints its launch contract" },
	{ "wsl2",
	  "unsupported here: needs Windows with WSL 2; below WSL, immure is on Linux and native is the backend",
	  "immure plan --backend wsl2 --render prints its launch contract" },
	{ "remote",
	  "unsupported here: no machine to run on is set up, and this version has no way to set one up",
	  "immure plan --backend remote --render prints what would be sent there" },
};

bool immure_report_elsewhere(struct immure_backend_report *r)
{
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
		if (strcmp(elsewhere[i].backend, r->backend) != 0)
			continue;
		r->available = IMMURE_NO;
		r->why = elsewhere[i].why;
		r->remedy = elsewhere[i].remedy;
		return true;
	}
	return false;
}
