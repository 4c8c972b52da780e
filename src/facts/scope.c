/* SPDX-License-Identifier: Apache-2.0 */
/* A place in the cgroups where limits can be set, for who has none.
 *
 * What logged in by a terminal or over the network is in a cgroup of root's, and its user's
 * service manager is in another one, which is delegated to it. Below that one everything may
 * be written to, but what the manager did not delegate in turn is not ours. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
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

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

/* A unit of that manager's, which a terminal of a desktop is in. All below the manager is its
 * user's and may be written to, but a slice that units are in is the manager's to arrange: it
 * takes controllers away that none of its units asks for, and limits with them. */
static bool is_in_a_unit(const struct immure_facts *f, const char *cgroup)
{
	char manager[48];

	(void)snprintf(manager, sizeof(manager), "/user@%u.service/", f->uid);
	return strstr(cgroup, manager) && (ends_with(cgroup, ".scope") || ends_with(cgroup, ".service"));
}

static int enter(struct immure_facts *f, const char *const *env, uint64_t timeout_ms)
{
	const char *before = own_cgroup(f), *dir = runtime_dir(f, env), *after;
	int r;

	/* Without version 2 there is nothing that could be delegated. */
	if (!before || (f->cgroup.kind != IMMURE_CGROUP_NONE && !is_in_a_unit(f, before)))
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
	r = r == 0 && f->uid != 0 ? enter(f, env, timeout_ms) : 0;
	immure_facts_destroy(f);
	return r;
}
