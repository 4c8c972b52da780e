/* SPDX-License-Identifier: Apache-2.0 */
/* What each backend can enforce here. A backend starts with nothing enforced;
 * a dimension is raised when every fact it rests on says yes (evidence: probed)
 * or was not asked (evidence: configured, and the launch then finds out). One
 * "no" leaves the dimension where it was. */
#include "facts/internal.h"
#include "facts/report_elsewhere.h"

#include <stdio.h>
#include <string.h>

const char *const immure_capability_names[] = {
	[IMMURE_CAP_READ_ONLY_ROOT] = "read_only_root",
	[IMMURE_CAP_WRITABLE_LAYER] = "writable_layer",
	[IMMURE_CAP_MOUNT_READ_ONLY_ENFORCEMENT] = "mount_read_only_enforcement",
	[IMMURE_CAP_SINGLE_FILE_MOUNT_EXPANSION_AUDIT] = "single_file_mount_expansion_audit",
	[IMMURE_CAP_NO_NETWORK_GUARANTEE] = "no_network_guarantee",
	[IMMURE_CAP_EGRESS_ALLOWLIST] = "egress_allowlist",
	[IMMURE_CAP_SECRET_ISOLATION] = "secret_isolation",
	[IMMURE_CAP_SECRET_MOUNT] = "secret_mount",
	[IMMURE_CAP_SECRET_REDACTION] = "secret_redaction",
	[IMMURE_CAP_PROCESS_TIMEOUT] = "process_timeout",
	[IMMURE_CAP_PROCESS_SIGNAL] = "process_signal",
	[IMMURE_CAP_PROCESS_RLIMITS] = "process_rlimits",
	[IMMURE_CAP_CONTENT_REF_IO] = "content_ref_io",
	[IMMURE_CAP_IO_REDACTION] = "io_redaction",
	[IMMURE_CAP_PROCESS_STATS] = "process_stats",
	[IMMURE_CAP_CLEANUP] = "cleanup",
	[IMMURE_CAP_DETACH] = "detach",
	[IMMURE_CAP_RECLAIM] = "reclaim",
	[IMMURE_CAP_AUDIT_LOG] = "audit_log",
};
const size_t immure_capability_names_n = IMMURE_CAP_MAX;
_Static_assert(IMMURE_CAP_MAX == 19, "the fourth seed has nineteen");

const char *immure_dimension_name(enum immure_dimension d)
{
	static const char *const names[IMMURE_DIM_MAX] = {
		[IMMURE_DIM_FILE_WRITE] = "file_write",
		[IMMURE_DIM_FILE_READ] = "file_read",
		[IMMURE_DIM_SECRET_READ] = "secret_read",
		[IMMURE_DIM_NETWORK_EGRESS] = "network_egress",
		[IMMURE_DIM_NETWORK_INGRESS] = "network_ingress",
		[IMMURE_DIM_IPC] = "ipc",
		[IMMURE_DIM_PROCESS_VISIBILITY] = "process_visibility",
		[IMMURE_DIM_SIGNALS] = "signals",
		[IMMURE_DIM_SYSCALLS] = "syscalls",
		[IMMURE_DIM_PRIVILEGES] = "privileges",
		[IMMURE_DIM_DEVICES] = "devices",
		[IMMURE_DIM_RESOURCES] = "resources",
		[IMMURE_DIM_KERNEL_SURFACE] = "kernel_surface",
	};

	return (unsigned int)d < IMMURE_DIM_MAX ? names[d] : "?";
}

const char *immure_level_name(enum immure_level l)
{
	static const char *const names[] = { "none", "advisory", "enforced" };

	return (unsigned int)l < 3 ? names[l] : "?";
}

const char *immure_evidence_name(enum immure_evidence e)
{
	static const char *const names[] = { "none", "configured", "probed", "verified-inside" };

	return (unsigned int)e < 4 ? names[e] : "?";
}

const char *immure_tri_name(enum immure_tri t)
{
	static const char *const names[] = { "untried", "no", "yes" };

	return (unsigned int)t < 3 ? names[t] : "?";
}

/* The weakest of two answers: no beats untried beats yes. */
static enum immure_tri both(enum immure_tri x, enum immure_tri y)
{
	if (x == IMMURE_NO || y == IMMURE_NO)
		return IMMURE_NO;
	return x == IMMURE_UNTRIED ? x : y;
}

static void raise_to(struct immure_backend_report *r, enum immure_dimension d,
		     enum immure_tri ok, const char *mechanism)
{
	if (ok == IMMURE_NO)
		return;
	r->dims[d].mechanism = mechanism;
	r->dims[d].level = IMMURE_LEVEL_ENFORCED;
	r->dims[d].evidence = ok == IMMURE_YES ? IMMURE_EVIDENCE_PROBED
					       : IMMURE_EVIDENCE_CONFIGURED;
}

