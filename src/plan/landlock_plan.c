/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of backend landlock.
 *
 * Enforced by              what
 * Landlock                 file contents, lists of directories, changes; TCP;
 *                          signals and abstract sockets (its sixth version);
 *                          tracing
 * seccomp, two filters     calls, socket families, System V objects, limits and
 *                          priorities of others, metadata
 * capabilities, rlimits, cgroup, a session keyring     as anywhere
 *
 * What mounts and namespaces do and nothing here does is a gap, each by a name
 * that a policy can approve.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/landlock.h"
#include "plan/bare.h"

static const char ALWAYS[] = "(always)";

static bool simple(struct immure_compile *b, enum immure_op_kind kind)
{
	return immure_compile_op(b, kind, NULL, NULL, ALWAYS);
}

static int abi_of(const struct immure_compile *b)
{
	return b->f->landlock_abi > IMMURE_LANDLOCK_ABI_MAX ? IMMURE_LANDLOCK_ABI_MAX :
							      b->f->landlock_abi;
}

/* Without a map nobody is anybody else inside. Root could give itself up, but then
 * could not reach the session's own directory, which lies among root's. */
static int32_t identity(struct immure_compile *b)
{
	const struct immure_policy *p = b->p;
	struct immure_op *op = immure_compile_op(b, IMMURE_OP_IDMAP, NULL, NULL, "identity");

	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = op->num[1] = b->f->uid;
	op->num[2] = op->num[3] = b->f->gid;
	if (p->identity == IMMURE_IDENTITY_NOBODY ||
	    (b->f->uid != 0 && p->identity == IMMURE_IDENTITY_ROOT))
		immure_compile_gap(b, true, "identity", "privileges",
				   "without a user namespace the command is who the caller is",
				   "identity: caller, or another backend");
	if (p->id_range == IMMURE_ID_RANGE_SUBID)
		immure_compile_gap(b, true, "id_range", "privileges",
				   "a range of ids needs a user namespace",
				   "id_range: single, or another backend");
	return 0;
}

/* What is always there: the harmless devices by name, the kernel's word on
 * processes and processors. */
static bool fixed_rules(struct immure_compile *b, uint64_t fs)
{
	static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random",
					       "/dev/urandom", "/dev/tty" };
	static const char *const shown[] = { "/proc", "/sys/devices/system" };
	const uint64_t read = IMMURE_LANDLOCK_FS_READ_FILE;
	const uint64_t device = fs & (read | IMMURE_LANDLOCK_FS_WRITE_FILE |
				      IMMURE_LANDLOCK_FS_TRUNCATE | IMMURE_LANDLOCK_FS_IOCTL_DEV);
	struct immure_op *op;

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		op = immure_compile_op(b, IMMURE_OP_LANDLOCK_RULE, NULL, devices[i], ALWAYS);
		if (!op)
			return false;
		op->num[0] = device;
		op->flags = IMMURE_OPF_OPTIONAL | IMMURE_OPF_FILE;
	}
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		op = immure_compile_op(b, IMMURE_OP_LANDLOCK_RULE, NULL, shown[i], ALWAYS);
		if (!op)
			return false;
		op->num[0] = read | IMMURE_LANDLOCK_FS_READ_DIR;
		op->flags = IMMURE_OPF_OPTIONAL;
	}
	op = immure_compile_op(b, IMMURE_OP_LANDLOCK_RULE, NULL, b->session_dir, "files.tmp");
	if (!op)
		return false;
	op->num[0] = fs & ~(IMMURE_LANDLOCK_FS_MAKE_CHAR | IMMURE_LANDLOCK_FS_MAKE_BLOCK |
			    IMMURE_LANDLOCK_FS_IOCTL_DEV |
			    (immure_compile_listed(b) ? IMMURE_LANDLOCK_FS_EXECUTE : 0));
	return true;
}

