/* SPDX-License-Identifier: Apache-2.0 */
/* git has dozens of variables that name programs, and more with each release.
 * So what a new or fetched-into repository needs is listed here, and everything
 * else counts as dangerous, and so does a line in any form but the plain ones
 * that git itself writes. */
#include "session/gitconfig.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

struct variable {
	const char *section, *name; /* in lower case; name NULL: any */
	const char *value;          /* NULL: any; else exactly this, or A_URL */
};

/* Compared by address: a place that git reaches by itself. */
static const char A_URL[] = "URL";

static const struct variable harmless[] = {
	{ "core", "repositoryformatversion", NULL },
	{ "core", "filemode", NULL },
	{ "core", "bare", NULL },
	{ "core", "logallrefupdates", NULL },
	{ "core", "ignorecase", NULL },
	{ "core", "precomposeunicode", NULL },
	{ "core", "symlinks", NULL },
	{ "core", "autocrlf", NULL },
	{ "core", "safecrlf", NULL },
	{ "core", "eol", NULL },
	{ "core", "sparsecheckout", NULL },
	{ "core", "sparsecheckoutcone", NULL },
	{ "core", "sharedrepository", NULL },
	{ "core", "abbrev", NULL },
	{ "core", "quotepath", NULL },
	{ "core", "untrackedcache", NULL },
	{ "core", "commitgraph", NULL },
	{ "core", "fsmonitor", "false" },
	{ "extensions", "objectformat", NULL },
	{ "extensions", "refstorage", NULL },
	{ "extensions", "partialclone", NULL },
	{ "remote", "url", A_URL },
	{ "remote", "pushurl", A_URL },
	{ "remote", "fetch", NULL },
	{ "remote", "push", NULL },
	{ "remote", "tagopt", NULL },
	{ "remote", "prune", NULL },
	{ "remote", "mirror", NULL },
	{ "remote", "promisor", NULL },
	{ "remote", "partialclonefilter", NULL },
	{ "branch", "remote", A_URL }, /* a name, or a place */
	{ "branch", "merge", NULL },
	{ "branch", "rebase", NULL },
	{ "branch", "description", NULL },
	{ "branch", "pushremote", A_URL },
	{ "branch", "autosetuprebase", NULL },
	{ "branch", "autosetupmerge", NULL },
	{ "submodule", "url", A_URL },
	{ "submodule", "active", NULL },
	{ "submodule", "branch", NULL },
	{ "user", "name", NULL },
	{ "user", "email", NULL },
	{ "init", "defaultbranch", NULL },
	{ "pull", "rebase", NULL },
	{ "pull", "ff", NULL },
	{ "push", "default", NULL },
	{ "push", "autosetupremote", NULL },
	{ "merge", "conflictstyle", NULL },
	{ "merge", "ff", NULL },
	{ "rebase", "autosquash", NULL },
	{ "rebase", "autostash", NULL },
	{ "fetch", "prune", NULL },
	{ "gc", "auto", NULL },
	{ "index", "version", NULL },
	{ "advice", NULL, NULL },
	{ "color", NULL, NULL },
	{ "commit", "gpgsign", "false" },
	{ "tag", "gpgsign", "false" },
	/* what git-lfs installs: a program of the host's own PATH */
	{ "lfs", "repositoryformatversion", NULL },
	{ "filter", "clean", "git-lfs clean -- %f" },
	{ "filter", "smudge", "git-lfs smudge -- %f" },
	{ "filter", "process", "git-lfs filter-process" },
	{ "filter", "required", "true" },
};

struct text {
	const char *p;
	size_t n;
};

static struct text trim(struct text t)
{
	while (t.n && (*t.p == ' ' || *t.p == '\t')) {
		t.p++;
		t.n--;
	}
	while (t.n && strchr(" \t\r", t.p[t.n - 1]))
		t.n--;
	return t;
}

