/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a report that are compared by name: isolation classes, trust. */
#include <string.h>

#include "facts/report.h"

const char *const immure_isolation_classes[] = {
	"host_process", "sandbox", "container", "lightweight_vm", "remote_sandbox", NULL,
};

static const char *const locality[] = { "any", "local", "remote", NULL };
static const char *const tenancy[] = { "shared_allowed", "dedicated", NULL };
static const char *const effort[] = { "none", "best_effort", "required", NULL };
static const char *const cleanup[] = { "best_effort", "required", NULL };
static const char *const residency[] = { "any", "local_only", "region", NULL };

#define FIELD(n, v) { n, "require." n, "trust_" n, v }
const struct immure_trust_info immure_trust_fields[IMMURE_TRUST_MAX] = {
	[IMMURE_TRUST_LOCALITY] = FIELD("locality", locality),
	[IMMURE_TRUST_TENANCY] = FIELD("tenancy", tenancy),
	[IMMURE_TRUST_AUDITABILITY] = FIELD("auditability", effort),
	[IMMURE_TRUST_CLEANUP] = FIELD("cleanup", cleanup),
	[IMMURE_TRUST_DATA_RESIDENCY] = FIELD("data_residency", residency),
	[IMMURE_TRUST_SECRET_ISOLATION] = FIELD("secret_isolation", effort),
};

bool immure_trust_enough(enum immure_trust_field field, uint32_t offered, uint32_t asked)
{
	switch (field) {
	case IMMURE_TRUST_LOCALITY:      /* kinds, not steps */
	case IMMURE_TRUST_DATA_RESIDENCY:
		return asked == 0 || offered == asked;
	case IMMURE_TRUST_TENANCY:
	case IMMURE_TRUST_AUDITABILITY:
	case IMMURE_TRUST_CLEANUP:
	case IMMURE_TRUST_SECRET_ISOLATION:
		return offered >= asked;
	case IMMURE_TRUST_MAX:
		break;
	}
	return false;
}

bool immure_class_enough(const char *offered, const char *asked)
{
	if (strcmp(offered, asked) == 0)
		return true;
	return strcmp(asked, "host_process") == 0 && strcmp(offered, "remote_sandbox") != 0;
}

const char *immure_report_health(const struct immure_backend_report *r, const char **ret_reason)
{
	*ret_reason = "";
	if (r->available == IMMURE_NO)
		return "unsupported_host";
	for (int d = 0; d < IMMURE_DIM_MAX; d++) {
		if (r->dims[d].level == IMMURE_LEVEL_ENFORCED)
			continue;
		*ret_reason = immure_dimension_name((enum immure_dimension)d);
		return "degraded";
	}
	return "healthy";
}