static int32_t landlock(struct immure_compile *b)
{
	int abi = abi_of(b);
	uint64_t fs = immure_landlock_fs_rights(abi);
	struct immure_op *op;
	int32_t r;

	if (abi <= 0) {
		immure_compile_gap(b, true, "backend", "landlock", "no Landlock here",
				   "boot with landlock among the lsm= of the kernel command line "
				   "(Linux 5.13 or later), or another backend");
		return immure_compile_execute(b, 0);
	}
	op = immure_compile_op(b, IMMURE_OP_LANDLOCK, NULL, NULL, ALWAYS);
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = (uint64_t)abi;
	op->num[1] = fs;
	op->num[2] = immure_landlock_scopes(abi);
	if (b->netns) /* no rule for any port: a second gate, what connects is the supervisor */
		op->num[3] = immure_landlock_net_rights(abi);
	r = immure_bare_rules(b, fs);
	if (r < 0)
		return r;
	return fixed_rules(b, fs) ? immure_compile_execute(b, fs) : -IMMURE_ERR_NOMEM;
}

static int32_t seccomp(struct immure_compile *b)
{
	const char *s = b->p->syscalls ? b->p->syscalls : "default";
	struct immure_op *op = immure_compile_op(b, IMMURE_OP_SECCOMP,
						 immure_arena_strdup(b->a, s), NULL, "syscalls");

	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[2] = immure_compile_listed(b);
	op->num[3] = immure_compile_denied_groups(b);
	if (b->p->network == IMMURE_NETWORK_LIMITED) {
		op->num[0] = 1u << AF_INET | 1u << AF_INET6;
		op->num[1] = abi_of(b) < 3 ? IMMURE_BENEATH_NAMES_OLD : IMMURE_BENEATH_NAMES;
		return 0;
	}
	op->num[0] = b->netns ? 0 : 1u << AF_INET | 1u << AF_INET6 | 1u << AF_NETLINK;
	if (b->f->seccomp_notify == IMMURE_NO)
		op->num[1] = abi_of(b) < 3 ? IMMURE_BENEATH_BARE_OLD : IMMURE_BENEATH_BARE;
	else
		op->num[1] = abi_of(b) < 3 ? IMMURE_BENEATH_FILES_OLD : IMMURE_BENEATH_FILES;
	return 0;
}

static void gaps(struct immure_compile *b)
{
	immure_compile_gap(b, false, ALWAYS, "process_visibility",
			   b->p->proc == IMMURE_PROC_PIDS ?
				   "/proc is the host's: names and arguments of its processes stay visible, "
				   "and what it tells of the machine (files.proc)" :
				   "/proc is the host's: names and arguments of its processes stay visible",
			   "another backend, or approve it: require.downgrade: process_visibility");
	immure_compile_gap(b, false, ALWAYS, "file_metadata",
			   "names, sizes, owners and dates of files stay visible everywhere",
			   "another backend, or approve it: require.downgrade: file_metadata");
	if (abi_of(b) > 0 && abi_of(b) < 6)
		immure_compile_gap(b, false, ALWAYS, "signals",
				   "processes of the same user outside can be signalled: Landlock here "
				   "has no scopes",
				   "use a kernel with Landlock ABI 6 (Linux 6.12), another backend, or "
				   "approve it: require.downgrade: signals");
	if (b->p->limits.disk)
		immure_compile_gap(b, false, "limits.disk", "resources",
				   "nothing limits the size of temporary files: they lie in the host's "
				   "own file system",
				   "take limits.disk out, or another backend");
}

/* A directory of the session's own, in place of the private areas. Its name is
 * settled when it is made; the plan says "session" for it. */
static int32_t session_dir(struct immure_compile *b)
{
	const char *parent = b->f->runtime_dir;
	struct immure_op *op;

	if (!parent && !b->f->tmp_dir) {
		immure_compile_gap(b, true, "files.tmp", "file_write",
				   "no directory of ours can be named for temporary files",
				   "set HOME or XDG_RUNTIME_DIR");
		parent = "/nonexistent";
	}
	parent = b->f->tmp_dir ? immure_compile_join(b->a, b->f->tmp_dir, "immure") :
				 immure_compile_join(b->a, parent, "tmp");
	b->session_dir = parent ? immure_compile_join(b->a, parent, "session") : NULL;
	op = b->session_dir ? immure_compile_op(b, IMMURE_OP_SESSION_DIR, NULL, b->session_dir,
						"files.tmp") : NULL;
	return op ? 0 : -IMMURE_ERR_NOMEM;
}

