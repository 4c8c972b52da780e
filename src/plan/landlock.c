/* SPDX-License-Identifier: Apache-2.0 */
/* The second gate under the mounts: writes only where the plan meant them, no
 * device nodes made, no signals and no abstract sockets across the border. What
 * must not be read stays a matter of mounts; Landlock cannot take away below
 * what it gave. TCP is not handled: without a network there is nothing to
 * reach, and with the host's network the policy meant it. */
#include "kernel/landlock.h"
#include "plan/compile.h"

static bool rule(struct immure_compile *b, const char *path, uint64_t rights, const char *key)
{
	struct immure_op *op;

	if (!rights)
		return true;
	op = immure_compile_op(b, IMMURE_OP_LANDLOCK_RULE, NULL, path, key);
	if (op)
		op->num[0] = rights;
	return op;
}

int32_t immure_compile_landlock(struct immure_compile *b)
{
	int abi = b->f->landlock_abi > IMMURE_LANDLOCK_ABI_MAX ? IMMURE_LANDLOCK_ABI_MAX :
								 b->f->landlock_abi;
	uint64_t fs = immure_landlock_fs_rights(abi);
	uint64_t dir = fs & ~(IMMURE_LANDLOCK_FS_MAKE_CHAR | IMMURE_LANDLOCK_FS_MAKE_BLOCK |
			      IMMURE_LANDLOCK_FS_IOCTL_DEV);
	uint64_t device = fs & (IMMURE_LANDLOCK_FS_WRITE_FILE | IMMURE_LANDLOCK_FS_TRUNCATE |
				IMMURE_LANDLOCK_FS_IOCTL_DEV);
	uint64_t reading = IMMURE_LANDLOCK_FS_READ_FILE | IMMURE_LANDLOCK_FS_READ_DIR;
	struct immure_op *op;
	bool ok;

	if (immure_compile_listed(b))
		dir &= ~IMMURE_LANDLOCK_FS_EXECUTE;
	else
		reading |= IMMURE_LANDLOCK_FS_EXECUTE;

	if (abi < 6 && !b->netns)
		immure_compile_gap(b, false, "network.mode", "ipc",
				 "the host's abstract unix sockets cannot be closed: they belong to "
				 "the network that is shared, and Landlock here has no scopes",
				 "use a kernel with Landlock ABI 6 (Linux 6.12), or network.mode: none");
	if (abi <= 0) {
		immure_compile_gap(b, false, "(always)", "landlock",
				 "no Landlock here: the mounts are the only gate before files",
				 "boot with landlock among the lsm= of the kernel command line "
				 "(Linux 5.13 or later), or approve it: require.downgrade");
		return immure_compile_execute(b, 0);
	}
	op = immure_compile_op(b, IMMURE_OP_LANDLOCK, NULL, NULL, "(always)");
	if (!op)
		return -IMMURE_ERR_NOMEM;
	op->num[0] = (uint64_t)abi;
	op->num[1] = fs;
	op->num[2] = immure_landlock_scopes(abi);
	ok = rule(b, "/", reading, "files.view");
	ok = ok && rule(b, "/dev", device, "(always)");
	ok = ok && rule(b, "/dev/shm", dir, "(always)");
	/* A process's own settings: comm, oom_score_adj, coredump_filter ... */
	ok = ok && rule(b, "/proc", device & ~IMMURE_LANDLOCK_FS_IOCTL_DEV, "(always)");
	for (size_t i = 0; ok && i + 1 < b->writable.n; i += 2)
		ok = rule(b, b->writable.v[i], dir, b->writable.v[i + 1]);
	for (size_t i = 0; ok && i + 1 < b->writable_files.n; i += 2)
		ok = rule(b, b->writable_files.v[i], dir & IMMURE_LANDLOCK_FS_ON_FILE,
			  b->writable_files.v[i + 1]);
	return ok ? immure_compile_execute(b, fs) : -IMMURE_ERR_NOMEM;
}
