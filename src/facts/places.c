/* SPDX-License-Identifier: Apache-2.0 */
/* Who the user is and where that user's directories are. */
#include "facts/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"

/* A name that can be shown, put into an environment and into a path. */
static bool sane_user(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (n == 0 || n > 64 || s[0] == '-' || s[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= ' ' || s[i] == '/' || s[i] == ':' || s[i] == 127)
			return false;
	return true;
}

static const char *absolute(struct immure_arena *a, const char *s)
{
	return s && s[0] == '/' ? immure_path_normalize(a, s) : NULL;
}

static void gather_user(struct immure_facts *f, const char *const *env, const char *passwd)
{
	const char *name = NULL, *home = NULL;

	f->uid = geteuid();
	f->gid = getegid();
	if (passwd && immure_facts_parse_passwd(&f->arena, passwd, f->uid, &name, &home) < 0)
		name = home = NULL;
	if (!sane_user(name))
		name = immure_facts_env(env, "USER");
	f->user = sane_user(name) ? immure_arena_strdup(&f->arena, name)
				  : immure_arena_printf(&f->arena, "%u", f->uid);
	f->home = absolute(&f->arena, immure_facts_env(env, "HOME"));
	if (!f->home)
		f->home = absolute(&f->arena, home);
}

/* A directory that only we can write: others could plant things in another. */
static bool is_ours(const struct immure_facts *f, const char *dir)
{
	struct stat st;

	return dir && stat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == f->uid &&
	       (st.st_mode & 022) == 0;
}

static const char *below(struct immure_facts *f, const char *dir, const char *name)
{
	return dir ? immure_path_join(&f->arena, dir, name) : NULL;
}

static void gather_dirs(struct immure_facts *f, const char *const *env)
{
	const char *dir, *cwd;
	char buf[PATH_MAX];

	dir = absolute(&f->arena, immure_facts_env(env, "XDG_STATE_HOME"));
	f->state_dir = dir ? below(f, dir, "immure") : below(f, f->home, ".local/state/immure");
	if (!f->state_dir && f->uid == 0)
		f->state_dir = "/var/lib/immure";
	dir = absolute(&f->arena, immure_facts_env(env, "XDG_CONFIG_HOME"));
	f->config_dir = dir ? below(f, dir, "immure") : below(f, f->home, ".config/immure");
	if (f->uid == 0) {
		f->runtime_dir = "/run/immure";
	} else {
		dir = absolute(&f->arena, immure_facts_env(env, "XDG_RUNTIME_DIR"));
		if (!is_ours(f, dir))
			dir = immure_arena_printf(&f->arena, "/run/user/%u", f->uid);
		/* Not /tmp: a name there can be guessed and taken first. */
		f->runtime_dir = is_ours(f, dir) ? below(f, dir, "immure")
						 : below(f, f->state_dir, "run");
	}
	dir = absolute(&f->arena, immure_facts_env(env, "TMPDIR"));
	f->tmp_dir = is_ours(f, dir) ? dir : NULL;
	f->agent = absolute(&f->arena, immure_facts_env(env, "SSH_AUTH_SOCK"));
	/* The kernel says "(unreachable)/..." for one outside our root. */
	cwd = getcwd(buf, sizeof(buf));
	if (cwd && immure_path_is_normal(cwd))
		f->cwd = immure_arena_strdup(&f->arena, cwd);
}

void immure_facts_gather_places(struct immure_facts *f, const char *const *env, const char *passwd)
{
	gather_user(f, env, passwd);
	gather_dirs(f, env);
}

int32_t immure_facts_places(const char *const *env, struct immure_facts **ret,
			    struct immure_error **err)
{
	struct immure_facts *f = calloc(1, sizeof(*f));
	IMMURE_CLEANUP_FREE char *passwd = NULL;

	if (f) {
		(void)immure_read_file_at(AT_FDCWD, "/etc/passwd", IMMURE_FACTS_MAX_PASSWD, &passwd,
					  NULL); /* without it, what the environment says */
		immure_facts_gather_places(f, env, passwd);
	}
	if (!f || f->arena.failed) {
		immure_facts_destroy(f);
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "facts", "", "facts: out of memory");
	}
	*ret = f;
	return 0;
}

void immure_facts_destroy(struct immure_facts *f)
{
	if (!f)
		return;
	immure_arena_done(&f->arena);
	free(f);
}
