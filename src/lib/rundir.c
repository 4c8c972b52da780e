/* SPDX-License-Identifier: Apache-2.0 */
/* Where this user's sessions are registered. The same answer as the facts give
 * (facts/gather.c), without looking at the rest of the host: a command in a live
 * session must not cost that. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "facts/internal.h"
#include "lib/session.h"

static bool ours(const char *dir)
{
	struct stat st;

	return dir && dir[0] == '/' && stat(dir, &st) == 0 && S_ISDIR(st.st_mode) &&
	       st.st_uid == geteuid() && !(st.st_mode & 022);
}

const char *immure_runtime_dir_of(struct immure_arena *a, const char *const *env)
{
	const char *dir, *state, *home;

	if (geteuid() == 0)
		return "/run/immure";
	dir = immure_facts_env(env, "XDG_RUNTIME_DIR");
	if (!ours(dir))
		dir = immure_arena_printf(a, "/run/user/%u", (unsigned int)geteuid());
	if (ours(dir))
		return immure_arena_printf(a, "%s/immure", dir);
	state = immure_facts_env(env, "XDG_STATE_HOME");
	if (state && state[0] == '/')
		return immure_arena_printf(a, "%s/immure/run", state);
	home = immure_facts_env(env, "HOME");
	return home && home[0] == '/' ? immure_arena_printf(a, "%s/.local/state/immure/run", home) : NULL;
}
