/* SPDX-License-Identifier: Apache-2.0 */
/* What a sealed plan may say: every operation by itself, and the plan as a
 * whole. Each returns what is wrong, NULL when nothing is. */
#include <sched.h>
#include <string.h>

#include "base/path.h"
#include "kernel/landlock.h"
#include "kernel/netplumb.h"
#include "plan/render.h"
#include "plan/seal.h"
#include "policy/netrule.h"

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

static const char *check_field(uint8_t field, const char *s)
{
	switch (field) {
	case IMMURE_FIELD_NONE:
		return *s ? "a field that must be empty" : NULL;
	case IMMURE_FIELD_PATH:
		return immure_path_is_normal(s) ? NULL : "a path that is not absolute and normal";
	default:
		return NULL;
	}
}

static bool is_one_of(const char *s, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(s, *names) == 0)
			return true;
	return false;
}

static bool are_ids(const uint64_t num[4])
{
	for (unsigned int i = 0; i < 4; i++)
		if (num[i] >= UINT32_MAX) /* (uid_t)-1 means no one */
			return false;
	return true;
}

/* A name below the watched directory. */
static bool is_pattern(const char *s)
{
	while (*s) {
		size_t n = strcspn(s, "/");

		if (n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
			return false;
		s += n;
		if (*s == '/' && *++s == '\0')
			return false;
	}
	return true;
}

static bool are_namespaces(uint64_t mask)
{
	const uint64_t needed = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
				CLONE_NEWUTS;

	return (mask & needed) == needed &&
	       !(mask & ~(needed | CLONE_NEWNET | CLONE_NEWCGROUP));
}

static bool is_landlock(const uint64_t num[4])
{
	int abi = num[0] <= IMMURE_LANDLOCK_ABI_MAX ? (int)num[0] : 0;

	return abi && num[1] == immure_landlock_fs_rights(abi) &&
	       num[2] == immure_landlock_scopes(abi) &&
	       !(num[3] & ~immure_landlock_net_rights(abi));
}

static bool is_range(const char *s, enum immure_host_kind kind)
{
	struct immure_complaint c;
	struct immure_rtnl_range r;
	unsigned char address[16] = { 0 };
	enum immure_host_kind k;
	unsigned int bits;

	return immure_network_parse(s, &k, address, &bits, &c) == 0 && k == kind &&
	       immure_rtnl_range_from(kind == IMMURE_HOST_NET6, address, bits, &r) == 0;
}

static bool is_network(const char *s)
{
	struct immure_complaint c;
	unsigned char address[16];
	enum immure_host_kind k;
	unsigned int bits;

	return immure_network_parse(s, &k, address, &bits, &c) == 0;
}

static bool are_ports(uint64_t lo, uint64_t hi)
{
	return lo >= 1 && hi >= 1 && lo <= 65535 && hi <= 65535;
}

/* One answer to where changes go. */
static bool is_overlay(const struct immure_op *op)
{
	bool ours = op->flags & (IMMURE_OPF_RO | IMMURE_OPF_SHARED);

	if (op->num[0] == 0 || op->num[0] > IMMURE_LAYERS_MAX ||
	    (op->num[1] && !(op->flags & IMMURE_OPF_SHARED)))
		return false;
	return ours ? !*op->src && !(op->flags & IMMURE_OPF_KEPT) : immure_path_is_normal(op->src);
}

static bool values_fit(const struct immure_op *op)
{
	/* those that init knows */
	static const char *const rlimits[] = { "as",      "core",  "cpu",   "data",   "fsize",
					       "memlock", "nice",  "nofile", "nproc", "rtprio",
					       NULL };

	switch ((enum immure_op_kind)op->kind) {
	case IMMURE_OP_CGROUP_LEAF:
		return (op->num[0] == IMMURE_CGROUP_V1 || op->num[0] == IMMURE_CGROUP_V2) &&
		       op->num[1] <= 1 && op->src[0];
	case IMMURE_OP_CGROUP_MEMORY:
	case IMMURE_OP_CGROUP_PIDS:
	case IMMURE_OP_CGROUP_CPU:
	case IMMURE_OP_CPU_AFFINITY:
	case IMMURE_OP_WALL_TIME:
	case IMMURE_OP_OUTPUT_CAP:
	case IMMURE_OP_MEMORY_WATCH:
	case IMMURE_OP_LANDLOCK_RULE:
		return op->num[0] != 0; /* zero would mean no limit, or nothing */
	case IMMURE_OP_MEDIATOR:
		return op->num[0] <= 1 && op->num[1] <= 1 && op->num[2] && op->num[3];
	case IMMURE_OP_JOURNAL:
	case IMMURE_OP_AGENT:
	case IMMURE_OP_MEDIATOR_BUDGET:
		return op->src[0];
	case IMMURE_OP_CAPTURE:
		return op->num[0] < 3; /* all of it needs no operation */
	case IMMURE_OP_RLIMIT:
		return is_one_of(op->src, rlimits);
	case IMMURE_OP_NAMESPACES:
		return are_namespaces(op->num[0]);
	case IMMURE_OP_IDMAP:
	case IMMURE_OP_IDMAP_SUBID:
		return are_ids(op->num);
	case IMMURE_OP_TMPFS:
	case IMMURE_OP_DIR:
	case IMMURE_OP_FILE:
		return op->num[1] <= 07777;
	case IMMURE_OP_HOSTNAME:
		return op->src[0] && strlen(op->src) <= 64;
	case IMMURE_OP_LANDLOCK:
		return is_landlock(op->num);
	case IMMURE_OP_EGRESS:
		return is_range(op->src, IMMURE_HOST_NET4) && is_range(op->dst, IMMURE_HOST_NET6) &&
		       (op->num[0] == 0 || op->num[0] == IMMURE_NETPLUMB_PROXY_PORT) &&
		       op->num[1] <= 1 && op->num[2] <= 65536;
	case IMMURE_OP_EGRESS_LIMITS:
		return op->num[0] <= UINT32_MAX && op->num[1] <= 24U * 3600 * 1000 && op->num[2] <= 1;
	case IMMURE_OP_EGRESS_BODIES:
		return op->num[0] || op->num[1];
	case IMMURE_OP_EGRESS_ALLOW:
	case IMMURE_OP_EGRESS_DENY:
		return op->src[0]; /* whether it is a rule, the gatekeeper asks */
	case IMMURE_OP_INTERCEPT:
		return op->num[0] <= 1;
	case IMMURE_OP_SECRET:
		return op->src[0] && op->dst[0] && op->num[0] < 64;
	case IMMURE_OP_ATTRIBUTE:
		return op->src[0];
	case IMMURE_OP_SECRET_TO:
		return op->src[0] && op->num[0] < 64;
	case IMMURE_OP_EGRESS_NET:
		return is_network(op->src) && are_ports(op->num[0], op->num[1]) &&
		       op->num[0] <= op->num[1];
	case IMMURE_OP_PUBLISH:
		return is_network(op->src) && !strchr(op->src, '/') &&
		       are_ports(op->num[0], op->num[1]);
	case IMMURE_OP_BWRAP:
		return op->num[0] <= 1;
	case IMMURE_OP_SECCOMP:
		return op->num[1] <= IMMURE_BENEATH_NAMES_OLD && op->num[2] <= 1 && op->num[3] < 1U << IMMURE_CALL_GROUPS &&
		       (strcmp(op->src, "default") == 0 || strcmp(op->src, "strict") == 0 ||
			immure_path_is_normal(op->src));
	case IMMURE_OP_WATCH:
		return op->dst[0] && is_pattern(op->dst);
	case IMMURE_OP_OVERLAY:
		return is_overlay(op);
	case IMMURE_OP_LAYER:
	case IMMURE_OP_OWN_DIR:
	case IMMURE_OP_SESSION_DIR:
	case IMMURE_OP_NET_CLOSED:
	case IMMURE_OP_WITHHELD:
	case IMMURE_OP_ROOT_HOST:
	case IMMURE_OP_ROOT_EMPTY:
	case IMMURE_OP_BIND:
	case IMMURE_OP_DEV:
	case IMMURE_OP_PROC:
	case IMMURE_OP_SYSFS:
	case IMMURE_OP_SYMLINK:
	case IMMURE_OP_MASK:
	case IMMURE_OP_MASK_KEEP:
	case IMMURE_OP_READONLY:
	case IMMURE_OP_PIN:
	case IMMURE_OP_PIVOT:
	case IMMURE_OP_LOOPBACK:
	case IMMURE_OP_NET_HOST:
	case IMMURE_OP_CLOSE_FDS:
	case IMMURE_OP_DROP_CAPS:
	case IMMURE_OP_NO_NEW_PRIVS:
	case IMMURE_OP_KEYRING:
	case IMMURE_OP_SELF_CHECK:
	case IMMURE_OP_EXEC:
	case IMMURE_OP_PROTECT_LINK:
		return true;
	case IMMURE_OP_MAX:
		break;
	}
	return false;
}

const char *immure_plan_check_op(const struct immure_op *op, uint32_t least_stage)
{
	const struct immure_op_info *info;
	const char *wrong;

	if (op->kind >= IMMURE_OP_MAX)
		return "an unknown operation";
	info = &immure_op_table[op->kind];
	if (op->stage != info->stage || op->stage < least_stage)
		return "an operation out of order";
	if (op->flags & ~(uint32_t)info->flags)
		return "an unknown flag";
	if (!*op->key)
		return "an operation without a cause";
	for (unsigned int i = 0; i < 4; i++)
		if (op->num[i] && !info->num[i])
			return "a number that means nothing";
	wrong = check_field(info->src, op->src);
	if (!wrong)
		wrong = check_field(info->dst, op->dst);
	if (wrong)
		return wrong;
	return values_fit(op) ? NULL : "a value out of range";
}

static const char *check_rules(const unsigned int *seen)
{
	if ((seen[IMMURE_OP_EGRESS_ALLOW] || seen[IMMURE_OP_EGRESS_DENY] ||
	     seen[IMMURE_OP_EGRESS_NET] || seen[IMMURE_OP_EGRESS_LIMITS] ||
	     seen[IMMURE_OP_EGRESS_BODIES]) && !seen[IMMURE_OP_EGRESS])
		return "network rules that nobody enforces";
	if ((seen[IMMURE_OP_SECRET] || seen[IMMURE_OP_SECRET_TO] || seen[IMMURE_OP_ATTRIBUTE]) && !seen[IMMURE_OP_INTERCEPT])
		return "secrets that nobody sends";
	if (seen[IMMURE_OP_INTERCEPT] && (!seen[IMMURE_OP_EGRESS] || seen[IMMURE_OP_INTERCEPT] > 1))
		return "TLS that ends nowhere";
	if (seen[IMMURE_OP_EGRESS_NET] > IMMURE_NETPLUMB_NETS_MAX)
		return "too many networks";
	return NULL;
}

/* Layers belong to the overlay that follows them. */
static const char *check_overlays(const struct immure_plan *p, unsigned int *ret_roots)
{
	uint64_t layers = 0;

	for (size_t i = 0; i < p->ops_n; i++) {
		const struct immure_op *op = &p->ops[i];

		if (op->kind != IMMURE_OP_LAYER && op->kind != IMMURE_OP_OVERLAY) {
			if (layers)
				return "layers of nothing";
			continue;
		}
		if (layers && strcmp(op->dst, p->ops[i - 1].dst) != 0)
			return "layers of something else";
		if (op->kind == IMMURE_OP_LAYER) {
			layers++;
			continue;
		}
		if (layers != op->num[0])
			return "an overlay of other layers";
		*ret_roots += strcmp(op->dst, "/") == 0;
		layers = 0;
	}
	return layers ? "layers of nothing" : NULL;
}

/* With namespaces. */
static const char *check_native(const struct immure_plan *p, const unsigned int *seen)
{
	static const uint8_t once[] = {
		IMMURE_OP_NAMESPACES, IMMURE_OP_PROC, IMMURE_OP_DEV, IMMURE_OP_PIVOT,
	};
	unsigned int roots = 0;

	for (size_t i = 0; i < sizeof(once); i++)
		if (seen[once[i]] != 1)
			return "a stage that is missing or doubled";
	if (seen[IMMURE_OP_SESSION_DIR] || seen[IMMURE_OP_NET_CLOSED] || seen[IMMURE_OP_WITHHELD])
		return "an operation of another backend";
	if (seen[IMMURE_OP_LAYER] || seen[IMMURE_OP_OVERLAY]) {
		const char *wrong = seen[IMMURE_OP_BWRAP] ? "what bubblewrap cannot make"
							  : check_overlays(p, &roots);

		if (wrong)
			return wrong;
	}
	if (seen[IMMURE_OP_ROOT_HOST] + seen[IMMURE_OP_ROOT_EMPTY] + roots != 1)
		return "not one root";
	if (seen[IMMURE_OP_LOOPBACK] + seen[IMMURE_OP_NET_HOST] + seen[IMMURE_OP_EGRESS] != 1)
		return "not one network";
	if (seen[IMMURE_OP_PUBLISH] && seen[IMMURE_OP_NET_HOST])
		return "ports of the host's own network published";
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].kind == IMMURE_OP_NAMESPACES &&
		    !(p->ops[i].num[0] & CLONE_NEWNET) != (seen[IMMURE_OP_NET_HOST] != 0))
			return "a network without its namespace";
	return check_rules(seen);
}

