/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/env.h"

#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

/* What each group controls is in its line. PYTHONPATH, PERL5LIB, RUBYLIB and
 * NODE_PATH are here because a directory on them is code that runs unasked. */
const char *const immure_env_controls[] = {
	/* dynamic loaders, allocators, libc */
	"LD_*", "DYLD_*", "GLIBC_TUNABLES", "MALLOC_*", "GCONV_PATH", "LOCPATH", "NLSPATH",
	"HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "RESOLV_HOST_CONF", "GETCONF_DIR",
	"NIS_PATH",
	/* shells */
	"BASH_ENV", "ENV", "BASH_FUNC_*", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND", "IFS",
	"CDPATH", "ZDOTDIR", "FPATH", "BASH_LOADABLES_PATH",
	/* interpreters and their libraries */
	"NODE_OPTIONS", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "PYTHONSTARTUP", "PYTHONPATH",
	"PYTHONHOME", "PYTHONUSERBASE", "PYTHONINSPECT", "PYTHONBREAKPOINT", "PYTHONWARNINGS",
	"PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "PERL5OPT", "PERL5LIB", "PERLLIB", "PERL5DB",
	"RUBYOPT", "RUBYLIB", "LUA_INIT*", "LUA_PATH*", "LUA_CPATH*", "PHPRC", "PHP_INI_SCAN_DIR",
	"TCLLIBPATH", "R_PROFILE*", "R_ENVIRON*", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS",
	"JDK_JAVA_OPTIONS", "CLASSPATH", "DOTNET_STARTUP_HOOKS", "CORECLR_*", "COR_*",
	"ELECTRON_RUN_AS_NODE", "GUILE_LOAD_PATH", "EMACSLOADPATH", "VIMINIT", "EXINIT",
	/* git and ssh: programs and configuration that git runs */
	"GIT_CONFIG*", "GIT_SSH*", "GIT_EXTERNAL_DIFF", "GIT_PROXY_COMMAND", "GIT_EXEC_PATH",
	"GIT_TEMPLATE_DIR", "GIT_ASKPASS", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER",
	"GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
	"SSH_ASKPASS", "SSH_AUTH_SOCK", "SUDO_ASKPASS",
	/* build tools that run what a variable names */
	"MAKEFLAGS", "MAKEFILES", "GNUMAKEFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER",
	"CARGO_BUILD_RUSTC_WRAPPER", "CARGO_TARGET_*", "GOFLAGS", "GCC_EXEC_PREFIX",
	"COMPILER_PATH", "NPM_CONFIG_*", "npm_config_*",
	/* libraries that load plugins */
	"OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES", "SSLKEYLOGFILE", "GTK_MODULES",
	"GTK_PATH", "GIO_MODULE_DIR", "GIO_EXTRA_MODULES", "GDK_PIXBUF_MODULE*", "QT_PLUGIN_PATH",
	"QT_QPA_PLATFORM_PLUGIN_PATH", "GST_PLUGIN_*", "VK_*", "LIBGL_DRIVERS_PATH",
	"OCL_ICD_VENDORS", "PKCS11_*", "KRB5_CONFIG",
	/* pagers */
	"LESSOPEN", "LESSCLOSE", "LESSKEY*", "MANPAGER",
	/* our own */
	"IMMURE_*",
	NULL,
};

bool immure_env_is_control(const char *name, size_t len)
{
	for (size_t i = 0; immure_env_controls[i]; i++) {
		const char *pattern = immure_env_controls[i];
		size_t n = strlen(pattern);

		if (pattern[n - 1] == '*') {
			if (len >= n - 1 && memcmp(name, pattern, n - 1) == 0)
				return true;
		} else if (len == n && memcmp(name, pattern, n) == 0) {
			return true;
		}
	}
	return false;
}

static bool is_agents(const struct immure_policy *p, const char *name, size_t len)
{
	const char *variable = &IMMURE_POLICY_AGENT[1];

	if (len != strlen(variable) || memcmp(name, variable, len) != 0)
		return false;
	for (size_t i = 0; i < p->sockets.n; i++)
		if (strcmp(p->sockets.v[i] + (p->sockets.v[i][0] == '?'), IMMURE_POLICY_AGENT) == 0)
			return true;
	return false;
}

bool immure_env_passes(const struct immure_policy *p, const char *name, size_t len)
{
	if (is_agents(p, name, len))
		return true;
	for (size_t i = 0; i < p->env_pass.n; i++) {
		const char *pattern = p->env_pass.v[i];
		size_t n = strlen(pattern);

		if (pattern[n - 1] == '*' ? len >= n - 1 && memcmp(name, pattern, n - 1) == 0 :
					    len == n && memcmp(name, pattern, n) == 0)
			return !immure_env_is_control(name, len);
	}
	return false;
}

/* Orders by name alone: '=' must not take part, or "A.B" would sort before "A". */
static int by_name(const void *x, const void *y)
{
	const char *a = *(const char *const *)x, *b = *(const char *const *)y;
	size_t i = 0;

	while (a[i] == b[i] && a[i] && a[i] != '=')
		i++;
	return (a[i] == '=' ? 0 : (unsigned char)a[i]) - (b[i] == '=' ? 0 : (unsigned char)b[i]);
}

static bool is_set(const struct immure_strv *l, const char *name, size_t len)
{
	for (size_t i = 0; i < l->n; i++)
		if (strncmp(l->v[i], name, len) == 0 && l->v[i][len] == '=')
			return true;
	return false;
}

bool immure_env_filter(const struct immure_policy *p, const char *const *env,
		       struct immure_arena *a, struct immure_strv *ret)
{
	struct immure_strv l = { 0 };

	for (size_t i = 0; i < p->env_set_n; i++)
		if (!immure_strv_add(a, &l, immure_arena_printf(a, "%s=%s", p->env_set[i].name,
								p->env_set[i].value)))
			return false;
	for (; env && *env; env++) {
		const char *eq = strchr(*env, '=');
		size_t len = eq ? (size_t)(eq - *env) : 0;

		if (len == 0 || !immure_env_passes(p, *env, len) || is_set(&l, *env, len))
			continue;
		if (!immure_strv_add(a, &l, *env))
			return false;
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_name);
	*ret = l;
	return true;
}
