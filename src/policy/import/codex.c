/* SPDX-License-Identifier: Apache-2.0 */
/* config.toml of Codex: sandbox_mode with its table, or permission profiles, and
 * shell_environment_policy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "policy/import/import.h"

static void dropped_rest(struct immure_import *im, const struct immure_tree *t, const char *prefix,
			 const struct immure_import_known *known)
{
	immure_import_rest(im, t, prefix, known, IMMURE_IMPORT_LOST,
			   "a setting that this version does not know");
}

static void put_mode(struct immure_import *im, const char *workspace, const char *network, size_t line,
		     const char *from)
{
	immure_import_put(im, "workspace.mode", workspace, true, line, from);
	immure_import_put(im, "network.mode", network, true, line, from);
}

/* ---- sandbox_mode ---- */

static void workspace_write(struct immure_import *im, const struct immure_tree *t)
{
	static const struct immure_import_known known[] = {
		{ "writable_roots", 0, NULL }, { "network_access", 0, NULL },
		{ "exclude_slash_tmp", IMMURE_IMPORT_MOOT, "/tmp is private and empty" },
		{ "exclude_tmpdir_env_var", IMMURE_IMPORT_MOOT, "TMPDIR is private and empty" },
		{ NULL, 0, NULL },
	};
	const struct immure_tree *roots = immure_tree_get(t, "writable_roots");
	const struct immure_tree *net = immure_tree_get(t, "network_access");

	for (const struct immure_tree *e = roots ? roots->first : NULL; e; e = e->next) {
		const char *path = immure_tree_string(e);

		if (path && strcmp(path, "/") != 0)
			immure_import_put(im, "files.write", path, false, e->line,
					  "sandbox_workspace_write.writable_roots");
		else
			immure_import_note(im, IMMURE_IMPORT_TIGHTENED, e->line,
					   "sandbox_workspace_write.writable_roots",
					   "not made writable as a whole");
	}
	if (immure_tree_is(net, true))
		immure_import_put(im, "network.mode", "host", true, net->line,
				  "sandbox_workspace_write.network_access");
	dropped_rest(im, t, "sandbox_workspace_write.", known);
}

static void sandbox_mode(struct immure_import *im, const struct immure_tree *top,
			 const struct immure_tree *mode)
{
	const char *word = immure_tree_string(mode);
	const struct immure_tree *table = immure_tree_get(top, "sandbox_workspace_write");

	if (word && strcmp(word, "workspace-write") == 0) {
		put_mode(im, "rw", "none", mode->line, "sandbox_mode");
		workspace_write(im, table);
		return;
	}
	if (word && strcmp(word, "danger-full-access") == 0) {
		put_mode(im, "rw", "none", mode->line, "sandbox_mode");
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, mode->line, "sandbox_mode",
				   "full access is not given: the workspace is writable, no network");
		return;
	}
	put_mode(im, "ro", "none", mode ? mode->line : 0,
		 mode ? "sandbox_mode" : "the default of Codex: read-only");
	if (word && strcmp(word, "read-only") != 0)
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, mode->line, "sandbox_mode",
				   "\"%.60s\" is not known: read-only", word);
	if (table)
		immure_import_note(im, IMMURE_IMPORT_DROPPED, table->line, "sandbox_workspace_write",
				   "does not count with this sandbox_mode");
}

/* ---- permission profiles ---- */

struct fs {
	bool minimal, root, workspace;
};

static void fs_rule(struct immure_import *im, const char *path, const struct immure_tree *rule,
		    bool in_workspace, struct fs *fs)
{
	const char *access = immure_tree_string(rule), *name = "permissions.filesystem";
	const char *plain = immure_import_unglob(im->a, path);
	bool deny = access && (strcmp(access, "deny") == 0 || strcmp(access, "none") == 0);
	bool write = access && strcmp(access, "write") == 0;

	if (!access || (!deny && !write && strcmp(access, "read") != 0)) {
		immure_import_note(im, IMMURE_IMPORT_LOST, rule->line, name,
				   "\"%.80s\": expected read, write or deny", path);
	} else if (!plain || (!in_workspace && plain[0] != '/' && plain[0] != '~')) {
		immure_import_note(im, deny ? IMMURE_IMPORT_LOST : IMMURE_IMPORT_DROPPED, rule->line, name,
				   "\"%.80s\": patterns and relative paths are no rules", path);
	} else if (in_workspace && strcmp(plain, ".") == 0) {
		fs->workspace |= write;
		if (deny)
			immure_import_note(im, IMMURE_IMPORT_LOST, rule->line, name,
					   "the workspace itself cannot be denied");
	} else if (deny) {
		immure_import_put(im, "files.deny", plain, true, rule->line, name);
	} else if (write && (strcmp(plain, "/") == 0 || strcmp(plain, "~") == 0)) {
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, rule->line, name,
				   "\"%s\" is not made writable as a whole", plain);
	} else if (write) {
		immure_import_put(im, "files.write", plain, false, rule->line, name);
	} else if (in_workspace) {
		immure_import_put(im, "files.protect", plain, true, rule->line, name);
	} else {
		immure_import_put(im, "files.read", plain, false, rule->line, name);
	}
}