/* Limits: a cgroup counts everything the command starts. Without one, resource
 * limits of each process plus our own sampling can be outrun. */
static void count_resources(const struct immure_facts *f, struct immure_arena *a,
			     struct immure_backend_report *r)
{
	struct immure_dimension_report *d = &r->dims[IMMURE_DIM_RESOURCES];
	const struct immure_cgroup_facts *c = &f->cgroup;

	d->evidence = f->full ? IMMURE_EVIDENCE_PROBED : IMMURE_EVIDENCE_CONFIGURED;
	if (c->memory && c->pids) {
		d->level = IMMURE_LEVEL_ENFORCED;
		d->mechanism = immure_arena_printf(a, "cgroup %s: memory, processes%s",
						   c->kind == IMMURE_CGROUP_V2 ? "v2" : "v1",
						   c->cpu ? ", cpus" : "; cpus by affinity");
		return;
	}
	d->level = IMMURE_LEVEL_ADVISORY;
	d->mechanism = "rlimits and sampling of the pid namespace";
}

static const struct immure_fact *find_fact(const struct immure_facts *f, const char *name)
{
	for (size_t i = 0; i < f->all_n; i++)
		if (strcmp(f->all[i].name, name) == 0)
			return &f->all[i];
	return NULL;
}

/* What follows from an init of ours in a pid namespace: a session of many commands
 * (detached, reclaimed, its output kept by command and stream), and an end that leaves
 * nothing. A file is mounted as a file, never by way of its directory. A run of one
 * command keeps no journal by itself, so audit_log is not offered: the policy key
 * journal makes up for that (plan/require.c). */
static const uint32_t sealed_capabilities =
	1u << IMMURE_CAP_READ_ONLY_ROOT | 1u << IMMURE_CAP_MOUNT_READ_ONLY_ENFORCEMENT |
	1u << IMMURE_CAP_SINGLE_FILE_MOUNT_EXPANSION_AUDIT | 1u << IMMURE_CAP_SECRET_ISOLATION |
	1u << IMMURE_CAP_PROCESS_TIMEOUT | 1u << IMMURE_CAP_PROCESS_SIGNAL |
	1u << IMMURE_CAP_PROCESS_RLIMITS | 1u << IMMURE_CAP_CONTENT_REF_IO |
	1u << IMMURE_CAP_PROCESS_STATS | 1u << IMMURE_CAP_CLEANUP | 1u << IMMURE_CAP_DETACH |
	1u << IMMURE_CAP_RECLAIM | 1u << IMMURE_CAP_SECRET_REDACTION | 1u << IMMURE_CAP_IO_REDACTION;

/* What a launch of src/backend/native.c and src/init cannot do without. A fact
 * that was not asked is no reason; the launch itself refuses then. */
static const char *const native_needs[] = { "userns", "userns_mount", "mount_api", "userns_proc",
					    "namespaces", "seccomp", "openat2",
					    "close_range", "child_pidfd" };

/* The same for backend bwrap: what bubblewrap does is in its own row. */
static const char *const bwrap_needs[] = { "bwrap", "seccomp", "openat2", "close_range",
					   "child_pidfd", "pidfd" };

static const struct immure_fact *lacks_of(const struct immure_facts *f, const char *const *needs,
					  size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct immure_fact *fact = find_fact(f, needs[i]);

		if (fact && fact->ok == IMMURE_NO)
			return fact;
	}
	return NULL;
}

static void report_native(const struct immure_facts *f, struct immure_arena *a,
			  struct immure_backend_report *r)
{
	const bool landlock = f->landlock_abi > 0, scopes = f->landlock_abi >= 6;
	const enum immure_tri mounts = both(f->userns, f->userns_mount);
	const enum immure_tri pids = both(f->userns, f->userns_proc);
	const enum immure_tri net = both(f->userns, f->netns);
	const enum immure_tri calls = f->seccomp;
	const struct immure_fact *lacks = lacks_of(f, native_needs,
						    sizeof(native_needs) / sizeof(native_needs[0]));