static bool is(struct text t, const char *word)
{
	size_t n = strlen(word);

	if (t.n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (tolower((unsigned char)t.p[i]) != word[i])
			return false;
	return true;
}

static bool is_name(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (!isalnum((unsigned char)t.p[i]) && t.p[i] != '-')
			return false;
	return t.n > 0;
}

/* [section] or [section "sub"], and nothing behind it. */
static bool section_of(struct text line, struct text *ret)
{
	struct text s;
	size_t n = 1;

	while (n < line.n && (isalnum((unsigned char)line.p[n]) || line.p[n] == '-'))
		n++;
	s = (struct text){ line.p + 1, n - 1 };
	if (n == line.n || s.n == 0)
		return false;
	if (line.p[n] == ' ') {
		if (++n == line.n || line.p[n++] != '"')
			return false;
		while (n < line.n && line.p[n] != '"') {
			if (line.p[n] == '\\')
				return false;
			n++;
		}
		if (n++ >= line.n)
			return false;
	}
	if (n + 1 != line.n || line.p[n] != ']')
		return false;
	*ret = s;
	return true;
}

/* Relative, up no further than the watched tree reaches, and down after that. */
static bool worktree_within(struct text value, size_t depth)
{
	size_t up = 0, i = 0;

	if (value.n == 0 || value.p[0] == '/' || value.p[0] == '~')
		return false;
	while (value.n - i >= 3 && memcmp(value.p + i, "../", 3) == 0) {
		up++;
		i += 3;
	}
	if (up > depth)
		return false;
	for (; i + 1 < value.n; i++)
		if (value.p[i] == '.' && value.p[i + 1] == '.')
			return false;
	return true;
}

/* For "foo://" and "foo::" git runs git-remote-foo, and what starts with a dash
 * is an option to the program that is run. */
static bool place_harmless(struct text value)
{
	static const char *const schemes[] = { "https", "http", "ssh", "git", "file", "git+ssh",
					       "ftp",	"ftps" };
	size_t n = 0;

	if (value.n == 0 || value.p[0] == '-')
		return false;
	while (n < value.n && (isalnum((unsigned char)value.p[n]) || strchr("+-._", value.p[n])))
		n++;
	if (value.n - n >= 2 && value.p[n] == ':' && value.p[n + 1] == ':')
		return false;
	if (value.n - n < 3 || memcmp(value.p + n, "://", 3) != 0)
		return true; /* a path, a name, or host:path */
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (is((struct text){ value.p, n }, schemes[i]))
			/* ssh://-oProxyCommand=... is an option as well */
			return value.n > n + 3 && value.p[n + 3] != '-';
	return false;
}

static bool variable_harmless(struct text section, struct text name, struct text value,
			      size_t depth)
{
	if (!is_name(name))
		return false;
	if (value.n && (memchr(value.p, '\\', value.n) || memchr(value.p, '"', value.n)))
		return false; /* continued lines, and whatever else quoting hides */
	if (is(section, "core") && is(name, "worktree"))
		return worktree_within(value, depth);
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		const struct variable *v = &harmless[i];

		if (is(section, v->section) && (!v->name || is(name, v->name)))
			return v->value == A_URL ? place_harmless(value) :
			       !v->value || (value.n == strlen(v->value) &&
					     memcmp(value.p, v->value, value.n) == 0);
	}
	return false;
}

bool immure_gitconfig_harmless(const char *text, size_t len, size_t depth)
{
	struct text section = { "", 0 };

	if (memchr(text, '\0', len))
		return false;
	for (const char *end = text + len, *nl; text < end; text = nl + (nl < end)) {
		struct text line, name, value = { "", 0 };
		const char *eq;

		nl = memchr(text, '\n', (size_t)(end - text));
		if (!nl)
			nl = end;
		line = trim((struct text){ text, (size_t)(nl - text) });
		if (line.n == 0)
			continue;
		if (*line.p == '#' || *line.p == ';') {
			if (line.p[line.n - 1] == '\\')
				return false;
			continue;
		}
		if (*line.p == '[') {
			if (!section_of(line, &section))
				return false;
			continue;
		}
		eq = memchr(line.p, '=', line.n);
		name = trim((struct text){ line.p, eq ? (size_t)(eq - line.p) : line.n });
		if (eq)
			value = trim((struct text){ eq + 1, (size_t)(line.p + line.n - eq - 1) });
		if (section.n == 0 || !variable_harmless(section, name, value, depth))
			return false;
	}
	return true;
}

bool immure_gitcommon_harmless(int dir)
{
	static const char *const parts[] = { "HEAD", "objects", "refs" };
	IMMURE_CLEANUP_FD int fd = openat(dir, "commondir", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	IMMURE_CLEANUP_FD int target = openat(dir, "../..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char text[8];
	struct stat st;
	ssize_t n;

	if (fd < 0 || target < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	n = read(fd, text, sizeof(text));
	if (n < 5 || n > 6 || memcmp(text, "../..\n", (size_t)n) != 0)
		return false;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (fstatat(target, parts[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return false;
	return true;
}