/* ":minimal" and the like, which stand for places. */
static void fs_special(struct immure_import *im, const struct immure_tree *m, struct fs *fs)
{
	const char *access = immure_tree_string(m);
	bool roots = strcmp(m->key, ":workspace_roots") == 0 || strcmp(m->key, ":project_roots") == 0;

	if (roots && m->type == IMMURE_TREE_TABLE) {
		for (const struct immure_tree *e = m->first; e; e = e->next)
			fs_rule(im, e->key, e, true, fs);
	} else if (roots) {
		fs_rule(im, ".", m, true, fs);
	} else if (strcmp(m->key, ":minimal") == 0 && access) {
		fs->minimal = true;
	} else if (strcmp(m->key, ":root") == 0 && access) {
		fs->root = strcmp(access, "read") == 0 || strcmp(access, "write") == 0;
		if (strcmp(access, "write") == 0)
			immure_import_note(im, IMMURE_IMPORT_TIGHTENED, m->line, "permissions.filesystem",
					   "\":root\" can be read, not written");
	} else if (strcmp(m->key, ":tmpdir") == 0 || strcmp(m->key, ":slash_tmp") == 0) {
		immure_import_note(im, IMMURE_IMPORT_MOOT, m->line, "permissions.filesystem",
				   "\"%s\" is private and empty", m->key);
	} else {
		immure_import_note(im, IMMURE_IMPORT_LOST, m->line, "permissions.filesystem",
				   "\"%.60s\" is not known", m->key);
	}
}

static void filesystem(struct immure_import *im, const struct immure_tree *t, struct fs *fs)
{
	for (const struct immure_tree *m = t ? t->first : NULL; m; m = m->next) {
		if (strcmp(m->key, "glob_scan_max_depth") == 0)
			continue; /* how far patterns are looked for */
		if (m->key[0] == ':')
			fs_special(im, m, fs);
		else
			fs_rule(im, m->key, m, false, fs);
	}
}

static void domains(struct immure_import *im, const struct immure_tree *t, bool *ret_all)
{
	for (const struct immure_tree *m = t ? t->first : NULL; m; m = m->next) {
		const char *access = immure_tree_string(m), *name = "permissions.network.domains";

		if (access && strcmp(access, "allow") == 0 && strcmp(m->key, "*") == 0)
			*ret_all = true;
		else
			immure_import_host(im, m->key, !access || strcmp(access, "allow") != 0, m->line,
					   name);
	}
}

static void network(struct immure_import *im, const struct immure_tree *t)
{
	static const struct immure_import_known known[] = {
		{ "enabled", 0, NULL }, { "domains", 0, NULL }, { "mode", 0, NULL },
		{ "unix_sockets", IMMURE_IMPORT_DROPPED, "name the sockets in network.sockets" },
		{ "allow_local_binding", IMMURE_IMPORT_MOOT, "ports are bound in a network of its own" },
		{ "proxy_url", IMMURE_IMPORT_DROPPED, "names are judged here, no proxy is asked" },
		{ "socks_url", IMMURE_IMPORT_DROPPED, "names are judged here, no proxy is asked" },
		{ "enable_socks5", IMMURE_IMPORT_DROPPED, "every TCP program is served" },
		{ "allow_upstream_proxy", IMMURE_IMPORT_DROPPED, "connections are made directly" },
		{ NULL, 0, NULL },
	};
	const struct immure_tree *enabled = immure_tree_get(t, "enabled");
	const struct immure_tree *mode = immure_tree_get(t, "mode");
	bool all = false;

	if (!immure_tree_is(enabled, true)) {
		immure_import_put(im, "network.mode", "none", true, enabled ? enabled->line : 0,
				  "permissions.network.enabled");
		return;
	}
	domains(im, immure_tree_get(t, "domains"), &all);
	if (all && !immure_import_has(im, "network.deny", NULL)) {
		immure_import_drop(im, "network.allow", NULL);
		immure_import_put(im, "network.mode", "host", true, enabled->line,
				  "permissions.network.domains: \"*\" is allowed");
	} else if (immure_import_has(im, "network.allow", NULL)) {
		immure_import_put(im, "network.mode", "limited", true, enabled->line,
				  "permissions.network.domains");
	} else {
		immure_import_put(im, "network.mode", "none", true, enabled->line,
				  "permissions.network.domains");
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, enabled->line, "permissions.network.enabled",
				   "no network: no host is named, and all but some cannot be allowed");
	}
	if (immure_tree_string(mode) && strcmp(mode->text, "full") != 0)
		immure_import_note(im, IMMURE_IMPORT_LOST, mode->line, "permissions.network.mode",
				   "methods are not limited: give network.allow rules with methods");
	dropped_rest(im, t, "permissions.network.", known);
}