static bool has_open_gap(const struct immure_plan *p)
{
	for (size_t i = 0; i < p->gaps_n; i++)
		if (!p->gaps[i].approved)
			return true;
	return false;
}

/* Without: Landlock is all that there is before files, and the filter beneath
 * closes what it does not look at. */
static const char *check_bare(const struct immure_plan *p, const unsigned int *seen)
{
	const struct immure_op *calls = immure_plan_find(p, IMMURE_OP_SECCOMP);
	bool names = calls->num[1] >= IMMURE_BENEATH_NAMES;

	/* On a host without Landlock the plan is there to be read: it cannot be started. */
	if ((seen[IMMURE_OP_LANDLOCK] != 1 && !has_open_gap(p)) || seen[IMMURE_OP_SESSION_DIR] != 1 ||
	    seen[IMMURE_OP_IDMAP] != 1)
		return "a stage that is missing or doubled";
	if (seen[IMMURE_OP_NET_CLOSED] + seen[IMMURE_OP_NET_HOST] + seen[IMMURE_OP_EGRESS] != 1 ||
	    seen[IMMURE_OP_LOOPBACK] || (seen[IMMURE_OP_PUBLISH] && !seen[IMMURE_OP_EGRESS]))
		return "not one network";
	if (calls->num[1] == IMMURE_BENEATH_NONE || names != (seen[IMMURE_OP_EGRESS] == 1) ||
	    (seen[IMMURE_OP_NET_CLOSED] && calls->num[0]))
		return "a filter that closes too little";
	for (size_t i = 0; i < p->ops_n; i++)
		if (p->ops[i].stage == IMMURE_STAGE_NAMESPACE || p->ops[i].stage == IMMURE_STAGE_MOUNT ||
		    p->ops[i].stage == IMMURE_STAGE_PIVOT)
			return "an operation of another backend";
	return check_rules(seen);
}

