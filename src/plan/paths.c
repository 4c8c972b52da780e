/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as policies write them, and the fixed lists of system paths. */
#include <string.h>

#include "base/path.h"
#include "plan/compile.h"

/* A system view is made of these; what is a symlink on the host (a merged
 * /usr) is a symlink inside. */
const char *const immure_system_dirs[] = {
	"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32", "/opt", NULL,
};

/* What programs read in /etc in order to run at all. Each is a mount, so the
 * list is short; nothing here names the host's accounts, network or services:
 * those files are written by us (view.c). */
const char *const immure_system_etc[] = {
	"/etc/alternatives", "/etc/crypto-policies", "/etc/fonts", "/etc/java-11-openjdk",
	"/etc/java-17-openjdk", "/etc/java-21-openjdk", "/etc/ld-musl-aarch64.path",
	"/etc/ld-musl-x86_64.path", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
	"/etc/localtime", "/etc/mime.types", "/etc/os-release", "/etc/pki", "/etc/protocols",
	"/etc/services", "/etc/ssl", NULL,
};

const char *immure_compile_join(struct immure_arena *a, const char *dir, const char *name)
{
	size_t n = strlen(dir), m = strlen(name);
	char *p;

	if (n == 1)
		n = 0; /* "/" */
	p = immure_arena_alloc(a, n + m + 2);
	if (!p)
		return NULL;
	memcpy(p, dir, n);
	p[n] = '/';
	memcpy(p + n + 1, name, m);
	return p;
}

const char *immure_compile_workspace(struct immure_arena *a, const struct immure_policy *p,
				   const struct immure_facts *f)
{
	const char *w = p->workspace ? p->workspace : ".";

	if (strcmp(w, ".") == 0)
		return f->cwd;
	if (w[0] == '~' && (w[1] == '/' || w[1] == '\0')) {
		if (!f->home)
			return NULL;
		w = w[1] ? immure_compile_join(a, f->home, w + 2) : f->home;
	} else if (w[0] != '/') {
		w = f->cwd ? immure_compile_join(a, f->cwd, w) : NULL;
	}
	return w ? immure_path_normalize(a, w) : NULL;
}

const char *immure_compile_path(struct immure_arena *a, const struct immure_policy *p,
			      const struct immure_facts *f, const char *text)
{
	const char *s = text + (text[0] == '?'); /* files.write: may be missing */

	if (s[0] == '~' && (s[1] == '/' || s[1] == '\0')) {
		if (!f->home)
			return NULL;
		s = s[1] ? immure_compile_join(a, f->home, s + 2) : f->home;
	} else if (s[0] != '/') {
		const char *w = immure_compile_workspace(a, p, f);

		s = w ? immure_compile_join(a, w, s) : NULL;
	}
	if (!s)
		return NULL;
	return immure_path_is_normal(s) ? s : immure_path_normalize(a, s);
}

bool immure_compile_awaits(const struct immure_compile *b, const char *text)
{
	const char *s = text + (text[0] == '?');

	return b->cmd && b->cmd->no_workspace && s[0] != '/' && !(s[0] == '~' && (s[1] == '/' || !s[1]));
}

bool immure_compile_vanishes(const struct immure_policy *p, const char *path)
{
	static const char *const always[] = { "/run", "/dev", "/proc", NULL };

	for (size_t i = 0; always[i]; i++)
		if (immure_path_is_under(path, always[i]))
			return true;
	for (size_t i = 0; i < p->tmp.n; i++)
		if (p->tmp.v[i][0] == '/' && immure_path_is_normal(p->tmp.v[i]) &&
		    immure_path_is_under(path, p->tmp.v[i]))
			return true;
	return false;
}

const char *immure_compile_in_home(const char *home, const char *root, const char *entry)
{
	size_t n;

	if (!home || strcmp(home, "/") == 0 || strcmp(home, root) == 0 ||
	    !immure_path_is_under(root, home))
		return NULL;
	root += strlen(home) + 1;
	n = strlen(root);
	return strncmp(entry, root, n) == 0 && entry[n] == '/' ? entry + n + 1 : NULL;
}
