/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/checks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "base/path.h"
#include "facts/report.h"
#include "policy/env.h"
#include "policy/netrule.h"
#include "policy/policy.h"

int immure_complain(struct immure_complaint *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(c->text, sizeof(c->text), fmt, ap); /* cut is fine: a message */
	va_end(ap);
	return -EINVAL;
}

void immure_complain_hint(struct immure_complaint *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(c->hint, sizeof(c->hint), fmt, ap);
	va_end(ap);
}

enum { PATH_BYTES_MAX = 4095 };

int immure_check_path(struct immure_arena *a, const char *value, const char **ret,
		      struct immure_complaint *c)
{
	size_t len = strlen(value), out = 0;
	const char *p = value;
	bool absolute = value[0] == '/';
	char *n;

	if (len == 0)
		return immure_complain(c, "expected a path, got an empty string");
	if (len > PATH_BYTES_MAX)
		return immure_complain(c, "the path has more than %d bytes", PATH_BYTES_MAX);
	if (value[0] == '~' && value[1] && value[1] != '/') {
		immure_complain(c, "\"%.100s\": only \"~\" and \"~/\" stand for a home", value);
		immure_complain_hint(c, "write ./%.100s for a file of that name", value);
		return -EINVAL;
	}
	n = immure_arena_alloc(a, len + 4);
	if (!n)
		return -ENOMEM;
	while (*p) {
		size_t part;

		p += strspn(p, "/");
		part = strcspn(p, "/");
		if (part == 2 && p[0] == '.' && p[1] == '.')
			return immure_complain(c, "\"%.100s\": a path of a policy has no \"..\"", value);
		if (part && !(part == 1 && p[0] == '.')) {
			if (out || absolute) {
				n[out++] = '/';
			} else if ((p[0] == '~' && p != value) || p[0] == '?') {
				/* "./~x": not a home; "./?x": not one that may be missing */
				n[out++] = '.';
				n[out++] = '/';
			}
			memcpy(n + out, p, part);
			out += part;
		}
		p += part;
	}
	if (out == 0)
		n[out] = absolute ? '/' : '.';
	*ret = n;
	return 0;
}

int immure_check_write(struct immure_arena *a, const char *value, const char **ret,
		       struct immure_complaint *c)
{
	size_t len = strlen(value);
	const char *plain;
	int r;

	if (value[0] != '?')
		return immure_check_path(a, value, ret, c);
	r = immure_check_path(a, value + 1, &plain, c);
	if (r < 0)
		return r;
	*ret = immure_arena_printf(a, "?%s%s", plain, value[len - 1] == '/' && strcmp(plain, "/") != 0 ? "/" : "");
	return *ret ? 0 : -ENOMEM;
}

int immure_check_socket(struct immure_arena *a, const char *value, const char **ret,
			struct immure_complaint *c)
{
	const char *s = value + (value[0] == '?'), *plain;
	size_t len = strlen(s);
	int r;

	if (s[0] == '$') {
		if (strcmp(s, IMMURE_POLICY_AGENT) != 0) {
			immure_complain(c, "\"%.100s\": only %s stands for a path", value,
					IMMURE_POLICY_AGENT);
			immure_complain_hint(c, "write ./%.100s for a socket of that name", s);
			return -EINVAL;
		}
		*ret = immure_arena_strdup(a, value);
		return *ret ? 0 : -ENOMEM;
	}
	r = immure_check_path(a, s, &plain, c);
	if (r < 0)
		return r;
	*ret = immure_arena_printf(a, "%s%s%s", s == value ? "" : "?", plain,
				   s[len - 1] == '/' && strcmp(plain, "/") != 0 ? "/" : "");
	return *ret ? 0 : -ENOMEM;
}

/* The kernel's places are ours to make, and the root is not one mount among others. */
int immure_check_target(struct immure_arena *a, const char *value, const char **ret,
			struct immure_complaint *c)
{
	static const char *const ours[] = { "/proc", "/sys", "/dev", NULL };
	int r = immure_check_path(a, value, ret, c);

	if (r < 0)
		return r;
	if ((*ret)[0] != '/')
		return immure_complain(c, "\"%.100s\": a path inside is absolute", value);
	if (strcmp(*ret, "/") == 0 || strcmp(*ret, "/etc") == 0)
		return immure_complain(c, "\"%.100s\" cannot be covered", value);
	for (size_t i = 0; ours[i]; i++)
		if (immure_path_is_under(*ret, ours[i]))
			return immure_complain(c, "\"%.100s\": %s is the kernel's", value, ours[i]);
	if (strchr(*ret, ':'))
		return immure_complain(c, "\"%.100s\" has a colon", value);
	return 0;
}