int32_t immure_bare_compile(struct immure_compile *b)
{
	int32_t r = b->settled || immure_compile_sort(b) ? session_dir(b) : -IMMURE_ERR_NOMEM;

	if (b->cmd && b->cmd->no_workspace)
		immure_compile_gap(b, true, "backend", "file_write",
				   "what a command may reach is settled when its session is made: none can be "
				   "given a workspace later", "start the pool of one workspace (--workspace), or "
				   "another backend");
	if (r == 0)
		r = immure_compile_limits(b);
	if (r == 0)
		r = identity(b);
	if (r < 0)
		return r;
	r = immure_compile_network(b);
	if (r < 0)
		return r;
	if (!simple(b, IMMURE_OP_CLOSE_FDS) || !simple(b, IMMURE_OP_DROP_CAPS) ||
	    !simple(b, IMMURE_OP_NO_NEW_PRIVS) || !simple(b, IMMURE_OP_KEYRING))
		return -IMMURE_ERR_NOMEM;
	r = landlock(b);
	if (r < 0)
		return r;
	if (!simple(b, IMMURE_OP_SELF_CHECK) || seccomp(b) < 0 || !simple(b, IMMURE_OP_EXEC))
		return -IMMURE_ERR_NOMEM;
	gaps(b);
	return 0;
}

/* Named, preferred, or what auto will come to. */
bool immure_plan_wants_listings(const struct immure_policy *p, const struct immure_facts *f)
{
	const char *name = p->backend ? p->backend : "auto";

	if (strcmp(name, "auto") != 0)
		return strcmp(name, "landlock") == 0;
	return immure_strv_has(&p->prefer, "landlock") || f->userns == IMMURE_NO ||
	       f->userns_mount == IMMURE_NO || f->userns_proc == IMMURE_NO;
}

void immure_plan_begun_free(struct immure_compile *begun)
{
	if (begun)
		immure_plan_destroy(begun->plan); /* in whose arena it is */
}

static struct immure_compile *begin(const struct immure_policy *p, const struct immure_facts *f,
				    const struct immure_command *cmd, struct immure_error **err)
{
	struct immure_plan *plan = calloc(1, sizeof(*plan));
	struct immure_compile *b = plan ? immure_arena_alloc(&plan->arena, sizeof(*b)) : NULL;

	if (b)
		*b = (struct immure_compile){ .p = p, .f = f, .cmd = cmd, .plan = plan, .a = &plan->arena,
					      .err = err, .bare = true };
	else
		immure_plan_destroy(plan);
	return b;
}

int32_t immure_plan_listings(const struct immure_policy *p, const struct immure_facts *f,
			     const struct immure_command *cmd, struct immure_arena *a,
			     struct immure_strv *ret, struct immure_compile **ret_begun,
			     struct immure_error **err)
{
	struct immure_compile *b;
	bool mounts;
	int32_t r;

	*ret = (struct immure_strv){ 0 };
	if (ret_begun)
		*ret_begun = NULL;
	r = immure_compile_mount_dirs(p, f, a, ret);
	if (r < 0 || !immure_plan_wants_listings(p, f))
		return r;
	mounts = ret->n > 0;
	b = begin(p, f, cmd, err);
	if (!b)
		return -IMMURE_ERR_NOMEM;
	r = immure_compile_points(b);
	if (r == 0)
		r = immure_compile_sort(b) ? immure_bare_dirs(b, a, ret) : -IMMURE_ERR_NOMEM;
	/* Points that mounts stand for need their listings to be settled. */
	b->settled = r == 0 && !mounts;
	if (ret_begun && b->settled)
		*ret_begun = b;
	else
		immure_plan_begun_free(b);
	/* What is wrong with the policy is the plan's to say. */
	if (r < 0 && r != -IMMURE_ERR_NOMEM) {
		if (err) {
			immure_error_free(*err);
			*err = NULL;
		}
		return 0;
	}
	return r;
}
