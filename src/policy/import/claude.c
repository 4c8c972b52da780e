/* SPDX-License-Identifier: Apache-2.0 */
/* settings.json of Claude Code: `permissions`, `sandbox` and `env`. The rest is
 * about the agent and not about what its commands may do. */
#include <errno.h>
#include <string.h>

#include "policy/import/import.h"

enum verdict { ALLOW, DENY, ASK };

/* Their paths: //x is absolute, ~/x in the home, /x and x in the project. */
static const char *rule_path(struct immure_import *im, const char *spec)
{
	const char *path = immure_import_unglob(im->a, spec);

	if (path && path[0] == '/' && path[1] == '/')
		return path + 1;
	if (path && path[0] == '/')
		return path[1] ? path + 1 : ".";
	if (path && strncmp(path, "./", 2) == 0)
		return path[2] ? path + 2 : ".";
	return path;
}

static bool is_tool(const char *rule, size_t n, const char *const *names)
{
	for (; *names; names++)
		if (strlen(*names) == n && memcmp(rule, *names, n) == 0)
			return true;
	return false;
}

static const char *const readers[] = { "Read", "Grep", "Glob", "LS", NULL };
static const char *const writers[] = { "Edit", "Write", "MultiEdit", "NotebookEdit", NULL };

struct rule {
	enum verdict verdict;
	const char *text, *name; /* "permissions.deny" */
	size_t line;
};

static void lost(struct immure_import *im, const struct rule *r, const char *why)
{
	immure_import_note(im, r->verdict == DENY ? IMMURE_IMPORT_LOST : IMMURE_IMPORT_DROPPED, r->line,
			   r->name, "%.120s: %s", r->text, why);
}

static void read_rule(struct immure_import *im, const struct rule *r, const char *spec)
{
	const char *path = spec ? rule_path(im, spec) : NULL;

	if (!path)
		lost(im, r, spec ? "patterns are no rules, only paths" : "without a path");
	else if (r->verdict == DENY)
		immure_import_put(im, "files.deny", path, true, r->line, r->name);
	else if (path[0] == '/' || path[0] == '~')
		immure_import_put(im, "files.read", path, false, r->line, r->name);
}

static void write_rule(struct immure_import *im, const struct rule *r, const char *spec)
{
	const char *path = spec ? rule_path(im, spec) : NULL;

	if (!path && spec) {
		lost(im, r, "patterns are no rules, only paths");
	} else if (r->verdict == DENY && (!path || strcmp(path, ".") == 0)) {
		immure_import_put(im, "workspace.mode", "ro", true, r->line, r->name);
	} else if (r->verdict == DENY) {
		immure_import_take_back(im, path, r->line, r->name);
		immure_import_put(im, "files.protect", path, true, r->line, r->name);
	} else if (!path || strcmp(path, "/") == 0 || strcmp(path, "~") == 0) {
		lost(im, r, "not made writable as a whole");
	} else if (path[0] == '/' || path[0] == '~') {
		immure_import_put(im, "files.write", path, false, r->line, r->name);
	}
}

static void fetch_rule(struct immure_import *im, const struct rule *r, const char *spec)
{
	if (!spec || strncmp(spec, "domain:", 7) != 0)
		lost(im, r, "names no domain");
	else
		immure_import_host(im, spec + 7, r->verdict == DENY, r->line, r->name);
}

static void rule(struct immure_import *im, const struct rule *r)
{
	size_t n = strcspn(r->text, "("), len = strlen(r->text);
	const char *spec = NULL;

	if (r->text[n] && (r->text[len - 1] != ')' || len - n < 3)) {
		lost(im, r, "not of the form Tool(WHAT)");
		return;
	}
	if (r->text[n]) {
		spec = immure_arena_strndup(im->a, r->text + n + 1, len - n - 2);
		if (!spec)
			return;
	}
	if (r->verdict == ASK)
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, r->line, r->name,
				   "%.120s: nobody is asked; not allowed by this", r->text);
	else if (is_tool(r->text, n, readers))
		read_rule(im, r, spec);
	else if (is_tool(r->text, n, writers))
		write_rule(im, r, spec);
	else if (n == 8 && memcmp(r->text, "WebFetch", 8) == 0)
		fetch_rule(im, r, spec);
	else if (n == 4 && memcmp(r->text, "Bash", 4) == 0)
		lost(im, r, "which commands are started is the agent's matter; what they can do is "
		     "this policy's");
	else
		lost(im, r, "about a tool of the agent, not about its commands");
}

static void rules(struct immure_import *im, const struct immure_tree *permissions, const char *which,
		  enum verdict verdict)
{
	const struct immure_tree *list = immure_tree_get(permissions, which);
	const char *name = immure_import_name(im, "permissions.", which);

	for (const struct immure_tree *e = list ? list->first : NULL; e; e = e->next) {
		struct rule r = { verdict, immure_tree_string(e), name, e->line };

		if (r.text && *r.text)
			rule(im, &r);
		else
			immure_import_note(im, verdict == DENY ? IMMURE_IMPORT_LOST :
								 IMMURE_IMPORT_DROPPED,
					   e->line, name, "expected a rule");
	}
}