int immure_check_mount(struct immure_arena *a, const char *value, const char **ret,
		       struct immure_complaint *c)
{
	const char *target = strchr(value, ':'), *mode = target ? strchr(target + 1, ':') : NULL;
	const char *source, *inside;
	int r;

	if (!target)
		return immure_complain(c, "\"%.100s\": expected SOURCE:TARGET, :ro or :rw after it",
				       value);
	if (mode && strcmp(mode, ":ro") != 0 && strcmp(mode, ":rw") != 0)
		return immure_complain(c, "\"%.100s\": expected ro or rw after the second colon", value);
	source = immure_arena_strndup(a, value, (size_t)(target - value));
	inside = mode ? immure_arena_strndup(a, target + 1, (size_t)(mode - target - 1)) : target + 1;
	if (!source || !inside)
		return -ENOMEM;
	r = immure_check_path(a, source, &source, c);
	if (r == 0)
		r = immure_check_target(a, inside, &inside, c);
	if (r < 0)
		return r;
	*ret = immure_arena_printf(a, "%s:%s:%s", source, inside, mode ? mode + 1 : "ro");
	return *ret ? 0 : -ENOMEM;
}

int immure_check_preset(struct immure_arena *a, const char *value, const char **ret,
			struct immure_complaint *c)
{
	if (!immure_preset_is(value)) {
		immure_complain(c, "\"%.60s\" is no preset", value);
		immure_complain_hint(c, "toolchains, package_config or package_cache");
		return -EINVAL;
	}
	*ret = immure_arena_strdup(a, value);
	return *ret ? 0 : -ENOMEM;
}

int immure_check_created(struct immure_arena *a, const char *value, const char **ret,
			 struct immure_complaint *c)
{
	const char **all;
	const char *near;

	for (size_t i = 0; i < immure_protected_paths_n; i++) {
		if (strcmp(immure_protected_paths[i].path, value) == 0) {
			*ret = immure_protected_paths[i].path;
			return 0;
		}
	}
	immure_complain(c, "\"%.100s\" is no entry of the protected table", value);
	all = immure_arena_alloc(a, immure_protected_paths_n * sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < immure_protected_paths_n; i++)
		all[i] = immure_protected_paths[i].path;
	near = immure_nearest(value, all, immure_protected_paths_n);
	if (near)
		immure_complain_hint(c, "did you mean \"%s\"?", near);
	else
		immure_complain_hint(c, "other files need no entry: they may be created anyway");
	return -EINVAL;
}

int immure_check_host_rule(struct immure_arena *a, const char *value, const char **ret,
			   struct immure_complaint *c)
{
	struct immure_netrule rule;
	struct immure_complaint why = { 0 };
	int r = immure_netrule_parse(a, value, &rule, &why);

	if (r == -EINVAL) {
		immure_complain(c, "\"%.80s\": %.200s", value, why.text);
		if (*why.hint)
			immure_complain_hint(c, "%s", why.hint);
	}
	if (r < 0)
		return r;
	*ret = immure_netrule_print(a, &rule);
	return *ret ? 0 : -ENOMEM;
}

int immure_check_publish(struct immure_arena *a, const char *value, const char **ret,
			 struct immure_complaint *c)
{
	struct immure_complaint why = { 0 };
	struct immure_publish p;
	char addr[INET6_ADDRSTRLEN];
	bool six;

	if (immure_publish_parse(value, &p, &why) < 0)
		return immure_complain(c, "\"%.80s\": %.200s", value, why.text);
	six = p.kind == IMMURE_HOST_NET6;
	(void)inet_ntop(six ? AF_INET6 : AF_INET, p.address, addr, sizeof(addr));
	*ret = immure_arena_printf(a, six ? "[%s]:%u:%u" : "%s:%u:%u", addr, p.host_port, p.port);
	return *ret ? 0 : -ENOMEM;
}

int immure_check_prefix(struct immure_arena *a, const char *value, const char **ret,
			struct immure_complaint *c)
{
	unsigned char address[16];
	enum immure_host_kind kind;
	unsigned int prefix;
	int r = immure_network_parse(value, &kind, address, &prefix, c);

	if (r < 0)
		return r;
	if (kind != IMMURE_HOST_NET4 || prefix < 8 || prefix > 24)
		return immure_complain(c, "expected an IPv4 range of /8 to /24, got \"%.60s\"", value);
	*ret = immure_arena_strdup(a, value);
	return *ret ? 0 : -ENOMEM;
}

