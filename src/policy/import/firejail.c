/* SPDX-License-Identifier: Apache-2.0 */
/* A .profile of firejail: one command a line. Files that it includes are not
 * followed: each is a note, since what they restrict is then not in the result. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "policy/import/firejail.h"

/* ---- places ---- */

/* ${HOME}/x and ~/x; NULL for other macros and for patterns. */
static const char *place(struct immure_import *im, const char *arg)
{
	const char *path = arg;

	if (strncmp(arg, "${HOME}", 7) == 0)
		path = immure_arena_printf(im->a, "~%s", arg + 7);
	if (strncmp(arg, "${CFG}", 6) == 0)
		path = immure_arena_printf(im->a, "/etc/firejail%s", arg + 6);
	if (!path || strstr(path, "${") || (path[0] != '/' && path[0] != '~'))
		return NULL;
	return immure_import_unglob(im->a, path);
}

static bool is_run(const char *arg)
{
	return strncmp(arg, "${RUNUSER}", 10) == 0 || strncmp(arg, "/run/", 5) == 0 ||
	       strncmp(arg, "/var/run/", 9) == 0 || strncmp(arg, "/tmp/", 5) == 0;
}

static void no_place(struct immure_firejail *f, int32_t kind)
{
	immure_import_note(f->im, kind, f->line, f->word,
			   "%.100s: patterns and macros other than ${HOME} are not followed", f->arg);
}

/* ${PATH}/x: a program in any of the usual directories. */
static void deny_program(struct immure_firejail *f, const char *name)
{
	static const char *const dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
					    "/usr/bin", "/sbin", "/bin" };

	if (strpbrk(name, "*?[{/$")) {
		no_place(f, IMMURE_IMPORT_LOST);
		return;
	}
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		immure_import_put(f->im, "files.deny",
				  immure_arena_printf(f->im->a, "%s/%s", dirs[i], name), true, f->line,
				  f->word);
}

static void blacklist(struct immure_firejail *f)
{
	const char *path = place(f->im, f->arg);

	if (strncmp(f->arg, "${PATH}/", 8) == 0)
		deny_program(f, f->arg + 8);
	else if (is_run(f->arg))
		immure_import_note(f->im, IMMURE_IMPORT_MOOT, f->line, f->word,
				   "%.100s: what the host has there is hidden", f->arg);
	else if (path)
		immure_import_put(f->im, "files.deny", path, true, f->line, f->word);
	else
		no_place(f, IMMURE_IMPORT_LOST);
}

static void empty_home(struct immure_firejail *f)
{
	immure_import_put(f->im, "files.home", "empty", true, f->line, f->word);
}

static void whitelist(struct immure_firejail *f)
{
	const char *path = place(f->im, f->arg);
	bool home = path && path[0] == '~', ro = strcmp(f->word, "whitelist-ro") == 0;

	if (home)
		empty_home(f);
	if (is_run(f->arg))
		immure_import_note(f->im, IMMURE_IMPORT_DROPPED, f->line, f->word,
				   "%.100s: what the host has there stays hidden", f->arg);
	else if (!path)
		no_place(f, IMMURE_IMPORT_LOST); /* it would have hidden all the rest */
	else if (home && strcmp(path, "~") != 0)
		immure_import_put(f->im, ro ? "files.read" : "files.write", path, false, f->line, f->word);
	else if (!home)
		immure_import_note(f->im, IMMURE_IMPORT_LOST, f->line, f->word,
				   "%.100s: what lies beside it is not hidden", f->arg);
}

static void read_only(struct immure_firejail *f)
{
	const char *path = place(f->im, f->arg);

	if (!path)
		no_place(f, IMMURE_IMPORT_LOST);
	else if (strcmp(path, "/") == 0 || strcmp(path, "~") == 0)
		immure_import_note(f->im, IMMURE_IMPORT_MOOT, f->line, f->word,
				   "read-only except for what files.write names");
	else
		immure_import_put(f->im, "files.protect", path, true, f->line, f->word);
}

static void read_write(struct immure_firejail *f)
{
	const char *path = place(f->im, f->arg);

	if (!path)
		no_place(f, IMMURE_IMPORT_DROPPED);
	else if (strcmp(path, "/") == 0 || strcmp(path, "~") == 0)
		immure_import_note(f->im, IMMURE_IMPORT_TIGHTENED, f->line, f->word,
				   "not made writable as a whole");
	else
		immure_import_put(f->im, "files.write", path, false, f->line, f->word);
}

