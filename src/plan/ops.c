/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operations: what each is called, when it is applied and what
 * its fields are. Printing, sealing and unsealing read it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plan/compile.h"

#define PATH IMMURE_FIELD_PATH
#define TEXT IMMURE_FIELD_TEXT
#define NONE IMMURE_FIELD_NONE
#define RO IMMURE_OPF_RO
#define OPT IMMURE_OPF_OPTIONAL
#define NOEXEC IMMURE_OPF_NOEXEC
#define FIL IMMURE_OPF_FILE
#define COVER IMMURE_OPF_COVER
#define SHARED IMMURE_OPF_SHARED
#define OP(k, when, what, ...) \
	[IMMURE_OP_##k] = { .name = what, .stage = IMMURE_STAGE_##when, ##__VA_ARGS__ }

const struct immure_op_info immure_op_table[] = {
	OP(OWN_DIR, CGROUP, "own_dir", .dst = PATH),
	OP(SESSION_DIR, CGROUP, "session_dir", .dst = PATH),
	OP(CGROUP_LEAF, CGROUP, "cgroup_leaf", .src = TEXT, .num = { "version", "enable" }),
	OP(CGROUP_MEMORY, CGROUP, "cgroup_memory", .num = { "bytes" }),
	OP(CGROUP_PIDS, CGROUP, "cgroup_pids", .num = { "count" }),
	OP(CGROUP_CPU, CGROUP, "cgroup_cpu", .num = { "millicpus" }),
	OP(RLIMIT, RLIMIT, "rlimit", .src = TEXT, .num = { "value" }),
	OP(CPU_AFFINITY, RLIMIT, "cpu_affinity", .num = { "cpus" }),
	OP(NAMESPACES, NAMESPACE, "namespaces", .src = TEXT, .num = { "mask" }),
	OP(BWRAP, NAMESPACE, "bwrap", .src = PATH, .num = { "by_descriptor" }),
	OP(IDMAP, IDS, "idmap",
	   .num = { "inside_uid", "outside_uid", "inside_gid", "outside_gid" }),
	OP(IDMAP_SUBID, IDS, "idmap_subid",
	   .num = { "inside_uid", "outside_uid", "inside_gid", "outside_gid" }),
	OP(ROOT_HOST, MOUNT, "root_host"),
	OP(ROOT_EMPTY, MOUNT, "root_empty"),
	OP(BIND, MOUNT, "bind", .src = PATH, .dst = PATH, .flags = RO | OPT | NOEXEC | FIL | IMMURE_OPF_SOCKET),
	OP(TMPFS, MOUNT, "tmpfs", .dst = PATH, .flags = RO | NOEXEC | OPT | SHARED,
	   .num = { "bytes", "mode" }),
	OP(DEV, MOUNT, "dev", .dst = PATH, .flags = SHARED, .num = { "shm_bytes" }),
	OP(PROC, MOUNT, "proc", .dst = PATH, .flags = RO | IMMURE_OPF_PIDS),
	OP(SYSFS, MOUNT, "sysfs", .dst = PATH),
	OP(SYMLINK, MOUNT, "symlink", .src = TEXT, .dst = PATH),
	OP(DIR, MOUNT, "dir", .dst = PATH, .num = { NULL, "mode" }),
	OP(FILE, MOUNT, "file", .src = TEXT, .dst = PATH, .flags = OPT | COVER,
	   .num = { NULL, "mode" }),
	OP(MASK, MOUNT, "mask", .dst = PATH, .flags = OPT | FIL),
	OP(MASK_KEEP, MOUNT, "mask_keep", .dst = PATH, .flags = OPT),
	OP(READONLY, MOUNT, "readonly", .dst = PATH, .flags = OPT | FIL),
	OP(PIN, MOUNT, "pin", .dst = PATH, .flags = OPT | FIL | IMMURE_OPF_SOCKET),
	OP(HOSTNAME, PIVOT, "hostname", .src = TEXT),
	OP(PIVOT, PIVOT, "pivot"),
	OP(LOOPBACK, NETWORK, "loopback"),
	OP(NET_HOST, NETWORK, "net_host"),
	OP(NET_CLOSED, NETWORK, "net_closed"),
	OP(EGRESS, NETWORK, "egress", .src = TEXT, .dst = TEXT,
	   .num = { "proxy_port", "private", "connections", "bytes_per_s" }),
	OP(EGRESS_LIMITS, NETWORK, "egress_limits",
	   .num = { "idle_ms", "handshake_ms", "refuse_ech" }),
	OP(EGRESS_BODIES, NETWORK, "egress_bodies", .num = { "request_bytes", "response_bytes" }),
	OP(EGRESS_ALLOW, NETWORK, "egress_allow", .src = TEXT),
	OP(EGRESS_DENY, NETWORK, "egress_deny", .src = TEXT),
	OP(INTERCEPT, NETWORK, "intercept", .num = { "sole" }),
	OP(SECRET, NETWORK, "secret", .src = TEXT, .dst = TEXT, .num = { "number" }),
	OP(SECRET_TO, NETWORK, "secret_to", .src = TEXT, .num = { "number" }),
	OP(ATTRIBUTE, NETWORK, "attribute", .src = TEXT),
	OP(EGRESS_NET, NETWORK, "egress_net", .src = TEXT, .num = { "low", "high" }),
	OP(PUBLISH, NETWORK, "publish", .src = TEXT, .num = { "host_port", "port" }),
	OP(CLOSE_FDS, FDS, "close_fds"),
	OP(DROP_CAPS, CAPS, "drop_caps"),
	OP(NO_NEW_PRIVS, NO_NEW_PRIVS, "no_new_privs"),
	OP(KEYRING, NO_NEW_PRIVS, "keyring"),
	OP(LANDLOCK, LANDLOCK, "landlock", .num = { "abi", "fs", "scopes", "net" }),
	OP(LANDLOCK_RULE, LANDLOCK, "landlock_rule", .dst = PATH, .flags = OPT | FIL,
	   .num = { "rights" }),
	OP(WITHHELD, LANDLOCK, "withheld", .dst = PATH, .flags = RO | OPT | FIL),
	OP(SELF_CHECK, CHECK, "self_check"),
	OP(SECCOMP, SECCOMP, "seccomp", .src = TEXT, .num = { "families", "beneath", "listed", "denied_groups" }),
	OP(EXEC, EXEC, "exec"),
	OP(WALL_TIME, SUPERVISE, "wall_time", .num = { "ms", "grace_ms" }),
	OP(OUTPUT_CAP, SUPERVISE, "output_cap", .num = { "bytes", "kill" }),
	OP(CAPTURE, SUPERVISE, "capture", .num = { "most" }),
	OP(AGENT, SUPERVISE, "agent", .src = TEXT),
	OP(MEDIATOR, SUPERVISE, "mediator", .src = PATH, .num = { "program", "async", "answer_ms", "wait_ms" }),
	OP(JOURNAL, SUPERVISE, "journal", .src = PATH),
	OP(MEDIATOR_BUDGET, SUPERVISE, "mediator_budget", .src = TEXT),
	OP(MEMORY_WATCH, SUPERVISE, "memory_watch", .num = { "bytes" }),
	OP(WATCH, SUPERVISE, "watch", .src = PATH, .dst = TEXT,
	   .flags = IMMURE_OPF_BUILD | IMMURE_OPF_ANYWHERE | IMMURE_OPF_ALLOWED | IMMURE_OPF_KEPT),
	OP(PROTECT_LINK, SUPERVISE, "protect_link", .src = TEXT, .dst = PATH,
	   .flags = IMMURE_OPF_BUILD | IMMURE_OPF_ALLOWED | IMMURE_OPF_KEPT),
	OP(LAYER, MOUNT, "layer", .src = PATH, .dst = PATH),
	OP(OVERLAY, MOUNT, "overlay", .src = TEXT, .dst = PATH,
	   .flags = RO | NOEXEC | SHARED | IMMURE_OPF_KEPT, .num = { "layers", "bytes" }),
};
_Static_assert(sizeof(immure_op_table) / sizeof(immure_op_table[0]) == IMMURE_OP_MAX,
	       "every operation has a row");

static const char *const stage_names[] = {
	[IMMURE_STAGE_CGROUP] = "cgroup",
	[IMMURE_STAGE_RLIMIT] = "rlimit",
	[IMMURE_STAGE_NAMESPACE] = "namespace",
	[IMMURE_STAGE_IDS] = "ids",
	[IMMURE_STAGE_MOUNT] = "mount",
	[IMMURE_STAGE_PIVOT] = "pivot",
	[IMMURE_STAGE_NETWORK] = "network",
	[IMMURE_STAGE_FDS] = "fds",
	[IMMURE_STAGE_CAPS] = "caps",
	[IMMURE_STAGE_NO_NEW_PRIVS] = "no_new_privs",
	[IMMURE_STAGE_LANDLOCK] = "landlock",
	[IMMURE_STAGE_CHECK] = "check",
	[IMMURE_STAGE_SECCOMP] = "seccomp",
	[IMMURE_STAGE_EXEC] = "exec",
	[IMMURE_STAGE_SUPERVISE] = "supervise",
};
_Static_assert(sizeof(stage_names) / sizeof(stage_names[0]) == IMMURE_STAGE_MAX,
	       "every stage has a name");

const char *immure_op_name(uint32_t kind)
{
	return kind < IMMURE_OP_MAX ? immure_op_table[kind].name : "unknown";
}

const char *immure_stage_name(uint32_t stage)
{
	return stage < IMMURE_STAGE_MAX ? stage_names[stage] : "unknown";
}

/* Room for one more element of size at the end of v, which has n of *cap. */
static void *grown(struct immure_arena *a, void *v, size_t n, size_t *cap, size_t size,
		   size_t first)
{
	size_t more = *cap ? *cap * 2 : first;
	void *ret;

	if (n < *cap)
		return v;
	ret = immure_arena_alloc(a, more * size);
	if (!ret)
		return NULL;
	if (n)
		memcpy(ret, v, n * size);
	*cap = more;
	return ret;
}

/* Room enough for a usual plan: growing costs pages that are never used again. */
enum { FIRST_LATER = 224, OTHER_OPS = 104 };

struct immure_op *immure_compile_op(struct immure_compile *b, enum immure_op_kind kind,
				  const char *src, const char *dst, const char *key)
{
	struct immure_plan *plan = b->plan;
	void *ops = grown(b->a, plan->ops, plan->ops_n, &b->ops_cap, sizeof(*plan->ops),
			  b->later_n + b->points_n + OTHER_OPS);
	struct immure_op *op;

	if (!ops)
		return NULL;
	plan->ops = ops;
	op = &plan->ops[plan->ops_n++];
	*op = (struct immure_op){
		.kind = kind, .stage = immure_op_table[kind].stage, .src = src ? src : "",
		.dst = dst ? dst : "", .key = key,
	};
	return op;
}

struct immure_later *immure_compile_later(struct immure_compile *b, enum immure_op_kind kind,
					  const char *src, const char *dst, const char *key)
{
	void *v = grown(b->a, b->later, b->later_n, &b->later_cap, sizeof(*b->later),
			FIRST_LATER);
	struct immure_later *l;

	if (!v)
		return NULL;
	b->later = v;
	l = &b->later[b->later_n++];
	*l = (struct immure_later){ .src = src, .dst = dst, .key = key, .kind = kind };
	return l;
}

int32_t immure_compile_refuse(struct immure_compile *b, const char *key, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* a cut message is still a refusal */
	va_end(ap);
	return immure_fail(b->err, IMMURE_ERR_POLICY, 0, "plan", key, "%s: %s", key, text);
}
