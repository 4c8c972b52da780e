/* SPDX-License-Identifier: Apache-2.0 */
/* What sandbox-runtime and Claude Code write in the same way: `network` and
 * `filesystem`. Theirs: reading is allowed unless denied, writing denied unless
 * allowed, a denial of writing beats an allowance, hosts need to be named. */
#include <stdlib.h>
#include <string.h>

#include "policy/import/import.h"

#define NAME(key) immure_import_name(im, prefix, key)

bool immure_import_below(const char *path, const char *base)
{
	size_t n = strlen(base);

	if (strcmp(base, "/") == 0)
		return path[0] == '/';
	if (strcmp(base, ".") == 0)
		return path[0] != '/' && path[0] != '~';
	while (n > 1 && base[n - 1] == '/')
		n--;
	return strncmp(path, base, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

const char *immure_import_unglob(struct immure_arena *a, const char *path)
{
	size_t n = strlen(path);

	if (n == 0)
		return NULL;
	while (n >= 2 && path[n - 1] == '*') {
		if (n >= 3 && strcmp(path + n - 3, "/**") == 0)
			n -= 3;
		else if (path[n - 2] == '/')
			n -= 2;
		else
			return NULL;
		path = immure_arena_strndup(a, path, n);
		if (!path)
			return NULL;
	}
	while (n > 1 && path[n - 1] == '/')
		n--;
	if (n == 0)
		return "/";
	path = immure_arena_strndup(a, path, n);
	return path && !strpbrk(path, "*?[{") ? path : NULL;
}

void immure_import_rest(struct immure_import *im, const struct immure_tree *table,
			const char *prefix, const struct immure_import_known *known,
			int32_t otherwise, const char *why)
{
	if (!table || table->type != IMMURE_TREE_TABLE)
		return;
	for (const struct immure_tree *m = table->first; m; m = m->next) {
		const struct immure_import_known *k = known;

		while (k->key && strcmp(k->key, m->key) != 0)
			k++;
		if (!k->key)
			immure_import_note(im, otherwise, m->line, NAME(m->key), "%s", why);
		else if (k->kind)
			immure_import_note(im, k->kind, m->line, NAME(m->key), "%s", k->why);
	}
}

/* Calls each for the strings of a list; what is no string is noted. */
static void each_string(struct immure_import *im, const struct immure_tree *list, const char *name,
			bool limits,
			void (*each)(struct immure_import *im, const char *value, size_t line,
				     const char *name))
{
	if (!list)
		return;
	if (list->type != IMMURE_TREE_ARRAY) {
		immure_import_note(im, limits ? IMMURE_IMPORT_LOST : IMMURE_IMPORT_DROPPED, list->line,
				   name, "expected a list");
		return;
	}
	for (const struct immure_tree *e = list->first; e; e = e->next) {
		const char *text = immure_tree_string(e);

		if (text)
			each(im, text, e->line, name);
		else
			immure_import_note(im, limits ? IMMURE_IMPORT_LOST : IMMURE_IMPORT_DROPPED,
					   e->line, name, "expected a string");
	}
}

/* ---- hosts ---- */

static const char *port_of(const char *host)
{
	const char *colon = strrchr(host, ':');

	if (!colon || (host[0] == '[' && strchr(colon, ']')))
		return NULL;
	return colon + 1;
}

void immure_import_host(struct immure_import *im, const char *host, bool deny, size_t line,
			const char *name)
{
	bool port = port_of(host) != NULL;

	if (strpbrk(host, "/ ") || !*host) {
		immure_import_note(im, deny ? IMMURE_IMPORT_LOST : IMMURE_IMPORT_DROPPED, line, name,
				   "\"%.100s\": expected a host", host);
	} else if (deny) {
		immure_import_put(im, "network.deny",
				  port ? host : immure_arena_printf(im->a, "%s:1-65535", host), true,
				  line, name);
	} else {
		if (!port)
			immure_import_note(im, IMMURE_IMPORT_TIGHTENED, line, name,
					   "\"%.100s\": every port there, 443 and 80 here", host);
		immure_import_put(im, "network.allow", host, false, line, name);
	}
}

static void allow_host(struct immure_import *im, const char *host, size_t line, const char *name)
{
	immure_import_host(im, host, false, line, name);
}

/* "*" and "*:PORT" are not hosts: what they cover is not allowed at all. */
static void deny_host(struct immure_import *im, const char *host, size_t line, const char *name)
{
	const char *port = port_of(host);

	if (strcmp(host, "*") == 0) {
		immure_import_drop(im, "network.allow", NULL);
		immure_import_note(im, IMMURE_IMPORT_MOOT, line, name, "nothing is allowed then");
		return;
	}
	if (strncmp(host, "*:", 2) != 0) {
		immure_import_host(im, host, true, line, name);
		return;
	}
	for (size_t i = 0; i < im->values_n;) {
		const struct immure_import_value *v = &im->values[i];
		const char *own = strcmp(v->key, "network.allow") == 0 ? port_of(v->value) : NULL;
		bool web = strcmp(v->key, "network.allow") == 0 && !own &&
			   (strcmp(port, "443") == 0 || strcmp(port, "80") == 0);

		if (web || (own && strcmp(own, port) == 0)) {
			immure_import_note(im, IMMURE_IMPORT_TIGHTENED, line, name,
					   "\"%.80s\" is taken out of what is allowed, for port %.5s",
					   v->value, port);
			immure_import_drop(im, "network.allow", v->value);
			i = 0;
		} else {
			i++;
		}
	}
}

static void lend_socket(struct immure_import *im, const char *path, size_t line, const char *name)
{
	if ((path[0] != '/' && path[0] != '~') || strpbrk(path, "*?[{")) {
		immure_import_note(im, IMMURE_IMPORT_DROPPED, line, name,
				   "\"%.100s\": a socket is lent by its path, see network.sockets", path);
		return;
	}
	/* There nobody minds when it is missing. */
	immure_import_put(im, "network.sockets", immure_arena_printf(im->a, "?%s", path), false, line,
			  name);
}

void immure_import_network(struct immure_import *im, const struct immure_tree *network,
			   const char *prefix)
{
	static const struct immure_import_known known[] = {
		{ "allowedDomains", 0, NULL },
		{ "deniedDomains", 0, NULL },
		{ "strictAllowlist", IMMURE_IMPORT_MOOT, "what is not allowed is denied, nobody is asked" },
		{ "allowManagedDomainsOnly", IMMURE_IMPORT_LOST, "which file allows a host is not looked at" },
		{ "deniedDomainReasons", IMMURE_IMPORT_DROPPED, "denials have reasons of their own" },
		{ "allowUnixSockets", 0, NULL },
		{ "allowAllUnixSockets", IMMURE_IMPORT_TIGHTENED, "sockets of the host stay hidden" },
		{ "allowLocalBinding", IMMURE_IMPORT_MOOT, "ports are bound in a network of its own" },
		{ "allowMachLookup", IMMURE_IMPORT_DROPPED, "macOS only" },
		{ "httpProxyPort", IMMURE_IMPORT_DROPPED, "names are judged here, no proxy is asked" },
		{ "socksProxyPort", IMMURE_IMPORT_DROPPED, "names are judged here, no proxy is asked" },
		{ "mitmProxy", IMMURE_IMPORT_LOST, "what that proxy would have refused is not known" },
		{ "filterRequest", IMMURE_IMPORT_LOST, "a function cannot be imported" },
		{ "tlsTerminate", IMMURE_IMPORT_DROPPED, "TLS is not opened by this version" },
		{ "parentProxy", IMMURE_IMPORT_DROPPED, "connections are made directly" },
		{ NULL, 0, NULL },
	};
	const struct immure_tree *allowed = immure_tree_get(network, "allowedDomains");

	each_string(im, allowed, NAME("allowedDomains"), false, allow_host);
	each_string(im, immure_tree_get(network, "deniedDomains"), NAME("deniedDomains"), true,
		    deny_host);
	each_string(im, immure_tree_get(network, "allowUnixSockets"), NAME("allowUnixSockets"), false,
		    lend_socket);
	immure_import_rest(im, network, prefix, known, IMMURE_IMPORT_LOST,
			   "a setting that this version does not know");
}

/* ---- files ---- */

/* The value below which another one lies, NULL = none. */
static const struct immure_import_value *above(const struct immure_import *im, const char *key,
					       const char *path)
{
	for (size_t i = 0; i < im->values_n; i++)
		if (strcmp(im->values[i].key, key) == 0 &&
		    immure_import_below(path, im->values[i].value))
			return &im->values[i];
	return NULL;
}

void immure_import_settle(struct immure_import *im, bool again)
{
	for (size_t i = 0; i < im->values_n;) {
		const struct immure_import_value v = im->values[i], *denied;
		bool read = strcmp(v.key, "files.read") == 0, write = strcmp(v.key, "files.write") == 0;

		denied = read || write ? above(im, "files.deny", v.value) : NULL;
		if (!denied || (again && (read || above(im, "files.read", v.value)))) {
			i++;
			continue;
		}
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, v.line, v.from,
				   "\"%.100s\" is not given: \"%.100s\" is denied", v.value,
				   denied->value);
		immure_import_drop(im, v.key, v.value);
	}
}

static void deny_read(struct immure_import *im, const char *path, size_t line, const char *name)
{
	const char *plain = immure_import_unglob(im->a, path);

	if (plain && (strcmp(plain, ".") == 0 || strcmp(plain, "/") == 0))
		immure_import_note(im, IMMURE_IMPORT_LOST, line, name,
				   "\"%s\": the workspace can be read; see files.view and files.home",
				   plain);
	else if (!plain)
		immure_import_note(im, IMMURE_IMPORT_LOST, line, name,
				   "\"%.100s\": patterns are not denied, only paths", path);
	else
		immure_import_put(im, "files.deny", plain, true, line, name);
}

static void allow_read(struct immure_import *im, const char *path, size_t line, const char *name)
{
	const char *plain = immure_import_unglob(im->a, path);

	if (!plain)
		immure_import_note(im, IMMURE_IMPORT_DROPPED, line, name,
				   "\"%.100s\": patterns are not allowed, only paths", path);
	else
		immure_import_put(im, "files.read", plain, false, line, name);
}

static bool is_private_tmp(const char *path)
{
	return strcmp(path, "/tmp") == 0 || strcmp(path, "/var/tmp") == 0 ||
	       strcmp(path, "/private/tmp") == 0;
}

static void allow_write(struct immure_import *im, const char *path, size_t line, const char *name)
{
	const char *plain = immure_import_unglob(im->a, path);

	if (plain && strncmp(plain, "./", 2) == 0 && plain[2])
		plain += 2;
	if (!plain)
		immure_import_note(im, IMMURE_IMPORT_DROPPED, line, name,
				   "\"%.100s\": patterns are not allowed, only paths", path);
	else if (strcmp(plain, ".") == 0)
		immure_import_put(im, "workspace.mode", "rw", false, line, name);
	else if (strcmp(plain, "/") == 0 || strcmp(plain, "~") == 0)
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, line, name,
				   "\"%s\" is not made writable as a whole: name the places", plain);
	else if (is_private_tmp(plain))
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, line, name,
				   "%s is private and empty here", plain);
	else
		immure_import_put(im, "files.write", plain, false, line, name);
}