/* Without these, once each, it would be no sandbox. */
const char *immure_plan_check_whole(const struct immure_plan *p)
{
	static const uint8_t once[] = {
		IMMURE_OP_CLOSE_FDS, IMMURE_OP_DROP_CAPS, IMMURE_OP_NO_NEW_PRIVS,
		IMMURE_OP_SELF_CHECK, IMMURE_OP_SECCOMP, IMMURE_OP_EXEC,
	};
	unsigned int seen[IMMURE_OP_MAX] = { 0 };
	const char *wrong;

	if (immure_elsewhere_is(p->backend)) /* nothing here may apply it */
		return "for another platform";
	for (size_t i = 0; i < p->ops_n; i++)
		seen[p->ops[i].kind]++;
	for (size_t i = 0; i < sizeof(once); i++)
		if (seen[once[i]] != 1)
			return "a stage that is missing or doubled";
	if (seen[IMMURE_OP_BWRAP] != (strcmp(p->backend, "bwrap") == 0))
		return "an operation of another backend";
	if (seen[IMMURE_OP_BWRAP] && (seen[IMMURE_OP_SYSFS] || seen[IMMURE_OP_IDMAP_SUBID]))
		return "what bubblewrap cannot make";
	if (seen[IMMURE_OP_IDMAP] + seen[IMMURE_OP_IDMAP_SUBID] != 1)
		return "not one id map";
	wrong = strcmp(p->backend, "landlock") == 0 ? check_bare(p, seen) : check_native(p, seen);
	if (wrong)
		return wrong;
	if (seen[IMMURE_OP_LANDLOCK] > 1 || (seen[IMMURE_OP_LANDLOCK_RULE] &&
					     !seen[IMMURE_OP_LANDLOCK]))
		return "Landlock rules without their set";
	if (!immure_path_is_normal(p->workspace) || !immure_path_is_normal(p->cwd) ||
	    (p->state_dir[0] && !immure_path_is_normal(p->state_dir)))
		return "a path that is not absolute and normal";
	if (!p->argv.n || !p->argv.v[0][0])
		return "no command";
	for (size_t i = 0; i < p->env.n; i++)
		if (p->env.v[i][0] == '=' || !strchr(p->env.v[i], '='))
			return "an environment string without a name";
	return NULL;
}
