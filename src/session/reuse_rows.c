/* SPDX-License-Identifier: Apache-2.0 */
#include "session/reuse.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "kernel/sys.h"

static const struct {
	const char *name;
	bool inside;
} rows[IMMURE_SPOT_MAX] = {
	[IMMURE_SPOT_REQUESTS] = { "requests", false },
	[IMMURE_SPOT_CONNECTIONS] = { "connections", false },
	[IMMURE_SPOT_COMMANDS] = { "commands", false },
	[IMMURE_SPOT_PROCESSES] = { "processes", true },
	[IMMURE_SPOT_PIDS] = { "pids", true },
	[IMMURE_SPOT_INIT] = { "init", true },
	[IMMURE_SPOT_INIT_MEMORY] = { "init_memory", false },
	[IMMURE_SPOT_INIT_FDS] = { "init_descriptors", false },
	[IMMURE_SPOT_SERVER_MEMORY] = { "supervisor_memory", false },
	[IMMURE_SPOT_SERVER_FDS] = { "supervisor_descriptors", false },
	[IMMURE_SPOT_AREAS] = { "areas", true },
	[IMMURE_SPOT_MOUNTS] = { "mounts", true },
	[IMMURE_SPOT_SYSV] = { "sysv_ipc", true },
	[IMMURE_SPOT_MQUEUES] = { "mqueues", true },
	[IMMURE_SPOT_NETWORK] = { "network", true },
	[IMMURE_SPOT_GATEKEEPER] = { "gatekeeper", false },
	[IMMURE_SPOT_NAMES] = { "hostname", true },
	[IMMURE_SPOT_CGROUP] = { "cgroup", false },
};

const char *immure_spot_name(enum immure_spot s)
{
	return s < IMMURE_SPOT_MAX ? rows[s].name : "?";
}

bool immure_spot_is_inside(enum immure_spot s)
{
	return s < IMMURE_SPOT_MAX && rows[s].inside;
}

/* ---- what a plan must not have ---- */

static const struct {
	enum immure_op_kind kind;
	const char *key, *why;
} not_with[] = {
	{ IMMURE_OP_NET_HOST, "network.mode", "what it left on the host's network cannot be told from others'" },
	{ IMMURE_OP_INTERCEPT, "secrets", "what ends TLS has seen what it said" },
	{ IMMURE_OP_PUBLISH, "network.publish", "who came by a published port may come again" },
	{ IMMURE_OP_OVERLAY, "workspace.mode", "what it changed is kept" },
	{ IMMURE_OP_MEDIATOR, "mediator.ask", "its commands pass through the supervisor's memory" },
	{ IMMURE_OP_JOURNAL, "journal", "its commands pass through the supervisor's memory" },
	{ IMMURE_OP_OUTPUT_CAP, "limits.output", "its output passes through the supervisor's memory" },
	{ IMMURE_OP_IDMAP_SUBID, "identity", "files of other ids, and keys of theirs, cannot be told apart" },
};

static int32_t no(struct immure_error **err, const char *key, const char *path, const char *why)
{
	(void)immure_fail(err, IMMURE_ERR_UNSUPPORTED, 0, "pool", key,
			  "sessions of this policy cannot be used again: %s: %s%s%s", key, path,
			  path[0] ? ": " : "", why);
	if (err && *err)
		immure_error_set_hint(*err, "a pool without --reuse makes a session for each caller");
	return -IMMURE_ERR_UNSUPPORTED;
}

static int32_t look_at(const struct immure_op *op, struct immure_error **err)
{
	for (size_t i = 0; i < sizeof(not_with) / sizeof(not_with[0]); i++)
		if (op->kind == (uint32_t)not_with[i].kind &&
		    !(op->kind == IMMURE_OP_OVERLAY && op->flags == IMMURE_OPF_RO))
			return no(err, not_with[i].key, "", not_with[i].why);
	/* A socket is lent with read-only mounts as well: what is behind it remembers. */
	if (op->kind == IMMURE_OP_BIND && (!(op->flags & IMMURE_OPF_RO) || op->flags & IMMURE_OPF_SOCKET))
		return no(err, op->key, op->dst, "what a command writes there stays");
	/* Keys are counted for the user, not for the session: nobody inside may make one. */
	if (op->kind == IMMURE_OP_SECCOMP && (op->src[0] == '/' || op->num[1]))
		return no(err, op->key, "", "that no keyring is reached is known of the built-in filters only");
	return 0;
}

int32_t immure_reuse_possible(const struct immure_plan *p, struct immure_error **err)
{
	const uint64_t all = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	const struct immure_op *ns = immure_plan_find(p, IMMURE_OP_NAMESPACES);
	int32_t r = 0;

	if (strcmp(p->backend, "native") != 0)
		return no(err, "backend", p->backend, "its namespaces are not all in our hands");
	for (size_t i = 0; i < p->ops_n && r == 0; i++)
		r = look_at(&p->ops[i], err);
	if (r < 0)
		return r;
	if (!ns || (ns->num[0] & all) != all)
		return no(err, "backend", "", "a namespace is missing, so what is left in it is everybody's");
	if (!immure_plan_find(p, IMMURE_OP_PIVOT) || !immure_plan_find(p, IMMURE_OP_SECCOMP) ||
	    !immure_plan_find(p, IMMURE_OP_DROP_CAPS) || !immure_plan_find(p, IMMURE_OP_NO_NEW_PRIVS))
		return no(err, "syscalls", "", "a command could change more than is looked at");
	return 0;
}