/* Below what may not be written nothing may, whatever allows it. */
void immure_import_take_back(struct immure_import *im, const char *denied, size_t line,
			     const char *name)
{
	for (size_t i = 0; i < im->values_n;) {
		const struct immure_import_value *v = &im->values[i];

		if (strcmp(v->key, "files.write") == 0 && immure_import_below(v->value, denied)) {
			immure_import_note(im, IMMURE_IMPORT_TIGHTENED, line, name,
					   "\"%.100s\" is not writable: it is below this", v->value);
			immure_import_drop(im, "files.write", v->value);
			i = 0;
		} else {
			i++;
		}
	}
}

static void deny_write(struct immure_import *im, const char *path, size_t line, const char *name)
{
	const char *plain = immure_import_unglob(im->a, path);

	if (plain && strncmp(plain, "./", 2) == 0 && plain[2])
		plain += 2;
	if (!plain) {
		immure_import_note(im, IMMURE_IMPORT_LOST, line, name,
				   "\"%.100s\": patterns are not protected, only paths", path);
		return;
	}
	immure_import_take_back(im, plain, line, name);
	if (strcmp(plain, ".") == 0 || strcmp(plain, "/") == 0)
		immure_import_put(im, "workspace.mode", "ro", true, line, name);
	else
		immure_import_put(im, "files.protect", plain, true, line, name);
}