	r->available = lacks ? IMMURE_NO : both(both(mounts, pids), calls);
	if (r->available == IMMURE_NO) {
		r->why = lacks ? immure_arena_printf(a, "%s: %s", lacks->name, lacks->detail)
			       : "a mechanism it needs is missing";
		r->remedy = lacks ? lacks->remedy : "";
		return;
	}
	r->why = landlock ? immure_arena_printf(a, "namespaces, Landlock ABI %d, seccomp",
						f->landlock_abi)
			  : "namespaces and seccomp; without Landlock a run needs require.downgrade";
	raise_to(r, IMMURE_DIM_FILE_WRITE, mounts,
		 landlock ? "read-only mounts, Landlock" : "read-only mounts");
	raise_to(r, IMMURE_DIM_FILE_READ, mounts, landlock ? "masks, Landlock" : "masks");
	raise_to(r, IMMURE_DIM_SECRET_READ, mounts, "masks, filtered environment");
	raise_to(r, IMMURE_DIM_NETWORK_EGRESS, net, both(net, f->egress) == IMMURE_NO ?
		 "network namespace with lo only" :
		 "network namespace with lo only; names by immure-egress");
	raise_to(r, IMMURE_DIM_NETWORK_INGRESS, net, "network namespace with lo only");
	raise_to(r, IMMURE_DIM_IPC, mounts,
		 scopes ? "ipc namespace, sockets hidden, Landlock scope"
			: "ipc namespace, sockets hidden");
	raise_to(r, IMMURE_DIM_PROCESS_VISIBILITY, pids, "pid namespace, own /proc");
	raise_to(r, IMMURE_DIM_SIGNALS, pids,
		 scopes ? "pid namespace, Landlock scope" : "pid namespace");
	raise_to(r, IMMURE_DIM_SYSCALLS, calls, "seccomp allow-list");
	raise_to(r, IMMURE_DIM_PRIVILEGES, both(f->userns, calls),
		 "user namespace, no capabilities, no_new_privs");
	raise_to(r, IMMURE_DIM_DEVICES, mounts, "minimal /dev");
	raise_to(r, IMMURE_DIM_KERNEL_SURFACE, calls, "seccomp; the kernel itself is shared");
	count_resources(f, a, r);

	r->capabilities = sealed_capabilities;
	if (net != IMMURE_NO)
		r->capabilities |= 1u << IMMURE_CAP_NO_NETWORK_GUARANTEE;
	if (both(net, f->egress) != IMMURE_NO)
		r->capabilities |= 1u << IMMURE_CAP_EGRESS_ALLOWLIST;
}

/* Bubblewrap makes what native makes by itself, and an init of ours goes on inside. It
 * was tried as a whole, so one answer holds for all that rests on it. */
static void report_bwrap(const struct immure_facts *f, struct immure_arena *a,
			 struct immure_backend_report *r)
{
	const bool landlock = f->landlock_abi > 0, scopes = f->landlock_abi >= 6;
	const struct immure_fact *lacks =
		lacks_of(f, bwrap_needs, sizeof(bwrap_needs) / sizeof(bwrap_needs[0]));

	if (lacks || f->bwrap != IMMURE_YES || f->seccomp == IMMURE_NO) {
		r->why = lacks ? immure_arena_printf(a, "%s: %s", lacks->name, lacks->detail)
			 : f->bwrap == IMMURE_UNTRIED ? "was not looked for"
						      : "a mechanism it needs is missing";
		r->remedy = lacks ? lacks->remedy : "";
		return;
	}
	r->available = IMMURE_YES;
	r->why = immure_arena_printf(a, "%s%s, seccomp%s", f->bwrap_path,
				     landlock ? ", Landlock" : "",
				     landlock ? "" : "; without Landlock a run needs "
						     "require.downgrade");
	raise_to(r, IMMURE_DIM_FILE_WRITE, IMMURE_YES,
		 landlock ? "read-only mounts by bubblewrap, Landlock"
			  : "read-only mounts by bubblewrap");
	raise_to(r, IMMURE_DIM_FILE_READ, IMMURE_YES,
		 landlock ? "masks by bubblewrap, Landlock" : "masks by bubblewrap");
	raise_to(r, IMMURE_DIM_SECRET_READ, IMMURE_YES, "masks by bubblewrap, filtered environment");
	raise_to(r, IMMURE_DIM_NETWORK_EGRESS, IMMURE_YES, f->bwrap_net == IMMURE_NO ?
		 "network namespace with lo only" :
		 "network namespace with lo only; names by immure-egress");
	raise_to(r, IMMURE_DIM_NETWORK_INGRESS, IMMURE_YES, "network namespace with lo only");
	raise_to(r, IMMURE_DIM_IPC, IMMURE_YES,
		 scopes ? "ipc namespace, sockets hidden, Landlock scope"
			: "ipc namespace, sockets hidden");
	raise_to(r, IMMURE_DIM_PROCESS_VISIBILITY, IMMURE_YES, "pid namespace, own /proc");
	raise_to(r, IMMURE_DIM_SIGNALS, IMMURE_YES,
		 scopes ? "pid namespace, Landlock scope" : "pid namespace");
	raise_to(r, IMMURE_DIM_SYSCALLS, f->seccomp, "seccomp allow-list");
	raise_to(r, IMMURE_DIM_PRIVILEGES, f->seccomp,
		 "user namespace, no capabilities, no_new_privs");
	raise_to(r, IMMURE_DIM_DEVICES, IMMURE_YES, "minimal /dev");
	raise_to(r, IMMURE_DIM_KERNEL_SURFACE, f->seccomp, "seccomp; the kernel itself is shared");
	count_resources(f, a, r);
	r->capabilities = sealed_capabilities | 1u << IMMURE_CAP_NO_NETWORK_GUARANTEE;
	if (f->bwrap_net != IMMURE_NO)
		r->capabilities |= 1u << IMMURE_CAP_EGRESS_ALLOWLIST;
}

