/* SPDX-License-Identifier: Apache-2.0 */
/* Capability reports: what each backend can enforce on this host, dimension by
 * dimension, derived from the facts alone. Choosing among them is planning;
 * starting one is src/backend's matter. The default of every field is "not
 * enforced": only a probe raises it. */
#ifndef IMMURE_FACTS_REPORT_H
#define IMMURE_FACTS_REPORT_H

#include "facts/facts.h"

enum immure_dimension {
	IMMURE_DIM_FILE_WRITE, IMMURE_DIM_FILE_READ, IMMURE_DIM_SECRET_READ,
	IMMURE_DIM_NETWORK_EGRESS, IMMURE_DIM_NETWORK_INGRESS, IMMURE_DIM_IPC,
	IMMURE_DIM_PROCESS_VISIBILITY, IMMURE_DIM_SIGNALS, IMMURE_DIM_SYSCALLS,
	IMMURE_DIM_PRIVILEGES, IMMURE_DIM_DEVICES, IMMURE_DIM_RESOURCES,
	IMMURE_DIM_KERNEL_SURFACE, IMMURE_DIM_MAX
};
enum immure_level { IMMURE_LEVEL_NONE, IMMURE_LEVEL_ADVISORY, IMMURE_LEVEL_ENFORCED };
enum immure_evidence {
	IMMURE_EVIDENCE_NONE, IMMURE_EVIDENCE_CONFIGURED, IMMURE_EVIDENCE_PROBED,
	IMMURE_EVIDENCE_VERIFIED,
};

struct immure_dimension_report {
	const char *mechanism; /* NULL = none */
	enum immure_level level;
	enum immure_evidence evidence;
};

/* What a backend is trusted with: the six fields that a caller can require, each an
 * index into its values. Of a report: what is offered; of a policy: the least asked. */
enum immure_trust_field {
	IMMURE_TRUST_LOCALITY, IMMURE_TRUST_TENANCY, IMMURE_TRUST_AUDITABILITY,
	IMMURE_TRUST_CLEANUP, IMMURE_TRUST_DATA_RESIDENCY, IMMURE_TRUST_SECRET_ISOLATION,
	IMMURE_TRUST_MAX
};
enum { IMMURE_LOCALITY_ANY, IMMURE_LOCALITY_LOCAL, IMMURE_LOCALITY_REMOTE };
enum { IMMURE_TENANCY_SHARED, IMMURE_TENANCY_DEDICATED };
enum { IMMURE_EFFORT_NONE, IMMURE_EFFORT_BEST, IMMURE_EFFORT_REQUIRED }; /* audit, secrets */
enum { IMMURE_CLEANUP_BEST, IMMURE_CLEANUP_REQUIRED };
enum { IMMURE_RESIDENCY_ANY, IMMURE_RESIDENCY_LOCAL, IMMURE_RESIDENCY_REGION };

struct immure_trust_info {
	const char *name;                 /* "locality" */
	const char *key, *delta;          /* "require.locality", "trust_locality" */
	const char *const *values;        /* NULL-terminated */
};
extern const struct immure_trust_info immure_trust_fields[IMMURE_TRUST_MAX];
/* Whether what is offered is enough for what is asked. */
bool immure_trust_enough(enum immure_trust_field field, uint32_t offered, uint32_t asked);

/* Classes are names and no order: each is enough for itself only, and whatever seals
 * in on this host for host_process, which promises nothing. */
extern const char *const immure_isolation_classes[]; /* NULL-terminated */
bool immure_class_enough(const char *offered, const char *asked);

struct immure_backend_report {
	const char *backend;
	const char *isolation_class; /* host_process sandbox container lightweight_vm remote_sandbox */
	enum immure_tri available;
	const char *why;             /* why not, or what it rests on */
	const char *remedy;
	struct immure_dimension_report dims[IMMURE_DIM_MAX]; /* zero = not enforced */
	uint32_t capabilities;       /* bit per IMMURE_CAP_* (immure_capability_names) */
	uint32_t trust[IMMURE_TRUST_MAX];
};

/* "healthy", "degraded" (works, but a dimension is less than enforced; *ret_reason is
 * its name), "unsupported_host". */
const char *immure_report_health(const struct immure_backend_report *r, const char **ret_reason);

/* Reports of all backends known, in order of preference; arena-owned. */
size_t immure_reports(const struct immure_facts *f, struct immure_arena *a,
		      struct immure_backend_report **ret);
/* doctor's output; caller frees, NULL when out of memory. */
char *immure_facts_text(const struct immure_facts *f);
char *immure_facts_json(const struct immure_facts *f);
/* Markdown: what each backend reports on a host that lacks nothing. */
char *immure_backends_reference(void);
const char *immure_dimension_name(enum immure_dimension d);
const char *immure_level_name(enum immure_level l);
const char *immure_evidence_name(enum immure_evidence e);
const char *immure_tri_name(enum immure_tri t); /* "untried" "no" "yes" */
/* What callers can require; one bit each in struct immure_backend_report. */
enum immure_capability {
	IMMURE_CAP_READ_ONLY_ROOT, IMMURE_CAP_WRITABLE_LAYER,
	IMMURE_CAP_MOUNT_READ_ONLY_ENFORCEMENT, IMMURE_CAP_SINGLE_FILE_MOUNT_EXPANSION_AUDIT,
	IMMURE_CAP_NO_NETWORK_GUARANTEE, IMMURE_CAP_EGRESS_ALLOWLIST,
	IMMURE_CAP_SECRET_ISOLATION, IMMURE_CAP_SECRET_MOUNT, IMMURE_CAP_SECRET_REDACTION,
	IMMURE_CAP_PROCESS_TIMEOUT, IMMURE_CAP_PROCESS_SIGNAL, IMMURE_CAP_PROCESS_RLIMITS,
	IMMURE_CAP_CONTENT_REF_IO, IMMURE_CAP_IO_REDACTION, IMMURE_CAP_PROCESS_STATS,
	IMMURE_CAP_CLEANUP, IMMURE_CAP_DETACH, IMMURE_CAP_RECLAIM, IMMURE_CAP_AUDIT_LOG,
	IMMURE_CAP_MAX
};
/* The nineteen capability names callers can require; index = bit. */
extern const char *const immure_capability_names[];
extern const size_t immure_capability_names_n;

#endif