static void private_place(struct immure_firejail *f)
{
	const char *path = place(f->im, *f->arg ? f->arg : "${HOME}/.cache");

	if (path)
		immure_import_put(f->im, "files.tmp", path, true, f->line, f->word);
	else
		no_place(f, IMMURE_IMPORT_LOST);
}

static void private_home(struct immure_firejail *f)
{
	char *list = immure_arena_strdup(f->im->a, f->arg), *save = NULL;

	empty_home(f);
	if (strcmp(f->word, "private") == 0 && *f->arg)
		immure_import_note(f->im, IMMURE_IMPORT_TIGHTENED, f->line, f->word,
				   "%.100s does not become the home; home is empty", f->arg);
	if (strcmp(f->word, "private-home") != 0 || !list)
		return;
	for (char *one = strtok_r(list, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
		const char *path = immure_import_unglob(f->im->a,
							immure_arena_printf(f->im->a, "~/%s", one));

		if (path)
			immure_import_put(f->im, "files.read", path, false, f->line, f->word);
	}
	immure_import_note(f->im, IMMURE_IMPORT_TIGHTENED, f->line, f->word,
			   "the files themselves, read-only, where firejail has writable copies");
}

static void disable_mnt(struct immure_firejail *f)
{
	immure_import_put(f->im, "files.deny", "/mnt", true, f->line, f->word);
	immure_import_put(f->im, "files.deny", "/media", true, f->line, f->word);
}

/* ---- network ---- */

static void net(struct immure_firejail *f)
{
	f->net_said = true;
	if (strcmp(f->arg, "none") == 0)
		immure_import_put(f->im, "network.mode", "none", true, f->line, f->word);
	else
		immure_import_note(f->im, IMMURE_IMPORT_TIGHTENED, f->line, f->word,
				   "no network here; name hosts in network.allow");
}

/* ---- limits and environment ---- */

static void number(struct immure_firejail *f, const char *key, const char *suffix)
{
	immure_import_put(f->im, key, immure_arena_printf(f->im->a, "%s%s", f->arg, suffix), true,
			  f->line, f->word);
}

static void limit(struct immure_firejail *f)
{
	static const struct {
		const char *word, *key, *suffix;
	} limits[] = {
		{ "rlimit-as", "limits.memory", "" },      { "rlimit-cpu", "limits.cpu_time", "s" },
		{ "rlimit-fsize", "limits.file_size", "" }, { "rlimit-nproc", "limits.processes", "" },
		{ "rlimit-nofile", "limits.open_files", "" },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (strcmp(limits[i].word, f->word) == 0)
			number(f, limits[i].key, limits[i].suffix);
}

static void cpu(struct immure_firejail *f)
{
	size_t n = 1;

	if (!*f->arg || strspn(f->arg, "0123456789,") != strlen(f->arg)) {
		immure_import_note(f->im, IMMURE_IMPORT_LOST, f->line, f->word, "%.60s: no list of CPUs",
				   f->arg);
		return;
	}
	for (const char *p = f->arg; *p; p++)
		n += *p == ',';
	immure_import_put(f->im, "limits.cpus", immure_arena_printf(f->im->a, "%zu", n), true, f->line,
			  f->word);
}

static void timeout(struct immure_firejail *f)
{
	unsigned int h, m, s;
	char rest;

	if (sscanf(f->arg, "%4u:%2u:%2u%c", &h, &m, &s, &rest) != 3 || m > 59 || s > 59)
		immure_import_note(f->im, IMMURE_IMPORT_LOST, f->line, f->word, "%.60s: not hh:mm:ss",
				   f->arg);
	else
		immure_import_put(f->im, "limits.wall_time",
				  immure_arena_printf(f->im->a, "%us", h * 3600 + m * 60 + s), true,
				  f->line, f->word);
}

static void environment(struct immure_firejail *f)
{
	immure_import_put(f->im, "environment.set", f->arg, false, f->line, f->word);
}

static void rmenv(struct immure_firejail *f)
{
	if (immure_import_passes(f->im, f->arg))
		immure_import_note(f->im, IMMURE_IMPORT_LOST, f->line, f->word,
				   "%.100s is handed through by the profile; set environment.pass "
				   "without it", f->arg);
	else
		immure_import_note(f->im, IMMURE_IMPORT_MOOT, f->line, f->word,
				   "%.100s is not handed through", f->arg);
}

/* ---- what else there is ---- */

static void include(struct immure_firejail *f)
{
	immure_import_note(f->im, IMMURE_IMPORT_LOST, f->line, f->word,
			   "%.100s is not followed: import it as well, or put its lines here", f->arg);
}

static void caps(struct immure_firejail *f)
{
	immure_import_note(f->im, IMMURE_IMPORT_MOOT, f->line, f->word, "no capability is left");
}

static void protocol(struct immure_firejail *f)
{
	bool inet = strstr(f->arg, "inet") != NULL;

	immure_import_note(f->im, inet ? IMMURE_IMPORT_MOOT : IMMURE_IMPORT_LOST, f->line, f->word,
			   inet ? "unix, inet, inet6 and netlink alone, whatever is named" :
				  "inet sockets can be made, but reach nothing without network.mode");
}

static void seccomp_list(struct immure_firejail *f)
{
	if (!*f->arg)
		immure_import_note(f->im, IMMURE_IMPORT_MOOT, f->line, f->word,
				   "a filter is always there (syscalls)");
	else
		immure_import_note(f->im, IMMURE_IMPORT_LOST, f->line, f->word,
				   "system calls by name: write a filter and name it in syscalls");
}

const struct immure_firejail_action immure_firejail_actions[] = {
	{ "blacklist", blacklist }, { "blacklist-nolog", blacklist },
	{ "whitelist", whitelist }, { "whitelist-ro", whitelist },
	{ "read-only", read_only }, { "read-write", read_write },
	{ "tmpfs", private_place }, { "private-cache", private_place },
	{ "private", private_home }, { "private-home", private_home },
	{ "disable-mnt", disable_mnt }, { "net", net },
	{ "rlimit-as", limit }, { "rlimit-cpu", limit }, { "rlimit-fsize", limit },
	{ "rlimit-nproc", limit }, { "rlimit-nofile", limit }, { "cpu", cpu },
	{ "timeout", timeout }, { "env", environment }, { "rmenv", rmenv },
	{ "include", include }, { "caps", caps }, { "caps.drop", caps }, { "caps.keep", caps },
	{ "protocol", protocol },
	{ "seccomp", seccomp_list }, { "seccomp.drop", seccomp_list }, { "seccomp.keep", seccomp_list },
	{ NULL, NULL },
};

static void line(struct immure_firejail *f, char *text)
{
	const struct immure_firejail_action *a = immure_firejail_actions;
	const struct immure_firejail_word *w = immure_firejail_words;
	size_t n = strcspn(text, " \t");

	if (text[0] == '?') {
		immure_import_note(f->im, IMMURE_IMPORT_LOST, f->line, text,
				   "conditions are not looked at");
		return;
	}
	f->word = immure_arena_strndup(f->im->a, text, n);
	f->arg = text + n + strspn(text + n, " \t");
	if (!f->word)
		return;
	while (a->word && strcmp(a->word, f->word) != 0)
		a++;
	if (a->word) {
		a->act(f);
		return;
	}
	while (w->word && !(w->prefix ? strncmp(f->word, w->word, strlen(w->word)) == 0 :
					strcmp(f->word, w->word) == 0))
		w++;
	if (w->word)
		immure_import_note(f->im, w->kind, f->line, f->word, "%s", w->why);
	else
		immure_import_note(f->im, IMMURE_IMPORT_LOST, f->line, f->word,
				   "a command that this version does not know");
}

enum { LINE_MAX_BYTES = 4096 };

int32_t immure_import_firejail(struct immure_import *im, const char *text, size_t len,
			       struct immure_error **err)
{
	struct immure_firejail f = { .im = im, .word = "", .arg = "" };
	size_t lines = 0;

	for (const char *p = text, *end = text + len; p < end;) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((newline ? newline : end) - p);
		char *copy;

		f.line++;
		if (n > LINE_MAX_BYTES || memchr(p, '\0', n))
			return immure_fail(err, IMMURE_ERR_POLICY, 0, "import", im->file,
					   "%s:%zu: %s", im->file, f.line,
					   n > LINE_MAX_BYTES ? "a line that is too long" : "a NUL byte");
		while (n && strchr(" \t\r", p[n - 1]))
			n--;
		for (; n && (*p == ' ' || *p == '\t'); n--)
			p++;
		copy = immure_arena_strndup(im->a, p, n);
		if (!copy)
			return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "import", "", "out of memory");
		if (n && copy[0] != '#' && ++lines <= IMMURE_TREE_NODES_MAX)
			line(&f, copy);
		p = newline ? newline + 1 : end;
	}
	if (lines > IMMURE_TREE_NODES_MAX)
		return immure_fail(err, IMMURE_ERR_POLICY, E2BIG, "import", im->file,
				   "%s: too many lines", im->file);
	immure_import_settle(im, false);
	immure_import_put(im, "network.mode", "none", true, 0, "the default of immure");
	if (!f.net_said)
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, 0, "net",
				   "firejail gives the host's network when nothing is said; here none");
	return 0;
}
