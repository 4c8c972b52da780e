/* SPDX-License-Identifier: Apache-2.0 */
/* A place in the cgroups where limits can be set, for who has none.
 *
 * What logged in by a terminal or over the network is in a cgroup of root's, and its user's
 * service manager is in another one, which is delegated to it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "facts/internal.h"
#include "kernel/userscope.h"

enum { TEXT_MAX = 1 << 16 };

/* As sd_notify's own programs find it: sudo(8) and su(1) leave the variable out. */
static const char *runtime_dir(struct immure_facts *f, const char *const *env)
{
	const char *dir = immure_facts_env(env, "XDG_RUNTIME_DIR");

	return dir && immure_path_is_normal(dir) ? dir : immure_arena_printf(&f->arena, "/run/user/%u", f->uid);
}

static char *own_cgroup(struct immure_facts *f)
{
	IMMURE_CLEANUP_FREE char *text = NULL;
	const struct immure_fact_mount *m;

	return immure_read_file_at(AT_FDCWD, "/proc/self/cgroup", TEXT_MAX, &text, NULL) < 0 ? NULL :
	       immure_facts_own_cgroup2(&f->arena, text, f->mounts, f->mounts_n, &m);
}

static int enter(struct immure_facts *f, const char *const *env, uint64_t timeout_ms)
{
	const char *before = own_cgroup(f), *dir = runtime_dir(f, env), *after;
	int r;

	/* Without version 2 there is nothing that could be delegated. */
	if (!before)
		return 0;
	if (!dir)
		return -ENOMEM;
	r = immure_userscope_enter(dir, timeout_ms);
	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	after = own_cgroup(f);
	if (!after || strcmp(after, before) == 0)
		return -ENOENT;
	r = immure_userscope_step_down(after);
	return r < 0 ? r : 1;
}

int immure_facts_enter_scope(const char *const *env, uint64_t timeout_ms)
{
	struct immure_facts *f;
	int r;

	if (immure_facts_begin(&f, NULL) < 0)
		return 0; /* whoever plans will say so */
	r = immure_facts_complete(f, IMMURE_FACTS_QUICK | IMMURE_FACTS_FOR_PLAN | IMMURE_FACTS_NO_SOCKETS, env, NULL);
	if (r == 0 && f->uid != 0 && f->cgroup.kind == IMMURE_CGROUP_NONE)
		r = enter(f, env, timeout_ms);
	else
		r = 0;
	immure_facts_destroy(f);
	return r;
}
