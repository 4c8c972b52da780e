/* SPDX-License-Identifier: Apache-2.0 */
/* The backend without namespaces: what Landlock and seccomp enforce by themselves.
 * A dimension that says none is one that its plans have a gap for. */
#include "facts/report.h"

#include <string.h>

#include "facts/internal.h"

static void set(struct immure_backend_report *r, enum immure_dimension d, enum immure_level level,
		enum immure_evidence evidence, const char *mechanism)
{
	r->dims[d] = (struct immure_dimension_report){ mechanism, level, evidence };
}

static const struct immure_fact *lacks(const struct immure_facts *f)
{
	static const char *const needs[] = { "landlock", "seccomp", "close_range", "child_pidfd" };

	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		for (size_t k = 0; k < f->all_n; k++)
			if (strcmp(f->all[k].name, needs[i]) == 0 && f->all[k].ok == IMMURE_NO)
				return &f->all[k];
	return NULL;
}

static void dimensions(const struct immure_facts *f, struct immure_arena *a,
		       struct immure_backend_report *r)
{
	const enum immure_level on = IMMURE_LEVEL_ENFORCED;
	const enum immure_evidence seen = f->full ? IMMURE_EVIDENCE_PROBED
						  : IMMURE_EVIDENCE_CONFIGURED;
	const struct immure_cgroup_facts *c = &f->cgroup;
	const char *tcp = f->landlock_abi >= 4 ? ", Landlock TCP" : "";
	bool scopes = f->landlock_abi >= 6;

	set(r, IMMURE_DIM_FILE_WRITE, on, seen, "Landlock; metadata by seccomp");
	set(r, IMMURE_DIM_FILE_READ, on, seen,
	    "Landlock: contents and lists; metadata stays visible");
	set(r, IMMURE_DIM_SECRET_READ, on, seen, "Landlock, filtered environment");
	set(r, IMMURE_DIM_NETWORK_EGRESS, on, seen,
	    immure_arena_printf(a, "seccomp: no sockets%s%s", f->seccomp_notify == IMMURE_NO ? "" :
				", or the supervisor's, and names by immure-egress", tcp));
	set(r, IMMURE_DIM_NETWORK_INGRESS, on, seen,
	    immure_arena_printf(a, "seccomp: nothing listens but on published ports%s", tcp));
	set(r, IMMURE_DIM_IPC, on, seen,
	    scopes ? "seccomp: no unix sockets, no System V objects, Landlock scope"
		   : "seccomp: no unix sockets, no System V objects");
	if (scopes)
		set(r, IMMURE_DIM_SIGNALS, on, seen, "Landlock scope");
	set(r, IMMURE_DIM_SYSCALLS, on, seen, "seccomp allow-list");
	set(r, IMMURE_DIM_PRIVILEGES, on, seen, "no capabilities, no_new_privs");
	set(r, IMMURE_DIM_DEVICES, on, seen, "Landlock: six harmless devices");
	set(r, IMMURE_DIM_KERNEL_SURFACE, on, seen, "seccomp; the kernel itself is shared");
	if (c->memory && c->pids)
		set(r, IMMURE_DIM_RESOURCES, on, seen,
		    immure_arena_printf(a, "cgroup %s: memory, processes%s",
					c->kind == IMMURE_CGROUP_V2 ? "v2" : "v1",
					c->cpu ? ", cpus" : "; cpus by affinity"));
	else
		set(r, IMMURE_DIM_RESOURCES, IMMURE_LEVEL_ADVISORY, seen,
		    "rlimits and sampling of the session's processes");
}

void immure_report_landlock(const struct immure_facts *f, struct immure_arena *a,
			    struct immure_backend_report *r)
{
	const struct immure_fact *missing = lacks(f);

	r->available = f->landlock_abi <= 0 || f->seccomp == IMMURE_NO || missing ? IMMURE_NO :
		       f->full ? IMMURE_YES : IMMURE_UNTRIED;
	if (r->available == IMMURE_NO) {
		r->why = missing ? immure_arena_printf(a, "%s: %s", missing->name, missing->detail) :
			 f->landlock_abi <= 0 ? "no Landlock here" : "seccomp filters do not work here";
		r->remedy = missing ? missing->remedy : f->landlock_abi <= 0 ?
			    "boot with landlock among the lsm= of the kernel command line (Linux 5.13 or later)" :
			    "use a kernel with CONFIG_SECCOMP_FILTER";
		return;
	}
	r->why = immure_arena_printf(a, "Landlock ABI %d, seccomp; no namespaces%s", f->landlock_abi,
				     f->landlock_abi < 6 ? "; signals need ABI 6" : "");
	dimensions(f, a, r);
	r->capabilities = 1u << IMMURE_CAP_READ_ONLY_ROOT | 1u << IMMURE_CAP_NO_NETWORK_GUARANTEE |
			  1u << IMMURE_CAP_SECRET_ISOLATION | 1u << IMMURE_CAP_PROCESS_TIMEOUT |
			  1u << IMMURE_CAP_PROCESS_SIGNAL | 1u << IMMURE_CAP_PROCESS_RLIMITS |
			  1u << IMMURE_CAP_PROCESS_STATS | 1u << IMMURE_CAP_CONTENT_REF_IO |
			  1u << IMMURE_CAP_DETACH | 1u << IMMURE_CAP_RECLAIM;
	if (f->seccomp_notify != IMMURE_NO)
		r->capabilities |= 1u << IMMURE_CAP_EGRESS_ALLOWLIST;
	/* Without scopes what is inside can end whoever would clean up. */
	if (f->landlock_abi >= 6)
		r->capabilities |= 1u << IMMURE_CAP_CLEANUP;
}