int immure_check_env_name(const char *name, size_t len, struct immure_complaint *c)
{
	if (len == 0)
		return immure_complain(c, "the variable's name is empty");
	if (len > 255)
		return immure_complain(c, "the variable's name has more than 255 bytes");
	for (size_t i = 0; i < len; i++) {
		unsigned char b = (unsigned char)name[i];

		if (!((b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || b == '_' ||
		      (i > 0 && b >= '0' && b <= '9')))
			return immure_complain(c, "\"%.*s\" is no name of a variable",
					       (int)(len > 60 ? 60 : len), name);
	}
	return 0;
}

int immure_check_pass(struct immure_arena *a, const char *value, const char **ret,
		      struct immure_complaint *c)
{
	size_t len = strlen(value);
	bool pattern = len && value[len - 1] == '*';
	int r;

	if (pattern && len == 1) {
		immure_complain(c, "\"*\" would pass every variable, secrets included");
		immure_complain_hint(c, "name the variables, or a prefix such as LC_*");
		return -EINVAL;
	}
	r = immure_check_env_name(value, len - pattern, c);
	if (r < 0)
		return r;
	if (immure_env_is_control(value, len - pattern)) {
		immure_complain(c, "%.60s makes programs run other code and is never passed", value);
		immure_complain_hint(c, "give it a value with environment.set (--env NAME=VALUE)");
		return -EINVAL;
	}
	*ret = immure_arena_strdup(a, value);
	return *ret ? 0 : -ENOMEM;
}

int immure_check_env(struct immure_arena *a, const char *text, const char **ret_name,
		     const char **ret_value, struct immure_complaint *c)
{
	const char *eq = strchr(text, '=');
	int r;

	if (!eq) {
		immure_complain(c, "expected NAME=VALUE, got \"%.100s\"", text);
		immure_complain_hint(c, "environment.pass (--pass %.60s) hands a variable through",
				     text);
		return -EINVAL;
	}
	r = immure_check_env_name(text, (size_t)(eq - text), c);
	if (r < 0)
		return r;
	*ret_name = immure_arena_strndup(a, text, (size_t)(eq - text));
	*ret_value = immure_arena_strdup(a, eq + 1);
	return *ret_name && *ret_value ? 0 : -ENOMEM;
}

int immure_check_artifact(struct immure_arena *a, const char *value, const char **ret,
			  struct immure_complaint *c)
{
	if (!strchr(value, '/'))
		return -ENOENT; /* a name, and not a known one */
	if (value[0] != '/')
		return immure_complain(c, "expected an absolute path, got \"%.100s\"", value);
	return immure_check_path(a, value, ret, c);
}

int immure_check_image(struct immure_arena *a, const char *value, const char **ret,
		       struct immure_complaint *c)
{
	size_t len = strlen(value);

	if (len == 0)
		return immure_complain(c, "expected an image, got an empty string");
	if (len > PATH_BYTES_MAX || value[0] == '-')
		return immure_complain(c, "\"%.60s\" is no image reference or path", value);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] <= ' ' || value[i] == 0x7f)
			return immure_complain(c, "an image has no spaces or control characters");
	*ret = immure_arena_strdup(a, value);
	return *ret ? 0 : -ENOMEM;
}

const struct immure_call_group immure_call_groups[IMMURE_CALL_GROUPS] = {
	{ "filesystem.delete", "no_delete" },
	{ "credential.write", "no_credentials" },
};

int immure_check_call_group(struct immure_arena *a, const char *value, const char **ret,
			    struct immure_complaint *c)
{
	(void)a;
	for (size_t i = 0; i < IMMURE_CALL_GROUPS; i++) {
		if (strcmp(immure_call_groups[i].name, value) == 0) {
			*ret = immure_call_groups[i].name;
			return 0;
		}
	}
	immure_complain(c, "\"%.60s\" is no group of system calls", value);
	if (strcmp(value, "system.execute") == 0)
		immure_complain_hint(c, "the command itself has to be executed; files.executables: listed says "
				     "what else may be");
	else
		immure_complain_hint(c, "filesystem.delete, credential.write");
	return -EINVAL;
}

int immure_check_agent(struct immure_arena *a, const char *value, const char **ret,
		       struct immure_complaint *c)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(value);

	if (len == 0)
		return immure_complain(c, "expected the name of an agent, got an empty string");
	if (len > 64 || strspn(value, letters) != len || strchr("._-", value[0])) {
		immure_complain(c, "\"%.70s\" is no agent's name", value);
		immure_complain_hint(c, "1 to 64 lower-case letters, digits, \".\", \"_\" and \"-\", a letter "
				     "or digit first");
		return -EINVAL;
	}
	*ret = immure_arena_strdup(a, value);
	return *ret ? 0 : -ENOMEM;
}

int immure_check_mediator(struct immure_arena *a, const char *value, const char **ret,
			  struct immure_complaint *c)
{
	bool program = strncmp(value, "program:", 8) == 0;
	const char *path = program ? value + 8 : value + 5, *plain;
	int r;