void immure_import_files(struct immure_import *im, const struct immure_tree *files,
			 const char *prefix)
{
	static const struct immure_import_known known[] = {
		{ "denyRead", 0, NULL }, { "allowRead", 0, NULL }, { "allowWrite", 0, NULL },
		{ "denyWrite", 0, NULL }, { "disabled", 0, NULL },
		{ "allowGitConfig", IMMURE_IMPORT_TIGHTENED,
		  "an existing .git/config stays protected (files.protected)" },
		{ "allowManagedReadPathsOnly", IMMURE_IMPORT_LOST,
		  "which file allows a path is not looked at" },
		{ NULL, 0, NULL },
	};
	const struct immure_tree *disabled = immure_tree_get(files, "disabled");

	if (immure_tree_is(disabled, true))
		immure_import_note(im, IMMURE_IMPORT_TIGHTENED, disabled->line, NAME("disabled"),
				   "files are sealed here all the same");
	each_string(im, immure_tree_get(files, "allowWrite"), NAME("allowWrite"), false, allow_write);
	each_string(im, immure_tree_get(files, "denyWrite"), NAME("denyWrite"), true, deny_write);
	each_string(im, immure_tree_get(files, "denyRead"), NAME("denyRead"), true, deny_read);
	each_string(im, immure_tree_get(files, "allowRead"), NAME("allowRead"), false, allow_read);
	immure_import_rest(im, files, prefix, known, IMMURE_IMPORT_LOST,
			   "a setting that this version does not know");
}