static void permission_profile(struct immure_import *im, const struct immure_tree *top,
			       const struct immure_tree *chosen)
{
	static const struct immure_import_known known[] = {
		{ "extends", 0, NULL }, { "filesystem", 0, NULL }, { "network", 0, NULL },
		{ "description", IMMURE_IMPORT_DROPPED, "a text" },
		{ "workspace_roots", IMMURE_IMPORT_DROPPED, "the workspace is where immure is started" },
		{ NULL, 0, NULL },
	};
	const char *name = immure_tree_string(chosen), *base;
	const struct immure_tree *p = immure_tree_get(immure_tree_get(top, "permissions"), name);
	struct fs fs = { .root = false };

	if (name[0] != ':' && !p)
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, chosen->line, "default_permissions",
				   "there is no profile \"%.60s\": read-only", name);
	base = name[0] == ':' ? name : immure_tree_string(immure_tree_get(p, "extends"));
	if (base && base[0] == ':') {
		fs.root = true;
		fs.workspace = strcmp(base, ":workspace") == 0 || strncmp(base, ":danger", 7) == 0;
	} else if (base) {
		immure_import_note(im, IMMURE_IMPORT_LOST, p->line, "permissions.extends",
				   "what \"%.60s\" denies is not looked at", base);
	}
	if (base && strncmp(base, ":danger", 7) == 0)
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, chosen->line, "default_permissions",
				   "full access is not given: the workspace is writable, no network");
	put_mode(im, "ro", "none", chosen->line, "default_permissions");
	filesystem(im, immure_tree_get(p, "filesystem"), &fs);
	immure_import_put(im, "workspace.mode", fs.workspace ? "rw" : "ro", true, chosen->line,
			  "permissions.filesystem");
	if (!fs.root) {
		immure_import_put(im, "files.view", "system", true, chosen->line,
				  fs.minimal ? "permissions.filesystem: \":minimal\"" :
					       "permissions.filesystem: nothing else is named");
		immure_import_put(im, "files.home", "empty", true, chosen->line, "permissions.filesystem");
	}
	if (immure_tree_get(p, "network"))
		network(im, immure_tree_get(p, "network"));
	dropped_rest(im, p, "permissions.", known);
}

/* ---- all of it ---- */

/* A setting of the profile in use, else of the top. */
static const struct immure_tree *setting(const struct immure_tree *top, const char *key)
{
	const char *name = immure_tree_string(immure_tree_get(top, "profile"));
	const struct immure_tree *profiles = immure_tree_get(top, "profiles");
	const struct immure_tree *v = name ? immure_tree_get(immure_tree_get(profiles, name), key) : NULL;

	return v ? v : immure_tree_get(top, key);
}

int32_t immure_import_codex(struct immure_import *im, const char *text, size_t len,
			    struct immure_error **err)
{
	static const struct immure_import_known known[] = {
		{ "sandbox_mode", 0, NULL }, { "sandbox_workspace_write", 0, NULL },
		{ "shell_environment_policy", 0, NULL }, { "default_permissions", 0, NULL },
		{ "permissions", 0, NULL }, { "profile", 0, NULL }, { "profiles", 0, NULL },
		{ NULL, 0, NULL },
	};
	struct immure_tree_failure f = { 0 };
	struct immure_tree *top = NULL;
	const struct immure_tree *mode, *chosen;
	int r = immure_tree_from_toml(im->a, text, len, &top, &f);

	if (r == -EINVAL)
		return immure_fail(err, IMMURE_ERR_POLICY, 0, "import", im->file, "%s:%zu: %s", im->file,
				   f.line, f.text);
	if (r < 0)
		return immure_fail(err, IMMURE_ERR_NOMEM, ENOMEM, "import", "", "out of memory");
	mode = setting(top, "sandbox_mode");
	chosen = setting(top, "default_permissions");
	if (!mode && immure_tree_string(chosen)) /* where both are, the older counts there */
		permission_profile(im, top, chosen);
	else
		sandbox_mode(im, top, mode);
	immure_import_settle(im, false);
	immure_import_codex_env(im, immure_tree_get(top, "shell_environment_policy"));
	immure_import_rest(im, top, "", known, IMMURE_IMPORT_DROPPED,
			   "about the agent, not about what its commands may do");
	return 0;
}