static void permissions(struct immure_import *im, const struct immure_tree *p)
{
	static const struct immure_import_known known[] = {
		{ "allow", 0, NULL }, { "deny", 0, NULL }, { "ask", 0, NULL },
		{ "additionalDirectories", 0, NULL }, { "defaultMode", 0, NULL },
		{ "disableBypassPermissionsMode", IMMURE_IMPORT_MOOT, "nothing bypasses the policy" },
		{ "disableAutoMode", IMMURE_IMPORT_DROPPED, "about the agent" },
		{ NULL, 0, NULL },
	};
	const struct immure_tree *dirs = immure_tree_get(p, "additionalDirectories");
	const struct immure_tree *mode = immure_tree_get(p, "defaultMode");
	const char *word = immure_tree_string(mode);

	for (const struct immure_tree *e = dirs ? dirs->first : NULL; e; e = e->next)
		if (immure_tree_string(e))
			immure_import_put(im, "files.write", e->text, false, e->line,
					  "permissions.additionalDirectories");
	rules(im, p, "allow", ALLOW);
	rules(im, p, "ask", ASK);
	rules(im, p, "deny", DENY);
	if (word && strcmp(word, "plan") == 0)
		immure_import_put(im, "workspace.mode", "ro", true, mode->line,
				  "permissions.defaultMode");
	else if (mode)
		immure_import_note(im, IMMURE_IMPORT_DROPPED, mode->line, "permissions.defaultMode",
				   "when the agent asks is its own matter");
	immure_import_rest(im, p, "permissions.", known, IMMURE_IMPORT_LOST,
			   "a setting that this version does not know");
}

static void sandbox(struct immure_import *im, const struct immure_tree *s)
{
	static const struct immure_import_known known[] = {
		{ "network", 0, NULL }, { "filesystem", 0, NULL },
		{ "enabled", IMMURE_IMPORT_MOOT, "commands are sealed in, always" },
		{ "failIfUnavailable", IMMURE_IMPORT_MOOT, "what cannot be enforced refuses, always" },
		{ "autoAllowBashIfSandboxed", IMMURE_IMPORT_DROPPED, "when the agent asks is its own matter" },
		{ "allowUnsandboxedCommands", IMMURE_IMPORT_TIGHTENED, "nothing runs outside by this policy" },
		{ "excludedCommands", IMMURE_IMPORT_TIGHTENED, "no command is an exception" },
		{ "enableWeakerNestedSandbox", IMMURE_IMPORT_TIGHTENED, "never weaker than the plan says" },
		{ "enableWeakerNetworkIsolation", IMMURE_IMPORT_TIGHTENED, "macOS only, and not weaker here" },
		{ "ignoreViolations", IMMURE_IMPORT_DROPPED, "about reports, not about rules" },
		{ "ripgrep", IMMURE_IMPORT_DROPPED, "no program is needed to search" },
		{ "bwrapPath", IMMURE_IMPORT_DROPPED, "programs are found at their own places" },
		{ "socatPath", IMMURE_IMPORT_DROPPED, "not needed" },
		{ NULL, 0, NULL },
	};

	immure_import_network(im, immure_tree_get(s, "network"), "sandbox.network.");
	immure_import_files(im, immure_tree_get(s, "filesystem"), "sandbox.filesystem.");
	immure_import_rest(im, s, "sandbox.", known, IMMURE_IMPORT_LOST,
			   "a setting that this version does not know");
}

static void environment(struct immure_import *im, const struct immure_tree *env)
{
	for (const struct immure_tree *e = env && env->type == IMMURE_TREE_TABLE ? env->first : NULL; e;
	     e = e->next) {
		const char *value = immure_tree_string(e);

		if (value)
			immure_import_put(im, "environment.set",
					  immure_arena_printf(im->a, "%s=%s", e->key, value), false,
					  e->line, immure_import_name(im, "env.", e->key));
		else
			immure_import_note(im, IMMURE_IMPORT_DROPPED, e->line, "env",
					   "%.100s: expected a string", e->key);
	}
}

int32_t immure_import_claude(struct immure_import *im, const char *text, size_t len,
			     struct immure_error **err)
{
	static const struct immure_import_known known[] = {
		{ "permissions", 0, NULL }, { "sandbox", 0, NULL }, { "env", 0, NULL },
		{ "$schema", 0, NULL }, { NULL, 0, NULL },
	};
	struct immure_tree_failure f = { 0 };
	struct immure_tree *top = NULL;
	int r = immure_tree_from_json(im->a, text, len, &top, &f);

	if (r == 0 && top->type != IMMURE_TREE_TABLE)
		r = immure_tree_fail(&f, 1, "expected an object");
	if (r == -EINVAL)
		return immure_fail(err, IMMURE_ERR_POLICY, 0, "import", im->file, "%s:%zu: %s", im->file,
				   f.line, f.text);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "import", "", "out of memory");
	sandbox(im, immure_tree_get(top, "sandbox"));
	permissions(im, immure_tree_get(top, "permissions"));
	environment(im, immure_tree_get(top, "env"));
	immure_import_settle(im, false);
	immure_import_put(im, "network.mode",
			  immure_import_has(im, "network.allow", NULL) ? "limited" : "none", true, 0,
			  "hosts that are not named are denied");
	immure_import_rest(im, top, "", known, IMMURE_IMPORT_DROPPED,
			   "about the agent, not about what its commands may do");
	return 0;
}