	if ((!program && strncmp(value, "unix:", 5) != 0) || (path[0] != '/' && path[0] != '~'))
		return immure_complain(c, "expected unix:/PATH or program:/PATH, got \"%.100s\"", value);
	r = immure_check_path(a, path, &plain, c);
	if (r < 0)
		return r;
	*ret = immure_arena_printf(a, "%s%s", program ? "program:" : "unix:", plain);
	return *ret ? 0 : -ENOMEM;
}

/* A name of the capability report: one of the nineteen, or a dimension. */
int immure_check_capability(struct immure_arena *a, const char *value, const char **ret,
			    struct immure_complaint *c)
{
	const char *names[64], *near;
	size_t n = 0;

	for (; n < immure_capability_names_n && n < 40; n++)
		names[n] = immure_capability_names[n];
	for (int d = 0; d < IMMURE_DIM_MAX; d++)
		names[n++] = immure_dimension_name((enum immure_dimension)d);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i], value) == 0) {
			*ret = immure_arena_strdup(a, value);
			return *ret ? 0 : -ENOMEM;
		}
	}
	immure_complain(c, "\"%.60s\" is no capability or dimension", value);
	near = immure_nearest(value, names, n);
	if (near)
		immure_complain_hint(c, "did you mean \"%s\"?", near);
	else
		immure_complain_hint(c, "`immure doctor` lists them");
	return -EINVAL;
}

int immure_check_backend(struct immure_arena *a, const char *value, const char **ret,
			 struct immure_complaint *c)
{
	const struct immure_key *k = &immure_keys[immure_key_find("backend")];
	const char *near;
	size_t n = 0;

	(void)a;
	for (; k->names[n]; n++) {
		if (strcmp(k->names[n], value) == 0 && strcmp(value, "auto") != 0) {
			*ret = k->names[n];
			return 0;
		}
	}
	immure_complain(c, "\"%.60s\" is no backend", value);
	near = immure_nearest(value, k->names, n);
	immure_complain_hint(c, near ? "did you mean \"%s\"?" : "`immure doctor` lists them", near);
	return -EINVAL;
}

static int secret_source(const char *from, struct immure_complaint *c)
{
	uint64_t fd;

	if (strncmp(from, "env:", 4) == 0)
		return immure_check_env_name(from + 4, strlen(from + 4), c);
	if (strncmp(from, "file:/", 6) == 0 || strncmp(from, "file:~/", 7) == 0)
		return strstr(from, "/../") ? immure_complain(c, "the file's path has \"..\"") : 0;
	if (strncmp(from, "fd:", 3) == 0 && immure_parse_u64(from + 3, &fd) == 0 && fd >= 3 &&
	    fd <= 1048576)
		return 0;
	return immure_complain(c, "from: expected env:NAME, file:/PATH or fd:N (3 or more), got "
			       "\"%.60s\"", from);
}

/* Fields that say where a request goes, or where it ends. */
static bool is_framing(const char *name)
{
	static const char *const fields[] = { "host", "content-length", "transfer-encoding", "connection",
					      "upgrade", "expect", "te", "trailer", "keep-alive",
					      "accept-encoding", "http2-settings" };

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strcasecmp(fields[i], name) == 0)
			return true;
	return false;
}

static int secret_use(const char *as, struct immure_complaint *c)
{
	const char *name = strchr(as, ':');

	if (strcmp(as, "bearer") == 0 || strcmp(as, "basic") == 0)
		return 0;
	if (strncmp(as, "env:", 4) == 0)
		return immure_check_env_name(as + 4, strlen(as + 4), c);
	if (name && (strncmp(as, "header:", 7) == 0 || strncmp(as, "query:", 6) == 0)) {
		size_t n = strlen(++name);

		/* RFC 9110 tokens, the part of them that is in use */
		if (n > 0 && n <= 64 && !is_framing(name) &&
		    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789-_.") == n)
			return 0;
	}
	return immure_complain(c, "as: expected bearer, basic, header:NAME, query:NAME or env:NAME, "
			       "got \"%.60s\"", as);
}

int immure_check_secret(struct immure_arena *a, struct immure_secret *s,
			struct immure_complaint *c)
{
	size_t n = strlen(s->name);
	int r;

	if (n == 0 || n > 64 ||
	    strspn(s->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != n)
		return immure_complain(c, "a secret's name has 1 to 64 letters, digits, \"_\" or \"-\"");
	if (!s->from)
		return immure_complain(c, "from is missing: where the secret comes from");
	if (s->to.n == 0)
		return immure_complain(c, "to is missing or empty: a secret for nobody");
	if (!s->as)
		s->as = "bearer";
	r = secret_source(s->from, c);
	if (r == 0)
		r = secret_use(s->as, c);
	for (size_t i = 0; r == 0 && i < s->to.n; i++)
		r = immure_check_host_rule(a, s->to.v[i], &s->to.v[i], c);
	return r;
}