/* What follows for a backend on this host from what it can do. The kernel is shared
 * with everything else that runs here, except below a kernel of its own; where the
 * data is, this program can only say of this machine. */
static void local_trust(struct immure_backend_report *r)
{
	if (r->available == IMMURE_NO)
		return;
	r->trust[IMMURE_TRUST_LOCALITY] = IMMURE_LOCALITY_LOCAL;
	r->trust[IMMURE_TRUST_DATA_RESIDENCY] = IMMURE_RESIDENCY_LOCAL;
	if (strcmp(r->isolation_class, "lightweight_vm") == 0)
		r->trust[IMMURE_TRUST_TENANCY] = IMMURE_TENANCY_DEDICATED;
	r->trust[IMMURE_TRUST_AUDITABILITY] =
		r->capabilities & 1u << IMMURE_CAP_AUDIT_LOG ? IMMURE_EFFORT_REQUIRED
							      : IMMURE_EFFORT_BEST;
	if (r->capabilities & 1u << IMMURE_CAP_CLEANUP)
		r->trust[IMMURE_TRUST_CLEANUP] = IMMURE_CLEANUP_REQUIRED;
	if (r->capabilities & 1u << IMMURE_CAP_SECRET_ISOLATION)
		r->trust[IMMURE_TRUST_SECRET_ISOLATION] = IMMURE_EFFORT_REQUIRED;
}

static const char *program_path(const struct immure_facts *f, const char *name)
{
	for (size_t i = 0; i < f->programs_n; i++)
		if (strcmp(f->programs[i].name, name) == 0)
			return f->programs[i].path;
	return NULL;
}

/* What the host would offer a backend that this version does not have. */
static const char *host_offers(const struct immure_facts *f, struct immure_arena *a,
			       const char *program, const char *also)
{
	const char *path;

	if (!f->full)
		return "";
	path = program_path(f, program);
	return immure_arena_printf(a, "; host: %s%s%s%s", program, path ? "" : " not installed",
				   *also ? ", " : "", also);
}

static const char *why_not_built(const struct immure_facts *f, struct immure_arena *a,
				 const char *backend)
{
	const char *kvm = f->kvm == IMMURE_YES ? "KVM works" : "no KVM";
	const char *host = "";

	if (strcmp(backend, "oci") == 0)
		host = host_offers(f, a, program_path(f, "crun") ? "crun" : "runc", "");
	else if (strcmp(backend, "microvm") == 0)
		host = host_offers(f, a, "qemu-system-x86_64", kvm);
	else if (strcmp(backend, "firecracker") == 0)
		host = host_offers(f, a, "firecracker", kvm);
	return immure_arena_printf(a, "not built in this version%s", host ? host : "");
}

size_t immure_reports(const struct immure_facts *f, struct immure_arena *a,
		      struct immure_backend_report **ret)
{
	static const struct {
		const char *name, *isolation_class;
		void (*report)(const struct immure_facts *, struct immure_arena *,
			       struct immure_backend_report *);
	} backends[] = {
		{ "native", "sandbox", report_native },
		{ "bwrap", "sandbox", report_bwrap },
		{ "landlock", "sandbox", immure_report_landlock },
		{ "microvm", "lightweight_vm", NULL },
		{ "firecracker", "lightweight_vm", NULL },
		{ "oci", "container", NULL },
		{ "seatbelt", "sandbox", NULL },
		{ "vz", "lightweight_vm", NULL },
		{ "wsl2", "lightweight_vm", NULL },
		{ "remote", "remote_sandbox", NULL },
	};
	const size_t n = sizeof(backends) / sizeof(backends[0]);
	struct immure_backend_report *r = immure_arena_alloc(a, n * sizeof(*r));

	if (!r)
		return 0;
	for (size_t i = 0; i < n; i++) {
		r[i].backend = backends[i].name;
		r[i].isolation_class = backends[i].isolation_class;
		r[i].available = IMMURE_NO;
		r[i].remedy = "";
		if (backends[i].report)
			backends[i].report(f, a, &r[i]);
		else if (!immure_report_elsewhere(&r[i]))
			r[i].why = why_not_built(f, a, backends[i].name);
		local_trust(&r[i]);
	}
	if (a->failed)
		return 0;
	*ret = r;
	return n;
}
