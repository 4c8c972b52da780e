/* SPDX-License-Identifier: Apache-2.0 */
/* shell_environment_policy of Codex. There: everything of the caller's, then
 * names with KEY, SECRET or TOKEN taken out, then `exclude`, then `set`, then only
 * `include_only`. Patterns are globs in any case of letters. Ours are names and
 * prefixes, so a pattern that is neither gives nothing. */
#include <fnmatch.h>
#include <string.h>
#include <strings.h>

#include "policy/import/import.h"

#define NAME "shell_environment_policy"

static const char *const core[] = { "HOME", "LOGNAME", "PATH", "SHELL", "USER", "USERNAME",
				    "TMPDIR", "TEMP", "TMP", NULL };
static const char *const secret_words[] = { "KEY", "SECRET", "TOKEN", NULL };

/* Whether a name that matches ours could match theirs: for a prefix of ours said
 * too often rather than too seldom. */
static bool may_overlap(const char *ours, const char *theirs)
{
	size_t a = strcspn(ours, "*"), b = strcspn(theirs, "*?[");

	if (!ours[a])
		return fnmatch(theirs, ours, FNM_CASEFOLD) == 0;
	return strncasecmp(ours, theirs, a < b ? a : b) == 0 && (theirs[b] || a <= b);
}

static bool excluded(const struct immure_tree *patterns, const char *name)
{
	for (const struct immure_tree *e = patterns ? patterns->first : NULL; e; e = e->next)
		if (!immure_tree_string(e) || may_overlap(name, e->text))
			return true;
	return false;
}

static bool looks_secret(const char *name)
{
	for (const char *const *w = secret_words; *w; w++)
		for (const char *p = name; *p; p++)
			if (strncasecmp(p, *w, strlen(*w)) == 0)
				return true;
	return strchr(name, '*') != NULL; /* a prefix covers such names as well */
}

static bool included(const struct immure_tree *only, const char *name)
{
	if (!only || !only->first)
		return true;
	for (const struct immure_tree *e = only->first; e; e = e->next) {
		const char *p = immure_tree_string(e);
		size_t head = p ? strcspn(p, "*?[") : 0;

		if (!p)
			continue;
		if (!p[head] && strcasecmp(p, name) == 0)
			return true;
		if (p[head] == '*' && !p[head + 1] && strncasecmp(p, name, head) == 0)
			return true;
	}
	return false;
}

static void set(struct immure_import *im, const struct immure_tree *t)
{
	for (const struct immure_tree *e = t && t->type == IMMURE_TREE_TABLE ? t->first : NULL; e;
	     e = e->next) {
		if (immure_tree_string(e))
			immure_import_put(im, "environment.set",
					  immure_arena_printf(im->a, "%s=%s", e->key, e->text), false,
					  e->line, NAME ".set");
		else
			immure_import_note(im, IMMURE_IMPORT_DROPPED, e->line, NAME ".set",
					   "%.100s: expected a string", e->key);
	}
}

/* Names and prefixes of include_only, when everything is inherited. */
static void pass_only(struct immure_import *im, const struct immure_tree *p, bool keep_secrets)
{
	const struct immure_tree *only = immure_tree_get(p, "include_only");

	for (const struct immure_tree *e = only->first; e; e = e->next) {
		const char *name = immure_tree_string(e);

		if (!name || excluded(immure_tree_get(p, "exclude"), name))
			continue;
		if (!keep_secrets && looks_secret(name))
			immure_import_note(im, IMMURE_IMPORT_TIGHTENED, e->line, NAME ".include_only",
					   "%.60s: left out, it could be a secret", name);
		else
			immure_import_replace(im, "environment.pass", name, e->line,
					      NAME ".include_only");
	}
}

/* What the list holds already, less what theirs takes away. */
static void pass_less(struct immure_import *im, const struct immure_tree *p,
		      const char *const *names, size_t names_n, size_t line)
{
	for (size_t i = 0; i < names_n && names[i]; i++)
		if (!excluded(immure_tree_get(p, "exclude"), names[i]) &&
		    included(immure_tree_get(p, "include_only"), names[i]))
			immure_import_replace(im, "environment.pass", names[i], line, NAME);
}

void immure_import_codex_env(struct immure_import *im, const struct immure_tree *p)
{
	static const struct immure_import_known known[] = {
		{ "inherit", 0, NULL }, { "exclude", 0, NULL }, { "include_only", 0, NULL },
		{ "set", 0, NULL }, { "ignore_default_excludes", 0, NULL },
		{ "experimental_use_profile", IMMURE_IMPORT_DROPPED, "about the agent's shell" },
		{ NULL, 0, NULL },
	};
	const struct immure_tree *inherit = immure_tree_get(p, "inherit");
	const struct immure_tree *only = immure_tree_get(p, "include_only");
	const char *word = immure_tree_string(inherit);
	struct immure_strv profile = im->build.p->env_pass; /* as it was: a copy of the list's head */
	bool chosen = true;

	if (!p)
		return;
	if (word && strcmp(word, "none") == 0) {
		; /* nothing */
	} else if (word && strcmp(word, "core") == 0) {
		pass_less(im, p, core, sizeof(core) / sizeof(core[0]), inherit->line);
	} else if (only && only->first) {
		pass_only(im, p, immure_tree_is(immure_tree_get(p, "ignore_default_excludes"), true));
	} else {
		chosen = immure_tree_get(p, "exclude") != NULL;
		if (chosen)
			pass_less(im, p, profile.v, profile.n, p->line);
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, p->line, NAME,
				   "not every variable is inherited, only harmless ones");
	}
	/* Nothing left is not the same as nothing said. */
	if (chosen && !immure_import_has(im, "environment.pass", NULL))
		immure_import_replace(im, "environment.pass", NULL, p->line, NAME);
	set(im, immure_tree_get(p, "set"));
	immure_import_rest(im, p, NAME ".", known, IMMURE_IMPORT_LOST,
			   "a setting that this version does not know");
}
